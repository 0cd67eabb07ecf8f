package engine

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"chancery/store"
)

// acmeGrant makes an ACME grant and returns its MAC key.
func (w *world) acmeGrant(g Grant) (*Grant, []byte) {
	w.t.Helper()
	g.Protocol = ACME
	made, secret, err := w.CreateGrant(w.t.Context(), admin, g)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil || len(key) != 32 {
		w.t.Fatalf("secret %q: %v", secret, err)
	}
	return made, key
}

func macOf(key []byte, input string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(input))
	return h.Sum(nil)
}

func TestCheckMAC(t *testing.T) {
	w := newWorld(t)
	g, key := w.acmeGrant(Grant{Endpoints: []string{"default"}})
	check := func(endpoint, id string, key []byte) error {
		_, err := w.CheckMAC(t.Context(), ACME, endpoint, id, crypto.SHA256, []byte("x"), macOf(key, "x"))
		return err
	}
	if err := check("default", g.ID, key); err != nil {
		t.Fatal(err)
	}
	unknown := store.NewID(w.now(), w.Rand)
	wrong, none := check("default", g.ID, make([]byte, 32)), check("default", unknown, key)
	if !errors.Is(wrong, ErrNoGrant) || !errors.Is(none, ErrNoGrant) || wrong.Error() != none.Error() {
		t.Errorf("a wrong key says %v, an unknown grant %v", wrong, none)
	}
	for name, err := range map[string]error{
		"other endpoint": check("other", g.ID, key), "no id": check("default", "x", key),
		"zero key for an unknown grant": check("default", unknown, make([]byte, 32)), "empty key": check("default", unknown, nil),
	} {
		if !errors.Is(err, ErrNoGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
	native, secret, err := w.CreateGrant(t.Context(), admin, Grant{Protocol: Native, Names: patterns(t, "any")})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(secret)
	if err := check("default", native.ID, raw); !errors.Is(err, ErrNoGrant) {
		t.Errorf("a grant of another protocol: %v", err)
	}
	if err := w.RevokeGrant(t.Context(), admin, g.ID); err != nil {
		t.Fatal(err)
	}
	if err := check("default", g.ID, key); !errors.Is(err, ErrNoGrant) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked: %v", err)
	}
}

// The key of a MAC is in the store only sealed, for its own row.
func TestMACKeysAreSealed(t *testing.T) {
	w := newWorld(t)
	a, key := w.acmeGrant(Grant{})
	b, _ := w.acmeGrant(Grant{})
	if bytes.Contains(a.Sealed, key) {
		t.Error("the key is in the clear")
	}
	for name, open := range map[string]func() ([]byte, error){
		"another row":   func() ([]byte, error) { return w.unseal(grants.Name, b.ID, a.Sealed) },
		"another table": func() ([]byte, error) { return w.unseal("x", a.ID, a.Sealed) },
		"changed":       func() ([]byte, error) { return w.unseal(grants.Name, a.ID, append(bytes.Clone(a.Sealed), 0)) },
		"cut":           func() ([]byte, error) { return w.unseal(grants.Name, a.ID, a.Sealed[:5]) },
		"another secret": func() ([]byte, error) {
			w.MACKey = bytes.Repeat([]byte{9}, 32)
			return w.unseal(grants.Name, a.ID, a.Sealed)
		},
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opens to %x", name, got)
		}
	}
}

