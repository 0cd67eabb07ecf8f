package est_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"chancery/engine"
	"chancery/engine/keys"
	"chancery/frontends/est"
)

// The second decoder, by the ASN.1 of RFC 8951 and RFC 9908.
type (
	attr struct {
		Type   asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}
	keyTemplate struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString `asn1:"optional"`
	}
	extTemplate struct {
		ID       asn1.ObjectIdentifier
		Critical bool   `asn1:"optional"`
		Value    []byte `asn1:"optional"`
	}
	requestTemplate struct {
		Version    int
		Subject    []asn1.RawValue `asn1:"optional"`
		Key        keyTemplate     `asn1:"optional,tag:0"`
		Attributes []attr          `asn1:"tag:1,set"`
	}
)

func (c *client) attributes(label string) (oids []string, all map[string]attr) {
	t := c.w.t
	t.Helper()
	a := c.get(label+"csrattrs").want(t, 200)
	if ct := a.Header.Get("Content-Type"); ct != "application/csrattrs" {
		t.Errorf("Content-Type %q", ct)
	}
	der, err := base64.StdEncoding.DecodeString(a.body)
	if err != nil {
		t.Fatal(err)
	}
	var list []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		t.Fatalf("%v %x", err, rest)
	}
	all = map[string]attr{}
	for _, one := range list {
		if one.Tag == asn1.TagOID {
			var oid asn1.ObjectIdentifier
			if _, err := asn1.Unmarshal(one.FullBytes, &oid); err != nil {
				t.Fatal(err)
			}
			oids = append(oids, oid.String())
			continue
		}
		var a attr
		if rest, err := asn1.Unmarshal(one.FullBytes, &a); err != nil || len(rest) > 0 {
			t.Fatalf("%v %x", err, one.FullBytes)
		}
		if _, twice := all[a.Type.String()]; twice {
			t.Errorf("%s stands twice", a.Type)
		}
		all[a.Type.String()] = a
	}
	return oids, all
}

const (
	extReq         = "1.2.840.113549.1.9.14"
	infoTemplate   = "1.2.840.113549.1.9.16.2.61"
	extReqTemplate = "1.2.840.113549.1.9.16.2.62"
)

// templates are endpoints for profiles that want each kind of key.
func templates(w *world) {
	for name, rules := range map[string]keys.Rules{
		"ec": {RSAMax: -1, Curves: []string{"P-384"}}, "rsa": {RSAMin: 3072, Curves: []string{}}, "ed": {RSAMax: -1, Curves: []string{}, Ed25519: true}, "choice": {RSAMin: 3072},
	} {
		p := w.setup.Policy.Profiles["device"]
		p.Keys = rules
		w.setup.Policy.Profiles[name] = p
		w.config[name] = est.Endpoint{Profile: name, CSRAttributes: "template"}
	}
	w.config["names"] = est.Endpoint{Profile: "san", CSRAttributes: "template", Linking: "required"}
}

func TestEST_E020_E032_E033_E036_CSRAttributes(t *testing.T) {
	w := newWorld(t, templates)
	c := w.client()
	oids, all := c.attributes("")
	if len(oids) != 0 || len(all) != 1 || len(all[extReq].Values) != 1 {
		t.Fatalf("%v %v", oids, all)
	}
	var extensions []pkix.Extension
	if rest, err := asn1.Unmarshal(all[extReq].Values[0].FullBytes, &extensions); err != nil || len(rest) > 0 || len(extensions) != 1 {
		t.Fatalf("%v %v", extensions, err)
	}
	if got := hex.EncodeToString(extensions[0].Value); extensions[0].Id.String() != "2.5.29.37" || got != "301406082b0601050507030206082b06010505070301" {
		t.Errorf("%v %s", extensions[0].Id, got)
	}
	if oids, _ := c.attributes("linked/"); len(oids) != 1 || oids[0] != oidChallenge {
		t.Errorf("linking is not announced: %v", oids)
	}
	for label, want := range map[string]string{"ec": "06052b81040022", "rsa": "02020c00", "ed": "", "choice": "-"} {
		_, all := c.attributes(label + "/")
		value, found := "-", 0
		for _, oid := range []string{"1.2.840.10045.2.1", "1.2.840.113549.1.1.1", "1.3.101.112"} {
			if a, ok := all[oid]; ok {
				found, value = found+1, ""
				if len(a.Values) == 1 {
					value = hex.EncodeToString(a.Values[0].FullBytes)
				}
			}
		}
		if value != want || found > 1 {
			t.Errorf("%s: %s (%d)", label, value, found)
		}
	}
}

