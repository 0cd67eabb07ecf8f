package serve

import (
	"context"
	"fmt"
	"io"
	"sync"

	"chancery/cmd/chancery/app/backup"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/frontends/native"
)

// A keeper makes backups for those who ask a server, one at a time: each needs
// room on the disk.
type keeper struct {
	node *node.Node
	busy sync.Mutex
}

// make writes all records down, so that whoever reads them may be slow. Who took
// them is recorded before the first octet is sent.
func (k *keeper) make(ctx context.Context, a engine.Actor) (io.ReadCloser, int64, error) {
	if !k.busy.TryLock() {
		return nil, 0, native.ErrBusy
	}
	defer k.busy.Unlock()
	m, err := backup.Spool(ctx, backup.Of(k.node))
	if err != nil {
		return nil, 0, err
	}
	n := k.node
	if err := engine.RecordBackup(ctx, n.DB, a, n.Now(), n.Rand, fmt.Sprintf("%d octets, SHA-256 %s", m.Size, m.SHA256)); err != nil {
		m.Close()
		return nil, 0, err
	}
	n.Log.InfoContext(ctx, "a backup was made", "by", a.Person, "octets", m.Size)
	return m, m.Size, nil
}
