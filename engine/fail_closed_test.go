package engine

import (
	"context"
	"crypto"
	"errors"
	"io"
	"testing"
)

// XD-011: a lint that fails, finds, or ends the program issues nothing.
func TestXD_011_LintsFailClosed(t *testing.T) {
	w := newWorld(t)
	for n, lint := range map[string]Lint{
		"fails": func(context.Context, []byte) ([]Finding, error) { return nil, errBoom },
		"finds": func(context.Context, []byte) ([]Finding, error) {
			return []Finding{{Severity: "error", Rule: "r"}}, nil
		},
		"panics": func(context.Context, []byte) ([]Finding, error) { panic(errBoom) },
	} {
		w.setup.Lints = []Step[Lint]{{Name: n, Run: lint}}
		w.use()
		func() {
			defer func() { _ = recover() }() // as whoever serves does
			d, err := w.Submit(t.Context(), w.submission(n, newKey(t), "a.test"))
			if _, denied := d.(Denied); denied != (n == "finds") || (err != nil) != (n == "fails") {
				t.Errorf("%s: %#v, %v", n, d, err)
			}
		}()
	}
	if n := countCertificates(t, w); n != 0 {
		t.Errorf("%d certificates", n)
	}
	w.setup.Lints = nil
	w.use()
	w.issue(w.submission("well", newKey(t), "a.test"))
}

// A liar is a signer, such as a token, that returns what it should not.
type liar struct {
	crypto.Signer
	says func() ([]byte, error)
}

func (l *liar) Sign(random io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if l.says != nil {
		return l.says()
	}
	return l.Signer.Sign(random, digest, o)
}

// XD-013: no signature leaves that the CA certificate does not verify, whatever
// the token says; when it works again the request becomes the certificate that
// was decided.
func TestXD_013_SignersThatLie(t *testing.T) {
	w := newWorld(t)
	token := &liar{Signer: w.current["main"].Key}
	w.conf.Issuers[0].Key = token
	w.open()
	other := newKey(t)
	s := w.submission("1", newKey(t), "a.test")
	for what, says := range map[string]func() ([]byte, error){
		"nothing":               func() ([]byte, error) { return nil, nil },
		"garbage":               func() ([]byte, error) { return []byte("no signature"), nil },
		"another key's":         func() ([]byte, error) { return other.Sign(nil, make([]byte, 32), crypto.SHA256) },
		"that it lost the slot": func() ([]byte, error) { return nil, errBoom },
	} {
		token.says = says
		if d, err := w.Submit(t.Context(), s); !errors.Is(err, ErrUndecided) {
			t.Errorf("a token that says %s: %#v, %v", what, d, err)
		}
	}
	if n := countCertificates(t, w); n != 0 {
		t.Fatalf("%d certificates", n)
	}
	r, err := w.find(t.Context(), s.Key.String())
	if err != nil || r.State != Issuing {
		t.Fatalf("%+v, %v", r, err)
	}
	token.says = nil
	if i, _ := w.issue(s); i.ID != r.Cert {
		t.Errorf("decided %s, issued %s", r.Cert, i.ID)
	}
}
