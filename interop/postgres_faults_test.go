package interop

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/interop/invariants"
	"chancery/store/postgres/pgtest"
)

// farRecords are a database of a cluster of the test's own, behind a network
// that the test breaks.
type farRecords struct {
	sharedRecords
	cluster *pgtest.Cluster
	proxy   *pgtest.Proxy
}

func newFarRecords(t *testing.T) *farRecords {
	f := &farRecords{sharedRecords: sharedRecords{t: t}, cluster: pgtest.Start(t)}
	f.proxy = pgtest.NewProxy(t, f.cluster)
	return f
}

func (f *farRecords) configure(c *ca) {
	f.dsn = f.cluster.DSN(f.t)
	c.onPostgres(f.proxy.DSN(f.t, f.dsn))
}

// newFar is an installation under every kind of load on such a database.
func newFar(t *testing.T) (*crash, *farRecords) {
	f := newFarRecords(t)
	x := newCrash(t, f)
	x.ops = append(append(nativeOps(x)[:2], acmeOps(x)[:2]...), officerOps(x)[:2]...)
	x.start()
	return x, f
}

// during works while a fault lasts.
func (x *crash) during(fault func()) {
	ctx, cancel := context.WithCancel(x.t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		fault()
	})
	x.work(ctx, func() bool { return false })
	wg.Wait()
}

// heals says how long it takes until something is acknowledged again, and lets
// everybody finish.
func (x *crash) heals(after string) {
	x.t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	var once sync.Once
	var took time.Duration
	x.work(ctx, func() bool {
		once.Do(func() { took = time.Since(begun) })
		return true
	})
	if ctx.Err() != nil {
		x.t.Fatalf("%s is over, and not everything goes on within a minute\n%s", after, tail(x.Log()))
	}
	x.t.Logf("%s: the first answer after %s", after, took.Round(time.Millisecond))
}

// The answer to a COMMIT is lost, or the COMMIT itself, again and again under
// load. What was done and what was not is found out, or told as unknown so that
// asking again finds out; nothing is done twice.
func TestXD_002_CommitAnswerLost(t *testing.T) {
	t.Parallel()
	x, f := newFar(t)
	times := 30
	if long() {
		times = 500
	}
	cuts := 0
	x.during(func() {
		for i := range times {
			at := []pgtest.Point{pgtest.AtAnswer, pgtest.Silent, pgtest.BeforeCommit}[i%3]
			select {
			case <-f.proxy.CutNext(at):
				cuts++
			case <-time.After(10 * time.Second):
				t.Errorf("no commit within 10 s, after %d cuts\n%s", cuts, tail(x.Log()))
				return
			}
		}
	})
	t.Logf("%d commits cut", cuts)
	x.heals("losing answers")
	x.stop()
	x.inspect("lost answers")
	x.check()
}

// The database is killed under load and started again; the network to it is cut,
// swallows everything, and is slow. The server stays, tells clients to try again,
// and goes on by itself.
func TestFaultDatabase(t *testing.T) {
	t.Parallel()
	x, f := newFar(t)
	long := long()
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-t.Context().Done():
		}
	}
	faults := []struct {
		name string
		fn   func()
	}{
		{"SIGKILL of the database", func() {
			pause(300 * time.Millisecond)
			f.cluster.Kill9(t)
			pause(500 * time.Millisecond)
			f.cluster.Restart(t)
		}},
		{"a network that is down", func() {
			pause(200 * time.Millisecond)
			f.proxy.Down(true)
			pause(2 * time.Second)
			f.proxy.Down(false)
		}},
		{"connections cut", func() {
			for range 20 {
				pause(50 * time.Millisecond)
				f.proxy.Cut()
			}
		}},
		{"a network that swallows", func() {
			pause(200 * time.Millisecond)
			f.proxy.Hole(true)
			pause(4 * time.Second)
			f.proxy.Hole(false)
		}},
		{"a slow network", func() { f.proxy.Delay(30 * time.Millisecond); pause(2 * time.Second); f.proxy.Delay(0) }},
	}
	rounds := 1
	if long {
		rounds = 20
	}
	for range rounds {
		for _, fault := range faults {
			x.during(fault.fn)
			x.heals(fault.name)
		}
	}
	x.stop()
	x.inspect("faults of the database")
	x.check()
}

