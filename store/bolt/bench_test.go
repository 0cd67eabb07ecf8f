package bolt

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/store"
)

func BenchmarkUpdate(b *testing.B) {
	schema := store.Schema{Name: "t", Version: 1}
	for _, c := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("c=%d", c), func(b *testing.B) {
			db, err := Open(filepath.Join(b.TempDir(), "db"), Options{}, schema)
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			doc := make([]byte, 700)
			var n atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range c {
				wg.Go(func() {
					for n.Add(1) <= int64(b.N) {
						if err := db.Update(context.Background(), func(tx store.Tx) error {
							for range 4 {
								if err := tx.Put("t", store.NewID(time.Now(), rand.Reader), doc); err != nil {
									return err
								}
							}
							return nil
						}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
			u, k := db.Stats()
			b.ReportMetric(float64(u)/float64(k), "updates/commit")
		})
	}
}

// BenchmarkIssue is the pair of Updates that issue a certificate.
func BenchmarkIssue(b *testing.B) {
	for _, c := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("c=%d", c), func(b *testing.B) {
			db, err := Open(filepath.Join(b.TempDir(), "db"), Options{}, certs.Schema(), ders.Schema(), csrs.Schema(), tbss.Schema())
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			var n atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range c {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						if err := issue(db, int(i)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certs/s")
		})
	}
}

func BenchmarkView(b *testing.B) {
	db, err := Open(filepath.Join(b.TempDir(), "db"), Options{}, certs.Schema(), ders.Schema(), csrs.Schema(), tbss.Schema())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	c := newCert(1)
	if err := db.Update(context.Background(), func(tx store.Tx) error { return ders.Insert(tx, c.ID, random(700)) }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := db.View(context.Background(), func(tx store.Tx) error {
			_, err := ders.Get(tx, c.ID)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}
