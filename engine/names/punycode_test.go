package names

import "testing"

// TestPunycode holds both directions to what Python's codec gives.
func TestPunycode(t *testing.T) {
	for text, want := range map[string]string{
		"bücher":        "bcher-kva",
		"例え":            "r8jz45g",
		"пример":        "e1afmkfd",
		"испытание":     "80akhbyknj4f",
		"مثال":          "mgbh0fb",
		"müller-straße": "mller-strae-46a18a",
		"ελλάδα":        "hxakic4aa",
		"tschüß":        "tsch-yna7o",
		"a·b":           "ab-0ea",
		"日本語a1":         "a1-5t7du0ck91h",
	} {
		if got := encodePunycode([]rune(text)); got != want {
			t.Errorf("%s encodes as %s, not %s", text, got, want)
		}
		if got, ok := decodePunycode(want); !ok || string(got) != text {
			t.Errorf("%s decodes as %s", want, string(got))
		}
	}
}
