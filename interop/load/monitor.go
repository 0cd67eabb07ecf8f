package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sample is what /proc says about the server.
type sample struct {
	user, sys float64 // seconds
	rss       int64   // bytes
	anon      int64   // bytes of rss that no file backs: what the process itself holds
	wbytes    int64   // bytes sent to the block layer
}

// monitor watches one or several server processes through /proc.
type monitor struct {
	pids []int
	tree bool
	peak atomic.Int64
	quit chan struct{}
	wg   sync.WaitGroup
}

const clockTick = 100 // USER_HZ on every Linux port Go supports

func newMonitor(pids string, tree bool) *monitor {
	m := &monitor{tree: tree, quit: make(chan struct{})}
	for _, s := range strings.Split(pids, ",") {
		if p, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
			m.pids = append(m.pids, p)
		}
	}
	return m
}

func (m *monitor) on() bool { return len(m.pids) > 0 }

func (m *monitor) start() sample {
	if !m.on() {
		return sample{}
	}
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		t := time.NewTicker(200 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-m.quit:
				return
			case <-t.C:
				m.notePeak(m.read().rss)
			}
		}
	}()
	s := m.read()
	m.notePeak(s.rss)
	return s
}

func (m *monitor) notePeak(v int64) {
	for {
		p := m.peak.Load()
		if v <= p || m.peak.CompareAndSwap(p, v) {
			return
		}
	}
}

func (m *monitor) stop() sample {
	if !m.on() {
		return sample{}
	}
	s := m.read()
	m.notePeak(s.rss)
	close(m.quit)
	m.wg.Wait()
	return s
}

// read sums the processes; with tree, CPU of reaped children counts too.
func (m *monitor) read() sample {
	var t sample
	if !m.on() {
		return t
	}
	pids := m.pids
	if m.tree {
		pids = descendants(m.pids)
	}
	page := int64(os.Getpagesize())
	for _, p := range pids {
		dir := "/proc/" + strconv.Itoa(p)
		if f := statFields(dir); len(f) > 21 {
			t.user += num(f[11]) / clockTick
			t.sys += num(f[12]) / clockTick
			if m.tree {
				t.user += num(f[13]) / clockTick
				t.sys += num(f[14]) / clockTick
			}
			t.rss += int64(num(f[21])) * page
		}
		t.anon += procField(dir+"/status", "RssAnon:") << 10
		if m.tree { // the kernel adds reaped children's I/O to the parent: not usable
			continue
		}
		t.wbytes += procField(dir+"/io", "write_bytes:")
	}
	return t
}

// statFields returns /proc/PID/stat from field 3 (state) on.
func statFields(dir string) []string {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return nil
	}
	s := string(b)
	i := strings.LastIndexByte(s, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(s[i+1:])
}

// procField is the number after a key in a file such as /proc/PID/status, 0 if
// it is not there.
func procField(path, key string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, key); ok {
			if f := strings.Fields(v); len(f) > 0 {
				return int64(num(f[0]))
			}
		}
	}
	return 0
}

func num(s string) float64 { f, _ := strconv.ParseFloat(s, 64); return f }

func descendants(roots []int) []int {
	kids := map[int][]int{}
	ents, _ := os.ReadDir("/proc")
	for _, e := range ents {
		p, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := statFields("/proc/" + e.Name()); len(f) > 1 {
			pp := int(num(f[1]))
			kids[pp] = append(kids[pp], p)
		}
	}
	seen := map[int]bool{}
	var out []int
	var walk func(int)
	walk = func(p int) {
		if seen[p] {
			return
		}
		seen[p] = true
		out = append(out, p)
		for _, k := range kids[p] {
			walk(k)
		}
	}
	for _, r := range roots {
		walk(r)
	}
	return out
}

// diskBytes is the allocated size (like du) of a file or folder.
func diskBytes(path string) int64 {
	var n int64
	_ = filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if fi, err := d.Info(); err == nil {
			n += allocated(fi)
		}
		return nil
	})
	return n
}
