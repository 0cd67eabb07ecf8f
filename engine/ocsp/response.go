package ocsp

import (
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine/tbs"
)

// Sign makes a successful response. It refuses what would mislead: an answer
// without a state or an end, one that predates what it says, one by a key that
// nobody gave the right. Fractions of seconds are cut.
func Sign(r *Response, key crypto.Signer) ([]byte, error) {
	alg, err := r.check(key)
	if err != nil {
		return nil, err
	}
	data, err := r.data()
	if err != nil {
		return nil, fmt.Errorf("ocsp: couldn't encode: %w", err)
	}
	signature, err := tbs.Signature(data, alg, key)
	if err != nil {
		return nil, fmt.Errorf("ocsp: %w", err)
	}

	// RFC 6960, Section 4.2.1.
	size := len(data) + len(signature) + 128
	for _, c := range r.Chain {
		size += len(c.Raw)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0) // successful
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, oidBasic)
				b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(data)
						b.AddBytes(alg.Identifier())
						b.AddASN1BitString(signature)
						addChain(b, r.Chain)
					})
				})
			})
		})
	})
	return b.Bytes()
}

func addOID(b *cryptobyte.Builder, oid string) {
	b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte(oid)) })
}

func addChain(b *cryptobyte.Builder, chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, c := range chain {
				b.AddBytes(c.Raw)
			}
		})
	})
}

// data encodes ResponseData. The version is v1 and, being the default, not
// written.
func (r *Response) data() ([]byte, error) {
	bits, ok := keyBits(r.Responder.RawSubjectPublicKeyInfo)
	if !ok {
		return nil, ErrResponder
	}
	hash := sha1.Sum(bits)
	b := cryptobyte.NewBuilder(make([]byte, 0, 256*len(r.Statuses)+256))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		// RFC 6960, Section 4.2.2.3, and RFC 5019, Section 2.2.2: byKey.
		b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(hash[:]) })
		addTime(b, r.ProducedAt)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for i := range r.Statuses {
				addStatus(b, &r.Statuses[i])
			}
		})
		if r.Nonce != nil {
			addNonce(b, r.Nonce)
		}
	})
	return b.Bytes()
}

// addStatus encodes a SingleResponse.
func addStatus(b *cryptobyte.Builder, s *Status) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		// What the client sent, byte for byte: it looks for its own CertID.
		b.AddBytes(s.ID.Raw)
		switch s.State {
		case Good:
			b.AddASN1(asn1.Tag(0).ContextSpecific(), func(*cryptobyte.Builder) {})
		case Revoked:
			b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
				addTime(b, s.RevokedAt)
				if s.Reason != 0 { // RFC 5280, Section 5.3.1: unspecified is left out
					b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(s.Reason)) })
				}
			})
		case Unknown:
			b.AddASN1(asn1.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {})
		}
		addTime(b, s.ThisUpdate)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { addTime(b, s.NextUpdate) })
	})
}

// addNonce encodes responseExtensions with the nonce as it came
// (RFC 9654, Section 2.1).
func addNonce(b *cryptobyte.Builder, nonce []byte) {
	b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, oidNonce)
				b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
			})
		})
	})
}

// addTime writes GeneralizedTime in Zulu, without fractions (RFC 6960, Section 4.2.2.1).
func addTime(b *cryptobyte.Builder, t time.Time) { b.AddASN1GeneralizedTime(t.UTC()) }

func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }

func (r *Response) check(key crypto.Signer) (tbs.Algorithm, error) {
	if len(r.Statuses) == 0 {
		return tbs.Algorithm{}, fmt.Errorf("%w: none", ErrStatus)
	}
	if r.Nonce != nil && (len(r.Nonce) < 1 || len(r.Nonce) > MaxNonce) {
		return tbs.Algorithm{}, fmt.Errorf("%w: nonce of %d octets", ErrStatus, len(r.Nonce))
	}
	for i := range r.Statuses {
		if err := r.Statuses[i].check(r.ProducedAt); err != nil {
			return tbs.Algorithm{}, err
		}
	}
	if err := r.checkResponder(key); err != nil {
		return tbs.Algorithm{}, err
	}
	alg, err := tbs.AlgorithmFor(r.Responder.PublicKey)
	if err != nil {
		return alg, fmt.Errorf("%w: %w", ErrResponder, err)
	}
	return alg, nil
}

func (s *Status) check(producedAt time.Time) error {
	switch {
	case len(s.ID.Raw) == 0:
		return fmt.Errorf("%w: of no certificate", ErrStatus)
	case s.State != Good && s.State != Revoked && s.State != Unknown:
		return fmt.Errorf("%w: state %d", ErrStatus, s.State)
	// RFC 6960, Section 4.2.2.1; RFC 5019, Section 2.2.4: nextUpdate is there.
	case seconds(producedAt).Before(seconds(s.ThisUpdate)):
		return fmt.Errorf("%w: produced before thisUpdate", ErrStatus)
	case !seconds(s.NextUpdate).After(seconds(s.ThisUpdate)):
		return fmt.Errorf("%w: nextUpdate is not after thisUpdate", ErrStatus)
	case s.State == Revoked && s.RevokedAt.IsZero():
		return fmt.Errorf("%w: revoked at no time", ErrStatus)
	case s.State != Revoked && (s.Reason != 0 || !s.RevokedAt.IsZero()):
		return fmt.Errorf("%w: a reason, and not revoked", ErrStatus)
	// RFC 5280, Section 5.3.1: 7 is not used, 8 belongs to delta lists.
	case s.Reason < 0 || s.Reason > 10 || s.Reason == 7 || s.Reason == 8:
		return fmt.Errorf("%w: reason %d", ErrStatus, s.Reason)
	}
	return nil
}

func (r *Response) checkResponder(key crypto.Signer) error {
	c := r.Responder
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case c == nil || !ok || !pub.Equal(c.PublicKey):
		return fmt.Errorf("%w: the key is another's", ErrResponder)
	case r.ProducedAt.Before(c.NotBefore) || r.ProducedAt.After(c.NotAfter):
		return fmt.Errorf("%w: outside its validity", ErrResponder)
	case c.IsCA:
		return nil
	// RFC 6960, Section 4.2.2.2: a delegate is marked by its issuer, and clients
	// need its certificate.
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("%w: a delegate without OCSPSigning", ErrResponder)
	case len(r.Chain) == 0 || !r.Chain[0].Equal(c):
		return fmt.Errorf("%w: a delegate's certificate is not sent along", ErrResponder)
	}
	for i := range r.Statuses {
		// An answer is of no use once the certificate behind it has expired.
		if r.Statuses[i].NextUpdate.After(c.NotAfter) {
			return fmt.Errorf("%w: it expires before nextUpdate", ErrResponder)
		}
	}
	return nil
}
