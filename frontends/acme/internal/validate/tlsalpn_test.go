package validate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

var (
	www    = names.Name{Type: names.DNS, Value: "www.example.org"}
	www4   = names.Name{Type: names.IP, Value: "198.51.100.7"}
	digest = sha256.Sum256([]byte(ka))
)

// A responder is the applicant's server for acme-tls/1.
type responder struct {
	t      testing.TB
	f      *farm
	key    *ecdsa.PrivateKey
	config *tls.Config
	hello  *tls.ClientHelloInfo
	state  tls.ConnectionState
	read   int // octets of application data
	err    error
	served chan struct{}
}

func newResponder(t testing.TB) *responder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &responder{t: t, f: newFarm(t), key: key, served: make(chan struct{}, 1), config: &tls.Config{NextProtos: []string{acmeTLS}}}
	r.config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { r.hello = h; return nil, nil }
	answer := raw(t, func(c net.Conn) {
		defer func() { r.served <- struct{}{} }()
		s := tls.Server(c, r.config)
		if r.err = s.Handshake(); r.err != nil {
			return
		}
		r.state = s.ConnectionState()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		n, err := io.Copy(io.Discard, s)
		r.read, r.err = int(n), err
	})
	r.f.v.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		r.f.dial(ctx, "", addr[:strings.LastIndexByte(addr, ':')]+":0")
		return answer(ctx, network, addr)
	}
	r.show(extSAN(t, www), identifier(digest[:]))
	return r
}

// show makes the certificate that is shown, with these extensions and no others.
func (r *responder) show(extensions ...pkix.Extension) {
	r.t.Helper()
	r.config.Certificates = []tls.Certificate{{Certificate: [][]byte{r.certificate(extensions...)}, PrivateKey: r.key}}
}

func (r *responder) certificate(extensions ...pkix.Extension) []byte {
	r.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.org"}, ExtraExtensions: extensions,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, r.key.Public(), r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return der
}

func extSAN(t testing.TB, list ...names.Name) pkix.Extension {
	t.Helper()
	der, err := names.MarshalSAN(list)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: idSubjectAltName, Value: der}
}

func identifier(octets []byte) pkix.Extension {
	return pkix.Extension{Id: idPeAcmeIdentifier, Critical: true, Value: append([]byte{4, byte(len(octets))}, octets...)}
}

func (r *responder) validate(n names.Name) error {
	err := r.f.v.TLSALPN01(r.t.Context(), n, digest)
	<-r.served
	return err
}

// T-001, T-002, T-008, XN-021: what is asked, and that nothing is said after it.
func TestACME_T001_T008_HandshakeAndNothingElse(t *testing.T) {
	r := newResponder(t)
	for range 2 {
		if err := r.validate(www); err != nil {
			t.Fatal(err)
		}
		if p := r.hello.SupportedProtos; len(p) != 1 || p[0] != "acme-tls/1" || r.hello.ServerName != "www.example.org" {
			t.Errorf("asked for %v of %q", p, r.hello.ServerName)
		}
		if r.state.DidResume || r.read != 0 || r.err != nil {
			t.Errorf("resumed %v, %d octets, %v", r.state.DidResume, r.read, r.err)
		}
		for _, version := range r.hello.SupportedVersions {
			if version < tls.VersionTLS12 && version>>8 == 3 {
				t.Errorf("version %x was offered", version)
			}
		}
	}
	// The name of an alias is in no SNI.
	r.f.dns.CNAME("alias.example.org", "www.example.org")
	r.show(extSAN(t, names.Name{Type: names.DNS, Value: "alias.example.org"}), identifier(digest[:]))
	if err := r.validate(names.Name{Type: names.DNS, Value: "alias.example.org"}); err != nil || r.hello.ServerName != "alias.example.org" {
		t.Errorf("%v, %q", err, r.hello.ServerName)
	}
}

