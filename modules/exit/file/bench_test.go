//go:build unix

package file

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"

	"chancery/engine"
)

// BenchmarkTellAll shows what an event costs: time with the disk, and processor
// time of the process, its system calls included.
func BenchmarkTellAll(b *testing.B) {
	for _, certificates := range []bool{false, true} {
		for _, n := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("certificates=%t/%d", certificates, n), func(b *testing.B) {
				x := newExit(b, b.TempDir(), certificates)
				all := make([]engine.Event, n)
				before := processorTime(b)
				for i := 0; b.Loop(); i++ {
					for k := range all {
						all[k] = issued(fmt.Sprintf("1%012x", i*n+k), bytes.Repeat([]byte{0x42}, 700))
						all[k].At = noon
					}
					if err := x.TellAll(b.Context(), all); err != nil {
						b.Fatal(err)
					}
				}
				events := float64(b.N * n)
				b.ReportMetric(float64(processorTime(b)-before)/1e3/events, "cpu-us/event")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/events, "us/event")
			})
		}
	}
}

func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
