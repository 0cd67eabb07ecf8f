package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// common holds the flags every subcommand shares.
type common struct {
	n, c       int
	warmup     int
	maxSecs    float64
	pid        string
	tree       bool
	ca         string
	insecure   bool
	cert, key  string
	h2         bool
	newConn    bool
	resume     bool
	verifyEach int
	keyAlg     string
	keys       int
	label      string
	timeout    time.Duration
	dbPath     string
	rampEvery  int
	save       string
	saved      sync.Once
}

func (o *common) register(fs *flag.FlagSet) {
	fs.IntVar(&o.n, "n", 1000, "measured operations")
	fs.IntVar(&o.c, "c", 8, "concurrent workers")
	fs.IntVar(&o.warmup, "warmup", 0, "operations run before measuring (not counted)")
	fs.Float64Var(&o.maxSecs, "max-seconds", 120, "stop early after this long")
	fs.StringVar(&o.pid, "pid", "", "server PID, or several separated by commas: report CPU, RSS, disk writes")
	fs.BoolVar(&o.tree, "tree", false, "with -pid: add all descendants of each PID (PostgreSQL, forking servers)")
	fs.StringVar(&o.ca, "ca", "", "PEM bundle of TLS roots to trust")
	fs.BoolVar(&o.insecure, "insecure", false, "do not verify the server's TLS certificate")
	fs.StringVar(&o.cert, "cert", "", "client certificate PEM (mTLS); for ocsp: the certificate to ask about")
	fs.StringVar(&o.key, "key", "", "client key PEM (mTLS)")
	fs.BoolVar(&o.h2, "h2", false, "offer HTTP/2 (default: HTTP/1.1 keep-alive)")
	fs.BoolVar(&o.newConn, "newconn", false, "open a new connection for each HTTP request")
	fs.BoolVar(&o.resume, "resume", false, "with -newconn: allow TLS session resumption")
	fs.IntVar(&o.verifyEach, "verify-every", 10, "fully verify every k-th result (1 = all)")
	fs.StringVar(&o.keyAlg, "keyalg", "ec256", "subscriber keys: ec256 or rsa2048")
	fs.IntVar(&o.keys, "keys", 64, "size of the pre-generated subscriber key pool (ec256; rsa pools are capped at 16)")
	fs.StringVar(&o.label, "label", "", "copied into the output")
	fs.DurationVar(&o.timeout, "timeout", 30*time.Second, "limit for one operation")
	fs.StringVar(&o.dbPath, "db", "", "server database path: report disk bytes before and after")
	fs.StringVar(&o.save, "save", "", "write the first verified certificate and its key to PREFIX.crt and PREFIX.key (for -cert/-key of a renewal run)")
	fs.IntVar(&o.rampEvery, "ramp", 0, "also report rate and server CPU for each block of this many operations")
}

// httpStats counts requests on the wire.
type httpStats struct{ reqs, conns atomic.Int64 }

// newClient builds one HTTP client with the options.
func (o *common) newClient(st *httpStats) (*http.Client, error) {
	tc := &tls.Config{InsecureSkipVerify: o.insecure}
	if o.ca != "" {
		b, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("no certificates in %s", o.ca)
		}
	}
	if o.cert != "" && o.key != "" {
		kp, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, err
		}
		tc.Certificates = []tls.Certificate{kp}
	}
	if o.resume {
		tc.ClientSessionCache = tls.NewLRUClientSessionCache(1024)
	}
	d := &net.Dialer{Timeout: 10 * time.Second}
	tr := &http.Transport{
		TLSClientConfig: tc,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			st.conns.Add(1)
			return d.DialContext(ctx, network, addr)
		},
		MaxIdleConns:        4096,
		MaxIdleConnsPerHost: 4096,
		DisableKeepAlives:   o.newConn,
		DisableCompression:  true,
		ForceAttemptHTTP2:   o.h2,
		WriteBufferSize:     16 << 10,
		ReadBufferSize:      16 << 10,
	}
	return &http.Client{Transport: tr, Timeout: o.timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, nil
}

// do sends one request and reads the whole answer.
func (st *httpStats) do(cl *http.Client, req *http.Request) (*http.Response, []byte, error) {
	st.reqs.Add(1)
	resp, err := cl.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return resp, b, err
}

