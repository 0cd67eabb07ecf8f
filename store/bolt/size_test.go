package bolt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/store"
)

// cert stands for a record as large as that of a certificate request, found the
// ways that one is.
type cert struct {
	ID, State, Requester, Name string
	SPKI, Serial               []byte
	At, NotAfter               time.Time
	Basis                      []string
	Rest                       string
}

var certs = store.Table[cert]{
	Name: "certs", Version: 1, Key: func(c *cert) string { return c.ID },
	Indexes: []store.Index[cert]{
		{Name: "time", Keys: func(c *cert) []string { return []string{strconv.FormatInt(c.At.UnixMilli(), 36)} }},
		{Name: "serial", Unique: true, Keys: func(c *cert) []string { return []string{string(c.Serial)} }},
		{Name: "name", Keys: func(c *cert) []string { return []string{c.Name} }},
		{Name: "spki", Keys: func(c *cert) []string { return []string{string(c.SPKI)} }},
		{Name: "requester", Keys: func(c *cert) []string { return []string{c.Requester} }},
		{Name: "state", Keys: func(c *cert) []string { return []string{c.State} }},
		{Name: "notafter", Keys: func(c *cert) []string { return []string{strconv.FormatInt(c.NotAfter.Unix(), 36)} }},
		{Name: "basis", Keys: func(c *cert) []string { return c.Basis }},
	},
}

var (
	ders = store.Blobs{Name: "ders"}
	csrs = store.Blobs{Name: "csrs"}
	tbss = store.Blobs{Name: "tbss"}
)

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func newCert(i int) *cert {
	now := time.Now().Add(time.Duration(i) * 10 * time.Millisecond) // 100 each second
	return &cert{
		ID: store.NewID(now, rand.Reader), State: "issuing", Requester: fmt.Sprintf("acct-%03d", i%100),
		SPKI: random(32), Serial: random(20), Name: hex.EncodeToString(random(4)) + ".example.com",
		At: now, NotAfter: now.Add(90 * 24 * time.Hour), Basis: []string{fmt.Sprintf("acct-%03d", i%100)},
		Rest: string(bytes.Repeat([]byte("x"), 330)),
	}
}

// issue writes what the two commits of an issuance write.
func issue(db store.DB, i int) error {
	c := newCert(i)
	if err := db.Update(context.Background(), func(tx store.Tx) error {
		if err := certs.Insert(tx, c); err != nil {
			return err
		}
		if err := tbss.Insert(tx, c.ID, random(600)); err != nil {
			return err
		}
		return csrs.Insert(tx, c.ID, random(330))
	}); err != nil {
		return err
	}
	return db.Update(context.Background(), func(tx store.Tx) error {
		if _, err := certs.Change(tx, c.ID, func(c *cert) error {
			c.State = "issued"
			c.Rest += string(bytes.Repeat([]byte("y"), 60))
			return nil
		}); err != nil {
			return err
		}
		if err := tbss.Delete(tx, c.ID); err != nil {
			return err
		}
		return ders.Insert(tx, c.ID, random(700))
	})
}

// TestSize keeps an eye on what a certificate costs on disk, as the pages that
// it takes; the file itself grows in steps.
func TestSize(t *testing.T) {
	n, writers := 3000, 16
	if v, err := strconv.Atoi(os.Getenv("CHANCERY_SIZE")); err == nil {
		n = v
	}
	path := filepath.Join(t.TempDir(), "db")
	db, err := Open(path, Options{}, certs.Schema(), ders.Schema(), csrs.Schema(), tbss.Schema())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { db.Close() }()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range writers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := issue(db, int(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	pages := pages(t, db, n)
	t.Logf("for each certificate %d bytes of pages, %d of file", pages, info.Size()/int64(n))
	start := time.Now()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	closed := time.Now()
	if db, err = Open(path, Options{}, certs.Schema(), ders.Schema(), csrs.Schema(), tbss.Schema()); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %v, opened in %v", closed.Sub(start), time.Since(closed))
	if pages > 4000 {
		t.Errorf("a certificate takes %d bytes of pages, want 4000 at most", pages)
	}
}

func pages(t *testing.T, db *DB, n int) (each int) {
	tx, err := db.b.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, name := range db.names {
		s := tx.Bucket(name).Stats()
		t.Logf("%-16s %6d keys, %5d B/cert, leaves %3d%% full", name, s.KeyN, (s.BranchAlloc+s.LeafAlloc)/n, 100*s.LeafInuse/max(s.LeafAlloc, 1))
		each += s.BranchAlloc + s.LeafAlloc
	}
	return each / n
}
