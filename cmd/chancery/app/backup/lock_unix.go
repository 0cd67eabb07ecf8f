//go:build unix

package backup

import (
	"errors"
	"os"
	"syscall"
)

// noFollow has a file not opened through a link.
const noFollow = syscall.O_NOFOLLOW

// lock takes a file for this process, and reports false when another has it. It
// is given back when the file is closed, however the process ends.
func lock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
