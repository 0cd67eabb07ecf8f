package serve

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chancery/cmd/chancery/app/backend"
	"chancery/cmd/chancery/app/node"
	"chancery/engine/limit"
	"chancery/frontends/access"
	"chancery/frontends/acme"
)

func TestMetrics(t *testing.T) {
	n, _ := newNode(t, func(o *node.Options) { o.Tables = acme.Schemas() })
	s := &Server{node: n, limits: new(limit.Set)}
	ask := limit.Ask{Key: limit.Key{Limit: "orders_per_account", Endpoint: "acme/default", Of: "secret"}, Rate: limit.Rate{Count: 1, Per: time.Hour}}
	for range 3 {
		s.limits.Take(n.Now(), ask)
	}
	for _, listener := range []string{"https", "http", "admin", "socket"} {
		s.access = append(s.access, access.Handler(n.Log, n.Now, listener, http.NotFoundHandler()))
	}
	s.access[1].ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/nowhere", nil))
	h, err := newMetrics(s)
	if err != nil {
		t.Fatal(err)
	}
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w
	}
	get()
	w := get() // reading the page changes nothing
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for _, line := range []string{
		`chancery_http_requests_total{class="4xx",listener="http"} 1`, `chancery_http_requests_total{class="2xx",listener="socket"} 0`,
		`chancery_http_requests_running{listener="admin"} 0`, `chancery_http_panics_total{listener="http"} 0`,
		`chancery_http_response_bytes_total{listener="http"} 19`, `chancery_http_request_seconds_total{listener="https"} 0`,
		"chancery_requests_pending 0", "chancery_deliveries_waiting 0", "chancery_deliveries_parked 0", "chancery_freezes 0",
		"chancery_founder_active 0", "# TYPE chancery_ready gauge", "# TYPE chancery_http_panics_total counter",
		`chancery_authority_not_after_seconds{authority="main",key="`, "process_start_time_seconds ", "go_goroutines ",
		"go_memory_heap_bytes ", "go_memory_total_bytes ", "chancery_acme_paused 0",
		`chancery_limited_total{endpoint="acme/default",limit="orders_per_account"} 2`,
	} {
		if !strings.Contains(w.Body.String(), "\n"+line) {
			t.Errorf("no line %s in\n%s", line, w.Body)
		}
	}

	if strings.Contains(w.Body.String(), "secret") {
		t.Error("the page says who was limited")
	}

	// What was done with the database, as it says itself.
	stats, ok := backend.Stats(n.DB)
	if !ok || stats.Updates == 0 || stats.Commits == 0 {
		t.Errorf("%+v", stats)
	}
	figures := []string{fmt.Sprintf("chancery_store_updates_total %d", stats.Updates), fmt.Sprintf("chancery_store_commits_total %d", stats.Commits)}
	if backend.Shared(n.DB) {
		if stats.Conns < 1 || stats.Exchanges == 0 {
			t.Errorf("%+v", stats)
		}
		figures = append(figures, fmt.Sprintf("chancery_store_retries_total %d", stats.Retries), "chancery_store_unknown_total 0", "chancery_store_exchanges_total ",
			"chancery_store_connections ", "chancery_store_connections_busy ", fmt.Sprintf("chancery_store_connections_max %d", stats.Most))
	} else if strings.Contains(w.Body.String(), "chancery_store_retries_total ") {
		t.Error("bolt retries nothing")
	}
	for _, line := range figures {
		if !strings.Contains(w.Body.String(), "\n"+line) {
			t.Errorf("no line %s in\n%s", line, w.Body)
		}
	}

	// What went wrong is for the log: the page's reader is not always an administrator.
	if err := n.DB.Close(); err != nil {
		t.Fatal(err)
	}
	n.DB = nil
	if w := get(); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), errUnread.Error()) || strings.Contains(w.Body.String(), "closed") {
		t.Errorf("without records: %d %s", w.Code, w.Body)
	}
}
