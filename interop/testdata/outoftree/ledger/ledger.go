// Package ledger is an exit that writes a line for each certificate.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chancery/engine"
)

// Config is the configuration of the exit.
type Config struct {
	// Path is the file, under the server's data unless it is absolute. Optional;
	// default ledger.txt.
	Path string `json:"path,omitempty"`
}

// New makes the exit.
func New(c Config, d engine.Deps) (engine.Exit, error) {
	if c.Path == "" {
		c.Path = "ledger.txt"
	}
	if !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(d.Dir, c.Path)
	}
	return ledger{c.Path}, nil
}

type ledger struct{ path string }

// Wants implements engine.Exit.
func (ledger) Wants() []engine.EventKind { return []engine.EventKind{engine.EventIssued} }

// Tell implements engine.Exit. A line may be there twice: an event is told again
// when it is not sure that it was taken.
func (l ledger) Tell(_ context.Context, ev engine.Event) error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, ev.ID, ev.Serial, ev.Names)
	return errors.Join(err, f.Sync(), f.Close())
}
