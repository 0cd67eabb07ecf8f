package tbs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"chancery/engine/tbs"
)

func TestWithoutSerialAndDates(t *testing.T) {
	key1 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	key2 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	alg := must(tbs.AlgorithmFor(key1.Public()))
	cut := func(alsoKey bool, change func(*tbs.Certificate)) string {
		c := leaf(key1.Public())
		change(c)
		out := must(tbs.WithoutSerialAndDates(must(tbs.Render(c, alg)), alsoKey, false))
		var seq asn1.RawValue
		if rest, err := asn1.Unmarshal(out, &seq); err != nil || len(rest) > 0 {
			t.Fatalf("not DER: %v", err)
		}
		return string(out)
	}
	same := func(*tbs.Certificate) {}
	full, keyless := cut(false, same), cut(true, same)
	if full == keyless {
		t.Fatal("the two forms are the same")
	}

	tests := []struct {
		what          string
		change        func(*tbs.Certificate)
		full, keyless bool // still the same
	}{
		{"serial", func(c *tbs.Certificate) { c.Serial = []byte{77} }, true, true},
		{"dates", func(c *tbs.Certificate) { c.NotAfter = c.NotAfter.Add(time.Hour) }, true, true},
		{"key", func(c *tbs.Certificate) { c.SPKI = spki(key2.Public()) }, false, true},
		{"key id", func(c *tbs.Certificate) { c.Extensions[3] = tbs.SKI([]byte("another")) }, false, true},
		{"subject", func(c *tbs.Certificate) { c.Subject = cn("b.example") }, false, false},
		{"issuer", func(c *tbs.Certificate) { c.Issuer = cn("Another CA") }, false, false},
		{"names", func(c *tbs.Certificate) { c.Extensions[6] = san("a.example") }, false, false},
		{"criticality", func(c *tbs.Certificate) { c.Extensions[6].Critical = true }, false, false},
		{"order", func(c *tbs.Certificate) { e := c.Extensions; e[0], e[1] = e[1], e[0] }, false, false},
	}
	for _, tt := range tests {
		if got := cut(false, tt.change) == full; got != tt.full {
			t.Errorf("%s: same %v, want %v", tt.what, got, tt.full)
		}
		if got := cut(true, tt.change) == keyless; got != tt.keyless {
			t.Errorf("%s without key: same %v, want %v", tt.what, got, tt.keyless)
		}
	}
	for _, bad := range [][]byte{nil, {0x30, 0}, []byte(full), []byte("text")} {
		if _, err := tbs.WithoutSerialAndDates(bad, false, false); !errors.Is(err, tbs.ErrNotTBS) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// FuzzRender checks that whatever is rendered is read back as it was meant.
func FuzzRender(f *testing.F) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	alg := must(tbs.AlgorithmFor(key.Public()))
	f.Add([]byte{1, 2, 3}, "a.example", int64(1772366400), int64(7776000), "1.3.6.1.4.1.99999.1", []byte{5, 0}, true)
	f.Add([]byte{0, 0x80}, "", int64(2524607999), int64(1), "2.5.29.32", []byte{4, 1, 65}, false)
	f.Fuzz(func(t *testing.T, serial []byte, subject string, from, length int64, oid string, value []byte, critical bool) {
		c := leaf(key.Public())
		c.Serial = serial
		if utf8.ValidString(subject) {
			c.Subject = cn(subject)
		}
		c.NotBefore = time.Unix(from%(1<<40), 0)
		c.NotAfter = c.NotBefore.Add(time.Duration(length))
		c.Extensions = append(c.Extensions, tbs.Extension{OID: oid, Critical: critical, Value: value})
		rendered, err := tbs.Render(c, alg)
		if err != nil {
			return
		}
		p, err := x509.ParseCertificate(tbs.Twin(rendered, alg))
		if err != nil {
			if isStandard(oid) {
				return // crypto/x509 looks into these values
			}
			t.Fatalf("%v\n%x", err, rendered)
		}
		if !bytes.Equal(p.RawTBSCertificate, rendered) || !p.NotBefore.Equal(c.NotBefore) || !p.NotAfter.Equal(c.NotAfter) {
			t.Fatal("read back as something else")
		}
		last := p.Extensions[len(p.Extensions)-1]
		if !bytes.Equal(last.Value, value) || last.Critical != critical || last.Id.String() != oid {
			t.Fatalf("extension %q read back as %v", oid, last)
		}
		if _, err := tbs.WithoutSerialAndDates(rendered, true, false); err != nil {
			t.Fatal(err)
		}
	})
}

func isStandard(oid string) bool {
	return strings.HasPrefix(oid, "2.5.29.") || strings.HasPrefix(oid, "1.3.6.1.5.")
}

func BenchmarkRenderTwin(b *testing.B) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	alg := must(tbs.AlgorithmFor(key.Public()))
	c := leaf(key.Public())
	b.ReportAllocs()
	for b.Loop() {
		tbs.Twin(must(tbs.Render(c, alg)), alg)
	}
}

func BenchmarkSign(b *testing.B) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	alg := must(tbs.AlgorithmFor(key.Public()))
	rendered := must(tbs.Render(leaf(key.Public()), alg))
	for b.Loop() {
		must(tbs.Sign(rendered, alg, key))
	}
}
