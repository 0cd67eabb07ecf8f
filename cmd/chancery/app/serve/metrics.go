package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/metrics"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chancery/cmd/chancery/app/backend"
	"chancery/frontends/access"
	"chancery/frontends/acme"
	"chancery/store/scrub"
)

// newMetrics is the handler of /metrics. Its registry is its own: what a
// library registers for everybody does not come in unasked.
func newMetrics(s *Server) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled()),
		newCollector(s),
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		// Half the truth is worse than none: without chancery_ready no alarm
		// would ring.
		ErrorHandling: promhttp.HTTPErrorOnError,
		// A page of a few KB is not worth the memory of a compressor.
		DisableCompression: true,
		// Each reads through the records that wait.
		MaxRequestsInFlight: 4,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		page.ServeHTTP(w, r)
	}), nil
}

// collectTime bounds the reading of the records for one page.
const collectTime = 5 * time.Second

// errUnread is all that the page says of an error: the rest is for the log.
var errUnread = errors.New("the records cannot be read; see the log")

// A figure is one metric without its values.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// A collector reads all figures when it is asked: those of the CA from the
// engine, those of the listeners from what counts there anyway. It keeps
// nothing, so nothing is counted twice. Labels are of few values, which the
// configuration gives: never a name, a requester or an address.
type collector struct {
	server *Server
	all    []figure // in the order in which they were made

	heap, total                                       figure
	answers, running, panics, bytes, busy             figure
	pending, waiting, parked, freezes, founder, ready figure
	next, end, late, unfetched                        figure
	damaged, through                                  figure
	updates, commits, retries, unknown, exchanges     figure
	connections, busyConnections, mostConnections     figure
	limited, paused                                   figure
}

func newCollector(s *Server) *collector {
	c := &collector{server: s}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	c.heap = c.figure(gauge, "go_memory_heap_bytes", "Memory of live and not yet swept objects.")
	c.total = c.figure(gauge, "go_memory_total_bytes", "Memory that the runtime has mapped.")
	c.answers = c.figure(counter, "chancery_http_requests_total", "Answered requests by listener and the first digit of the status.", "listener", "class")
	c.running = c.figure(gauge, "chancery_http_requests_running", "Requests that are not answered yet.", "listener")
	c.panics = c.figure(counter, "chancery_http_panics_total", "Requests whose handler failed.", "listener")
	c.bytes = c.figure(counter, "chancery_http_response_bytes_total", "Octets of answers' bodies.", "listener")
	c.busy = c.figure(counter, "chancery_http_request_seconds_total", "Time spent on requests.", "listener")
	c.pending = c.figure(gauge, "chancery_requests_pending", "Requests that wait for an officer.")
	c.waiting = c.figure(gauge, "chancery_deliveries_waiting", "Events that some exit has not taken yet.")
	c.parked = c.figure(gauge, "chancery_deliveries_parked", "Events given up on, waiting for an operator.")
	c.freezes = c.figure(gauge, "chancery_freezes", "Scopes in which issuing is stopped.")
	c.founder = c.figure(gauge, "chancery_founder_active", "Whether the founder's credential still has its roles.")
	c.ready = c.figure(gauge, "chancery_ready", "Whether the CA can do its work.")
	c.next = c.figure(gauge, "chancery_crl_next_update_seconds", "When the current CRL of a CA key ends.", "key")
	c.late = c.figure(gauge, "chancery_crl_late", "CRLs that were not made anew by three quarters of their life.")
	c.unfetched = c.figure(gauge, "chancery_crl_not_served", "Complete CRLs that are not to be had, or not current, at the address in certificates.")
	c.damaged = c.figure(gauge, "chancery_store_damaged", "Damaged records that reading everything found last.")
	c.through = c.figure(gauge, "chancery_store_checked_seconds", "When everything stored was last read to the end; 0: not yet.")
	c.updates = c.figure(counter, "chancery_store_updates_total", "Transactions that have written something.")
	c.commits = c.figure(counter, "chancery_store_commits_total", "Commits for them: one each on PostgreSQL, fewer on bolt.")
	c.retries = c.figure(counter, "chancery_store_retries_total", "Transactions that had to begin again, since another one was in their way or the connection broke.")
	c.unknown = c.figure(counter, "chancery_store_unknown_total", "Transactions whose outcome could not be learnt.")
	c.exchanges = c.figure(counter, "chancery_store_exchanges_total", "Times that a transaction waited for the database server.")
	c.connections = c.figure(gauge, "chancery_store_connections", "Connections to the database server.")
	c.busyConnections = c.figure(gauge, "chancery_store_connections_busy", "Of these, those in use.")
	c.mostConnections = c.figure(gauge, "chancery_store_connections_max", "Connections that there may be.")
	c.limited = c.figure(counter, "chancery_limited_total", "Refusals by limit and endpoint.", "limit", "endpoint")
	c.paused = c.figure(gauge, "chancery_acme_paused", "Names of ACME accounts that are paused since they cannot be validated.")
	c.end = c.figure(gauge, "chancery_authority_not_after_seconds", "When the certificate of a CA ends.", "authority", "key")
	return c
}

