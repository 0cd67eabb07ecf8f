package keys

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Blocklist is a set of keys known to the world, first of all the 2^15 per size
// and machine that Debian's OpenSSL made from 2006 to 2008 (CVE-2008-0166).
//
// Chancery ships no such list: the whole one is too large to build in. Give it
// the files of Debian's openssl-blacklist package, or others in that form. A nil
// Blocklist is empty. It is safe for concurrent use.
type Blocklist struct {
	moduli [][modulusPrint]byte // sorted
	spki   [][32]byte           // sorted
}

// modulusPrint is how much of SHA-1 the Debian files keep: the lower 80 bits.
const modulusPrint = 10

// maxBlocklist bounds a list: about three times all Debian keys of four sizes.
const maxBlocklist = 4 << 20

// ReadBlocklist reads a list of one entry per line: 20 hexadecimal digits are
// the lower 80 bits of SHA-1 over "Modulus=HEX\n" as openssl prints it, which is
// the form of openssl-blacklist; 64 are SHA-256 over a SubjectPublicKeyInfo.
// Empty lines and what follows # are passed over; anything else is an error that
// names its line.
func ReadBlocklist(r io.Reader) (*Blocklist, error) {
	b := &Blocklist{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		raw, err := hex.DecodeString(text)
		switch {
		case err == nil && len(raw) == modulusPrint:
			b.moduli = append(b.moduli, [modulusPrint]byte(raw))
		case err == nil && len(raw) == 32:
			b.spki = append(b.spki, [32]byte(raw))
		default:
			return nil, fmt.Errorf("key blocklist, line %d: expected 20 or 64 hexadecimal digits", n)
		}
		if b.Len() > maxBlocklist {
			return nil, fmt.Errorf("key blocklist, line %d: more than %d entries", n, maxBlocklist)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("key blocklist: %w", err)
	}
	slices.SortFunc(b.moduli, func(x, y [modulusPrint]byte) int { return bytes.Compare(x[:], y[:]) })
	slices.SortFunc(b.spki, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
	return b, nil
}

// Len is the number of entries, for a start-up message.
func (b *Blocklist) Len() int {
	if b == nil {
		return 0
	}
	return len(b.moduli) + len(b.spki)
}

// Check says whether the key is on the list; the error is a *WeakError.
func (b *Blocklist) Check(p *Public) error {
	if b.Len() == 0 {
		return nil
	}
	sum := p.Hash()
	_, found := slices.BinarySearchFunc(b.spki, sum, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
	if key, ok := p.Key.(*rsa.PublicKey); ok && !found {
		// SHA-1 names entries of the file format here; nothing rests on its
		// strength.
		full := sha1.Sum(fmt.Appendf(nil, "Modulus=%X\n", key.N))
		print := [modulusPrint]byte(full[len(full)-modulusPrint:])
		_, found = slices.BinarySearchFunc(b.moduli, print, func(x, y [modulusPrint]byte) int { return bytes.Compare(x[:], y[:]) })
	}
	if found {
		return &WeakError{WeakListed, "its private key is publicly known (CVE-2008-0166 or a published test key)"}
	}
	return nil
}
