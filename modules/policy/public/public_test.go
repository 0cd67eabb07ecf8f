package public

import (
	"testing"

	"chancery/engine"
	"chancery/engine/names"
)

// XN-029, T-016.
func TestXN_029_T016_NamesOfThePublicDNS(t *testing.T) {
	j, err := New(Config{}, engine.Deps{Profiles: map[string]engine.Profile{"public": {Public: true}, "inner": {}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind  names.Type
		value string
		ok    bool
	}{
		{names.DNS, "www.example.org", true}, {names.DNS, "example.co.uk", true}, {names.DNS, "*.example.co.uk", true},
		{names.DNS, "someone.github.io", true}, {names.DNS, "xn--bcher-kva.example.com", true},
		{names.DNS, "*.co.uk", false}, {names.DNS, "*.com", false}, {names.DNS, "co.uk", false}, {names.DNS, "com", false}, {names.DNS, "*.github.io", false},
		{names.DNS, "intranet", false}, {names.DNS, "localhost", false}, {names.DNS, "host.local", false}, {names.DNS, "host.internal", false}, {names.DNS, "a.corp", false},
		{names.DNS, "1.2.3.4", false}, {names.DNS, "host.example", false}, {names.DNS, "x.onion", false},
		{names.IP, "8.8.8.8", true}, {names.IP, "2606:4700::1", true},
		{names.IP, "10.0.0.1", false}, {names.IP, "127.0.0.1", false}, {names.IP, "169.254.169.254", false}, {names.IP, "192.0.2.1", false}, {names.IP, "100.64.0.1", false},
		{names.IP, "fd00::1", false}, {names.IP, "::1", false}, {names.IP, "fe80::1", false}, {names.IP, "2001:db8::1", false}, {names.IP, "2002:7f00:1::", false}, {names.IP, "224.0.0.1", false},
		{names.Email, "a@example.org", false},
	} {
		d := &engine.Draft{Profile: "public", Names: []names.Name{{Type: names.DNS, Value: "ok.example.org"}, {Type: tt.kind, Value: tt.value}}}
		v, err := j(t.Context(), nil, engine.Rendered{Draft: d})
		if reason, detail, no := v.Denied(); err != nil || no == tt.ok || no && reason != engine.NameNotAllowed {
			t.Errorf("%s: %v, %s", tt.value, err, detail)
		}
		d.Profile = "inner"
		if v, err := j(t.Context(), nil, engine.Rendered{Draft: d}); err != nil || v.Pends() {
			t.Errorf("%s: %v", tt.value, err)
		} else if _, _, no := v.Denied(); no {
			t.Errorf("%s is refused to the inside", tt.value)
		}
	}
}
