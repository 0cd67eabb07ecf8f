package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chancery/interop/dns"
)

var b64 = base64.RawURLEncoding

// acmeRun is one ACME load run (RFC 8555, hand-written JWS).
type acmeRun struct {
	common
	dir, eab, ident, suffix, http01, dnsAddr, chalType, alg, profile string
	accounts                                                         int
	cold, newAcct, skipPoll                                          bool
	poll                                                             time.Duration

	st      httpStats
	cl      *http.Client
	urls    acmeDir
	nonces  chan string
	accts   []*account
	tokens  sync.Map    // token -> key authorization
	names   *dns.Server // nil without -dns
	retries atomic.Int64
}

type acmeDir struct {
	NewNonce   string `json:"newNonce"`
	NewAccount string `json:"newAccount"`
	NewOrder   string `json:"newOrder"`
}

type acmeOrder struct {
	Status         string   `json:"status"`
	Authorizations []string `json:"authorizations"`
	Finalize       string   `json:"finalize"`
	Certificate    string   `json:"certificate"`
	Error          any      `json:"error"`
}

type acmeAuthz struct {
	Status     string          `json:"status"`
	Identifier json.RawMessage `json:"identifier"`
	Challenges []acmeChallenge `json:"challenges"`
}

type acmeChallenge struct {
	Type   string          `json:"type"`
	URL    string          `json:"url"`
	Token  string          `json:"token"`
	Status string          `json:"status"`
	Error  json.RawMessage `json:"error"`
}

// wait sleeps before the k-th poll: at once, then growing to the -poll limit.
func (r *acmeRun) wait(ctx context.Context, k int) error {
	if k == 0 {
		return nil
	}
	d := min(r.poll, time.Millisecond<<min(k, 20))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *acmeRun) authorize(ctx context.Context, a *account, nb *nonceBox, url, ident string) error {
	_, b, err := r.post(ctx, a, nb, url, nil)
	if err != nil {
		return err
	}
	var az acmeAuthz
	if err := json.Unmarshal(b, &az); err != nil {
		return err
	}
	if az.Status == "valid" {
		return nil
	}
	var ch *acmeChallenge
	for i := range az.Challenges {
		if az.Challenges[i].Type == r.chalType {
			ch = &az.Challenges[i]
		}
	}
	if ch == nil {
		return fmt.Errorf("no %s challenge offered", r.chalType)
	}
	ka := ch.Token + "." + a.thumb
	switch r.chalType {
	case "http-01":
		r.tokens.Store(ch.Token, ka)
		defer r.tokens.Delete(ch.Token)
	case "dns-01":
		h := sha256.Sum256([]byte(ka))
		nm, digest := "_acme-challenge."+ident, b64.EncodeToString(h[:])
		r.names.Set(nm, digest)
		defer r.names.Clear(nm, digest)
	}
	_, b, err = r.post(ctx, a, nb, ch.URL, []byte("{}"))
	if err != nil {
		return err
	}
	if r.skipPoll {
		var c acmeChallenge
		if json.Unmarshal(b, &c) == nil && c.Status == "valid" {
			return nil
		}
	}
	for k := 0; ; k++ {
		if err := r.wait(ctx, k); err != nil {
			return err
		}
		if _, b, err = r.post(ctx, a, nb, url, nil); err != nil {
			return err
		}
		az = acmeAuthz{}
		if err := json.Unmarshal(b, &az); err != nil {
			return err
		}
		switch az.Status {
		case "valid":
			return nil
		case "pending", "processing":
		default:
			for _, c := range az.Challenges {
				if c.Type == r.chalType {
					b = c.Error
				}
			}
			return fmt.Errorf("authorization %s: %s", az.Status, snippet(b))
		}
	}
}

// issue is one whole enrollment.
func (r *acmeRun) issue(ctx context.Context, i int, ident string, csr []byte, key crypto.Signer) (bool, error) {
	var nb *nonceBox
	if r.cold || r.newAcct {
		nb = new(nonceBox)
	}
	if r.cold {
		if _, err := r.getDir(ctx); err != nil {
			return false, err
		}
	}
	var a *account
	if r.newAcct {
		var err error
		if a, err = r.register(ctx, nb); err != nil {
			return false, err
		}
	} else {
		a = r.accts[i%len(r.accts)]
	}
	pl := `{"identifiers":[{"type":"` + r.ident + `","value":"` + ident + `"}]`
	if r.profile != "" {
		pl += `,"profile":"` + r.profile + `"`
	}
	resp, b, err := r.post(ctx, a, nb, r.urls.NewOrder, []byte(pl+"}"))
	if err != nil {
		return false, err
	}
	orderURL := resp.Header.Get("Location")
	var o acmeOrder
	if err := json.Unmarshal(b, &o); err != nil {
		return false, err
	}
	if o.Status != "ready" && o.Status != "valid" {
		for _, az := range o.Authorizations {
			if err := r.authorize(ctx, a, nb, az, ident); err != nil {
				return false, err
			}
		}
	}
	_, b, err = r.post(ctx, a, nb, o.Finalize, []byte(`{"csr":"`+b64.EncodeToString(csr)+`"}`))
	if err != nil {
		return false, err
	}
	o = acmeOrder{}
	if err := json.Unmarshal(b, &o); err != nil {
		return false, err
	}
	for k := 0; !(o.Status == "valid" && o.Certificate != "" && (r.skipPoll || k > 0)); k++ {
		if err := r.wait(ctx, k); err != nil {
			return false, err
		}
		if _, b, err = r.post(ctx, a, nb, orderURL, nil); err != nil {
			return false, err
		}
		o = acmeOrder{}
		if err := json.Unmarshal(b, &o); err != nil {
			return false, err
		}
		if o.Status == "invalid" {
			return false, fmt.Errorf("order invalid: %s", snippet(b))
		}
	}
	_, b, err = r.post(ctx, a, nb, o.Certificate, nil)
	if err != nil {
		return false, err
	}
	if i%r.verifyEach != 0 {
		if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN CERTIFICATE-----")) {
			return false, errors.New("no certificate in answer")
		}
		return false, nil
	}
	certs, err := pemCerts(b)
	if err != nil {
		return false, err
	}
	if err := checkChain(certs, key); err != nil {
		return false, err
	}
	r.keep(certs, key)
	if r.ident == "ip" {
		return true, certs[0].VerifyHostname(ident)
	}
	if len(certs[0].DNSNames) != 1 || certs[0].DNSNames[0] != ident {
		return false, fmt.Errorf("certificate names %v, wanted %s", certs[0].DNSNames, ident)
	}
	return true, nil
}

