package est

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"

	"chancery/frontends/internal/cms"
)

// caCerts is RFC 7030, Section 4.1. Anybody may ask (Section 4.1.2).
func (f *Frontend) caCerts(w http.ResponseWriter, r *http.Request, p *endpoint) error {
	der, err := f.bundle(r.Context(), p)
	if err != nil {
		return err
	}
	send(w, r, p, certsOnly, der)
	return nil
}

// bundle is the CA's certificate, those above it up to the root, and those of its
// other chains: where a root is replaced, these hold the old root, and the one
// certified by the other (RFC 7030, Section 4.1.3; RFC 4210, Section 4.4).
func (f *Frontend) bundle(ctx context.Context, p *endpoint) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cacerts != nil {
		return p.cacerts, nil
	}
	all, err := f.d.Authorities.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	var list [][]byte
	add := func(der []byte) {
		if !slices.ContainsFunc(list, func(have []byte) bool { return bytes.Equal(have, der) }) {
			list = append(list, der)
		}
	}
	for _, a := range all {
		if a.Name != p.profile.Authority {
			continue
		}
		for _, c := range a.Chain {
			add(c.Raw)
		}
		for _, chain := range f.d.Authorities.Alternates(a.KeyID) {
			for _, der := range chain {
				add(der)
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("est: there is no authority %q", p.profile.Authority)
	}
	p.cacerts, err = cms.Degenerate(list, nil)
	return p.cacerts, err
}
