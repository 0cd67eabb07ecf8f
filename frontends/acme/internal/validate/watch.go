package validate

import (
	"context"
	"fmt"
)

// A Step is one thing that a validation did, for an administrator who wants to
// know why it fails. It holds nothing that a server sent but numbers, and names
// and addresses in printable form.
type Step struct {
	About string `json:"about"` // dns, address, connect, http, tls, txt, caa
	Text  string `json:"text"`
}

type watching struct{}

// Watched makes fn see the steps of validations with the returned context. It is
// called from one goroutine at a time.
func Watched(ctx context.Context, fn func(Step)) context.Context {
	return context.WithValue(ctx, watching{}, fn)
}

// Note adds a step to those that are watched.
func Note(ctx context.Context, about, format string, args ...any) { note(ctx, about, format, args...) }

func note(ctx context.Context, about, format string, args ...any) {
	if fn, ok := ctx.Value(watching{}).(func(Step)); ok {
		fn(Step{about, printable(fmt.Sprintf(format, args...))})
	}
}

const maxText = 500

// printable keeps control characters, and more than a line, away from terminals.
func printable(s string) string {
	b := []byte(s[:min(len(s), maxText)])
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b)
}
