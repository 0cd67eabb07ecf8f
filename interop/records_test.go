package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/interop/live"
	"chancery/store/postgres/pgtest"
)

// A filledCA has a certificate that is good and one that is revoked.
type filledCA struct {
	*ca
	good, revoked string // chains
}

func fillCA(t *testing.T, more int) *filledCA {
	t.Helper()
	c := &filledCA{ca: startCA(t)}
	csr, _ := c.newCSR("good.records.test")
	c.good = c.cli("submit", csr)
	csr, _ = c.newCSR("revoked.records.test")
	c.revoked = c.cli("submit", csr)
	c.cli("revoke", "--reason", "superseded", serialOf(certsOf(t, c.revoked)[0]))
	cl := c.client(c.founder())
	for i := range more {
		csr, _ = c.newCSR(fmt.Sprintf("n%d.records.test", i))
		_, err := c.submit(t.Context(), cl, read(t, csr), "service", fmt.Sprint("more-", i), "")
		must(t, err)
	}
	c.checkRevoked(c.revoked)
	return c
}

// goesOn shows that the CA that serves now knows what was and can go on.
func (c *filledCA) goesOn(name string) {
	c.t.Helper()
	c.checkGood(c.good)
	c.checkRevoked(c.revoked)
	csr, _ := c.newCSR(name)
	c.verify(c.cli("submit", csr), name)
}

// stores writes where the records are into the settings.
func (c *filledCA) stores(settings string) {
	c.t.Helper()
	text, _, _ := strings.Cut(read(c.t, c.conf), "\nstore:")
	write(c.t, c.conf, text+"\nstore: "+settings+"\n")
}

// tool runs a command that works on the store itself.
func (c *filledCA) tool(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return c.tryCLI(append([]string{"store", args[0], "--config", c.conf}, args[1:]...)...)
}

// A checkedStore is what store check says.
type checkedStore struct {
	OK       bool           `json:"ok"`
	Served   bool           `json:"served"`
	Tables   map[string]int `json:"tables"`
	Findings []string       `json:"findings"`
}

func (c *filledCA) check() (r checkedStore, code int) {
	c.t.Helper()
	out, errs, code := c.tool("check", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		c.t.Fatalf("store check: exit %d, %v\n%s%s", code, err, out, errs)
	}
	return r, code
}

// A file is compacted only while nobody serves from it, and the CA then goes on
// from one that is smaller.
func TestStoreCompact(t *testing.T) {
	t.Parallel()
	c := fillCA(t, 100)
	if _, errs, code := c.tool("compact"); code != 1 || !strings.Contains(errs, "stop it, compact") {
		t.Errorf("while it is served: exit %d\n%s", code, errs)
	}
	c.stop()
	before, _ := c.check()
	var r struct{ Before, After int64 }
	out, errs, code := c.tool("compact", "--json")
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || r.After >= r.Before {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, errs)
	}
	if after, code := c.check(); code != 0 || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after: exit %d, %+v; before: %+v", code, after, before)
	}
	c.start()
	c.goesOn("compacted.records.test")
}

