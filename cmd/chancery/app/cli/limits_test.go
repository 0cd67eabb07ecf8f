package cli

import (
	"strings"
	"testing"
	"time"

	"chancery/frontends/native/client"
)

func TestStatusSaysWhoIsLimited(t *testing.T) {
	if limitedText(nil) != "" || limitedText(&client.Limited{}) != "" {
		t.Error("nobody is limited")
	}
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l := &client.Limited{Paused: []client.Pause{{Account: "0abc", Endpoint: "default", Name: "www.example.org", Failures: 200, Since: at}}}
	for range mostShown + 5 {
		l.Held = append(l.Held, client.Held{Limit: "orders_per_name", Endpoint: "acme/default", Of: "a\x1b[2Jb.example.org", Until: at, Times: 1})
	}
	text := limitedText(l)
	for _, want := range []string{"ACME account 0abc (endpoint default) for www.example.org, after 200 failures in a row", "chancery acme resume 0abc", "(orders_per_name, refused 1 time)", "… and 5 more are limited."} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("the name reaches the terminal as it is")
	}
}
