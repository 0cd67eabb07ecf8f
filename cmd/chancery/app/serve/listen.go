package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/frontends/access"
)

// Limits of every listener. Clients that need more are none of ours.
const (
	maxHeader     = 16 << 10
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 120 * time.Second // validation may take its time before the answer
	idleTimeout   = 120 * time.Second
)

type listeners struct{ https, http, admin net.Listener }

// listen opens the addresses of the settings before anything else is done, so
// that clients of a server that just starts wait instead of failing.
func listen(c config.Listen) (*listeners, error) {
	l := &listeners{}
	var errs []error
	for _, one := range []struct {
		key, addr string
		to        *net.Listener
	}{{"https", c.HTTPS, &l.https}, {"http", c.HTTP, &l.http}, {"admin", c.Admin, &l.admin}} {
		ln, err := net.Listen("tcp", one.addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("listen.%s: %w; is another server running, or does the port need root? Change it in chancery.yaml", one.key, err))
			continue
		}
		*one.to = ln
	}
	if err := errors.Join(errs...); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *listeners) close() {
	for _, one := range []net.Listener{l.https, l.http, l.admin} {
		if one != nil {
			one.Close()
		}
	}
}

// loopback says whether only this machine can reach the server.
func (l *listeners) loopback() bool {
	for _, one := range []net.Listener{l.https, l.http, l.admin} {
		if a, ok := one.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
			return false
		}
	}
	return true
}

// answer starts the servers. One that ends by itself is on failed.
func (s *Server) answer(l *listeners) ([]*http.Server, <-chan error, error) {
	pick := func(of func(*generation) http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { of(s.current.Load()).ServeHTTP(w, r) })
	}
	admin := pick(func(g *generation) http.Handler { return g.admin })
	socket, err := s.listenSocket()
	if err != nil {
		return nil, nil, err
	}
	type answering struct {
		name    string
		handler http.Handler
		on      net.Listener
		secure  bool
	}
	all := []answering{
		{"https", pick(func(g *generation) http.Handler { return g.https }), l.https, true},
		{"http", pick(func(g *generation) http.Handler { return g.http }), l.http, false},
		{"admin", admin, l.admin, true},
	}
	if socket != nil {
		all = append(all, answering{"socket", s.breakGlass(s.withRecordsCheck(admin)), socket, false})
	}
	servers := make([]*http.Server, len(all))
	for i, a := range all {
		counted := access.Handler(s.node.Log, s.node.Now, a.name, a.handler)
		s.access = append(s.access, counted) // complete before the first request can read it
		servers[i] = newHTTP(counted, s.node.Log)
		if a.on == socket {
			servers[i].ConnContext = withPeer
		}
	}
	failed := make(chan error, len(all))
	for i, a := range all {
		go func() {
			var err error
			if a.secure {
				servers[i].TLSConfig = s.tls.config()
				err = servers[i].ServeTLS(a.on, "", "")
			} else {
				err = servers[i].Serve(a.on)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("listener %s: %w", a.name, err)
			}
		}()
	}
	return servers, failed, nil
}

func newHTTP(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		// What strangers do wrong while they connect is no news.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
