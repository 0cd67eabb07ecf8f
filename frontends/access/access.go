// Package access stands in front of every listener: it gives each request an
// identifier, writes one line to the log when the request is done, turns a
// panic into an answer, and counts.
//
// The line never holds a query string, a header or a body: those may carry
// secrets. What a frontend wants people to find in the line it adds with
// [Note].
package access

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// An Access is the handler that [Handler] makes.
type Access struct {
	log      *slog.Logger
	now      func() time.Time
	listener string
	next     http.Handler

	running atomic.Int64
	panics  atomic.Uint64
	bytes   atomic.Uint64
	micros  atomic.Uint64
	classes [6]atomic.Uint64 // by the first digit of the status; 0 is unused
}

// Handler wraps next. The listener's name is in every line and in [Stats].
func Handler(log *slog.Logger, now func() time.Time, listener string, next http.Handler) *Access {
	return &Access{log: log.With("listener", listener), now: now, listener: listener, next: next}
}

// Stats are an Access's counters since it was made.
type Stats struct {
	Listener string
	Running  int64     // requests that are not done yet
	Class    [6]uint64 // answers by the first digit of their status: Class[2] counts 200 to 299
	Panics   uint64
	Bytes    uint64        // of answers' bodies
	Busy     time.Duration // all requests' durations together
}

// Stats reads the counters.
func (a *Access) Stats() Stats {
	s := Stats{
		Listener: a.listener,
		Running:  a.running.Load(),
		Panics:   a.panics.Load(),
		Bytes:    a.bytes.Load(),
		Busy:     time.Duration(a.micros.Load()) * time.Microsecond,
	}
	for i := range a.classes {
		s.Class[i] = a.classes[i].Load()
	}
	return s
}

// ServeHTTP serves one request.
func (a *Access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &entry{w: w, id: newID()}
	start := a.now()
	a.running.Add(1)
	// Set before the handler runs, so that it can put the identifier into its
	// own error bodies. An identifier that the client sends is not used: it
	// would let the client write another request's into the log.
	w.Header().Set("X-Request-Id", e.id)
	defer a.done(e, r, start)
	a.next.ServeHTTP(e, r.WithContext(context.WithValue(r.Context(), entryKey{}, e)))
}

// done is deferred, so that it sees the panic.
func (a *Access) done(e *entry, r *http.Request, start time.Time) {
	p := recover()
	aborted := p == http.ErrAbortHandler
	var stack []byte
	if p != nil && !aborted {
		stack = debug.Stack()
		a.panics.Add(1)
		if e.status == 0 {
			e.sorry()
		} else {
			aborted = true // half an answer must not look like a whole one
		}
	}
	if e.status == 0 {
		e.status = http.StatusOK // net/http writes it when the handler wrote nothing
	}
	took := a.now().Sub(start)
	a.count(e, took)
	a.line(e, r, took, p, stack)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

func (a *Access) count(e *entry, took time.Duration) {
	a.running.Add(-1)
	a.bytes.Add(uint64(e.bytes))
	a.micros.Add(uint64(max(0, took.Microseconds())))
	if class := e.status / 100; class >= 1 && class <= 5 {
		a.classes[class].Add(1)
	}
}

func (a *Access) line(e *entry, r *http.Request, took time.Duration, p any, stack []byte) {
	level := slog.LevelInfo
	switch {
	case p != nil && p != http.ErrAbortHandler:
		level = slog.LevelError
	case e.status >= 500:
		level = slog.LevelWarn
	}
	ctx := r.Context()
	if !a.log.Enabled(ctx, level) {
		return
	}
	var room [16]slog.Attr // on the stack: most lines need no more
	attrs := append(room[:0],
		slog.String("method", Escape(r.Method)),
		slog.String("path", Escape(r.URL.Path)),
		slog.Int("status", e.status),
		slog.Int64("bytes", e.bytes),
		slog.Duration("duration", took),
		slog.String("remote", r.RemoteAddr),
		slog.String("request_id", e.id))
	if p != nil {
		attrs = append(attrs, slog.Any("panic", plain(p)))
	}
	if stack != nil {
		attrs = append(attrs, slog.String("stack", string(stack)))
	}
	e.mu.Lock()
	attrs = append(attrs, e.notes...)
	e.mu.Unlock()
	a.log.LogAttrs(ctx, level, "request", attrs...)
}

type entryKey struct{}

// An entry is what is known about a request under way. It is not reused: work
// that outlives the request may still hold its context.
type entry struct {
	w      http.ResponseWriter
	id     string
	status int
	bytes  int64

	mu    sync.Mutex
	notes []slog.Attr
}

// Note adds a field to the request's line in the log. The value must not be
// secret. Outside a request it does nothing.
func Note(ctx context.Context, key string, value any) {
	e, ok := ctx.Value(entryKey{}).(*entry)
	if !ok {
		return
	}
	attr := slog.Attr{Key: key, Value: plain(value)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.notes) < maxNotes {
		e.notes = append(e.notes, attr)
	}
}

// maxNotes bounds a line, whatever loops over Note.
const maxNotes = 32

// RequestID returns the identifier of the request, or "" outside one.
func RequestID(ctx context.Context) string {
	if e, ok := ctx.Value(entryKey{}).(*entry); ok {
		return e.id
	}
	return ""
}

// newID makes an identifier that will not repeat. It is a label and nobody's
// secret, so the cheap generator is enough.
func newID() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	return hex.EncodeToString(b[:])
}

// sorry answers a request whose handler panicked before it wrote anything.
func (e *entry) sorry() {
	h := e.w.Header()
	clear(h) // what the handler set describes an answer that will not come
	h.Set("X-Request-Id", e.id)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	body := `{"type":"about:blank","title":"Internal Server Error","status":500,` +
		`"detail":"The server failed. Try again, and give the operator this request_id if it happens again.","request_id":"` + e.id + `"}` + "\n"
	h.Set("Content-Length", strconv.Itoa(len(body)))
	e.WriteHeader(http.StatusInternalServerError)
	io.WriteString(e, body)
}

// Header is of http.ResponseWriter.
func (e *entry) Header() http.Header { return e.w.Header() }

// WriteHeader is of http.ResponseWriter.
func (e *entry) WriteHeader(status int) {
	if e.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		e.status = status
	}
	e.w.WriteHeader(status)
}

// Write is of http.ResponseWriter.
func (e *entry) Write(b []byte) (int, error) {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	n, err := e.w.Write(b)
	e.bytes += int64(n)
	return n, err
}

// Flush is of http.Flusher.
func (e *entry) Flush() { _ = http.NewResponseController(e.w).Flush() }

// Unwrap lets http.ResponseController reach the connection.
func (e *entry) Unwrap() http.ResponseWriter { return e.w }
