package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"chancery/store"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// outcome learns what became of a transaction whose COMMIT was sent and not
// answered. It returns nil when it was committed, an error that lets it be tried
// again when it was not, and store.ErrUnknown when that cannot be learnt.
func (d *DB) outcome(ctx context.Context, cause *lostError, was server, number []byte, w store.Write) error {
	if len(number) != 8 {
		d.lost.Add(1)
		return fmt.Errorf("%w: %w", store.ErrUnknown, cause)
	}
	d.reset()
	xid := binary.BigEndian.Uint64(number)
	var p pace
	for {
		status, err := d.ask(ctx, was, xid, w)
		switch {
		case err == nil && status == committed:
			d.o.Log.InfoContext(ctx, "the answer to a commit was lost; the transaction was committed", "transaction", xid)
			return nil
		case err == nil && status == aborted:
			return &lostError{cause.err, true}
		case err == nil: // its session has not noticed yet that we are gone
		case !broken(err) && judge(err) == never:
			d.lost.Add(1)
			return fmt.Errorf("%w: %w: %w", store.ErrUnknown, cause, err)
		}
		if !p.wait(ctx, d.o) {
			d.lost.Add(1)
			return fmt.Errorf("%w: %w", store.ErrUnknown, errors.Join(cause, err))
		}
	}
}

type status int

const (
	running status = iota
	committed
	aborted
)

// errElsewhere says that the server cannot know.
var errElsewhere = errors.New("the server that answers now is another")

// ask asks the server for the outcome of a transaction.
func (d *DB) ask(ctx context.Context, was server, xid uint64, w store.Write) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, d.o.Patience)
	defer cancel()
	s, err := d.pooled(ctx)
	if err != nil {
		return running, err
	}
	defer s.release()
	if s.server.system != was.system {
		return running, errElsewhere
	}
	conn := s.pool.Conn()
	var says *string
	err = conn.QueryRow(ctx, "select pg_xact_status($1::text::xid8)", pgx.QueryExecModeExec, strconv.FormatUint(xid, 10)).Scan(&says)
	if code(err) == invalidParameter { // in the future: what the server that died had begun did not survive
		return aborted, nil
	}
	switch {
	case err != nil:
		return running, asLost(err)
	case says == nil:
		return running, errElsewhere // too long ago to be kept
	case *says == "aborted":
		return aborted, nil
	case *says == "in progress":
		return running, nil
	case s.server == was:
		return committed, nil
	}
	return d.look(ctx, conn, xid, w)
}

// look makes sure that a number which another run of the server calls committed
// is ours: a number that died with the server is given again.
func (d *DB) look(ctx context.Context, conn *pgx.Conn, xid uint64, w store.Write) (status, error) {
	if w.Kind == store.KindDelete {
		return running, errElsewhere
	}
	var doc []byte
	err := conn.QueryRow(ctx, "select doc from "+quote(d.schema, w.Table)+" where key = $1 and xmin::text = $2", pgx.QueryExecModeExec,
		[]byte(w.Key), strconv.FormatUint(uint64(uint32(xid)), 10)).Scan(&doc)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && !bytes.Equal(doc, w.Doc):
		return running, errElsewhere
	case err != nil:
		return running, asLost(err)
	}
	return committed, nil
}

// asLost makes every error but the server's own one that is tried again.
func asLost(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return err
	}
	return &lostError{err, true}
}
