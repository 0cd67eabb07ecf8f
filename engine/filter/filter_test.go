package filter

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	now    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	fields = []Field{
		{Name: "state", Words: []string{"good", "held", "revoked"}},
		{Name: "name", Fold: func(s string) (string, error) {
			if strings.Contains(s, " ") {
				return "", errors.New("no name has spaces")
			}
			return strings.ToLower(s), nil
		}},
		{Name: "requester"}, {Name: "expires", Kind: Moment}, {Name: "revoked", Kind: Moment}, {Name: "renewed", Kind: Flag},
	}
)

func record(field string) (Value, error) {
	switch field {
	case "state":
		return Value{Texts: []string{"good"}}, nil
	case "name":
		return Value{Texts: []string{"www.example.org", "a.b.example.net"}}, nil
	case "requester":
		return Value{Texts: []string{`a "b" \c`}}, nil
	case "expires":
		return Value{Time: now.Add(10 * 24 * time.Hour)}, nil
	case "renewed":
		return Value{Flag: true}, nil
	}
	return Value{}, nil
}

func TestMatches(t *testing.T) {
	for src, want := range map[string]bool{
		"state = good": true, "state != good": false, "state=held": false, "renewed": true, "not renewed": false, "not not renewed": true,
		"name = www.example.org": true, "name = WWW.Example.org": true, "name = example.org": false, "name = *.example.org": true,
		"name = *example*": true, "name = a.*.net": true, "name = a.*.org": false, "name != www.example.org": false, "name = *.ORG": true,
		"name = a*a.b.example.net": false, "name = *": true, `name = "*.net"`: true, "name != *.com": true, "name = **.org": true,
		`requester = "a \"b\" \\c"`: true, `requester = "a*"`: true, `requester = ""`: false,
		"expires before +30d": true, "expires < +9d": false, "expires after now": true, "expires > 2026-12-02": true, "expires after 2026-12-02T12:00:00Z": true,
		"expires after 2026-12-02T12:00:01Z": false, "expires before -1y": false, "expires before +2w": true, "expires after +240h": true,
		"revoked before +100y": false, "revoked after -100y": false, "not revoked after -1d": true, // there is none
		"state = held or renewed and name = *.net":                  true,
		"(state = held or renewed) and name = *.com":                false,
		"state = held or renewed and not name = *.net":              false,
		"not (state = held or not renewed)":                         true,
		"state = held and renewed or state = good and name = *.net": true,
	} {
		x, err := Parse(src, fields)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := x.Match(now, record); got != want || err != nil {
			t.Errorf("%s: %v %v", src, got, err)
		}
		again, err := Parse(x.String(), fields)
		if err != nil || again.String() != x.String() {
			t.Errorf("%s became %s: %v", src, x, err)
		}
	}
	boom := errors.New("boom")
	x, _ := Parse("state = good and renewed", fields)
	if _, err := x.Match(now, func(string) (Value, error) { return Value{}, boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for src, want := range map[string]string{
		"":                            `column 1: a field is expected, not the end; there are state, name`,
		"stat = good":                 `column 1: there is no field "stat"; did you mean state?`,
		"state = good and nmae = x":   `column 18: there is no field "nmae"; did you mean name?`,
		"quite = other":               `column 1: there is no field "quite"; there are state`,
		"state = god":                 `column 9: state is never "god"; did you mean good?`,
		"state = g*":                  `column 9: state is never "g*"; there are good, held`,
		"state good":                  `column 7: = or != is expected, not "good"`,
		"state = ":                    `column 9: a value is expected, not the end`,
		"state = good AND renewed":    `column 14: "AND" is not expected here; did you mean and?`,
		"state = good renewed":        `column 14: "renewed" is not expected here; conditions are joined`,
		"renewed = true":              `column 9: renewed has no value; write renewed or not renewed`,
		"expires = 2027-01-01":        `column 9: expires is a time: before or after is expected, not "="; such as expires before +30d`,
		"expires before 30d":          `column 16: "30d" is not a time; write +30d for what is to come, -30d`,
		"expires before tomorrow":     `column 16: "tomorrow" is not a time; write a day as`,
		"expires before +101y":        `column 16: "+101y" is not a time`,
		"expires before 2027-02-31":   `column 16: "2027-02-31" is not a time`,
		"(state = good":               `column 14: the parenthesis is not closed`,
		"state = good)":               `column 13: ")" is not expected here`,
		`requester = "open`:           `column 13: the text in quotes is not right`,
		`requester = "a\n"`:           `column 13: the text in quotes is not right`,
		`name = "a b"`:                `column 8: no name has spaces`,
		"not":                         `column 4: a field is expected, not the end`,
		"requester = ü and statt = x": `column 19: there is no field "statt"`,
		"state = good\n":              `column 13: this is no character of a text`,
		strings.Repeat("(", 25):       `column 22: more than 20 parentheses`,
		strings.Repeat("renewed or ", 60) + "renewed": `there are more than 50 conditions`,
		strings.Repeat(" ", 2001):                     `column 1: it has more than 2000 characters`,
	} {
		_, err := Parse(src, fields)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", src, err)
		}
	}
}

func TestMust(t *testing.T) {
	for src, want := range map[string]string{
		"state = good": "state = good",
		"state = good and (renewed and name = *.org)": "state = good, renewed, name = *.org",
		"state = good or renewed":                     "",
		"state = good and (renewed or name = x)":      "state = good",
		"not state = good and expires < +1d":          "expires before +1d",
	} {
		x, err := Parse(src, fields)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, term := range x.Must() {
			got = append(got, term.String())
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %v", src, got)
		}
	}
	var none *Expr
	if ok, err := none.Match(now, nil); !ok || err != nil || none.Must() != nil || none.String() != "" || none.Fields() != nil {
		t.Error("the nil filter")
	}
}

// What is read can be written and read again, and means the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"state = good and not (renewed or name != *.org)", `requester = "a \"b\" \\c"`, "expires > 2026-12-02 or revoked < -1d", "((", `"`, `requester="\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := Parse(s, fields)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Column < 1 || e.Column > len(s)+1 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		again, err := Parse(x.String(), fields)
		if err != nil && len(x.String()) > MaxLength {
			return // = is written with spaces
		}
		if err != nil || again.String() != x.String() {
			t.Fatalf("%q became %q: %v", s, x, err)
		}
		one, err1 := x.Match(now, record)
		two, err2 := again.Match(now, record)
		if one != two || err1 != nil || err2 != nil {
			t.Fatalf("%q and %q are not the same", s, x)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	x, err := Parse("name = *.example.net and expires before +30d and not state = revoked", fields)
	if err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		if ok, _ := x.Match(now, record); !ok {
			b.Fatal(strconv.Itoa(i))
		}
	}
}
