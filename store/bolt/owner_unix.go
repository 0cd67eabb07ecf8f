//go:build unix

package bolt

import (
	"os"
	"syscall"
)

// sameOwner gives a file the owner and the mode of another.
func sameOwner(path string, as os.FileInfo) error {
	if s, ok := as.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(path, int(s.Uid), int(s.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(path, as.Mode().Perm())
}
