// Package interop runs the real binary with real clients: certbot, lego, a Go
// program, curl, openssl and the chancery command itself. Nothing here drives the
// product but from outside, so that what is shown is what a user sees; the fault
// tests also read its records afterwards, to judge them. "make deps" installs
// the clients; a missing one fails the tests, it does not skip them.
package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"chancery/interop/live"
	"chancery/store/postgres/pgtest"
)

// The binaries under test, built once.
var (
	release string // as it is released
	faulty  string // with -tags faults: can be told to die at a named step
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	for _, client := range []string{"certbot", "lego", "openssl", "curl", "pki", "scepclient", "strace"} {
		if _, err := exec.LookPath(client); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed: run \"make deps\" (Debian), or install it yourself\n", client)
			return 1
		}
	}
	if dir := os.Getenv(binaries); dir != "" {
		release, faulty = filepath.Join(dir, "chancery"), filepath.Join(dir, "chancery-faults")
		return pgtest.Run(m)
	}
	dir, err := os.MkdirTemp("", "chancery-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if release, err = live.Build(dir); err == nil {
		faulty, err = live.Build(dir, "faults")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return pgtest.Run(m)
}

// binaries is the variable with the folder of binaries that are built already,
// for a test that runs itself in another process.
const binaries = "CHANCERY_BINARIES"