// store check reads a file by itself, or has the server do it, and says what is
// damaged, with exit code 1.
func TestStoreCheck(t *testing.T) {
	t.Parallel()
	c := fillCA(t, 0)
	if r, code := c.check(); code != 0 || !r.OK || !r.Served || r.Tables["certificates"] < 4 {
		t.Errorf("of a server that runs: exit %d, %+v", code, r)
	}
	c.stop()
	if r, code := c.check(); code != 0 || !r.OK || r.Served || r.Tables["certificates"] < 4 {
		t.Errorf("of a file: exit %d, %+v", code, r)
	}
	flipByte(t, c.database(), certsOf(t, c.good)[0].Raw)
	if r, code := c.check(); code != 1 || r.OK || !strings.Contains(strings.Join(r.Findings, "\n"), ".cert") {
		t.Errorf("with a flipped bit: exit %d, %+v", code, r)
	}
	if _, errs, code := c.tool("compact"); code != 1 || !strings.Contains(errs, "nothing was compacted") {
		t.Errorf("compacting damage: exit %d\n%s", code, errs)
	}
	whole := read(t, c.database())
	// Whatever byte of the first pages is wrong, there is an answer and no crash.
	for at := 0; at < 16*8192; at += 8192 + 517 {
		bad := []byte(whole)
		bad[at] ^= 0x55
		write(t, c.database(), string(bad))
		if r, code := c.check(); code != 1 || r.OK {
			t.Errorf("byte %d: exit %d, %+v", at, code, r)
		}
	}
	write(t, c.database(), whole[:len(whole)/2])
	if out, errs, code := c.tool("check"); code != 1 || strings.Contains(errs, "goroutine") {
		t.Errorf("half a file: exit %d\n%s%s", code, out, errs)
	}
}

func (c *filledCA) database() string { return filepath.Join(c.data, "chancery.db") }

// flipByte changes a byte in the middle of some octets in a file, also while a
// process has it mapped.
func flipByte(t *testing.T, file string, in []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	all := []byte(read(t, file))
	flipped := 0
	for from := 0; ; flipped++ {
		i := bytes.Index(all[from:], in)
		if i < 0 {
			break
		}
		at := from + i + len(in)/2
		_, err := f.WriteAt([]byte{all[at] ^ 1}, int64(at))
		must(t, err)
		from = at
	}
	if flipped == 0 {
		t.Fatal("the octets are not in the file")
	}
}

// Damage under a server that runs is found beside serving: in the log, the
// status and the metrics.
func TestScrubFindsDamage(t *testing.T) {
	t.Parallel()
	c := &filledCA{ca: newCA(t)}
	c.stores("{scrub: 1s}")
	c.start()
	csr, _ := c.newCSR("good.records.test")
	c.good = c.cli("submit", csr)
	metric := func(name string) string {
		resp, err := c.client(c.founder()).Get("https://" + c.Admin + "/metrics")
		must(t, err)
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if v, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
				return v
			}
		}
		return ""
	}
	eventually(t, 20*time.Second, func() error {
		if at := metric("chancery_store_checked_seconds"); at == "0" || at == "" {
			return fmt.Errorf("checked %q", at)
		}
		return nil
	})
	if n := metric("chancery_store_damaged"); n != "0" {
		t.Fatalf("%s damaged in a new store", n)
	}
	if out := c.cli("status"); !strings.Contains(out, "nothing is damaged") {
		t.Errorf("status:\n%s", out)
	}
	flipByte(t, c.database(), certsOf(t, c.good)[0].Raw)
	eventually(t, 20*time.Second, func() error {
		if n := metric("chancery_store_damaged"); n == "0" {
			return fmt.Errorf("%s damaged", n)
		}
		return nil
	})
	if out := c.cli("status"); !strings.Contains(out, "DAMAGED") {
		t.Errorf("status:\n%s", out)
	}
	if !strings.Contains(c.Log(), "a record is damaged") {
		t.Error("the log does not say so")
	}
}

// A copiedStore is what store copy says at its end.
type copiedStore struct {
	Rows   int `json:"rows"`
	Tables []struct {
		Table  string `json:"table"`
		Rows   int    `json:"rows"`
		SHA256 string `json:"sha256"`
	} `json:"tables"`
}

func (c *filledCA) copyTo(to string, more ...string) (r copiedStore) {
	c.t.Helper()
	out, errs, code := c.tool(append([]string{"copy", "--to", to, "--json"}, more...)...)
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
		c.t.Fatalf("store copy --to %s: exit %d, %v\n%s%s", to, code, err, out, errs)
	}
	return r
}

