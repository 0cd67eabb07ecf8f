package native

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

type fakeLimits struct {
	what, by string
	err      error
}

func (l *fakeLimits) Limited(context.Context) (*Limited, error) {
	return &Limited{
		Held:   []Held{{"orders_per_account", "acme/default", "0abc", testNow, 3}},
		Paused: []Pause{{"0def", "default", "www.example.org", 200, testNow, testNow.Add(-time.Hour)}},
	}, l.err
}

func (l *fakeLimits) Resume(_ context.Context, a engine.Actor, what string) (int, error) {
	l.what, l.by = what, a.Person
	return 2, l.err
}

func TestNative_Limits(t *testing.T) {
	b := newBench(t)
	officer, auditor := b.person(engine.Officer), b.person(engine.Auditor)
	send := func(body string) (int, string) {
		w := b.do(b.admin, ask{method: "POST", target: prefix + "/acme/resume", cert: officer, body: body})
		return w.Code, w.Body.String()
	}
	status := func() string {
		return b.do(b.admin, ask{method: "GET", target: prefix + "/status", cert: auditor}).Body.String()
	}
	if code, body := send(`{"what":"www.example.org"}`); code != 404 {
		t.Errorf("without limits: %d %s", code, body)
	}
	if strings.Contains(status(), "limited") {
		t.Error(status())
	}
	l := &fakeLimits{}
	b.front.d.Limits = l
	if code, body := send(`{"what":"www.example.org"}`); code != 200 || !strings.Contains(body, `"resumed":2`) || l.what != "www.example.org" || l.by == "" {
		t.Errorf("%d %s %+v", code, body, l)
	}
	if b.notes["resumed"] != "www.example.org" {
		t.Errorf("%v", b.notes)
	}
	for _, want := range []string{`"limit":"orders_per_account","endpoint":"acme/default","of":"0abc"`, `"times":3`, `"account":"0def","endpoint":"default","name":"www.example.org","failures":200`} {
		if s := status(); !strings.Contains(s, want) {
			t.Errorf("no %s in %s", want, s)
		}
	}
	for _, body := range []string{`{"wat":"x"}`, `{"what":"` + strings.Repeat("x", 301) + `"}`, `{"what":"a\u0000"}`, `{}x`} {
		if code, answer := send(body); code != 400 {
			t.Errorf("%s: %d %s", body, code, answer)
		}
	}
	for _, tt := range []struct {
		err  error
		code int
	}{{ErrNothingPaused, 404}, {ErrNotResumable, 400}, {engine.ErrForbidden, 403}, {errors.New("x"), 503}} {
		l.err = tt.err
		if code, body := send(`{"what":"x"}`); code != tt.code {
			t.Errorf("%v: %d %s", tt.err, code, body)
		}
	}
}
