package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chancery/frontends/access"
)

func TestMetrics(t *testing.T) {
	n, _ := newNode(t)
	s := &Server{node: n}
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
		"go_memory_heap_bytes ", "go_memory_total_bytes ",
	} {
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
