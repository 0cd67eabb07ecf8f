package invariants

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/engine"
)

// Check returns everything in which a state breaks a promise, by itself or with
// what this history knows. What the state shows to be under way is remembered:
// what becomes of it is compared with the state of a later Check.
func (h *History) Check(s *State) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &checker{State: s, History: h, rows: map[engine.CertID]*engine.Certificate{}, keys: map[string]engine.CertID{}, requests: map[string]engine.CertID{}}
	for _, row := range s.Certificates {
		c.certificate(row)
	}
	for _, r := range s.Requests {
		c.request(r)
	}
	c.owners()
	c.acknowledged()
	for _, l := range s.CRLs {
		c.list(l)
	}
	c.grants()
	return errors.Join(c.found...)
}

type checker struct {
	*State
	*History
	rows     map[engine.CertID]*engine.Certificate
	keys     map[string]engine.CertID // by SPKI hash: one key, one certificate
	requests map[string]engine.CertID
	found    []error
}

func (c *checker) wrong(promise, format string, args ...any) {
	c.found = append(c.found, fmt.Errorf(promise+": "+format, args...))
}

// certificate checks one row against its bytes and its request.
func (c *checker) certificate(row *engine.Certificate) {
	if _, twice := c.rows[row.CertID]; twice {
		c.wrong("I3", "serial number %s is there twice", row.CertID)
	}
	c.rows[row.CertID] = row
	if row.Request == "" {
		return // imported
	}
	if other, twice := c.requests[row.Request]; twice {
		c.wrong("I3", "request %s has the certificates %s and %s", row.Request, other, row.CertID)
	}
	c.requests[row.Request] = row.CertID
	r := c.Requests[row.Request]
	if r == nil {
		c.wrong("I1", "certificate %s has no request", row.CertID)
		return
	}
	if r.Cert != row.CertID {
		c.wrong("I1", "request %s was to become %s and became %s", r.ID, r.Cert, row.CertID)
	}
	if r.State == engine.StateAbandoned {
		if row.Status != engine.Revoked {
			c.wrong("I5", "%s was abandoned and is %s", row.CertID, row.Status)
		}
		return
	}
	if !strings.HasPrefix(row.Profile, "chancery-") {
		if other, twice := c.keys[row.SPKI]; twice {
			c.wrong("I3", "one key has the certificates %s and %s", other, row.CertID)
		}
		c.keys[row.SPKI] = row.CertID
	}
	der := c.Raws[row.Request+".cert"]
	if sum := sha256.Sum256(der); c.good[row.CertID] != sum {
		if c.bytes(row, r, der) {
			c.good[row.CertID] = sum
		}
	}
}

// bytes checks what was signed: the recorded TBS, for the key that was asked
// for, with names that are warranted. It reports whether all is well.
func (c *checker) bytes(row *engine.Certificate, r *engine.Request, der []byte) bool {
	before := len(c.found)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.wrong("I2", "the bytes of %s: %v", row.CertID, err)
		return false
	}
	if got := id(cert.AuthorityKeyId, cert.SerialNumber.Bytes()); got != row.CertID {
		c.wrong("I1", "the bytes of %s are those of %s", row.CertID, got)
	}
	if want, ok := c.intents[r.ID]; ok && !bytes.Equal(want, cert.RawTBSCertificate) {
		c.wrong("I1", "what was signed for request %s is not what was recorded before", r.ID)
	}
	if ca := c.cas[row.Issuer]; ca != nil {
		if err := cert.CheckSignatureFrom(ca); err != nil {
			c.wrong("I1", "the signature of %s: %v", row.CertID, err)
		}
	}
	csr, err := x509.ParseCertificateRequest(c.Raws[r.ID+".body"])
	if err != nil {
		c.wrong("I4", "the body of request %s: %v", r.ID, err)
	} else if !bytes.Equal(csr.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo) {
		c.wrong("I4", "%s has another key than request %s asked for", row.CertID, r.ID)
	}
	if sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != row.SPKI {
		c.wrong("I4", "the row of %s is about another key", row.CertID)
	}
	c.warranted(row, r, cert)
	return len(c.found) == before
}

// warranted checks that the trail says for each name why it may be there.
func (c *checker) warranted(row *engine.Certificate, r *engine.Request, cert *x509.Certificate) {
	var trail struct {
		Warrants []engine.Warrant `json:"w"`
	}
	if err := json.Unmarshal(c.Trails[r.ID], &trail); err != nil {
		c.wrong("I4", "how %s was decided cannot be read: %v", row.CertID, err)
		return
	}
	var names []string
	for _, n := range cert.DNSNames {
		names = append(names, "dns:"+n)
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, "ip:"+ip.String())
	}
	for _, m := range cert.EmailAddresses {
		names = append(names, "email:"+m)
	}
	for _, n := range names {
		if !slices.ContainsFunc(trail.Warrants, func(w engine.Warrant) bool { return w.Name == n && w.By != "" }) {
			c.wrong("I4", "%s has the name %s, which nothing warrants", row.CertID, n)
		}
	}
	if len(names) != len(row.Names) {
		c.wrong("I4", "%s has %d names and its row %d", row.CertID, len(names), len(row.Names))
	}
}

