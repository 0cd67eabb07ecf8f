package bolt

import (
	"chancery/store"

	"go.etcd.io/bbolt"
)

func (d *DB) prepare(schemas []store.Schema) error {
	return d.b.Update(func(tx *bbolt.Tx) error {
		for _, s := range schemas {
			names := []string{s.Name}
			for _, ix := range s.Indexes {
				names = append(names, ix.Name)
			}
			for _, n := range names {
				if _, err := tx.CreateBucketIfNotExists([]byte(n)); err != nil {
					return err
				}
				d.tables[n] = len(d.names)
				d.names = append(d.names, []byte(n))
				d.fills = append(d.fills, fill{})
			}
		}
		return nil
	})
}
