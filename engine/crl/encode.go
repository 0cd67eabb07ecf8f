package crl

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"iter"
	"math/big"
	"time"

	"chancery/engine/tbs"
)

const (
	tagInteger         = 0x02
	tagOctetString     = 0x04
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30
	tagExtensions      = 0xa0
	tagNested0         = 0xa0
	tagURI             = 0x86

	// From the extension's SEQUENCE on, all but the value.
	oidReasonCode   = "\x06\x03\x55\x1d\x15"
	oidInvalidity   = "\x06\x03\x55\x1d\x18"
	oidCRLNumber    = "\x06\x03\x55\x1d\x14"
	oidAuthorityKey = "\x06\x03\x55\x1d\x23"

	oidDeltaIndicator = "\x06\x03\x55\x1d\x1b"
	oidIssuingPoint   = "\x06\x03\x55\x1d\x1c"
	oidFreshest       = "\x06\x03\x55\x1d\x2e"

	maxSerial = tbs.MaxSerial
)

// appendHead writes what stands before the entries in tBSCertList
// (RFC 5280, Section 5.1.2).
func appendHead(out []byte, issuer *x509.Certificate, alg tbs.Algorithm, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	out = append(out, tagInteger, 1, 1) // Section 5.1.2.1: version 2 has the value 1
	out = append(out, alg.Identifier()...)
	out = append(out, issuer.RawSubject...)
	out, err := appendTime(out, thisUpdate)
	if err != nil {
		return nil, err
	}
	return appendTime(out, nextUpdate)
}

