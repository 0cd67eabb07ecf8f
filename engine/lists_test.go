package engine

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine/tbs"
	"chancery/store"
)

// rules gives the authority main other lists.
func (w *world) rules(r CRLRules) {
	w.t.Helper()
	p := testPolicy()
	p.Authorities["main"] = Authority{CRL: r}
	w.setup.Policy = p
	w.use()
}

// refresh is a round of the leader.
func (w *world) refresh() {
	w.t.Helper()
	if err := w.refreshCRL(context.Background(), w.current["main"], store.Lease{}); err != nil {
		w.t.Fatal(err)
	}
}

// list is a published list, parsed and verified.
func (w *world) list(scope string) *x509.RevocationList {
	w.t.Helper()
	is := w.current["main"]
	c, err := w.CRL(context.Background(), listName(is.keyID, scope))
	if err != nil {
		w.t.Fatalf("list %q: %v", scope, err)
	}
	l, err := x509.ParseRevocationList(c.DER)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := l.CheckSignatureFrom(is.cert); err != nil {
		w.t.Fatal(err)
	}
	if l.Number.String() != c.Number || len(l.RevokedCertificateEntries) != c.Entries {
		w.t.Errorf("list %q: the row says number %s, %d entries", scope, c.Number, c.Entries)
	}
	return l
}

func entryIn(l *x509.RevocationList, serial *big.Int) (reason int, ok bool) {
	for _, en := range l.RevokedCertificateEntries {
		if en.SerialNumber.Cmp(serial) == 0 {
			return en.ReasonCode, true
		}
	}
	return 0, false
}

// criticalValue is the value of a critical extension of a list, or nil.
func criticalValue(l *x509.RevocationList, oid ...int) []byte {
	for _, x := range l.Extensions {
		if x.Id.Equal(oid) && x.Critical {
			return x.Value
		}
	}
	return nil
}

func scopeOf(t *testing.T, w *world, c *x509.Certificate) string {
	t.Helper()
	name, ok := strings.CutPrefix(c.CRLDistributionPoints[0], "http://pki.test/crl/"+w.current["main"].keyID+"-")
	if len(c.CRLDistributionPoints) != 1 || !ok {
		t.Fatalf("no shard: %v", c.CRLDistributionPoints)
	}
	return strings.TrimSuffix(name, ".crl")
}

