package serve

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"chancery/frontends/access"
)

// newMetrics is the handler of /metrics, in the text format of Prometheus. All
// figures are read when asked for; nothing is counted twice.
func newMetrics(s *Server) http.Handler {
	started := s.node.Now()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		var p page
		p.gauge("process_start_time_seconds", "When the server started.", float64(started.Unix()))
		p.process()
		p.requests(s.access)
		if err := p.authority(ctx, s); err != nil {
			s.node.Log.ErrorContext(ctx, "metrics", "err", err)
			http.Error(w, "the records cannot be read; see the log", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(p.String()))
	})
}

// A page is an answer in the text format.
type page struct{ strings.Builder }

func (p *page) head(name, kind, help string) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p *page) gauge(name, help string, v float64) {
	p.head(name, "gauge", help)
	fmt.Fprintf(p, "%s %g\n", name, v)
}

// value is one line; labels are pairs of name and value.
func (p *page) value(name string, v float64, labels ...string) {
	p.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := "{"
		if i > 0 {
			sep = ","
		}
		// What %q escapes beyond the format's three is not in our labels.
		fmt.Fprintf(p, "%s%s=%q", sep, labels[i], labels[i+1])
	}
	if len(labels) > 0 {
		p.WriteByte('}')
	}
	fmt.Fprintf(p, " %g\n", v)
}

// process is what the runtime knows of itself, and little of it.
func (p *page) process() {
	samples := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	for i, m := range []struct{ name, help string }{
		{"go_goroutines", "Goroutines that exist."},
		{"go_memory_heap_bytes", "Memory of live and not yet swept objects."},
		{"go_memory_total_bytes", "Memory that the runtime has mapped."},
	} {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			p.gauge(m.name, m.help, float64(samples[i].Value.Uint64()))
		}
	}
}

func (p *page) requests(listeners []*access.Access) {
	all := make([]access.Stats, len(listeners))
	for i, a := range listeners {
		all[i] = a.Stats()
	}
	const name = "chancery_http_requests_total"
	p.head(name, "counter", "Answered requests by listener and the first digit of the status.")
	for _, s := range all {
		for class := 1; class < len(s.Class); class++ {
			p.value(name, float64(s.Class[class]), "listener", s.Listener, "class", fmt.Sprintf("%dxx", class))
		}
	}
	for _, m := range []struct {
		name, kind, help string
		of               func(access.Stats) float64
	}{
		{"chancery_http_requests_running", "gauge", "Requests that are not answered yet.", func(s access.Stats) float64 { return float64(s.Running) }},
		{"chancery_http_panics_total", "counter", "Requests whose handler failed.", func(s access.Stats) float64 { return float64(s.Panics) }},
		{"chancery_http_response_bytes_total", "counter", "Octets of answers' bodies.", func(s access.Stats) float64 { return float64(s.Bytes) }},
		{"chancery_http_request_seconds_total", "counter", "Time spent on requests.", func(s access.Stats) float64 { return s.Busy.Seconds() }},
	} {
		p.head(m.name, m.kind, m.help)
		for _, s := range all {
			p.value(m.name, m.of(s), "listener", s.Listener)
		}
	}
}

// authority is the state of the CA.
func (p *page) authority(ctx context.Context, s *Server) error {
	h, err := s.node.Engine.Health(ctx)
	if err != nil {
		return err
	}
	p.gauge("chancery_requests_pending", "Requests that wait for an officer.", float64(h.Pending))
	p.gauge("chancery_deliveries_waiting", "Events that some exit has not taken yet.", float64(h.Waiting))
	p.gauge("chancery_deliveries_parked", "Events given up on, waiting for an operator.", float64(h.Parked))
	p.gauge("chancery_freezes", "Scopes in which issuing is stopped.", float64(len(h.Frozen)))
	p.gauge("chancery_founder_active", "Whether the founder's credential still has its roles.", bit(h.FounderNow))
	p.gauge("chancery_ready", "Whether the CA can do its work.", bit(len(s.unready(ctx)) == 0))
	const next = "chancery_crl_next_update_seconds"
	p.head(next, "gauge", "When the current CRL of a CA key ends.")
	for _, key := range slices.Sorted(maps.Keys(h.CRLs)) {
		p.value(next, float64(h.CRLs[key].Unix()), "key", key)
	}
	all, err := s.node.Engine.Authorities(ctx)
	if err != nil {
		return err
	}
	const end = "chancery_authority_not_after_seconds"
	p.head(end, "gauge", "When the certificate of a CA ends.")
	for _, a := range all {
		p.value(end, float64(a.Chain[0].NotAfter.Unix()), "authority", a.Name, "key", a.KeyID)
	}
	return nil
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
