package scep

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"chancery/engine"
	"chancery/frontends/internal/cms"
	"chancery/store"
)

// raBits is the size of the RA key: what RFC 8894 wants at least, and what the
// oldest devices can still encrypt to.
const raBits = 2048

// An raRow is one RA key. The newest is shown to clients; those before it go on
// decrypting until their certificates end.
type raRow struct {
	ID      string    `json:"i"`           // decimal, with leading zeros: newest last
	Sealed  []byte    `json:"s"`           // PKCS #8
	Cert    []byte    `json:"c,omitempty"` // DER; empty while it is asked for
	Created time.Time `json:"a"`
}

var raKeys = store.Table[raRow]{Name: "scep_ra", Version: 1, Key: func(r *raRow) string { return r.ID }}

// Schemas are the tables of this package.
func Schemas() []store.Schema { return []store.Schema{raKeys.Schema()} }

// RADeps is what an RA works with. All fields are required.
type RADeps struct {
	DB           store.DB // opened with Schemas
	Certificates Certificates
	SealKey      []byte // 32 octets that every node shares
	Authority    string // that certifies it, and that it stands before
	Now          func() time.Time
	Rand         io.Reader
	Log          *slog.Logger

	// Enroll gets a certificate for the key, with keyEncipherment and
	// digitalSignature, by the one door: the same id and key get the same one.
	Enroll func(ctx context.Context, id string, key crypto.Signer) (der []byte, err error)
}

// An RA keeps the keys that clients encrypt to and replies are signed with. They
// lie sealed in the store, for all nodes. The first is made when it is first
// needed; each is followed by another at two thirds of its life, or when its
// certificate is no longer good.
type RA struct {
	d    RADeps
	seal cipher.AEAD

	mu     sync.Mutex // of looking and making
	keys   []cms.Pair // newest first
	looked time.Time
}

// NewRA makes an RA. It does nothing until it is needed.
func NewRA(d RADeps) (*RA, error) {
	if d.DB == nil || d.Certificates == nil || d.Authority == "" || d.Now == nil || d.Rand == nil || d.Log == nil || d.Enroll == nil {
		return nil, errors.New("scep: a dependency of the RA is missing")
	}
	block, err := aes.NewCipher(d.SealKey)
	if err != nil || len(d.SealKey) != 32 {
		return nil, errors.New("scep: the key that seals RA keys is not 32 octets")
	}
	seal, err := cipher.NewGCM(block)
	return &RA{d: d, seal: seal}, err
}

const (
	lookEach  = time.Minute     // at what other nodes made, and whether the certificates are good
	lookAgain = 2 * time.Second // at the soonest, for a message to an unknown key
)

// Keys are the pairs in use, the newest first, made if there are none. Fresh
// wants those of this moment rather than of the last minute.
func (a *RA) Keys(ctx context.Context, fresh bool) ([]cms.Pair, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	age := a.d.Now().Sub(a.looked)
	if len(a.keys) > 0 && age >= 0 && (age < lookAgain || age < lookEach && !fresh) {
		return a.keys, nil
	}
	keys, err := a.look(ctx)
	if err == nil && (len(keys) == 0 || a.d.Now().After(rollAt(keys[0].Certificate))) {
		// What was made is worth more than the request that waits for it.
		if err = a.make(context.WithoutCancel(ctx)); err == nil {
			keys, err = a.look(ctx)
		} else if len(keys) > 0 {
			a.d.Log.ErrorContext(ctx, "the next RA key of SCEP could not be made; the one in use goes on", "err", err)
			err = nil
		}
	}
	if err == nil && len(keys) == 0 {
		err = errors.New("scep: there is no RA key")
	}
	if err != nil {
		return nil, err
	}
	a.keys, a.looked = keys, a.d.Now()
	return keys, nil
}

// rollAt is two thirds into a certificate's life.
func rollAt(c *x509.Certificate) time.Time { return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3) }

