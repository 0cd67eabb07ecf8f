package names

import (
	encodingasn1 "encoding/asn1"
	"math"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// maxOID bounds an object identifier: real ones stay far below.
const maxOID = 64

// OIDString gives the dotted form of an object identifier's content octets
// (X.690, Section 8.19). Arcs above 2^31-1 are refused.
func OIDString(content []byte) (string, bool) {
	if len(content) == 0 || len(content) > maxOID {
		return "", false
	}
	var out []byte
	arc := uint64(0)
	start := true
	for i, c := range content {
		if start && c == 0x80 {
			return "", false // not minimal
		}
		arc = arc<<7 | uint64(c&0x7f)
		if arc > math.MaxInt32 {
			return "", false
		}
		if start = c < 0x80; !start {
			if i == len(content)-1 {
				return "", false
			}
			continue
		}
		if out == nil {
			first := min(arc/40, 2)
			out = strconv.AppendUint(out, first, 10)
			arc -= first * 40
		}
		out = strconv.AppendUint(append(out, '.'), arc, 10)
		arc = 0
	}
	return string(out), true
}

// parseOID reads the dotted form.
func parseOID(s string) (encodingasn1.ObjectIdentifier, bool) {
	var oid encodingasn1.ObjectIdentifier
	if len(s) > 4*maxOID {
		return nil, false
	}
	for arc := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(arc, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != arc {
			return nil, false
		}
		oid = append(oid, int(n))
	}
	// X.660: the first arc is 0 to 2, and below 0 and 1 the second is below 40.
	if len(oid) < 2 || oid[0] > 2 || oid[0] < 2 && oid[1] > 39 || oid[0] == 2 && oid[1] > math.MaxInt32-80 {
		return nil, false
	}
	return oid, true
}

func addOID(b *cryptobyte.Builder, s string) bool {
	oid, ok := parseOID(s)
	if ok {
		b.AddASN1ObjectIdentifier(oid)
	}
	return ok
}
