package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"chancery/interop/live"
)

// long reports whether the long forms of tests were asked for (make test-long).
func long() bool { return os.Getenv("CHANCERY_LONG") != "" }

// notReached are fault points that the policies of an ordinary installation
// never pass; the engine's own tests stop there.
var notReached = map[string]string{
	"recorded": "only when a policy waits for something outside, or fails",
}

// The server is killed at every named step of a request, under load, and started
// again. Then every acknowledged request is there with the certificate that was
// promised, no serial number was used twice, nothing has two certificates, every
// certificate is in the exit's folder, and every event was delivered.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(*crash) []*op{"native": nativeOps, "acme": acmeOps} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newCrash(t)
			x.ops = load(x)
			passes := []int{3, 8}
			if long() {
				passes = []int{1, 2, 3, 5, 8, 13, 21, 34, 55}
			}
			for _, step := range faultSteps(t) {
				if notReached[step] != "" {
					continue
				}
				for _, pass := range passes {
					x.round(fmt.Sprintf("%s:%d", step, pass))
				}
			}
			x.check()
		})
	}
}

// A crash is an installation that is killed again and again.
type crash struct {
	*ca
	events *receiver
	acme   *goClient
	ops    []*op // one per worker: what it does next
	done   []*op
	mu     sync.Mutex
	count  int
}

// An op is one certificate on its way: step takes it as far as it gets, and can
// be repeated after whatever happened. It returns nil when the certificate is
// acknowledged.
type op struct {
	name   string
	revoke bool // also revoke it
	step   func(context.Context, *op) error
	next   func() *op // another one for the same worker

	chain   string // acknowledged
	revoked bool   // acknowledged
	order   string // URL, ACME
	csr     []byte
	key     *ecdsa.PrivateKey
}

func newCrash(t *testing.T) *crash {
	x := &crash{ca: newCA(t), events: newReceiver(t)}
	x.binary = faulty
	x.init()
	x.tell(x.events)
	x.start() // the first start makes what every later one uses
	x.stop()
	return x
}

// newOp makes a key and a request for a name that nothing else has.
func (x *crash) newOp(step func(context.Context, *op) error) *op {
	x.mu.Lock()
	x.count++
	n := x.count
	x.mu.Unlock()
	o := &op{name: fmt.Sprintf("n%d.crash.test", n), revoke: n%3 == 0, step: step}
	o.next = func() *op { return x.newOp(step) }
	var err error
	o.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(x.t, err)
	o.csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{o.name}}, o.key)
	must(x.t, err)
	return o
}

// round is one life of the server that ends at a fault point, and the start
// after it, in which every worker finishes what it had begun.
func (x *crash) round(fault string) {
	x.t.Helper()
	s, err := live.Start(x.settings("CHANCERY_FAULT=" + fault))
	if s == nil {
		x.t.Fatal(err)
	}
	x.Server = s // which may have met the fault before it was ready
	x.t.Cleanup(func() { _ = s.Kill() })
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	x.work(ctx, func() bool {
		select {
		case <-x.Done():
			return true
		default:
			return false
		}
	})
	select {
	case <-x.Done():
	case <-ctx.Done():
		_ = x.Kill()
		x.t.Fatalf("%s was not passed within a minute", fault)
	}
	if !killedBySelf(x.Err()) {
		x.t.Fatalf("%s: the server did not kill itself: %v\n%s", fault, x.Err(), tail(x.Log()))
	}
	x.checkLog()

	x.start()
	x.work(ctx, func() bool { return true }) // one op each: the one that was interrupted
	if ctx.Err() != nil {
		x.t.Fatalf("%s: not everything that was interrupted could be finished within a minute\n%s", fault, tail(x.Log()))
	}
	x.stop()
}

// work lets every worker do one op after the other. It repeats a failed one
// until it succeeds, and returns when enough says so after a success, or when
// the server is gone.
func (x *crash) work(ctx context.Context, enough func() bool) {
	var wg sync.WaitGroup
	for w := range x.ops {
		wg.Go(func() {
			for ctx.Err() == nil {
				o := x.ops[w]
				if err := o.step(ctx, o); err != nil {
					select {
					case <-x.Done():
						return
					case <-time.After(20 * time.Millisecond):
						continue
					}
				}
				x.mu.Lock()
				x.done = append(x.done, o)
				x.mu.Unlock()
				x.ops[w] = o.next()
				if enough() {
					return
				}
			}
		})
	}
	wg.Wait()
}