func snippet(b []byte) string {
	s := strings.Join(strings.Fields(string(b)), " ")
	if len(s) > 500 {
		s = s[:500]
	}
	return s
}

// ramp is one block of the growth curve.
type ramp struct {
	Done     int     `json:"done"`
	Rate     float64 `json:"rate"`
	ServerMS float64 `json:"server_cpu_ms_per_op,omitempty"`
	RSSMB    float64 `json:"rss_mb,omitempty"`
	DiskB    int64   `json:"disk_bytes,omitempty"`
}

// result is the JSON line.
type result struct {
	Cmd         string  `json:"cmd"`
	Label       string  `json:"label,omitempty"`
	N           int     `json:"n"`
	C           int     `json:"c"`
	Errors      int     `json:"errors"`
	Seconds     float64 `json:"seconds"`
	Rate        float64 `json:"rate"`
	P50         float64 `json:"p50_ms"`
	P90         float64 `json:"p90_ms"`
	P99         float64 `json:"p99_ms"`
	Max         float64 `json:"max_ms"`
	ReqsPerOp   float64 `json:"http_requests_per_op"`
	Conns       int64   `json:"connections"`
	Retries     int64   `json:"retries,omitempty"`
	Verified    int64   `json:"verified"`
	ClientMS    float64 `json:"client_cpu_ms_per_op"`
	ServerMS    float64 `json:"server_cpu_ms_per_op,omitempty"`
	ServerUser  float64 `json:"server_user_ms_per_op,omitempty"`
	ServerSys   float64 `json:"server_sys_ms_per_op,omitempty"`
	OpsPerCPU   float64 `json:"ops_per_server_cpu_second,omitempty"`
	RSSStart    float64 `json:"rss_start_mb,omitempty"`
	RSSPeak     float64 `json:"rss_peak_mb,omitempty"`
	RSSEnd      float64 `json:"rss_end_mb,omitempty"`
	AnonStart   float64 `json:"rss_anon_start_mb,omitempty"`
	AnonEnd     float64 `json:"rss_anon_end_mb,omitempty"`
	WritePerOp  float64 `json:"write_bytes_per_op,omitempty"`
	DiskStart   int64   `json:"disk_start_bytes,omitempty"`
	DiskEnd     int64   `json:"disk_end_bytes,omitempty"`
	DiskPerOp   float64 `json:"disk_bytes_per_op,omitempty"`
	CalibUS     float64 `json:"calib_p256_sign_us"`
	ServerUnits float64 `json:"server_cpu_in_p256_signs,omitempty"`
	SetupMS     float64 `json:"account_setup_ms,omitempty"`
	FirstErr    string  `json:"first_error,omitempty"`
	Ramp        []ramp  `json:"ramp,omitempty"`
	Interrupted bool    `json:"stopped_early,omitempty"`
}

