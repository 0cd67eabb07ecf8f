package engine

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"chancery/engine/names"
	"chancery/engine/tbs"
	"chancery/store"
)

// An outcome is what policy made of a request, not yet committed.
type outcome struct {
	state    State // Pending, Issuing or StateDenied
	refusal  *Denied
	pends    []Pend
	trail    []TrailEntry
	draft    *Draft
	issuer   *issuer
	rendered Rendered
	serial   []byte
	warrants []Warrant
	grants   []string   // whose names were needed
	older    []*Request // pending requests that this one supersedes, as they were looked at
	votes    []Vote
	ended    string // a certificate that is to be renewed and was revoked or held meanwhile
}

// decide runs the policy over r from an empty draft: all shapers, then rendering
// the exact bytes, then all judges, the lints and the gate. Nothing changes
// after a judge looked. The first denial ends it and beats every pend; an error
// means that a policy could not tell.
func (e *Engine) decide(ctx context.Context, set *setup, r *Request) (*outcome, error) {
	o := &outcome{draft: &Draft{}}
	if err := e.gather(ctx, r, o); err != nil {
		return nil, err
	}
	if o.ended != "" {
		return o.deny("renewal", &Denied{Reason: NotAuthorized, Detail: "the certificate that is renewed, " + o.ended + ", is no longer good: enroll anew"}), nil
	}
	var waiting []wait
	for _, s := range set.Shapers {
		v, err := s.Run(ctx, r, o.draft)
		if done, err := o.heed(s.Name, v, err, &waiting); done || err != nil {
			return o, err
		}
	}
	if d, err := e.render(ctx, set, r, o); d != nil || err != nil {
		return o.deny("render", d), err
	}
	for _, s := range set.Judges {
		v, err := s.Run(ctx, r, o.rendered)
		if done, err := o.heed(s.Name, v, err, &waiting); done || err != nil {
			return o, err
		}
	}
	if d, err := lint(ctx, set, o); d != nil || err != nil {
		return o.deny("lint", d), err
	}
	votes := o.settle(waiting, e.now())
	if d, err := e.gate(set, r, o, votes); d != nil || err != nil {
		return o.deny("gate", d), err
	}
	if len(o.pends) > 0 {
		o.state = Pending
	} else {
		o.state = Issuing
	}
	return o, nil
}

// A wait is a step that wants officers, with its own word on how many.
type wait struct {
	step, detail string
	enough       func([]Vote) bool
}

// heed notes what a step said. done means that it ends the decision.
func (o *outcome) heed(step string, v Verdict, err error, waiting *[]wait) (done bool, _ error) {
	if err != nil {
		return false, fmt.Errorf("policy %s: %w", step, err)
	}
	o.trail = append(o.trail, TrailEntry{step, string(v.kind), v.detail})
	switch v.kind {
	case pass:
		return false, nil
	case pend:
		*waiting = append(*waiting, wait{step, v.detail, v.enough})
		return false, nil
	case deny:
		o.state, o.refusal = StateDenied, &Denied{Reason: v.reason, Detail: v.detail}
		return true, nil
	}
	return false, fmt.Errorf("policy %s returned no verdict", step)
}

func (o *outcome) deny(step string, d *Denied) *outcome {
	if d != nil {
		o.trail = append(o.trail, TrailEntry{step, string(deny), d.Detail})
		o.state, o.refusal = StateDenied, d
	}
	return o
}

// settle asks each step that wants officers whether the votes for exactly this
// certificate and that step are enough. A vote given while another step pended
// is no vote for this one. It returns the votes that count.
func (o *outcome) settle(waiting []wait, now time.Time) []Vote {
	var live []Vote
	for _, v := range o.votes {
		if v.Digest == o.rendered.Digest && now.Sub(v.At) < voteLife {
			live = append(live, v)
		}
	}
	for _, w := range waiting {
		var mine []Vote
		for _, v := range live {
			for _, s := range v.Steps {
				if s == w.step {
					mine = append(mine, v)
				}
			}
		}
		if !w.enough(mine) {
			o.pends = append(o.pends, Pend{w.step, w.detail})
		}
	}
	return live
}

// gather loads what the policies and the gate look at beside the request: the
// grants that proofs refer to, whether certificates that are to be renewed are
// still good, and pending requests of the same requester for the same names and
// profile, whose votes count for this one.
func (e *Engine) gather(ctx context.Context, r *Request, o *outcome) error {
	now := e.now()
	return e.view(ctx, func(tx store.Tx) error {
		r.Grants, o.older, o.votes, o.ended = nil, nil, r.Votes, ""
		for _, p := range r.Proofs {
			if p.Method == OldCert {
				c, err := certificates.Get(tx, r.Replaces.key())
				if err != nil && !store.Missing(err) {
					return err
				}
				if err != nil || c.Status != Good {
					o.ended = p.Ref
				}
				continue
			}
			if p.Method != ByGrant || !p.live(now) {
				continue
			}
			g, err := e.grants.Get(&grants, tx, p.Ref)
			if store.Missing(err) {
				continue
			} else if err != nil {
				return err
			}
			if g.usable(now) == nil {
				r.Grants = append(r.Grants, g)
			}
		}
		for old, err := range requests.By(tx, "same", r.Same, "") {
			if err != nil {
				return err
			}
			if old.ID != r.ID && old.Received.Before(r.Received) {
				o.older = append(o.older, old)
				o.votes = append(o.votes[:len(o.votes):len(o.votes)], old.Votes...)
			}
		}
		return nil
	})
}

