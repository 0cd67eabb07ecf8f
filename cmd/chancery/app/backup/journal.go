package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chancery/engine"
)

const (
	maxLine  = 1 << 20
	maxBatch = 256
)

// A line is what is read of one of the file exit's journal.
type line struct {
	Kind        engine.EventKind `json:"kind"`
	At          time.Time        `json:"at"`
	Request     string           `json:"request"`
	Requester   engine.Principal `json:"requester"`
	Profile     string           `json:"profile"`
	Issuer      string           `json:"issuer"`
	Serial      string           `json:"serial"`
	Status      engine.Status    `json:"status"`
	Reason      string           `json:"reason"`
	Certificate string           `json:"certificate"`
}

// journal takes certificates and revocations from the journal of the file exit:
// first all certificates, then what became of them.
func (p Place) journal(ctx context.Context, e *engine.Engine, path string, made time.Time) error {
	files, err := journalFiles(path, made)
	if err != nil {
		return err
	}
	j := &journal{p: p, e: e, last: map[engine.CertID]engine.StatusChange{}}
	for _, f := range files {
		if err := j.file(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	if err := j.issued(ctx); err != nil {
		return err
	}
	if err := j.changed(ctx); err != nil {
		return err
	}
	p.Say("journal: %s: %d files, %d lines; %d certificates added, %d were known; %d lines do not parse, %d certificates refused", path, len(files), j.lines, j.added, j.read-j.added-j.refused, j.torn, j.refused)
	return nil
}

// journalFiles are the files of a journal's folder from the day before the backup
// on, or the one file.
func journalFiles(path string, made time.Time) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	first := made.UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	var files []string
	for _, f := range entries {
		day, rest, ok := strings.Cut(f.Name(), ".jsonl")
		if _, err := time.Parse(time.DateOnly, day); !ok || err != nil || day < first {
			continue
		}
		if rest != "" && slices.Contains([]string{".gz", ".xz", ".zst", ".bz2"}, filepath.Ext(f.Name())) {
			return nil, fmt.Errorf("%s is compressed: unpack it first", f.Name())
		}
		files = append(files, filepath.Join(path, f.Name()))
	}
	return files, nil
}

type journal struct {
	p                                 Place
	e                                 *engine.Engine
	lines, torn, read, added, refused int
	batch                             []engine.Issuance
	last                              map[engine.CertID]engine.StatusChange // the worst, or else the latest
}

func (j *journal) file(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	for {
		text, err := readLine(in)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(text) == 0 {
			continue
		}
		j.lines++
		if err := j.line(ctx, text); err != nil {
			return err
		}
	}
}

// readLine returns a line without its end; of one that is too long, its
// beginning, which will not parse.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(text) <= maxLine {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) > 0:
			return text, nil
		case err != nil:
			return nil, err
		}
		return text[:len(text)-1], nil
	}
}

func (j *journal) line(ctx context.Context, text []byte) error {
	var l line
	if len(text) > maxLine || json.Unmarshal(text, &l) != nil {
		j.torn++
		return nil
	}
	if block, _ := pem.Decode([]byte(l.Certificate)); block != nil && block.Type == "CERTIFICATE" {
		j.batch = append(j.batch, engine.Issuance{DER: block.Bytes, Request: l.Request, Requester: l.Requester, Profile: l.Profile, At: l.At})
		if len(j.batch) == maxBatch {
			if err := j.issued(ctx); err != nil {
				return err
			}
		}
	}
	if l.Kind != engine.EventRevoked || l.Serial == "" {
		return nil
	}
	c := engine.StatusChange{ID: engine.CertID{Issuer: l.Issuer, Serial: l.Serial}, Status: l.Status, At: l.At}
	if reason, err := engine.ParseReason(l.Reason); err == nil {
		c.Reason = reason
	}
	before, ok := j.last[c.ID]
	switch {
	case ok && before.Status == engine.Revoked && (c.Status != engine.Revoked || c.Reason != 1):
		return nil // for ever
	case ok && c.Status != engine.Revoked && c.At.Before(before.At):
		return nil
	case ok && before.Status == engine.Revoked:
		c.At = before.At // only the reason is another now
	}
	j.last[c.ID] = c
	return nil
}

// issued takes the certificates of the batch.
func (j *journal) issued(ctx context.Context) error {
	if len(j.batch) == 0 {
		return nil
	}
	done, refused, err := j.e.ImportIssued(ctx, restorer(), j.batch)
	if err != nil {
		return err
	}
	j.p.tell(done)
	for _, r := range refused {
		j.p.Say("refused: %s", r)
	}
	j.read, j.added, j.refused, j.batch = j.read+len(j.batch), j.added+len(done), j.refused+len(refused), j.batch[:0]
	return nil
}

// changed applies what became of certificates.
func (j *journal) changed(ctx context.Context) error {
	var all []engine.StatusChange
	for _, c := range j.last {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b engine.StatusChange) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	for batch := range slices.Chunk(all, maxBatch) {
		done, unknown, err := j.e.ImportStatus(ctx, restorer(), batch)
		if err != nil {
			return err
		}
		j.p.tell(done)
		for _, id := range unknown {
			j.p.Say("unknown: %s changed its status, and no certificate of that number is known: give the journal of when it was issued", id)
		}
	}
	return nil
}
