package serve

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"chancery/engine"
)

// healthz says that the process answers.
func healthz(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }

// A readiness is what was last found out for /readyz. Anybody may ask that, as
// often as they like, so finding out is bounded: once at a time and once in
// readyFor.
type readiness struct {
	mu  sync.Mutex
	at  time.Time
	why []string
}

const readyFor = time.Second

// readyz says whether the CA can do its work, and if not, what keeps it.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	why := s.lately(r.Context())
	if len(why) == 0 {
		plain(w, http.StatusOK, "ready\n")
		return
	}
	text := "not ready:\n"
	for _, line := range why {
		text += line + "\n"
	}
	plain(w, http.StatusServiceUnavailable, text)
}

// lately is unready as it was at most readyFor ago.
func (s *Server) lately(ctx context.Context) []string {
	s.ready.mu.Lock()
	defer s.ready.mu.Unlock()
	now := s.node.Now()
	if age := now.Sub(s.ready.at); s.drain.Load() || age < 0 || age >= readyFor {
		// What is found is for others too, so it is not ended with this request.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		s.ready.at, s.ready.why = now, s.unready(ctx)
	}
	return s.ready.why
}

// unready lists what keeps the CA from its work. It tells strangers nothing that
// is secret, and people what to look at.
func (s *Server) unready(ctx context.Context) []string {
	if s.drain.Load() {
		return []string{"the server is stopping"}
	}
	// Not Health, which counts what waits.
	all, err := s.node.Engine.Authorities(ctx)
	if err != nil {
		s.node.Log.ErrorContext(ctx, "readiness", "err", err)
		return []string{"the records cannot be read; see the log"}
	}
	var why []string
	if err := s.node.Engine.ClockError(); err != nil {
		why = append(why, err.Error())
	}
	if q, err := s.node.Engine.Quarantine(ctx); q != nil || err != nil {
		why = append(why, "the records were restored from a backup: an administrator must release them")
	}
	for _, a := range all {
		if signs, err := s.node.Engine.Signable(ctx, a.KeyID); !signs || err != nil {
			why = append(why, "no node that runs has the key of authority "+a.Name)
			continue
		}
		if a.CRL == nil || s.node.Now().After(a.CRL.NextUpdate) {
			why = append(why, "authority "+a.Name+" has no current CRL")
		}
		if s.node.Now().After(a.Chain[0].NotAfter) {
			why = append(why, "authority "+a.Name+" has expired")
		}
	}
	late, err := s.node.Engine.LateLists(ctx)
	if err != nil {
		return append(why, "the records cannot be read; see the log")
	}
	for _, l := range late {
		said := slices.ContainsFunc(all, func(a engine.AuthorityInfo) bool { return a.KeyID == l.Name })
		if !said && s.node.Now().After(l.NextUpdate) {
			why = append(why, "the CRL "+l.Name+" of authority "+l.Authority+" has ended")
		}
	}
	return why
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
