package interop

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// A goClient is a program on golang.org/x/crypto/acme that answers http-01.
type goClient struct {
	*acme.Client
	c      *ca
	tokens sync.Map // path -> response, or who makes it
}

func newGoClient(c *ca) *goClient {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.t, err)
	g := &goClient{c: c, Client: &acme.Client{
		Key: key, DirectoryURL: c.directory(), HTTPClient: c.client(),
		// So that a refusal is seen as one, and not tried again for minutes.
		RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration {
			if n > 5 {
				return -1
			}
			return 50 * time.Millisecond
		},
	}}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.http01))
	must(c.t, err)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := g.tokens.Load(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		if h, ok := body.(http.Handler); ok {
			h.ServeHTTP(w, r)
			return
		}
		fmt.Fprint(w, body)
	})}
	go func() { _ = srv.Serve(ln) }()
	c.t.Cleanup(func() { _ = srv.Close() })
	return g
}

func (g *goClient) register(ctx context.Context) error {
	_, err := g.Register(ctx, &acme.Account{Contact: []string{"mailto:a@go.test"}}, acme.AcceptTOS)
	return err
}

// authorize answers http-01 for one authorization.
func (g *goClient) authorize(ctx context.Context, url string) error {
	az, err := g.GetAuthorization(ctx, url)
	if err != nil || az.Status == acme.StatusValid {
		return err
	}
	for _, ch := range az.Challenges {
		if ch.Type != "http-01" {
			continue
		}
		body, err := g.HTTP01ChallengeResponse(ch.Token)
		if err != nil {
			return err
		}
		g.tokens.Store(g.HTTP01ChallengePath(ch.Token), body)
		if _, err := g.Accept(ctx, ch); err != nil {
			return err
		}
		_, err = g.WaitAuthorization(ctx, url)
		return err
	}
	return errors.New("no http-01 challenge offered")
}

// obtain orders, authorizes and finalizes, and returns key and chain.
func (g *goClient) obtain(ctx context.Context, names ...string) (crypto.Signer, string, error) {
	order, err := g.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		return nil, "", err
	}
	for _, url := range order.AuthzURLs {
		if err := g.authorize(ctx, url); err != nil {
			return nil, "", err
		}
	}
	if order, err = g.WaitOrder(ctx, order.URI); err != nil {
		return nil, "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return nil, "", err
	}
	ders, _, err := g.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return nil, "", err
	}
	var chain strings.Builder
	for _, der := range ders {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return key, chain.String(), nil
}

// A Go program: register, order, http-01, finalize, revoke by the certificate's
// key and by the account's, deactivate.
func TestGoACME(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	g := newGoClient(c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, g.register(ctx))

	key, chain, err := g.obtain(ctx, "www.go.test", "go.test")
	must(t, err)
	cert := c.verify(chain, "www.go.test", "go.test")
	c.checkGood(chain)

	must(t, g.RevokeCert(ctx, key, cert.Raw, acme.CRLReasonSuperseded))
	c.checkRevoked(chain)

	_, chain, err = g.obtain(ctx, "other.go.test")
	must(t, err)
	must(t, g.RevokeCert(ctx, nil, certsOf(t, chain)[0].Raw, acme.CRLReasonCessationOfOperation))
	c.checkRevoked(chain)

	// The library takes alreadyRevoked for success, so this is said by hand.
	dir, err := g.Discover(ctx)
	must(t, err)
	nonce, err := freshNonce(c.client(), dir.NonceURL)
	must(t, err)
	payload := `{"certificate":"` + base64.RawURLEncoding.EncodeToString(certsOf(t, chain)[0].Raw) + `"}`
	a := send(t, c.client(), "POST", dir.RevokeURL, "application/jose+json", signJWS(t, g.Key.(*ecdsa.PrivateKey), string(g.KID), nonce, dir.RevokeURL, payload))
	if a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "urn:ietf:params:acme:error:alreadyRevoked") {
		t.Errorf("revoking again: %d %s", a.status, a.body)
	}

	must(t, g.DeactivateReg(ctx))
	if _, err := g.AuthorizeOrder(ctx, acme.DomainIDs("late.go.test")); err == nil {
		t.Error("a deactivated account can order")
	}
}

// A stranger's account cannot revoke a certificate, nor can a stranger's key.
func TestGoACMEStrangerCannotRevoke(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g := newGoClient(c)
	must(t, g.register(ctx))
	_, chain, err := g.obtain(ctx, "mine.go.test")
	must(t, err)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	stranger := &acme.Client{Key: key, DirectoryURL: c.directory(), HTTPClient: c.client(), RetryBackoff: g.RetryBackoff}
	_, err = stranger.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	must(t, err)
	leaf := certsOf(t, chain)[0].Raw
	if err := stranger.RevokeCert(ctx, nil, leaf, acme.CRLReasonUnspecified); err == nil {
		t.Error("another account revoked the certificate")
	}
	if err := stranger.RevokeCert(ctx, key, leaf, acme.CRLReasonUnspecified); err == nil {
		t.Error("another key revoked the certificate")
	}
	c.checkGood(chain)
}
