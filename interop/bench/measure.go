package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"chancery/interop/live"
)

// An install is one installation with its own ports.
type install struct {
	*live.Server
	b           *bench
	data, conf  string
	http01, dns int
	https       int
}

// newInstall writes the configuration of an installation in a folder; nothing
// in it turns fsync off or a policy away: what is measured is the default.
func (b *bench) newInstall(name string) (*install, error) {
	ports, err := live.Ports(5)
	if err != nil {
		return nil, err
	}
	i := &install{b: b, data: filepath.Join(b.dir, name), conf: filepath.Join(b.dir, name+".yaml"), https: ports[0], http01: ports[3], dns: ports[4]}
	return i, os.WriteFile(i.conf, fmt.Appendf(nil, `
listen: {https: "127.0.0.1:%d", http: "127.0.0.1:%d", admin: "127.0.0.1:%d"}
acme: {validation: {http_port: %d, resolvers: ["127.0.0.1:%d"]}}
log: {level: warn}
`, ports[0], ports[1], ports[2], i.http01, i.dns), 0o600)
}

func (i *install) args() []string { return []string{"serve", "--data", i.data, "--config", i.conf} }

func (i *install) start() (err error) {
	i.Server, err = live.Start(live.Settings{Binary: i.b.chancery, Args: i.args()[1:]})
	return err
}

