package archive

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/bolt"
)

type thing struct {
	ID   string
	Tags []string
}

var (
	things = store.Table[thing]{
		Name: "things", Version: 2, Key: func(t *thing) string { return t.ID },
		Indexes: []store.Index[thing]{
			{Name: "tag", Keys: func(t *thing) []string { return t.Tags }},
			{Name: "id", Unique: true, Keys: func(t *thing) []string { return []string{"x" + t.ID} }},
		},
	}
	blobs = store.Blobs{Name: "blobs"}
	empty = store.Blobs{Name: "empty"}

	schemas = []store.Schema{things.Schema(), blobs.Schema(), empty.Schema()}
	key     = []byte("the key that the nodes share")
)

func open(t testing.TB, all ...store.Schema) store.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, all...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// filled has documents of many sizes, one larger than a block.
func filled(t testing.TB, n int) store.DB {
	t.Helper()
	db := open(t, schemas...)
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for i := range n {
			v := thing{ID: fmt.Sprintf("%04d", i), Tags: []string{fmt.Sprint("t", i%3), strings.Repeat("z", i%50)}}
			if err := things.Insert(tx, &v); err != nil {
				return err
			}
		}
		for i, size := range []int{0, 1, 300, blockSize + 5, 10} {
			if err := blobs.Put(tx, fmt.Sprint("b", i), bytes.Repeat([]byte{byte(i)}, size)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return db
}

func written(t testing.TB, db store.DB) []byte {
	t.Helper()
	var out bytes.Buffer
	h := Header{Program: "1.2", Made: time.Unix(1e9, 0).UTC(), Seal: "5ea1", CAs: []CA{{"main", "abcd"}}}
	if err := Write(t.Context(), &out, h, []File{{"policy.yaml", []byte("a: b\n")}}, db, schemas, key); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	file := written(t, filled(t, 3000))
	into := open(t, schemas...)
	s, err := Load(t.Context(), bytes.NewReader(file), into, schemas)
	if err != nil {
		t.Fatal(err)
	}
	if s.Sums["things"].Documents != 3000 || s.Sums["blobs"].Documents != 5 || s.Sums["empty"].Documents != 0 || s.Seal != "5ea1" || s.Bytes != int64(len(file)) {
		t.Errorf("%+v", s)
	}
	if !s.Genuine(key) || s.Genuine([]byte("another")) {
		t.Error("who wrote it is not told")
	}
	if err := store.Verify(t.Context(), into, schemas); err != nil {
		t.Error(err)
	}
	if again := written(t, into); !bytes.Equal(again, file) {
		t.Error("written again it is another file")
	}
}

// A file that ends early, or has another octet anywhere, is refused.
func TestDamageIsFound(t *testing.T) {
	file := written(t, filled(t, 40))
	step := max(1, len(file)/300)
	places := map[string]bool{}
	check := func(what string, at int, b []byte) {
		t.Helper()
		_, err := Read(bytes.NewReader(b), Visitor{})
		if err == nil {
			t.Fatalf("%s at %d of %d is not found", what, at, len(file))
		}
		if !errors.Is(err, ErrDamaged) && at >= len(Magic) {
			t.Fatalf("%s at %d: %v", what, at, err)
		}
		if _, where, ok := strings.Cut(err.Error(), ", in "); ok {
			where, _, _ = strings.Cut(where, ":")
			places[where] = true
		}
	}
	for at := 0; at < len(file); at++ {
		// Every octet of the beginning and the end, where the blocks are small.
		if at > 1500 && at < len(file)-700 && at%step != 0 {
			continue
		}
		check("the end", at, file[:at])
		b := bytes.Clone(file)
		b[at] ^= 1 << (at % 8)
		check("a change", at, b)
	}
	check("something more", len(file), append(bytes.Clone(file), 0))
	for _, want := range []string{"its first line", "the header", "the files", "the table things", "the table blobs", "the table empty", "the trailer"} {
		if !places[want] {
			t.Errorf("no error names %s: %v", want, places)
		}
	}
}

// Blocks with right checksums in a wrong order, or the end of another file.
func TestBlocksHaveTheirPlace(t *testing.T) {
	a, b := written(t, filled(t, 40)), written(t, filled(t, 41))
	blocksA, blocksB := split(a), split(b)
	join := func(all ...[]byte) []byte { return bytes.Join(append([][]byte{[]byte(Magic)}, all...), nil) }
	n := len(blocksA)
	for name, file := range map[string][]byte{
		"end of another": join(append(append([][]byte{}, blocksA[:n-1]...), blocksB[len(blocksB)-1])...),
		"no trailer":     join(blocksA[:n-1]...),
		"table of another, with its sum": join(append(append([][]byte{}, blocksA[:2]...),
			append(append([][]byte{}, blocksB[2:5]...), blocksA[5:]...)...)...),
		"a block twice":         join(append(append([][]byte{}, blocksA[:4]...), blocksA[3:]...)...),
		"a block left out":      join(append(append([][]byte{}, blocksA[:3]...), blocksA[4:]...)...),
		"a table left out":      join(append(append([][]byte{}, blocksA[:2]...), blocksA[5:]...)...),
		"the header left out":   join(blocksA[1:]...),
		"the header twice":      join(append([][]byte{blocksA[0]}, blocksA...)...),
		"nothing but its line":  []byte(Magic),
		"another format's line": []byte("chancery backup 2\nxxxx"),
	} {
		if _, err := Read(bytes.NewReader(file), Visitor{}); err == nil {
			t.Errorf("%s: taken", name)
		} else {
			t.Log(name, "→", err)
		}
	}
	if _, err := Read(bytes.NewReader(join(blocksA...)), Visitor{}); err != nil {
		t.Fatal("split is wrong: ", err)
	}
}

func split(file []byte) (all [][]byte) {
	for rest := file[len(Magic):]; len(rest) > 0; {
		n := 5 + int(rest[1])<<24 + int(rest[2])<<16 + int(rest[3])<<8 + int(rest[4]) + 4
		all, rest = append(all, rest[:n]), rest[n:]
	}
	return all
}

// Blocks may be whole and what is in them not.
func TestDocumentsAreChecked(t *testing.T) {
	db := open(t, schemas...)
	if err := db.Update(t.Context(), func(tx store.Tx) error { return tx.Put("things", "k", []byte("no record")) }); err != nil {
		t.Fatal(err)
	}
	_, err := Load(t.Context(), bytes.NewReader(written(t, db)), open(t, schemas...), schemas)
	if !errors.Is(err, ErrDamaged) || !errors.Is(err, store.ErrCorrupt) {
		t.Error(err)
	}
}

func TestTablesOfOtherPrograms(t *testing.T) {
	file := written(t, filled(t, 3))
	older := things
	older.Version = 1
	for name, have := range map[string][]store.Schema{
		"unknown": {things.Schema(), blobs.Schema()},
		"newer":   {older.Schema(), blobs.Schema(), empty.Schema()},
	} {
		into := open(t, have...)
		if _, err := Load(t.Context(), bytes.NewReader(file), into, have); !errors.Is(err, ErrTables) {
			t.Errorf("%s: %v", name, err)
		}
		if err := Empty(t.Context(), into, have); err != nil {
			t.Errorf("%s: something was written: %v", name, err)
		}
	}
	// One that has more of them takes it.
	have := append([]store.Schema{store.Blobs{Name: "more"}.Schema()}, schemas...)
	if _, err := Load(t.Context(), bytes.NewReader(file), open(t, have...), have); err != nil {
		t.Error(err)
	}
}

// What a load that failed left is taken out again.
func TestClear(t *testing.T) {
	db := filled(t, 1200)
	if err := Empty(t.Context(), db, schemas); !errors.Is(err, ErrNotEmpty) {
		t.Fatal(err)
	}
	if err := Clear(t.Context(), db, schemas); err != nil {
		t.Fatal(err)
	}
	if err := Empty(t.Context(), db, schemas); err != nil {
		t.Error(err)
	}
	if _, err := Load(t.Context(), bytes.NewReader(written(t, filled(t, 1200))), db, schemas); err != nil {
		t.Error(err)
	}
}

// The disk that the file goes to is full.
func TestWriteFails(t *testing.T) {
	db := filled(t, 3000)
	for _, room := range []int{0, 10, 1000, 300_000} {
		w := &full{room: room}
		if err := Write(t.Context(), w, Header{}, nil, db, schemas, key); !errors.Is(err, errFull) {
			t.Errorf("room for %d octets: %v", room, err)
		}
	}
}

var errFull = errors.New("full")

type full struct{ room int }

func (w *full) Write(p []byte) (int, error) {
	if len(p) > w.room {
		return 0, errFull
	}
	w.room -= len(p)
	return len(p), nil
}

func FuzzRead(f *testing.F) {
	f.Add(written(f, filled(f, 2)))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		_, _ = Read(bytes.NewReader(file), Visitor{})
	})
}

// What the writer says of a table must be so, even in a file that is whole.
func TestSumsAreHeld(t *testing.T) {
	for name, end := range map[string]Sum{"right": newTableSum().sum(), "a document more": {1, newTableSum().sum().SHA256}, "another hash": {0, "00"}} {
		var out bytes.Buffer
		b := newWriter(&out)
		b.text(kindHeader, Header{Tables: []Table{{"empty", 1}}})
		b.text(kindTable, Table{"empty", 1})
		b.text(kindEnd, end)
		digest := hex.EncodeToString(b.sum.Sum(nil))
		b.text(kindTrailer, Trailer{digest, macOf(key, digest)})
		if err := b.flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&out, Visitor{}); (err == nil) != (name == "right") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	db := filled(b, 20_000)
	size := len(written(b, db))
	b.SetBytes(int64(size))
	for b.Loop() {
		if err := Write(b.Context(), io.Discard, Header{}, nil, db, schemas, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	file := written(b, filled(b, 20_000))
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := Load(b.Context(), bytes.NewReader(file), open(b, schemas...), schemas); err != nil {
			b.Fatal(err)
		}
	}
}
