package scep

import (
	"encoding/json"
	"strings"
	"testing"
)

// XS-006: an endpoint that would let everybody in, or contradicts itself, is
// refused with what to do.
func TestSCEP_XS006_Configurations(t *testing.T) {
	w := newWorld(t)
	for doc, want := range map[string]string{
		`{"profiles":["device"],"authorize":["grant"]}`:                           "",
		`{"profiles":["manual"],"authorize":["grant","manual"],"legacy":["des"]}`: "",
		`{"profiles":["device"]}`:                                                 "authorize: anybody",
		`{"profiles":["device"],"authorize":[]}`:                                  "authorize: anybody",
		`{"profiles":["device"],"authorize":["manual"]}`:                          "needs an officer",
		`{"profiles":["device"],"authorize":["open"]}`:                            `no "open"`,
		`{"profiles":["device"],"authorize":["grant","grant"]}`:                   "twice",
		`{"profiles":["device"],"authorize":["grant"],"legacy":["md5"]}`:          `no "md5"`,
		`{"profiles":["chancery-tls"],"authorize":["grant"]}`:                     "cannot be asked for by SCEP",
		`{"profiles":["nobody"],"authorize":["grant"]}`:                           "there is no profile",
		`{"authorize":["grant"]}`:                                                 "at least one profile",
		`{"profiles":["device"],"authorize":["grant"],"chalenge":"x"}`:            "chalenge",
	} {
		c, err := ParseConfig(map[string]json.RawMessage{"default": json.RawMessage(doc)})
		if err == nil {
			_, err = New(c, w.deps)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
	if _, err := New(Config{"a/b": w.config["default"]}, w.deps); err == nil {
		t.Error("a name that is no part of an address")
	}
}
