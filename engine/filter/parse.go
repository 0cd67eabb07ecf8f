package filter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/engine/nearest"
)

// An Error says what is wrong with a filter, and where: the column counts
// characters from 1.
type Error struct {
	Column int
	Detail string
	Hint   string // what may have been meant; empty: nothing comes to mind
}

func (e *Error) Error() string {
	s := fmt.Sprintf("filter, column %d: %s", e.Column, e.Detail)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Parse reads a filter over the fields. Its errors are of type *Error.
func Parse(s string, fields []Field) (*Expr, error) {
	p := &parser{src: s, fields: fields}
	if len(s) > MaxLength {
		return nil, p.wrong(0, fmt.Sprintf("it has more than %d characters", MaxLength), "")
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }); i >= 0 {
		return nil, p.wrong(i, "this is no character of a text", "")
	}
	p.next()
	root, err := p.or(0)
	if err == nil && p.tok.kind != atEnd {
		err = p.wrong(p.tok.at, fmt.Sprintf("%s is not expected here", p.tok), p.joinHint())
	}
	if err != nil {
		return nil, err
	}
	return &Expr{root}, nil
}

type parser struct {
	src    string
	fields []Field
	pos    int // of what follows tok
	tok    token
	terms  int
}

// A token is one word, one text in quotes, or one sign.
type token struct {
	kind kind
	text string
	at   int
}

type kind int

const (
	atEnd kind = iota
	word
	text
	sign
	broken // quotes that do not end
)

func (t token) String() string {
	if t.kind == atEnd {
		return "the end"
	}
	return strconv.Quote(t.text)
}

func (t token) is(words ...string) bool {
	return (t.kind == word || t.kind == sign) && slices.Contains(words, t.text)
}

// special are the characters that end a word.
const special = " ()=!<>\"\\"

// next reads the next token.
func (p *parser) next() {
	for p.pos < len(p.src) && p.src[p.pos] == ' ' {
		p.pos++
	}
	at := p.pos
	rest := p.src[at:]
	switch {
	case rest == "":
		p.tok = token{atEnd, "", at}
		return
	case strings.HasPrefix(rest, "!="):
		p.tok = token{sign, "!=", at}
	case rest[0] == '"':
		p.tok = readText(rest, at)
		p.pos = at + p.tokLength(rest)
		return
	case strings.ContainsRune(special, rune(rest[0])):
		p.tok = token{sign, rest[:1], at}
	default:
		n := strings.IndexAny(rest, special)
		if n < 0 {
			n = len(rest)
		}
		p.tok = token{word, rest[:n], at}
	}
	p.pos = at + len(p.tok.text)
}

// readText reads a text in quotes, where a backslash stands before a quote or
// another backslash.
func readText(s string, at int) token {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return token{text, b.String(), at}
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == '\\':
			return token{broken, s, at}
		default:
			b.WriteByte(s[i])
		}
	}
	return token{broken, s, at}
}

