package acme

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/engine/pkcs10"
	"chancery/frontends/internal/jose"
	"chancery/store"
)

// maxDenied is how many requests of one order may be denied for their CSR: each
// is on record.
const maxDenied = 10

// errMoved says that the order, an authorization of it or its account is not
// any more what it was when finalize looked.
var errMoved = errors.New("acme: the order changed meanwhile")

func notReady(status string) *problem {
	return refuse(http.StatusForbidden, orderNotReady, "the order is %s, not ready; fetch it to see what is next", status)
}

// finalize: RFC 8555, Section 7.4.
func (c *call) finalize() error {
	var in struct {
		CSR *string `json:"csr"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	o, err := c.ownOrder()
	if err != nil {
		return err
	}
	s, err := c.standing(o)
	if err != nil {
		return err
	}
	if s.status != "ready" {
		return notReady(s.status)
	}
	if err := c.offered(o); err != nil {
		return err
	}
	if in.CSR == nil {
		return bad("csr is missing: the certification request in DER, as base64url")
	}
	der, err := jose.Decode("csr", *in.CSR)
	if err != nil {
		return refuse(http.StatusBadRequest, badCSR, "%s; send the DER, not PEM", err.Error())
	}
	if err := c.checkCSR(o, der); err != nil {
		return err
	}
	d, err := c.f.deps.Requests.Submit(c.ctx, c.submission(o, der, s.proofs))
	return c.finalized(o, d, err)
}

// offered refuses an order that the endpoint would not take any more: its
// configuration may have changed since, and what is issued is by that of today.
func (c *call) offered(o *order) error {
	g, err := c.grant()
	if err != nil {
		return err
	}
	// draft-ietf-acme-profiles, Section 4.
	if !slices.Contains(c.ep.Profiles, o.Profile) || g != nil && !g.Admits(o.Profile) {
		return refuse(http.StatusBadRequest, invalidProfile, "this endpoint no longer offers the profile %s; make a new order", o.Profile)
	}
	for _, n := range o.generalNames() {
		if why := c.ep.admits.refuses(n, g); why != "" {
			return refuse(http.StatusForbidden, rejectedIdentifier, "%s: %s", n.Value, why)
		}
	}
	return nil
}

// finalized answers with what the engine said.
func (c *call) finalized(o *order, d engine.Disposition, err error) error {
	switch {
	case errors.Is(err, errMoved), errors.Is(err, engine.ErrConflict):
		return notReady("no longer as it was")
	case errors.Is(err, engine.ErrUndecided):
		// If the request is on record, the engine goes on with it by itself.
		if c.f.view(c.ctx, c.readRow) != nil {
			return err
		}
		again, gone := c.ownOrder()
		if gone != nil || again.Request == "" {
			return err
		}
		return c.replyOrder(again, standing{status: "processing"})
	case err != nil:
		return err
	}
	if denied, ok := d.(engine.Denied); ok {
		c.note("request", denied.RequestID)
		return problemOf(denied)
	}
	s := ended(d)
	c.note("request", s.certificate)
	return c.replyOrder(o, s)
}

// submission is the order as the engine takes it.
func (c *call) submission(o *order, csr []byte, proofs []engine.Proof) engine.Submission {
	if id := c.account.Grant; id != "" { // holds the request to the grant, and may warrant names
		proofs = append(proofs, engine.Proof{Method: engine.ByGrant, Principal: c.account.principal(), Ref: id, At: c.now.UTC()})
	}
	return engine.Submission{
		Source: engine.ACME, Endpoint: c.ep.name, Requester: c.account.principal(), Key: requestKey(c.ep.name, o),
		Form: engine.PKCS10, Body: csr, Profile: o.Profile, Proofs: proofs, Replaces: o.replaces(),
		// The answer is there as long as the order is.
		Keep:      time.Unix(o.Expires, 0).Sub(c.now) + c.f.deps.Retention,
		KeyPerRun: true,
		Also:      c.also(o),
	}
}

// also runs in the engine's first commit: it checks once more, in the
// transaction that decides, that the account and its authorizations are still
// good for this order, and ties the order to the request.
func (c *call) also(o *order) func(store.Tx, string) error {
	return func(tx store.Tx, request string) error {
		if err := c.nonce.in(tx); err != nil {
			return err
		}
		refs := []store.Ref{accounts.At(c.account.ID), orders.At(o.ID)}
		for _, id := range o.Authz {
			refs = append(refs, authzs.At(id))
		}
		store.Ahead(tx, refs...)
		a, err := accounts.Get(tx, c.account.ID)
		if err != nil {
			return err
		}
		if a.State != "" {
			return accountGone()
		}
		now := c.f.deps.Now()
		as, err := authzsOf(tx, o)
		if err != nil {
			return err
		}
		if beforeFinalize(o, as, now).status != "ready" {
			return errMoved
		}
		_, err = orders.Change(tx, o.ID, func(v *order) error {
			if v.Request != o.Request {
				return errMoved // another finalize was faster
			}
			if v.Request != "" { // it was denied, or the order were not ready
				v.Denied++
			}
			v.Request = request
			return nil
		})
		return err
	}
}

// checkCSR: RFC 8555, Section 7.4: exactly the names of the order, each as SAN
// or common name. The engine checks the signature and whatever else matters.
func (c *call) checkCSR(o *order, der []byte) error {
	csr, err := pkcs10.Parse(der)
	if err != nil {
		return refuse(http.StatusBadRequest, badCSR, "%s", err.Error())
	}
	if oid := identifying(csr.Subject); oid != "" {
		return refuse(http.StatusBadRequest, badCSR, "the subject of the CSR has the attribute %s, which ACME proves nothing about; leave it out", oid)
	}
	asked := slices.Clone(csr.Names) // every GeneralName, or Parse refuses
	for _, cn := range csr.Subject.CommonNames() {
		n, err := names.Parse(names.DNS, cn)
		if err != nil {
			n, err = names.Parse(names.IP, cn)
		}
		if err != nil {
			return refuse(http.StatusBadRequest, badCSR, "the common name is not a name of the order; leave it out or put one of the order's names there")
		}
		if n.Type == names.IP && !slices.Contains(asked, n) { // RFC 8738, Section 3: addresses are iPAddress names
			return refuse(http.StatusBadRequest, badCSR, "the CSR has the address %s in the common name alone; put it among the subject alternative names", n.Value)
		}
		if !slices.Contains(asked, n) {
			asked = append(asked, n)
		}
	}
	want := o.generalNames()
	for _, n := range asked {
		if !slices.Contains(want, n) {
			return refuse(http.StatusBadRequest, badCSR, "the CSR asks for %s, which is not in the order", cut(n.String(), 200))
		}
	}
	for _, n := range want {
		if !slices.Contains(asked, n) {
			return refuse(http.StatusBadRequest, badCSR, "the CSR does not ask for %s, which is in the order", n.Value)
		}
	}
	return c.checkCSRKey(csr)
}

// identifying finds attributes of a subject, beside the common name, that other
// software takes for a name of the holder. Those that describe, such as the
// organization that openssl puts in, are passed over by every profile.
func identifying(subject names.DN) (oid string) {
	for _, rdn := range subject {
		for _, a := range rdn {
			switch a.OID {
			case "1.2.840.113549.1.9.1", // emailAddress
				"2.5.4.5",                    // serialNumber
				"0.9.2342.19200300.100.1.1",  // userId
				"0.9.2342.19200300.100.1.25": // domainComponent
				return a.OID
			}
		}
	}
	return ""
}

// checkCSRKey: RFC 8555, Section 11.1: no account key in a certificate, this
// account's or any other's.
func (c *call) checkCSRKey(csr *pkcs10.Request) error {
	k, err := jose.FromPublic(csr.Key.Key)
	if err != nil {
		return refuse(http.StatusBadRequest, badCSR, "the key of the CSR is not of a kind that is certified here")
	}
	from := keyValue(k.Thumbprint())
	known := false
	err = c.f.view(c.ctx, func(tx store.Tx) error {
		known = false
		for a, err := range accounts.Range(tx, "key", from, from+"\xff") {
			if err != nil {
				return err
			}
			known = known || strings.EqualFold(string(a.Key), string(k.Canonical()))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if known {
		return refuse(http.StatusBadRequest, badCSR, "the key of the CSR is an account key; make another for the certificate")
	}
	return nil
}
