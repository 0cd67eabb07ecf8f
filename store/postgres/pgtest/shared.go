package pgtest

import (
	"sync"
	"testing"
)

// shared is the cluster of this test binary, started when the first test asks.
var shared struct {
	sync.Mutex
	c   *Cluster
	err error
}

// Run runs the tests of a binary and ends the cluster that they shared. It
// returns the exit code.
func Run(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.c != nil {
			shared.c.destroy()
			shared.c = nil
		}
	}()
	return m.Run()
}

// DSN makes an empty database for the test, in the cluster that the tests of
// this binary share, and returns its address.
func DSN(t testing.TB) string {
	t.Helper()
	return Shared(t).DSN(t)
}

// Shared is the cluster that the tests of this binary share.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.c == nil && shared.err == nil {
		shared.c, shared.err = start(nil)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.c
}
