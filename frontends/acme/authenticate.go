package acme

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"chancery/frontends/internal/jose"
	"chancery/store"

	"github.com/go-json-experiment/json"
)

// maxBody is far above what an order of 100 names or a certificate needs.
const maxBody = 128 << 10

// authenticate reads a signed message (RFC 8555, Section 6.2) and finds out who
// sent it. The nonce is used up before anything else is looked at, so that a
// message that is refused cannot be sent again.
func (f *Frontend) authenticate(c *call, res resource, r *http.Request) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	msg, err := jose.Parse(body)
	key, fresh := "", false
	if msg != nil && msg.Nonce != "" {
		key, fresh = f.nonces.use(msg.Nonce)
	}
	if err != nil {
		return err
	}
	if !fresh {
		return usedNonce()
	}
	if c.nonce, err = f.spend(key); err != nil {
		return err
	}
	// RFC 8555, Section 6.4: the exact address, by configuration; what the Host
	// header says does not matter.
	if msg.URL != f.deps.BaseURL+r.URL.Path {
		return refuse(http.StatusForbidden, unauthorized, "the url in the protected header is not the one that this was sent to; use addresses exactly as the server gave them")
	}
	c.msg = msg
	if err := f.findKey(c, res); err != nil {
		return err
	}
	if err := msg.Verify(c.key); err != nil {
		return err
	}
	if c.account != nil && c.account.State != "" {
		return accountGone()
	}
	return nil
}

// accountGone: RFC 8555, Section 7.3.6.
func accountGone() *problem {
	return refuse(http.StatusUnauthorized, unauthorized, "the account is deactivated; make a new one with another key")
}

func readBody(r *http.Request) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/jose+json" {
		return nil, refuse(http.StatusUnsupportedMediaType, malformed, "the Content-Type must be application/jose+json")
	}
	tooLarge := refuse(http.StatusRequestEntityTooLarge, malformed, "the body is longer than %d octets", maxBody)
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(r.Body, maxBody+1)); err != nil {
		return nil, bad("the body could not be read")
	}
	if b.Len() > maxBody {
		return nil, tooLarge
	}
	return b.Bytes(), nil
}

// findKey finds the key that must have signed, and the account it belongs to. It
// reads the row that the path names on the way.
func (f *Frontend) findKey(c *call, res resource) error {
	if c.msg.Key != nil {
		if res.signer == byAccount {
			return bad("sign with your account: put its URL in kid, not your key in jwk")
		}
		c.key = c.msg.Key
		return nil
	}
	if res.signer == byKey {
		return bad("sign with the account's key in jwk, not with kid")
	}
	// RFC 8555, Section 6.2: kid is the account's URL, as we gave it.
	id, ok := strings.CutPrefix(c.msg.KID, c.ep.base+"/account/")
	if !ok || !store.ValidID(id) {
		return bad("kid is not the URL of an account of this server, as the Location header of newAccount gave it")
	}
	c.row = res.row
	var a *account
	err := f.view(c.ctx, func(tx store.Tx) (err error) {
		if c.row != nil {
			store.Ahead(tx, accounts.At(id), c.row.at(c.id))
		}
		if a, err = f.accounts.Get(&accounts, tx, id); err != nil {
			return err
		}
		return c.readRow(tx)
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Endpoint != c.ep.name {
		return refuse(http.StatusBadRequest, accountDoesNotExist, "there is no such account here; register with newAccount")
	} else if err != nil {
		return err
	}
	c.account = a
	c.note("account", a.ID)
	c.key, err = f.keys.parse(a)
	return err
}

// decode reads the payload strictly into v: an object, each member once.
// Members that v does not have are ignored, as RFC 8555 says of all its objects.
func (c *call) decode(v any) error { return decode(c.msg.Payload, v) }

func decode(payload []byte, v any) error {
	if p := bytes.TrimLeft(payload, " \t\r\n"); len(p) == 0 || p[0] != '{' {
		return bad("the payload is not a JSON object")
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return bad("the payload is not valid: a member is repeated or has the wrong type, or it is not JSON")
	}
	return nil
}

// keyCache keeps parsed account keys: parsing one takes longer than reading its
// row.
type keyCache struct {
	mu   sync.Mutex
	keys map[string]*jose.Key
}

// maxKeys bounds the cache to about a megabyte.
const maxKeys = 4096

func newKeyCache() *keyCache { return &keyCache{keys: map[string]*jose.Key{}} }

// parse returns the key of an account as its row has it.
func (k *keyCache) parse(a *account) (*jose.Key, error) {
	k.mu.Lock()
	key := k.keys[a.ID]
	k.mu.Unlock()
	if key != nil && bytes.Equal(key.Canonical(), a.Key) {
		return key, nil
	}
	key, err := jose.ParseKey(a.Key)
	if err != nil {
		return nil, errors.New("acme: the stored key of account " + a.ID + " cannot be read")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) >= maxKeys {
		for id := range k.keys { // any one
			delete(k.keys, id)
			break
		}
	}
	k.keys[a.ID] = key
	return key, nil
}
