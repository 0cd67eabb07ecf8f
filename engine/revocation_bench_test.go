package engine

import (
	"context"
	"crypto"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"chancery/store"
)

// BenchmarkOCSP is an answer from memory, and one that is signed because the
// client sent a nonce; to compare with BenchmarkP256Sign.
func BenchmarkOCSP(b *testing.B) {
	w := newWorld(b)
	_, c := w.issue(w.submission("0", newKey(b), "a.test"))
	w.tend()
	w.lookAtEpoch(b.Context(), w.current["main"])
	ca := w.current["main"]
	plain, err := xocsp.CreateRequest(c, ca.cert, &xocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		b.Fatal(err)
	}
	nonce := ocspRequestOf([][]byte{ca.ocsp.ID(crypto.SHA256, serialOctets(c.SerialNumber)).Raw}, make([]byte, 32))
	for name, request := range map[string][]byte{"cached": plain, "signed": nonce} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a := w.OCSP(b.Context(), request); a.ThisUpdate.IsZero() {
					b.Fatalf("%x", a.DER)
				}
			}
		})
	}
}

// manyRevoked writes rows of certificates that are revoked, spread over shards.
func (w *world) manyRevoked(n, shards int) {
	w.t.Helper()
	is, at := w.current["main"], w.now()
	for from := 0; from < n; from += 2000 {
		if err := w.db.Update(context.Background(), func(tx store.Tx) error {
			for i := from; i < min(n, from+2000); i++ {
				serial := make([]byte, 16)
				binary.BigEndian.PutUint64(serial, uint64(i)*0x9e3779b97f4a7c15>>1|1<<60)
				binary.BigEndian.PutUint64(serial[8:], uint64(i))
				row := &Certificate{CertID: NewCertID(is.cert.SubjectKeyId, serial), Status: Revoked, Reason: 4, RevokedAt: at, NotBefore: at, NotAfter: at.Add(1000 * time.Hour), Authority: "main"}
				if shards > 0 {
					row.Shard = 1 + i%shards
				}
				if err := certificates.Insert(tx, row); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// revoked is how many certificates are revoked in the benchmarks of lists.
func revoked(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("CHANCERY_REVOKED"))
	if err != nil {
		return 20_000
	}
	return n
}

// BenchmarkShards makes all lists of 128 shards.
func BenchmarkShards(b *testing.B) {
	w := newWorld(b)
	w.rules(CRLRules{Shards: 128})
	w.manyRevoked(revoked(b), 128)
	is := w.current["main"]
	for b.Loop() {
		for k := 1; k <= 128; k++ {
			if err := w.publishList(b.Context(), is, store.Lease{}, strconv.Itoa(k)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkRevokeAndDelta is a revocation with the delta that shows it, with few
// and with many revoked.
func BenchmarkRevokeAndDelta(b *testing.B) {
	for _, n := range []int{1000, revoked(b)} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			w.manyRevoked(n, 0)
			w.rules(CRLRules{Delta: true})
			w.refresh()
			var all []CertID
			for i := range 200 {
				d, _ := w.issue(w.submission(fmt.Sprint("b", i), newKey(b), fmt.Sprintf("b%d.test", i)))
				all = append(all, d.ID)
			}
			i := 0
			for b.Loop() {
				r := Revocation{ID: all[i/2%len(all)], Reason: 6, Release: i%2 == 1, By: "olga"}
				i++
				if err := w.Revoke(b.Context(), r); err != nil {
					b.Fatal(err)
				}
				w.refresh()
			}
		})
	}
}
