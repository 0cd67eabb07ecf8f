package engine

import (
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"
)

// A gamble does random things to certificates of one CA and knows what must be true
// of its lists and answers.
type gamble struct {
	*world
	r       *rand.Rand
	other   *world
	certs   map[CertID]*x509.Certificate
	status  map[CertID]Status
	numbers map[string]*big.Int
}

// Whatever happens: what is revoked and has not expired is in the lists, what is not
// is not, no answer is good after a revocation, numbers grow (XO-005, XO-011, XO-012).
func TestXO_012_RevokedIsListed(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := &gamble{world: newWorld(t), r: rand.New(rand.NewPCG(seed, 7)), certs: map[CertID]*x509.Certificate{}, status: map[CertID]Status{}, numbers: map[string]*big.Int{}}
			g.refresh()
			g.tend()
			g.other = g.keyless()
			for range 100 {
				g.step()
			}
		})
	}
}

func (g *gamble) step() {
	switch n := g.r.IntN(20); {
	case n < 5 || len(g.certs) == 0:
		i, c := g.issue(g.submission(fmt.Sprint("r", g.r.Uint64()), newKey(g.t), fmt.Sprintf("h%d.test", g.r.IntN(1000))))
		g.certs[i.ID], g.status[i.ID] = c, Good
	case n < 12:
		g.revoke()
	case n < 14:
		g.advanceClock(time.Duration(g.r.IntN(100))*time.Hour + 5*time.Minute)
		g.tend()
	case n == 14 && g.r.IntN(4) == 0: // less in all than what stops the CA
		g.advanceClock(-time.Duration(g.r.IntN(20)) * time.Second)
	case n == 15: // the process died before it made the list
		g.open()
		g.other = g.keyless()
	case n == 16:
		g.rules([]CRLRules{{}, {Delta: true}, {Shards: 2}, {Shards: 5}}[g.r.IntN(4)])
	default:
		g.refresh()
		g.check()
	}
}

// revoke changes a certificate on a node of chance.
func (g *gamble) revoke() {
	ids := slices.SortedFunc(maps.Keys(g.certs), func(a, b CertID) int { return g.certs[a].SerialNumber.Cmp(g.certs[b].SerialNumber) })
	id := ids[g.r.IntN(len(ids))]
	r := Revocation{ID: id, Reason: []int{0, 1, 4, 6, 6}[g.r.IntN(5)], Release: g.r.IntN(3) == 0, By: "olga"}
	node := []*Engine{g.Engine, g.other.Engine}[g.r.IntN(2)]
	if node.Revoke(g.t.Context(), r) != nil {
		return // not from the state that it is in
	}
	switch {
	case r.Release:
		g.status[id] = Good
	case r.Reason == 6:
		g.status[id] = Held
	default:
		g.status[id] = Revoked
	}
	if s := g.answer(&world{Engine: node, t: g.t}, g.certs[id]); (s == xocsp.Good) != (g.status[id] == Good) {
		g.t.Errorf("%s is %s, and the node that changed it answers %d", id, g.status[id], s)
	}
}

func (g *gamble) answer(node *world, c *x509.Certificate) int {
	r, err := xocsp.ParseResponseForCert(node.ask(c), c, g.current["main"].cert)
	if err != nil {
		g.t.Fatal(err)
	}
	return r.Status
}

func (g *gamble) check() {
	g.t.Helper()
	g.other.look()
	complete := g.numbered("")
	for id, c := range g.certs {
		for _, node := range []*world{g.world, g.other} {
			if s := g.answer(node, c); (s == xocsp.Good) != (g.status[id] == Good) {
				g.t.Errorf("%s is %s, and a node answers %d", id, g.status[id], s)
			}
		}
		l := complete
		if k := shardOf(c, g.current["main"].keyID); k > 0 {
			l = g.numbered(fmt.Sprint(k))
		}
		if c.NotAfter.Before(l.ThisUpdate) {
			continue
		}
		if is := g.isListed(c, l); is != (g.status[id] != Good) {
			g.t.Errorf("%s is %s, and in its lists: %v; shard %d", id, g.status[id], is, shardOf(c, g.current["main"].keyID))
		}
	}
}

// isListed is what a client finds out by the lists that a certificate names.
func (g *gamble) isListed(c *x509.Certificate, l *x509.RevocationList) bool {
	_, is := entryIn(l, c.SerialNumber)
	if extensionOf(l, "2.5.29.46") == nil {
		return is
	}
	delta := g.numbered(deltaScope)
	if delta.Number.Cmp(l.Number) <= 0 {
		return is
	}
	if reason, changed := entryIn(delta, c.SerialNumber); changed {
		return reason != 8
	}
	return is
}

// numbered is a list, whose number never falls.
func (g *gamble) numbered(scope string) *x509.RevocationList {
	g.t.Helper()
	l := g.list(scope)
	if last := g.numbers[scope]; last != nil && l.Number.Cmp(last) < 0 {
		g.t.Errorf("list %q: number %s after %s", scope, l.Number, last)
	}
	g.numbers[scope] = l.Number
	return l
}
