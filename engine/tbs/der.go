package tbs

import (
	"strconv"
	"strings"
)

// headerLength is how many octets the tag and a length of n take.
func headerLength(n int) int {
	l := 2
	if n >= 128 {
		for ; n > 0; n >>= 8 {
			l++
		}
	}
	return l
}

func appendHeader(out []byte, tag byte, n int) []byte {
	out = append(out, tag)
	if n < 128 {
		return append(out, byte(n))
	}
	octets := headerLength(n) - 2
	out = append(out, 0x80|byte(octets))
	for i := octets - 1; i >= 0; i-- {
		out = append(out, byte(n>>(8*i)))
	}
	return out
}

// maxOID bounds the content of an object identifier, so that its length takes
// one octet.
const maxOID = 127

// appendOID writes an OBJECT IDENTIFIER given in dotted form. An arc has 31 bits
// at most: crypto/x509 and others cannot read a certificate with a longer one.
func appendOID(out []byte, dotted string) ([]byte, bool) {
	start := len(out)
	out = append(out, 0x06, 0)
	root, rest, _ := strings.Cut(dotted, ".")
	second, rest, more := strings.Cut(rest, ".")
	a, ok1 := arc(root)
	b, ok2 := arc(second)
	if !ok1 || !ok2 || a > 2 || a < 2 && b > 39 || b > 1<<31-1-80 {
		return out, false
	}
	out = appendArc(out, 40*a+b)
	for more {
		second, rest, more = strings.Cut(rest, ".")
		n, ok := arc(second)
		if !ok {
			return out, false
		}
		out = appendArc(out, n)
	}
	n := len(out) - start - 2
	if n > maxOID {
		return out, false
	}
	out[start+1] = byte(n)
	return out, true
}

// arc reads one number, which has one way to be written.
func arc(s string) (uint32, bool) {
	if s == "" || s[0] == '0' && len(s) > 1 || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return uint32(n), err == nil
}

// appendArc writes base 128, highest digit first (X.690, Section 8.19.2).
func appendArc(out []byte, n uint32) []byte {
	for shift := 28; shift > 0; shift -= 7 {
		if n>>shift != 0 {
			out = append(out, byte(n>>shift)|0x80)
		}
	}
	return append(out, byte(n&0x7f))
}
