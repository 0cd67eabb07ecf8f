// Package caa is the judge that obeys CAA records (RFC 8659, RFC 8657): for
// profiles that say so, each DNS name of the certificate is looked up, every time
// that the certificate is decided.
//
// It is a judge, and not part of one protocol, because a CA that recognizes the
// parameters of RFC 8657 must do so whichever way a request comes in (Section
// 5.3), and because it then runs last: what it says is seconds old when the
// certificate is signed, however old the proofs are, also after an officer took
// days to approve.
package caa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"chancery/engine"
	"chancery/engine/caa"
	"chancery/engine/dns"
	"chancery/engine/names"
)

const (
	deadline = 10 * time.Second // for all names of a certificate
	atOnce   = 8                // names that are looked up at the same time
)

// Config has no settings: profiles say what is checked (caa, public), and the
// document by which names this CA is meant (caa_identities).
type Config struct{}

// New makes the judge.
func New(_ Config, d engine.Deps) (engine.Judge, error) {
	j := judge{d.CAA, d.CAAIdentities, d.Account, map[string]bool{}, d.Now}
	for name, p := range d.Profiles {
		if p.ChecksCAA() {
			j.profiles[name] = true
		}
	}
	if len(j.profiles) > 0 && len(d.CAAIdentities) == 0 {
		return nil, errors.New("caa_identities is missing: the names by which CAA records mean this CA")
	}
	return j.look, nil
}

type judge struct {
	records    caa.Records
	identities []string
	account    func(*engine.Request) string
	profiles   map[string]bool
	now        func() time.Time
}

func (j judge) look(ctx context.Context, r *engine.Request, t engine.Rendered) (engine.Verdict, error) {
	if !j.profiles[t.Draft.Profile] {
		return engine.Pass(), nil
	}
	if j.records == nil {
		return engine.Verdict{}, errors.New("there is nothing to look CAA records up with")
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var asked []caa.Request
	for _, n := range t.Draft.Names {
		if n.Type == names.DNS {
			asked = append(asked, caa.Request{Name: n, Account: j.uri(r), Methods: methods(r, n, j.now())})
		}
	}
	answers := j.check(ctx, asked)
	var rest []string
	for i, a := range answers {
		name := asked[i].Name.Value
		switch {
		case errors.Is(a.err, caa.ErrUnknown):
			// RFC 8659, Section 5.4; no answer is not an empty one. A request that
			// waited for somebody else's name server would wait for ever.
			return engine.Deny(engine.CAARefused, "%s: %v; mend the name servers, or try again in a moment", name, a.err), nil
		case a.err != nil:
			return engine.Verdict{}, a.err
		case !a.Allowed:
			return engine.Deny(engine.CAARefused, "%s: %s%s; this CA is %s", name, a.Why, at(a.At), strings.Join(j.identities, ", ")), nil
		}
		rest = append(rest, name+": "+a.Why+at(a.At))
	}
	if len(rest) == 0 {
		return engine.Pass(), nil
	}
	return engine.PassNoting("%s", strings.Join(rest, "; ")), nil
}

func at(where string) string {
	if where == "" {
		return ""
	}
	return " (at " + where + ")"
}

func (j judge) uri(r *engine.Request) string {
	if j.account == nil {
		return ""
	}
	return j.account(r)
}

// methods are the labels of the ways in which a name is warranted. RFC 8657,
// Section 4: those outside ACME begin with "ca-".
func methods(r *engine.Request, n names.Name, now time.Time) (all []string) {
	for _, p := range r.Proofs {
		live := p.Expires.IsZero() || now.Before(p.Expires)
		if live && slices.Contains(p.Names, n) && strings.HasSuffix(string(p.Method), "-01") {
			all = append(all, string(p.Method))
		}
	}
	if len(r.Grants) > 0 {
		all = append(all, "ca-grant")
	}
	if len(r.Votes) > 0 {
		all = append(all, "ca-vote")
	}
	return all
}

type answer struct {
	caa.Answer
	err error
}

// check asks about each name. What is above several of them is asked once.
func (j judge) check(ctx context.Context, asked []caa.Request) []answer {
	c := caa.Checker{Records: &once{from: j.records, known: map[string]*known{}}, Identities: j.identities}
	out := make([]answer, len(asked))
	room := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for i, r := range asked {
		room <- struct{}{}
		wait.Go(func() {
			defer func() { <-room }()
			a, err := c.Check(ctx, r)
			out[i] = answer{a, err}
		})
	}
	wait.Wait()
	return out
}

// once remembers answers for as long as one decision takes.
type once struct {
	from  caa.Records
	mu    sync.Mutex
	known map[string]*known
}

type known struct {
	sync.Once
	found []dns.CAA
	ttl   time.Duration
	err   error
}

// CAA implements caa.Records.
func (o *once) CAA(ctx context.Context, name string) ([]dns.CAA, time.Duration, error) {
	o.mu.Lock()
	k := o.known[name]
	if k == nil {
		k = new(known)
		o.known[name] = k
	}
	o.mu.Unlock()
	k.Do(func() { k.found, k.ttl, k.err = o.from.CAA(ctx, name) })
	if k.err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, k.err)
	}
	return k.found, k.ttl, nil
}
