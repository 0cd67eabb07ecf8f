package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// noFacts stands for the engine while a document is only checked. Modules must
// not ask it before there is a request.
type noFacts struct{}

var errOffline = errors.New("this is only a check of the configuration")

func (noFacts) KeyBlocked(context.Context, [32]byte) (string, bool, error) {
	return "", false, errOffline
}

func (noFacts) CAKey([32]byte) bool { return false }

func noNetwork(context.Context, string, string) (net.Conn, error) { return nil, errOffline }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
