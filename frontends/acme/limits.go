package acme

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"chancery/engine"
	"chancery/engine/limit"
	"chancery/engine/names"
	"chancery/frontends/internal/clientaddr"
	"chancery/store"
)

// Limits are how much an endpoint lets one client do. What is not given has a
// default that a private CA does not meet in ordinary life. A rate is such as
// "600/1h": so many at once, after that one by one as time passes; or "none".
type Limits struct {
	// Messages of any kind, and new accounts, from one IPv4 address or IPv6
	// network of 64 bits. They are counted by each node for itself, and not for
	// what comes from the machine itself.
	RequestsPerAddress limit.Rate `json:"requests_per_address,omitzero"`
	AccountsPerAddress limit.Rate `json:"accounts_per_address,omitzero"`

	// New orders (and authorizations without one) of one account, new orders for
	// one name by whatever account, and for all names below one registered domain;
	// these last are counted by each node for itself.
	OrdersPerAccount limit.Rate `json:"orders_per_account,omitzero"`
	OrdersPerName    limit.Rate `json:"orders_per_name,omitzero"`
	OrdersPerDomain  limit.Rate `json:"orders_per_domain,omitzero"`

	// Authorizations that failed, of one account, and of one account for one name.
	FailuresPerAccount limit.Rate `json:"failures_per_account,omitzero"`
	FailuresPerName    limit.Rate `json:"failures_per_name,omitzero"`

	// PauseAfter is how many authorizations of an account for a name may fail, one
	// after the other, before its orders for the name are refused until somebody
	// resumes them.
	PauseAfter int `json:"pause_after,omitempty"`

	// OpenOrders is how many orders an account may have that are neither finalized
	// nor expired.
	OpenOrders int `json:"open_orders,omitempty"`

	// UnusedAccounts is the age at which accounts without a grant that were never
	// used are deleted.
	UnusedAccounts engine.Duration `json:"unused_accounts,omitempty"`
}

// The names of the limits, as in the configuration.
const (
	requestsPerAddress = "requests_per_address"
	accountsPerAddress = "accounts_per_address"
	ordersPerAccount   = "orders_per_account"
	ordersPerName      = "orders_per_name"
	ordersPerDomain    = "orders_per_domain"
	failuresPerAccount = "failures_per_account"
	failuresPerName    = "failures_per_name"
	pauseAfter         = "pause_after"
	openOrders         = "open_orders"
)

const (
	maxOpenOrders  = 300 // unless the configuration says otherwise: each is a few rows that stay for weeks
	openOrdersWait = time.Minute

	// refill is how old a node's idea may be of what clients did on other nodes.
	refill = 10 * time.Second
)

// withDefaults fills in what was not given.
func (l Limits) withDefaults() Limits {
	const minute, hour = time.Minute, time.Hour
	l.RequestsPerAddress = l.RequestsPerAddress.Or(limit.Rate{Count: 60000, Per: 10 * minute})
	l.AccountsPerAddress = l.AccountsPerAddress.Or(limit.Rate{Count: 1000, Per: hour})
	l.OrdersPerAccount = l.OrdersPerAccount.Or(limit.Rate{Count: 50000, Per: hour})
	l.OrdersPerName = l.OrdersPerName.Or(limit.Rate{Count: 300, Per: hour})
	l.OrdersPerDomain = l.OrdersPerDomain.Or(limit.Rate{Count: 200000, Per: hour})
	l.FailuresPerAccount = l.FailuresPerAccount.Or(limit.Rate{Count: 1000, Per: hour})
	l.FailuresPerName = l.FailuresPerName.Or(limit.Rate{Count: 30, Per: hour})
	if l.PauseAfter == 0 {
		l.PauseAfter = 200
	}
	if l.OpenOrders == 0 {
		l.OpenOrders = maxOpenOrders
	}
	if l.UnusedAccounts == 0 {
		l.UnusedAccounts = engine.Duration(90 * 24 * hour)
	}
	return l
}

