package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settle lets timers and garbage collection come to rest, which no figure of the
// server shows, before memory and CPU are read. There is nothing to wait for but
// time: what is measured next is a server at rest.
func (b *bench) settle() { time.Sleep(b.rest) }

// rssAnon is the memory of a process that no file backs, in megabytes.
func rssAnon(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for l := range bytes.Lines(b) {
		if v, ok := strings.CutPrefix(string(l), "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.Fields(v)[0])
			return float64(kb) * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("no RssAnon for process %d", pid)
}

// allocated is what a file takes on the disk, which is less than its length
// while it has holes.
func allocated(file string) (int64, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512, nil
	}
	return fi.Size(), nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return math.Round(v[len(v)/2]*10) / 10
}