// appendEntries writes the content of revokedCertificates.
func appendEntries(entries iter.Seq2[Entry, error], delta bool) ([]byte, error) {
	var out []byte
	seen := make(map[[maxSerial]byte]struct{})
	for e, err := range entries {
		if err != nil {
			return nil, fmt.Errorf("crl: couldn't read the entries: %w", err)
		}
		serial := bytes.TrimLeft(e.Serial, "\x00")
		// Zero and overlong serial numbers never came from here.
		if len(serial) == 0 || len(serial) > maxSerial {
			return nil, fmt.Errorf("%w: serial number %x", ErrEntry, e.Serial)
		}
		var id [maxSerial]byte
		copy(id[maxSerial-len(serial):], serial)
		if _, twice := seen[id]; twice {
			return nil, fmt.Errorf("%w: serial number %x appears twice", ErrEntry, serial)
		}
		seen[id] = struct{}{}
		if e.Reason == 8 && !delta {
			// Section 5.3.1: removeFromCRL appears in delta lists only.
			return nil, fmt.Errorf("%w: removeFromCRL in a complete list", ErrEntry)
		}
		if out, err = appendEntry(out, serial, &e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// appendEntry writes one entry. Its parts are built in an array on the stack,
// for this runs a million times.
func appendEntry(out, serial []byte, e *Entry) ([]byte, error) {
	var room [128]byte
	body := append(room[:0], tagInteger, byte(len(serial)))
	if serial[0]&0x80 != 0 {
		body[1]++
		body = append(body, 0)
	}
	body = append(body, serial...)
	body, err := appendTime(body, e.At)
	if err != nil {
		return nil, err
	}

	var extRoom [64]byte
	exts := extRoom[:0]
	switch {
	case e.Reason == 0:
		// RFC 5280, Section 5.3.1: unspecified is said by leaving it out.
	case e.Reason < 0 || e.Reason > 10 || e.Reason == 7:
		return nil, fmt.Errorf("%w: reason %d does not exist", ErrEntry, e.Reason)
	default:
		exts = append(exts, tagSequence, 10)
		exts = append(exts, oidReasonCode...)
		exts = append(exts, tagOctetString, 3, 0x0a, 1, byte(e.Reason))
	}
	if !e.Invalidity.IsZero() {
		// Section 5.3.2: GeneralizedTime, also before 2050.
		exts = append(exts, tagSequence, 24)
		exts = append(exts, oidInvalidity...)
		exts = append(exts, tagOctetString, 17)
		if exts, err = appendGeneralized(exts, e.Invalidity); err != nil {
			return nil, err
		}
	}
	if len(exts) > 0 {
		body = append(body, tagSequence, byte(len(exts)))
		body = append(body, exts...)
	}
	out = append(out, tagSequence, byte(len(body))) // at most 88 octets
	return append(out, body...), nil
}

// appendExtensions writes crlExtensions: AKI in its keyIdentifier form and
// CRLNumber, neither critical (RFC 5280, Sections 5.2.1 and 5.2.3), and what makes
// it another list than a complete one, critical (Sections 5.2.4 and 5.2.5).
func appendExtensions(out, keyID []byte, l *List) []byte {
	list := extension(oidAuthorityKey, element(tagSequence, element(0x80, keyID)))
	list = append(list, extension(oidCRLNumber, integer(l.Number))...)
	if l.Base != nil {
		list = append(list, critical(oidDeltaIndicator, integer(l.Base))...)
	}
	if len(l.Part) > 0 {
		// onlyContainsUserCerts [1] TRUE.
		idp := append(distributionPoint(l.Part), 0x81, 1, 0xff)
		list = append(list, critical(oidIssuingPoint, element(tagSequence, idp))...)
	}
	if len(l.Freshest) > 0 {
		// Section 5.2.6: not critical.
		list = append(list, extension(oidFreshest, element(tagSequence, element(tagSequence, distributionPoint(l.Freshest))))...)
	}
	return append(out, element(tagExtensions, element(tagSequence, list))...)
}

// distributionPoint is the field of this name with fullName (Section 4.2.1.13),
// as certificates write it.
func distributionPoint(urls []string) []byte {
	var all []byte
	for _, u := range urls {
		all = append(all, element(tagURI, []byte(u))...)
	}
	return element(tagNested0, element(tagNested0, all))
}

func integer(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) == 0 || b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return element(tagInteger, b)
}

func extension(oid string, value []byte) []byte {
	return element(tagSequence, append([]byte(oid), element(tagOctetString, value)...))
}

func critical(oid string, value []byte) []byte { return extension(oid+"\x01\x01\xff", value) }

// assemble makes tBSCertList of its three parts. RFC 5280, Section 5.1.2.6:
// without entries revokedCertificates is absent.
func assemble(head, entries, extensions []byte) []byte {
	var header []byte
	if len(entries) > 0 {
		header = appendHeader(nil, tagSequence, len(entries))
	}
	n := len(head) + len(header) + len(entries) + len(extensions)
	out := appendHeader(make([]byte, 0, n+8), tagSequence, n)
	out = append(out, head...)
	out = append(out, header...)
	out = append(out, entries...)
	return append(out, extensions...)
}

// appendTime obeys RFC 5280, Sections 5.1.2.4 to 5.1.2.6: UTCTime through 2049,
// GeneralizedTime from 2050, in Zulu, without fractions.
func appendTime(out []byte, t time.Time) ([]byte, error) {
	if t = t.UTC(); t.Year() >= 2050 {
		return appendGeneralized(out, t)
	}
	if t.Year() < 1950 {
		return nil, fmt.Errorf("%w: year %d cannot be written", ErrEntry, t.Year())
	}
	return t.AppendFormat(append(out, tagUTCTime, 13), "060102150405Z"), nil
}

func appendGeneralized(out []byte, t time.Time) ([]byte, error) {
	if t = t.UTC(); t.Year() < 0 || t.Year() > 9999 {
		return nil, fmt.Errorf("%w: year %d cannot be written", ErrEntry, t.Year())
	}
	return t.AppendFormat(append(out, tagGeneralizedTime, 15), "20060102150405Z"), nil
}

func element(tag byte, content []byte) []byte {
	return append(appendHeader(make([]byte, 0, len(content)+6), tag, len(content)), content...)
}

func appendHeader(out []byte, tag byte, n int) []byte {
	switch {
	case n < 1<<7:
		return append(out, tag, byte(n))
	case n < 1<<8:
		return append(out, tag, 0x81, byte(n))
	case n < 1<<16:
		return append(out, tag, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		return append(out, tag, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, tag, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
