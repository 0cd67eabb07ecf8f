package native

import (
	"context"
	"errors"
	"net/http"
	"time"

	"chancery/engine"
)

// Limits is what the frontend needs to tell who is held back, and to let them go
// on.
type Limits interface {
	// Limited lists who is held back.
	Limited(ctx context.Context) (*Limited, error)

	// Resume forgets the failures of an ACME account, or of a name for all
	// accounts, and returns how many of them there were.
	Resume(ctx context.Context, a engine.Actor, what string) (int, error)
}

// Limited is who is held back: by the rates, as the node that answers has seen it
// lately, and by a pause, wherever.
type Limited struct {
	Held   []Held  `json:"held"`
	Paused []Pause `json:"paused"`
}

// A Held is somebody who did too much.
type Held struct {
	Limit    string    `json:"limit"`
	Endpoint string    `json:"endpoint"` // such as acme/default
	Of       string    `json:"of"`       // account, name or address
	Until    time.Time `json:"until"`
	Times    int       `json:"times"` // that it was refused
}

// A Pause is an ACME account that failed to prove a name over and over.
type Pause struct {
	Account  string    `json:"account"`
	Endpoint string    `json:"endpoint"`
	Name     string    `json:"name"`
	Failures int       `json:"failures"`
	Since    time.Time `json:"since"`
	Last     time.Time `json:"last"` // failure
}

var (
	// ErrNothingPaused is what Resume returns when there is nothing to resume.
	ErrNothingPaused = errors.New("nothing is paused and no failures are counted for this; chancery status lists what is paused")

	// ErrNotResumable is what Resume returns for what is neither account nor name.
	ErrNotResumable = errors.New("give the id or address of an account, or a name")
)

func (f *Frontend) resume(w http.ResponseWriter, r *http.Request, c *caller) error {
	var body struct {
		What string `json:"what"`
	}
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if err := text("what", body.What, 300); err != nil {
		return err
	}
	if f.d.Limits == nil {
		return &problem{Status: http.StatusNotFound, Reason: "not-found", Detail: "This server limits nobody."}
	}
	n, err := f.d.Limits.Resume(r.Context(), c.actor, body.What)
	switch {
	case errors.Is(err, ErrNothingPaused):
		return &problem{Status: http.StatusNotFound, Reason: "not-paused", Detail: "There is nothing to resume: " + err.Error() + "."}
	case errors.Is(err, ErrNotResumable):
		return badRequest("Say what to resume: " + err.Error() + ".")
	case err != nil:
		return err
	}
	f.d.Note(r.Context(), "resumed", clip(body.What, 300))
	return f.ok(w, http.StatusOK, struct {
		Resumed int `json:"resumed"`
	}{n})
}
