package invariants

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"sync"
	"time"

	"chancery/engine"
)

// A History is what clients were told, and what was seen under way. What
// somebody asked for without an answer is not in it: it may have happened or
// not, and either is right.
type History struct {
	mu       sync.Mutex
	issued   map[string][]byte          // by what it was asked for: DER
	revoked  map[engine.CertID]bool     // acknowledged
	approved map[string]string          // request → person; "" is any
	intents  map[string][]byte          // request → TBS that was recorded to be signed
	lists    map[string]listed          // by key identifier: the last one
	good     map[engine.CertID][32]byte // bytes that were checked
	cas      map[string]*x509.Certificate
}

type listed struct {
	number     *big.Int
	thisUpdate time.Time
	sum        [32]byte
	entries    map[string]bool
}

// NewHistory knows nothing but the CA certificates, against which it checks
// signatures.
func NewHistory(cas ...*x509.Certificate) *History {
	h := &History{
		issued: map[string][]byte{}, revoked: map[engine.CertID]bool{}, approved: map[string]string{}, intents: map[string][]byte{},
		lists: map[string]listed{}, good: map[engine.CertID][32]byte{}, cas: map[string]*x509.Certificate{},
	}
	for _, ca := range cas {
		h.cas[hex.EncodeToString(ca.SubjectKeyId)] = ca
	}
	return h
}

// Issued notes that a certificate was handed out for what somebody asked for.
// Handing out another one for the same breaks I3.
func (h *History) Issued(what string, der []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.issued[what]; ok && !bytes.Equal(old, der) {
		return fmt.Errorf("I3: %s was answered with two certificates", what)
	}
	h.issued[what] = der
	return nil
}

// Revoked notes that a revocation was acknowledged.
func (h *History) Revoked(c *x509.Certificate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked[id(c.AuthorityKeyId, c.SerialNumber.Bytes())] = true
}

// Approved notes that a person's approval of a request was acknowledged.
func (h *History) Approved(request, by string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.approved[request] = by
}

// Counts says how many certificates and revocations were acknowledged.
func (h *History) Counts() (issued, revoked int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.issued), len(h.revoked)
}

// Lost lists what was acknowledged and is not in a state.
func (h *History) Lost(s *State) (lost []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for what, der := range h.issued {
		c, err := x509.ParseCertificate(der)
		if err != nil || !s.has(id(c.AuthorityKeyId, c.SerialNumber.Bytes())) {
			lost = append(lost, what)
		}
	}
	return lost
}

func (s *State) has(name engine.CertID) bool {
	for _, c := range s.Certificates {
		if c.CertID == name {
			return true
		}
	}
	return false
}

// Listed notes a list that a client fetched. It is an error if the list is not
// a successor of the one before (I6), or lacks what that one had (I5).
func (h *History) Listed(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("I6: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.follows(hex.EncodeToString(list.AuthorityKeyId), list)
}

func (h *History) follows(issuer string, list *x509.RevocationList) error {
	now := listed{list.Number, list.ThisUpdate, sha256.Sum256(list.Raw), map[string]bool{}}
	for _, e := range list.RevokedCertificateEntries {
		now.entries[e.SerialNumber.String()] = true
	}
	last, ok := h.lists[issuer]
	if ok && now.sum == last.sum {
		return nil
	}
	h.lists[issuer] = now
	if ca := h.cas[issuer]; ca != nil {
		if err := list.CheckSignatureFrom(ca); err != nil {
			return fmt.Errorf("I6: list %s of %s: %w", now.number, issuer, err)
		}
	}
	switch {
	case !ok:
		return nil
	case now.number.Cmp(last.number) <= 0:
		return fmt.Errorf("I6: list %s of %s after list %s", now.number, issuer, last.number)
	case now.thisUpdate.Before(last.thisUpdate):
		return fmt.Errorf("I6: list %s of %s is of %s, the one before of %s", now.number, issuer, now.thisUpdate, last.thisUpdate)
	}
	// Tests do not run until something expires.
	for serial := range last.entries {
		if !now.entries[serial] {
			return fmt.Errorf("I5: list %s of %s lacks %s, which the one before had", now.number, issuer, serial)
		}
	}
	return nil
}
