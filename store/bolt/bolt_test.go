package bolt

import (
	"path/filepath"
	"testing"

	"chancery/store"
	"chancery/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, place string, schemas ...store.Schema) (store.DB, error) {
		return Open(filepath.Join(place, "db"), Options{}, schemas...)
	})
}
