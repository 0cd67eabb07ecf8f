package postgres

import (
	"os"
	"sync"
	"testing"

	"chancery/store"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestConformance(t *testing.T) {
	var mu sync.Mutex
	dsns := map[string]string{} // of the places
	storetest.Run(t, func(t *testing.T, place string, schemas ...store.Schema) (store.DB, error) {
		mu.Lock()
		defer mu.Unlock()
		if dsns[place] == "" {
			dsns[place] = pgtest.DSN(t)
		}
		db, err := Open(t.Context(), dsns[place], Options{}, schemas...)
		if err != nil {
			return nil, err
		}
		return db, nil
	})
}
