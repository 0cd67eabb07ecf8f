package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc, target string) (*httptest.ResponseRecorder, map[string]any, *Access) {
	t.Helper()
	var out bytes.Buffer
	a := Handler(slog.New(slog.NewJSONHandler(&out, nil)), time.Now, "https", h)
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				t.Errorf("panic came through: %v", p)
			}
		}()
		a.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	}()
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 {
		t.Fatalf("%d lines, want 1:\n%s", n, &out)
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	return w, line, a
}

func TestLine(t *testing.T) {
	var seen string
	w, line, a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = RequestID(r.Context())
		Note(r.Context(), "requester", "grant:a")
		Note(r.Context(), "names", 3)
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "hello")
	}, "/x/y?secret=1")
	for key, want := range map[string]any{
		"listener": "https", "method": "GET", "path": "/x/y", "status": 418.0, "bytes": 5.0,
		"requester": "grant:a", "names": 3.0, "request_id": seen, "remote": "192.0.2.1:1234",
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if len(seen) != 16 || w.Header().Get("X-Request-Id") != seen {
		t.Errorf("id %q, header %q", seen, w.Header().Get("X-Request-Id"))
	}
	if s := a.Stats(); s.Class[4] != 1 || s.Running != 0 || s.Bytes != 5 || s.Listener != "https" {
		t.Errorf("stats: %+v", s)
	}
}

func TestAccess_XH020_NothingSecretInTheLine(t *testing.T) {
	_, line, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {}, "/scep?message=TOPSECRET")
	for key, v := range line {
		if s, ok := v.(string); ok && strings.Contains(s, "TOPSECRET") {
			t.Errorf("%s holds the query: %s", key, s)
		}
	}
}

func TestPanicBeforeTheAnswer(t *testing.T) {
	w, line, a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "9999")
		panic("with CANARY inside")
	}, "/")
	body := w.Body.String()
	if w.Code != 500 || strings.Contains(body, "CANARY") || strings.Contains(body, ".go") {
		t.Errorf("%d %s", w.Code, body)
	}
	if id := w.Header().Get("X-Request-Id"); id == "" || !strings.Contains(body, id) || line["request_id"] != id {
		t.Errorf("id %q is not in body and line", id)
	}
	if line["level"] != "ERROR" || !strings.Contains(line["stack"].(string), "access_test.go") || line["panic"] != "with CANARY inside" {
		t.Errorf("line: %v", line)
	}
	if s := a.Stats(); s.Panics != 1 || s.Class[5] != 1 {
		t.Errorf("stats: %+v", s)
	}
}

func TestPanicInTheAnswerCutsIt(t *testing.T) {
	srv := httptest.NewServer(Handler(slog.New(slog.DiscardHandler), time.Now, "http", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic("x")
	})))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("half an answer looked whole")
	}
}

func TestAccess_XH019_Escape(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":      "plain text",
		"a\nb\rc\x1b[31m": `a\nb\rc\x1b[31m`,
		"a\u202eb":        `a\u202eb`,
		"a\u2028b\u200b":  `a\u2028b\u200b`,
		"Zürich 東京":       "Zürich 東京",
		"\xff\xfe":        `\xff\xfe`,
		"nul\x00":         `nul\x00`,
		"tag\U000e0041":   `tag\U000e0041`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
	if got := Escape(strings.Repeat("x", 1<<20)); len(got) > maxText+3 {
		t.Errorf("a megabyte became %d bytes", len(got))
	}
	_, line, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		Note(r.Context(), "error", errors.New("x\u202e\n"))
		Note(r.Context(), "list", []string{"a\n", "b"})
	}, "/a%0ab%E2%80%AE")
	if line["path"] != `/a\nb\u202e` || line["error"] != `x\u202e\n` || line["list"] != `[a\n b]` {
		t.Errorf("line: %v", line)
	}
}

func TestOutsideARequest(t *testing.T) {
	Note(context.Background(), "a", 1)
	if id := RequestID(context.Background()); id != "" {
		t.Error(id)
	}
}

func TestNotesAreBounded(t *testing.T) {
	_, line, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			Note(r.Context(), "n", 1)
		}
	}, "/")
	if len(line) > 12 {
		t.Errorf("%d fields", len(line))
	}
}

func BenchmarkHandler(b *testing.B) {
	a := Handler(slog.New(slog.NewJSONHandler(io.Discard, nil)), time.Now, "https", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Note(r.Context(), "requester", "grant:0123456789")
		w.WriteHeader(204)
	}))
	r := httptest.NewRequest("POST", "/api/v1/requests", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		a.ServeHTTP(w, r)
	}
}
