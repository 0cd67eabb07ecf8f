package storetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"chancery/store"
)

// Write is what a process does that is to be killed: so many writers insert,
// change and delete records of Docs for ever, and a line on stdout says what each
// Update has acknowledged: the state and key of a record. It returns when one of
// them fails.
func Write(db store.DB, writers int) error {
	failed := make(chan error, writers)
	for range writers {
		go func() {
			for {
				if err := lifecycle(db); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// lifecycle inserts a record, changes it, and deletes every third.
func lifecycle(db store.DB) error {
	docs := Docs()
	d := Doc{ID: store.NewID(time.Now(), rand.Reader), Groups: []string{"new", "all"}}
	d.Mail, d.Raw = d.ID+"@example.com", bytes.Repeat([]byte(d.ID), 20)
	step := func(name string, fn func(store.Tx) error) error {
		if err := db.Update(context.Background(), fn); err != nil {
			return err
		}
		// One write to a pipe is whole; what stands in it was acknowledged.
		_, err := os.Stdout.WriteString(name + " " + d.ID + "\n")
		return err
	}
	if err := step("inserted", func(tx store.Tx) error { return docs.Insert(tx, &d) }); err != nil {
		return err
	}
	if err := step("changed", func(tx store.Tx) error {
		_, err := docs.Change(tx, d.ID, func(d *Doc) error {
			d.N, d.Groups, d.Mail = 1, []string{"all", "changed"}, "new-"+d.Mail
			return nil
		})
		return err
	}); err != nil {
		return err
	}
	if d.ID[len(d.ID)-1]%3 != 0 {
		return nil
	}
	return step("deleted", func(tx store.Tx) error {
		got, err := docs.Get(tx, d.ID)
		if err != nil {
			return err
		}
		return docs.Delete(tx, got)
	})
}

// Kill runs this test binary, which env makes call Write, until a random number of
// acknowledgements has come, most at most, and then for a moment that nobody
// chose, to hit any point of a commit. It notes in acked the last state of each
// key that was acknowledged, and returns how many lines there were.
func Kill(t *testing.T, env string, most int, acked map[string]string) (n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after := 1 + mathrand.N(most)
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		state, key, ok := strings.Cut(lines.Text(), " ")
		if !ok || len(key) != store.IDLength {
			continue // the last line, cut by the kill
		}
		acked[key] = state
		if n++; n >= after && !killed {
			killed = true
			time.AfterFunc(time.Duration(mathrand.N(4000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !killed {
		t.Fatalf("the writer ended by itself: %v: %s", err, &stderr)
	}
	return n
}

// CheckKilled checks that nothing acknowledged is lost, and that records and
// indexes agree.
func CheckKilled(t *testing.T, db store.DB, acked map[string]string) {
	t.Helper()
	docs := Docs()
	if err := db.View(t.Context(), func(tx store.Tx) error {
		for key, state := range acked {
			d, err := docs.Get(tx, key)
			missing := errors.Is(err, store.ErrNotFound)
			if err != nil && !missing {
				return err
			}
			// The step after the acknowledged one may have been committed too.
			mayBeGone := key[len(key)-1]%3 == 0 && state != "inserted"
			switch {
			case state == "deleted" && !missing:
				t.Errorf("%s was deleted and is there", key)
			case missing && !mayBeGone:
				t.Errorf("%s was %s and is lost", key, state)
			case !missing && state == "changed" && d.N != 1:
				t.Errorf("%s lost its change", key)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := store.Verify(t.Context(), db, Schemas()); err != nil {
		t.Error(err)
	}
}
