package serve

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/status"
)

// What clients get from the address in certificates is looked at as they get it
// (XO-013, XO-014).
func TestXO_013_Refetch(t *testing.T) {
	n, _ := newNode(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Engine.Run(ctx) }()
	defer func() { stop(); <-ended }()
	id, now := "", n.Now()
	list := func() *engine.CRL {
		all, err := n.Engine.Authorities(ctx)
		if err != nil || len(all) == 0 {
			t.Fatal(err)
		}
		id = all[0].KeyID
		c, err := n.Engine.CRL(ctx, id)
		if err != nil && !errors.Is(err, engine.ErrNoCertificate) {
			t.Fatal(err)
		}
		return c
	}
	for end := time.Now().Add(20 * time.Second); list() == nil; {
		if time.Now().After(end) {
			t.Fatal("no list is made")
		}
		<-time.After(5 * time.Millisecond)
	}
	c := list()
	newer := *c
	newer.Number, newer.DER, newer.ThisUpdate = c.Number+"0", []byte("newer"), c.ThisUpdate.Add(time.Second)
	other := *c
	other.DER = append(bytes.Clone(c.DER), 0)
	for name, tt := range map[string]struct {
		der  []byte
		c    *engine.CRL
		at   time.Duration
		says string
	}{
		"the same":         {c.DER, c, 0, ""},
		"no list":          {[]byte("<html>"), c, 0, "no CRL"},
		"cut":              {c.DER[:len(c.DER)-1], c, 0, "no CRL"},
		"of a moment ago":  {c.DER, &newer, time.Minute, ""},
		"of long ago":      {c.DER, &newer, refetchLate + time.Minute, "and the current one"},
		"ended":            {c.DER, &newer, 30 * 24 * time.Hour, "ended"},
		"of the same name": {c.DER, &other, 0, "other content"},
	} {
		err := asPublished(tt.der, tt.c, now.Add(tt.at))
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}

	var log bytes.Buffer
	web := httptest.NewServer(status.New(status.Deps{Engine: n.Engine, Now: n.Now, Log: n.Log}))
	defer web.Close()
	r := &refetch{engine: n.Engine, now: n.Now, log: slog.New(slog.NewTextHandler(&log, nil)), get: func(ctx context.Context, url string) ([]byte, error) {
		return fetchList(ctx, web.URL+url[strings.Index(url, "/crl/"):])
	}}
	r.look(ctx)
	if r.wrong() != 0 || log.Len() > 0 {
		t.Errorf("%d wrong: %s", r.wrong(), &log)
	}
	web.Close()
	r.look(ctx)
	if r.wrong() == 0 || !strings.Contains(log.String(), "clients do not get") {
		t.Errorf("%d wrong, and nothing answers: %s", r.wrong(), &log)
	}
}
