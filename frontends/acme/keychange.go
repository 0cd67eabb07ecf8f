package acme

import (
	"errors"
	"net/http"

	"chancery/frontends/internal/jose"
	"chancery/store"

	"github.com/go-json-experiment/json/jsontext"
)

// keyChange: RFC 8555, Section 7.3.5. The old key signs the outer message and the
// new one the inner, so each consents. What was accepted with the old key, such
// as a challenge whose validation is under way, stays as it was accepted (Section
// 8.3).
func (c *call) keyChange() error {
	key, err := c.readKeyChange()
	if err != nil {
		return err
	}
	holder, err := c.f.accountOf(c, key)
	if err != nil {
		return err
	}
	if holder != nil {
		return c.keyTaken(holder)
	}
	var a *account
	err = c.update(func(tx store.Tx) (err error) {
		a, err = accounts.Change(tx, c.account.ID, func(a *account) error {
			if a.State != "" {
				return accountGone()
			}
			// The key that authorized this may have been changed meanwhile.
			if string(a.Key) != string(c.account.Key) {
				return refuse(http.StatusForbidden, unauthorized, "the key of this account was changed in this moment")
			}
			a.Key, a.Former = key.Canonical(), former(c.key.Text(), a.Former)
			return nil
		})
		return err
	})
	if errors.Is(err, store.ErrExists) { // another account got the key first
		if holder, herr := c.f.accountOf(c, key); herr == nil && holder != nil {
			return c.keyTaken(holder)
		}
	}
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, c.ep.shownAccount(a))
}

// readKeyChange checks the inner message, and returns the new key.
func (c *call) readKeyChange() (*jose.Key, error) {
	m, err := jose.ParseInner(c.msg.Payload)
	if err != nil {
		return nil, err
	}
	if err := m.Verify(m.Key); err != nil {
		return nil, bad("the inner JWS: %s; the new key must sign it", err.Error())
	}
	if m.URL != c.msg.URL {
		return nil, bad("the inner JWS: its url is not the one that this was sent to")
	}
	var in struct {
		Account string         `json:"account"`
		OldKey  jsontext.Value `json:"oldKey"`
	}
	if err := decode(m.Payload, &in); err != nil {
		return nil, err
	}
	if in.Account != c.msg.KID {
		return nil, bad("account in the inner JWS is not the account that signed the outer one")
	}
	old, err := jose.ParseKey(in.OldKey)
	if err != nil || old.Thumbprint() != c.key.Thumbprint() {
		return nil, bad("oldKey in the inner JWS is not the key of the account")
	}
	return m.Key, nil
}

// keyTaken: RFC 8555, Section 7.3.5: the address of the account that has the key.
func (c *call) keyTaken(holder *account) error {
	p := refuse(http.StatusConflict, malformed, "the new key belongs to an account already; make another")
	p.Location = c.ep.accountURL(holder.ID)
	return p
}