// Every revoked certificate is in the one shard that it names, whose issuing
// distribution point is that address byte for byte; also when there are more
// shards and another address later (O-026, XO-012).
func TestCRL_O026_Shards(t *testing.T) {
	w := newWorld(t)
	old, _ := w.issue(w.submission("old", newKey(t), "old.test")) // names the complete list
	w.rules(CRLRules{Shards: 3})
	w.refresh()
	certs := map[string]*x509.Certificate{}
	enroll := func(from, to int) {
		for n := from; n < to; n++ {
			i, c := w.issue(w.submission(fmt.Sprint(n), newKey(t), fmt.Sprintf("h%d.test", n)))
			certs[c.SerialNumber.String()] = c
			if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4, By: "olga"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(shards int) {
		t.Helper()
		found := 0
		for k := 1; k <= shards; k++ {
			l := w.list(fmt.Sprint(k))
			idp := criticalValue(l, 2, 5, 29, 28)
			if !bytes.HasSuffix(idp, []byte{0x81, 1, 0xff}) {
				t.Errorf("issuing distribution point %x", idp)
			}
			for _, en := range l.RevokedCertificateEntries {
				c := certs[en.SerialNumber.String()]
				if c == nil || scopeOf(t, w, c) != fmt.Sprint(k) {
					t.Errorf("serial %s is in shard %d", en.SerialNumber, k)
					continue
				}
				found++
				u := c.CRLDistributionPoints[0]
				if !bytes.Contains(idp, append([]byte{0x86, byte(len(u))}, u...)) {
					t.Errorf("%x lacks %s", idp, u)
				}
			}
		}
		if found != len(certs) {
			t.Errorf("%d of %d are in the lists", found, len(certs))
		}
	}
	enroll(0, 12)
	w.refresh()
	check(3)
	complete := w.list("")
	if criticalValue(complete, 2, 5, 29, 28) != nil || len(complete.RevokedCertificateEntries) != 0 {
		t.Error("the complete list was made anew for a shard, or is of a part")
	}
	if err := w.Revoke(t.Context(), Revocation{ID: old.ID, Reason: 1, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	w.refresh()
	if complete = w.list(""); len(complete.RevokedCertificateEntries) != len(certs)+1 {
		t.Errorf("the complete list has %d entries", len(complete.RevokedCertificateEntries))
	}
	w.rules(CRLRules{Shards: 5})
	enroll(12, 24)
	w.refresh()
	check(5)
	w.rules(CRLRules{}) // certificates name them still
	w.conf.StatusURL = "http://other.test"
	w.open()
	w.advanceClock(crlLife * 3 / 4)
	w.refresh()
	check(5)
	if !bytes.Contains(criticalValue(w.list("5"), 2, 5, 29, 28), []byte("http://other.test/crl/")) {
		t.Error("the new address is missing")
	}
	// Retired: each list is fresh.
	if l := w.list("5"); l.ThisUpdate.Before(w.now().Add(-time.Second)) {
		t.Error("not made anew at half of its life")
	}
}

// What an officer approved is the same certificate, whichever shard a request has.
func TestCRL_ShardIsNotVotedOn(t *testing.T) {
	w := newWorld(t)
	w.rules(CRLRules{Shards: 64})
	s := w.submission("1", newKey(t), "a.test")
	s.Profile, s.Proofs, s.KeyPerRun = "manual", nil, true
	p, ok := w.submit(s).(Pended)
	if !ok {
		t.Fatal("not pended")
	}
	if _, err := w.Approve(t.Context(), officer("olga"), p.RequestID, "", ""); err != nil {
		t.Fatal(err)
	}
	w.advanceClock(time.Minute)
	again := w.submission("2", newKey(t), "a.test")
	again.Profile, again.Proofs, again.KeyPerRun = "manual", nil, true
	w.issue(again)
}

// A delta refers to a published base and holds all that changed since, and the ends
// of holds; base and delta share one sequence of numbers (O-024, O-025).
func TestCRL_O025_Delta(t *testing.T) {
	w := newWorld(t)
	w.rules(CRLRules{Delta: true})
	w.refresh()
	base := w.list("")
	if x := extensionOf(base, tbs.OIDFreshestCRL); x == nil {
		t.Error("the complete list does not say where the delta is")
	}
	indicator := func(l *x509.RevocationList) *big.Int {
		t.Helper()
		n := new(big.Int)
		if rest, err := asn1.Unmarshal(criticalValue(l, 2, 5, 29, 27), &n); err != nil || len(rest) > 0 {
			t.Fatal("no delta indicator", err)
		}
		if extensionOf(l, tbs.OIDFreshestCRL) != nil {
			t.Error("a delta says where the delta is")
		}
		return n
	}
	last := w.list(deltaScope)
	if indicator(last).Cmp(base.Number) != 0 || len(last.RevokedCertificateEntries) != 0 {
		t.Error("the first delta is not empty or has another base")
	}
	next := func() *x509.RevocationList {
		t.Helper()
		w.refresh()
		l := w.list(deltaScope)
		if l.Number.Cmp(last.Number) <= 0 {
			t.Errorf("number %s after %s", l.Number, last.Number)
		}
		last = l
		return l
	}
	a, ca := w.issue(w.submission("1", newKey(t), "a.test"))
	b, cb := w.issue(w.submission("2", newKey(t), "b.test"))
	if extension(ca, asn1.ObjectIdentifier{2, 5, 29, 46}) == nil {
		t.Error("the certificate does not say where the delta is")
	}
	change := func(r Revocation) {
		t.Helper()
		if r.By = "olga"; w.Revoke(t.Context(), r) != nil {
			t.Fatal(r)
		}
	}
	change(Revocation{ID: a.ID, Reason: 4})
	change(Revocation{ID: b.ID, Reason: 6})
	l := next()
	ra, oka := entryIn(l, ca.SerialNumber)
	rb, okb := entryIn(l, cb.SerialNumber)
	if !oka || !okb || ra != 4 || rb != 6 || indicator(l).Cmp(base.Number) != 0 {
		t.Errorf("%+v", l.RevokedCertificateEntries)
	}
	if w.list("").Number.Cmp(base.Number) != 0 {
		t.Error("the complete list was made anew for two revocations")
	}
	change(Revocation{ID: b.ID, Release: true})
	l = next()
	if r, ok := entryIn(l, cb.SerialNumber); !ok || r != 8 || len(l.RevokedCertificateEntries) != 2 {
		t.Errorf("the end of a hold: %+v", l.RevokedCertificateEntries)
	}
	w.advanceClock(deltaLife * 3 / 4)
	if l = next(); indicator(l).Cmp(base.Number) != 0 || len(l.RevokedCertificateEntries) != 2 {
		t.Error("at half of its life another delta is due, with the same content")
	}

	// The next base comes with its delta to the last one, of the same number.
	w.advanceClock(crlLife / 2)
	l = next()
	second := w.list("")
	if second.Number.Cmp(l.Number) != 0 || indicator(l).Cmp(base.Number) != 0 || !second.ThisUpdate.Equal(l.ThisUpdate) {
		t.Errorf("base %s and delta %s to %s", second.Number, l.Number, indicator(l))
	}
	if _, ok := entryIn(second, ca.SerialNumber); !ok || len(second.RevokedCertificateEntries) != 1 {
		t.Errorf("the base: %+v", second.RevokedCertificateEntries)
	}
	change(Revocation{ID: b.ID, Reason: 1})
	l = next()
	if _, ok := entryIn(l, cb.SerialNumber); !ok || len(l.RevokedCertificateEntries) != 1 || indicator(l).Cmp(second.Number) != 0 {
		t.Errorf("the delta to the second base: %+v", l.RevokedCertificateEntries)
	}
	for n := 0; n < 3; n++ { // a restart changes nothing
		w.open()
		w.refresh()
	}
	if w.list(deltaScope).Number.Cmp(last.Number) != 0 || w.list("").Number.Cmp(second.Number) != 0 {
		t.Error("lists were made without need")
	}
}

func extensionOf(l *x509.RevocationList, oid string) []byte {
	for _, x := range l.Extensions {
		if x.Id.String() == oid {
			return x.Value
		}
	}
	return nil
}

func TestCRL_Rules(t *testing.T) {
	for _, r := range []CRLRules{{Shards: -1}, {Shards: 1}, {Shards: 1025}, {Shards: 2, Delta: true}} {
		p := testPolicy()
		p.Authorities["main"] = Authority{CRL: r}
		if p.Check() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

// openssl finds what is revoked in the complete list, the delta, and the shard.
func TestCRL_OpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: make deps installs it")
	}
	for name, r := range map[string]CRLRules{"complete": {}, "delta": {Delta: true}, "shards": {Shards: 4}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.rules(r)
			w.refresh()
			i, bad := w.issue(w.submission("1", newKey(t), "bad.test"))
			_, good := w.issue(w.submission("2", newKey(t), "good.test"))
			if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4, By: "olga"}); err != nil {
				t.Fatal(err)
			}
			w.refresh()
			var lists bytes.Buffer
			names := []string{w.current["main"].keyID}
			for _, c := range []*x509.Certificate{good, bad} { // what clients fetch
				u := c.CRLDistributionPoints[0]
				names = append(names, strings.TrimSuffix(u[strings.LastIndex(u, "/")+1:], ".crl"))
			}
			if r.Delta {
				names = append(names, names[0]+"-delta")
			}
			if r.Shards > 0 {
				names = names[1:]
			}
			slices.Sort(names)
			for _, name := range slices.Compact(names) {
				c, err := w.CRL(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				pem.Encode(&lists, &pem.Block{Type: "X509 CRL", Bytes: c.DER})
			}
			dir := t.TempDir()
			write := func(name string, data []byte) string {
				name = filepath.Join(dir, name)
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
				return name
			}
			cert := func(c []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c}) }
			ca, crls := write("ca", cert(w.current["main"].cert.Raw)), write("crls", lists.Bytes())
			for c, want := range map[*x509.Certificate]string{good: "OK", bad: "certificate revoked"} {
				out, _ := exec.Command(openssl, "verify", "-crl_check", "-use_deltas", "-extended_crl", "-x509_strict", "-attime", fmt.Sprint(w.now().Add(time.Minute).Unix()),
					"-CAfile", ca, "-CRLfile", crls, write("leaf", cert(c.Raw))).CombinedOutput()
				if !strings.Contains(string(out), want) {
					t.Errorf("want %s:\n%s", want, out)
				}
			}
		})
	}
}
