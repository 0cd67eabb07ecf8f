package postgres

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"chancery/store"

	"github.com/jackc/pgx/v5/pgconn"
)

// The SQLSTATEs that mean something to us.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	readOnlyTransaction  = "25006"
	unknownStatement     = "26000" // a pooler gave us another session
	planChanged          = "0A000" // somebody changed the tables
	queryCanceled        = "57014" // statement_timeout
	tooManyConnections   = "53300"
	invalidParameter     = "22023"
)

// judge says what is to follow an error after which nothing was written, or of
// which the outcome is not known.
func judge(err error) verdict {
	switch {
	case errors.Is(err, store.ErrUnknown), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return never
	}
	switch code(err) {
	case serializationFailure, deadlockDetected, tooManyConnections:
		return soon
	case uniqueViolation:
		return looking
	case readOnlyTransaction, unknownStatement, planChanged:
		return afresh
	}
	if broken(err) || ending(err) {
		return afresh
	}
	return never
}

// broken reports whether there is, or is no more, a connection.
func broken(err error) bool {
	var lost *lostError
	var connect *pgconn.ConnectError
	var dial *net.OpError
	return errors.As(err, &lost) || errors.As(err, &connect) || errors.As(err, &dial)
}

// ending reports whether the server says that it ends, begins, or lost us.
func ending(err error) bool {
	c := code(err)
	return strings.HasPrefix(c, "57P") || strings.HasPrefix(c, "08")
}
