package native

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chancery/engine"
	"chancery/frontends/native/client"
)

// made is a backup that notes that it was closed.
type made struct {
	io.Reader
	closed bool
}

func (m *made) Close() error { m.closed = true; return nil }

func TestBackupIsSent(t *testing.T) {
	b := newBench(t)
	text := strings.Repeat("0123456789abcdef", backupPiece/8) // more than one piece
	m := &made{Reader: strings.NewReader(text)}
	b.front.d.Backup = func(_ context.Context, a engine.Actor) (io.ReadCloser, int64, error) {
		if a.Person == "" {
			t.Error("nobody asked")
		}
		return m, int64(len(text)), nil
	}
	cert := b.person(engine.Operator)
	w := b.do(b.admin, ask{method: "POST", target: prefix + "/backup", cert: cert})
	if w.Code != 200 || w.Body.String() != text || !m.closed || b.notes["bytes"] != int64(len(text)) {
		t.Errorf("%d, %d octets, closed %t, notes %v", w.Code, w.Body.Len(), m.closed, b.notes)
	}
	b.front.d.Backup = func(context.Context, engine.Actor) (io.ReadCloser, int64, error) { return nil, 0, ErrBusy }
	w = b.do(b.admin, ask{method: "POST", target: prefix + "/backup", cert: cert})
	if p := problemOf(t, w); p.Status != 503 || p.Reason != "busy" || w.Header().Get("Retry-After") == "" {
		t.Errorf("busy: %d %s", w.Code, w.Body)
	}
	b.front.d.Backup = nil
	w = b.do(b.admin, ask{method: "POST", target: prefix + "/backup", cert: cert})
	if p := problemOf(t, w); p.Status != 404 {
		t.Errorf("none: %d %s", w.Code, w.Body)
	}
}

func TestQuarantineIsShownAndReleased(t *testing.T) {
	b := newBench(t)
	cert := b.person(engine.Admin)
	status := func() *quarantineView {
		w := b.do(b.admin, ask{method: "GET", target: prefix + "/status", cert: cert})
		var v statusView
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		return v.Quarantine
	}
	if q := status(); q != nil {
		t.Errorf("%+v", q)
	}
	b.engine.quarantine = &engine.Quarantine{Backup: testNow, By: "rita", Lists: map[string]engine.PublishedList{"cd34": {Number: "7", From: "last.crl"}}}
	q := status()
	if q == nil || q.By != "rita" || len(q.Lists) != 1 || q.Lists[0].Number != "7" || len(q.Unread) != 1 || q.Unread[0] != (unreadView{"main", "ab12"}) {
		t.Errorf("%+v", q)
	}
	if w := b.do(b.admin, ask{method: "POST", target: prefix + "/quarantine/release", cert: cert}); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for err, reason := range map[error]string{engine.ErrQuarantine: "quarantine", engine.ErrNoQuarantine: "no-quarantine"} {
		b.engine.err = err
		w := b.do(b.admin, ask{method: "POST", target: prefix + "/quarantine/release", cert: cert})
		if p := problemOf(t, w); p.Status != 409 || p.Reason != reason || p.Detail == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// Half a backup is an error for the client, whatever the server meant to say.
func TestBackupThatIsCutOff(t *testing.T) {
	sent := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, sent)
	}))
	defer srv.Close()
	c, err := client.New(client.Options{Admin: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, sent = range []string{"0123456789", "012345678", ""} {
		var out strings.Builder
		err := c.Backup(t.Context(), &out)
		if (err == nil) != (len(sent) == 10) || out.String() != sent {
			t.Errorf("%q: %q, %v", sent, out.String(), err)
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", sent, err)
		}
	}
}
