package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chancery/store"

	"go.etcd.io/bbolt"
)

// A Compaction is what Compact did.
type Compaction struct {
	Before, After int64 // octets of the file
	Documents     int   // in all tables, without index entries
}

const (
	// compactFill is how full the new pages are: rows that are changed later, and
	// keys that come in between, find a little room.
	compactFill = 0.95

	// compactBatch is how many octets are copied in one transaction.
	compactBatch = 4 << 20

	// A dictionary is made of neighbours in so many places of a table, and no
	// longer than dictSize: more finds nothing new in rows of one kind. Neighbours,
	// because the rows of one request lie together and are not alike.
	dictPlaces     = 5
	dictNeighbours = 4
	dictSize       = 8 << 10
)

// Compact writes the file anew without its free pages, with full pages and
// packed documents, compares count and SHA-256 of every table of both, and puts
// the new file in the place of the old one, which stays as it is until then. No
// process can have the file open meanwhile (ErrHeld). Progress, if not nil, is
// told how many documents and entries of about how many are done.
func Compact(ctx context.Context, path string, progress func(done, of int)) (c Compaction, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil { // or the new file would take the place of the link
		return c, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return c, err
	}
	c.Before = info.Size()
	src, err := openFile(path)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	temp := path + ".compact"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) { // of a Compact that was killed
		return c, err
	}
	err = store.Guard(func() (err error) {
		c.Documents, err = compactTo(ctx, src, temp, progress)
		return err
	})
	if err == nil {
		err = sameOwner(temp, info) // an administrator may do this for the server's user
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		if rm := os.Remove(temp); !errors.Is(rm, os.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return c, err
	}
	if info, err = os.Stat(path); err == nil {
		c.After = info.Size()
	}
	return c, errors.Join(err, syncDir(filepath.Dir(path)))
}

