//go:build faults

package app

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// clock is the machine's, moved by what the file in CHANCERY_CLOCK says, each
// time that it is asked: a duration such as "-1h", or a time at which it stands
// still. Nothing, or a file that is not there, leaves it alone.
func clock(env func(string) string) func() time.Time {
	file := env("CHANCERY_CLOCK")
	if file == "" {
		return time.Now
	}
	return func() time.Time {
		text, _ := os.ReadFile(file)
		now, word := time.Now(), strings.TrimSpace(string(text))
		if stands, err := time.Parse(time.RFC3339, word); err == nil {
			return stands
		}
		if d, err := time.ParseDuration(word); err == nil {
			return now.Add(d)
		}
		return now
	}
}

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
