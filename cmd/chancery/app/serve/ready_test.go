package serve

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Asking often costs nothing: the records are read once a second.
func TestReadyzIsCheap(t *testing.T) {
	n, _ := newNode(t)
	now := time.Now()
	n.Now = func() time.Time { return now }
	s := &Server{node: n}
	ask := func() string {
		w := httptest.NewRecorder()
		s.readyz(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Body.String()
	}
	first := ask()
	if !strings.Contains(first, "no current CRL") { // nobody runs the engine here
		t.Errorf("%q", first)
	}
	if err := n.DB.Close(); err != nil {
		t.Fatal(err)
	}
	n.DB = nil
	if again := ask(); again != first {
		t.Errorf("%q", again)
	}
	now = now.Add(readyFor)
	if later := ask(); !strings.Contains(later, "cannot be read") || strings.Contains(later, "closed") {
		t.Errorf("%q", later)
	}
	s.drain.Store(true)
	if w := ask(); !strings.Contains(w, "stopping") {
		t.Errorf("%q", w)
	}
}