// check refuses numbers that nobody means.
func (l Limits) check() error {
	for what, n := range map[string]int{pauseAfter: l.PauseAfter, openOrders: l.OpenOrders} {
		if n < 0 || n > 1_000_000 {
			return fmt.Errorf("limits.%s: %d is not from 1 to 1000000", what, n)
		}
	}
	if d := time.Duration(l.UnusedAccounts); d != 0 && d < 24*time.Hour {
		return errors.New("limits.unused_accounts: an account may wait a day for its first order; say 1d or more")
	}
	return nil
}

// at is what rows and limits call the endpoint; empty is default.
func (p *endpoint) at() string {
	if p.name == "default" {
		return ""
	}
	return p.name
}

// limitKey names a bucket of the endpoint.
func (p *endpoint) limitKey(name, of string) limit.Key {
	return limit.Key{Limit: name, Endpoint: limitEndpoint(p.name), Of: of}
}

func limitEndpoint(name string) string { return string(engine.ACME) + "/" + name }

func (p *endpoint) ask(name, of string, r limit.Rate) limit.Ask {
	return limit.Ask{Key: p.limitKey(name, of), Rate: r}
}

// limited is RFC 8555, Section 6.6.
func limited(r *limit.Refusal) *problem {
	p := refuse(http.StatusTooManyRequests, rateLimited, "%s", r.Error())
	p.RetryAfter = r.Wait
	return p
}

// take takes from the buckets, or says which one refuses.
func (c *call) take(asks ...limit.Ask) error {
	if r := c.f.limits.Take(c.now, asks...); r != nil {
		c.note("limit", r.Key.Limit)
		return limited(r)
	}
	return nil
}

// limitAddress counts a message, whatever it is about.
func (c *call) limitAddress(r *http.Request, proxies []netip.Prefix) error {
	c.from = clientaddr.Network(clientaddr.Of(r, proxies))
	if c.from == "" || c.ep == nil {
		return nil
	}
	return c.take(c.ep.ask(requestsPerAddress, c.from, c.ep.limits.RequestsPerAddress))
}

// limitAccounts counts a new account.
func (c *call) limitAccounts() error {
	if c.from == "" {
		return nil
	}
	return c.take(c.ep.ask(accountsPerAddress, c.from, c.ep.limits.AccountsPerAddress))
}

// limitOrders says whether the account may order the names now, and counts the
// order. It looks outside the commit, so that orders made at the same time do not
// wait for one another; a few of these may come out above a limit.
func (c *call) limitOrders(all []wanted) error {
	var ns []string
	for _, w := range all {
		ns = append(ns, stored(w.name))
		if w.ancestor != "" && !slices.Contains(ns, w.ancestor) {
			ns = append(ns, w.ancestor)
		}
	}
	l := c.ep.limits
	asks := []limit.Ask{c.ep.ask(ordersPerAccount, c.account.ID, l.OrdersPerAccount)}
	var domains []string
	for _, w := range all {
		asks = append(asks, c.ep.ask(ordersPerName, stored(w.name), l.OrdersPerName))
		if d := registeredDomain(w.name); d != "" && !slices.Contains(domains, d) {
			domains = append(domains, d)
			asks = append(asks, c.ep.ask(ordersPerDomain, d, l.OrdersPerDomain))
		}
	}
	open, err := c.known(ns, asks)
	if err != nil {
		return err
	}
	if open >= l.OpenOrders {
		c.f.limits.Refuse(&limit.Refusal{Key: c.ep.limitKey(openOrders, c.account.ID), Until: c.now.Add(openOrdersWait), Wait: openOrdersWait})
		p := refuse(http.StatusTooManyRequests, rateLimited, "this account has %d orders that are not finalized, which is the limit %s; finalize them, or wait until they expire", open, openOrders)
		p.RetryAfter = openOrdersWait
		return p
	}
	return c.take(asks...)
}

