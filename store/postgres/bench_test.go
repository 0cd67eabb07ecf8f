package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/postgres/pgtest"
)

// A cpu is the CPU time that this process and the server have used.
type cpu struct{ client, server time.Duration }

func used(b *testing.B, c *pgtest.Cluster) (u cpu) {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	u.client = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	for _, pid := range c.Processes() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if f := strings.Fields(string(text)); len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			u.server += time.Duration(n)
		}
	}
	return u
}

// bench runs fn b.N times by c goroutines and reports what an operation costs
// this process and the server.
func bench(b *testing.B, c int, fn func(i int) error) {
	cluster := pgtest.Shared(b)
	var n atomic.Int64
	b.ReportAllocs()
	before := used(b, cluster)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range c {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				if err := fn(int(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := used(b, cluster)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64((after.client-before.client).Microseconds())/float64(b.N), "client-µs/op")
	b.ReportMetric(float64((after.server-before.server).Microseconds())/float64(b.N), "server-µs/op")
}

func openBench(b *testing.B, schemas ...store.Schema) *DB {
	b.Helper()
	db, err := Open(context.Background(), pgtest.DSN(b), Options{}, schemas...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

var plain = store.Schema{Name: "t", Version: 1}

// BenchmarkUpdate writes new documents and reads none, or one before. All read
// the same, which lies among those that are inserted: the worst case for retries.
func BenchmarkUpdate(b *testing.B) {
	doc := make([]byte, 700)
	for _, c := range []int{1, 8, 64} {
		for _, writes := range []int{1, 4, 10} {
			for _, reads := range []int{0, 1} {
				b.Run(fmt.Sprintf("c=%d/writes=%d/reads=%d", c, writes, reads), func(b *testing.B) {
					db := openBench(b, plain)
					if err := db.Update(context.Background(), func(tx store.Tx) error { return tx.Put("t", "a", doc) }); err != nil {
						b.Fatal(err)
					}
					bench(b, c, func(int) error {
						return db.Update(context.Background(), func(tx store.Tx) error {
							for range reads {
								if _, err := tx.Get("t", "a"); err != nil {
									return err
								}
							}
							for range writes {
								if err := tx.Insert("t", store.NewID(time.Now(), rand.Reader), doc); err != nil {
									return err
								}
							}
							return nil
						})
					})
					b.ReportMetric(float64(db.Stats().Retries)/float64(b.N), "retries/op")
				})
			}
		}
	}
}

// BenchmarkView gets one document.
func BenchmarkView(b *testing.B) {
	for _, c := range []int{1, 8} {
		b.Run(fmt.Sprintf("c=%d", c), func(b *testing.B) {
			db := openBench(b, plain)
			if err := db.Update(context.Background(), func(tx store.Tx) error { return tx.Put("t", "a", make([]byte, 700)) }); err != nil {
				b.Fatal(err)
			}
			bench(b, c, func(int) error {
				return db.View(context.Background(), func(tx store.Tx) error {
					_, err := tx.Get("t", "a")
					return err
				})
			})
		})
	}
}
