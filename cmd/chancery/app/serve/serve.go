// Package serve runs a CA: it listens, puts the frontends in front of the
// engine, keeps the server's own certificate, changes the policy while it runs,
// and stops without losing what is under way.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/engine/limit"
	"chancery/frontends/access"
	"chancery/frontends/status"
)

// A Server is a CA that listens.
type Server struct {
	node      *node.Node
	frontends []Frontend
	world     World
	status    *status.Frontend
	metrics   http.Handler
	tls       *ownTLS
	access    []*access.Access
	member    *member
	refetch   *refetch
	limits    *limit.Set

	mu       sync.Mutex // of changes: one policy at a time
	applying sync.Mutex // of administrators' changes, from looking at the version in use on
	current  atomic.Pointer[generation]
	workers  workers
	ready    readiness
	base     context.Context // of the workers: done when the server stops
	drain    atomic.Bool
}

// gcPercent lets the heap grow to several times what is in use before it is
// collected. Little is: the rows are in the store, so this is some 20 MB, and
// collecting every few hundred requests cost a tenth of all work.
const gcPercent = 500

// Run serves until ctx is done. hup makes it read the policy again. What people
// should see goes to stdout, at last one line that begins with ready.
func Run(ctx context.Context, n *node.Node, frontends []Frontend, hup <-chan os.Signal, stdout io.Writer) (err error) {
	first := n.First
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	l, err := listen(n.Settings.Listen)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	defer l.close()
	if err := n.Start(ctx, "http://"+config.ClientAddr(l.http.Addr().String())); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	s, err := newServer(n, frontends, l)
	if err != nil {
		return err
	}
	if err := s.certificates(ctx); err != nil {
		return err
	}
	g, err := s.generate(n.Policy)
	if err != nil {
		return err
	}
	s.enter(g)
	return s.run(ctx, l, g, hup, func(a datadir.Addresses) error {
		if first {
			s.greet(stdout, l)
		}
		_, err := fmt.Fprintf(stdout, "ready https=%s http=%s admin=%s\n", a.HTTPS, a.HTTP, a.Admin)
		if first {
			go debug.FreeOSMemory() // making the root took memory that will not be needed again
		}
		return err
	})
}

func newServer(n *node.Node, frontends []Frontend, l *listeners) (*Server, error) {
	nonce, err := n.Seal.Key("nonces")
	if err != nil {
		return nil, err
	}
	own := ownNames(n, l.https, l.admin)
	s := &Server{node: n, frontends: frontends, limits: new(limit.Set), tls: &ownTLS{node: n, names: certifiable(n, own)}}
	s.member = &member{s: s, started: n.Now().UTC()}
	s.refetch = &refetch{engine: n.Engine, now: n.Now, log: n.Log, get: fetchList}
	s.status = status.New(status.Deps{Engine: withRoots{n.Engine}, Now: n.Now, Log: n.Log})
	if s.metrics, err = newMetrics(s); err != nil {
		return nil, err
	}
	n.HTTPS = "https://" + config.ClientAddr(l.https.Addr().String())
	if u := n.Settings.PublicURL.HTTPS; u != "" {
		n.HTTPS = u
	}
	s.world = World{
		Node: n, HTTPS: n.HTTPS, Loopback: l.loopback(), NonceKey: nonce,
		Apply: s.Apply, Applying: &s.applying, Exposure: s.exposure, Nodes: s.member, Backup: (&keeper{node: n}).make,
		Limits: s.limits,
	}
	for _, text := range n.Settings.Proxies {
		p, err := config.ParseNetwork(text)
		if err != nil {
			return nil, err
		}
		s.world.Proxies = append(s.world.Proxies, p)
	}
	for _, name := range own {
		s.world.OwnNames = append(s.world.OwnNames, name.Value)
	}
	return s, nil
}

// certificates makes the founder's and the server's own at the same time: each
// waits for the disk.
func (s *Server) certificates(ctx context.Context) error {
	founder := make(chan error, 1)
	go func() { founder <- s.node.Finish(ctx) }()
	err := s.tls.open(ctx)
	return errors.Join(err, <-founder)
}

// run answers until ctx is done, and then lets everybody finish.
func (s *Server) run(ctx context.Context, l *listeners, g *generation, hup <-chan os.Signal, ready func(datadir.Addresses) error) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s.base = work
	s.workers.start(work, append(g.run, s.node.Engine.Run))
	var own sync.WaitGroup
	own.Go(func() { s.tls.run(work) })
	own.Go(func() { s.scrub(work) })
	own.Go(func() { s.refetch.run(work) })

	servers, failed, err := s.answer(l)
	if err != nil {
		stop()
		s.workers.end()
		own.Wait()
		return err
	}
	addresses := datadir.Addresses{HTTPS: l.https.Addr().String(), HTTP: l.http.Addr().String(), Admin: l.admin.Addr().String(), PID: os.Getpid()}
	s.join(work, addresses, &own)
	s.settle(ctx)
	err = errors.Join(s.node.Dir.WriteServing(addresses), ready(addresses))
	for _, warning := range g.open {
		s.node.Log.WarnContext(ctx, warning)
	}
	for err == nil {
		select {
		case <-ctx.Done():
			err = s.stop(servers)
			stop()
			s.workers.end()
			own.Wait()
			return errors.Join(err, removeServing(s.node.Dir))
		case err = <-failed:
		case <-hup:
			s.hangUp(work)
		}
	}
	err = errors.Join(err, s.stop(servers))
	stop()
	s.workers.end()
	own.Wait()
	return err
}

// join begins to be one of the nodes that share the store, if there are others.
func (s *Server) join(ctx context.Context, at datadir.Addresses, own *sync.WaitGroup) {
	s.member.listens(at)
	if !s.node.Shared() {
		return
	}
	s.member.compare(ctx)
	s.member.say(ctx)
	own.Go(func() { s.member.run(ctx) })
}

// settle waits a moment for what the engine does at its start, so that a server
// that says it is ready is.
func (s *Server) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for len(s.unready(ctx)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// drainTime is what requests under way may still take.
const drainTime = 20 * time.Second

// stop takes no new requests and waits for those under way.
func (s *Server) stop(servers []*http.Server) error {
	s.drain.Store(true)
	s.node.Log.Info("stopping: finishing what is under way")
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(servers))
	for i, srv := range servers {
		wg.Go(func() {
			if errs[i] = srv.Shutdown(ctx); errs[i] != nil {
				errs[i] = fmt.Errorf("some requests were cut off: %w", errors.Join(errs[i], srv.Close()))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func removeServing(d datadir.Dir) error {
	if err := os.Remove(d.Serving()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// workers are what runs beside answering, replaced with each policy.
type workers struct {
	mu     sync.Mutex
	cancel context.CancelFunc
	ended  bool
	done   sync.WaitGroup
}

// start runs all of them and tells those before to end. It does not wait for
// these: one may be in the middle of telling a slow exit.
func (w *workers) start(ctx context.Context, run []func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	if w.cancel != nil {
		w.cancel()
	}
	ctx, w.cancel = context.WithCancel(ctx)
	for _, fn := range run {
		w.done.Go(func() { _ = fn(ctx) }) // ends with ctx, and says then only that
	}
}

// end stops all of them, and waits for that.
func (w *workers) end() {
	w.mu.Lock()
	w.ended = true
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.done.Wait()
}
