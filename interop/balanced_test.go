package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"chancery/interop/invariants"
)

// badNonces counts refusals for a nonce; each is a message that took one on one
// node and was refused by another, or was sent again.
type badNonces struct {
	http.RoundTripper
	n atomic.Int64
}

func (b *badNonces) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusBadRequest {
		body, rerr := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.Body = io.NopCloser(bytes.NewReader(body)); rerr == nil && bytes.Contains(body, []byte("badNonce")) {
			b.n.Add(1)
		}
	}
	return resp, err
}

// certbot, lego and a program go through a balancer to three nodes, nonces and
// all: each order ends right, whichever node answers.
func TestThreeNodesBehindABalancer(t *testing.T) {
	t.Parallel()
	front, nodes, b, _ := threeNodes(t)
	for i := range 2 {
		name := fmt.Sprintf("c%d.nodes.test", i)
		bot := newCertbot(front, front.directory())
		bot.run(bot.standalone(name, name)...)
		front.verify(bot.fullchain(name), name)
		nodes[i+1].verify(bot.fullchain(name), name)
	}
	l := newLego(front)
	answer := []string{"--http", "--http.port", fmt.Sprintf("127.0.0.1:%d", front.http01), "-d", "l.nodes.test"}
	l.run(append(answer, "run")...)
	l.run(append(answer, "renew", "--days", "3650", "--no-random-sleep")...)
	l.run("-d", "l.nodes.test", "revoke", "--reason", "4", "--keep")
	front.checkRevoked(l.chain("l.nodes.test"))

	g := newGoClient(front)
	refused := &badNonces{RoundTripper: g.HTTPClient.Transport}
	g.HTTPClient.Transport = refused
	must(t, g.register(t.Context()))
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for k := range 5 {
				name := fmt.Sprintf("g%d-%d.nodes.test", i, k)
				if _, chain, err := g.obtain(t.Context(), name); err != nil {
					t.Errorf("%s: %v", name, err)
				} else if c := certsOf(t, chain)[0]; c.VerifyHostname(name) != nil {
					t.Errorf("%s: the certificate is for %v", name, c.DNSNames)
				}
			}
		})
	}
	all.Wait()
	if n := refused.n.Load(); n > 0 {
		t.Errorf("%d nonces of one node were refused by another", n)
	}
	for i, n := range b.took {
		if n < 10 {
			t.Errorf("node %d took only %d connections: the test is blind", i+1, n)
		}
	}
}

