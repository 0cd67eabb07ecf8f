package pgtest

import "testing"

// Database makes an empty database that lasts as long as the cluster, and returns
// its name.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name, err := c.Create()
	if err != nil {
		t.Fatal(err)
	}
	return name
}