func killedBySelf(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// check looks at everything that was acknowledged in all lives.
func (x *crash) check() {
	x.t.Helper()
	x.start()
	defer x.stop()
	certs := x.certificates()
	byName, bySerial := map[string][]certificateRow{}, map[string]bool{}
	for _, c := range certs {
		s := normalSerial(c.Serial)
		if bySerial[s] {
			x.t.Errorf("serial number %s is there twice", s)
		}
		bySerial[s] = true
		for _, n := range c.Names {
			n = strings.TrimPrefix(n, "dns:")
			byName[n] = append(byName[n], c)
		}
	}
	for _, o := range x.done {
		rows := byName[o.name]
		if len(rows) != 1 {
			x.t.Errorf("%s has %d certificates: %v", o.name, len(rows), rows)
			continue
		}
		want := strings.ToLower(serialOf(certsOf(x.t, o.chain)[0]))
		if normalSerial(rows[0].Serial) != normalSerial(want) {
			x.t.Errorf("%s: acknowledged %s, there is %s", o.name, want, rows[0].Serial)
		}
		if o.revoked && rows[0].Status != "revoked" {
			x.t.Errorf("%s: the revocation was acknowledged, the certificate is %s", o.name, rows[0].Status)
		}
		before := o.chain
		must(x.t, o.step(x.t.Context(), o)) // asking again gives the same
		if o.chain != before {
			x.t.Errorf("%s: asking again gave another certificate", o.name)
		}
	}
	if len(x.done) < len(x.ops) {
		x.t.Fatalf("only %d requests came through", len(x.done))
	}
	x.t.Logf("%d requests acknowledged, %d certificates", len(x.done), len(certs))

	eventually(x.t, 30*time.Second, func() error {
		files := x.issuedFiles()
		type counts struct{ issued, revoked map[string]int }
		told := map[string]counts{}
		for exit, events := range map[string]map[string]event{"webhook": x.events.taken(), "file": x.journal()} {
			told[exit] = counts{serials(events, "issued"), serials(events, "revoked")}
		}
		var missing []string
		for _, c := range certs {
			if c.Profile == "chancery-person" { // made before these exits were
				continue
			}
			s := normalSerial(c.Serial)
			if !files[s] {
				missing = append(missing, fmt.Sprintf("%v has no file", c))
			}
			for exit, n := range told {
				if n.issued[s] == 0 || c.Status == "revoked" && n.revoked[s] == 0 {
					missing = append(missing, fmt.Sprintf("%v was not told to %s", c, exit))
				}
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d events did not come: %v", len(missing), missing)
		}
		return nil
	})
	for s, n := range serials(x.events.taken(), "issued") {
		if n != 1 {
			x.t.Errorf("%s was issued by %d different events", s, n)
		}
		if !bySerial[s] {
			x.t.Errorf("an event says that %s was issued, which is not there", s)
		}
	}
	x.events.check(x.t)
}

// normalSerial is a serial number without leading zeros, in lower case.
func normalSerial(s string) string { return strings.TrimLeft(strings.ToLower(s), "0") }

// nativeOps are workers that submit over the native API as the founder, each
// request under an Idempotency-Key of its own.
func nativeOps(x *crash) []*op {
	var ops []*op
	cl := x.founderClient()
	step := func(ctx context.Context, o *op) error {
		// A revoked certificate is never given out again, so what was
		// acknowledged is not asked for before the revocation is through.
		if o.chain == "" || !o.revoke {
			text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: o.csr}))
			s, err := x.submit(ctx, cl(), text, "service", o.name, "")
			if err != nil {
				return err
			}
			if o.chain != "" && o.chain != s.Chain {
				x.t.Errorf("%s: another certificate for the same Idempotency-Key", o.name)
			}
			o.chain = s.Chain
		}
		if o.revoke && !o.revoked {
			url := "https://" + x.HTTPS + "/api/v1/certificates/" + serialOf(certsOf(x.t, o.chain)[0]) + "/revoke"
			err := call(ctx, cl(), "POST", url, nil, map[string]string{"reason": "superseded"}, nil)
			if err != nil && !isProblem(err, "already-revoked") {
				return err
			}
			o.revoked = true
		}
		return nil
	}
	for range 4 {
		ops = append(ops, x.newOp(step))
	}
	return ops
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
		if _, _, err := g.CreateOrderCert(ctx, order.FinalizeURL, o.csr, false); err != nil {
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
	if o.chain != "" && o.chain != chain.String() {
		x.t.Errorf("%s: another certificate for the same order", o.name)
	}
	o.chain = chain.String()
	if o.revoke && !o.revoked {
		err := g.RevokeCert(ctx, o.key, ders[0], acme.CRLReasonSuperseded)
		var p *acme.Error
		if err != nil && (!errors.As(err, &p) || !strings.HasSuffix(p.ProblemType, ":alreadyRevoked")) {
			return err
		}
		o.revoked = true
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
