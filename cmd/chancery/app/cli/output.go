package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"chancery/frontends/native/client"
)

// show prints v as JSON without what is empty, or text.
func (o *connection) show(w io.Writer, v any, text string) error {
	if !o.json {
		return Print(w, false, nil, text)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return err
	}
	return Print(w, true, bare(tree), "")
}

// bare leaves out what says nothing, at any depth of objects. A list is always
// one.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil || x == "" || x == zeroTime {
				delete(v, k)
				continue
			}
			v[k] = bare(x)
		}
	case []any:
		for i := range v {
			v[i] = bare(v[i])
		}
	}
	return v
}

const zeroTime = "0001-01-01T00:00:00Z"

// table aligns rows of cells under their heads.
func table(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		// Cells hold what strangers wrote: nothing in them may move the cursor.
		for i := range r {
			r[i] = plain(r[i])
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	_ = w.Flush() // into memory
	return b.String()
}

// Plain is a line without what a terminal would act on.
func Plain(s string) string { return plain(s) }

// plain replaces what a terminal would act on.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

// when shows a time in the local zone, or nothing.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

// names shortens a list for a table.
func names(list []string) string {
	const most = 3
	if len(list) > most {
		return strings.Join(list[:most], " ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, " ")
}

// told gives the server's own word for an error, with the exit code.
func told(err error) error {
	var p *client.Problem
	if err == nil {
		return nil
	}
	if errors.As(err, &p) {
		text := plainLines(p.Error())
		if p.Temporary() {
			text += "; try again later"
		}
		return &ExitError{exitFailed, "chancery: " + text}
	}
	return err
}

// plainLines is plain for several lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

// or is the first of the two that says something.
func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
