package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// cmdStartup starts a server several times and times its first answer.
func cmdStartup(args []string) error {
	var o common
	fs := flag.NewFlagSet("startup", flag.ExitOnError)
	o.register(fs)
	u := fs.String("url", "", "URL polled until any HTTP answer comes")
	reps := fs.Int("reps", 3, "starts; the median is reported")
	settle := fs.Duration("settle", time.Second, "wait before reading the idle memory")
	_ = fs.Parse(args)
	if *u == "" || fs.NArg() == 0 {
		return errors.New("usage: load startup -url URL -- command args")
	}
	var st httpStats
	cl, err := o.newClient(&st)
	if err != nil {
		return err
	}
	var ms, anon, cpu []float64
	for range *reps {
		cmd := exec.Command(fs.Arg(0), fs.Args()[1:]...)
		cmd.Stderr = os.Stderr
		t0 := time.Now()
		if err := cmd.Start(); err != nil {
			return err
		}
		ok := false
		for time.Since(t0) < o.timeout {
			resp, err := cl.Get(*u)
			if err == nil {
				_ = resp.Body.Close()
				ok = true
				break
			}
			time.Sleep(time.Millisecond)
		}
		el := time.Since(t0)
		time.Sleep(*settle)
		s := newMonitor(strconv.Itoa(cmd.Process.Pid), true).read()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if c, isTr := cl.Transport.(*http.Transport); isTr {
			c.CloseIdleConnections()
		}
		if !ok {
			return fmt.Errorf("no answer from %s within %s", *u, o.timeout)
		}
		ms, anon, cpu = append(ms, float64(el.Microseconds())/1e3), append(anon, float64(s.anon)/1e6), append(cpu, (s.user+s.sys)*1e3)
	}
	med := func(v []float64) float64 { slices.Sort(v); return round(v[len(v)/2], 1) }
	b, err := json.Marshal(map[string]any{"cmd": "startup", "label": o.label, "reps": *reps, "first_answer_ms": med(ms), "idle_rss_anon_mb": med(anon), "cpu_ms": med(cpu)})
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	return nil
}
