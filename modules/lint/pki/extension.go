package pki

import (
	"net/url"
)

// extensionRules are about extensions other than subjectAltName and usages.
func extensionRules() []rule {
	return []rule{
		{"extension-form", "RFC 5280, Section 4.2", blocks, extensionForm},
		{"extension-repeated", "RFC 5280, Section 4.2", blocks, extensionRepeated},
		{"extension-unknown-critical", "RFC 5280, Section 4.2: readers reject what they do not know", blocks, extensionUnknownCritical},
		{"extension-of-ca", "RFC 5280, Sections 4.2.1.5, 4.2.1.10, 4.2.1.11 and 4.2.1.14", blocks, extensionOfCA},
		{"subject-key-id", "RFC 5280, Section 4.2.1.2", blocks, subjectKeyID},
		{"authority-key-id", "RFC 5280, Section 4.2.1.1", blocks, authorityKeyIDForm},
		{"key-id-critical", "RFC 5280, Sections 4.2.1.1 and 4.2.1.2", blocks, keyIDCritical},
		{"not-a-ca", "RFC 5280, Section 4.2.1.9", blocks, notCA},
		{"basic-constraints-default", "X.690, Section 11.5", blocks, basicDefault},
		{"path-length", "RFC 5280, Section 4.2.1.9", blocks, pathLength},
		{"crl-address", "RFC 5280, Section 4.2.1.13; own rule: http only", blocks, crlAddress},
		{"access-address", "RFC 5280, Section 4.2.2.1; own rule: http or https only", blocks, accessAddress},
		{"access-critical", "RFC 5280, Sections 4.2.1.13 and 4.2.2.1", blocks, accessCritical},
	}
}

func extensionForm(c *certificate) string {
	if len(c.broken) > 0 {
		return "value of " + dotted(c.broken[0]) + " does not have its form"
	}
	return ""
}

func extensionRepeated(c *certificate) string {
	for i := range c.extensions {
		for j := range i {
			if c.extensions[i].oid == c.extensions[j].oid {
				return dotted(c.extensions[i].oid) + " appears twice"
			}
		}
	}
	return ""
}

func extensionUnknownCritical(c *certificate) string {
	for i := range c.extensions {
		if e := &c.extensions[i]; e.critical && !known(e.oid) {
			return dotted(e.oid) + " is critical, and readers do not know it"
		}
	}
	return ""
}

func known(oid string) bool {
	switch oid {
	case oidSubjectKeyID, oidKeyUsage, oidSubjectAltName, oidBasicConstraints, oidNameConstraints, oidCRLPoints,
		oidPolicies, oidPolicyMappings, oidAuthorityKeyID, oidPolicyLimits, oidExtKeyUsage, oidInhibitAny, oidInfoAccess:
		return true
	}
	return false
}

func extensionOfCA(c *certificate) string {
	for i := range c.extensions {
		switch oid := c.extensions[i].oid; oid {
		case oidNameConstraints, oidPolicyMappings, oidPolicyLimits, oidInhibitAny:
			return dotted(oid) + " belongs in CA certificates"
		}
	}
	return ""
}

func subjectKeyID(c *certificate) string {
	if c.keyID == nil {
		return "no subjectKeyIdentifier"
	}
	if n := len(c.subjectID); c.keyID != nil && (n == 0 || n > 64) {
		return "subjectKeyIdentifier is empty or too long"
	}
	return ""
}

func authorityKeyIDForm(c *certificate) string {
	switch {
	case c.authorityID == nil:
		return "no authorityKeyIdentifier"
	case len(c.authority.keyID) == 0:
		return "authorityKeyIdentifier has no keyIdentifier"
	case c.authority.other:
		return "authorityKeyIdentifier holds more than keyIdentifier"
	}
	return ""
}

func keyIDCritical(c *certificate) string {
	if c.keyID != nil && c.keyID.critical {
		return "subjectKeyIdentifier is critical"
	}
	if c.authorityID != nil && c.authorityID.critical {
		return "authorityKeyIdentifier is critical"
	}
	return ""
}

func notCA(c *certificate) string {
	if c.constraints.ca {
		return "cA is TRUE"
	}
	return ""
}

func basicDefault(c *certificate) string {
	if c.constraints.explicitFalse {
		return "cA FALSE is written, and it is the default"
	}
	return ""
}

func pathLength(c *certificate) string {
	if c.constraints.pathLen && !c.constraints.ca {
		return "pathLenConstraint without cA"
	}
	return ""
}

func crlAddress(c *certificate) string {
	for _, s := range c.crlURLs {
		if !address(s, "http", "http") {
			return "address " + s + " is not absolute http"
		}
	}
	return ""
}

func accessAddress(c *certificate) string {
	for _, a := range c.accessURLs {
		if !address(a.url, "http", "https") {
			return "address " + a.url + " is not absolute http or https"
		}
	}
	return ""
}

func address(s, scheme, other string) bool {
	u, err := url.Parse(s)
	return err == nil && visible([]byte(s)) && (u.Scheme == scheme || u.Scheme == other) &&
		u.Host != "" && u.User == nil && u.Fragment == ""
}

func accessCritical(c *certificate) string {
	if c.crlPoints != nil && c.crlPoints.critical {
		return "cRLDistributionPoints is critical"
	}
	if c.access != nil && c.access.critical {
		return "authorityInfoAccess is critical"
	}
	return ""
}