func TestACME_T003_OneNameAndNoOther(t *testing.T) {
	r := newResponder(t)
	dns := func(s string) names.Name { return names.Name{Type: names.DNS, Value: s} }
	empty := pkix.Extension{Id: idSubjectAltName, Value: []byte{0x30, 0}}
	for what, ext := range map[string]pkix.Extension{
		"two names":        extSAN(t, www, dns("b.example.org")),
		"the same twice":   {Id: idSubjectAltName, Value: append([]byte{0x30, 34}, []byte("\x82\x0fwww.example.org\x82\x0fwww.example.org")...)},
		"and an address":   extSAN(t, www, names.Name{Type: names.IP, Value: "198.51.100.7"}),
		"a wildcard":       extSAN(t, dns("*.example.org")),
		"another name":     extSAN(t, dns("example.org")),
		"an address":       extSAN(t, names.Name{Type: names.IP, Value: "198.51.100.7"}),
		"as mail":          extSAN(t, names.Name{Type: names.Email, Value: "a@www.example.org"}),
		"none":             empty,
		"trailing octets":  {Id: idSubjectAltName, Value: append(extSAN(t, www).Value, 0)},
		"NUL in the name":  {Id: idSubjectAltName, Value: []byte("\x30\x11\x82\x0fwww.example.or\x00")},
		"a dot at the end": {Id: idSubjectAltName, Value: []byte("\x30\x12\x82\x10www.example.org.")},
	} {
		r.show(ext, identifier(digest[:]))
		// A certificate that the library does not parse ends the handshake.
		if err := r.validate(www); err == nil {
			t.Errorf("%s was taken", what)
		} else if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != IncorrectResponse && e.Kind != TLS {
			t.Errorf("%s: %v", what, err)
		}
	}
	r.show(identifier(digest[:])) // the name is in the subject only
	fails(t, "common name", r.validate(www), IncorrectResponse)
}

func TestACME_T004_TheIdentifier(t *testing.T) {
	r := newResponder(t)
	other := sha256.Sum256([]byte("other"))
	relaxed := identifier(digest[:])
	relaxed.Critical = false
	legacy := identifier(digest[:])
	legacy.Id = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1}
	for what, ext := range map[string][]pkix.Extension{
		"not critical":    {relaxed},
		"legacy":          {legacy},
		"none":            {},
		"31 octets":       {identifier(digest[:31])},
		"33 octets":       {identifier(append(digest[:], 0))},
		"empty":           {identifier(nil)},
		"another digest":  {identifier(other[:])},
		"no OCTET STRING": {{Id: idPeAcmeIdentifier, Critical: true, Value: digest[:]}},
		"wrapped twice":   {{Id: idPeAcmeIdentifier, Critical: true, Value: append([]byte{4, 34, 4, 32}, digest[:]...)}},
		"trailing octets": {{Id: idPeAcmeIdentifier, Critical: true, Value: append(append([]byte{4, 32}, digest[:]...), 0)}},
		"a long length":   {{Id: idPeAcmeIdentifier, Critical: true, Value: append([]byte{4, 0x81, 32}, digest[:]...)}},
		"a BIT STRING":    {{Id: idPeAcmeIdentifier, Critical: true, Value: append([]byte{3, 32}, digest[:]...)}},
		"twice":           {identifier(digest[:]), identifier(digest[:])},
	} {
		r.show(append(ext, extSAN(t, www))...)
		err := r.validate(www)
		if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != IncorrectResponse && e.Kind != TLS {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestACME_T005_NamesAreComparedWithoutCase(t *testing.T) {
	r := newResponder(t)
	r.show(pkix.Extension{Id: idSubjectAltName, Value: []byte("\x30\x11\x82\x0fWWW.Example.ORG")}, identifier(digest[:]))
	if err := r.validate(www); err != nil {
		t.Error(err)
	}
}

// T-006, T-007, XN-021.
func TestXN_021_T006_T007_VersionAndProtocol(t *testing.T) {
	r := newResponder(t)
	r.config.MinVersion, r.config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	fails(t, "TLS 1.1", r.validate(www), TLS)
	r.config.MinVersion, r.config.MaxVersion = 0, 0
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"acme-tls/2"}} {
		r.config.NextProtos = protocols
		fails(t, strings.Join(protocols, ",")+" instead", r.validate(www), TLS)
	}
	r.config.NextProtos = []string{"h2", acmeTLS}
	r.config.MaxVersion = tls.VersionTLS12
	if err := r.validate(www); err != nil || r.state.Version != tls.VersionTLS12 {
		t.Errorf("%v, %x", err, r.state.Version)
	}
}

