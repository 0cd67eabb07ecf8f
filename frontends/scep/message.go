package scep

import (
	"crypto"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"chancery/frontends/internal/cms"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The attributes of a pkiMessage (RFC 8894, Section 3.2.1).
var (
	oidMessageType    = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 2}
	oidPKIStatus      = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 3}
	oidFailInfo       = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 4}
	oidSenderNonce    = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 5}
	oidRecipientNonce = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 6}
	oidTransactionID  = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 7}
	oidFailInfoText   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 24, 1}
)

// A messageType is what a client wants (RFC 8894, Section 3.2.1.2).
type messageType string

const (
	certRep    messageType = "3"
	renewalReq messageType = "17"
	pkcsReq    messageType = "19"
	certPoll   messageType = "20"
	getCert    messageType = "21"
	getCRL     messageType = "22"
)

// A failInfo is why there is no answer (RFC 8894, Section 3.2.1.4.1).
type failInfo string

const (
	badAlg          failInfo = "0"
	badMessageCheck failInfo = "1"
	badRequest      failInfo = "2"
	badCertID       failInfo = "4"
)

// A failure is told to the client in a CertRep. The text holds nothing of ours.
type failure struct {
	info failInfo
	text string
}

func (f *failure) Error() string { return f.text }

func fail(info failInfo, format string, args ...any) *failure {
	return &failure{info, fmt.Sprintf(format, args...)}
}

// unreadable is the one answer to everything that is wrong with the encrypted
// part (RFC 8894, Section 7.2).
func unreadable() *failure {
	return fail(badMessageCheck, "The content of the message cannot be read: it must be encrypted to the newest certificate that GetCACert gives, and be a certification request for the key that signed the message.")
}

const (
	maxTransactionID = 128
	maxNonce         = 1024
)

// A message is a request whose structure was read.
type message struct {
	signed      *cms.SignedData
	transaction string
	nonce       []byte // the client's
	kind        messageType
	envelope    *cms.Enveloped
}

// parseMessage reads a pkiMessage. An error without a message is for HTTP: what
// was sent has no transaction that could be answered. With a message it is a
// *failure.
func parseMessage(ber []byte) (*message, error) {
	der, err := cms.ToDER(ber)
	if err != nil {
		return nil, err
	}
	m := &message{}
	if m.signed, err = cms.ParseSigned(der); err != nil {
		return nil, err
	}
	if m.signed.Signer == nil {
		return nil, fmt.Errorf("%w: nobody signed", cms.ErrMalformed)
	}
	if m.transaction, err = m.text(oidTransactionID); err != nil || m.transaction == "" || len(m.transaction) > maxTransactionID {
		return nil, errors.New("the transactionID is a PrintableString of 1 to 128 characters") // RFC 8894, Section 3.2.1.1
	}
	if m.nonce, err = m.octets(oidSenderNonce); err != nil || len(m.nonce) == 0 || len(m.nonce) > maxNonce {
		m.nonce = nil
		return m, fail(badRequest, "The senderNonce must be there once, an OCTET STRING of 16 octets.") // RFC 8894, Section 3.2.1.5
	}
	return m, nil
}

// text is the value of an attribute that is a PrintableString.
func (m *message) text(oid asn1.ObjectIdentifier) (string, error) {
	s, err := m.value(oid, cbasn1.PrintableString)
	if err == nil && !printable(string(s)) {
		err = errors.New("not a PrintableString")
	}
	return string(s), err
}

func printable(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?") == ""
}

func (m *message) octets(oid asn1.ObjectIdentifier) ([]byte, error) {
	return m.value(oid, cbasn1.OCTET_STRING)
}

func (m *message) value(oid asn1.ObjectIdentifier, tag cbasn1.Tag) ([]byte, error) {
	der, err := m.signed.Signer.Attribute(oid)
	if err != nil {
		return nil, err
	}
	s := cryptobyte.String(der)
	var value cryptobyte.String
	if !s.ReadASN1(&value, tag) || !s.Empty() {
		return nil, fmt.Errorf("attribute %s is missing or of another type", oid)
	}
	return value, nil
}

