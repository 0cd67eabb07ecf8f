package native

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// A Trial is an ACME validation to try.
type Trial struct {
	Name             string `json:"name"`
	Challenge        string `json:"challenge"`
	KeyAuthorization string `json:"key_authorization"`
	Account          string `json:"account"`
}

// A TrialStep is one thing that was done or seen.
type TrialStep struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// An Outcome is what became of a trial.
type Outcome struct {
	Name       string      `json:"name"`
	Challenge  string      `json:"challenge"`
	Valid      bool        `json:"valid"`
	Conclusion string      `json:"conclusion"`
	Steps      []TrialStep `json:"steps"`
}

// ErrTrying is what [Deps.Try] returns while it tries something else.
var ErrTrying = errors.New("another trial is under way; try again when it is done")

// tryPatience is more than a trial takes.
const tryPatience = time.Minute

func (f *Frontend) try(w http.ResponseWriter, r *http.Request, _ *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	var t Trial
	if err := readJSON(w, r, &t); err != nil {
		return err
	}
	if f.d.Try == nil {
		return &problem{Status: http.StatusNotFound, Reason: "not-found", Detail: "This server validates nothing."}
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(tryPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), tryPatience)
	defer cancel()
	f.d.Note(ctx, "name", clip(t.Name, 253))
	o, err := f.d.Try(ctx, t)
	switch {
	case errors.Is(err, ErrTrying):
		return &problem{Status: http.StatusServiceUnavailable, Reason: "busy", Detail: err.Error(), retry: 10 * time.Second}
	case err != nil:
		return badRequest(clip(err.Error(), 300))
	}
	return f.ok(w, http.StatusOK, o)
}