// T-009: who signed and until when does not matter; that there is one certificate does.
func TestACME_T009_ContentOnly(t *testing.T) {
	r := newResponder(t)
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0), ExtraExtensions: []pkix.Extension{extSAN(t, www), identifier(digest[:])}}
	parent := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "CA"}}
	der, err := x509.CreateCertificate(rand.Reader, old, parent, r.key.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	r.config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: r.key}}
	if err := r.validate(www); err != nil {
		t.Error(err)
	}
	r.config.Certificates[0].Certificate = [][]byte{der, r.certificate()}
	fails(t, "two certificates", r.validate(www), IncorrectResponse)
}

func TestACME_T013_Addresses(t *testing.T) {
	r := newResponder(t)
	for text, sni := range map[string]string{
		"198.51.100.7": "7.100.51.198.in-addr.arpa",
		"2001:db8::1f": "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		ip := names.Name{Type: names.IP, Value: text}
		r.show(extSAN(t, ip), identifier(digest[:]))
		r.f.dials()
		if err := r.validate(ip); err != nil || r.hello.ServerName != sni {
			t.Errorf("%v, SNI %q", err, r.hello.ServerName)
		}
		if d := r.f.dials(); len(d) != 1 || strings.Trim(d[0], "[]:0") != strings.Trim(text, ":0") {
			t.Errorf("%s: dialled %v", text, d)
		}
		// The name for the reverse look-up is no name of the certificate.
		r.show(extSAN(t, names.Name{Type: names.DNS, Value: sni}), identifier(digest[:]))
		fails(t, "reverse name", r.validate(ip), IncorrectResponse)
		r.show(extSAN(t, ip, www), identifier(digest[:]))
		fails(t, "and a name", r.validate(ip), IncorrectResponse)
	}
	if len(r.f.dns.Asked()) > 0 {
		t.Errorf("asked %v", r.f.dns.Asked())
	}
}

// XN-022: much and slow.
func TestXN_022_LargeAndSlow(t *testing.T) {
	r := newResponder(t)
	one := r.certificate(extSAN(t, www), identifier(digest[:]))
	r.config.Certificates[0].Certificate = nil
	for range 1000 {
		r.config.Certificates[0].Certificate = append(r.config.Certificates[0].Certificate, one)
	}
	if err := r.validate(www); err == nil {
		t.Error("a chain of 1000 was taken")
	}
	r.show(extSAN(t, www), identifier(digest[:]), pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 16<<20)})
	if err := r.validate(www); err == nil {
		t.Error("a certificate of 16 MB was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.f.v.dial = raw(t, func(c net.Conn) { cancel(); io.Copy(io.Discard, c) })
	fails(t, "silent", r.f.v.TLSALPN01(ctx, www, digest), Connection)
	r.f.v.dial = raw(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") })
	fails(t, "another protocol", r.f.v.TLSALPN01(t.Context(), www, digest), Connection)
}

// XN-023: certificates that crashed parsers.
func TestXN_023_PathologicalCertificates(t *testing.T) {
	r := newResponder(t)
	ext := func(oid asn1.ObjectIdentifier, value string) pkix.Extension {
		return pkix.Extension{Id: oid, Value: []byte(value)}
	}
	good := []pkix.Extension{extSAN(t, www), identifier(digest[:])}
	for what, x := range map[string]pkix.Extension{
		"empty EKU":              ext(asn1.ObjectIdentifier{2, 5, 29, 37}, "\x30\x00"),
		"EKU of a bad OID":       ext(asn1.ObjectIdentifier{2, 5, 29, 37}, "\x30\x04\x06\x02\x80\xff"),
		"EKU that lies":          ext(asn1.ObjectIdentifier{2, 5, 29, 37}, "\x30\x84\xff\xff\xff\xff"),
		"name constraints":       ext(asn1.ObjectIdentifier{2, 5, 29, 30}, "\x30\x06\xa0\x04\x30\x02\x82\x00"),
		"policies":               ext(asn1.ObjectIdentifier{2, 5, 29, 32}, "\x30\x00"),
		"basic constraints":      ext(asn1.ObjectIdentifier{2, 5, 29, 19}, "\x30\x03\x02\x01\xff"),
		"key usage of no bits":   ext(asn1.ObjectIdentifier{2, 5, 29, 15}, "\x03\x01\x00"),
		"AIA with a bad URI":     ext(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}, "\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x01\x86\x00"),
		"CRL points without end": ext(asn1.ObjectIdentifier{2, 5, 29, 31}, strings.Repeat("\x30\x80", 5000)),
	} {
		r.show(append(good[:2:2], x)...)
		err := r.validate(www) // any outcome but a panic
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A huge RSA key, with a signature that nobody will come to check.
	n := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 16384), big.NewInt(1))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), ExtraExtensions: good}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &rsa.PublicKey{N: n, E: 65537}, r.key)
	if err != nil {
		t.Fatal(err)
	}
	r.config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: r.key}}
	if err := r.validate(www); err == nil {
		t.Error("an RSA key of 16384 bits was taken")
	}
}