func (c *collector) figure(kind prometheus.ValueType, name, help string, labels ...string) figure {
	f := figure{prometheus.NewDesc(name, help, labels, nil), kind}
	c.all = append(c.all, f)
	return f
}

// Describe is of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range c.all {
		out <- f.desc
	}
}

// Collect is of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTime)
	defer cancel()
	tell := func(f figure, v float64, labels ...string) {
		m, err := prometheus.NewConstMetric(f.desc, f.kind, v, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(f.desc, err)
		}
		out <- m
	}
	c.memory(tell)
	for _, a := range c.server.access {
		c.listener(tell, a.Stats())
	}
	c.store(tell)
	for k, n := range c.server.limits.Counts() {
		tell(c.limited, float64(n), k.Limit, k.Endpoint)
	}
	if err := c.authority(ctx, tell); err != nil {
		c.server.node.Log.ErrorContext(ctx, "metrics", "err", err)
		out <- prometheus.NewInvalidMetric(c.ready.desc, errUnread)
	}
}

// teller takes one value of a figure.
type teller func(f figure, v float64, labels ...string)

// memory is what the library's own collector says only with thirty others.
func (c *collector) memory(tell teller) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	for i, f := range []figure{c.heap, c.total} {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			tell(f, float64(samples[i].Value.Uint64()))
		}
	}
}

func (c *collector) listener(tell teller, s access.Stats) {
	for class := 1; class < len(s.Class); class++ {
		tell(c.answers, float64(s.Class[class]), s.Listener, fmt.Sprintf("%dxx", class))
	}
	tell(c.running, float64(s.Running), s.Listener)
	tell(c.panics, float64(s.Panics), s.Listener)
	tell(c.bytes, float64(s.Bytes), s.Listener)
	tell(c.busy, s.Busy.Seconds(), s.Listener)
}

// store is what was done with the database. Bolt has neither retries nor
// connections: an alarm on them is for PostgreSQL.
func (c *collector) store(tell teller) {
	db := c.server.node.DB
	s, ok := backend.Stats(db)
	if !ok {
		return
	}
	tell(c.updates, float64(s.Updates))
	tell(c.commits, float64(s.Commits))
	if !backend.Shared(db) {
		return
	}
	tell(c.retries, float64(s.Retries))
	tell(c.unknown, float64(s.Unknown))
	tell(c.exchanges, float64(s.Exchanges))
	tell(c.connections, float64(s.Conns))
	tell(c.busyConnections, float64(s.Busy))
	tell(c.mostConnections, float64(s.Most))
}

// authority is the state of the CA.
func (c *collector) authority(ctx context.Context, tell teller) error {
	h, err := c.server.node.Engine.Health(ctx)
	if err != nil {
		return err
	}
	tell(c.pending, float64(h.Pending))
	tell(c.waiting, float64(h.Waiting))
	tell(c.parked, float64(h.Parked))
	tell(c.freezes, float64(len(h.Frozen)))
	tell(c.founder, bit(h.FounderNow))
	for key, at := range h.CRLs {
		tell(c.next, float64(at.Unix()), key)
	}
	late, err := c.server.node.Engine.LateLists(ctx)
	if err != nil {
		return err
	}
	tell(c.late, float64(len(late)))
	if c.server.refetch != nil {
		tell(c.unfetched, float64(c.server.refetch.wrong()))
	}
	all, err := c.server.node.Engine.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		tell(c.end, float64(a.Chain[0].NotAfter.Unix()), a.Name, a.KeyID)
	}
	r, err := scrub.Last(ctx, c.server.node.DB)
	if err != nil {
		return err
	}
	tell(c.damaged, float64(r.Found))
	pauses, err := acme.Pauses(ctx, c.server.node.DB)
	if err != nil {
		return err
	}
	tell(c.paused, float64(len(pauses)))
	if r.Ended.IsZero() {
		r.Ended = time.Unix(0, 0)
	}
	tell(c.through, float64(r.Ended.Unix()))
	tell(c.ready, bit(len(c.server.unready(ctx)) == 0))
	return nil
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
