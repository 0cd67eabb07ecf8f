package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

type headers []string

func (h *headers) String() string     { return strings.Join(*h, ", ") }
func (h *headers) Set(s string) error { *h = append(*h, s); return nil }

// cmdHTTP sends a templated body: any JSON issuance API, or a plain round trip.
//
// Placeholders in -body, -url and -H: {{CSR_PEM}} (newlines as \n, for JSON),
// {{CSR_PEM_RAW}}, {{CSR_B64}}, {{CSR_B64URL}}, {{SEQ}}, {{NAME}}, {{RAND}}.
func cmdHTTP(args []string) error {
	var o common
	var hdr headers
	fs := flag.NewFlagSet("http", flag.ExitOnError)
	o.register(fs)
	u := fs.String("url", "", "URL, or several with commas between, to which operations go in turn: nodes that share records")
	body := fs.String("body", "", "file with the body template (none: empty body)")
	method := fs.String("method", "", "HTTP method (default POST with a body, else GET)")
	ctype := fs.String("type", "application/json", "Content-Type")
	expect := fs.Int("status", 0, "wanted status (default: any 2xx)")
	wantCert := fs.Bool("wantcert", false, "the answer must hold a certificate for the CSR's key")
	raw := fs.Bool("bin", false, "body is binary: do not expand placeholders")
	suffix := fs.String("suffix", "load.example.com", "domain of {{NAME}}")
	fs.Var(&hdr, "H", "header 'Name: value' (repeatable, placeholders work)")
	_ = fs.Parse(args)
	if *u == "" {
		return errors.New("-url is required")
	}
	o.verifyEach = min(max(1, o.verifyEach), 20)
	var tmpl []byte
	var err error
	if *body != "" {
		if tmpl, err = os.ReadFile(*body); err != nil {
			return err
		}
	}
	if *method == "" {
		*method = http.MethodGet
		if tmpl != nil {
			*method = http.MethodPost
		}
	}
	var st httpStats
	cl, err := o.newClient(&st)
	if err != nil {
		return err
	}
	all := string(tmpl) + *u + hdr.String()
	needCSR := strings.Contains(all, "{{CSR_") && !*raw
	total := o.n + o.warmup
	var keys []crypto.Signer
	var csrs [][]byte
	if needCSR {
		if keys, err = o.keyPool(); err != nil {
			return err
		}
		if csrs, err = makeCSRs(keys, total, func(i int) *x509.CertificateRequest { return dnsCSR(name(i, *suffix)) }); err != nil {
			return err
		}
	}
	// Everything is expanded before the clock starts.
	type prepared struct {
		url  string
		body []byte
		hdr  [][2]string
	}
	expand := func(i int) *strings.Replacer {
		nm := name(i, *suffix)
		rnd := make([]byte, 16)
		_, _ = rand.Read(rnd)
		kv := []string{"{{SEQ}}", strconv.Itoa(i), "{{NAME}}", nm, "{{RAND}}", hex.EncodeToString(rnd)}
		if needCSR {
			p := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csrs[i]}))
			kv = append(kv, "{{CSR_PEM}}", strings.ReplaceAll(p, "\n", `\n`), "{{CSR_PEM_RAW}}", p,
				"{{CSR_B64}}", base64.StdEncoding.EncodeToString(csrs[i]), "{{CSR_B64URL}}", b64.EncodeToString(csrs[i]))
		}
		return strings.NewReplacer(kv...)
	}
	fixed := *raw || !strings.Contains(all, "{{")
	urls := strings.Split(*u, ",")
	preps := make([]prepared, len(urls))
	if !fixed {
		preps = make([]prepared, total)
	}
	_ = parallel(len(preps), func(i int) error {
		p := prepared{url: urls[i%len(urls)], body: tmpl}
		rep := strings.NewReplacer()
		if !fixed {
			rep = expand(i)
			p.url, p.body = rep.Replace(p.url), []byte(rep.Replace(string(tmpl)))
		}
		for _, h := range hdr {
			k, v, _ := strings.Cut(h, ":")
			p.hdr = append(p.hdr, [2]string{strings.TrimSpace(k), rep.Replace(strings.TrimSpace(v))})
		}
		preps[i] = p
		return nil
	})
	res := o.run("http", &st, func(ctx context.Context, _, i int) (bool, error) {
		p := preps[i%len(preps)]
		req, err := http.NewRequestWithContext(ctx, *method, p.url, bytes.NewReader(p.body))
		if err != nil {
			return false, err
		}
		if tmpl != nil {
			req.Header.Set("Content-Type", *ctype)
		}
		for _, h := range p.hdr {
			req.Header.Set(h[0], h[1])
		}
		resp, b, err := st.do(cl, req)
		if err != nil {
			return false, err
		}
		if (*expect != 0 && resp.StatusCode != *expect) || (*expect == 0 && resp.StatusCode/100 != 2) {
			return false, fmt.Errorf("%s: %s", resp.Status, snippet(b))
		}
		if !*wantCert {
			return false, nil
		}
		if i%o.verifyEach != 0 {
			if !bytes.Contains(b, []byte("-----BEGIN CERTIFICATE-----")) {
				return false, errors.New("no certificate in answer")
			}
			return false, nil
		}
		certs, err := pemCerts([]byte(strings.NewReplacer(`\r`, "", `\n`, "\n", `"-----BEGIN`, "\n-----BEGIN").Replace(string(b))))
		if err != nil {
			return false, err
		}
		for j, c := range certs {
			if keys != nil && samePub(c, keys[i%len(keys)]) == nil {
				chain := []*x509.Certificate{c}
				for l, x := range certs { // the leaf first; without doubles
					if l != j && !x.Equal(c) {
						chain = append(chain, x)
					}
				}
				o.keep(chain, keys[i%len(keys)])
				return true, nil
			}
		}
		if keys == nil { // no CSR of ours: a renewal of the client certificate
			return true, nil
		}
		return false, errors.New("no certificate for the requested key")
	})
	return res.print()
}