func TestBindGrant(t *testing.T) {
	w := newWorld(t)
	bind := func(id string) error {
		return w.update(t.Context(), func(tx store.Tx) error { return w.BindGrant(tx, id) })
	}
	once, _ := w.acmeGrant(Grant{Accounts: 1})
	many, _ := w.acmeGrant(Grant{})
	for name, want := range map[string]bool{once.ID: false, many.ID: true} {
		if err := bind(name); err != nil {
			t.Error(err)
		}
		if err := bind(name); (err == nil) != want || err != nil && !errors.Is(err, ErrNoGrant) {
			t.Errorf("the second account: %v", err)
		}
	}
	if err := w.RevokeGrant(t.Context(), admin, many.ID); err != nil {
		t.Fatal(err)
	}
	if err := bind(many.ID); !errors.Is(err, ErrNoGrant) {
		t.Errorf("revoked: %v", err)
	}
	for name, g := range map[string]Grant{
		"accounts of another protocol": {Protocol: Native, Accounts: 1}, "fewer than none": {Protocol: ACME, Accounts: -1},
		"a holder": {Protocol: ACME, Holder: "key:01"}, "nothing prevalidated": {Protocol: ACME, Prevalidated: true},
	} {
		if _, _, err := w.CreateGrant(t.Context(), admin, g); !errors.Is(err, ErrBadInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An ACME account can have what its grant lists, if it also proves it, and
// nothing once the grant has ended.
func TestBoundAccounts(t *testing.T) {
	w := newWorld(t)
	for name, p := range w.setup.Policy.Profiles {
		p.Frontends = append(p.Frontends, ACME)
		w.setup.Policy.Profiles[name] = p
	}
	w.use()
	g, _ := w.acmeGrant(Grant{Profiles: []string{"web"}, Names: patterns(t, "*.corp.test"), Uses: 2})
	by := func(id, profile string, list ...string) Submission {
		s := w.submission(id, newKey(t), list...)
		s.Source, s.Profile = ACME, profile
		s.Proofs = append(s.Proofs, Proof{Method: ByGrant, Ref: g.ID, At: w.now()})
		return s.as("account:1", id)
	}
	unproved := by("0", "web", "a.corp.test")
	unproved.Proofs = unproved.Proofs[1:]
	w.denied(unproved, NameNotAllowed)
	w.denied(by("1", "web", "a.other.test"), NameNotAllowed)
	w.denied(by("2", "manual", "a.corp.test"), NotAuthorized)
	elsewhere := by("3", "web", "a.corp.test")
	elsewhere.Endpoint = "default"
	g2, _ := w.acmeGrant(Grant{Endpoints: []string{"other"}})
	elsewhere.Proofs[1].Ref = g2.ID
	w.denied(elsewhere, NotAuthorized)
	w.issue(by("4", "web", "a.corp.test"))
	w.issue(by("5", "web", "b.corp.test"))
	w.denied(by("6", "web", "c.corp.test"), NotAuthorized) // used up

	g, _ = w.acmeGrant(Grant{Names: patterns(t, "*.corp.test"), Prevalidated: true})
	vouched := by("7", "web", "d.corp.test")
	vouched.Proofs = vouched.Proofs[1:]
	w.issue(vouched)
	if err := w.RevokeGrant(t.Context(), admin, g.ID); err != nil {
		t.Fatal(err)
	}
	w.denied(by("8", "web", "e.corp.test"), NotAuthorized)
}

func TestAlternates(t *testing.T) {
	w := newWorld(t)
	is := w.current["main"]
	text := func(ders ...[]byte) string {
		var b bytes.Buffer
		for _, der := range ders {
			if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
				t.Fatal(err)
			}
		}
		return b.String()
	}
	try := func(chains ...string) error {
		p := w.setup.Policy
		p.Authorities = map[string]Authority{}
		for name, a := range w.setup.Policy.Authorities {
			p.Authorities[name] = a
		}
		a := p.Authorities["main"]
		a.Chains = chains
		p.Authorities["main"] = a
		s := w.setup
		s.Policy = p
		_, err := w.Use(t.Context(), s, "test")
		return err
	}
	if err := try(text(is.cert.Raw)); err != nil {
		t.Fatal(err)
	}
	if got := w.Alternates(is.keyID); len(got) != 1 || len(got[0]) != 1 || !bytes.Equal(got[0][0], is.cert.Raw) {
		t.Errorf("%d chains", len(got))
	}
	other := w.current[ManagementAuthority].cert
	for name, chain := range map[string]string{
		"empty": "", "no PEM": "x", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "garbage": text([]byte{1}),
		"another CA": text(other.Raw), "not signed by the next": text(is.cert.Raw, other.Raw),
	} {
		if err := try(chain); err == nil || !strings.Contains(err.Error(), "authorities.main.chains: number 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.Alternates("00") != nil {
		t.Error("another key has chains")
	}
}
