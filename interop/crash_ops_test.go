package interop

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/acme"
)

// nativeOps are workers that submit over the native API as the founder, each
// request under an Idempotency-Key of its own.
func nativeOps(x *crash) []*op {
	var ops []*op
	cl := x.founderClient()
	step := x.andRevoke(cl, func(ctx context.Context, o *op) error {
		text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: o.csr}))
		s, err := x.submit(ctx, cl(), text, "service", o.name, "")
		if err == nil {
			x.issued(o, s.Chain)
		}
		return err
	})
	for range 4 {
		ops = append(ops, x.newOp(step))
	}
	return ops
}

// andRevoke is a step after which the certificate is revoked, if it shall be.
func (x *crash) andRevoke(founder func() *http.Client, step func(context.Context, *op) error) func(context.Context, *op) error {
	return func(ctx context.Context, o *op) error {
		// A revoked certificate is never given out again, so what was
		// acknowledged is not asked for before the revocation is through.
		if o.chain == "" || !o.revoke {
			if err := step(ctx, o); err != nil {
				return err
			}
		}
		if !o.revoke || o.revoked {
			return nil
		}
		url := "https://" + x.Admin + "/api/v1/certificates/" + serialOf(certsOf(x.t, o.chain)[0]) + "/revoke"
		err := call(ctx, founder(), "POST", url, nil, map[string]string{"reason": "superseded"}, nil)
		if err != nil && !isProblem(err, "already-revoked") {
			return err
		}
		x.revoked(o)
		return nil
	}
}

// acmeOps are workers that order under one account, and after an interruption
// go on with the order that they have.
func acmeOps(x *crash) []*op {
	var ops []*op
	for range 4 {
		ops = append(ops, x.newOp(x.acmeStep))
	}
	return ops
}

func (x *crash) acmeStep(ctx context.Context, o *op) error {
	g, err := x.account(ctx)
	if err != nil {
		return err
	}
	if o.order == "" {
		order, err := g.AuthorizeOrder(ctx, acme.DomainIDs(o.name))
		if err != nil {
			return err
		}
		o.order = order.URI
	}
	order, err := g.GetOrder(ctx, o.order)
	if err != nil {
		return err
	}
	if order.Status == acme.StatusPending {
		for _, url := range order.AuthzURLs {
			if err := g.authorize(ctx, url); err != nil {
				return err
			}
		}
		if order, err = g.WaitOrder(ctx, o.order); err != nil {
			return err
		}
	}
	switch order.Status {
	case acme.StatusReady:
		_, _, err := g.CreateOrderCert(ctx, order.FinalizeURL, o.csr, false)
		if refused := (*acme.Error)(nil); errors.As(err, &refused) && strings.HasSuffix(refused.ProblemType, ":orderNotReady") {
			// The library repeats by itself what was answered 503, which may
			// have been done: RFC 8555, Section 7.4 has the client ask.
			_, err = g.WaitOrder(ctx, o.order)
		}
		if err != nil {
			return err
		}
	case acme.StatusProcessing:
		if _, err := g.WaitOrder(ctx, o.order); err != nil {
			return err
		}
	case acme.StatusInvalid:
		x.t.Errorf("%s: the order became invalid: %v", o.name, order.Error)
		return nil
	}
	if order, err = g.GetOrder(ctx, o.order); err != nil {
		return err
	}
	ders, err := g.FetchCert(ctx, order.CertURL, true)
	if err != nil {
		return err
	}
	var chain strings.Builder
	for _, der := range ders {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	x.issued(o, chain.String())
	if o.revoke && !o.revoked {
		err := g.RevokeCert(ctx, o.key, ders[0], acme.CRLReasonSuperseded)
		var p *acme.Error
		if err != nil && (!errors.As(err, &p) || !strings.HasSuffix(p.ProblemType, ":alreadyRevoked")) {
			return err
		}
		x.revoked(o)
	}
	return nil
}

// account is the one account of all workers, made when the first one comes.
func (x *crash) account(ctx context.Context) (*goClient, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.acme == nil {
		x.acme = newGoClient(x.ca)
	}
	if x.acme.KID == "" {
		if err := x.acme.register(ctx); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
			return nil, err
		}
	}
	return x.acme, nil
}