// Run makes the next key when its time comes, until ctx is done. Nothing is made
// where no client ever came.
func (a *RA) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		rows, err := a.rows(ctx)
		if err == nil && len(rows) > 0 {
			_, err = a.Keys(ctx, true)
		}
		if err != nil && ctx.Err() == nil {
			a.d.Log.ErrorContext(ctx, "the RA keys of SCEP", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (a *RA) rows(ctx context.Context) (all []*raRow, err error) {
	err = a.d.DB.View(ctx, func(tx store.Tx) error {
		all = nil
		for r, err := range raKeys.All(tx, "", "") {
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, err
}

// look reads the keys whose certificates are good.
func (a *RA) look(ctx context.Context) ([]cms.Pair, error) {
	rows, err := a.rows(ctx)
	if err != nil {
		return nil, err
	}
	var keys []cms.Pair
	for i := len(rows) - 1; i >= 0; i-- {
		r := rows[i]
		c, err := x509.ParseCertificate(r.Cert)
		if err != nil || a.d.Now().After(c.NotAfter) {
			continue // one that is being asked for, or over
		}
		row, err := a.d.Certificates.Identify(ctx, r.Cert)
		if err != nil && !errors.Is(err, engine.ErrNoCertificate) {
			return nil, err
		}
		if err != nil || row.Status != engine.Good {
			a.d.Log.WarnContext(ctx, "an RA key of SCEP is not used: its certificate is not one that is good here", "key", r.ID)
			continue
		}
		key, err := a.open(r)
		if err != nil {
			return nil, err
		}
		keys = append(keys, cms.Pair{Certificate: c, Key: key})
	}
	return keys, nil
}

// make makes the next key. The row with the key comes before its certificate, so
// that of several nodes, and after a crash, one key is certified.
func (a *RA) make(ctx context.Context) error {
	rows, err := a.rows(ctx)
	if err != nil {
		return err
	}
	next := &raRow{ID: fmt.Sprintf("%06d", len(rows)+1), Created: a.d.Now()}
	if n := len(rows); n > 0 && len(rows[n-1].Cert) == 0 {
		next = rows[n-1]
	} else if err := a.insert(ctx, next); err != nil {
		return err
	}
	key, err := a.open(next)
	if err != nil {
		return err
	}
	der, err := a.d.Enroll(ctx, next.ID, key)
	if err != nil {
		return fmt.Errorf("a certificate for the RA key of SCEP: %w", err)
	}
	a.d.Log.InfoContext(ctx, "a new RA key of SCEP", "key", next.ID)
	return a.d.DB.Update(ctx, func(tx store.Tx) error {
		_, err := raKeys.Change(tx, next.ID, func(r *raRow) error {
			if len(r.Cert) == 0 {
				r.Cert = bytes.Clone(der)
			}
			return nil
		})
		return err
	})
}

// insert makes the key of a row and stores it, or takes the one that another
// node was faster with.
func (a *RA) insert(ctx context.Context, r *raRow) error {
	key, err := rsa.GenerateKey(a.d.Rand, raBits)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(der)
	nonce := make([]byte, a.seal.NonceSize())
	if _, err := io.ReadFull(a.d.Rand, nonce); err != nil {
		return errors.New("scep: no randomness for sealing a key")
	}
	r.Sealed = a.seal.Seal(nonce, nonce, der, place(r.ID))
	err = a.d.DB.Update(ctx, func(tx store.Tx) error { return raKeys.Insert(tx, r) })
	if errors.Is(err, store.ErrExists) {
		return a.d.DB.View(ctx, func(tx store.Tx) error {
			other, err := raKeys.Get(tx, r.ID)
			if err == nil {
				*r = *other
			}
			return err
		})
	}
	return err
}

func (a *RA) open(r *raRow) (*rsa.PrivateKey, error) {
	if len(r.Sealed) < a.seal.NonceSize() {
		return nil, fmt.Errorf("scep: RA key %s is damaged", r.ID)
	}
	n := a.seal.NonceSize()
	der, err := a.seal.Open(nil, r.Sealed[:n], r.Sealed[n:], place(r.ID))
	if err != nil {
		return nil, fmt.Errorf("scep: RA key %s does not open: it is damaged, or was sealed with another seal.key", r.ID)
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("scep: RA key %s is damaged", r.ID)
	}
	k, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("scep: RA key %s is not RSA", r.ID)
	}
	return k, nil
}

// place is where in the store a sealed key opens, and nowhere else.
func place(id string) []byte { return []byte(raKeys.Name + "\x00" + id) }
