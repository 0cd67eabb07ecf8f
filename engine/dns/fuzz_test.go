package dns

import (
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzAnswer reads hostile answers (XN-013). More seeds are in testdata: pointers
// that loop, labels that are too long, counts that lie.
func FuzzAnswer(f *testing.F) {
	flips := make([]byte, 32)
	var queries []query
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeTXT, dnsmessage.TypeA, dnsmessage.TypeAAAA, typeCAA} {
		q := question{host, kind}
		queries = append(queries, query{question: q, msg: packOne(q, []byte{0, 7}, flips)})
	}
	f.Add(packed(f, queries[0].msg, 0, "digest"))
	f.Add(packed(f, queries[0].msg, 0, strings.Repeat("x", 255), "\x00", ""))
	for _, q := range queries {
		f.Add(q.msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, q := range queries {
			for _, q.tcp = range []bool{false, true} {
				a := q.parse(msg)
				if a.err != nil && len(a.records) > 0 {
					t.Errorf("%v with %d records", a.err, len(a.records))
				}
				end, links, ttl := walk(a.records, q.name)
				if links > maxChain+1 || len(a.records) > maxAnswers || len(end) > 255 || ttl < 0 || ttl > maxTTL {
					t.Errorf("%d links, %d answers, %q, %v", links, len(a.records), end, ttl)
				}
			}
		}
	})
}
