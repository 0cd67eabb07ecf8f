package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
)

type account struct {
	key   crypto.Signer
	alg   string
	kid   string
	jwk   string
	thumb string
}

func newAccount(alg string) (*account, error) {
	a := &account{alg: alg}
	var err error
	switch alg {
	case "ES256":
		a.key, err = newKey("ec256")
	case "RS256":
		a.key, err = newKey("rsa2048")
	default:
		err = fmt.Errorf("unknown JWS algorithm %q", alg)
	}
	if err != nil {
		return nil, err
	}
	switch p := a.key.Public().(type) {
	case *ecdsa.PublicKey:
		raw, err := p.Bytes() // 04 || X || Y
		if err != nil {
			return nil, err
		}
		a.jwk = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, b64.EncodeToString(raw[1:33]), b64.EncodeToString(raw[33:65]))
	case *rsa.PublicKey:
		a.jwk = fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`, b64.EncodeToString(big.NewInt(int64(p.E)).Bytes()), b64.EncodeToString(p.N.Bytes()))
	}
	h := sha256.Sum256([]byte(a.jwk))
	a.thumb = b64.EncodeToString(h[:])
	return a, nil
}

// sign makes a flattened JWS. kid empty means the jwk form.
func (a *account) sign(url, nonce string, payload []byte) ([]byte, error) {
	id := `"kid":"` + a.kid + `"`
	if a.kid == "" {
		id = `"jwk":` + a.jwk
	}
	prot := b64.EncodeToString([]byte(`{"alg":"` + a.alg + `",` + id + `,"nonce":"` + nonce + `","url":"` + url + `"}`))
	pl := b64.EncodeToString(payload)
	h := sha256.Sum256([]byte(prot + "." + pl))
	var sig []byte
	switch k := a.key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, h[:])
		if err != nil {
			return nil, err
		}
		sig = make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
	case *rsa.PrivateKey:
		var err error
		if sig, err = rsa.SignPKCS1v15(nil, k, crypto.SHA256, h[:]); err != nil {
			return nil, err
		}
	}
	return []byte(`{"protected":"` + prot + `","payload":"` + pl + `","signature":"` + b64.EncodeToString(sig) + `"}`), nil
}

func (r *acmeRun) putNonce(resp *http.Response) {
	if n := resp.Header.Get("Replay-Nonce"); n != "" {
		select {
		case r.nonces <- n:
		default:
		}
	}
}

// nonceBox is where one flow finds its next nonce. Warm runs share a pool.
type nonceBox struct{ n string }

func (r *acmeRun) nonce(ctx context.Context, nb *nonceBox) (string, error) {
	if nb != nil {
		if n := nb.n; n != "" {
			nb.n = ""
			return n, nil
		}
	} else {
		select {
		case n := <-r.nonces:
			return n, nil
		default:
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, r.urls.NewNonce, nil)
	if err != nil {
		return "", err
	}
	resp, _, err := r.st.do(r.cl, req)
	if err != nil {
		return "", err
	}
	n := resp.Header.Get("Replay-Nonce")
	if n == "" {
		return "", errors.New("newNonce gave no nonce")
	}
	return n, nil
}

// post sends a signed request; payload nil is POST-as-GET.
func (r *acmeRun) post(ctx context.Context, a *account, nb *nonceBox, url string, payload []byte) (*http.Response, []byte, error) {
	for range 5 {
		nonce, err := r.nonce(ctx, nb)
		if err != nil {
			return nil, nil, err
		}
		body, err := a.sign(url, nonce, payload)
		if err != nil {
			return nil, nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set("Content-Type", "application/jose+json")
		resp, b, err := r.st.do(r.cl, req)
		if err != nil {
			return nil, nil, err
		}
		if nb != nil {
			nb.n = resp.Header.Get("Replay-Nonce")
		} else {
			r.putNonce(resp)
		}
		if resp.StatusCode >= 400 {
			if bytes.Contains(b, []byte("urn:ietf:params:acme:error:badNonce")) {
				r.retries.Add(1)
				continue
			}
			return resp, b, fmt.Errorf("%s: %s: %s", url, resp.Status, snippet(b))
		}
		return resp, b, nil
	}
	return nil, nil, errors.New("badNonce five times")
}

func (r *acmeRun) getDir(ctx context.Context) (acmeDir, error) {
	var d acmeDir
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.dir, nil)
	if err != nil {
		return d, err
	}
	resp, b, err := r.st.do(r.cl, req)
	if err != nil {
		return d, err
	}
	if resp.StatusCode != 200 {
		return d, fmt.Errorf("directory: %s: %s", resp.Status, snippet(b))
	}
	return d, json.Unmarshal(b, &d)
}

func (r *acmeRun) register(ctx context.Context, nb *nonceBox) (*account, error) {
	a, err := newAccount(r.alg)
	if err != nil {
		return nil, err
	}
	pl := `{"termsOfServiceAgreed":true,"contact":["mailto:load@example.com"]}`
	if r.eab != "" {
		kid, mac, ok := strings.Cut(r.eab, ":")
		if !ok {
			return nil, errors.New("-eab wants kid:hmac")
		}
		secret, err := b64.DecodeString(strings.TrimRight(mac, "="))
		if err != nil {
			return nil, fmt.Errorf("-eab hmac: %w", err)
		}
		prot := b64.EncodeToString([]byte(`{"alg":"HS256","kid":"` + kid + `","url":"` + r.urls.NewAccount + `"}`))
		jwk := b64.EncodeToString([]byte(a.jwk))
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(prot + "." + jwk))
		pl = `{"termsOfServiceAgreed":true,"externalAccountBinding":{"protected":"` + prot + `","payload":"` + jwk + `","signature":"` + b64.EncodeToString(h.Sum(nil)) + `"}}`
	}
	resp, _, err := r.post(ctx, a, nb, r.urls.NewAccount, []byte(pl))
	if err != nil {
		return nil, err
	}
	if a.kid = resp.Header.Get("Location"); a.kid == "" {
		return nil, errors.New("newAccount gave no Location")
	}
	return a, nil
}