// verify checks who signed and what the message is. It opens nothing.
func (m *message) verify(e *endpoint) error {
	err := m.signed.Verify(e.digests...)
	switch {
	case errors.Is(err, cms.ErrAlgorithm):
		return fail(badAlg, "The digest or signature algorithm is not accepted here: sign with SHA-256, SHA-384 or SHA-512 and an RSA key.")
	case err != nil: // RFC 8894, Section 3.2
		return fail(badMessageCheck, "The signature of the message is not good, or the signer's certificate is not in it.")
	}
	if _, ok := m.signed.Signer.Certificate.PublicKey.(*rsa.PublicKey); !ok {
		return fail(badAlg, "Only a client with an RSA key can read a reply; use one, or enroll by another protocol.") // Section 3.1
	}
	// RFC 8894, Section 3.2.1.2; what is not known here is refused, whatever else
	// the message holds.
	kind, err := m.text(oidMessageType)
	switch m.kind = messageType(kind); {
	case err != nil:
		return fail(badRequest, "The messageType must be there once, a PrintableString.")
	case m.kind != pkcsReq && m.kind != renewalReq && m.kind != certPoll && m.kind != getCert && m.kind != getCRL:
		return fail(badRequest, "This messageType is not served.")
	}
	return m.parseEnvelope(e)
}

func (m *message) parseEnvelope(e *endpoint) (err error) {
	if !m.signed.Type.Equal(cms.OIDData) {
		return fail(badRequest, "The signed content must be of the type data.") // RFC 8894, Section 3.2
	}
	der, err := cms.ToDER(m.signed.Content)
	if err == nil {
		m.envelope, err = cms.ParseEnveloped(der)
	}
	switch {
	case errors.Is(err, cms.ErrAlgorithm), err == nil && !e.ciphers[m.envelope.Cipher]:
		return fail(badAlg, "The cipher is not accepted here: encrypt with AES in CBC mode.") // Section 2.9
	case err != nil:
		return fail(badRequest, "The signed content is not an EnvelopedData.")
	}
	return nil
}

// A reply is a CertRep to be made (RFC 8894, Section 3.3).
type reply struct {
	status  string // pkiStatus
	failure *failure
	content []byte // degenerate SignedData, with SUCCESS
}

const (
	success = "0"
	failed  = "2"
	pending = "3"
)

// maxText keeps failInfoText short enough for a device's log.
const maxText = 512

// render signs a reply with the RA key, and encrypts its content to the key that
// signed the request.
func (m *message) render(r reply, ra cms.Pair, random io.Reader) ([]byte, error) {
	var body []byte
	if r.content != nil {
		how := cms.AES128
		if m.envelope != nil && (m.envelope.Cipher == cms.AES256 || m.envelope.Cipher == cms.AES192) {
			how = cms.AES256
		}
		var err error
		if body, err = cms.Encrypt(r.content, m.signed.Signer.Certificate, how, random); err != nil {
			return nil, err
		}
	}
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, errors.New("scep: no randomness")
	}
	var all []cms.Attribute
	add := func(oid asn1.ObjectIdentifier, tag cbasn1.Tag, value []byte) {
		var b cryptobyte.Builder
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(value) })
		all = append(all, cms.Attribute{OID: oid, Value: b.BytesOrPanic()})
	}
	add(oidMessageType, cbasn1.PrintableString, []byte(certRep))
	add(oidPKIStatus, cbasn1.PrintableString, []byte(r.status))
	add(oidTransactionID, cbasn1.PrintableString, []byte(m.transaction))
	add(oidSenderNonce, cbasn1.OCTET_STRING, nonce)
	if m.nonce != nil {
		add(oidRecipientNonce, cbasn1.OCTET_STRING, m.nonce)
	}
	if r.failure != nil {
		add(oidFailInfo, cbasn1.PrintableString, []byte(r.failure.info))
		add(oidFailInfoText, cbasn1.UTF8String, []byte(shortened(r.failure.text)))
	}
	signer, ok := ra.Key.(crypto.Signer)
	if !ok {
		return nil, errors.New("scep: the RA key cannot sign")
	}
	digest := m.signed.Signer.Digest
	if digest != crypto.SHA384 && digest != crypto.SHA512 {
		digest = crypto.SHA256
	}
	return cms.Sign(cms.OIDData, body, cms.Signature{Key: signer, Certificate: ra.Certificate, Digest: digest, Attributes: all, Rand: random})
}

func shortened(s string) string {
	if len(s) <= maxText {
		return s
	}
	for s = s[:maxText]; !utf8.ValidString(s); {
		s = s[:len(s)-1]
	}
	return s
}
