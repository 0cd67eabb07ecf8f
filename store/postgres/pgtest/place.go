package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// prefix begins the names of the folders of clusters.
const prefix = "chancery-pg-"

// base is where the folders are made. It must be short, or a socket in it would
// have too long a name, and open to the user that the server runs as.
func base() string { return "/tmp" }

// program finds a program of PostgreSQL: the newest that the distribution has.
func program(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
		return "", fmt.Errorf("pgtest: no %s in /usr/lib/postgresql/*/bin or PATH: make deps installs it (Debian package postgresql)", name)
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}

// version is the number in /usr/lib/postgresql/N/bin/NAME.
func version(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(bin))))
	return n
}

// servant is whom the server runs as when we are root, which it refuses to be.
func servant() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("pgtest: root may not run a server, and there is nobody else: %w", errors.Join(errs...))
}

// lock holds a folder for as long as this process lives.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// young is how long a folder may be without its lock: while it is being made.
const young = time.Minute

// sweep removes the folders, so old at least, that test processes left which were
// killed. Their servers died with them.
func sweep(age time.Duration) {
	left, _ := filepath.Glob(filepath.Join(base(), prefix+"*"))
	for _, dir := range left {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < age {
			continue
		}
		if f, err := lock(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = f.Close()
		}
	}
}
