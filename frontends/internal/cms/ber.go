package cms

import (
	"encoding/binary"
	"fmt"
)

// ToDER gives a BER element the definite, shortest lengths of DER and joins
// OCTET STRINGs that come in pieces. It changes nothing else: what is signed has
// to be DER already (RFC 5652, Section 5.4) and comes out as it went in. Octets
// after the element, tags above 30 and anything over the bounds are refused.
func ToDER(in []byte) ([]byte, error) {
	if len(in) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d octets", ErrMalformed, MaxSize)
	}
	r := &berReader{elements: maxElements}
	n, rest, err := r.element(in, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: octets after the message", ErrMalformed)
	}
	if n.end() {
		return nil, fmt.Errorf("%w: end of contents without a beginning", ErrMalformed)
	}
	return n.write(make([]byte, 0, len(in))), nil
}

// A node is an element: a primitive one has content, a constructed one has kids.
type node struct {
	tag     byte
	content []byte
	kids    []node
	size    int // of the content in DER
}

const (
	constructed = 0x20
	octetString = 0x04
)

func (n *node) end() bool { return n.tag == 0 && n.size == 0 }

type berReader struct{ elements int }

func malformedBER(detail string) error { return fmt.Errorf("%w: %s", ErrMalformed, detail) }

// element reads one element and returns what follows it.
func (r *berReader) element(in []byte, depth int) (n node, rest []byte, err error) {
	if r.elements--; r.elements < 0 || depth > maxDepth {
		return n, nil, malformedBER("too many elements, or too deep")
	}
	if len(in) < 2 {
		return n, nil, malformedBER("it ends in the middle")
	}
	if n.tag = in[0]; n.tag&0x1f == 0x1f {
		return n, nil, malformedBER("a tag above 30")
	}
	size, indefinite, in, err := berLength(in[1:])
	if err != nil {
		return n, nil, err
	}
	switch {
	case indefinite && n.tag&constructed == 0:
		return n, nil, malformedBER("a primitive element of indefinite length")
	case indefinite:
		if in, err = r.kids(&n, in, depth, true); err != nil {
			return n, nil, err
		}
	case size > len(in):
		return n, nil, malformedBER("it ends in the middle")
	case n.tag&constructed == 0:
		n.content, n.size, in = in[:size], size, in[size:]
		if n.tag == 0 && size > 0 {
			return n, nil, malformedBER("end of contents with contents")
		}
		return n, in, nil
	default:
		if _, err = r.kids(&n, in[:size], depth, false); err != nil {
			return n, nil, err
		}
		in = in[size:]
	}
	return n, in, n.settle()
}

// kids reads elements until the end of contents, or of in.
func (r *berReader) kids(n *node, in []byte, depth int, indefinite bool) (rest []byte, err error) {
	for {
		if len(in) == 0 {
			if indefinite {
				return nil, malformedBER("no end of contents")
			}
			return nil, nil
		}
		var kid node
		if kid, in, err = r.element(in, depth+1); err != nil {
			return nil, err
		}
		if kid.end() {
			if !indefinite {
				return nil, malformedBER("end of contents in a definite length")
			}
			return in, nil
		}
		n.kids = append(n.kids, kid)
	}
}

// settle joins a string in pieces and adds up the size.
func (n *node) settle() error {
	if n.tag == octetString|constructed {
		for _, kid := range n.kids {
			if kid.tag != octetString {
				return malformedBER("a string with pieces of another type")
			}
			n.content = append(n.content, kid.content...)
		}
		n.tag, n.kids, n.size = octetString, nil, len(n.content)
		return nil
	}
	for i := range n.kids {
		n.size += 1 + lengthSize(n.kids[i].size) + n.kids[i].size
	}
	return nil
}

// berLength reads the octets of a length (X.690, Section 8.1.3).
func berLength(in []byte) (size int, indefinite bool, rest []byte, err error) {
	first := in[0]
	in = in[1:]
	switch {
	case first < 0x80:
		return int(first), false, in, nil
	case first == 0x80:
		return 0, true, in, nil
	}
	octets := int(first & 0x7f)
	if octets > 8 || octets > len(in) {
		return 0, false, nil, malformedBER("a length that cannot be")
	}
	var b [8]byte
	copy(b[8-octets:], in[:octets])
	n := binary.BigEndian.Uint64(b[:])
	if n > MaxSize {
		return 0, false, nil, malformedBER("a length that cannot be")
	}
	return int(n), false, in[octets:], nil
}

func lengthSize(n int) int {
	switch {
	case n < 0x80:
		return 1
	case n < 0x100:
		return 2
	case n < 0x10000:
		return 3
	}
	return 4
}

func (n *node) write(out []byte) []byte {
	out = append(out, n.tag)
	switch s := n.size; lengthSize(s) {
	case 1:
		out = append(out, byte(s))
	case 2:
		out = append(out, 0x81, byte(s))
	case 3:
		out = append(out, 0x82, byte(s>>8), byte(s))
	default:
		out = append(out, 0x83, byte(s>>16), byte(s>>8), byte(s))
	}
	if n.tag&constructed == 0 {
		return append(out, n.content...)
	}
	for i := range n.kids {
		out = n.kids[i].write(out)
	}
	return out
}