// limitAuthz is limitOrders for an authorization without an order.
func (c *call) limitAuthz(n names.Name) error {
	ask := c.ep.ask(ordersPerAccount, c.account.ID, c.ep.limits.OrdersPerAccount)
	if _, err := c.known([]string{stored(n)}, []limit.Ask{ask}); err != nil {
		return err
	}
	return c.take(ask)
}

// limitChallenge keeps an account that fails from having the server connect to
// others through orders that it made before.
func (c *call) limitChallenge() error {
	if r := c.f.limits.Check(c.now, c.ep.ask(failuresPerAccount, c.account.ID, c.ep.limits.FailuresPerAccount)); r != nil {
		c.note("limit", r.Key.Limit)
		return limited(r)
	}
	return nil
}

// known brings the buckets up to what rows say, refuses an account whose
// validations fail, and counts its open orders; all of it in one look.
func (c *call) known(ns []string, asks []limit.Ask) (open int, err error) {
	l := c.ep.limits
	failures := c.ep.ask(failuresPerAccount, c.account.ID, l.FailuresPerAccount)
	stale := c.stale(append(slices.Clone(asks), failures))
	levels := make([]limit.Level, len(stale))
	var failed *limit.Refusal
	var paused *failing
	err = c.f.view(c.ctx, func(tx store.Tx) (err error) {
		open, err = orders.Count(tx, "account", openValue(c.account.ID, c.now.Unix()+1), c.account.ID+"g", l.OpenOrders)
		if err != nil {
			return err
		}
		if failed, paused, err = c.failures(tx, ns); err != nil {
			return err
		}
		for i, a := range stale {
			if levels[i], err = c.level(tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	for i, a := range stale {
		if err != nil {
			c.f.limits.Unfilled(a.Key)
		} else {
			c.f.limits.Fill(a.Key, c.now, levels[i])
		}
	}
	switch {
	case err != nil:
		return 0, err
	case paused != nil:
		return 0, c.paused(paused)
	case failed != nil:
		c.f.limits.Refuse(failed)
		c.note("limit", failed.Key.Limit)
		return 0, limited(failed)
	}
	return open, c.limitChallenge()
}

// stale are the buckets that rows know more of than this process.
func (c *call) stale(asks []limit.Ask) (stale []limit.Ask) {
	age := time.Duration(0)
	if c.f.shared {
		age = refill
	}
	for _, a := range asks {
		if a.Rate.Bounds() && a.Key.Limit != ordersPerDomain && c.f.limits.Stale(a.Key, c.now, age) {
			stale = append(stale, a)
		}
	}
	return stale
}

// level is how full a bucket is by the rows that are there anyway.
func (c *call) level(tx store.Tx, a limit.Ask) (l limit.Level, err error) {
	since := store.Stamp(c.now.Add(-a.Rate.Per))
	values := orders.Values(tx, "account", ofAccount(c.account.ID, "")+since, c.account.ID+"0") // "0" follows "/"
	stamp := len(ofAccount(c.account.ID, ""))
	switch a.Key.Limit {
	case ordersPerName:
		of := ofName(c.ep.at(), a.Key.Of)
		values, stamp = orders.Values(tx, "account", of+since, of+"w"), len(of)
	case failuresPerAccount:
		values, stamp = authzs.Values(tx, "failed", c.account.ID+since, c.account.ID+"w"), len(c.account.ID)
	}
	for v, err := range values {
		if err != nil {
			return l, err
		}
		l = l.After(a.Rate, store.StampTime(v[stamp:][:len(since)]))
	}
	return l, nil
}

// registeredDomain is the domain that a name was registered under, as far as public
// suffixes tell; empty for addresses.
func registeredDomain(n names.Name) string {
	if n.Type != names.DNS {
		return ""
	}
	host := strings.TrimPrefix(n.Value, "*.")
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}
