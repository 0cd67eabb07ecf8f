package pki

// Contents of object identifiers: purposes (RFC 5280, Section 4.2.1.12).
const (
	purposeAny      = "\x55\x1d\x25\x00"
	purposeServer   = "\x2b\x06\x01\x05\x05\x07\x03\x01"
	purposeCode     = "\x2b\x06\x01\x05\x05\x07\x03\x03"
	purposeTime     = "\x2b\x06\x01\x05\x05\x07\x03\x08"
	purposeResponse = "\x2b\x06\x01\x05\x05\x07\x03\x09"
)

// Bits of keyUsage (RFC 5280, Section 4.2.1.3).
const (
	bitSignature    uint16 = 0x8000 >> 0
	bitCommitment   uint16 = 0x8000 >> 1
	bitKeyCipher    uint16 = 0x8000 >> 2
	bitDataCipher   uint16 = 0x8000 >> 3
	bitAgreement    uint16 = 0x8000 >> 4
	bitCertSign     uint16 = 0x8000 >> 5
	bitCRLSign      uint16 = 0x8000 >> 6
	bitEncipherOnly uint16 = 0x8000 >> 7
	bitDecipherOnly uint16 = 0x8000 >> 8
)

// usageRules are about what the key may be used for.
func usageRules() []rule {
	return []rule{
		{"key-usage", "RFC 5280, Section 4.2.1.3", warns, keyUsagePresent},
		{"key-usage-critical", "RFC 5280, Section 4.2.1.3", blocks, keyUsageCritical},
		{"key-usage-empty", "RFC 5280, Section 4.2.1.3", blocks, keyUsageEmpty},
		{"key-usage-of-ca", "RFC 5280, Section 4.2.1.3", blocks, keyUsageOfCA},
		{"key-usage-fits-key", "RFC 4055, Section 1.2; RFC 5480, Section 3; RFC 8410, Section 5", blocks, keyUsageFitsKey},
		{"ext-key-usage", "own rule: a purpose is always named", blocks, extKeyUsage},
		{"ext-key-usage-any", "own rule: no certificate for everything", blocks, extKeyUsageAny},
		{"ext-key-usage-repeated", "own rule: each purpose once", blocks, extKeyUsageRepeated},
		{"ext-key-usage-mixed", "RFC 3161, Section 2.3; own rule: signers of status, time and code do nothing else", blocks, extKeyUsageMixed},
		{"time-stamping-critical", "RFC 3161, Section 2.3", blocks, timeStampingCritical},
		{"ocsp-delegate", "RFC 6960, Section 4.2.2.2.1; RFC 5019, Section 2.2.2", warns, ocspDelegate},
	}
}

func keyUsagePresent(c *certificate) string {
	if c.keyUsage == nil {
		return "no keyUsage: readers take that for every use"
	}
	return ""
}

func keyUsageCritical(c *certificate) string {
	if c.keyUsage != nil && !c.keyUsage.critical {
		return "keyUsage is not critical"
	}
	return ""
}

func keyUsageEmpty(c *certificate) string {
	if c.keyUsage != nil && c.usage == 0 {
		return "keyUsage has no bits"
	}
	return ""
}

func keyUsageOfCA(c *certificate) string {
	switch {
	case c.usage&bitCertSign != 0:
		return "keyCertSign"
	case c.usage&bitCRLSign != 0:
		return "cRLSign"
	}
	return ""
}

// keyUsageFitsKey leaves the two bits of a CA to their own rule.
func keyUsageFitsKey(c *certificate) string {
	const signs = bitSignature | bitCommitment | bitCertSign | bitCRLSign
	allowed := ^uint16(0)
	switch c.key.kind {
	case keyRSA:
		allowed = signs | bitKeyCipher | bitDataCipher
	case keyEC:
		allowed = signs | bitAgreement | bitEncipherOnly | bitDecipherOnly
	case keyEd25519:
		allowed = signs
	}
	if c.usage&^allowed != 0 {
		return "keyUsage says what this kind of key cannot do"
	}
	if c.usage&(bitEncipherOnly|bitDecipherOnly) != 0 && c.usage&bitAgreement == 0 {
		return "encipherOnly or decipherOnly without keyAgreement"
	}
	return ""
}

func extKeyUsage(c *certificate) string {
	if len(c.purposes) == 0 {
		return "no extKeyUsage, or an empty one"
	}
	return ""
}

func extKeyUsageAny(c *certificate) string {
	if c.purpose(purposeAny) {
		return "anyExtendedKeyUsage"
	}
	return ""
}

func extKeyUsageRepeated(c *certificate) string {
	for i, p := range c.purposes {
		for _, q := range c.purposes[:i] {
			if p == q {
				return dotted(p) + " appears twice"
			}
		}
	}
	return ""
}

func extKeyUsageMixed(c *certificate) string {
	switch {
	case len(c.purposes) > 1 && c.purpose(purposeResponse):
		return "OCSPSigning beside another purpose"
	case len(c.purposes) > 1 && c.purpose(purposeTime):
		return "timeStamping beside another purpose"
	case c.purpose(purposeCode) && c.purpose(purposeServer):
		return "codeSigning beside serverAuth"
	}
	return ""
}

func timeStampingCritical(c *certificate) string {
	if c.purpose(purposeTime) && !c.extUsage.critical {
		return "timeStamping in an extKeyUsage that is not critical"
	}
	return ""
}

// ocspDelegate wants that nobody needs a status to trust a status.
func ocspDelegate(c *certificate) string {
	if !c.purpose(purposeResponse) {
		return ""
	}
	if !c.has(oidNoCheck) {
		return "OCSPSigning without id-pkix-ocsp-nocheck"
	}
	if c.crlPoints != nil {
		return "OCSPSigning with a CRL address"
	}
	for _, a := range c.accessURLs {
		if a.method == oidAccessOCSP {
			return "OCSPSigning with an OCSP address"
		}
	}
	return ""
}