// A CA moves from a file to PostgreSQL, serves there, and moves back. A copy
// back without anything between is the same, row by row.
func TestStoreCopyToPostgresAndBack(t *testing.T) {
	t.Parallel()
	c := fillCA(t, 20)
	dsn := filepath.Join(c.dir, "dsn")
	write(t, dsn, pgtest.DSN(t)+"\n")
	if _, errs, code := c.tool("copy", "--to", "file:"+dsn); code != 1 || !strings.Contains(errs, "stop it") {
		t.Errorf("a source that is served: exit %d\n%s", code, errs)
	}
	if _, errs, code := c.tool("copy", "--to", "postgres://u:secret@localhost/x"); code != 2 || strings.Contains(errs, "secret") {
		t.Errorf("a password on the command line: exit %d\n%s", code, errs)
	}
	c.stop()
	there := c.copyTo("file:" + dsn)
	if _, errs, code := c.tool("copy", "--to", "file:"+dsn); code != 1 || !strings.Contains(errs, "holds records already") {
		t.Errorf("a second copy over the first: exit %d\n%s", code, errs)
	}
	back := filepath.Join(c.dir, "back.db")
	if here := c.copyTo("bolt:"+back, "--from", "file:"+dsn); !slices.Equal(here.Tables, there.Tables) || here.Rows == 0 {
		t.Errorf("there %+v\nback %+v", there, here)
	}

	c.stores(fmt.Sprintf("{postgres: {dsn_file: %q}}", dsn))
	c.start()
	c.goesOn("postgres.records.test")
	if r, code := c.check(); code != 0 || !r.OK || r.Served {
		t.Errorf("check beside a server on PostgreSQL: exit %d, %+v", code, r)
	}
	again := filepath.Join(c.dir, "again.db")
	if _, errs, code := c.tool("copy", "--to", "bolt:"+again); code != 1 || !strings.Contains(errs, "serves from") {
		t.Errorf("a PostgreSQL that is served: exit %d\n%s", code, errs)
	}
	must(t, os.RemoveAll(again)) // made by the refused copy, and empty
	c.stop()
	c.copyTo("bolt:" + again)
	if out, _, code := c.tool("compact"); code != 0 || !strings.Contains(out, "nothing is to be done") {
		t.Errorf("compact on PostgreSQL: exit %d\n%s", code, out)
	}
	c.stores(fmt.Sprintf("{bolt: {path: %q}}", again))
	c.start()
	c.goesOn("back.records.test")
}

// A copy that is killed again and again goes on each time, nobody serves from
// half of it, and at the end it is the same as one that was left alone.
func TestStoreCopyKilled(t *testing.T) {
	t.Parallel()
	c := fillCA(t, 60)
	c.stop()
	want := c.copyTo("bolt:" + filepath.Join(c.dir, "alone.db"))

	half := filepath.Join(c.dir, "half.db")
	kills := 0
	for _, table := range []string{"requests", "certificates", "raws"} {
		cmd := exec.Command(c.binary, "store", "copy", "--data", c.data, "--config", c.conf, "--to", "bolt:"+half)
		cmd.Env = live.CleanEnv()
		errs, err := cmd.StderrPipe()
		must(t, err)
		must(t, cmd.Start())
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "copying "+table+" ") {
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err != nil {
			kills++
		}
		original := read(t, c.conf)
		c.stores(fmt.Sprintf("{bolt: {path: %q}}", half))
		if _, errs, code := c.tryCLI("serve", "--config", c.conf); code != 1 || !strings.Contains(errs, "copy that has not ended") {
			t.Fatalf("serving half a copy: exit %d\n%s", code, errs)
		}
		write(t, c.conf, original)
	}
	if kills != 3 {
		t.Fatalf("%d of 3 copies were killed", kills)
	}
	if got := c.copyTo("bolt:" + half); !slices.Equal(got.Tables, want.Tables) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	c.stores(fmt.Sprintf("{bolt: {path: %q}}", half))
	c.start()
	c.goesOn("copied.records.test")
}
