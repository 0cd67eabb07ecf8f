package engine

import (
	"testing"

	"chancery/engine/tbs"
)

func mustSign(t *testing.T, w *world, raw []byte) []byte {
	t.Helper()
	is := w.current["main"]
	der, err := tbs.Sign(raw, is.alg, is.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
