package interop

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/interop/invariants"
	"chancery/store/bolt"
)

// One bit of the database file is flipped, anywhere, or its end is cut off. Then
// opening it, reading it or checking it says so, or nothing of what it says has
// changed.
func TestXD_007_DamagedFile(t *testing.T) {
	t.Parallel()
	times := 150
	if long() {
		times = 2000
	}
	x := newCrash(t, boltRecords{t})
	x.ops = append(nativeOps(x), acmeOps(x)...)
	x.start()
	for range 10 {
		x.finish("nothing is wrong")
	}
	x.stop()
	whole := []byte(read(t, filepath.Join(x.data, "chancery.db")))
	want := x.records.read(x.ca)
	must(t, x.history.Check(want))

	random := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
	dir := t.TempDir()
	found := 0
	for n := range times {
		damaged, what := append([]byte(nil), whole...), ""
		if n%20 == 0 {
			size := random.IntN(len(whole))
			damaged, what = damaged[:size], fmt.Sprintf("cut off at %d of %d", size, len(whole))
		} else {
			bit := random.IntN(8 * len(whole))
			damaged[bit/8] ^= 1 << (bit % 8)
			what = fmt.Sprintf("bit %d of octet %d", bit%8, bit/8)
		}
		file := filepath.Join(dir, fmt.Sprint(n))
		must(t, os.WriteFile(file, damaged, 0o600))
		got, err := readDamaged(t.Context(), file)
		must(t, os.Remove(file))
		if err == nil {
			err = x.history.Check(got)
		}
		if err != nil {
			found++
			continue
		}
		if kinds := differs(got, want); len(kinds) > 0 {
			t.Errorf("%s: nothing is said, and these records are not what they were: %s", what, kinds)
		}
	}
	t.Logf("%d damages, %d of them found, the others in what nothing refers to", times, found)
	if found == 0 {
		t.Error("nothing was ever found")
	}
}

// differs names the kinds of records that differ. The name of a trail after its
// request's does not count: nothing but their order depends on it.
func differs(got, want *invariants.State) (kinds []string) {
	a, b := reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem()
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		if name != "Raws" && name != "Trails" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			kinds = append(kinds, name)
		}
	}
	if len(got.Trails) != len(want.Trails) {
		kinds = append(kinds, "Trails")
	}
	for key, doc := range got.Raws {
		if !strings.Contains(key, ".trail.") && !bytes.Equal(doc, want.Raws[key]) {
			kinds = append(kinds, fmt.Sprintf("%q", key))
		}
	}
	return kinds
}

// readDamaged opens a file and reads everything. What would end the process is an
// error here: it is found, if not in the best of ways.
func readDamaged(ctx context.Context, file string) (s *invariants.State, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	db, err := bolt.Open(file, bolt.Options{}, engine.Schemas()...)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if s, err = invariants.Read(ctx, db); err != nil {
		return nil, err
	}
	return s, nil
}
