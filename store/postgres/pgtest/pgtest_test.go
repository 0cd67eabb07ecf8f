package pgtest

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestDSN(t *testing.T) { t.Log(DSN(t)) }
