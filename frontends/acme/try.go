package acme

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/caa"
	"chancery/engine/dns"
	"chancery/engine/names"
	"chancery/frontends/acme/internal/validate"
)

// tryDeadline is how long one trial may take, all its look-ups together.
const tryDeadline = 30 * time.Second

// ErrTrying is what Try returns while it tries something else.
var ErrTrying = errors.New("another trial is under way; try again when it is done")

// A Prober shows an administrator what a validation sees, step by step, from
// where the CA stands. It goes nowhere that validations do not go, and one trial
// at a time, so that it is no way to look around for those who may call it.
type Prober struct {
	validator  *validate.Validator
	identities []string
	now        func() time.Time
	random     io.Reader
	busy       chan struct{}
}

// NewProber makes a Prober. identities are the names of this CA in CAA records.
func NewProber(v Validation, loopback bool, identities []string, now func() time.Time, random io.Reader) (*Prober, error) {
	val, err := newValidator(v, loopback, random)
	if err != nil {
		return nil, err
	}
	return &Prober{val, identities, now, random, make(chan struct{}, 1)}, nil
}

func newValidator(v Validation, loopback bool, random io.Reader) (*validate.Validator, error) {
	val, err := validate.New(validate.Config{
		HTTPPort: v.HTTPPort, TLSPort: v.TLSPort, Resolvers: v.Resolvers, Networks: v.Networks, Loopback: loopback, Dial: v.Dial, Rand: random,
	})
	if err != nil {
		return nil, fmt.Errorf("acme.validation: %w", err)
	}
	return val, nil
}

// A Trial is what to try.
type Trial struct {
	Name      string // DNS name or address
	Challenge string // such as http-01, which is the default; dns-01 for wildcards

	// KeyAuthorization is what the client serves: the token, a dot, and the
	// thumbprint of the account's key. Empty: something that nobody serves, which
	// shows how far the way goes.
	KeyAuthorization string

	Account string // address of the account, for challenges that name it
}

// A TrialStep is one thing that was done or seen.
type TrialStep struct {
	About string `json:"about"`
	Text  string `json:"text"` // printable, one line
}

// An Outcome is what became of a trial.
type Outcome struct {
	Name       string      `json:"name"`
	Challenge  string      `json:"challenge"`
	Valid      bool        `json:"valid"`
	Conclusion string      `json:"conclusion"`
	Steps      []TrialStep `json:"steps"`
}

// Try runs a trial. An error that is not ErrTrying says what is wrong with t.
func (p *Prober) Try(ctx context.Context, t Trial) (*Outcome, error) {
	c, err := t.challenge(p)
	if err != nil {
		return nil, err
	}
	select {
	case p.busy <- struct{}{}:
	default:
		return nil, ErrTrying
	}
	defer func() { <-p.busy }()
	ctx, cancel := context.WithTimeout(ctx, tryDeadline)
	defer cancel()
	out := &Outcome{Name: c.Name.Value, Challenge: string(c.Method)}
	ctx = validate.Watched(ctx, func(s validate.Step) { out.Steps = append(out.Steps, TrialStep(s)) })
	p.lookUp(ctx, c)
	_, err = p.validator.Validate(ctx, c)
	out.conclude(err, t.KeyAuthorization != "")
	p.askCAA(ctx, c)
	return out, nil
}

