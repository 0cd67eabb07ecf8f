package bolt

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"chancery/store/storetest"
)

// TestFullDisk fills a real file system of 4 MiB, in a process of its own that
// may mount one.
func TestFullDisk(t *testing.T) {
	const inside = "CHANCERY_FULL_DISK"
	if dir := os.Getenv(inside); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Skipf("cannot mount: %v", err)
		}
		defer syscall.Unmount(dir, syscall.MNT_DETACH)
		db, err := Open(filepath.Join(dir, "db"), Options{Fatal: func(err error) { t.Errorf("fatal: %v", err) }}, storetest.Schemas()...)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		fillDisk(t, db)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Skipf("cannot make a process that may mount: %v", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