// A node is killed in the middle of orders. Whoever goes on asking gets exactly
// one certificate for each order, and every record is as it should be.
func TestNodeDiesMidOrder(t *testing.T) {
	t.Parallel()
	front, nodes, _, dsn := threeNodes(t)
	g := newGoClient(front)
	g.HTTPClient.Timeout = 10 * time.Second
	must(t, g.register(t.Context()))
	chain := certsOf(t, obtained(t, g, "first.nodes.test"))
	history := invariants.NewHistory(chain[1])

	const workers, orders = 4, 12
	var all sync.WaitGroup
	var begun atomic.Int64
	die := make(chan struct{})
	for i := range workers {
		all.Go(func() {
			for k := range orders {
				name := fmt.Sprintf("k%d-%d.nodes.test", i, k)
				if begun.Add(1) == workers*orders/3 {
					close(die)
				}
				got, err := g.insist(t.Context(), name)
				if err == nil {
					err = history.Issued(name, certsOf(t, got)[0].Raw)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	<-die
	must(t, nodes[1].Kill())
	all.Wait()
	for _, c := range nodes {
		if c != nodes[1] {
			c.stop()
		}
	}
	records := &sharedRecords{t: t, dsn: dsn}
	state := records.read(nil)
	if err := history.Check(state); err != nil {
		t.Error(err)
	}
	of := map[string]int{}
	for _, row := range state.Certificates {
		for _, n := range row.Names {
			of[n.Value]++
		}
	}
	for name, n := range of {
		if n > 1 && strings.HasPrefix(name, "k") {
			t.Errorf("%s has %d certificates", name, n)
		}
	}
	if issued, _ := history.Counts(); issued != workers*orders {
		t.Errorf("%d certificates, want %d", issued, workers*orders)
	}
}

func obtained(t *testing.T, g *goClient, name string) string {
	t.Helper()
	_, chain, err := g.obtain(t.Context(), name)
	must(t, err)
	return chain
}

// insist is obtain for a server that may die at any moment: each step is asked
// for until it is answered, and what was lost is looked up.
func (g *goClient) insist(ctx context.Context, name string) (string, error) {
	order, err := again(func() (*acme.Order, error) { return g.AuthorizeOrder(ctx, acme.DomainIDs(name)) })
	if err != nil {
		return "", err
	}
	for _, url := range order.AuthzURLs {
		if _, err := again(func() (any, error) { return nil, g.authorize(ctx, url) }); err != nil {
			return "", err
		}
	}
	csr := requestFor(g.c.t, name)
	return again(func() (string, error) { return g.finish(ctx, order.URI, csr) })
}

// finish brings an order from wherever it is to its certificate.
func (g *goClient) finish(ctx context.Context, url string, csr []byte) (string, error) {
	order, err := g.GetOrder(ctx, url)
	if err != nil {
		return "", err
	}
	var ders [][]byte
	switch order.Status {
	case acme.StatusReady:
		ders, _, err = g.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	case acme.StatusValid:
		ders, err = g.FetchCert(ctx, order.CertURL, true)
	default:
		err = fmt.Errorf("the order is %s: %v", order.Status, order.Error)
	}
	var chain strings.Builder
	for _, der := range ders {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return chain.String(), err
}

// requestFor is a request for a certificate with a key of its own.
func requestFor(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	must(t, err)
	return der
}

// again tries for a while.
func again[T any](fn func() (T, error)) (v T, err error) {
	end := time.After(60 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if v, err = fn(); err == nil {
			return v, nil
		}
		select {
		case <-end:
			return v, err
		case <-tick.C:
		}
	}
}

// A validation that a node had begun when it was killed is made by another one
// when its lease is over.
func TestValidationOfADeadNodeIsTakenOver(t *testing.T) {
	t.Parallel()
	front, nodes, _, _ := threeNodes(t)
	g := newGoClient(front)
	must(t, g.register(t.Context()))
	order, err := g.AuthorizeOrder(t.Context(), acme.DomainIDs("taken.nodes.test"))
	must(t, err)
	az, err := g.GetAuthorization(t.Context(), order.AuthzURLs[0])
	must(t, err)
	for _, ch := range az.Challenges {
		if ch.Type != "http-01" {
			continue
		}
		body, err := g.HTTP01ChallengeResponse(ch.Token)
		must(t, err)
		// The applicant does not answer the node that asks first.
		asked, release := make(chan struct{}), make(chan struct{})
		var first sync.Once
		g.tokens.Store(g.HTTP01ChallengePath(ch.Token), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			hang := false
			first.Do(func() { hang = true })
			if hang {
				close(asked)
				<-release
				return
			}
			fmt.Fprint(w, body)
		}))
		defer close(release)
		doomed := &acme.Client{Key: g.Key, DirectoryURL: g.DirectoryURL, HTTPClient: g.c.clientOf(nodes[2])}
		got, err := doomed.Accept(t.Context(), ch)
		must(t, err)
		if got.Status != acme.StatusProcessing {
			t.Fatalf("the challenge is %s", got.Status)
		}
		<-asked
		must(t, nodes[2].Kill())
	}
	eventually(t, 60*time.Second, func() error {
		az, err := g.GetAuthorization(t.Context(), order.AuthzURLs[0])
		if err == nil && az.Status != acme.StatusValid {
			text, _ := json.Marshal(az)
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	got, err := g.finish(t.Context(), order.URI, requestFor(t, "taken.nodes.test"))
	must(t, err)
	nodes[0].verify(got, "taken.nodes.test")
}

// clientOf is client with every connection to one node, whatever the address
// says.
func (c *ca) clientOf(node *ca) *http.Client {
	h := c.client()
	h.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, node.HTTPS)
	}
	return h
}
