package postgres

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"chancery/store"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"
)

// crashDSN, in the environment, makes the test binary the process to be killed.
const crashDSN = "CHANCERY_CRASH_DSN"

func TestMain(m *testing.M) {
	if dsn := os.Getenv(crashDSN); dsn != "" {
		fmt.Fprintln(os.Stderr, write(dsn))
		os.Exit(1)
	}
	os.Exit(pgtest.Run(m))
}

// TestConformance has a schema for each place: a database would take longer.
func TestConformance(t *testing.T) {
	dsn := pgtest.DSN(t)
	var mu sync.Mutex
	schemas := map[string]string{} // of the places
	storetest.Run(t, func(t *testing.T, place string, tables ...store.Schema) (store.DB, error) {
		mu.Lock()
		if schemas[place] == "" {
			schemas[place] = fmt.Sprint("s", len(schemas))
		}
		schema := schemas[place]
		mu.Unlock()
		db, err := Open(t.Context(), with(t, dsn, "search_path", schema), Options{}, tables...)
		if err != nil {
			return nil, err
		}
		return db, nil
	})
}
