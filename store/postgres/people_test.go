package postgres

import (
	"context"
	"strings"
	"testing"

	"chancery/store"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"

	"github.com/jackc/pgx/v5"
)

// ask runs one query as a person would.
func ask(t *testing.T, dsn, sql string, to ...any) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql).Scan(to...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// TestViewsForPeople checks that a person with psql can read documents, and that
// none of them makes a view fail.
func TestViewsForPeople(t *testing.T) {
	dsn := pgtest.DSN(t)
	db := open(t, dsn, Options{})
	docs := storetest.Docs()
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for _, d := range []storetest.Doc{{ID: "plain", Mail: "a@example.com", N: 7}, {ID: "zero", Mail: "a\x00b"}, {ID: "a\x00'\\", Mail: "hostile key"}} {
			if err := docs.Insert(tx, &d); err != nil {
				return err
			}
		}
		for _, doc := range []string{"", "1234", "12345", "12345\xff\xfe", "12345{\"a\":", "12345\x00", "12345\"\\ud800\""} {
			if err := tx.Put(raw, "k\xff"+doc, []byte(doc)); err != nil {
				return err
			}
		}
		return store.Blobs{Name: "blobs"}.Insert(tx, "der", []byte{0x30, 0x82, 0, 0xff})
	}); err != nil {
		t.Fatal(err)
	}
	var mail, text, bytes string
	var n, format int
	ask(t, dsn, "select document->>'Mail', (document->>'N')::int, format from chancery.v_docs where key = 'plain'", &mail, &n, &format)
	if mail != "a@example.com" || n != 7 || format != 1 {
		t.Errorf("the view shows %q, %d, format %d", mail, n, format)
	}
	ask(t, dsn, "select document #>> '{}' from chancery.v_docs where key = 'zero'", &text)
	if !strings.Contains(text, `"a\u0000b"`) {
		t.Errorf("a document that jsonb cannot hold is shown as %q, want its text", text)
	}
	ask(t, dsn, "select document->>'bytes' from chancery.v_blobs where key = 'der'", &bytes)
	if !strings.HasSuffix(bytes, "013082"+"00ff") {
		t.Errorf("a blob is shown as %q", bytes)
	}
	for view, want := range map[string]int{"v_docs": 3, "v_raw": 7, "v_blobs": 1} {
		ask(t, dsn, "select count(document::text || key) from chancery."+view, &n)
		if n != want {
			t.Errorf("%s shows %d rows, want %d", view, n, want)
		}
	}
}

// TestCollation makes sure that the test database does not order keys as bytes
// by itself, or the conformance suite would show nothing.
func TestCollation(t *testing.T) {
	var text, key bool
	dsn := pgtest.DSN(t)
	open(t, dsn, Options{})
	ask(t, dsn, "select 'a' < 'B', 'a'::bytea < 'B'::bytea", &text, &key)
	if !text || key {
		t.Errorf("text: a < B is %v, bytes: %v, want true and false", text, key)
	}
}
