package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"chancery/engine/names"
	"chancery/store"
)

// A CertID names a certificate: the key identifier of the CA key that signed it
// and its serial number, both in lower-case hexadecimal without leading zeros
// in the serial.
type CertID struct {
	Issuer string `json:"i,omitempty"`
	Serial string `json:"s,omitempty"`
}

func (c CertID) String() string { return c.Issuer + ":" + c.Serial }

// IsZero reports whether c names nothing.
func (c CertID) IsZero() bool { return c == CertID{} }

// NewCertID makes the CertID of a serial number given as big-endian octets.
func NewCertID(issuerKeyID, serial []byte) CertID {
	return CertID{hex.EncodeToString(issuerKeyID), serialText(serial)}
}

func serialText(serial []byte) string {
	s := strings.TrimLeft(hex.EncodeToString(serial), "0")
	if s == "" {
		return "0"
	}
	return s
}

// ParseSerial reads a serial number as people paste it: hexadecimal in any
// case, with or without colons, leading zeros or a 0x.
func ParseSerial(s string) (string, error) {
	t := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	t = strings.TrimLeft(strings.TrimPrefix(t, "0x"), "0")
	if t == "" || len(t) > 40 || strings.Trim(t, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%.50q is not a serial number in hexadecimal, as openssl x509 -serial prints it", s)
	}
	return t, nil
}

// key is the row's key: raw octets, because they are half as long.
func (c CertID) key() string {
	s := c.Serial
	if len(s)%2 == 1 {
		s = "0" + s
	}
	b, err := hex.DecodeString(c.Issuer + s)
	if err != nil || len(b) == 0 {
		return "\x00" // matches nothing
	}
	return string(b)
}

// A Status is what a CA key says of a certificate now.
type Status string

// A certificate is good until it is revoked, for ever, or held, which can be
// released.
const (
	Good    Status = "good"
	Held    Status = "held"
	Revoked Status = "revoked"
)

// A Certificate is the row for everything that a CA key ever signed for
// somebody. CRL, OCSP and every live check read only this row.
type Certificate struct {
	CertID
	Status    Status       `json:"st"`
	Reason    int          `json:"re,omitzero"` // CRLReason, RFC 5280, Section 5.3.1
	RevokedAt time.Time    `json:"ra,omitzero"`
	RevokedBy string       `json:"rb,omitempty"`
	NotBefore time.Time    `json:"nb"`
	NotAfter  time.Time    `json:"na"`
	Subject   string       `json:"su,omitempty"` // RFC 4514, for people
	Names     []names.Name `json:"n,omitempty"`
	SPKI      string       `json:"k"` // SHA-256 of the SubjectPublicKeyInfo, hexadecimal
	Requester Principal    `json:"q"`
	Profile   string       `json:"pf"`
	Authority string       `json:"au"`
	Request   string       `json:"r"`
	Shard     int          `json:"sh,omitzero"` // of the CRL that the certificate names, from 1; 0: it names the complete one
	Replaces  CertID       `json:"rp,omitzero"` // the one that this renews, as its requester said and the frontend checked

	// Imported says where the row comes from, if the CA was restored and the row
	// was not in the backup: "journal", or "crl" when nothing is known but that
	// the serial number was revoked.
	Imported string `json:"im,omitempty"`
}

var certificates = store.Table[Certificate]{
	Name: "certificates", Version: 1,
	Key: func(c *Certificate) string { return c.CertID.key() },
	Indexes: []store.Index[Certificate]{
		// By key ("k:" and half of its hash), by name ("n:") and by what it replaces ("r:").
		{Name: "find", Keys: func(c *Certificate) []string {
			if c.SPKI == "" {
				return nil
			}
			all := []string{"k:" + c.SPKI[:32]}
			if !c.Replaces.IsZero() {
				all = append(all, replacedEntry(c.Replaces))
			}
			for _, n := range c.Names {
				all = append(all, nameEntry(n.Value))
			}
			return all
		}},
		{Name: "notafter", Keys: func(c *Certificate) []string { return []string{stamp(c.NotAfter)} }},
		{Name: "imported", Keys: func(c *Certificate) []string {
			if c.Imported == "" {
				return nil
			}
			return []string{"y"}
		}},
		{Name: "revoked", Keys: func(c *Certificate) []string {
			if c.Status == Good {
				return nil
			}
			switch {
			case c.Shard > 0:
				return []string{c.Issuer, listName(c.Issuer, strconv.Itoa(c.Shard))}
			case c.Imported == "crl":
				return []string{c.Issuer, listName(c.Issuer, anyScope)}
			}
			return []string{c.Issuer}
		}},
	},
}

// blocked are the keys that may never be certified again, because a certificate
// of theirs was revoked as compromised; under the SHA-256 of the SPKI, hex.
var blocked = store.Blobs{Name: "blocked"}

// nameEntry is a name's value in the index find. A long one, which only a URI
// can be, is hashed: a key of the store has a bound.
func nameEntry(value string) string {
	if len(value) > 255 {
		h := sha256.Sum256([]byte(value))
		return "h:" + hex.EncodeToString(h[:])
	}
	return "n:" + value
}

func stamp(t time.Time) string { return fmt.Sprintf("%012x", t.Unix()) }
