package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVariable, in the environment, makes the test binary one that starts a
// cluster and waits to be killed.
const childVariable = "CHANCERY_PGTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		c, err := start(nil)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(c.dir, c.server.Pid)
		select {} // until the test kills us
	}
	os.Exit(Run(m))
}

// TestKilled kills a test process that has a cluster: its server ends by itself,
// and the next cluster removes its folder.
func TestKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	var pid int
	if _, err := fmt.Fscan(out, &dir, &pid); err != nil || !strings.HasPrefix(dir, base()+"/"+prefix) {
		t.Fatalf("the child says %q, %v", dir, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the server %d outlives the process that started it", pid)
		}
	}
	sweep(0)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s was left: %v", dir, err)
	}
}

// TestRestart checks that what was committed is there after a crash.
func TestRestart(t *testing.T) {
	c := Start(t)
	if err := c.Exec("postgres", "create table t as select 1 as n"); err != nil {
		t.Fatal(err)
	}
	c.Kill9(t)
	if err := c.Exec("postgres", "select 1"); err == nil {
		t.Error("a killed server answers")
	}
	c.Restart(t)
	if err := c.Exec("postgres", "select n from t"); err != nil {
		t.Error(err)
	}
}

// TestDatabases checks that tests do not see each other's databases.
func TestDatabases(t *testing.T) {
	a, b := DSN(t), DSN(t)
	if a == b {
		t.Errorf("two tests have %s", a)
	}
}

// TestProgram checks what a program does that is no test: it starts a cluster,
// finds its process, counts transactions, and leaves nothing behind.
func TestProgram(t *testing.T) {
	c, err := New("shared_buffers=32MB")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	name, err := c.Create()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := c.Create(); err != nil || other == name {
		t.Errorf("a second database: %q, %v", other, err)
	}
	before, undone, err := c.Transactions(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec(name, "create table t as select 1 as n"), c.Exec(name, "begin; select n from t; rollback")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; { // a session that ends has said what it did
		after, undoneAfter, err := c.Transactions(name)
		if err != nil {
			t.Fatal(err)
		}
		if after > before && undoneAfter > undone {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d committed and %d rolled back before, %d and %d after", before, undone, after, undoneAfter)
		}
	}
	pid := c.PID()
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || strings.TrimSpace(string(text)) != "postgres" {
		t.Errorf("process %d is %q, %v", pid, text, err)
	}
	c.Close()
	if _, err := os.Stat(c.dir); !os.IsNotExist(err) || c.PID() != 0 {
		t.Errorf("after Close: %v, process %d", err, c.PID())
	}
}
