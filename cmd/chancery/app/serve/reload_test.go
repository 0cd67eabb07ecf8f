package serve

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"chancery/cmd/chancery/app/config"
	"chancery/engine"
)

// However changes overlap, what is in force is what the file says.
func TestOverlappingChanges(t *testing.T) {
	n, _ := newNode(t)
	l, err := listen(config.Listen{HTTPS: "127.0.0.1:0", HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	n.HTTPS = "https://" + l.https.Addr().String()
	s, err := newServer(n, Builtin(), l)
	if err != nil {
		t.Fatal(err)
	}
	var stop context.CancelFunc
	s.base, stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		s.workers.end()
	})
	policy, err := os.ReadFile(n.Dir.Policy())
	if err != nil {
		t.Fatal(err)
	}
	admin := engine.Actor{Person: "alice", Roles: []engine.Role{engine.Admin}}
	var wait sync.WaitGroup
	for i := range 8 {
		doc := strings.Replace(string(policy), "validity: 90d", fmt.Sprintf("validity: %dd", i+2), 1)
		wait.Go(func() {
			if _, _, err := s.Apply(t.Context(), admin, []byte(doc)); err != nil {
				t.Error(err)
			}
		})
		wait.Go(func() {
			if _, _, err := s.Reload(t.Context(), "SIGHUP"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if _, changes, err := s.Reload(t.Context(), "SIGHUP"); err != nil || len(changes) != 0 {
		t.Errorf("the file says something else than what was in force: %q %v", changes, err)
	}
	if now, err := os.ReadFile(n.Dir.Policy()); err != nil || string(now) == string(policy) {
		t.Errorf("no document took the file's place: %v", err)
	}
}