// founderClient makes clients lazily: the credential is there after the first
// start only.
func (x *crash) founderClient() func() *http.Client {
	return sync.OnceValue(func() *http.Client { return x.client(x.founder()) })
}

// issued notes what an op was given.
func (x *crash) issued(o *op, chain string) {
	if err := x.history.Issued(o.name, certsOf(x.t, chain)[0].Raw); err != nil {
		x.t.Error(err)
	}
	o.chain = chain
}

func (x *crash) revoked(o *op) {
	x.history.Revoked(certsOf(x.t, o.chain)[0])
	o.revoked = true
}

// excuse notes an error unless a fault explains it: no connection, or an answer
// that says to try again.
func (x *crash) excuse(o *op, err error) {
	status, what := 0, err.Error()
	var problem *apiError
	var refused *acme.Error
	switch {
	case errors.As(err, &problem):
		status = problem.Status
	case errors.As(err, &refused):
		status = refused.StatusCode
	}
	if status == 0 || status == http.StatusServiceUnavailable {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unexplained[strings.ReplaceAll(what, o.name, "NAME")]++
}

// officerOps are workers that need more than one answer: requests that an
// officer approves, and grants for one use of which two requests want to be it.
func officerOps(x *crash) []*op {
	founder := x.founderClient()
	var ops []*op
	for n := range 4 {
		if n%2 == 0 {
			ops = append(ops, x.newOp(x.andRevoke(founder, func(ctx context.Context, o *op) error { return x.approvedStep(ctx, founder(), o) })))
		} else {
			ops = append(ops, x.newOp(x.andRevoke(founder, func(ctx context.Context, o *op) error { return x.onceStep(ctx, founder(), o) })))
		}
	}
	return ops
}

func (x *crash) approvedStep(ctx context.Context, founder *http.Client, o *op) error {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: o.csr}))
	s, err := x.submit(ctx, x.plain(), text, "vetted", o.name, x.token)
	if err != nil {
		return err
	}
	o.id = s.ID
	if s.Status == "pending" {
		err := call(ctx, founder, "POST", "https://"+x.Admin+"/api/v1/requests/"+s.ID+"/approve", nil, map[string]string{"note": "fine"}, nil)
		if err != nil && !isProblem(err, "not-pending") && !isProblem(err, "forbidden") { // it was approved without an answer
			return err
		}
		x.history.Approved(s.ID, "")
		if s, err = x.submit(ctx, x.plain(), text, "vetted", o.name, x.token); err != nil {
			return err
		}
	}
	if s.Status != "issued" {
		return errors.New("it is approved and waits to be signed")
	}
	x.issued(o, s.Chain)
	return nil
}

// onceStep makes a grant for one use, and two requests that want it at the same
// time: one is issued, the other denied, for ever.
func (x *crash) onceStep(ctx context.Context, founder *http.Client, o *op) error {
	if o.grant == "" {
		var g grant
		body := map[string]any{"protocol": "native", "profiles": []string{"service"}, "names": []string{"dns:" + o.name}, "uses": 1}
		if err := call(ctx, founder, "POST", "https://"+x.Admin+"/api/v1/grants", nil, body, &g); err != nil {
			return err
		}
		o.grant = g.Secret
		_, o.second = x.newRequest(o.name)
	}
	var chains [2]string
	var errs [2]error
	var wg sync.WaitGroup
	for i, csr := range [][]byte{o.csr, o.second} {
		wg.Go(func() {
			text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
			s, err := x.submit(ctx, x.plain(), text, "service", fmt.Sprint(i), o.grant)
			chains[i], errs[i] = s.Chain, err
		})
	}
	wg.Wait()
	used := 0
	for i, err := range errs {
		switch {
		case err == nil:
			used++
			x.issued(o, chains[i])
		case !isProblem(err, "not-authorized") && !isProblem(err, "name-not-allowed"): // which the used grant no longer covers
			return err
		}
	}
	if used != 1 {
		return fmt.Errorf("%d certificates for a grant of one use", used)
	}
	return nil
}
