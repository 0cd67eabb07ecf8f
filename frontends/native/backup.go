package native

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"chancery/engine"
)

// Restores are what the frontend needs of the engine after a restore.
type Restores interface {
	Quarantine(ctx context.Context) (*engine.Quarantine, error)
	Unread(q *engine.Quarantine) map[string]string
	Release(ctx context.Context, a engine.Actor) error
}

// ErrBusy is what [Deps.Backup] returns while it makes another.
var ErrBusy = errors.New("a backup is being made already; try again when that one is done")

// A client that takes less than backupPiece in backupPatience is given up.
const (
	backupPiece    = 1 << 20
	backupPatience = 2 * time.Minute
)

// backup sends all records. They were written down before the first octet is
// sent, so a slow client holds nothing but its connection.
func (f *Frontend) backup(w http.ResponseWriter, r *http.Request, c *caller) error {
	ctx := r.Context()
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	if f.d.Backup == nil {
		return &problem{Status: http.StatusNotFound, Reason: "not-found", Detail: "This server makes no backups."}
	}
	conn := http.NewResponseController(w)
	if err := conn.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	made, size, err := f.d.Backup(ctx, c.actor)
	if errors.Is(err, ErrBusy) {
		return &problem{Status: http.StatusServiceUnavailable, Reason: "busy", Detail: err.Error(), retry: time.Minute}
	} else if err != nil {
		return err
	}
	defer made.Close()
	f.d.Note(ctx, "bytes", size)
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="chancery.backup"`)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	for {
		if err := conn.SetWriteDeadline(f.d.Now().Add(backupPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		switch _, err := io.CopyN(w, made, backupPiece); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			panic(http.ErrAbortHandler) // half of it must not look like all of it
		}
	}
}

// A quarantineView is what stands after a restore.
type quarantineView struct {
	Backup time.Time    `json:"backup"` // the records are as they were then
	Since  time.Time    `json:"since"`
	By     string       `json:"by"`
	Lists  []listView   `json:"lists"`   // last published CRLs that are known
	Unread []unreadView `json:"missing"` // CA keys whose last published CRL is not
}

type listView struct {
	Key    string    `json:"key"`
	Number string    `json:"number,omitempty"`
	From   string    `json:"from"`
	At     time.Time `json:"at"`
}

type unreadView struct {
	Authority string `json:"authority"`
	Key       string `json:"key"`
}

// quarantine is what stands, or nil.
func (f *Frontend) quarantine(ctx context.Context) (*quarantineView, error) {
	q, err := f.d.Engine.Quarantine(ctx)
	if err != nil || q == nil {
		return nil, err
	}
	v := &quarantineView{Backup: q.Backup, Since: q.Since, By: q.By, Lists: []listView{}, Unread: []unreadView{}}
	for _, id := range slices.Sorted(maps.Keys(q.Lists)) {
		l := q.Lists[id]
		v.Lists = append(v.Lists, listView{id, l.Number, l.From, l.At})
	}
	missing := f.d.Engine.Unread(q)
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		v.Unread = append(v.Unread, unreadView{missing[id], id})
	}
	return v, nil
}

// release ends the quarantine.
func (f *Frontend) release(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	if err := f.d.Engine.Release(r.Context(), c.actor); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