// render makes the exact tbsCertificate, without any key. Validity is narrowed
// to the issuer's and never widened.
func (e *Engine) render(ctx context.Context, set *setup, r *Request, o *outcome) (*Denied, error) {
	d := o.draft
	o.issuer = e.issuerFor(r, d)
	if o.issuer == nil {
		return &Denied{Reason: UnknownProfile, Detail: fmt.Sprintf("profile %s is issued by authority %q, which is not here", d.Profile, d.Authority)}, nil
	}
	if err := e.signable(ctx, o.issuer); err != nil {
		return nil, err
	}
	ca := o.issuer.cert
	if d.NotBefore.Before(ca.NotBefore) {
		d.NotBefore = ca.NotBefore
	}
	if d.NotAfter.After(ca.NotAfter) {
		d.NotAfter = ca.NotAfter
	}
	c, err := e.template(set, r, d, o)
	if err != nil {
		return &Denied{Reason: PolicyRefused, Detail: err.Error()}, nil
	}
	raw, err := tbs.Render(c, o.issuer.alg)
	if err != nil {
		return &Denied{Reason: PolicyRefused, Detail: "the certificate cannot be made as asked: " + err.Error()}, nil
	}
	twin := tbs.Twin(raw, o.issuer.alg)
	parsed, err := x509.ParseCertificate(twin)
	if err != nil {
		return nil, fmt.Errorf("the rendered certificate does not parse: %w", err)
	}
	o.rendered = Rendered{Draft: d, TBS: raw, Twin: twin, Cert: parsed}
	o.rendered.Digest, err = digest(set, r, o)
	return nil, err
}

func (e *Engine) template(set *setup, r *Request, d *Draft, o *outcome) (*tbs.Certificate, error) {
	var err error
	if o.serial, err = newSerial(e.Rand); err != nil {
		return nil, err
	}
	subject, err := d.Subject.Marshal()
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	ku, err := tbs.KeyUsage(d.KeyUsage...)
	if err != nil {
		return nil, err
	}
	eku, err := tbs.ExtKeyUsage(d.ExtKeyUsage...)
	if err != nil {
		return nil, err
	}
	status, err := o.issuer.statusExtensions(set.Policy.Authorities[o.issuer.Authority].CRL, r, d)
	if err != nil {
		return nil, err
	}
	c := &tbs.Certificate{
		Serial: o.serial, Issuer: o.issuer.cert.RawSubject, Subject: subject,
		NotBefore: d.NotBefore.UTC().Truncate(time.Second), NotAfter: d.NotAfter.UTC().Truncate(time.Second), SPKI: r.Asked.Key.SPKI,
		Extensions: []tbs.Extension{ku, eku, tbs.SKI(r.Asked.Key.KeyID()), o.issuer.aki},
	}
	c.Extensions = append(c.Extensions, status...)
	if len(d.Names) > 0 {
		san, err := names.MarshalSAN(d.Names)
		if err != nil {
			return nil, err
		}
		// RFC 5280, Section 4.2.1.6: critical if and only if the subject is empty.
		c.Extensions = append(c.Extensions, tbs.Extension{OID: "2.5.29.17", Critical: len(d.Subject) == 0, Value: san})
	}
	return c, nil
}

// digest is D, what officers vote on: the profile as it is now, the authority,
// and the certificate without serial and dates. For clients with a new key for
// each run it leaves out what derives from the key.
func digest(set *setup, r *Request, o *outcome) (string, error) {
	sharded := set.Policy.Authorities[o.issuer.Authority].CRL.Shards > 0 // each request has its own list then
	body, err := tbs.WithoutSerialAndDates(o.rendered.TBS, r.KeyPerRun, sharded)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, part := range [][]byte{set.profileDocs[o.draft.Profile], []byte(o.draft.Profile), []byte(o.draft.Authority), body} {
		n := sha256.Sum256(part)
		h.Write(n[:])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// lint runs every lint over the twin. A finding blocks; a lint that cannot tell
// leaves the request undecided.
func lint(ctx context.Context, set *setup, o *outcome) (*Denied, error) {
	for _, l := range set.Lints {
		found, err := l.Run(ctx, o.rendered.Twin)
		if err != nil {
			return nil, fmt.Errorf("lint %s: %w", l.Name, err)
		}
		for _, f := range found {
			o.trail = append(o.trail, TrailEntry{"lint " + l.Name, f.Severity, f.Rule + ": " + f.Detail})
			if f.Severity == "error" {
				return &Denied{Reason: PolicyRefused, Detail: "the certificate would break rule " + f.Rule + ": " + f.Detail}, nil
			}
		}
	}
	return nil, nil
}

// newSerial returns 159 random bits: at most 20 octets, positive (RFC 5280,
// Section 4.1.2.2).
func newSerial(random interface{ Read([]byte) (int, error) }) ([]byte, error) {
	b := make([]byte, 20)
	if n, err := random.Read(b); err != nil || n != len(b) {
		return nil, errors.New("no randomness for a serial number")
	}
	b[0] &= 0x7f
	return b, nil
}