// request checks that a request and its certificate know each other, and notes
// what is recorded to be signed.
func (c *checker) request(r *engine.Request) {
	cert, has := c.requests[r.ID]
	switch r.State {
	case engine.StateIssued, engine.StateAbandoned:
		if !has {
			c.wrong("I2", "request %s is %s and its certificate %s is not there", r.ID, r.State, r.Cert)
		}
	case engine.Issuing:
		if has {
			c.wrong("I3", "request %s is still to be signed and has the certificate %s", r.ID, cert)
		}
		twin, err := x509.ParseCertificate(c.Raws[r.ID+".cert"])
		if err != nil {
			c.wrong("I1", "what is to be signed for request %s: %v", r.ID, err)
			return
		}
		if old, ok := c.intents[r.ID]; ok && !bytes.Equal(old, twin.RawTBSCertificate) {
			c.wrong("I1", "what is to be signed for request %s has changed", r.ID)
		}
		c.intents[r.ID] = twin.RawTBSCertificate
	default:
		if has {
			c.wrong("I3", "request %s is %s and has the certificate %s", r.ID, r.State, cert)
		}
	}
	if _, ok := c.intents[r.ID]; ok && r.State != engine.Issuing && r.State != engine.StateIssued && r.State != engine.StateAbandoned {
		c.wrong("I1", "request %s was decided and is %s again", r.ID, r.State)
	}
}

// owners checks that all bytes belong to a request, and that each has its body.
func (c *checker) owners() {
	for key := range c.Raws {
		request, kind, _ := strings.Cut(key, ".")
		if c.Requests[request] == nil || kind != "body" && kind != "cert" && !strings.HasPrefix(kind, "trail.") {
			c.wrong("I2", "the bytes under %q are nobody's", key)
		}
	}
	for request := range c.Requests {
		if _, ok := c.Raws[request+".body"]; !ok {
			c.wrong("I2", "request %s has lost its body", request)
		}
	}
}

// acknowledged checks what somebody was told.
func (c *checker) acknowledged() {
	for what, der := range c.issued {
		ack, err := x509.ParseCertificate(der)
		if err != nil {
			c.wrong("I2", "what was acknowledged for %s: %v", what, err)
			continue
		}
		name := id(ack.AuthorityKeyId, ack.SerialNumber.Bytes())
		row := c.rows[name]
		if row == nil {
			c.wrong("I2", "%s was acknowledged as %s, which is lost", what, name)
			continue
		}
		if !bytes.Equal(c.Raws[row.Request+".cert"], der) {
			c.wrong("I2", "%s was acknowledged with other bytes than are kept of %s", what, name)
		}
	}
	for name := range c.revoked {
		if row := c.rows[name]; row == nil || row.Status != engine.Revoked {
			c.wrong("I2", "the revocation of %s was acknowledged; the row says %+v", name, row)
		}
	}
	for request, by := range c.approved {
		r := c.Requests[request]
		if r == nil || !slices.ContainsFunc(r.Votes, func(v engine.Vote) bool { return by == "" || v.By == by }) {
			c.wrong("I2", "an approval of request %s was acknowledged and is lost", request)
		}
	}
}

// list checks a published list against the rows, and against those before.
func (c *checker) list(l *engine.CRL) {
	list, err := x509.ParseRevocationList(l.DER)
	if err != nil {
		c.wrong("I5", "the list of %s: %v", l.Issuer, err)
		return
	}
	if err := c.follows(l.Issuer, list); err != nil {
		c.found = append(c.found, err)
	}
	on := map[string]bool{}
	for _, e := range list.RevokedCertificateEntries {
		on[id(nil, e.SerialNumber.Bytes()).Serial] = true
	}
	for _, row := range c.State.Certificates {
		// What was revoked in the second of the list, or later, is on the next.
		due := row.Status != engine.Good && row.Issuer == l.Issuer && row.NotAfter.After(list.ThisUpdate) && row.RevokedAt.Before(list.ThisUpdate)
		if due && !on[row.Serial] {
			c.wrong("I5", "%s is %s since %s and not on list %s of %s", row.CertID, row.Status, row.RevokedAt.Format(time.RFC3339Nano), list.Number, list.ThisUpdate)
		}
	}
}

// grants checks that uses were counted once each.
func (c *checker) grants() {
	spent, reserved := map[string]int{}, map[string]int{}
	for _, r := range c.Requests {
		for _, g := range r.Reserved {
			switch r.State {
			case engine.StateIssued:
				spent[g]++
			case engine.Issuing:
				reserved[g]++
			}
		}
	}
	for _, g := range c.Grants {
		if g.Uses > 0 && g.Spent+g.Reserved > g.Uses {
			c.wrong("I7", "grant %s of %d uses: %d spent, %d reserved", g.ID, g.Uses, g.Spent, g.Reserved)
		}
		if g.Spent != spent[g.ID] || g.Reserved != reserved[g.ID] {
			c.wrong("I7", "grant %s says %d spent, %d reserved; its requests say %d and %d", g.ID, g.Spent, g.Reserved, spent[g.ID], reserved[g.ID])
		}
	}
}
