package postgres

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"chancery/store"

	"github.com/jackc/pgx/v5"
)

// The statements that belong to no table.
const (
	stmtView     = iota // begin what View needs
	stmtUpdate          // begin what Update needs
	stmtCommit          //
	stmtRollback        //
	stmtNumber          // the number of the transaction
	fixed
)

// The statements of each table, after the fixed ones.
const (
	stmtGet         = iota
	stmtScan        // from $1 to before $2, $3 rows at most
	stmtScanOn      // from $1 on, $2 rows at most
	stmtInsert      //
	stmtInsertFirst // and the number of the transaction
	stmtPut
	stmtPutFirst
	stmtDelete
	perTable
)

// statements is all SQL that transactions send. A session prepares each when it
// first needs it.
type statements struct {
	sql    []string
	names  []string       // under which they are prepared
	tables map[string]int // number of a table

	exchanges atomic.Uint64
}

// maxName is how long PostgreSQL lets a name be, in bytes.
const maxName = 63

// declare makes the statements for the tables of the schemas.
func declare(schema string, schemas []store.Schema) (*statements, error) {
	s := &statements{tables: map[string]int{}, sql: []string{
		stmtView:     "begin isolation level repeatable read read only",
		stmtUpdate:   "begin isolation level serializable",
		stmtCommit:   "commit",
		stmtRollback: "rollback",
		stmtNumber:   "select " + number,
	}}
	for _, d := range schemas {
		names := []string{d.Name}
		for _, ix := range d.Indexes {
			names = append(names, ix.Name)
		}
		for _, n := range names {
			if _, twice := s.tables[n]; twice || n == "" || n[0] == '_' || len(n) > maxName {
				return nil, fmt.Errorf("store: the table name %q is declared twice or not allowed", n)
			}
			s.tables[n] = len(s.tables)
			s.sql = append(s.sql, ofTable(quote(schema, n))...)
		}
	}
	for i := range s.sql {
		s.names = append(s.names, "c"+strconv.Itoa(i))
	}
	return s, nil
}

func quote(names ...string) string { return pgx.Identifier(names).Sanitize() }

// number is the number of the transaction, in eight bytes.
const number = "pg_current_xact_id()"

func ofTable(t string) []string {
	insert := "insert into " + t + " values ($1, $2)"
	put := insert + " on conflict (key) do update set doc = excluded.doc"
	return []string{
		stmtGet:         "select doc from " + t + " where key = $1",
		stmtScan:        "select key, doc from " + t + " where key >= $1 and key < $2 order by key limit $3",
		stmtScanOn:      "select key, doc from " + t + " where key >= $1 order by key limit $2",
		stmtInsert:      insert,
		stmtInsertFirst: insert + " returning " + number,
		stmtPut:         put,
		stmtPutFirst:    put + " returning " + number,
		stmtDelete:      "delete from " + t + " where key = $1",
	}
}

// of is the number of a table's statement.
func (s *statements) of(table string, kind int) (int, error) {
	t, ok := s.tables[table]
	if !ok {
		return 0, unknown(table)
	}
	return fixed + t*perTable + kind, nil
}

func unknown(table string) error {
	return fmt.Errorf("store: the table %s was not declared when the store was opened", table)
}
