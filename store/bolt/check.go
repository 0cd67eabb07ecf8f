package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"

	"chancery/store"

	"go.etcd.io/bbolt"
)

// maxPageFindings bounds what CheckPages reports: more would not help.
const maxPageFindings = 100

// CheckPages looks at the pages of the file: that each belongs to one place and
// that keys are in order. Nobody may write meanwhile. It says what is wrong;
// the error is of ctx or of a file that cannot be read.
func (d *DB) CheckPages(ctx context.Context) (found []error, err error) {
	info, err := os.Stat(d.b.Path())
	if err != nil {
		return nil, err
	}
	err = d.b.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() { // what is behind the end cannot be looked at
			found = append(found, fmt.Errorf("%w: the file has %d bytes and should have %d: it was cut off", store.ErrCorrupt, info.Size(), tx.Size()))
			return nil
		}
		for err := range tx.Check() { // to the end, which it waits for
			if len(found) < maxPageFindings {
				found = append(found, fmt.Errorf("%w: %w", store.ErrCorrupt, err))
			}
		}
		return nil
	})
	return found, errors.Join(err, ctx.Err())
}
