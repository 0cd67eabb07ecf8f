package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/store"
	"chancery/store/scrub"
)

// scrub reads all records again and again beside serving, until ctx is done.
func (s *Server) scrub(ctx context.Context) {
	n := s.node
	err := scrub.Run(ctx, n.DB, scrub.Options{
		Schemas: node.Schemas(n.Tables), Also: new(engine.Checker).Check, Holder: n.Engine.Process(),
		Now: n.Now, Log: n.Log, Every: time.Duration(n.Settings.Store.Scrub),
	})
	if err != nil && ctx.Err() == nil {
		n.Log.ErrorContext(ctx, "the records are no longer read through", "err", err)
	}
}

// RecordsCheck is the address on the local socket that reads everything at once,
// for chancery store check: no other process can open the file that is served.
const RecordsCheck = "/store/check"

// A RecordsChecked is one line of the answer. The last one says Done.
type RecordsChecked struct {
	Rows     int            `json:"rows"`             // seen so far
	Tables   map[string]int `json:"tables,omitempty"` // documents by table
	Findings []string       `json:"findings,omitempty"`
	Error    string         `json:"error,omitempty"` // why it ended early
	Done     bool           `json:"done,omitempty"`
}

// sayEvery keeps the client of a long check from giving up.
const sayEvery = time.Second

// withRecordsCheck answers RecordsCheck before all else. Only the owner of the
// data directory gets here.
func (s *Server) withRecordsCheck(next http.Handler) http.Handler {
	var one sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != RecordsCheck:
			next.ServeHTTP(w, r)
		case r.Method != http.MethodPost:
			plain(w, http.StatusMethodNotAllowed, "POST starts a check\n")
		case !one.TryLock():
			plain(w, http.StatusConflict, "a check runs already\n")
		default:
			defer one.Unlock()
			s.checkRecords(w, r)
		}
	})
}

func (s *Server) checkRecords(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	say := func(c RecordsChecked) {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // of this line
		if json.NewEncoder(w).Encode(c) == nil {
			_ = control.Flush() // whoever left has ended r's context
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	i := store.Inspector{Schemas: node.Schemas(s.node.Tables), Also: new(engine.Checker).Check}
	var c RecordsChecked
	last := time.Now()
	found, err := i.InspectAll(r.Context(), s.node.DB, func(seen int, _ []store.Finding) {
		if c.Rows += seen; time.Since(last) >= sayEvery {
			last = time.Now()
			say(c)
		}
	})
	c.Tables, c.Done = i.Rows, true
	for _, f := range found {
		c.Findings = append(c.Findings, fmt.Sprintf("%.1000s", f.Error()))
	}
	if err != nil {
		c.Error = err.Error()
	}
	if len(found) > 0 {
		s.node.Log.ErrorContext(r.Context(), "records are damaged", "findings", len(found), "first", c.Findings[0])
	}
	say(c)
}
