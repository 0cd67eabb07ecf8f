package validate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/engine/caa"
)

// MaxIssuers is how many names of the CA a dns-persist-01 challenge may list
// (draft-ietf-acme-dns-persist-02, Section 3.1).
const MaxIssuers = 10

// Persistent is what dns-persist-01 compares records with.
type Persistent struct {
	Issuers    []string // names of this CA, lower case without a dot at their end
	HashPrefix string   // what hashed account URIs begin with, up to their algorithm
}

// DNSPersist01 looks for a record at the name's validation name that lets this
// account have certificates of this CA (draft-ietf-acme-dns-persist-02, Section
// 4). Records of draft 01 are taken as well: their accounturi is the account's
// URL itself, which binds the same account. The error is an *Error.
func (v *Validator) DNSPersist01(ctx context.Context, c Challenge) (Found, error) {
	host := strings.TrimPrefix(c.Name.Value, "*.")
	name := "_validation-persist." + host
	records, err := v.txt(ctx, name)
	if err != nil {
		return Found{}, err
	}
	mine := accountURIs(c, host)
	var last error
	for _, text := range records {
		issue, ok := caa.ParseIssue(text)
		// Section 4.3.2: all records that are for others are ignored. Of one that
		// does not parse, this is what its beginning says.
		if !ok {
			domain, _, _ := strings.Cut(text, ";")
			if slices.Contains(c.Persist.Issuers, strings.ToLower(strings.TrimSpace(domain))) {
				last = failure(Malformed, "the TXT record of %s that names this CA does not have the form of RFC 8659, Section 4.2", name)
			}
			continue
		}
		if !slices.Contains(c.Persist.Issuers, issue.Domain) {
			continue
		}
		found, err := authorizes(&issue, c, mine, name)
		if err == nil {
			return found, nil
		}
		last = err
	}
	if last == nil {
		return Found{}, failure(Unauthorized, "no TXT record of %s names this CA (%d found); it is known as %s", name, len(records), strings.Join(c.Persist.Issuers, ", "))
	}
	return Found{}, last
}

// accountURIs are those that a record may name the account by: the hashed ones
// for each key that it has or had, for this domain and for any, and its URL.
func accountURIs(c Challenge, host string) []string {
	all := []string{c.Account}
	for _, t := range c.Thumbprints {
		for _, domain := range []string{host, "*"} {
			all = append(all, HashedAccount(c.Persist.HashPrefix, domain, t, c.Account))
		}
	}
	return all
}

// HashedAccount is the hashed URI of an account
// (draft-ietf-acme-dns-persist-02, Section 4.1): for the domain "*" it is good
// for every domain.
func HashedAccount(prefix, domain, thumbprint, account string) string {
	h := sha256.New()
	h.Write([]byte{byte(len(domain))})
	h.Write([]byte(domain + thumbprint + account))
	return prefix + "sha-256/" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// authorizes weighs one record that names this CA.
func authorizes(issue *caa.Issue, c Challenge, mine []string, name string) (Found, error) {
	uri, uris := issue.Get("accounturi")
	policy, policies := issue.Get("policy")
	until, untils := issue.Get("persistuntil")
	if uris != 1 || uri == "" || policies > 1 || untils > 1 {
		return Found{}, failure(Malformed, "the TXT record of %s that names this CA must have one accounturi, and policy and persistUntil at most once", name)
	}
	var found Found
	if untils == 1 {
		seconds, err := strconv.ParseInt(until, 10, 64)
		if err != nil || seconds < 0 || strings.Trim(until, "0123456789") != "" {
			return Found{}, failure(Malformed, "persistUntil in the TXT record of %s is not a number of seconds since 1970", name)
		}
		found.Until = time.Unix(seconds, 0)
		if seconds == 0 || c.Now.After(found.Until) {
			return Found{}, failure(Unauthorized, "the TXT record of %s was good until a time that is past (persistUntil)", name)
		}
	}
	// Section 4.1: compared as they are, without case-folding.
	if !slices.Contains(mine, uri) {
		return Found{}, failure(Unauthorized, "the TXT record of %s that names this CA is for another account (accounturi)", name)
	}
	// Section 5: the policy parameter is compared without case.
	if c.Name.Wildcard() && !strings.EqualFold(policy, "wildcard") {
		return Found{}, failure(Unauthorized, "the TXT record of %s does not admit wildcards (policy=wildcard)", name)
	}
	return found, nil
}
