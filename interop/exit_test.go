package interop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// An event is what a webhook receiver is told.
type event struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Serial string `json:"serial"`
}

// A receiver is the other end of a webhook. It refuses what is not signed with
// the shared secret.
type receiver struct {
	url, secret string

	mu     sync.Mutex
	events map[string]event // by id
	bad    []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{secret: "0123456789abcdef0123456789abcdef", events: map[string]event{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if err := r.take(q); err != nil {
			r.mu.Lock()
			r.bad = append(r.bad, err.Error())
			r.mu.Unlock()
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *receiver) take(q *http.Request) error {
	b, err := io.ReadAll(q.Body)
	if err != nil {
		return err
	}
	at, sig, _ := strings.Cut(q.Header.Get("Chancery-Signature"), ",v1=")
	mac := hmac.New(sha256.New, []byte(r.secret))
	fmt.Fprintf(mac, "%s.%s", strings.TrimPrefix(at, "t="), b)
	if sig != hex.EncodeToString(mac.Sum(nil)) {
		return fmt.Errorf("signature %q does not fit", q.Header.Get("Chancery-Signature"))
	}
	var ev event
	if err := json.Unmarshal(b, &ev); err != nil || ev.ID == "" || ev.ID != q.Header.Get("Idempotency-Key") {
		return fmt.Errorf("event %.300s: %v", b, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events[ev.ID] = ev
	return nil
}

// serials are those that events of a kind were about.
func (r *receiver) serials(kind string) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := map[string]int{}
	for _, ev := range r.events {
		if ev.Kind == kind {
			n[ev.Serial]++
		}
	}
	return n
}

// check fails the test if something was posted that is no event.
func (r *receiver) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bad {
		t.Errorf("the webhook got something bad: %s", b)
	}
}

// tell adds the receiver to the exits of the policy document.
func (c *ca) tell(r *receiver) {
	write(c.t, filepath.Join(c.data, "webhook.secret"), r.secret)
	c.editPolicy(func(doc map[string]any) {
		exits, _ := doc["exit"].([]any)
		doc["exit"] = append(exits, map[string]any{"webhook": map[string]any{"url": r.url, "secret_file": "webhook.secret"}})
	})
}

// journal are the serial numbers of the certificates that the file exit's
// journal says are issued, and holds.
func (c *ca) journal() map[string]bool {
	c.t.Helper()
	days, err := filepath.Glob(filepath.Join(c.data, "issued", "*.jsonl"))
	must(c.t, err)
	all := map[string]bool{}
	for _, day := range days {
		for text := range strings.Lines(read(c.t, day)) {
			var line struct {
				event
				Certificate string `json:"certificate"`
			}
			if json.Unmarshal([]byte(text), &line) != nil || line.Kind != "issued" {
				continue // a crash may cut a line short; its event comes again
			}
			if got := strings.ToLower(serialOf(certsOf(c.t, line.Certificate)[0])); normalSerial(got) != normalSerial(line.Serial) {
				c.t.Errorf("the journal has %s with the certificate %s", line.Serial, got)
			}
			all[normalSerial(line.Serial)] = true
		}
	}
	return all
}
