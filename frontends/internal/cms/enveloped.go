package cms

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// An Enveloped is an EnvelopedData (RFC 5652, Section 6), parsed.
type Enveloped struct {
	Cipher Cipher

	recipients []recipient
	iv, body   []byte
	keySize    int
}

// A recipient is a KeyTransRecipientInfo (RFC 5652, Section 6.2.1).
type recipient struct {
	id        identifier
	algorithm algorithm
	key       []byte
}

// A Pair is a key that content may be for, with its certificate.
type Pair struct {
	Certificate *x509.Certificate
	Key         crypto.Decrypter // RSA
}

// ParseEnveloped reads an EnvelopedData in DER, with its ContentInfo. A cipher
// that this package does not know is ErrAlgorithm; which of the others to accept
// is the caller's to say, by Cipher, before it decrypts.
func ParseEnveloped(der []byte) (*Enveloped, error) {
	s, err := contentInfo(der, OIDEnveloped)
	if err != nil {
		return nil, err
	}
	bad := func(what string) error { return fmt.Errorf("%w: EnvelopedData: %s", ErrMalformed, what) }
	var version int
	var skipped, infos, content cryptobyte.String
	if !s.ReadASN1Integer(&version) || version < 0 || version > 4 {
		return nil, bad("version")
	}
	if s.PeekASN1Tag(context0) && !s.ReadASN1(&skipped, context0) || !s.ReadASN1(&infos, cbasn1.SET) ||
		!s.ReadASN1(&content, cbasn1.SEQUENCE) || s.PeekASN1Tag(context1) && !s.ReadASN1(&skipped, context1) || !s.Empty() {
		return nil, bad("recipients or content")
	}
	e := &Enveloped{}
	for count := 0; !infos.Empty(); count++ {
		if count == maxRecipients {
			return nil, bad("more than 16 recipients")
		}
		if err := e.parseRecipient(&infos); err != nil {
			return nil, err
		}
	}
	return e, e.parseContent(content)
}

// parseRecipient reads one RecipientInfo; those of other kinds than key
// transport are not for us.
func (e *Enveloped) parseRecipient(infos *cryptobyte.String) error {
	bad := fmt.Errorf("%w: EnvelopedData: a recipient", ErrMalformed)
	var info cryptobyte.String
	var tag cbasn1.Tag
	if !infos.ReadAnyASN1(&info, &tag) {
		return bad
	}
	if tag != cbasn1.SEQUENCE {
		return nil
	}
	var r recipient
	var version int
	var key cryptobyte.String
	if !info.ReadASN1Integer(&version) || !readIdentifier(&info, &r.id) || !readAlgorithm(&info, &r.algorithm) ||
		!info.ReadASN1(&key, cbasn1.OCTET_STRING) || !info.Empty() {
		return bad
	}
	r.key = key
	e.recipients = append(e.recipients, r)
	return nil
}

// parseContent reads EncryptedContentInfo.
func (e *Enveloped) parseContent(s cryptobyte.String) error {
	bad := fmt.Errorf("%w: EnvelopedData: the content", ErrMalformed)
	kind := OIDData
	var alg algorithm
	if !s.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(OIDData) || !readAlgorithm(&s, &alg) {
		return bad
	}
	var body, iv cryptobyte.String
	if s.PeekASN1Tag(context0) { // BER: a string in pieces; ToDER cannot know that it is one
		var pieces cryptobyte.String
		if !s.ReadASN1(&pieces, context0) {
			return bad
		}
		for !pieces.Empty() {
			var piece cryptobyte.String
			if !pieces.ReadASN1(&piece, cbasn1.OCTET_STRING) {
				return bad
			}
			body = append(body, piece...)
		}
	} else if !s.ReadASN1(&body, cbasn1.Tag(0).ContextSpecific()) {
		return bad
	}
	if !s.Empty() {
		return bad
	}
	for _, c := range ciphers {
		if !c.oid.Equal(alg.oid) {
			continue
		}
		if !alg.params.ReadASN1(&iv, cbasn1.OCTET_STRING) || len(iv) != c.block || !alg.params.Empty() ||
			len(body) == 0 || len(body)%c.block != 0 {
			return bad
		}
		e.Cipher, e.keySize, e.iv, e.body = c.name, c.key, iv, body
		return nil
	}
	return fmt.Errorf("%w: the cipher %s", ErrAlgorithm, alg.oid)
}

// Decrypt returns the content, with the first of the keys that exactly one
// recipient names. Every failure is ErrDecrypt: when the content key does not
// come out, a random one takes its place, and what follows is the same work
// (RFC 8894, Section 7.2; RFC 3218). Whoever gets content must check its
// structure, and answer a wrong one as it answers ErrDecrypt: of wrong keys one
// in 256 has a padding that looks right.
func (e *Enveloped) Decrypt(random io.Reader, pairs ...Pair) ([]byte, error) {
	key := make([]byte, e.keySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("cms: no randomness: %w", err)
	}
	if r, p := e.find(pairs); r != nil {
		if k, err := open(random, r, p, e.keySize); err == nil && len(k) == e.keySize {
			key = k
		}
	}
	defer clear(key)
	block, err := newBlock(e.Cipher, key)
	if err != nil {
		return nil, ErrDecrypt
	}
	out := make([]byte, len(e.body))
	cipher.NewCBCDecrypter(block, e.iv).CryptBlocks(out, e.body)
	return unpad(out, block.BlockSize())
}

