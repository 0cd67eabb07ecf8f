package scep

import (
	"crypto/sha256"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/access"
)

// adminPath is where administrators, and software made for Microsoft's server,
// look for the page with challenges.
const adminPath = "/certsrv/mscep_admin/"

// challengeLife is how long a challenge of the page is good for.
const challengeLife = time.Hour

var adminTemplate = template.Must(template.New("").Parse(`<!doctype html>
<title>SCEP challenges</title>
{{with .Secret}}<p>The enrollment challenge password for {{$.Name}} is: <b>{{.}}</b></p>
<p>This password can be used only once and will expire within 60 minutes.</p>{{end}}
{{with .Error}}<p>{{.}}</p>{{end}}
<form method="post"><label>Name of the device: <input name="name" value="{{.Name}}" required></label> <button>Make a challenge</button></form>
`))

// adminPage makes challenges for persons with the role admin, who show the
// certificate that they administer with.
func (f *Frontend) adminPage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'")
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		refuse(w, http.StatusForbidden, "Come by https, with the certificate that you administer Chancery with.")
		return
	}
	actor, err := f.administrator(r)
	if errors.Is(err, engine.ErrForbidden) || errors.Is(err, engine.ErrNoCertificate) {
		refuse(w, http.StatusForbidden, "This needs a certificate with the role admin.")
		return
	} else if err != nil {
		f.later(w, r, err)
		return
	}
	access.Note(r.Context(), "actor", actor.Person)
	page := struct{ Name, Secret, Error string }{}
	status := http.StatusOK
	switch e := f.endpoints[defaultName]; {
	case r.Method == http.MethodGet:
	case r.Method != http.MethodPost:
		h.Set("Allow", "GET, POST")
		refuse(w, http.StatusMethodNotAllowed, "Only GET and POST are served here.")
		return
	case f.foreign.Check(r) != nil: // the browser shows the certificate to any page's form
		refuse(w, http.StatusForbidden, "This form was sent by a page of another site.")
		return
	case e == nil || !slices.Contains(e.Authorize, byGrant):
		page.Error, status = "The endpoint default takes no challenges.", http.StatusConflict
	default:
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		page.Name = r.PostFormValue("name")
		if page.Secret, err = f.makeChallenge(r, actor, e, page.Name); err != nil {
			page.Error, status = err.Error(), http.StatusBadRequest
		}
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = adminTemplate.Execute(w, page)
}

// administrator is who shows the certificate of the connection, if that is good
// now and of the management authority.
func (f *Frontend) administrator(r *http.Request) (a engine.Actor, err error) {
	cert, now := r.TLS.PeerCertificates[0], f.deps.Now()
	row, err := f.deps.Certificates.Identify(r.Context(), cert.Raw)
	if err != nil {
		return a, err
	}
	if row.Authority != engine.ManagementAuthority || row.Status != engine.Good || now.Before(row.NotBefore) || !now.Before(row.NotAfter) {
		return a, engine.ErrForbidden
	}
	a, err = f.deps.People.Authenticate(r.Context(), engine.Credential{SPKIHash: sha256.Sum256(cert.RawSubjectPublicKeyInfo)})
	if err == nil {
		err = a.Require(engine.Admin)
	}
	return a, err
}

// makeChallenge makes a grant for one certificate of exactly one name.
func (f *Frontend) makeChallenge(r *http.Request, actor engine.Actor, e *endpoint, name string) (string, error) {
	n, err := names.Parse(names.DNS, name)
	if err != nil || n.Wildcard() {
		return "", errors.New("the name of a device is a DNS name, such as dev-1.example.org")
	}
	p, err := names.ParsePattern(n.Value)
	if err != nil {
		return "", err
	}
	_, secret, err := f.deps.People.CreateGrant(r.Context(), actor, engine.Grant{
		Protocol: engine.SCEP, Endpoints: []string{e.name}, Profiles: e.Profiles[:1], Names: []names.Pattern{p}, Uses: 1, Expires: f.deps.Now().Add(challengeLife),
	})
	return secret, err
}
