package validate

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

// The example of draft-ietf-acme-dns-persist-02, Section 10.2, and its form for
// every domain.
const (
	thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	account    = "https://ca.example/acct/123"
	hashPrefix = "https://ca.example/account-hash/"
	hashed     = hashPrefix + "sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"
	everywhere = hashPrefix + "sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"
)

func TestHashedAccountIsThatOfTheDraft(t *testing.T) {
	if got := HashedAccount(hashPrefix, "example.com", thumbprint, account); got != hashed {
		t.Error(got)
	}
	if got := HashedAccount(hashPrefix, "*", thumbprint, account); got != everywhere {
		t.Error(got)
	}
}

// XN-020, and each MUST of the draft about records.
func TestXN_020_PersistentRecords(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	const ok Kind = ""
	for _, tt := range []struct {
		records    string // separated by |
		name, wild Kind
	}{
		{"authority.example; accounturi=" + hashed, ok, Unauthorized},
		{"authority.example; accounturi=" + everywhere, ok, Unauthorized},
		{"authority.example; accounturi=" + account, ok, Unauthorized}, // draft 01
		{"authority.example; accounturi=" + hashed + "; policy=wildcard", ok, ok},
		{"Authority.EXAMPLE; AccountURI=" + hashed + "; POLICY=WildCard", ok, ok},
		{"authority.example; accounturi=" + hashed + "; policy=all", ok, Unauthorized},
		{"authority.example; accounturi=" + hashed + "; future=a; future=b", ok, Unauthorized},
		{"ca2.example; accounturi=" + hashed, ok, Unauthorized},
		{"other.example; accounturi=https://other.example/1|authority.example; accounturi=" + hashed, ok, Unauthorized},
		{"authority.example; accounturi=https://ca.example/acct/9|authority.example; accounturi=" + hashed, ok, Unauthorized},
		{"%%%|v=spf1 -all|authority.example; accounturi=" + hashed, ok, Unauthorized},
		// The account of a key that it had.
		{"authority.example; accounturi=" + HashedAccount(hashPrefix, "example.com", "former", account), ok, Unauthorized},
		{"authority.example; accounturi=" + HashedAccount(hashPrefix, "example.com", "stranger's", account), Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + HashedAccount(hashPrefix, "sub.example.com", thumbprint, account), Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + HashedAccount(hashPrefix, "example.com", thumbprint, account+"4"), Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + HashedAccount("https://evil.example/", "example.com", thumbprint, account), Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + strings.Replace(hashed, "sha-256", "sha-512", 1), Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + strings.ToUpper(hashed), Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + account + "0", Unauthorized, Unauthorized},
		// Other issuers, and names that only look like ours.
		{"other.example; accounturi=" + hashed, Unauthorized, Unauthorized},
		{"evilauthority.example; accounturi=" + hashed, Unauthorized, Unauthorized},
		{"authority.example.evil; accounturi=" + hashed, Unauthorized, Unauthorized},
		{"; accounturi=" + hashed, Unauthorized, Unauthorized},
		// Form.
		{"authority.example", Malformed, Malformed},
		{"authority.example; accounturi=", Malformed, Malformed},
		{"authority.example; policy=wildcard", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + "; accounturi=" + hashed, Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + "; policy=wildcard; policy=wildcard", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + ";", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + " x", Malformed, Malformed},
		{"authority.example accounturi=" + hashed, Unauthorized, Unauthorized},
		// Time.
		{"authority.example; accounturi=" + hashed + "; policy=wildcard; persistUntil=" + at(time.Hour), ok, ok},
		{"authority.example; accounturi=" + hashed + "; persistUntil=" + at(0), ok, Unauthorized},
		{"authority.example; accounturi=" + hashed + "; persistUntil=" + at(-time.Second), Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + hashed + "; persistUntil=0", Unauthorized, Unauthorized},
		{"authority.example; accounturi=" + hashed + "; persistUntil=2026-12-24", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + "; persistUntil=+9999999999", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + "; persistUntil=-1", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + "; persistUntil=", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + "; persistUntil=99999999999999999999", Malformed, Malformed},
		{"authority.example; accounturi=" + hashed + "; persistUntil=" + at(time.Hour) + "; persistuntil=" + at(time.Hour), Malformed, Malformed},
	} {
		f := newFarm(t)
		for r := range strings.SplitSeq(tt.records, "|") {
			if len(r) > 100 { // in several character-strings
				f.dns.TXT("_validation-persist.example.com", r[:50], r[50:100], r[100:])
			} else {
				f.dns.TXT("_validation-persist.example.com", r)
			}
		}
		c := Challenge{
			Method: engine.DNSPersist01, Thumbprints: []string{thumbprint, "former"}, Account: account, Now: now,
			Persist: Persistent{Issuers: []string{"authority.example", "ca2.example"}, HashPrefix: hashPrefix},
		}
		for name, want := range map[string]Kind{"example.com": tt.name, "*.example.com": tt.wild} {
			c.Name = names.Name{Type: names.DNS, Value: name}
			found, err := f.v.Validate(t.Context(), c)
			if want != ok {
				fails(t, name+" by "+tt.records, err, want)
			} else if err != nil {
				t.Errorf("%s by %s: %v", name, tt.records, err)
			} else if until := strings.Contains(tt.records, "persistUntil"); until != !found.Until.IsZero() || until && found.Until.Before(now) {
				t.Errorf("%s by %s: until %v", name, tt.records, found.Until)
			}
		}
	}
	f := newFarm(t)
	_, err := f.v.Validate(t.Context(), Challenge{Method: engine.DNSPersist01, Name: www, Thumbprints: []string{"x"}})
	fails(t, "no record", err, DNS)
}

// XN-019: a record below the label of one account is for no other.
func TestXN_019_AccountLabels(t *testing.T) {
	// The example that draft-ietf-acme-dns-account-label gives.
	if got := AccountLabel("https://example.com/acme/acct/ExampleAccount"); got != "_ujmmovf2vn55tgye" {
		t.Error(got)
	}
	f := newFarm(t)
	c := Challenge{Method: engine.DNSAccount01, Name: www, Token: "token", Thumbprints: []string{"thumbprint"}, Account: account}
	f.dns.TXT(AccountLabel(account)+"."+validationName, digestOf(ka))
	for _, name := range []string{"www.example.org", "*.www.example.org"} {
		c.Name.Value = name
		if _, err := f.v.Validate(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.Account += "4"
	_, err := f.v.Validate(t.Context(), c)
	fails(t, "another account", err, DNS)
	// XN-018: what an older token left is for no new one.
	c.Account, c.Token = account, "token2"
	_, err = f.v.Validate(t.Context(), c)
	fails(t, "another token", err, IncorrectResponse)
}