// setRetention makes ended ACME orders go after a time.
func (i *install) setRetention(orders string) error {
	out, err := exec.Command(i.b.chancery, "init", "--data", i.data, "--config", i.conf).CombinedOutput()
	if err != nil {
		return fmt.Errorf("init: %w\n%s", err, out)
	}
	file := filepath.Join(i.data, "policy.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	doc["retention"] = map[string]any{"orders": orders}
	if text, err = yaml.Marshal(doc); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// common are the driver's flags for every timed run.
func (i *install) common(n, c int) []string {
	return []string{"-n", strconv.Itoa(n), "-c", strconv.Itoa(c), "-max-seconds", "1200", "-ca", filepath.Join(i.data, "roots.pem"), "-pid", strconv.Itoa(i.PID), "-db", i.data}
}

// native are the arguments of a run of native submissions by the founder.
func (i *install) native(n, c int) ([]string, error) {
	body := filepath.Join(i.b.dir, "submit.json")
	if err := os.WriteFile(body, []byte(nativeBody), 0o600); err != nil {
		return nil, err
	}
	return append([]string{"http", "-url", "https://" + i.HTTPS + nativePath, "-body", body, "-wantcert", "-H", "Idempotency-Key: {{RAND}}",
		"-cert", filepath.Join(i.data, "admin.crt"), "-key", filepath.Join(i.data, "admin.key")}, i.common(n, c)...), nil
}

// acme are the arguments of a run of ACME issuances with real http-01.
func (i *install) acme(n, c, accounts int) []string {
	return append([]string{"acme", "-dir", "https://" + i.HTTPS + "/acme/directory", "-accounts", strconv.Itoa(accounts),
		"-http01", fmt.Sprintf("127.0.0.1:%d", i.http01), "-dns", fmt.Sprintf("127.0.0.1:%d", i.dns)}, i.common(n, c)...)
}

// measure takes every figure of the table, one after the other.
func (b *bench) measure() error {
	if err := b.firstStart(); err != nil {
		return err
	}
	i, err := b.newInstall("main")
	if err != nil {
		return err
	}
	if err := i.start(); err != nil {
		return err
	}
	defer func() { _ = i.Kill() }()
	if err := b.idleMemory(i); err != nil {
		return err
	}
	if err := b.nativeFigures(i); err != nil {
		return err
	}
	if err := b.acmeFigures(i); err != nil {
		return err
	}
	if err := i.Stop(); err != nil {
		return err
	}
	if err := b.laterStart(i); err != nil {
		return err
	}
	if err := b.compactedDisk(); err != nil {
		return err
	}
	return b.acmeDisk()
}

const startURL = "/acme/directory" // what a client asks first

func (b *bench) firstStart() error {
	var ms []float64
	var text string
	for k := range 5 {
		i, err := b.newInstall(fmt.Sprintf("first%d", k))
		if err != nil {
			return err
		}
		l, command, err := b.clean(append([]string{"startup", "-url", fmt.Sprintf("https://127.0.0.1:%d%s", i.https, startURL), "-insecure", "-reps", "1", "-settle", "100ms", "--", b.chancery}, i.args()...)...)
		if err != nil {
			return err
		}
		ms, text = append(ms, l.FirstMS), command
	}
	b.report("start to first answer, first start", 400, 150, median(ms), "ms", text+"    (5 folders, median)")
	return nil
}

func (b *bench) laterStart(i *install) error {
	l, text, err := b.clean(append([]string{"startup", "-url", fmt.Sprintf("https://127.0.0.1:%d%s", i.https, startURL), "-insecure", "-reps", "5", "-settle", "100ms", "--", b.chancery}, i.args()...)...)
	if err != nil {
		return err
	}
	b.report("start to first answer, later", 100, 40, l.FirstMS, "ms", text)
	return nil
}

func (b *bench) idleMemory(i *install) error {
	settle()
	mb, err := rssAnon(i.PID)
	if err != nil {
		return err
	}
	b.report("memory (RssAnon), idle", 40, 25, mb, "MB", "grep RssAnon /proc/PID/status, 3 s after the first start")
	return nil
}

func (b *bench) nativeFigures(i *install) error {
	args, err := i.native(b.prefill, 32)
	if err != nil {
		return err
	}
	file := filepath.Join(i.data, storeFile)
	before, err := allocated(file)
	if err != nil {
		return err
	}
	_, text, err := b.clean(args...)
	if err != nil {
		return err
	}
	if err := i.delivered(); err != nil {
		return err
	}
	after, err := allocated(file)
	if err != nil {
		return err
	}
	b.report("disk per certificate, native", 4.5, 3.0, float64(after-before)/1000/float64(b.prefill), "KB", "growth of "+storeFile+" over: "+text)

	if args, err = i.native(b.n, 8); err != nil { // the exit has nothing else to do by now
		return err
	}
	l, text, err := b.clean(args...)
	if err != nil {
		return err
	}
	b.report("native submit, c=8", 17, 13, l.Units, "s", text)
	return nil
}

// compactedDisk is what is left of a file with nothing but native certificates
// when it is as small as it can be: the whole file, not its growth.
func (b *bench) compactedDisk() error {
	i, err := b.newInstall("compacted")
	if err != nil {
		return err
	}
	if err := i.start(); err != nil {
		return err
	}
	args, err := i.native(b.prefill, 32)
	var text string
	if err == nil {
		_, text, err = b.clean(args...)
	}
	if err == nil {
		err = i.delivered()
	}
	if err = errors.Join(err, i.Stop()); err != nil {
		return err
	}
	if out, err := exec.Command(b.chancery, "store", "compact", "--data", i.data, "--config", i.conf).CombinedOutput(); err != nil {
		return fmt.Errorf("store compact: %w\n%s", err, out)
	}
	size, err := allocated(filepath.Join(i.data, storeFile))
	b.report("disk per certificate, native, compacted", 3.0, 2.0, float64(size)/1000/float64(b.prefill), "KB", "chancery store compact, after: "+text)
	return err
}

func (b *bench) acmeFigures(i *install) error {
	if err := i.delivered(); err != nil {
		return err
	}
	l, text, err := b.clean(i.acme(b.n, 8, 64)...)
	if err != nil {
		return err
	}
	b.report("ACME issuance, c=8, http-01", 55, 46, l.Units, "s", text)

	if l, text, err = b.drive(i.acme(b.n, 64, 1)...); err != nil {
		return err
	}
	if l.Errors > 0 {
		fmt.Fprintln(os.Stderr, "the first error:", l.FirstError)
	}
	b.report("ACME, c=64, one account, errors", 0, 0, float64(l.Errors), "", text)

	if rest := b.acme - 2*b.n; rest > 0 {
		if _, text, err = b.drive(i.acme(rest, 64, 256)...); err != nil {
			return err
		}
	}
	mb, err := rssAnon(i.PID)
	if err != nil {
		return err
	}
	b.report(fmt.Sprintf("memory (RssAnon), after %d ACME", max(b.acme, 2*b.n)), 90, 50, mb, "MB", "grep RssAnon /proc/PID/status, at the end of: "+text)
	return nil
}

// acmeDisk lets ended orders be purged between rounds of issuing, so that what
// is left is what a certificate costs for good. The file is not compacted: what
// was purged is used again by the next round. The first round, which has nothing
// to use again, does not count.
func (b *bench) acmeDisk() error {
	const keep = 5 * time.Second // longer than a client needs between order and certificate
	i, err := b.newInstall("disk")
	if err != nil {
		return err
	}
	if err := i.setRetention(keep.String()); err != nil {
		return err
	}
	const rounds = 4
	n := b.acme / rounds
	file := filepath.Join(i.data, storeFile)
	var first, last int64
	var text string
	for round := range rounds {
		if err := i.start(); err != nil {
			return err
		}
		time.Sleep(4 * keep) // until what ended before is purged
		if round > 0 {
			if last, err = allocated(file); err != nil {
				_ = i.Kill()
				return err
			}
		}
		if round == 1 {
			first = last
		}
		_, command, err := b.clean(i.acme(n, 16, 64)...)
		if err != nil {
			_ = i.Kill()
			return err
		}
		text = command
		if last, err = allocated(file); err != nil {
			return err
		}
		if err := i.Stop(); err != nil {
			return err
		}
	}
	b.report("disk per certificate, ACME after purge", 6.5, 4.5, float64(last-first)/1000/float64(n*(rounds-1)), "KB",
		fmt.Sprintf("growth of %s, retention.orders 5s, over rounds 2 to %d of: %s", storeFile, rounds, text))
	return nil
}

// delivered waits until every exit has taken every event.
func (i *install) delivered() error {
	for range 600 {
		out, err := exec.Command(i.b.chancery, "status", "--json", "--data", i.data).Output()
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		var status struct {
			Deliveries int `json:"deliveries"`
		}
		if err := json.Unmarshal(out, &status); err != nil {
			return fmt.Errorf("status: %w\n%s", err, out)
		}
		if status.Deliveries == 0 {
			settle()
			return nil
		}
		time.Sleep(500 * time.Millisecond) // between looks; asking costs the server time
	}
	return errors.New("exits were not done within five minutes")
}

// settle lets timers and garbage collection come to rest, which no figure of the
// server shows, before memory and CPU are read.
func settle() { time.Sleep(3 * time.Second) }

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

// What the driver sends to the native API.
const (
	storeFile  = "chancery.db"
	nativePath = "/api/v1/requests"
	nativeBody = `{"csr":"{{CSR_PEM}}","profile":"service"}`
)