// compactTo makes the new file, on the disk to its last octet and compared.
func compactTo(ctx context.Context, src *bbolt.DB, path string, progress func(done, of int)) (documents int, err error) {
	dst, err := openFile(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	dst.NoSync, dst.NoGrowSync = true, true // once at the end
	dst.AllocSize = 64 << 10                // of a file that will not grow at once again
	err = src.View(func(tx *bbolt.Tx) error {
		tables, err := tableStates(tx)
		if err != nil {
			return err
		}
		k := &compaction{ctx: ctx, dst: dst, tables: tables, progress: progress, sums: map[string]sum{}}
		defer k.rollback()
		if err := tx.ForEach(k.measure); err != nil {
			return err
		}
		if err := tx.ForEach(k.bucket); err != nil {
			return err
		}
		documents = k.documents
		return k.end()
	})
	if err != nil {
		return 0, err
	}
	dst.NoSync, dst.NoFreelistSync = false, false // opening it need not look at every page
	if err := dst.Update(func(*bbolt.Tx) error { return nil }); err != nil {
		return 0, err
	}
	return documents, dst.Sync()
}

// tableStates reads what the file says of its tables.
func tableStates(tx *bbolt.Tx) (map[string]*tableState, error) {
	b := tx.Bucket([]byte(tablesBucket))
	if b == nil {
		return nil, errors.New("the file has no tables: it is no database of chancery")
	}
	all := map[string]*tableState{}
	err := b.ForEach(func(name, _ []byte) (err error) {
		all[string(name)], err = readState(tx, string(name))
		return err
	})
	return all, err
}

// A compaction is Compact on its way.
type compaction struct {
	ctx      context.Context
	dst      *bbolt.DB
	tables   map[string]*tableState // by name, as the old file has them
	progress func(done, of int)

	tx                  *bbolt.Tx // of dst
	size                int       // of what tx wrote
	done, of, documents int
	sums                map[string]sum // of the old buckets, by name
}

// A sum stands for the content of a bucket.
type sum struct {
	n    int
	hash [sha256.Size]byte
}

func (k *compaction) measure(name []byte, b *bbolt.Bucket) error {
	if string(name) == tablesBucket {
		return nil
	}
	n := b.Stats().KeyN
	k.of += 2 * n // copied, and compared
	if k.tables[string(name)] != nil {
		k.documents += n
	}
	return k.ctx.Err()
}

// bucket copies one.
func (k *compaction) bucket(name []byte, old *bbolt.Bucket) error {
	if string(name) == tablesBucket {
		return nil // is written at the end, as it is then
	}
	wrap := func(v []byte) ([]byte, error) { return v, nil }
	open := func(v []byte) []byte { return v }
	if st := k.tables[string(name)]; st != nil {
		open = newForm(st).open
		dict := dictionary(old, open)
		p, err := newPacker(dict)
		if err != nil {
			return err
		}
		wrap = func(v []byte) ([]byte, error) { return p.wrap(open(v)) }
		st.Framed, st.Dict = true, dict
	}
	h, n := sha256.New(), 0
	for c, key, v := each(old); key != nil; key, v = c.Next() {
		add(h, key, open(v))
		n++
		value, err := wrap(v)
		if err == nil {
			err = k.put(name, key, value)
		}
		if err != nil {
			return err
		}
	}
	k.sums[string(name)] = sum{n, [sha256.Size]byte(h.Sum(nil))}
	return k.put(name, nil, nil)
}

func each(b *bbolt.Bucket) (c *bbolt.Cursor, key, value []byte) {
	c = b.Cursor()
	key, value = c.First()
	return c, key, value
}

// add adds a key and its document to a hash.
func add(h interface{ Write([]byte) (int, error) }, key, doc []byte) {
	var b [2 * binary.MaxVarintLen64]byte
	head := binary.AppendUvarint(binary.AppendUvarint(b[:0], uint64(len(key))), uint64(len(doc)))
	for _, part := range [][]byte{head, key, doc} {
		_, _ = h.Write(part) // of a hash never fails
	}
}

// put writes into the new file, in order; no key makes the bucket alone. The
// value may be changed afterwards.
func (k *compaction) put(name, key, value []byte) (err error) {
	if k.tx == nil {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		if k.tx, err = k.dst.Begin(true); err != nil {
			return err
		}
	}
	b, err := k.tx.CreateBucketIfNotExists(name)
	if err != nil || key == nil {
		return err
	}
	b.FillPercent = compactFill
	if err := b.Put(key, bytes.Clone(value)); err != nil {
		return err
	}
	k.tell(1)
	if k.size += len(key) + len(value); k.size < compactBatch {
		return nil
	}
	return k.commit()
}

func (k *compaction) commit() error {
	tx := k.tx
	k.tx, k.size = nil, 0
	if tx == nil {
		return nil
	}
	return tx.Commit()
}

func (k *compaction) rollback() {
	if k.tx != nil {
		_ = k.tx.Rollback() // the file will be deleted
	}
}

func (k *compaction) tell(n int) {
	if k.done += n; k.progress != nil {
		k.progress(k.done, k.of)
	}
}

// end writes what is to be known of the tables, and compares.
func (k *compaction) end() error {
	err := k.commit()
	if err == nil {
		err = k.dst.Update(func(tx *bbolt.Tx) error {
			for name, st := range k.tables {
				if err := writeState(tx, name, st); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return k.dst.View(func(tx *bbolt.Tx) error {
		written, err := tableStates(tx)
		if err != nil {
			return err
		}
		for name, want := range k.sums {
			open := func(v []byte) []byte { return v }
			if st := written[name]; st != nil {
				open = newForm(st).open
			}
			h, n := sha256.New(), 0
			for c, key, v := each(tx.Bucket([]byte(name))); key != nil; key, v = c.Next() {
				add(h, key, open(v))
				n++
				k.tell(1)
			}
			if (sum{n, [sha256.Size]byte(h.Sum(nil))}) != want {
				return fmt.Errorf("%w: the table %s is another in the new file, so the old one stays: is the disk in order?", store.ErrCorrupt, name)
			}
		}
		return k.ctx.Err()
	})
}

// dictionary takes some documents from all over the table.
func dictionary(b *bbolt.Bucket, open func([]byte) []byte) []byte {
	step, i := b.Stats().KeyN/dictPlaces+1, 0
	var dict []byte
	for c, key, v := each(b); key != nil && len(dict) < dictSize; key, v = c.Next() {
		if i++; i%step < dictNeighbours {
			doc := open(v)
			dict = append(dict, doc[:min(len(doc), dictSize-len(dict))]...)
		}
	}
	return dict
}
