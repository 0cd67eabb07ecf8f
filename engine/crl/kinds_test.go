package crl_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"chancery/engine/crl"
)

// Deltas and lists of a part say so in critical extensions (O-025, O-026).
func TestKinds(t *testing.T) {
	a := newAuthority(p256(), nil)
	at := "http://a.test/1"
	point := "\xa0\x13\xa0\x11\x86\x0f" + at
	for name, tt := range map[string]struct {
		list     crl.List
		oid      string
		critical bool
		value    string
	}{
		"delta":    {crl.List{Base: big.NewInt(128)}, "2.5.29.27", true, "\x02\x02\x00\x80"},
		"part":     {crl.List{Part: []string{at}}, "2.5.29.28", true, "\x30\x18" + point + "\x81\x01\xff"},
		"freshest": {crl.List{Freshest: []string{at}}, "2.5.29.46", false, "\x30\x17\x30\x15" + point},
	} {
		l := tt.list
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(129), now, now.Add(time.Hour)
		parsed := must(x509.ParseRevocationList(must(crl.Build(a.cert, a.key, l, crl.Entries()))))
		found := false
		for _, x := range parsed.Extensions {
			if x.Id.String() == tt.oid {
				found = x.Critical == tt.critical && bytes.Equal(x.Value, []byte(tt.value))
				if !found {
					t.Errorf("%s: %v %x", name, x.Critical, x.Value)
				}
			}
		}
		if !found || len(parsed.Extensions) != 3 {
			t.Errorf("%s: %v", name, parsed.Extensions)
		}
		_, err := crl.Build(a.cert, a.key, l, crl.Entries(crl.Entry{Serial: []byte{5}, At: now, Reason: 8}))
		if (err == nil) != (name == "delta") {
			t.Errorf("%s: removeFromCRL: %v", name, err)
		}
	}
	for _, l := range []crl.List{{Base: big.NewInt(129)}, {Base: big.NewInt(-1)}, {Base: big.NewInt(1), Part: []string{at}}, {Base: big.NewInt(1), Freshest: []string{at}}} {
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(129), now, now.Add(time.Hour)
		if _, err := crl.Build(a.cert, a.key, l, crl.Entries()); !errors.Is(err, crl.ErrNumber) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
