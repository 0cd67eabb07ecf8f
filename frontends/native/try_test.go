package native

import (
	"context"
	"errors"
	"strings"
	"testing"

	"chancery/engine"
)

func TestNative_Try(t *testing.T) {
	b := newBench(t)
	admin := b.person(engine.Admin)
	send := func(body string) (int, string) {
		w := b.do(b.admin, ask{method: "POST", target: prefix + "/acme/try", cert: admin, body: body})
		return w.Code, w.Body.String()
	}
	if code, body := send(`{"name":"www.example.org"}`); code != 404 {
		t.Errorf("without validation: %d %s", code, body)
	}
	var got Trial
	var err error
	b.front.d.Try = func(_ context.Context, t Trial) (*Outcome, error) {
		got = t
		return &Outcome{Name: t.Name, Challenge: "http-01", Conclusion: "It fails.", Steps: []TrialStep{{"dns", "x"}}}, err
	}
	code, body := send(`{"name":"www.example.org","challenge":"dns-01","key_authorization":"a.b","account":"https://x"}`)
	if code != 200 || !strings.Contains(body, `"steps":[{"about":"dns","text":"x"}]`) || got != (Trial{"www.example.org", "dns-01", "a.b", "https://x"}) {
		t.Errorf("%d %s, %+v", code, body, got)
	}
	if code, body := send(`{"nam":"x"}`); code != 400 {
		t.Errorf("%d %s", code, body)
	}
	err = ErrTrying
	if code, body := send(`{"name":"x"}`); code != 503 {
		t.Errorf("%d %s", code, body)
	}
	err = errors.New("there is no challenge x")
	if code, body := send(`{"name":"x"}`); code != 400 || !strings.Contains(body, "there is no challenge x") {
		t.Errorf("%d %s", code, body)
	}
}
