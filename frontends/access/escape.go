package access

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how much of a text that came from outside is logged.
const maxText = 512

// Escape makes a text from outside safe to show to people in a log: control
// characters, line and paragraph separators and format characters (which can
// turn the direction of writing round) become \u escapes, bytes that are not
// UTF-8 become \x escapes, and a long text is cut.
func Escape(s string) string {
	if len(s) <= maxText && printable(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if b.Len() >= maxText {
			b.WriteString("…")
			break
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case hidden(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// printable is the quick answer for nearly all texts: ASCII, and nothing to
// escape.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func hidden(r rune) bool {
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) ||
		unicode.Is(unicode.Variation_Selector, r)
}

// plain makes a value that the log writes as one harmless field.
func plain(value any) slog.Value {
	switch v := value.(type) {
	case string:
		return slog.StringValue(Escape(v))
	case error:
		return slog.StringValue(Escape(v.Error()))
	}
	switch v := slog.AnyValue(value); v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return v
	}
	return slog.StringValue(Escape(fmt.Sprint(value)))
}
