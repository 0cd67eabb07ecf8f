package est

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/engine/pkcs10"
)

// changeSubjectName is the attribute of RFC 6402, Section 2.8, by which a client
// asks to be called something else.
const changeSubjectName = "1.3.6.1.5.5.7.7.36"

// simpleEnroll is RFC 7030, Section 4.2.
func (f *Frontend) simpleEnroll(w http.ResponseWriter, r *http.Request, p *endpoint) error {
	c, err := f.enrollee(r, p)
	if err != nil {
		return err
	}
	csr, err := f.request(w, r, p)
	if err != nil {
		return err
	}
	return f.submit(w, r, p, csr, engine.Submission{Requester: c.principal, Proofs: c.proofs, Claims: c.claims}, "enroll")
}

// request reads the certification request and ties it to the connection.
func (f *Frontend) request(w http.ResponseWriter, r *http.Request, p *endpoint) (*pkcs10.Request, error) {
	csr, err := readRequest(w, r)
	if err != nil {
		return nil, err
	}
	if slices.Contains(csr.Attributes, changeSubjectName) {
		// RFC 7030, Section 4.2.2: only where policy allows it.
		return nil, refuse(http.StatusForbidden, "The attribute ChangeSubjectName is not taken here: ask for the names that the certificate shall have.")
	}
	return csr, p.link(r, csr)
}

// submit hands the request to the engine. The client finds it again by sending
// the same (RFC 7030, Section 4.2.3).
func (f *Frontend) submit(w http.ResponseWriter, r *http.Request, p *endpoint, csr *pkcs10.Request, s engine.Submission, kind string) error {
	id, err := contentOf(csr)
	if err != nil {
		return err
	}
	s.Source, s.Endpoint, s.Form, s.Body, s.Profile = engine.EST, p.name, engine.PKCS10, csr.DER, p.Profile
	s.Key = engine.NewKey(engine.EST, p.name, p.profile.Authority, s.Requester, kind+":"+s.Replaces.String()+":"+id)
	d, err := f.submitted(r.Context(), s)
	if err != nil {
		return err
	}
	return f.disposition(w, r, p, d)
}

// submitted also takes a request that was signed anew for the same: on another
// connection it must hold another challengePassword. The engine verified its
// signature, and everything else that it says is in its Key.
func (f *Frontend) submitted(ctx context.Context, s engine.Submission) (engine.Disposition, error) {
	d, err := f.d.Requests.Submit(ctx, s)
	if errors.Is(err, engine.ErrConflict) {
		return f.d.Requests.Status(ctx, s.Key)
	}
	return d, err
}

// contentOf is a hash over what the request asks for: all of it but the
// challengePassword and the signature.
func contentOf(csr *pkcs10.Request) (string, error) {
	subject, err := csr.Subject.Marshal()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(struct {
		Subject, Key []byte
		Names        []names.Name
		Extensions   []pkcs10.Extension
		Attributes   []string
	}{subject, csr.Key.SPKI, csr.Names, csr.Extensions, csr.Attributes})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}
