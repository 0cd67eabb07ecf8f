package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"chancery/interop/live"
	"chancery/store/postgres/pgtest"
)

// A backend is where the records of an installation are.
type backend string

const (
	bolt     backend = "bbolt"
	postgres backend = "PostgreSQL"
)

// A base is a database of a PostgreSQL server of its own. The server runs with
// the settings that PostgreSQL has by itself, fsync among them.
type base struct {
	*pgtest.Cluster
	name string
}

func newBase() (base, error) {
	c, err := pgtest.New("shared_buffers=128MB")
	if err != nil {
		return base{}, err
	}
	name, err := c.Create()
	if err != nil {
		c.Close()
	}
	return base{c, name}, err
}

// An install is one installation with its own ports.
type install struct {
	*live.Server
	b           *bench
	base        base       // empty on bbolt
	beside      []*install // nodes of the same CA whose CPU counts too
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

// newNode is newInstall with the records in a database.
func (b *bench) newNode(name string, in base) (*install, error) {
	i, err := b.newInstall(name)
	if err != nil {
		return nil, err
	}
	i.base = in
	dsn := filepath.Join(b.dir, name+".dsn")
	if err := os.WriteFile(dsn, []byte(in.Address(in.name)+"\n"), 0o600); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(i.conf)
	if err != nil {
		return nil, err
	}
	return i, os.WriteFile(i.conf, fmt.Appendf(text, "node: %s\nstore: {postgres: {dsn_file: %s}}\n", name, dsn), 0o600)
}

// newOn makes an installation that runs on a backend, with a database server of
// its own, and what ends both.
func (b *bench) newOn(on backend, name string) (i *install, end func(), err error) {
	end = func() {}
	if on == bolt {
		i, err = b.newInstall(name)
	} else {
		var in base
		if in, err = newBase(); err != nil {
			return nil, end, err
		}
		end = in.Close
		i, err = b.newNode(name, in)
	}
	if err == nil {
		err = i.start()
	}
	if err != nil {
		end()
		return nil, func() {}, err
	}
	closeBase := end
	return i, func() {
		_ = i.Kill()
		closeBase()
	}, nil
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

// common are the driver's flags for every timed run. With a database server,
// its CPU counts as ours does.
func (i *install) common(n, c int) []string {
	pids := strconv.Itoa(i.PID)
	for _, o := range i.beside {
		pids += "," + strconv.Itoa(o.PID)
	}
	args := []string{"-n", strconv.Itoa(n), "-c", strconv.Itoa(c), "-max-seconds", "1200", "-ca", filepath.Join(i.data, "roots.pem")}
	if i.base.Cluster == nil {
		return append(args, "-pid", pids, "-db", i.data)
	}
	return append(args, "-pid", pids+","+strconv.Itoa(i.base.PID()), "-tree")
}

// native are the arguments of a run of native submissions by the founder, to
// this node and others in turn.
func (i *install) native(n, c int, others ...*install) ([]string, error) {
	body := filepath.Join(i.b.dir, "submit.json")
	if err := os.WriteFile(body, []byte(nativeBody), 0o600); err != nil {
		return nil, err
	}
	urls := "https://" + i.HTTPS + nativePath
	for _, o := range others {
		urls += ",https://" + o.HTTPS + nativePath
	}
	return append([]string{"http", "-url", urls, "-body", body, "-wantcert", "-H", "Idempotency-Key: {{RAND}}",
		"-cert", filepath.Join(i.data, "admin.crt"), "-key", filepath.Join(i.data, "admin.key")}, i.common(n, c)...), nil
}

// submit runs native submissions without any error.
func (i *install) submit(n, c int, others ...*install) (loaded, string, error) {
	args, err := i.native(n, c, others...)
	if err != nil {
		return loaded{}, "", err
	}
	return i.b.clean(args...)
}

// fill submits until there are n more certificates, and every exit knows.
func (i *install) fill(n int) (command string, err error) {
	if _, command, err = i.submit(n, 32); err != nil {
		return "", err
	}
	return command, i.delivered()
}

// acme are the arguments of a run of ACME issuances with real http-01.
func (i *install) acme(n, c, accounts int) []string {
	return append([]string{"acme", "-dir", "https://" + i.HTTPS + "/acme/directory", "-accounts", strconv.Itoa(accounts),
		"-http01", fmt.Sprintf("127.0.0.1:%d", i.http01), "-dns", fmt.Sprintf("127.0.0.1:%d", i.dns)}, i.common(n, c)...)
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
			i.b.settle()
			return nil
		}
		// Between two looks, of which there are so many; asking all the time would
		// keep the server from what is waited for.
		time.Sleep(500 * time.Millisecond)
	}
	return errors.New("exits were not done within five minutes")
}

// counters are those of the server's page of metrics that have no labels.
func (i *install) counters() (map[string]float64, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(i.data, "admin.crt"), filepath.Join(i.data, "admin.key"))
	if err != nil {
		return nil, err
	}
	roots, err := os.ReadFile(filepath.Join(i.data, "roots.pem"))
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool()}
	conf.RootCAs.AppendCertsFromPEM(roots)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + i.Admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", resp.Status)
	}
	return readCounters(resp.Body)
}

func readCounters(page io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || name == "#" || strings.Contains(name, "{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q: %w", lines.Text(), err)
		}
		all[name] = v
	}
	return all, lines.Err()
}

// What the driver sends to the native API.
const (
	storeFile  = "chancery.db"
	nativePath = "/api/v1/requests"
	nativeBody = `{"csr":"{{CSR_PEM}}","profile":"service"}`
)
