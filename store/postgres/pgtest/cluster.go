// Package pgtest gives tests a PostgreSQL server of their own, from the
// distribution's binaries: in a temporary folder, on a Unix socket, with a
// linguistic collation, and gone when the test process is, however it ends. The
// system's own cluster is never touched.
//
// The TestMain of a package that uses it calls Run:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// owner is the superuser of a cluster. It needs no password: only who may enter
// the folder reaches the socket.
const owner = "chancery"

// patience bounds the wait for a server to start or stop.
const patience = 60 * time.Second

// A Cluster is a server that one test, or all of a test binary, uses.
type Cluster struct {
	dir      string // holds data, socket, log and lock
	settings []string
	lock     *os.File
	as       *syscall.Credential // whom the server runs as; nil: as we do

	mu     sync.Mutex
	server *os.Process   // nil while it does not run
	ended  chan struct{} // is closed when it has ended
	names  atomic.Int64
}

// Start starts a cluster for one test, with settings such as "fsync=off" beyond
// the usual ones. It ends with the test.
func Start(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := start(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.destroy)
	return c
}

// start makes a cluster and starts its server.
func start(settings []string) (c *Cluster, err error) {
	sweep(young)
	c = &Cluster{settings: settings}
	if c.dir, err = os.MkdirTemp(base(), prefix); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.destroy()
		}
	}()
	if c.lock, err = lock(c.dir); err != nil {
		return nil, err
	}
	if c.as, err = servant(); err != nil {
		return nil, err
	}
	if c.as != nil {
		if err := os.Chown(c.dir, int(c.as.Uid), int(c.as.Gid)); err != nil {
			return nil, err
		}
	}
	cmd, err := c.command("initdb", "-D", c.data(), "-U", owner, "-E", "UTF8", "--auth=trust", "--no-sync",
		// Not C: an order of keys that is not bytewise must show.
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")
	if err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	return c, c.run()
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }
func (c *Cluster) log() string  { return filepath.Join(c.dir, "log") }

// command makes a command of PostgreSQL, run by whom the server runs as.
func (c *Cluster) command(name string, args ...string) (*exec.Cmd, error) {
	bin, err := program(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	return cmd, nil
}

// run starts the server. The memory of one that was killed may be in use a
// little longer.
func (c *Cluster) run() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		err := c.try()
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") || time.Now().After(deadline) {
			tick.Stop()
			return err
		}
	}
}

// try starts the server and waits until it answers.
func (c *Cluster) try() error {
	if err := os.RemoveAll(c.log()); err != nil {
		return err
	}
	args := []string{"-D", c.data(), "-k", c.dir, "-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=64MB",
		"-c", "log_min_messages=log", "-c", "unix_socket_permissions=0700"}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd, err := c.command("postgres", args...)
	if err != nil {
		return err
	}
	if err := c.spawn(cmd); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		err := c.ping()
		if err == nil {
			tick.Stop()
			return nil
		}
		select {
		case <-c.ended:
			c.server = nil
			return fmt.Errorf("pgtest: the server did not start:\n%s", c.logEnd())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("pgtest: the server does not answer: %w\n%s", err, c.logEnd())
		}
	}
}

// spawn starts the server from a thread that lives as long as this process: the
// server is told to die with it.
func (c *Cluster) spawn(cmd *exec.Cmd) error {
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // for ever: the signal comes when the thread ends
		defer runtime.UnlockOSThread()
		defer close(ended)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	c.server, c.ended = cmd.Process, ended
	return nil
}

func (c *Cluster) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.Address("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (c *Cluster) logEnd() string {
	text, _ := os.ReadFile(c.log())
	return string(text[max(0, len(text)-2000):])
}

// Address is that of a database in the cluster.
func (c *Cluster) Address(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database}
	u.RawQuery = url.Values{"host": {c.dir}, "user": {owner}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// DSN makes an empty database for the test and returns its address. The
// database ends with the test.
func (c *Cluster) DSN(t testing.TB) string {
	t.Helper()
	name := "t" + strconv.FormatInt(c.names.Add(1), 10)
	if err := c.Exec("postgres", "create database "+name+" template template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A cluster that a test has ended has no databases to drop.
		if c.running() {
			_ = c.Exec("postgres", "drop database if exists "+name+" with (force)")
		}
	})
	return c.Address(name)
}

func (c *Cluster) running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server != nil
}

// Exec runs one statement in a database of the cluster, as its superuser.
func (c *Cluster) Exec(database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.Address(database))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// Stop ends the server in order; its connections are cut.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if err := c.end(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

// Restart starts the server after Stop or Kill9, with more settings.
func (c *Cluster) Restart(t testing.TB, settings ...string) {
	t.Helper()
	c.settings = append(c.settings, settings...)
	if err := c.run(); err != nil {
		t.Fatal(err)
	}
}

// Standby makes a server that was stopped a read-only standby when it starts
// again, or a primary.
func (c *Cluster) Standby(t testing.TB, on bool) {
	t.Helper()
	file := filepath.Join(c.data(), "standby.signal")
	if !on {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		return
	}
	err := os.WriteFile(file, nil, 0o600)
	if err == nil && c.as != nil {
		err = os.Chown(file, int(c.as.Uid), int(c.as.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Kill9 kills the server and all its sessions at one moment, as a crash of the
// machine would, but for what the kernel has not written to disk.
func (c *Cluster) Kill9(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	server := c.server
	c.mu.Unlock()
	if server == nil {
		t.Fatal("pgtest: the server does not run")
	}
	_ = server.Signal(syscall.SIGSTOP) // or it would start new children
	for _, pid := range children(server.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := c.end(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// end sends a signal and waits for the server to be gone.
func (c *Cluster) end(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	_ = c.server.Signal(sig)
	select {
	case <-c.ended:
	case <-time.After(patience):
		return fmt.Errorf("pgtest: the server does not end:\n%s", c.logEnd())
	}
	c.server = nil
	return nil
}

// destroy ends the server and removes the folder.
func (c *Cluster) destroy() {
	if c.end(syscall.SIGQUIT) != nil {
		_ = c.end(syscall.SIGKILL)
	}
	_ = os.RemoveAll(c.dir)
	if c.lock != nil {
		_ = c.lock.Close()
	}
}

// children are the processes that a process has started.
func children(pid int) (all []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// Processes are those of the server: to measure what it uses.
func (c *Cluster) Processes() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	return append(children(c.server.Pid), c.server.Pid)
}