func cmdACME(args []string) error {
	r := &acmeRun{}
	fs := flag.NewFlagSet("acme", flag.ExitOnError)
	r.flags(fs)
	_ = fs.Parse(args)
	if r.dir == "" {
		return errors.New("-dir is required")
	}
	if r.chalType == "dns-01" && r.dnsAddr == "" {
		return errors.New("-challenge dns-01 needs -dns")
	}
	r.verifyEach = min(max(1, r.verifyEach), 20)
	cl, err := r.newClient(&r.st)
	if err != nil {
		return err
	}
	r.cl = cl
	r.nonces = make(chan string, 8192)
	ctx := context.Background()
	if r.urls, err = r.getDir(ctx); err != nil {
		return err
	}
	if r.http01 != "" {
		ln, err := net.Listen("tcp", r.http01)
		if err != nil {
			return err
		}
		srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			tok := q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:]
			if ka, ok := r.tokens.Load(tok); ok {
				_, _ = w.Write([]byte(ka.(string)))
				return
			}
			http.NotFound(w, q)
		})}
		go func() { _ = srv.Serve(ln) }()
	}
	if r.dnsAddr != "" {
		if r.names, err = dns.Serve(r.dnsAddr); err != nil {
			return err
		}
		defer r.names.Close()
	}
	keys, err := r.keyPool()
	if err != nil {
		return err
	}
	total := r.n + r.warmup
	ident := func(i int) string {
		if r.ident == "ip" {
			return loopIP(i)
		}
		return name(i, r.suffix)
	}
	csrs, err := makeCSRs(keys, total, func(i int) *x509.CertificateRequest {
		if r.ident == "ip" {
			return &x509.CertificateRequest{IPAddresses: []net.IP{net.ParseIP(ident(i))}}
		}
		return &x509.CertificateRequest{DNSNames: []string{ident(i)}}
	})
	if err != nil {
		return err
	}
	var setup time.Duration
	if !r.newAcct {
		t0 := time.Now()
		for range max(1, r.accounts) {
			c, cancel := context.WithTimeout(ctx, r.timeout)
			a, err := r.register(c, nil)
			cancel()
			if err != nil {
				return fmt.Errorf("newAccount: %w", err)
			}
			r.accts = append(r.accts, a)
		}
		setup = time.Since(t0)
	}
	res := r.run("acme", &r.st, func(ctx context.Context, _, i int) (bool, error) {
		return r.issue(ctx, i, ident(i), csrs[i], keys[i%len(keys)])
	})
	res.Retries = r.retries.Load()
	if len(r.accts) > 0 {
		res.SetupMS = round(float64(setup.Microseconds())/1e3/float64(len(r.accts)), 3)
	}
	return res.print()
}

func (r *acmeRun) flags(fs *flag.FlagSet) {
	r.common.register(fs)
	fs.StringVar(&r.dir, "dir", "", "ACME directory URL")
	fs.StringVar(&r.eab, "eab", "", "external account binding kid:base64url-hmac")
	fs.StringVar(&r.ident, "ident", "dns", "identifier type: dns, or ip (unique 127.x.y.z addresses)")
	fs.StringVar(&r.suffix, "suffix", "load.example.com", "domain the dns identifiers live under")
	fs.IntVar(&r.accounts, "accounts", 8, "accounts registered before the run")
	fs.BoolVar(&r.newAcct, "newacct", false, "register a new account in every operation")
	fs.BoolVar(&r.cold, "cold", false, "each operation fetches directory and nonce itself, as a real client does")
	fs.BoolVar(&r.skipPoll, "skip-poll", false, "skip polls where the previous answer already said valid")
	fs.StringVar(&r.chalType, "challenge", "http-01", "challenge type: http-01 or dns-01")
	fs.StringVar(&r.http01, "http01", "", "answer http-01 on this address, e.g. :5002")
	fs.StringVar(&r.dnsAddr, "dns", "", "answer DNS (A = 127.0.0.1, dns-01 TXT) on this UDP address, e.g. 127.0.0.1:5053")
	fs.StringVar(&r.alg, "alg", "ES256", "account keys: ES256 or RS256")
	fs.StringVar(&r.profile, "profile", "", "order profile name")
	fs.DurationVar(&r.poll, "poll", 50*time.Millisecond, "longest pause between polls")
}
