package initca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
)

func testSpec(t *testing.T) Spec {
	t.Helper()
	d := datadir.Dir(filepath.Join(t.TempDir(), "data"))
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	return Spec{
		Dir: d, Authorities: map[string]engine.Authority{"main": {}}, Label: "host", Store: d.Path("chancery.db"),
		Now: time.Now, Rand: rand.Reader, Say: t.Logf,
	}
}

func mustMake(t *testing.T, s Spec) map[string]string {
	t.Helper()
	ids, err := Make(s)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// snapshot is every file with its content.
func snapshot(t *testing.T, d datadir.Dir) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(string(d), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatIsMade(t *testing.T) {
	s := testSpec(t)
	s.Authorities["main"] = engine.Authority{Domains: []string{"corp.example"}}
	s.StatusURL = "http://pki.corp.example"
	ids := mustMake(t, s)
	if len(ids) != 2 || ids["main"] == "" || ids[engine.ManagementAuthority] == "" {
		t.Fatalf("ids: %v", ids)
	}
	issuers, _, err := Load(s.Dir, []string{"main"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	management, main := issuers[0], issuers[1]
	if len(management.Chain) != 1 || management.Chain[0].MaxPathLen != 0 || management.Key == nil {
		t.Errorf("management: %+v", management)
	}
	ca, root := main.Chain[0], main.Chain[1]
	pool := x509.NewCertPool()
	pool.AddCert(root)
	if _, err := ca.Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		t.Error(err)
	}
	if ca.MaxPathLen != 0 || !ca.MaxPathLenZero || !ca.PermittedDNSDomainsCritical || strings.Join(ca.PermittedDNSDomains, " ") != "corp.example localhost" {
		t.Errorf("issuing CA: pathLen %d, domains %v", ca.MaxPathLen, ca.PermittedDNSDomains)
	}
	if len(ca.PermittedIPRanges) != 2 || ca.PermittedIPRanges[0].String() != "127.0.0.0/8" || ca.PermittedIPRanges[1].String() != "::1/128" {
		t.Errorf("issuing CA: addresses %v", ca.PermittedIPRanges)
	}
	if hosts := "corp.example .corp.example"; strings.Join(ca.PermittedEmailAddresses, " ") != hosts || strings.Join(ca.PermittedURIDomains, " ") != hosts {
		t.Errorf("issuing CA: mailboxes %v, URIs %v", ca.PermittedEmailAddresses, ca.PermittedURIDomains)
	}
	if years := ca.NotAfter.Sub(ca.NotBefore).Hours() / 24 / 365; years < 5 || years > 5.01 {
		t.Errorf("the issuing CA lives %g years", years)
	}
	if len(ca.IssuingCertificateURL) != 1 || !strings.HasPrefix(ca.IssuingCertificateURL[0], "http://pki.corp.example/aia/") {
		t.Errorf("AIA: %v", ca.IssuingCertificateURL)
	}
	bundle, err := os.ReadFile(s.Dir.Roots())
	if err != nil || !bytes.Equal(bundle, PEM(root.Raw)) {
		t.Errorf("roots.pem is not the root alone: %v\n%s", err, bundle)
	}
	// A private key lies in the open nowhere, and the root's not without its passphrase.
	for path, mode := range map[string]fs.FileMode{
		string(s.Dir): 0o700 | fs.ModeDir, s.Dir.Path("keys"): 0o700 | fs.ModeDir, s.Dir.RootPass(): 0o600, s.Dir.CAKey("root"): 0o600,
		s.Dir.CAKey("main"): 0o600, s.Dir.CAKey(engine.ManagementAuthority): 0o600, s.Dir.CACert("main"): 0o644, s.Dir.Roots(): 0o644,
	} {
		if fi, err := os.Stat(path); err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v %v, want %v", path, fi.Mode(), err, mode)
		}
	}
	if key, _ := os.ReadFile(s.Dir.CAKey("root")); !strings.Contains(string(key), "ENCRYPTED PRIVATE KEY") {
		t.Error("the root's key is not encrypted")
	}
}

// Making again changes nothing and needs no root.
func TestMakingAgain(t *testing.T) {
	s := testSpec(t)
	ids := mustMake(t, s)
	for _, p := range []string{s.Dir.CAKey("root"), s.Dir.RootPass()} {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, s.Dir)
	again := mustMake(t, s)
	if ids["main"] != again["main"] || ids["management"] != again["management"] {
		t.Errorf("%v became %v", ids, again)
	}
	after := snapshot(t, s.Dir)
	if len(before) != len(after) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s changed", path)
		}
	}
}

