package acme

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"chancery/engine/names"
	"chancery/frontends/internal/jose"
	"chancery/store"

	"github.com/go-json-experiment/json/jsontext"
)

const maxContacts = 10

// newAccount: RFC 8555, Section 7.3.
func (c *call) newAccount() error {
	var in struct {
		Contact              []string       `json:"contact"`
		TermsOfServiceAgreed bool           `json:"termsOfServiceAgreed"`
		OnlyReturnExisting   bool           `json:"onlyReturnExisting"`
		Binding              jsontext.Value `json:"externalAccountBinding"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	// Section 7.3.1: an account that exists is returned as it is, whatever else
	// the message says.
	a, err := c.f.accountOf(c, c.key)
	if err != nil {
		return err
	}
	if a != nil {
		return c.existing(a)
	}
	if in.OnlyReturnExisting {
		return refuse(http.StatusBadRequest, accountDoesNotExist, "no account has this key")
	}
	if err := checkContacts(in.Contact); err != nil {
		return err
	}
	if c.ep.TermsOfService != "" && !in.TermsOfServiceAgreed {
		return c.ep.termsProblem()
	}
	if err := c.limitAccounts(); err != nil {
		return err
	}
	a = &account{
		ID: store.NewIDFor(c.f.deps.DB, c.now, c.f.deps.Rand), Endpoint: c.ep.name, Key: c.key.Canonical(),
		Contact: in.Contact, Created: c.now.Unix(),
	}
	a.agree(in.TermsOfServiceAgreed, c.ep.TermsOfService)
	if err := c.bind(a, json.RawMessage(in.Binding)); err != nil {
		return err
	}
	err = c.update(func(tx store.Tx) error {
		if a.Grant != "" {
			if err := c.f.deps.Grants.BindGrant(tx, a.Grant); err != nil {
				return notBound(err)
			}
		}
		return accounts.Insert(tx, a)
	})
	if errors.Is(err, store.ErrExists) { // another request with the same key was faster
		if faster, ferr := c.f.accountOf(c, c.key); ferr == nil && faster != nil {
			return c.existing(faster)
		}
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", c.ep.accountURL(a.ID))
	return c.reply(http.StatusCreated, c.ep.shownAccount(a))
}

// agree notes which terms were agreed to, if they were. Nobody takes it back.
func (a *account) agree(agreed bool, terms string) {
	if agreed {
		a.Agreed, a.Terms = true, terms
	}
}

func (c *call) existing(a *account) error {
	if a.State != "" {
		return accountGone()
	}
	c.w.Header().Set("Location", c.ep.accountURL(a.ID))
	return c.reply(http.StatusOK, c.ep.shownAccount(a))
}

// accountOf finds the account with the key at the call's endpoint, or nil.
func (f *Frontend) accountOf(c *call, k *jose.Key) (a *account, err error) {
	err = f.view(c.ctx, func(tx store.Tx) (err error) {
		a, err = accounts.One(tx, "key", keyValue(k.Thumbprint())+c.ep.name)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return a, err
}

// accountUpdate: RFC 8555, Sections 7.3.2 and 7.3.6.
func (c *call) accountUpdate() error {
	if c.account.ID != c.id {
		return refuse(http.StatusForbidden, unauthorized, "this account is not yours")
	}
	if c.postAsGet() {
		return c.reply(http.StatusOK, c.ep.shownAccount(c.account))
	}
	var in struct {
		Contact *[]string `json:"contact"`
		Status  string    `json:"status"`
		Agreed  bool      `json:"termsOfServiceAgreed"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Contact != nil {
		if err := checkContacts(*in.Contact); err != nil {
			return err
		}
	}
	end := in.Status == "deactivated" // Section 7.3.2: any other status is ignored
	agrees := in.Agreed && !(c.account.Agreed && c.account.Terms == c.ep.TermsOfService)
	if in.Contact == nil && !end && !agrees {
		return c.reply(http.StatusOK, c.ep.shownAccount(c.account))
	}
	var a *account
	err := c.update(func(tx store.Tx) (err error) {
		a, err = accounts.Change(tx, c.id, func(a *account) error {
			if a.State != "" {
				return accountGone()
			}
			if in.Contact != nil {
				a.Contact = *in.Contact
			}
			a.agree(agrees, c.ep.TermsOfService)
			if end {
				a.State = deactivated
			}
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, c.ep.shownAccount(a))
}

// shownAccount is the account object of RFC 8555, Section 7.1.2.
func (p *endpoint) shownAccount(a *account) any {
	out := struct {
		Status  string          `json:"status"`
		Contact []string        `json:"contact,omitempty"`
		Agreed  bool            `json:"termsOfServiceAgreed,omitempty"`
		Binding json.RawMessage `json:"externalAccountBinding,omitempty"`
		Orders  string          `json:"orders"`
	}{"valid", a.Contact, a.Agreed, a.Binding, p.ordersURL(a.ID)}
	if a.State == deactivated {
		out.Status = "deactivated"
	}
	return out
}

// checkContacts: RFC 8555, Section 7.3: mailto with one address and nothing else.
func checkContacts(contacts []string) error {
	if len(contacts) > maxContacts {
		return refuse(http.StatusBadRequest, invalidContact, "at most %d contacts are kept", maxContacts)
	}
	for _, s := range contacts {
		scheme, address, ok := strings.Cut(s, ":")
		if !ok || !strings.EqualFold(scheme, "mailto") {
			return refuse(http.StatusBadRequest, unsupportedContact, "contacts are mailto addresses, such as mailto:admin@example.org")
		}
		if _, err := names.Parse(names.Email, address); err != nil || strings.ContainsAny(address, "?%,") {
			return refuse(http.StatusBadRequest, invalidContact, "a contact is not one plain mail address, such as mailto:admin@example.org, without header fields")
		}
	}
	return nil
}
