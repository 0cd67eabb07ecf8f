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
	"testing"
	"time"

	"chancery/store"
)

// cert stands for a record as large as that of a certificate request, found the
// ways that one is.
type cert struct {
	ID, State, Requester, SPKI, Serial string
	Name                               string
	At, NotAfter                       time.Time
	Basis                              []string
	Rest                               string
}

var certs = store.Table[cert]{
	Name: "certs", Version: 1, Key: func(c *cert) string { return c.ID },
	Indexes: []store.Index[cert]{
		{Name: "time", Keys: func(c *cert) []string { return []string{strconv.FormatInt(c.At.UnixMilli(), 36)} }},
		{Name: "serial", Unique: true, Keys: func(c *cert) []string { return []string{c.Serial} }},
		{Name: "name", Keys: func(c *cert) []string { return []string{c.Name} }},
		{Name: "spki", Keys: func(c *cert) []string { return []string{c.SPKI} }},
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
		SPKI: string(random(32)), Serial: string(random(20)), Name: hex.EncodeToString(random(4)) + ".example.com",
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

// TestSize keeps an eye on what a certificate costs on disk.
func TestSize(t *testing.T) {
	const n, writers = 10000, 16
	path := filepath.Join(t.TempDir(), "db")
	db, err := Open(path, Options{}, certs.Schema(), ders.Schema(), csrs.Schema(), tbss.Schema())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				if err := issue(db, i); err != nil {
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
	each := info.Size() / n
	t.Logf("%d bytes of file for each certificate", each)
	report(t, db, n)
}

func report(t *testing.T, db *DB, n int) {
	tx, err := db.b.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	total := 0
	for _, name := range db.names {
		s := tx.Bucket(name).Stats()
		a := s.BranchAlloc + s.LeafAlloc
		total += a
		t.Logf("%-16s %6d keys, %5d B/cert, leaves %.0f%% full, depth %d", name, s.KeyN, a/n, 100*float64(s.LeafInuse)/float64(s.LeafAlloc), s.Depth)
	}
	t.Logf("in all %d B/cert", total/n)
}
