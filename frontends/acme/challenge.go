package acme

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/acme/internal/validate"
	"chancery/store"
)

// challengeTypes are all that there are. Those of RFCs come first, and are
// offered unless the configuration says otherwise.
var challengeTypes = []engine.Method{engine.HTTP01, engine.DNS01, engine.TLSALPN01, engine.DNSAccount01, engine.DNSPersist01}

const standardTypes = 3

// offered lists the challenges of the endpoint, as its configuration has them.
func (e *Endpoint) offered() []engine.Method {
	if len(e.Challenges) == 0 {
		return challengeTypes[:standardTypes]
	}
	return e.Challenges
}

func (e *Endpoint) offersDNS() bool { return slices.ContainsFunc(e.offered(), speaksBelow) }

// proves reports whether a challenge can prove control of a name, or of it and
// everything below.
func proves(m engine.Method, n names.Name, below bool) bool {
	switch {
	case n.Type == names.IP: // RFC 8738, Section 7: not by the DNS
		return m == engine.HTTP01 || m == engine.TLSALPN01
	case below: // RFC 9444
		return speaksBelow(m)
	case n.Wildcard(): // RFC 8555, Section 7.1.3: by the DNS alone
		return m != engine.HTTP01 && m != engine.TLSALPN01
	}
	return true
}

// challengesFor lists the challenges by which a name can be proved here.
func (e *Endpoint) challengesFor(n names.Name, below bool) (out []engine.Method) {
	for _, m := range e.offered() {
		if proves(m, n, below) {
			out = append(out, m)
		}
	}
	return out
}

// checksCAA reports whether any certificate from here needs the consent of CAA
// records.
func (e *Endpoint) checksCAA(d *Deps) bool {
	return slices.ContainsFunc(e.Profiles, func(name string) bool {
		p := d.Profiles[name]
		return p.ChecksCAA()
	})
}

// newChallenge makes a challenge. RFC 8555, Section 8.3: its token has at least
// 128 bits, in base64url, and each challenge has its own.
func newChallenge(m engine.Method, random io.Reader) (challenge, error) {
	if m == engine.DNSPersist01 { // draft-ietf-acme-dns-persist, Section 3.1: without a token
		return challenge{Type: m}, nil
	}
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return challenge{}, err
	}
	return challenge{Type: m, Token: base64.RawURLEncoding.EncodeToString(b[:])}, nil
}

// shownChallenge is the challenge object of RFC 8555, Section 7.1.5.
func (p *endpoint) shownChallenge(a *authz, ch *challenge) any {
	out := struct {
		Type      engine.Method `json:"type"`
		URL       string        `json:"url"`
		Status    string        `json:"status"`
		Token     string        `json:"token,omitempty"`
		Validated string        `json:"validated,omitempty"`
		Error     any           `json:"error,omitempty"`

		// draft-ietf-acme-dns-persist-02, Section 3.1, and as draft 01 spells it.
		Issuers   []string `json:"issuerDomainNames,omitempty"`
		Issuers01 []string `json:"issuer-domain-names,omitempty"`
	}{Type: ch.Type, URL: p.base + "/challenge/" + a.ID + "/" + string(ch.Type), Status: "pending", Token: ch.Token}
	switch ch.State {
	case processing:
		out.Status = "processing"
	case valid:
		out.Status, out.Validated = "valid", clock(a.Validated)
	case invalid:
		out.Status = "invalid"
	}
	if ch.Error != nil {
		out.Error = ch.Error.shown()
	}
	if ch.Type == engine.DNSPersist01 {
		out.Issuers, out.Issuers01 = p.identities, p.identities
	}
	return out
}

// AccountURL is the address of an account, which identifies it to the outside
// (RFC 8555, Section 7.3; RFC 8657, Section 3.1). base is that of its endpoint.
func AccountURL(base, id string) string { return base + "/account/" + id }

// EndpointURL is what the addresses of an endpoint's resources begin with.
func EndpointURL(server, endpoint string) string { return server + root + endpoint }

// hashPrefix is what hashed account URIs begin with
// (draft-ietf-acme-dns-persist-02, Section 4.1). Nothing is served there.
func (p *endpoint) hashPrefix() string { return p.base + hashPath }

const hashPath = "/account-hash/"

// A finding is what one attempt brought: success when err is nil.
type finding struct {
	err   error
	until time.Time // the authorization is good no longer than this; zero: it says nothing
}

// validate asks the network.
func (f *Frontend) validate(a *authz, ch challenge, thumbprint string) finding {
	c := validate.Challenge{
		Method: ch.Type, Name: fromStored(a.Name), Token: ch.Token, Thumbprints: []string{thumbprint}, Now: f.deps.Now(),
	}
	if ch.Type == engine.DNSAccount01 || ch.Type == engine.DNSPersist01 {
		if err := f.nameAccount(a, &c); err != nil {
			return finding{err: err}
		}
	}
	found, err := f.validator.Validate(f.base, c)
	return finding{err, found.Until}
}

var errNoAccount = &validate.Error{Kind: validate.Unauthorized, Detail: "the account was deactivated, or its endpoint is gone"}

// nameAccount completes a challenge whose records name the account, from the
// account as it is now (draft-ietf-acme-dns-persist-02, Section 4.2).
func (f *Frontend) nameAccount(a *authz, c *validate.Challenge) error {
	var of *account
	err := f.view(f.base, func(tx store.Tx) (err error) {
		of, err = accounts.Get(tx, a.Account)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return errNoAccount
	}
	if err != nil {
		return errStopping // it was not asked: whoever comes next
	}
	p := f.endpoints[of.Endpoint]
	if p == nil || of.State != "" {
		return errNoAccount
	}
	c.Account = p.accountURL(of.ID)
	now := sha256.Sum256(of.Key) // RFC 7638, Section 3.2: rows hold the canonical form
	c.Thumbprints = append(append(c.Thumbprints, base64.RawURLEncoding.EncodeToString(now[:])), of.Former...)
	c.Persist = validate.Persistent{Issuers: p.identities, HashPrefix: p.hashPrefix()}
	return nil
}

// maxFormer is how many keys of an account are remembered.
const maxFormer = 100

// former puts the thumbprint of a key before those that the account had earlier.
func former(last string, earlier []string) []string {
	return append([]string{last}, earlier[:min(len(earlier), maxFormer-1)]...)
}
