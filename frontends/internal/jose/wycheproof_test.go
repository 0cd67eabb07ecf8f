package jose

import (
	"compress/gzip"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// A vectorFile is one of testdata/wycheproof.
type vectorFile struct {
	NumberOfTests int
	TestGroups    []struct {
		PublicKeyDER string // hexadecimal SubjectPublicKeyInfo
		Public       json.RawMessage
		Tests        []struct {
			TcID                      int
			Comment, Msg, Sig, Result string
			JWS                       json.RawMessage // compact, or an object
		}
	}
}

func vectors(t *testing.T, name string) vectorFile {
	t.Helper()
	f, err := os.Open("testdata/wycheproof/" + name + "_test.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.NewDecoder(z).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// XJ-020, A-014: every signature of the vectors is taken for what it is.
func TestWycheproof(t *testing.T) {
	for name, alg := range map[string]Algorithm{
		"ecdsa_secp256r1_sha256_p1363": ES256, "ecdsa_secp384r1_sha384_p1363": ES384, "ecdsa_secp521r1_sha512_p1363": ES512,
		"ed25519": EdDSA, "rsa_signature_2048_sha256": RS256,
	} {
		v := vectors(t, name)
		done := 0
		for _, g := range v.TestGroups {
			pub, err := x509.ParsePKIXPublicKey(unhex(t, g.PublicKeyDER))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, tt := range g.Tests {
				done++
				ok, fits := verify(pub, alg, unhex(t, tt.Sig), string(unhex(t, tt.Msg)))
				if !fits || tt.Result == "valid" && !ok || tt.Result == "invalid" && ok {
					t.Errorf("%s %d (%s): %v, %s", name, tt.TcID, tt.Comment, ok, tt.Result)
				}
			}
		}
		if done != v.NumberOfTests || done == 0 {
			t.Errorf("%s: %d of %d", name, done, v.NumberOfTests)
		}
	}
}

// The vectors of whole JSON Web Signatures are in compact form with headers of
// their own, so they are taken apart here; keys, encoding and verification are
// those of this package. What is valid and of an algorithm that ACME does not
// take must be refused too.
func TestWycheproofJWS(t *testing.T) {
	v := vectors(t, "json_web_signature")
	valid, invalid, otherUse := 0, 0, 0
	for _, g := range v.TestGroups {
		for _, tt := range g.Tests {
			alg, ok := takesJWS(g.Public, tt.JWS)
			ours := alg == ES256 || alg == ES512 || alg == RS256
			switch {
			case strings.HasPrefix(tt.Comment, "rejectWrong"), tt.Comment == "UsingRS256" && ok:
				// The signature is right, of a key that says it is for something else.
				// What a key says of itself beside its numbers (use, key_ops, alg)
				// counts for nothing here.
				otherUse++
			case tt.Result == "valid" && ours && g.Public != nil:
				if valid++; !ok {
					t.Errorf("%d (%s) is valid", tt.TcID, tt.Comment)
				}
			case ok:
				t.Errorf("%d (%s, %s): taken", tt.TcID, tt.Comment, tt.Result)
			default:
				invalid++
			}
		}
	}
	if valid != 12 || invalid != 384 || otherUse != 5 {
		t.Errorf("%d valid, %d not, %d of keys for something else", valid, invalid, otherUse)
	}
}

func takesJWS(jwk, jws json.RawMessage) (alg Algorithm, ok bool) {
	var compact string
	if jwk == nil || json.Unmarshal(jws, &compact) != nil {
		return "", false
	}
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return "", false
	}
	header, err := Decode("protected", parts[0])
	if err != nil {
		return "", false
	}
	var h struct{ Alg Algorithm }
	if json.Unmarshal(header, &h) != nil {
		return "", false
	}
	sig, err := Decode("signature", parts[2])
	if err != nil {
		return h.Alg, false
	}
	k, err := ParseKey(jwk)
	if err != nil {
		return h.Alg, false
	}
	ok, fits := verify(crypto.PublicKey(k.Public), h.Alg, sig, parts[0], ".", parts[1])
	return h.Alg, ok && fits
}
