package nearest

import (
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	known := []string{"profile", "requester", "Serial", "name"}
	for s, want := range map[string]string{
		"profle": "profile", "porfile": "profile", "SERIAL": "Serial", "req": "requester", "nmae": "name",
		"colour": "", "": "", "x": "", strings.Repeat("a", longest+1): "",
	} {
		if got := Word(s, known); got != want {
			t.Errorf("Word(%.20q) = %q, want %q", s, got, want)
		}
	}
}