// challenge checks what was asked for.
func (t *Trial) challenge(p *Prober) (c validate.Challenge, err error) {
	c.Name, err = names.Parse(names.IP, t.Name)
	if err != nil {
		c.Name, err = names.Parse(names.DNS, t.Name)
	}
	if err != nil {
		return c, fmt.Errorf("the name is neither a DNS name nor an address: %w", err)
	}
	c.Method = engine.Method(t.Challenge)
	if t.Challenge == "" {
		c.Method = engine.HTTP01
		if c.Name.Wildcard() {
			c.Method = engine.DNS01
		}
	}
	if !slices.Contains(challengeTypes, c.Method) {
		return c, fmt.Errorf("there is no challenge %.40q; there are %v", t.Challenge, challengeTypes)
	}
	if !proves(c.Method, c.Name, false) {
		return c, fmt.Errorf("%s does not prove such a name", c.Method)
	}
	authorization := t.KeyAuthorization
	if authorization == "" {
		ch, err := newChallenge(engine.HTTP01, p.random)
		if err != nil {
			return c, err
		}
		authorization = ch.Token + ".trial"
	}
	token, thumbprint, ok := strings.Cut(authorization, ".")
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if !ok || token == "" || thumbprint == "" || len(authorization) > 200 || strings.Trim(token+thumbprint, letters) != "" {
		return c, errors.New("the key authorization is not TOKEN.THUMBPRINT, both in base64url")
	}
	if (c.Method == engine.DNSAccount01 || c.Method == engine.DNSPersist01) && (t.Account == "" || len(t.Account) > 500) {
		return c, fmt.Errorf("%s needs the address of the account", c.Method)
	}
	c.Token, c.Thumbprints, c.Account, c.Now = token, []string{thumbprint}, t.Account, p.now()
	if base, _, found := strings.Cut(t.Account, "/account/"); found {
		c.Persist.HashPrefix = base + hashPath
	}
	c.Persist.Issuers = p.identities
	return c, nil
}

// lookUp shows what each name server says, before the validation asks them in
// its own way.
func (p *Prober) lookUp(ctx context.Context, c validate.Challenge) {
	if c.Name.Type == names.IP {
		return
	}
	r := p.validator.Resolver()
	host, kinds := strings.TrimPrefix(c.Name.Value, "*."), []dns.Type{dns.A, dns.AAAA}
	switch c.Method {
	case engine.DNS01:
		host, kinds = "_acme-challenge."+host, []dns.Type{dns.TXT}
	case engine.DNSAccount01:
		host, kinds = validate.AccountLabel(c.Account)+"._acme-challenge."+host, []dns.Type{dns.TXT}
	case engine.DNSPersist01:
		host, kinds = "_validation-persist."+host, []dns.Type{dns.TXT}
	}
	for _, kind := range kinds {
		showEach(ctx, r, host, kind)
	}
}

func showEach(ctx context.Context, r *dns.Client, name string, kind dns.Type) {
	for _, told := range r.Each(ctx, name, kind) {
		says := strings.Join(told.Records, ", ")
		if says == "" {
			says = told.Instead
		}
		validate.Note(ctx, "dns", "%s of %s at %s, in %d ms: %s", kind, name, told.Server, told.Took.Milliseconds(), says)
	}
}

// conclude says what the result means, in words.
func (o *Outcome) conclude(err error, real bool) {
	var e *validate.Error
	switch {
	case err == nil:
		o.Valid, o.Conclusion = true, "It would be valid."
	case errors.As(err, &e) && e.Kind == validate.IncorrectResponse && !real:
		o.Conclusion = "The CA reaches what answers for the name. What it would compare was not given, so it ends here: " + e.Detail
	case errors.As(err, &e):
		o.Conclusion = "It fails (" + string(e.Kind) + "): " + e.Detail
	default:
		o.Conclusion = "It was interrupted."
	}
}

// askCAA shows what CAA records say, as for a profile that obeys them.
func (p *Prober) askCAA(ctx context.Context, c validate.Challenge) {
	if c.Name.Type != names.DNS {
		return
	}
	if len(p.identities) == 0 {
		validate.Note(ctx, "caa", "this CA has no name for CAA records (caa_identities), and looks for none")
		return
	}
	checker := caa.Checker{Records: p.validator.Resolver(), Identities: p.identities}
	a, err := checker.Check(ctx, caa.Request{Name: c.Name, Account: c.Account, Methods: []string{string(c.Method)}})
	if a.At != "" {
		showEach(ctx, p.validator.Resolver(), a.At, dns.CAARR)
	}
	switch {
	case err != nil:
		validate.Note(ctx, "caa", "%v: a profile that obeys CAA refuses", err)
	case a.Allowed:
		validate.Note(ctx, "caa", "%s: allowed", a.Why)
	default:
		validate.Note(ctx, "caa", "%s: a profile that obeys CAA refuses", a.Why)
	}
}
