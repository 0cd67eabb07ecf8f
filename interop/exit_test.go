package interop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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

// taken are the events that came, by id.
func (r *receiver) taken() map[string]event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.events)
}

// serials counts the events of a kind by the serial number that they are about.
func serials(events map[string]event, kind string) map[string]int {
	n := map[string]int{}
	for _, ev := range events {
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

// tell adds the receiver to the exits of the policy document, and has the file
// exit write each certificate to a file of its own too.
func (c *ca) tell(r *receiver) {
	write(c.t, filepath.Join(c.data, "webhook.secret"), r.secret)
	c.editPolicy(func(doc map[string]any) {
		doc["exit"] = []any{
			map[string]any{"file": map[string]any{"path": "issued", "certificates": true}},
			map[string]any{"webhook": map[string]any{"url": r.url, "secret_file": "webhook.secret"}},
		}
	})
}

// issuedFiles are the serial numbers of the certificates that have a file in
// the file exit's folder.
func (c *ca) issuedFiles() map[string]bool {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.data, "issued", "??", "*.pem"))
	must(c.t, err)
	all := map[string]bool{}
	for _, file := range files {
		_, serial, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".pem"), "-")
		all[serial] = true
	}
	return all
}

// journal are the events that the file exit wrote down, by id. As its readers
// are told to, it skips what a crash left of a line.
func (c *ca) journal() map[string]event {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.data, "issued", "*.jsonl"))
	must(c.t, err)
	all := map[string]event{}
	for _, file := range files {
		for line := range strings.Lines(read(c.t, file)) {
			var ev struct {
				event
				Certificate string `json:"certificate"`
			}
			if json.Unmarshal([]byte(line), &ev) != nil || ev.ID == "" {
				continue
			}
			all[ev.ID] = ev.event
			if ev.Kind == "issued" {
				if got := serialOf(certsOf(c.t, ev.Certificate)[0]); normalSerial(got) != normalSerial(ev.Serial) {
					c.t.Errorf("the journal has %s with the certificate %s", ev.Serial, got)
				}
			}
		}
	}
	return all
}
