package pgtest

import (
	"strconv"
	"testing"
)

// Database makes an empty database that lasts as long as the cluster, and returns
// its name.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name := "d" + strconv.FormatInt(c.names.Add(1), 10)
	if err := c.Exec("postgres", "create database "+name+" template template0"); err != nil {
		t.Fatal(err)
	}
	return name
}