func FuzzAcmeCertificate(f *testing.F) {
	r := newResponder(f)
	f.Add(r.config.Certificates[0].Certificate[0])
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil || wrong(c, www, digest) != "" {
			return
		}
		if len(c.DNSNames) != 1 || !strings.EqualFold(c.DNSNames[0], www.Value) || len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) > 0 {
			t.Errorf("%v", c.DNSNames)
		}
	})
}

// A method is only for what it can prove, and no challenge is validated without
// the key of an account.
func TestXN_024_T012_T014_MethodsAndAddresses(t *testing.T) {
	f := newFarm(t)
	f.dns.TXT("_acme-challenge.example.org", "x")
	ip, wild := names.Name{Type: names.IP, Value: "198.51.100.7"}, names.Name{Type: names.DNS, Value: "*.example.org"}
	for _, c := range []Challenge{
		{Method: engine.DNS01, Name: ip}, {Method: engine.DNSAccount01, Name: ip}, {Method: engine.DNSPersist01, Name: ip},
		{Method: engine.HTTP01, Name: wild}, {Method: engine.TLSALPN01, Name: wild}, {Method: "x", Name: www},
	} {
		c.Thumbprints = []string{"thumbprint"}
		_, err := f.v.Validate(t.Context(), c)
		fails(t, string(c.Method), err, Malformed)
	}
	_, err := f.v.Validate(t.Context(), Challenge{Method: engine.HTTP01, Name: www})
	fails(t, "no key", err, Unauthorized)
	if len(f.dns.Asked()) > 0 || len(f.dials()) > 0 {
		t.Error("something was asked")
	}
	// T-012, XN-024: an address is asked as it is, under the same policy.
	hosts := ""
	f.handle = func(w http.ResponseWriter, r *http.Request) { hosts += " " + r.Host; io.WriteString(w, ka) }
	for _, a := range []string{"198.51.100.7", "2001:db8::7"} {
		ip.Value = a
		if _, err := f.v.Validate(t.Context(), Challenge{Method: engine.HTTP01, Name: ip, Token: "token", Thumbprints: []string{"thumbprint"}}); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if hosts != " 198.51.100.7 [2001:db8::7]" || len(f.dns.Asked()) > 0 {
		t.Errorf("asked%s, %v", hosts, f.dns.Asked())
	}
	f.dials()
	for _, a := range private {
		for _, m := range []engine.Method{engine.HTTP01, engine.TLSALPN01} {
			ip.Value = a
			_, err := f.v.Validate(t.Context(), Challenge{Method: m, Name: ip, Token: "token", Thumbprints: []string{"thumbprint"}})
			fails(t, string(m)+" "+a, err, Connection)
		}
	}
	if d := f.dials(); len(d) > 0 {
		t.Errorf("dialled %v", d)
	}
}
