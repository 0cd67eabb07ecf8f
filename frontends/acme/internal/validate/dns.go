package validate

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// DNS01 looks for the digest among the TXT records of the host's validation
// name (RFC 8555, Section 8.4). The error is an *Error.
func (v *Validator) DNS01(ctx context.Context, host, digest string) error {
	return v.digestAt(ctx, "_acme-challenge."+host, digest)
}

// DNSAccount01 is DNS01 with a validation name for each account
// (draft-ietf-acme-dns-account-label-02, Section 3.2).
func (v *Validator) DNSAccount01(ctx context.Context, host, account, digest string) error {
	return v.digestAt(ctx, AccountLabel(account)+"._acme-challenge."+host, digest)
}

// AccountLabel is the label that stands for an account, by its URL:
// "_" || base32(SHA-256(<ACCOUNT_URL>)[0:10]).
func AccountLabel(account string) string {
	h := sha256.Sum256([]byte(account))
	return "_" + strings.ToLower(base32.StdEncoding.EncodeToString(h[:10]))
}

func (v *Validator) digestAt(ctx context.Context, name, digest string) error {
	records, err := v.txt(ctx, name)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r == digest {
			note(ctx, "txt", "one of %d TXT records is the digest", len(records))
			return nil
		}
	}
	return failure(IncorrectResponse, "no TXT record of %s is the digest for this account and token (%d found)", name, len(records))
}

// txt returns what is at a validation name, at least one record.
func (v *Validator) txt(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	if len(name) > 253 {
		return nil, failure(DNS, "the name is too long for this challenge: with %s before it, it has more than 253 characters", strings.SplitN(name, ".", 2)[0])
	}
	records, err := v.resolver.TXT(ctx, name)
	if err != nil {
		return nil, asFailure(err, "TXT", name)
	}
	if len(records) == 0 {
		return nil, failure(DNS, "no TXT record found for %s", name)
	}
	return records, nil
}
