package native

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"chancery/engine"
	"chancery/store"
)

// A submission is the JSON body of POST /requests.
type submission struct {
	CSR        string            `json:"csr"`
	Profile    string            `json:"profile"`
	Authority  string            `json:"authority"`
	Attributes map[string]string `json:"attributes"`
}

// Bounds on attributes, which are kept with the request.
const (
	maxAttributes     = 32
	maxAttributeName  = 64
	maxAttributeValue = 1024
)

// submit hands a request to the engine.
func (f *Frontend) submit(w http.ResponseWriter, r *http.Request, c *caller) error {
	key, err := f.idempotencyKey(r)
	if err != nil {
		return err
	}
	asked, der, err := readSubmission(w, r)
	if err != nil {
		return err
	}
	if asked.Profile, err = f.profile(asked.Profile); err != nil {
		return err
	}
	if p, ok := f.d.Engine.Profiles()[asked.Profile]; ok && !slices.Contains(p.Frontends, engine.Native) {
		return notOffered(asked.Profile) // not left to a policy module alone
	}
	s := engine.Submission{
		Source:    engine.Native,
		Endpoint:  f.c.Name,
		Requester: c.principal,
		// Neither profile nor authority is part of the key: the same key with
		// another of them is a conflict, not a second certificate.
		Key:       engine.NewKey(engine.Native, f.c.Name, "", c.principal, key),
		Form:      engine.PKCS10,
		Body:      der,
		Authority: asked.Authority,
		Profile:   asked.Profile,
		Proofs:    c.proofs,
	}
	for _, name := range slices.Sorted(maps.Keys(asked.Attributes)) {
		s.Claims = append(s.Claims, engine.Claim{Origin: "native", Name: name, Value: asked.Attributes[name]})
	}
	f.d.Note(r.Context(), "profile", asked.Profile)
	d, err := f.d.Engine.Submit(r.Context(), s)
	if err != nil {
		return err
	}
	return f.disposition(w, r, d, http.StatusCreated)
}

// profile is the one to ask for: what the client names, if it is offered here.
func (f *Frontend) profile(asked string) (string, error) {
	switch {
	case asked == "" && len(f.c.Profiles) > 0:
		return f.c.Profiles[0], nil
	case asked == "":
		return "", &problem{Status: http.StatusBadRequest, Reason: string(engine.UnknownProfile), Detail: `Say which profile in "profile"; GET /api/v1/profiles lists them.`}
	case asked == engine.ProfilePerson:
		// People enroll here whatever the endpoint offers to machines; the
		// engine wants a grant that names this profile.
	case len(f.c.Profiles) > 0 && !slices.Contains(f.c.Profiles, asked):
		return "", notOffered(asked)
	}
	return asked, nil
}

func notOffered(profile string) *problem {
	known := denials[engine.UnknownProfile]
	return &problem{Status: known.status, Title: known.title, Reason: string(engine.UnknownProfile),
		Detail: fmt.Sprintf("The profile %q is not offered here; GET /api/v1/profiles lists those that are.", clip(profile, 64))}
}

// idempotencyKey is the client's name for this request, or a random one.
func (f *Frontend) idempotencyKey(r *http.Request) (string, error) {
	all := r.Header["Idempotency-Key"]
	if len(all) == 0 {
		var b [16]byte
		if _, err := io.ReadFull(f.d.Rand, b[:]); err != nil {
			return "", fmt.Errorf("no randomness: %w", err)
		}
		// The prefixes keep a client from naming what the server drew.
		return "server:" + base64.RawURLEncoding.EncodeToString(b[:]), nil
	}
	if len(all) > 1 || all[0] == "" || len(all[0]) > 255 {
		return "", badRequest("Send one Idempotency-Key of 1 to 255 characters.")
	}
	for i := range len(all[0]) {
		if c := all[0][i]; c < ' ' || c > '~' {
			return "", badRequest("Idempotency-Key takes printable ASCII characters only.")
		}
	}
	return "client:" + all[0], nil
}

// readSubmission reads either the JSON form or a bare certification request
// with the rest in the query.
func readSubmission(w http.ResponseWriter, r *http.Request) (*submission, []byte, error) {
	kind, err := mediaType(r, "application/json", "application/pkcs10", "application/x-pem-file", "text/plain")
	if err != nil {
		return nil, nil, err
	}
	known := []string{"profile", "authority"}
	if kind == "application/json" {
		known = nil // one place for each thing
	}
	q, err := readQuery(r, known...)
	if err != nil {
		return nil, nil, err
	}
	body, err := readBody(w, r, maxEnroll)
	if err != nil {
		return nil, nil, err
	}
	s := &submission{Profile: q.get("profile"), Authority: q.get("authority")}
	var der []byte
	switch kind {
	case "application/json":
		if err := decode(body, s); err != nil {
			return nil, nil, err
		}
		der, err = csr(s.CSR)
	case "application/pkcs10":
		der = body
	default:
		der, err = csrPEM(body)
	}
	if err != nil {
		return nil, nil, err
	}
	return s, der, s.check()
}

func (s *submission) check() error {
	if err := text("profile", s.Profile, 64); err != nil {
		return err
	}
	if err := text("authority", s.Authority, 64); err != nil {
		return err
	}
	if len(s.Attributes) > maxAttributes {
		return badRequest(fmt.Sprintf("There may be %d attributes.", maxAttributes))
	}
	for name, value := range s.Attributes {
		if name == "" {
			return badRequest("An attribute has no name.")
		}
		if err := text("attributes", name, maxAttributeName); err != nil {
			return err
		}
		if err := text("attributes/"+name, value, maxAttributeValue); err != nil {
			return err
		}
	}
	return nil
}

// retrieve answers for a request to whoever submitted it, and to officers. To
// anybody else it does not exist.
func (f *Frontend) retrieve(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	ctx, id := r.Context(), param(r, "id")
	if !store.ValidID(id) {
		return engine.ErrNoRequest
	}
	d, err := f.d.Engine.Retrieve(ctx, id, c.principal)
	if errors.Is(err, engine.ErrNoRequest) {
		d, err = f.retrieveAsOfficer(ctx, id, c)
	}
	if err != nil {
		return err
	}
	return f.disposition(w, r, d, http.StatusOK)
}

func (f *Frontend) retrieveAsOfficer(ctx context.Context, id string, c *caller) (engine.Disposition, error) {
	officer, err := f.isOfficer(ctx, c)
	if err != nil {
		return nil, err
	}
	if !officer {
		return nil, engine.ErrNoRequest
	}
	// Looking must not do what the requester's own question would: use an
	// approval that waits for it.
	return f.d.Engine.PeekRequest(ctx, id)
}
