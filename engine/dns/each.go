package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A Type is a type of records that Each asks for.
type Type string

// The types of records.
const (
	A     Type = "A"
	AAAA  Type = "AAAA"
	TXT   Type = "TXT"
	CAARR Type = "CAA"
)

var numbers = map[Type]dnsmessage.Type{A: dnsmessage.TypeA, AAAA: dnsmessage.TypeAAAA, TXT: dnsmessage.TypeTXT, CAARR: typeCAA}

// A Told is what one server says to one question, for people to read. Records
// are as the server sent them but for their form, so they are to be escaped.
type Told struct {
	Server  string
	Records []string // aliases on the way included
	Instead string   // in words, when there are none
	Took    time.Duration
}

// Each asks every server, once, so that one which says something else than the
// others is seen.
func (c *Client) Each(ctx context.Context, name string, kind Type) []Told {
	name = strings.TrimSuffix(name, ".")
	var all []Told
	for _, server := range c.servers() {
		t := Told{Server: server}
		if !askable(name) || special(name) != ordinaryName {
			t.Instead = "it is not asked about such a name"
			all = append(all, t)
			continue
		}
		began := time.Now()
		a := c.askOne(ctx, server, []question{{name, numbers[kind]}})[0]
		t.Took = time.Since(began)
		for _, r := range a.records {
			t.Records = append(t.Records, r.String())
		}
		switch {
		case len(t.Records) > 0:
		case a.said != "":
			t.Instead = a.said
		default:
			t.Instead = "no answer"
		}
		all = append(all, t)
	}
	return all
}

func (r record) String() string {
	switch {
	case r.kind == dnsmessage.TypeCNAME:
		return "alias of " + r.text
	case r.addr != netip.Addr{}:
		return r.addr.String()
	case r.kind == typeCAA:
		flags := 0
		if r.caa.Critical {
			flags = 128
		}
		return fmt.Sprintf("%d %s %q", flags, r.caa.Tag, r.caa.Value)
	}
	return fmt.Sprintf("%q", r.text)
}
