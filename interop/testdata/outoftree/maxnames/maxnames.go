// Package maxnames is a judge that refuses certificates with many names.
package maxnames

import (
	"context"
	"errors"

	"chancery/engine"
)

// Config is the configuration of the judge.
type Config struct {
	// Most is how many names a certificate may have. Required.
	Most int `json:"most"`
}

// New makes the judge.
func New(c Config, _ engine.Deps) (engine.Judge, error) {
	if c.Most < 1 {
		return nil, errors.New("most is missing; say how many names a certificate may have")
	}
	return func(_ context.Context, _ *engine.Request, t engine.Rendered) (engine.Verdict, error) {
		if n := len(t.Draft.Names); n > c.Most {
			return engine.Deny(engine.PolicyRefused, "%d names are too many; ask for at most %d", n, c.Most), nil
		}
		return engine.Pass(), nil
	}, nil
}
