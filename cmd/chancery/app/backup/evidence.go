package backup

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"chancery/engine"
)

// prove adds the evidence, and says what is missing still.
func (p Place) prove(ctx context.Context, e *engine.Engine, ev Evidence) error {
	who := restorer()
	for _, from := range ev.CRLs {
		der, err := readCRL(ctx, from)
		if err != nil {
			return p.unfinished(fmt.Errorf("the CRL %s: %w", from, err))
		}
		done, err := e.ReadPublished(ctx, who, der, from)
		p.tell(done)
		if err != nil {
			return p.unfinished(fmt.Errorf("the CRL %s: %w", from, err))
		}
	}
	for _, one := range ev.NoCRL {
		id, why, _ := strings.Cut(one, "=")
		done, err := e.NoPublished(ctx, who, strings.ToLower(id), why)
		p.tell(done)
		if err != nil {
			return p.unfinished(fmt.Errorf("--no-published-crl wants KEYID=WHY: %w", err))
		}
	}
	q, err := e.Quarantine(ctx)
	if err == nil && q == nil { // released in this moment, through a server on the same database
		err = engine.ErrNoQuarantine
	}
	if err != nil {
		return err
	}
	for _, path := range ev.Journals {
		if err := p.journal(ctx, e, path, q.Backup); err != nil {
			return p.unfinished(fmt.Errorf("the journal %s: %w", path, err))
		}
	}
	p.missing(e, q)
	return nil
}

func (p Place) unfinished(err error) error {
	return fmt.Errorf("%w; the records are restored: go on with chancery restore add", err)
}

func (p Place) missing(e *engine.Engine, q *engine.Quarantine) {
	missing := e.Unread(q)
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		p.Say("missing: the last published CRL of authority %s (key %s): chancery restore add --crl FILE|URL; if there is none: --no-published-crl %s=WHY", missing[id], id, id)
	}
	p.Say("quarantine: nothing is issued until an administrator says chancery restore release")
}

const (
	maxCRL   = 256 << 20
	fetchFor = 2 * time.Minute
)

// readCRL reads a list in DER or PEM from a file or a URL.
func readCRL(ctx context.Context, from string) ([]byte, error) {
	var in io.ReadCloser
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, fetchFor)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Cache-Control", "no-cache")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		in = resp.Body
		if resp.StatusCode != http.StatusOK {
			return nil, errors.Join(fmt.Errorf("the server answered %s", resp.Status), in.Close())
		}
	} else {
		f, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		in = f
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxCRL+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxCRL {
		return nil, fmt.Errorf("it is larger than %d MiB", maxCRL>>20)
	}
	if block, _ := pem.Decode(b); block != nil && block.Type == "X509 CRL" {
		return block.Bytes, nil
	}
	return b, nil
}