func (c *client) template(label string) requestTemplate {
	c.w.t.Helper()
	_, all := c.attributes(label)
	var in requestTemplate
	if rest, err := asn1.Unmarshal(all[infoTemplate].Values[0].FullBytes, &in); err != nil || len(rest) > 0 {
		c.w.t.Fatalf("%s: %v %x", label, err, all[infoTemplate].Values[0].FullBytes)
	}
	return in
}

func TestEST_E034_Templates(t *testing.T) {
	w := newWorld(t, templates)
	c := w.client()
	for label, has := range map[string]struct{ subject, key, placeholder bool }{
		"ec/": {true, true, false}, "rsa/": {true, true, true}, "ed/": {true, true, false}, "choice/": {true, false, false}, "names/": {false, false, false},
	} {
		in := c.template(label)
		if in.Version != 0 || (len(in.Subject) > 0) != has.subject || (len(in.Key.Algorithm.Algorithm) > 0) != has.key || (in.Key.Key.BitLength > 0) != has.placeholder {
			t.Errorf("%s: %+v", label, in)
		}
	}
	var key struct {
		N asn1.RawValue
		E int
	}
	if _, err := asn1.Unmarshal(c.template("rsa/").Key.Key.Bytes, &key); err != nil || len(key.N.Bytes) != 3072/8+1 {
		t.Errorf("%v %d", err, len(key.N.Bytes))
	}
	in := c.template("names/")
	if len(in.Attributes) != 2 || in.Attributes[0].Type.String() != oidChallenge || in.Attributes[1].Type.String() != extReqTemplate {
		t.Fatalf("%+v", in.Attributes)
	}
	var extensions []extTemplate
	if _, err := asn1.Unmarshal(in.Attributes[1].Values[0].FullBytes, &extensions); err != nil || len(extensions) != 2 ||
		extensions[1].ID.String() != "2.5.29.17" || extensions[1].Value != nil || len(extensions[0].Value) == 0 {
		t.Errorf("%+v %v", extensions, err)
	}
}

// TestEST_E035_RequestsMadeOfIt builds a request from what each endpoint says, and
// nothing else but the client's name.
func TestEST_E035_RequestsMadeOfIt(t *testing.T) {
	w := newWorld(t, templates)
	for _, label := range []string{"", "linked/", "ec/", "rsa/", "choice/", "names/"} {
		c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
		oids, all := c.attributes(label)
		var q want
		if t, ok := all[infoTemplate]; !ok || len(t.Values) == 0 || len(c.template(label).Subject) > 0 {
			q.cn = "dev.example.org"
		} else {
			q.dns = []string{"dev.example.org"}
		}
		if _, err := asn1.Unmarshal(all[extReq].Values[0].FullBytes, &q.extra); err != nil {
			t.Fatal(err)
		}
		if len(oids) == 1 {
			q.challenge = c.binding("tls-exporter")
		}
		var key crypto.Signer = newKey(t)
		var err error
		if _, is := all["1.2.840.113549.1.1.1"]; is {
			key, err = rsa.GenerateKey(rand.Reader, 3072)
		} else if _, is := all["1.2.840.10045.2.1"]; is {
			key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		}
		if err != nil {
			t.Fatal(err)
		}
		if a := c.post(label+"simpleenroll", w.csr(key, q)); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", label, a.StatusCode, a.body)
		}
	}
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	c.post("ec/simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 400) // another curve than announced
	c.post("names/simpleenroll", w.csr(newKey(t), want{dns: []string{"dev.example.org"}})).want(t, 400)
}