// run drives op(i) from o.c workers. op reports whether it fully verified the
// result. Operations 0..warmup-1 are not measured.
func (o *common) run(cmd string, st *httpStats, op func(ctx context.Context, worker, i int) (verified bool, err error)) *result {
	r := &result{Cmd: cmd, Label: o.label, C: o.c}
	pool := func(from, to int, stop time.Time, lat []float64, onDone func(done int)) (done int) {
		var next atomic.Int64
		next.Store(int64(from))
		var mu sync.Mutex
		var wg sync.WaitGroup
		for w := range o.c {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for {
					i := int(next.Add(1)) - 1
					if i >= to {
						return
					}
					if time.Now().After(stop) {
						mu.Lock()
						r.Interrupted = true
						mu.Unlock()
						return
					}
					ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
					t0 := time.Now()
					v, err := op(ctx, w, i)
					d := time.Since(t0)
					cancel()
					mu.Lock()
					if err != nil {
						r.Errors++
						if r.FirstErr == "" {
							r.FirstErr = err.Error()
						}
						if r.Errors > 50 && r.Errors > done*2 {
							next.Store(int64(to)) // hopeless: stop
						}
					}
					if v {
						r.Verified++
					}
					if lat != nil && err == nil {
						lat[done] = float64(d.Nanoseconds()) / 1e6
						done++
						if onDone != nil {
							onDone(done)
						}
					} else if err == nil {
						done++
					}
					mu.Unlock()
				}
			}()
		}
		wg.Wait()
		return done
	}
	stop := time.Now().Add(time.Duration(o.maxSecs * float64(time.Second)))
	if o.warmup > 0 {
		pool(0, o.warmup, stop, nil, nil)
		r.Errors, r.Verified, r.FirstErr = 0, 0, ""
	}
	mon := newMonitor(o.pid, o.tree)
	if o.dbPath != "" {
		r.DiskStart = diskBytes(o.dbPath)
	}
	req0, con0 := st.reqs.Load(), st.conns.Load()
	lat := make([]float64, o.n)
	cal := startCalibrator()
	s0, c0, t0 := mon.start(), selfCPU(), time.Now()
	var onDone func(int)
	if o.rampEvery > 0 {
		lastS, lastT := s0, t0
		onDone = func(done int) {
			if done%o.rampEvery != 0 {
				return
			}
			s, t := mon.read(), time.Now()
			k := ramp{Done: done, Rate: round(float64(o.rampEvery)/t.Sub(lastT).Seconds(), 1)}
			if mon.on() {
				k.ServerMS = round((s.user+s.sys-lastS.user-lastS.sys)*1e3/float64(o.rampEvery), 3)
				k.RSSMB = round(float64(s.rss)/1e6, 1)
			}
			if o.dbPath != "" {
				k.DiskB = diskBytes(o.dbPath)
			}
			lastS, lastT = s, t
			r.Ramp = append(r.Ramp, k)
		}
	}
	r.N = pool(o.warmup, o.warmup+o.n, stop, lat, onDone)
	el := time.Since(t0).Seconds()
	s1, c1 := mon.stop(), selfCPU()
	r.CalibUS = round(cal.stop(), 1)
	lat = lat[:r.N]
	slices.Sort(lat)
	r.Seconds = round(el, 3)
	if r.N > 0 {
		fn := float64(r.N)
		r.Rate = round(fn/el, 1)
		q := func(p float64) float64 { return round(lat[min(r.N-1, int(p*fn))], 3) }
		r.P50, r.P90, r.P99, r.Max = q(.5), q(.9), q(.99), round(lat[r.N-1], 3)
		r.ReqsPerOp = round(float64(st.reqs.Load()-req0)/fn, 2)
		r.ClientMS = round((c1-c0)*1e3/fn, 3)
		if mon.on() {
			u, s := s1.user-s0.user, s1.sys-s0.sys
			r.ServerUser, r.ServerSys, r.ServerMS = round(u*1e3/fn, 3), round(s*1e3/fn, 3), round((u+s)*1e3/fn, 3)
			if r.CalibUS > 0 {
				r.ServerUnits = round((u+s)*1e6/fn/r.CalibUS, 2)
			}
			if u+s > 0 {
				r.OpsPerCPU = round(fn/(u+s), 1)
			}
			r.RSSStart, r.RSSPeak, r.RSSEnd = round(float64(s0.rss)/1e6, 1), round(float64(mon.peak.Load())/1e6, 1), round(float64(s1.rss)/1e6, 1)
			r.AnonStart, r.AnonEnd = round(float64(s0.anon)/1e6, 1), round(float64(s1.anon)/1e6, 1)
			r.WritePerOp = round(float64(s1.wbytes-s0.wbytes)/fn, 0)
		}
	}
	r.Conns = st.conns.Load() - con0
	if o.dbPath != "" {
		r.DiskEnd = diskBytes(o.dbPath)
		if r.N > 0 {
			r.DiskPerOp = round(float64(r.DiskEnd-r.DiskStart)/float64(r.N), 0)
		}
	}
	return r
}

func (r *result) print() error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	if r.N == 0 {
		return errors.New("no operation succeeded")
	}
	return nil
}

func round(f float64, d int) float64 {
	p := 1.0
	for range d {
		p *= 10
	}
	return float64(int64(f*p+.5)) / p
}

func selfCPU() float64 {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return float64(ru.Utime.Sec+ru.Stime.Sec) + float64(ru.Utime.Usec+ru.Stime.Usec)/1e6
}

// parallel calls f for 0 to n-1 on all cores and returns the first error.
func parallel(n int, f func(i int) error) error {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for range runtime.NumCPU() {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return first
}
