package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/interop/invariants"
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
// again. After each kill every record keeps every promise of package invariants.
// In the end every acknowledged request is there with the certificate that was
// promised, every certificate is in the exit's folder, and every event was
// delivered.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(*crash) []*op{"native": nativeOps, "acme": acmeOps, "officers": officerOps} {
		onEachStore(t, name, func(t *testing.T, s records) {
			t.Parallel()
			x := newCrash(t, s)
			x.ops = load(x)
			passes := []int{4}
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
	records records
	events  *receiver
	history *invariants.History
	before  map[string]bool // serial numbers of what was issued before the receiver was an exit
	list    string          // path of the issuing CA's revocation list
	token   string          // for *.crash.test with the profile vetted
	plain   func() *http.Client
	acme    *goClient
	ops     []*op // one per worker: what it does next

	mu          sync.Mutex
	done        []*op
	count       int
	unexplained map[string]int // answers that no fault excuses
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
	id      string // of the request that waits for an officer
	grant   string // secret of a grant for one use
	csr     []byte
	second  []byte // of another key, for the same grant
	key     *ecdsa.PrivateKey
}

func newCrash(t *testing.T, s records) *crash {
	x := &crash{ca: newCA(t), records: s, events: newReceiver(t), unexplained: map[string]int{}}
	x.binary = faulty
	s.configure(x.ca)
	x.init()
	x.tell(x.events)
	x.editPolicy(func(doc map[string]any) {
		child(doc, "profiles")["vetted"] = map[string]any{
			"authority": "main", "frontends": []string{"native"}, "validity": "30d", "eku": []string{"serverAuth"}, "approval": "manual",
		}
		child(doc, "frontends", "native", "default")["profiles"] = []string{"service", "vetted"}
	})
	x.start()      // the first start makes what every later one uses
	x.cli("apply") // where the policy lies in the store, a file is not obeyed
	csr, _ := x.newCSR("first.crash.test")
	chain := certsOf(t, x.cli("submit", csr))
	x.history = invariants.NewHistory(chain[1])
	x.list = "/crl/" + hex.EncodeToString(chain[1].SubjectKeyId) + ".crl"
	var g grant
	x.cliJSON(&g, "grant", "create", "--protocol", "native", "--profile", "vetted", "--name", "*.crash.test")
	x.token = g.Secret
	x.before = map[string]bool{}
	for _, c := range x.certificates() {
		x.before[c.Serial] = true
	}
	x.plain = sync.OnceValue(func() *http.Client { return x.client() })
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
	o.key, o.csr = x.newRequest(o.name)
	return o
}

func (x *crash) newRequest(name string) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(x.t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	must(x.t, err)
	return key, csr
}

// round is one life of the server that ends at a fault point, and the start
// after it, in which every worker finishes what it had begun.
func (x *crash) round(fault string) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	x.life(ctx, x.settings("CHANCERY_FAULT="+fault))
	if ctx.Err() != nil {
		x.t.Fatalf("%s was not passed within a minute", fault)
	}
	x.inspect(fault)

	x.start()
	x.work(ctx, func() bool { return true }) // one op each: the one that was interrupted
	if ctx.Err() != nil {
		x.t.Fatalf("%s: not everything that was interrupted could be finished within a minute\n%s", fault, tail(x.Log()))
	}
	x.stop()
}

// life runs the server under load until it is killed, and says how long it took
// to be ready; 0 if it was killed before.
func (x *crash) life(ctx context.Context, set live.Settings) (recovery time.Duration) {
	x.t.Helper()
	begun := time.Now()
	s, err := live.Start(set)
	if s == nil {
		x.t.Fatal(err)
	}
	x.Server = s // which may have met the fault before it was ready
	x.t.Cleanup(func() { _ = s.Kill() })
	if err == nil {
		recovery = time.Since(begun)
		x.work(ctx, func() bool {
			select {
			case <-x.Done():
				return true
			default:
				return false
			}
		})
	}
	select {
	case <-x.Done():
	case <-ctx.Done():
		_ = x.Kill()
		return recovery
	}
	if !killed(x.Err()) {
		x.t.Fatalf("%s: the server was not killed: %v\n%s", set.Env, x.Err(), tail(x.Log()))
	}
	x.checkLog()
	return recovery
}

// work lets every worker do one op after the other. It repeats a failed one
// until it succeeds, and returns when enough says so after a success, or when
// the server is gone. Meanwhile somebody reads the revocation list.
func (x *crash) work(ctx context.Context, enough func() bool) {
	var wg sync.WaitGroup
	for w := range x.ops {
		wg.Go(func() {
			for ctx.Err() == nil {
				o := x.ops[w]
				if err := o.step(ctx, o); err != nil {
					x.excuse(o, err)
					select {
					case <-x.Done():
						return
					case <-time.After(20 * time.Millisecond):
						continue
					}
				}
				x.acknowledged(o)
				x.ops[w] = o.next()
				if enough() {
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		x.watchList(ended)
	}()
	wg.Wait()
	close(ended)
	<-watched
}

func (x *crash) acknowledged(o *op) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = append(x.done, o)
}

// watchList fetches the revocation list again and again.
func (x *crash) watchList(ended <-chan struct{}) {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		if der, err := tryFetch("http://" + x.HTTP + x.list); err == nil {
			if err := x.history.Listed(der); err != nil {
				x.t.Error(err)
			}
		}
		select {
		case <-ended:
			return
		case <-x.Done():
			return
		case <-look.C:
		}
	}
}

// inspect reads all records of the server, which does not run, and checks every
// promise.
func (x *crash) inspect(after string) {
	x.t.Helper()
	if err := x.history.Check(x.records.read(x.ca)); err != nil {
		x.t.Errorf("after %s: %v", after, err)
	}
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}
