package serve

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"chancery/engine"
)

const (
	refetchEvery = 5 * time.Minute
	refetchTime  = 30 * time.Second

	// refetchLate is how old a list may be that clients still get although there is
	// a newer one: caches on the way keep it for 5 minutes.
	refetchLate = 15 * time.Minute

	maxList = 256 << 20
)

// A refetch gets the complete lists as clients do, from the address that
// certificates name, since what stands between may serve an old one.
type refetch struct {
	engine *engine.Engine
	now    func() time.Time
	log    *slog.Logger
	get    func(ctx context.Context, url string) ([]byte, error)

	mu  sync.Mutex
	bad int // lists that were wrong at the last look
}

// run looks until ctx is done.
func (r *refetch) run(ctx context.Context) {
	t := time.NewTicker(refetchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			r.look(ctx)
		}
	}
}

func (r *refetch) look(ctx context.Context) {
	all, err := r.engine.Authorities(ctx)
	if err != nil {
		return // readyz says so
	}
	bad := 0
	for _, a := range all {
		c, err := r.engine.CRL(ctx, a.KeyID)
		if err != nil {
			continue // none yet, or a quarantine: readyz says so
		}
		url := r.engine.StatusURL + "/crl/" + a.KeyID + ".crl"
		fetch, cancel := context.WithTimeout(ctx, refetchTime)
		der, err := r.get(fetch, url)
		cancel()
		if err == nil {
			err = asPublished(der, c, r.now())
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			bad++
			r.log.ErrorContext(ctx, "clients do not get the current CRL: look at what stands between, such as a proxy or cache, and whether public_url.http leads here", "authority", a.Name, "url", url, "err", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = bad
}

// wrong is how many lists clients did not get at the last look.
func (r *refetch) wrong() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// asPublished says what is wrong with a list that was fetched, if c is the current
// one, or nil.
func asPublished(der []byte, c *engine.CRL, now time.Time) error {
	if bytes.Equal(der, c.DER) {
		return nil
	}
	got, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("what is there is no CRL: %w", err)
	}
	switch {
	case got.Number == nil:
		return fmt.Errorf("the CRL there has no number")
	case got.Number.String() == c.Number:
		return fmt.Errorf("the CRL there has number %s, and other content", c.Number)
	case now.After(got.NextUpdate):
		return fmt.Errorf("the CRL there ended %s", got.NextUpdate.Format(time.RFC3339))
	// A newer one than was read a moment before may be there, and for a while an
	// older one.
	case got.ThisUpdate.Before(c.ThisUpdate) && now.Sub(c.ThisUpdate) > refetchLate:
		return fmt.Errorf("the CRL there has number %s of %s, and the current one is number %s of %s", got.Number, got.ThisUpdate.Format(time.RFC3339), c.Number, c.ThisUpdate.Format(time.RFC3339))
	}
	return nil
}

// fetchList gets a list by HTTP.
func fetchList(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	der, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err == nil && len(der) > maxList {
		err = fmt.Errorf("more than %d octets", maxList)
	}
	return der, err
}
