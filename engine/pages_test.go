package engine

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.etcd.io/bbolt"
)

func TestPages(t *testing.T) {
	if os.Getenv("PAGES") == "" {
		t.Skip()
	}
	w := newWorld(t)
	w.setup.Exits = nil
	w.use()
	key := newKey(t)
	for i := range 3000 {
		nm := fmt.Sprintf("h%d.example.test", i*7919%3000)
		s := w.submission(fmt.Sprint(i), key, nm)
		if _, err := w.Submit(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println(w.db.Stats())
	w.db.Close()
	b, err := bbolt.Open(w.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	fi, _ := os.Stat(w.path)
	fmt.Println("file", fi.Size()/3000, "free", b.Stats().FreePageN, "pending", b.Stats().PendingPageN)
	b.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bu *bbolt.Bucket) error {
			s := bu.Stats()
			fmt.Printf("%-24s keys %6d leaf %5d branch %3d depth %d inuse/alloc %.2f  bytes/op %d\n", name, s.KeyN, s.LeafPageN+s.LeafOverflowN, s.BranchPageN, s.Depth, float64(s.LeafInuse)/float64(max(1, s.LeafAlloc)), s.LeafAlloc/3000)
			return nil
		})
	})
}
