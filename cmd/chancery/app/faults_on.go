//go:build faults

package app

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// faults kills the process at the N-th time that the step of CHANCERY_FAULT,
// which is "step:N", is reached: as a power cut would, without any farewell.
func faults(env func(string) string) func(step string) {
	want, count, ok := strings.Cut(env("CHANCERY_FAULT"), ":")
	if want == "" {
		return nil
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil || n < 1 {
		fmt.Fprintln(os.Stderr, `CHANCERY_FAULT must be "step:N"`)
		os.Exit(2)
	}
	var passed atomic.Int64
	return func(step string) {
		if step == want && passed.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal arrives
		}
	}
}