// Wherever a first start dies, the next goes on with the keys that are there.
// A file is written whole or not at all, so a crash is the lack of the files
// from one on, in the order in which they are written.
func TestCrashAtEachFile(t *testing.T) {
	s := testSpec(t)
	d := s.Dir
	order := []string{
		d.CAKey("management"), d.CACert("management"), d.CAKey("main"), d.RootPass(), d.CAKey("root"), d.CACert("root"), d.CACert("main"), d.Roots(),
	}
	mustMake(t, s)
	whole := snapshot(t, d)
	if len(whole) != len(order) {
		t.Fatalf("%d files, and this test knows %d", len(whole), len(order))
	}
	for n := range order {
		for path := range snapshot(t, d) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range order[:n] {
			if err := os.WriteFile(path, []byte(whole[path]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		mustMake(t, s)
		after := snapshot(t, d)
		for _, path := range order[:n] {
			// A passphrase without the key that it is for is nothing yet.
			if after[path] != whole[path] && (path != d.RootPass() || n > 4) {
				t.Errorf("crash after %d files: %s was written over", n, path)
			}
		}
		if _, _, err := Load(d, []string{"main"}, nil); err != nil {
			t.Errorf("crash after %d files: %v", n, err)
		}
	}
}

func TestLostKeysAreNotMadeAnew(t *testing.T) {
	s := testSpec(t)
	ids := mustMake(t, s)
	lose := func() {
		for _, p := range []string{s.Dir.CAKey("main"), s.Dir.CACert("main")} {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("with a marker", func(t *testing.T) {
		if err := s.Dir.WriteMarker(datadir.Initialized{Authorities: ids}); err != nil {
			t.Fatal(err)
		}
		lose()
		if _, err := Make(s); err == nil || !strings.Contains(err.Error(), "restore") {
			t.Error(err)
		}
	})
	t.Run("with a database", func(t *testing.T) {
		if err := os.Remove(s.Dir.Marker()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.Store, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Make(s); err == nil || !strings.Contains(err.Error(), "restore") {
			t.Error(err)
		}
	})
}

func TestAnotherAuthorityLater(t *testing.T) {
	s := testSpec(t)
	ids := mustMake(t, s)
	if err := s.Dir.WriteMarker(datadir.Initialized{Authorities: ids}); err != nil {
		t.Fatal(err)
	}
	s.Authorities["devices"] = engine.Authority{Key: "ecdsa-p384", Subject: "CN=Devices 1,O=Example"}
	if _, _, err := Load(s.Dir, []string{"main", "devices"}, nil); err == nil || !strings.Contains(err.Error(), "chancery init") {
		t.Errorf("an authority without keys: %v", err)
	}
	more := mustMake(t, s)
	if more["main"] != ids["main"] || more["devices"] == "" {
		t.Errorf("%v became %v", ids, more)
	}
	all, _, err := Load(s.Dir, []string{"devices"}, nil)
	if err != nil || all[1].Chain[0].Subject.String() != "CN=Devices 1,O=Example" {
		t.Errorf("%v %v", all, err)
	}
	s.Authorities["third"] = engine.Authority{}
	if err := os.Remove(s.Dir.CAKey("root")); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(s); err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("without the root's key: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	s := testSpec(t)
	s.Built = time.Now().Add(time.Hour)
	if _, err := Make(s); err == nil || !strings.Contains(err.Error(), "set the clock") {
		t.Errorf("a clock before the build: %v", err)
	}
	s = testSpec(t)
	s.Authorities["main"] = engine.Authority{Key: "dsa"}
	if _, err := Make(s); err == nil || !strings.Contains(err.Error(), "ecdsa-p256") {
		t.Errorf("an unknown kind of key: %v", err)
	}
}