// tokLength is how much of s the text takes that was just read.
func (p *parser) tokLength(s string) int {
	if p.tok.kind == broken {
		return len(s)
	}
	n := 2 + len(p.tok.text)
	return n + strings.Count(p.tok.text, `\`) + strings.Count(p.tok.text, `"`)
}

func (p *parser) wrong(at int, detail, hint string) error {
	return &Error{utf8.RuneCountInString(p.src[:at]) + 1, detail, hint}
}

func (p *parser) or(depth int) (*node, error)  { return p.joined("or", depth, p.and) }
func (p *parser) and(depth int) (*node, error) { return p.joined("and", depth, p.not) }

// joined reads one or more parts with a word between them.
func (p *parser) joined(join string, depth int, part func(int) (*node, error)) (*node, error) {
	n, err := part(depth)
	if err != nil || !p.tok.is(join) {
		return n, err
	}
	all := &node{join: join, kids: []*node{n}}
	for p.tok.is(join) {
		p.next()
		if n, err = part(depth); err != nil {
			return nil, err
		}
		all.kids = append(all.kids, n)
	}
	return all, nil
}

func (p *parser) not(depth int) (*node, error) {
	at := p.tok.at
	if depth > maxDepth {
		return nil, p.wrong(at, fmt.Sprintf("more than %d parentheses or nots are in one another", maxDepth), "")
	}
	switch {
	case p.tok.is("not"):
		p.next()
		n, err := p.not(depth + 1)
		return &node{join: "not", kids: []*node{n}}, err
	case p.tok.is("("):
		p.next()
		n, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.tok.is(")") {
			return nil, p.wrong(p.tok.at, "the parenthesis is not closed; "+p.tok.String()+" is not expected here", p.joinHint())
		}
		p.next()
		return n, nil
	}
	return p.term()
}

// term reads a condition.
func (p *parser) term() (*node, error) {
	name := p.tok
	if p.terms++; p.terms > maxTerms {
		return nil, p.wrong(name.at, fmt.Sprintf("there are more than %d conditions", maxTerms), "")
	}
	if name.kind != word {
		return nil, p.wrong(name.at, "a field is expected, not "+name.String(), "there are "+p.names())
	}
	i := slices.IndexFunc(p.fields, func(f Field) bool { return f.Name == name.text })
	if i < 0 {
		hint := "there are " + p.names()
		if near := nearest.Word(name.text, p.fieldNames()); near != "" {
			hint = "did you mean " + near + "?"
		}
		return nil, p.wrong(name.at, "there is no field "+strconv.Quote(name.text), hint)
	}
	p.next()
	f := p.fields[i]
	if f.Kind == Flag {
		if p.tok.is("=", "!=", "<", ">") {
			return nil, p.wrong(p.tok.at, f.Name+" has no value", "write "+f.Name+" or not "+f.Name)
		}
		return &node{term: Term{Field: f.Name}}, nil
	}
	return p.compared(f)
}

// compared reads the operator and value of a condition.
func (p *parser) compared(f Field) (*node, error) {
	op := p.tok
	t := Term{Field: f.Name}
	switch {
	case f.Kind == Text && op.is("=", "!="):
		t.Op = Op(op.text)
	case f.Kind == Moment && op.is("before", "<"):
		t.Op = Before
	case f.Kind == Moment && op.is("after", ">"):
		t.Op = After
	case f.Kind == Moment:
		return nil, p.wrong(op.at, f.Name+" is a time: before or after is expected, not "+op.String(), "such as "+f.Name+" before +30d")
	default:
		return nil, p.wrong(op.at, "= or != is expected, not "+op.String(), "")
	}
	p.next()
	v := p.tok
	if v.kind == broken {
		return nil, p.wrong(v.at, "the text in quotes is not right", `it ends with a quote, and in it \" is a quote and \\ a backslash`)
	}
	if v.kind != word && v.kind != text {
		return nil, p.wrong(v.at, "a value is expected, not "+v.String(), "")
	}
	var err error
	if f.Kind == Moment {
		t.When, err = p.moment(v)
	} else {
		t.Value, err = p.value(f, v)
	}
	p.next()
	return &node{term: t}, err
}

// value reads a text that a field can have.
func (p *parser) value(f Field, v token) (string, error) {
	s := v.text
	if f.Words != nil {
		if slices.Contains(f.Words, s) {
			return s, nil
		}
		hint := "there are " + strings.Join(f.Words, ", ")
		if near := nearest.Word(s, f.Words); near != "" {
			hint = "did you mean " + near + "?"
		}
		return "", p.wrong(v.at, fmt.Sprintf("%s is never %q", f.Name, s), hint)
	}
	if f.Fold == nil {
		return s, nil
	}
	if strings.Contains(s, "*") {
		return strings.ToLower(s), nil
	}
	folded, err := f.Fold(s)
	if err != nil {
		return "", p.wrong(v.at, err.Error(), "")
	}
	return folded, nil
}

// moment reads a time.
func (p *parser) moment(v token) (Time, error) {
	s := v.text
	if s == "now" {
		return Time{text: s}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && !t.IsZero() {
			return Time{At: t.UTC(), text: s}, nil
		}
	}
	hint := "write a day as 2027-01-31, a time as 2027-01-31T12:00:00Z, or +30d and -12h for what is so far from now"
	if s == "" || s[0] != '+' && s[0] != '-' {
		if d, ok := span(s); ok && d > 0 {
			hint = "write +" + s + " for what is to come, -" + s + " for what is past"
		}
		return Time{}, p.wrong(v.at, strconv.Quote(s)+" is not a time", hint)
	}
	d, ok := span(s[1:])
	if !ok {
		return Time{}, p.wrong(v.at, strconv.Quote(s)+" is not a time", hint)
	}
	if s[0] == '-' {
		d = -d
	}
	return Time{Offset: d, text: s}, nil
}

// span reads a number with a unit, such as 30d, of a hundred years at most.
func span(s string) (time.Duration, bool) {
	if len(s) < 2 || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{
		's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour, 'y': 365 * 24 * time.Hour,
	}[s[len(s)-1]]
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
	if !ok || err != nil || n > int64(100*365*24*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// joinHint is for something that follows a condition.
func (p *parser) joinHint() string {
	if lower := strings.ToLower(p.tok.text); p.tok.kind == word && lower != p.tok.text && slices.Contains([]string{"and", "or", "not"}, lower) {
		return "did you mean " + lower + "?"
	}
	if p.tok.kind == word || p.tok.kind == text {
		return "conditions are joined by and, or; a value with spaces stands in quotes"
	}
	return ""
}

func (p *parser) fieldNames() []string {
	all := make([]string, len(p.fields))
	for i, f := range p.fields {
		all[i] = f.Name
	}
	return all
}

func (p *parser) names() string { return strings.Join(p.fieldNames(), ", ") }