// A node stands still (SIGSTOP) for longer than its leases, in the middle of its
// work; another takes over, lists what is revoked meanwhile, and when the first
// goes on it changes nothing that is no longer its own.
func TestXD_003_NodeStandsStill(t *testing.T) {
	t.Parallel()
	_, nodes, _, dsn := threeNodes(t)
	a, b := nodes[0], nodes[1]
	founder := a.client(a.founder())
	first := certsOf(t, a.cli("submit", func() string { f, _ := a.newCSR("first.still.test"); return f }()))
	history := invariants.NewHistory(first[1])
	list := fmt.Sprintf("/crl/%x.crl", first[1].SubjectKeyId)
	rounds := 1
	if long() {
		rounds = 10
	}
	issue := func(ctx context.Context, node *ca, name string, csr []byte) (*x509.Certificate, error) {
		s, err := node.submit(ctx, founder, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), "service", name, "")
		if err != nil {
			return nil, err
		}
		cert := certsOf(t, s.Chain)[0]
		return cert, history.Issued(name, cert.Raw)
	}
	for round := range rounds {
		// Work that is under way on a when it stops, and is asked for on b then.
		var under sync.WaitGroup
		for w := range 4 {
			under.Go(func() {
				for k := range 30 {
					name := fmt.Sprintf("w%d-%d-%d.still.test", round, w, k)
					csr := requestFor(t, name)
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, err := issue(ctx, a, name, csr)
					cancel()
					if err != nil {
						eventually(t, 30*time.Second, func() error {
							_, err := issue(t.Context(), b, name, csr)
							return err
						})
					}
				}
			})
		}
		select {
		case <-time.After(150 * time.Millisecond):
		case <-t.Context().Done():
		}
		must(t, a.Signal(syscall.SIGSTOP))
		name := fmt.Sprintf("r%d.still.test", round)
		var cert *x509.Certificate
		eventually(t, 30*time.Second, func() (err error) {
			if cert == nil {
				cert, err = issue(t.Context(), b, name, requestFor(t, name))
			}
			return err
		})
		begun := time.Now()
		serial := serialOf(cert)
		must(t, call(t.Context(), founder, "POST", "https://"+b.Admin+"/api/v1/certificates/"+serial+"/revoke", nil, map[string]string{"reason": "superseded"}, nil))
		history.Revoked(cert)
		eventually(t, 30*time.Second, func() error {
			der, err := tryFetch("http://" + b.HTTP + list)
			if err != nil {
				return err
			}
			if err := history.Listed(der); err != nil {
				t.Error(err)
			}
			l, err := x509.ParseRevocationList(der)
			if err != nil {
				return err
			}
			for _, e := range l.RevokedCertificateEntries {
				if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
					return nil
				}
			}
			return fmt.Errorf("%s is not on list %s", serial, l.Number)
		})
		t.Logf("revoked while the node stood still: listed after %s", time.Since(begun).Round(time.Millisecond))
		must(t, a.Signal(syscall.SIGCONT))
		under.Wait()
		for _, node := range nodes { // whichever made the last one
			der, err := tryFetch("http://" + node.HTTP + list)
			must(t, err)
			if err := history.Listed(der); err != nil {
				t.Error(err)
			}
		}
	}
	for _, node := range nodes {
		node.stop()
	}
	if err := history.Check((&sharedRecords{t: t, dsn: dsn}).read(nil)); err != nil {
		t.Error(err)
	}
	if strings.Count(strings.Join([]string{nodes[1].Log(), nodes[2].Log()}, ""), `"leading"`) == 0 {
		t.Error("nobody took over: this does not show what it should")
	}
}
