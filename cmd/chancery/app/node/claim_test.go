package node

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"chancery/cmd/chancery/app/datadir"
	"chancery/store"
	"chancery/store/bolt"
)

// Many machines have found the same store empty: one gets it, and the others take
// their seals away again.
func TestClaimIsForOne(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{Log: slog.New(slog.DiscardHandler)}, Schemas(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, errs := make([]*Node, 8), make([]error, 8)
	for i := range all {
		all[i] = &Node{Options: Options{Dir: datadir.Dir(t.TempDir()), Rand: rand.Reader}, DB: db}
		if _, err := all[i].Dir.MakeSeal(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i, n := range all {
		wg.Go(func() { errs[i] = n.claim(t.Context(), true) })
	}
	wg.Wait()
	won := 0
	for i, n := range all {
		there, _ := datadir.Exists(n.Dir.Seal())
		switch {
		case errs[i] == nil && there:
			won++
			if err := n.claim(t.Context(), false); err != nil {
				t.Errorf("the winner goes on: %v", err)
			}
		case errs[i] == nil || there || !strings.Contains(errs[i].Error(), "chancery node join"):
			t.Errorf("a loser: its seal is there: %v, %v", there, errs[i])
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
}

// unsure makes Updates and does not learn that it did.
type unsure struct{ store.DB }

func (u unsure) Update(ctx context.Context, fn func(store.Tx) error) error {
	return errors.Join(u.DB.Update(ctx, fn), store.ErrUnknown)
}

// The answer to a claim was lost. The seal stays, for the store may be claimed
// with it, and the next start finds that it is.
func TestClaimOfWhichTheOutcomeIsNotKnown(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, Schemas(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	n := &Node{Options: Options{Dir: datadir.Dir(t.TempDir()), Rand: rand.Reader}, DB: unsure{db}}
	if _, err := n.Dir.MakeSeal(rand.Reader); err != nil {
		t.Fatal(err)
	}
	if err := n.claim(t.Context(), true); !errors.Is(err, store.ErrUnknown) {
		t.Fatalf("claimed: %v", err)
	}
	n.DB = db
	if err := n.claim(t.Context(), false); err != nil {
		t.Errorf("the next start: %v", err)
	}
}
