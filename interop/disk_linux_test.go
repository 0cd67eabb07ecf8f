package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/interop/live"
)

// inNamespace runs the test that calls it once more, in a process that may
// mount, and reports whether it is that process.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const inside = "CHANCERY_NAMESPACE"
	if os.Getenv(inside) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1", binaries+"="+filepath.Dir(release))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	must(t, err)
	return false
}

// onSmallDisk puts the data directory of an installation that does not run on a
// file system of its own, with so much room left.
func (x *crash) onSmallDisk(room int) (disk string) {
	x.t.Helper()
	must(x.t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")) // or other processes would see it
	disk = filepath.Join(x.dir, "disk")
	must(x.t, os.Mkdir(disk, 0o700))
	must(x.t, syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", 64<<20)))
	x.t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	if out, err := exec.Command("cp", "-a", x.data, disk).CombinedOutput(); err != nil {
		x.t.Fatalf("%v\n%s", err, out)
	}
	x.data = filepath.Join(disk, "data")
	fillDisk(x.t, disk, room)
	return disk
}

func ballast(disk string) string { return filepath.Join(disk, "ballast") }

// fillDisk leaves so many octets free.
func fillDisk(t *testing.T, disk string, room int) {
	t.Helper()
	var s syscall.Statfs_t
	must(t, syscall.Statfs(disk, &s))
	free := int64(s.Bfree) * s.Bsize
	f, err := os.OpenFile(ballast(disk), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	defer f.Close()
	if n := free - int64(room); n > 0 {
		_, err = f.Write(make([]byte, n))
		must(t, err)
	}
}

// A disk that is full: requests are told to try again and nothing is lost; with
// room again everything goes on without anybody's help, in the same process. The
// same holds when the server is killed while the disk is full.
func TestXD_004_DiskFull(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	x := newCrash(t, boltRecords{t})
	x.ops = append(nativeOps(x), acmeOps(x)...)
	disk := x.onSmallDisk(3 << 20)
	x.start()
	x.untilFull()
	x.makeRoom(disk)
	x.finish("there is room again")
	x.stop()
	x.inspect("a full disk")

	fillDisk(t, disk, 2<<20)
	x.start()
	x.untilFull()
	must(t, x.Kill())
	x.inspect("SIGKILL on a full disk")
	x.makeRoom(disk)
	x.start()
	x.finish("started with room")
	x.stop()
	x.check()
}

func (x *crash) makeRoom(disk string) { must(x.t, os.Truncate(ballast(disk), 0)) }

// finish has every worker finish what it is at, and one more; so the fault must
// be over.
func (x *crash) finish(when string) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		x.work(ctx, func() bool { return true })
	}
	if ctx.Err() != nil {
		x.t.Fatalf("%s, and not everything goes on within a minute\n%s", when, tail(x.Log()))
	}
}

// untilFull works until the server has met the end of the disk a few times.
func (x *crash) untilFull() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	const word, times = "the disk is full", 20
	go func() {
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for strings.Count(x.Log(), word) < times {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
		}
		cancel() // ends the work
	}()
	x.work(ctx, func() bool { return false })
	if n := strings.Count(x.Log(), word); n < times {
		x.t.Fatalf("the log says %d times that %s\n%s", n, word, tail(x.Log()))
	}
}

// inject makes system calls of the server fail: see "strace -e inject".
func inject(what string) []string {
	return []string{"strace", "-D", "-f", "-qq", "-e", "trace=" + strings.SplitN(what, ":", 2)[0], "-e", "signal=none", "-o", "/dev/null", "-e", "inject=" + what}
}

// After an fsync or write that the disk refused the process ends, says why, and
// touches the file no more; the next start has all that was acknowledged.
func TestXD_005_DiskFails(t *testing.T) {
	t.Parallel()
	when := []int{2, 60}
	if long() {
		when = []int{1, 2, 3, 4, 5, 8, 13, 21, 34, 55, 89}
	}
	x := newCrash(t, boltRecords{t})
	x.ops = append(nativeOps(x)[:2], acmeOps(x)[:2]...)
	for _, what := range []string{"fdatasync:error=EIO", "fdatasync:error=ENOSPC", "pwrite64:error=EIO"} {
		for _, n := range when {
			x.failing(fmt.Sprintf("%s:when=%d", what, n))
		}
	}
	x.check() // by a server whose disk works
}

// failing is one life of a server whose disk fails, and a look at what it left.
func (x *crash) failing(what string) {
	x.t.Helper()
	set := x.settings()
	set.Under = inject(what)
	s, err := live.Start(set)
	if s == nil {
		x.t.Fatal(err)
	}
	x.Server = s
	x.t.Cleanup(func() { _ = s.Kill() })
	ctx, cancel := context.WithTimeout(x.t.Context(), 30*time.Second)
	defer cancel()
	if err == nil {
		x.work(ctx, func() bool { return false })
	}
	select {
	case <-x.Done():
	case <-ctx.Done():
		x.t.Errorf("%s: still running\n%s", what, tail(x.Log()))
		must(x.t, x.Kill())
		return
	}
	var exit *exec.ExitError
	if !errors.As(x.Err(), &exit) || exit.ExitCode() != 1 {
		x.t.Errorf("%s: ended with %v\n%s", what, x.Err(), tail(x.Log()))
	}
	x.checkLog()
	x.inspect(what)
}
