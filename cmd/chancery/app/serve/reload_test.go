package serve

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"chancery/engine"
)

// However changes overlap, what is in force is what the file says.
func TestOverlappingChanges(t *testing.T) {
	n, _ := newNode(t)
	s := quietServer(t, n)
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
