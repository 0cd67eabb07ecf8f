package engine

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkSubmit is the engine's part of an issuance, on a real store.
func BenchmarkSubmit(b *testing.B) {
	w := newWorld(b)
	w.setup.Exits = nil
	w.use()
	key := newKey(b)
	s := w.submission("0", key, "a.example.test")
	var n atomic.Int64
	b.SetParallelism(4)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.advanceClock(time.Millisecond)
			if d, err := w.Submit(context.Background(), s.as("key:tester", fmt.Sprint(n.Add(1)))); err != nil {
				b.Error(d, err)
			}
		}
	})
}

// BenchmarkP256Sign is the unit in which costs are quoted.
func BenchmarkP256Sign(b *testing.B) {
	key := newKey(b)
	h := sha256.Sum256(nil)
	for b.Loop() {
		if _, err := ecdsa.SignASN1(nil, key, h[:]); err != nil {
			b.Fatal(err)
		}
	}
}
