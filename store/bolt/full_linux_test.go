package bolt

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"chancery/store"
	"chancery/store/storetest"
)

// TestFullDisk fills a real file system of 4 MiB, in a process of its own that
// may mount one.
func TestFullDisk(t *testing.T) {
	const inside = "CHANCERY_FULL_DISK"
	if dir := os.Getenv(inside); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Fatalf("cannot mount: %v", err)
		}
		defer syscall.Unmount(dir, syscall.MNT_DETACH)
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(filepath.Join(dir, "db"), Options{Fatal: func(err error) { t.Errorf("fatal: %v", err) }}, storetest.Schemas()...)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		fillDisk(t, db, func() error { return os.Remove(ballast) })
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 { // root may mount as it is
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Fatalf("cannot make a process that may mount: %v", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// fillDisk writes until there is no room, and checks that the store lives on
// when there is again.
func fillDisk(t *testing.T, db *DB, makeRoom func() error) {
	t.Helper()
	n := 0
	for ; ; n++ {
		err := put(db, strconv.Itoa(n), 100<<10)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil || n > 1000 {
			t.Fatalf("after %d writes: %v", n, err)
		}
	}
	check := func(n int) {
		t.Helper()
		if err := db.View(t.Context(), func(tx store.Tx) error {
			got := 0
			for _, err := range tx.Scan(raw, "", "") {
				if err != nil {
					return err
				}
				got++
			}
			if got != n {
				t.Errorf("%d documents, want %d", got, n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	check(n)
	if err := put(db, "again", 1<<20); !errors.Is(err, ErrFull) {
		t.Errorf("another Update = %v, want that the disk is full", err)
	}
	if err := makeRoom(); err != nil {
		t.Fatal(err)
	}
	if err := put(db, "small", 500<<10); err != nil {
		t.Errorf("Update when there is room again = %v", err)
	}
	check(n + 1)
}
