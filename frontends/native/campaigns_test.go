package native

import (
	"context"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

func (f *fake) CreateCampaign(_ context.Context, a engine.Actor, where string, within time.Duration, reason string) (*engine.Campaign, error) {
	return &engine.Campaign{ID: requestID, Where: where, By: a.Person}, f.called("CreateCampaign " + where + " " + within.String() + " " + reason)
}

func (f *fake) EndCampaign(_ context.Context, _ engine.Actor, id string) (*engine.Campaign, error) {
	return &engine.Campaign{ID: id}, f.called("EndCampaign " + id)
}

func (f *fake) Campaign(_ context.Context, id string) (*engine.Campaign, error) {
	return &engine.Campaign{ID: id}, f.called("Campaign " + id)
}

func (f *fake) Campaigns(context.Context, string, int) ([]*engine.Campaign, string, error) {
	return nil, f.next, f.called("Campaigns")
}

func (f *fake) Members(_ context.Context, id, after string, _ int) (*engine.Members, error) {
	return &engine.Members{Next: f.next}, f.called("Members " + id + " " + after)
}

func TestNative_CampaignBodiesAreStrict(t *testing.T) {
	b := newBench(t)
	officer := b.person(engine.Officer)
	for body, want := range map[string]int{
		`{"where":"profile = web","within":"48h"}`:                                            201,
		`{"where":"profile = web","within":"2d","reason":"https://intranet.test/"}`:           201,
		`{"where":"profile = web","within":48}`:                                               400,
		`{"where":"profile = web","within":"-1h"}`:                                            400,
		`{"where":"profile = web","within":"1h","by":"root"}`:                                 400,
		`{"where":"` + strings.Repeat("x", 2001) + `","within":"1h"}`:                         400,
		`{"where":"profile = web","within":"1h","reason":"` + strings.Repeat("x", 501) + `"}`: 400,
		`[]`: 400,
	} {
		b.engine.calls = nil
		w := b.do(b.admin, ask{method: "POST", target: prefix + "/campaigns", cert: officer, body: body})
		if w.Code != want || want == 400 && len(b.engine.calls) != 0 {
			t.Errorf("%.80s: %d %v %s", body, w.Code, b.engine.calls, w.Body)
		}
	}
	for _, target := range []string{"/campaigns/x", "/campaigns/x/members"} {
		if p := problemOf(t, b.do(b.admin, ask{method: "GET", target: prefix + target, cert: officer})); p.Reason != "no-campaign" {
			t.Errorf("%s: %+v", target, p)
		}
	}
}

// A filter is read where a list is asked for, and a cursor is good for the one it
// came with.
func TestNative_ListsByFilter(t *testing.T) {
	b := newBench(t)
	auditor := b.person(engine.Auditor)
	b.engine.next = "0123456789ab-" + requestID
	get := func(target string) string {
		return b.do(b.admin, ask{method: "GET", target: prefix + target, cert: auditor}).Body.String()
	}
	for target, want := range map[string]string{
		"/requests?where=state+%3D+pending":                `"found":"by the index state of pending"`,
		"/certificates?where=name+%3D+*.example":           `"found":"by looking at every certificate"`,
		"/certificates":                                    `"found":"by looking at every certificate"`,
		"/certificates?name=a.example&where=renewed":       `"found":"by the index of the name a.example"`,
		"/requests?where=stat+%3D+pending":                 `filter, column 1: there is no field \"stat\"; did you mean state?`,
		"/certificates?where=expires+before+30d":           `column 16`,
		"/certificates?where=" + strings.Repeat("x", 2001): `"reason":"malformed"`,
	} {
		if got := get(target); !strings.Contains(got, want) {
			t.Errorf("%s: %s", target, got)
		}
	}
	body := get("/certificates?where=renewed")
	_, after, _ := strings.Cut(body, `"next":"`)
	after, _, _ = strings.Cut(after, `"`)
	if got := get("/certificates?where=replaced&after=" + after); after == "" || !strings.Contains(got, "bad-cursor") {
		t.Errorf("%s %s", body, got)
	}
	if got := get("/certificates?where=renewed&after=" + after); strings.Contains(got, "bad-cursor") {
		t.Errorf("%s", got)
	}
}
