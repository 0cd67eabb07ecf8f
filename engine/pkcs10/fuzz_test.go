package pkcs10

import (
	"bytes"
	"crypto/x509"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, raw := range recorded(f) {
		f.Add(raw)
	}
	q := newTemplate(f)
	q.attributes = [][]byte{attribute(rawMicrosoft, der(0x30, sanOf(f, "a.test"))), attribute(rawChallengePassword, der(30, []byte("\x00a")))}
	f.Add(q.build(f))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Parse(in)
		if err != nil {
			if r != nil || kindOf(err) == "" {
				t.Fatalf("gave %v, %T", r, err)
			}
			return
		}
		if !bytes.Equal(r.DER, in) {
			t.Fatal("the request changed")
		}
		_ = r.String()
		verified := r.CheckSignature() == nil
		// The standard library knows PSS with a salt as long as the hash only.
		if theirs, err := x509.ParseCertificateRequest(in); verified && err == nil &&
			theirs.SignatureAlgorithm != x509.UnknownSignatureAlgorithm && theirs.CheckSignature() != nil {
			t.Fatal("the standard library refuses the signature")
		}
		cut := r.WithoutSecrets()
		again, err := Parse(cut)
		if err != nil || again.ChallengePassword != "" || !again.Subject.Equal(r.Subject) || len(again.Names) != len(r.Names) {
			t.Fatalf("%x became %v, %v", cut, again, err)
		}
		if r.ChallengePassword == "" != bytes.Equal(cut, in) {
			t.Fatal("cut where nothing was, or not cut")
		}
	})
}

func FuzzParsePEMOrDER(f *testing.F) {
	for _, raw := range recorded(f) {
		f.Add([]byte(block("CERTIFICATE REQUEST", raw)))
		f.Add(raw)
	}
	f.Add([]byte(block("PRIVATE KEY", []byte{0x30, 3, 2, 1, 0})))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := ParsePEMOrDER(in)
		if err != nil {
			if got != nil {
				t.Fatal("an error and a request")
			}
			return
		}
		if bytes.Contains(in, []byte("PRIVATE KEY")) || privateDER(got) {
			t.Fatal("a private key passed")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, raw := range recorded(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseAndCheck(b *testing.B) {
	for _, name := range []string{"ec-names", "rsa-challenge", "rsa-pss", "ed25519-bare"} {
		raw := recorded(b)[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				if err := r.CheckSignature(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
