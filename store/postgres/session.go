package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A session is a connection with what is prepared on it. It speaks the extended
// protocol itself, below pgx's batches, because an Update must have the server
// send the number of its transaction before it commits, and because a message
// costs nothing here but its bytes. The connection's own methods that read and
// write are for Open only: they do not know what is under way.
type session struct {
	pool   *pgxpool.Conn // while it is out of the pool
	pg     *pgconn.PgConn
	server server
	stmts  *statements

	buf     []byte // messages not sent yet
	bind    pgproto3.Bind
	parsed  []bool // by number of statement
	parsing []int  // sent to be parsed, in order
	open    bool   // inside a transaction
	syncs   int    // exchanges to be answered
	done    int    // statements of the exchange that was answered last, or is being

	rests int       // how often it was kept beside the pool
	since time.Time // when it was last
}

// A server is where a session is: a number of a transaction means the same in
// two sessions only if this is equal.
type server struct {
	system  string // the cluster
	started string // this run of its server
	lax     bool   // it answers a commit before it is on disk
}

// sessionKey is under which a connection keeps its session.
const sessionKey = "session"

func newSession(pg *pgconn.PgConn, s server, stmts *statements) *session {
	return &session{
		pg: pg, server: s, stmts: stmts, parsed: make([]bool, len(stmts.sql)),
		bind: pgproto3.Bind{ParameterFormatCodes: inBinary, ResultFormatCodes: inBinary, Parameters: make([][]byte, 0, 4)},
	}
}

var inBinary = []int16{pgproto3.BinaryFormat} // of all parameters, and of all columns

// A lostError says that the connection broke, so that nothing is known of what
// was sent last but what the server said before.
type lostError struct {
	err error

	// undone says that the server cannot have done what was sent last: it did
	// not get it, or refused it in so many words.
	undone bool
}

func (e *lostError) Error() string { return "the connection to the database broke: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// add queues the execution of a statement, with its preparation where this
// connection has not seen it yet.
func (s *session) add(stmt int, params ...[]byte) {
	name := s.stmts.names[stmt]
	if !s.parsed[stmt] {
		p := pgproto3.Parse{Name: name, Query: s.stmts.sql[stmt]}
		s.encode(&p)
		s.parsed[stmt] = true // or it would be sent twice; taken back if it fails
		s.parsing = append(s.parsing, stmt)
	}
	s.bind.PreparedStatement = name
	s.bind.Parameters = append(s.bind.Parameters[:0], params...)
	s.encode(&s.bind)
	s.buf = append(s.buf, executeMessage...)
}

// The messages that are always the same.
var (
	executeMessage = must((&pgproto3.Execute{}).Encode(nil))
	flushMessage   = must((&pgproto3.Flush{}).Encode(nil))
	syncMessage    = must((&pgproto3.Sync{}).Encode(nil))
)

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func (s *session) encode(m pgproto3.FrontendMessage) {
	b, err := m.Encode(s.buf)
	if err != nil {
		// Only of a message above 1 GiB, and no key or document that the overlay
		// lets through is longer than store.MaxDoc, 64 MiB: whoever sees this has
		// found a fault of ours, which must not be told as one of the database.
		panic("store: a message that cannot be encoded: " + err.Error())
	}
	s.buf = b
}

// keptBuffer is how large the buffer of a session may stay.
const keptBuffer = 64 << 10

// exchange sends what was queued, and then reads the answer up to the end of
// the exchange. It calls row for each row that comes; the values are good until
// it returns.
//
// A *pgconn.PgError says that nothing of what was sent since the last exchange,
// or of the whole transaction, was done, unless the session ended by it.
func (s *session) exchange(deadline time.Time, row func(values [][]byte)) error {
	s.stmts.exchanges.Add(1)
	s.sync()
	if err := s.send(deadline); err != nil {
		return err
	}
	return s.receive(row)
}

// sync queues the end of an exchange.
func (s *session) sync() {
	s.buf = append(s.buf, syncMessage...)
	s.syncs++
}

func (s *session) send(deadline time.Time) error {
	buf := s.buf
	s.buf = s.buf[:0]
	if cap(s.buf) > keptBuffer {
		s.buf = nil
	}
	if err := s.pg.Conn().SetDeadline(deadline); err != nil {
		return s.lost(err, true)
	}
	if n, err := s.pg.Conn().Write(buf); err != nil {
		return s.lost(err, n == 0)
	}
	return nil
}

func (s *session) receive(row func(values [][]byte)) error {
	var failed *pgconn.PgError
	s.done = 0
	for {
		msg, err := s.pg.Frontend().Receive()
		if err != nil {
			if failed == nil {
				return s.lost(err, false)
			}
			return s.lost(failed, true) // the last words of the server; answers come in order
		}
		switch m := msg.(type) {
		case *pgproto3.ParseComplete:
			s.parsing = s.parsing[1:]
		case *pgproto3.DataRow:
			if row != nil {
				row(m.Values)
			}
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			if s.syncs--; s.syncs > 0 { // of a ROLLBACK that was sent with what followed
				if failed != nil {
					return s.lost(failed, true) // what followed was not looked at yet
				}
				s.done = 0
				continue
			}
			for _, stmt := range s.parsing { // the server skipped them
				s.parsed[stmt] = false
			}
			s.parsing = s.parsing[:0]
			s.open = m.TxStatus != 'I'
			if failed != nil {
				return failed
			}
			return nil
		case *pgproto3.CommandComplete:
			s.done++
		case *pgproto3.BindComplete, *pgproto3.EmptyQueryResponse,
			*pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			return s.lost(fmt.Errorf("unexpected message %T", msg), false)
		}
	}
}

// lost ends a connection that broke, or of which the state is not known.
func (s *session) lost(err error, undone bool) error {
	s.close()
	return &lostError{err, undone}
}

// goodbye bounds what telling the server of the end may take.
const goodbye = 100 * time.Millisecond

func (s *session) close() {
	_ = s.pg.Conn().SetDeadline(time.Now().Add(goodbye))
	_ = s.pg.Close(context.Background())
}

// release gives the connection back to the pool, which throws it away if it
// broke. One that still is inside a transaction is broken here.
func (s *session) release() {
	if s.pool == nil {
		return
	}
	switch {
	case s.pg.IsClosed():
	case s.open || len(s.buf) > 0:
		s.close()
	default:
		_ = s.pg.Conn().SetDeadline(time.Time{})
	}
	c := s.pool
	s.pool = nil
	c.Release()
}

// code is the SQLSTATE of an error of the server, or nothing.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
