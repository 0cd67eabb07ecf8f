package dns

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// XN-013: what hostile answers are taken for. The messages are the seeds of
// FuzzAnswer; they answer a question with the identifier 7.
func TestXN_013_HostileAnswers(t *testing.T) {
	takes := map[string]string{ // by name of the seed; all others are no answer at all
		"nul-in-txt": "a\x00b", "many-strings": strings.Repeat("x", 255*40), "alias-to-itself": "", "alias-to-root": "", "dname": "", "nxdomain-with-answer": "", "caa": "", "ttl-negative": "",
	}
	seeds, err := filepath.Glob("testdata/fuzz/FuzzAnswer/*")
	if err != nil || len(seeds) < 19 {
		t.Fatalf("%d seeds, %v", len(seeds), err)
	}
	for _, file := range seeds {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, quoted, ok := strings.Cut(strings.TrimSuffix(strings.TrimSpace(string(text)), ")"), "[]byte(")
		msg, err := strconv.Unquote(quoted)
		if !ok || err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		kind := dnsmessage.Type(uint16(msg[headerSize+len(host)+2])<<8 | uint16(msg[headerSize+len(host)+3]))
		q := query{question: question{host, kind}, msg: packOne(question{host, kind}, []byte{0, 7}, make([]byte, 32)), tcp: true}
		a := q.parse([]byte(msg))
		want, good := takes[filepath.Base(file)]
		if good != (a.err == nil) {
			t.Errorf("%s: %v", file, a.err)
		}
		if a.err == nil && len(a.records) > 0 && a.records[0].text != want && a.records[0].kind == dnsmessage.TypeTXT {
			t.Errorf("%s: %q", file, a.records[0].text)
		}
		if strings.HasPrefix(filepath.Base(file), "nxdomain") && len(a.records) > 0 {
			t.Errorf("%s: %d records of a name that is not there", file, len(a.records))
		}
	}
}