// For is the pair that Decrypt would use, or nil if the content is for none.
func (e *Enveloped) For(pairs ...Pair) *Pair {
	_, p := e.find(pairs)
	return p
}

func (e *Enveloped) find(pairs []Pair) (*recipient, *Pair) {
	for i := range pairs {
		var found *recipient
		for j := range e.recipients {
			if e.recipients[j].id.names(pairs[i].Certificate) {
				if found != nil {
					return nil, nil // which of the two counts must not be a matter of taste
				}
				found = &e.recipients[j]
			}
		}
		if found != nil {
			return found, &pairs[i]
		}
	}
	return nil, nil
}

// open decrypts a content key of a known size.
func open(random io.Reader, r *recipient, p *Pair, size int) ([]byte, error) {
	switch {
	case r.algorithm.oid.Equal(oidRSA) && r.algorithm.plain():
		// A key of software gives a random one when the padding is wrong, in the
		// same time; one in hardware an error, with which the caller does the same.
		//lint:ignore SA1019 RFC 8894, Section 3.1: clients send no other
		return p.Key.Decrypt(random, r.key, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: size})
	case r.algorithm.oid.Equal(oidOAEP):
		o, ok := oaepOptions(r.algorithm.params)
		if !ok {
			return nil, ErrDecrypt
		}
		return p.Key.Decrypt(random, r.key, o)
	}
	return nil, ErrDecrypt
}

// oaepOptions reads RSAES-OAEP-params (RFC 4055, Section 4.1).
func oaepOptions(s cryptobyte.String) (*rsa.OAEPOptions, bool) {
	o := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	var seq, part cryptobyte.String
	var there bool
	if len(s) == 0 {
		return o, true
	}
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadOptionalASN1(&part, &there, context0) {
		return nil, false
	}
	var a algorithm
	if there {
		if !readAlgorithm(&part, &a) {
			return nil, false
		}
		if o.Hash, there = digestOf(&a); !there {
			return nil, false
		}
	}
	if !seq.ReadOptionalASN1(&part, &there, context1) {
		return nil, false
	}
	if there {
		var inner algorithm
		if !readAlgorithm(&part, &a) || !a.oid.Equal(oidMGF1) || !readAlgorithm(&a.params, &inner) {
			return nil, false
		}
		if o.MGFHash, there = digestOf(&inner); !there {
			return nil, false
		}
	}
	return o, seq.Empty() // no label: pSourceSpecified is the empty one by default
}

func newBlock(c Cipher, key []byte) (cipher.Block, error) {
	switch c {
	case TripleDES:
		return des.NewTripleDESCipher(key)
	case DES:
		return des.NewCipher(key)
	}
	return aes.NewCipher(key)
}

// unpad takes off the padding of RFC 5652, Section 6.3, looking at as many octets
// whatever they are.
func unpad(b []byte, block int) ([]byte, error) {
	n := int(b[len(b)-1])
	good := subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, block)
	for i := range block {
		inside := subtle.ConstantTimeLessOrEq(i+1, n)
		same := subtle.ConstantTimeByteEq(b[len(b)-1-i], byte(n))
		good &= subtle.ConstantTimeSelect(inside, same, 1)
	}
	if good != 1 {
		return nil, ErrDecrypt
	}
	return b[:len(b)-n], nil
}

// Encrypt makes an EnvelopedData for the RSA key of a certificate, with its
// ContentInfo. The cipher is AES; the key is transported with PKCS #1 version
// 1.5, which every client reads.
func Encrypt(content []byte, to *x509.Certificate, c Cipher, random io.Reader) ([]byte, error) {
	pub, ok := to.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: content can be encrypted to an RSA key only", ErrAlgorithm)
	}
	i := slices.IndexFunc(ciphers, func(k cbc) bool { return k.name == c && k.block == aes.BlockSize })
	if i < 0 {
		return nil, fmt.Errorf("%w: %s for encrypting", ErrAlgorithm, c)
	}
	secret := make([]byte, ciphers[i].key+aes.BlockSize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("cms: no randomness: %w", err)
	}
	defer clear(secret)
	key, iv := secret[:ciphers[i].key], secret[ciphers[i].key:]
	//lint:ignore SA1019 RFC 8894, Section 3.1: clients read no other key transport
	sealed, err := rsa.EncryptPKCS1v15(random, pub, key)
	if err != nil {
		return nil, fmt.Errorf("cms: encrypting the content key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	n := aes.BlockSize - len(content)%aes.BlockSize
	body := append(bytes.Clone(content), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, body)
	return wrap(OIDEnveloped, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				addIssuerAndSerial(b, to)
				addAlgorithm(b, oidRSA, true)
				b.AddASN1OctetString(sealed)
			})
		})
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(OIDData)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(ciphers[i].oid)
				b.AddASN1OctetString(iv)
			})
			b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(body) })
		})
	})
}
