package acme

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// Nonces (RFC 8555, Section 6.5) are tokens that any node can check and no
// node has to remember before they are used:
//
//	node 4 | start 6 | time 6 | number 6 | random 10 | HMAC 16
//
// The HMAC is over what stands before it, which is hidden under a mask made of
// the HMAC, so that nonces show neither clock nor count. The number counts
// those that the node issued since its start: one bit for each remembers that
// it was used. Nodes remember each other's numbers in the same way, and tell one
// another what they saw by rows (spent.go).
const (
	nonceLife  = 10 * time.Minute
	nonceBody  = 32
	nonceTag   = 16
	nonceSkew  = 30 * time.Second // between the clocks of nodes
	perPage    = 1 << 15          // bits
	maxPages   = 512              // 2 MiB: 16 million nonces of one node
	maxWindows = 64               // nodes' starts within the life of a nonce
)

// Nonces makes nonces and remembers which were used. A Frontend that takes the
// place of another in the same process takes its Nonces over, so that clients
// notice nothing.
type Nonces struct {
	key, mask []byte
	node      [4]byte
	start     uint64 // milliseconds
	now       func() time.Time
	rand      io.Reader

	mu      sync.Mutex
	issued  uint64
	windows map[[10]byte]*window // by node and start
}

// A window has the used bits of the newest numbers of one start of one node.
type window struct {
	pages map[uint64]*page
	top   uint64 // the highest page
	seen  int64  // when a nonce of it was shown last, milliseconds
}

type page struct {
	bits  [perPage / 64]uint64
	until int64 // no nonce of it is good after that, milliseconds
}

// NewNonces makes Nonces for a start of a node. The key is 32 octets that all
// nodes share; rand must be safe for concurrent use.
func NewNonces(key []byte, node string, now func() time.Time, rand io.Reader) *Nonces {
	n := &Nonces{
		key: derive(key, "acme nonce"), mask: derive(key, "acme nonce mask"),
		start: uint64(now().UnixMilli()), now: now, rand: rand,
		windows: map[[10]byte]*window{},
	}
	h := sha256.Sum256([]byte(node))
	copy(n.node[:], h[:])
	return n
}

func derive(key []byte, use string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(use))
	return h.Sum(nil)
}

// issue makes a nonce.
func (n *Nonces) issue() string {
	n.mu.Lock()
	n.issued++
	number := n.issued
	n.mu.Unlock()

	var b [nonceBody + nonceTag]byte
	copy(b[:4], n.node[:])
	put48(b[4:], n.start)
	put48(b[10:], uint64(n.now().UnixMilli()))
	put48(b[16:], number)
	if _, err := io.ReadFull(n.rand, b[22:nonceBody]); err != nil {
		panic("acme: no randomness: " + err.Error()) // a predictable nonce is worse than none
	}
	copy(b[nonceBody:], n.tag(b[:nonceBody]))
	n.hide(&b)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (n *Nonces) tag(body []byte) []byte {
	h := hmac.New(sha256.New, n.key)
	h.Write(body)
	return h.Sum(nil)[:nonceTag]
}

// hide masks the body, or unmasks it.
func (n *Nonces) hide(b *[nonceBody + nonceTag]byte) {
	h := hmac.New(sha256.New, n.mask)
	h.Write(b[nonceBody:])
	subtle.XORBytes(b[:nonceBody], b[:nonceBody], h.Sum(nil))
}

// use reports whether a nonce is good here, and makes it so no more. The key
// names it where other nodes look.
func (n *Nonces) use(nonce string) (key string, good bool) {
	var b [nonceBody + nonceTag]byte
	if base64.RawURLEncoding.DecodedLen(len(nonce)) != len(b) {
		return "", false
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(nonce)); err != nil {
		return "", false
	}
	n.hide(&b)
	if !hmac.Equal(n.tag(b[:nonceBody]), b[nonceBody:]) {
		return "", false
	}
	now, made := n.now().UnixMilli(), int64(get48(b[10:]))
	if made > now+nonceSkew.Milliseconds() || now >= made+nonceLife.Milliseconds() {
		return "", false
	}
	// A node cannot know what it saw before it was started.
	if [4]byte(b[:4]) == n.node && get48(b[4:]) != n.start {
		return "", false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.window([10]byte(b[:10]), now)
	good = w != nil && w.mark(get48(b[16:]), now, made+nonceLife.Milliseconds())
	return spentKey(b[10:16], b[nonceBody:]), good
}

// window finds or makes the window, and forgets those of which no nonce can be
// good any more.
func (n *Nonces) window(id [10]byte, now int64) *window {
	w := n.windows[id]
	if w == nil {
		for old, v := range n.windows {
			if now >= v.seen+(nonceLife+2*nonceSkew).Milliseconds() {
				delete(n.windows, old)
			}
		}
		if len(n.windows) >= maxWindows {
			return nil // refusing is safe: the client takes a new one
		}
		w = &window{pages: map[uint64]*page{}}
		n.windows[id] = w
	}
	w.seen = now
	return w
}

// mark sets the bit of a number. It reports whether the bit was free and is one
// of those still remembered.
func (w *window) mark(number uint64, now, until int64) bool {
	at := number / perPage
	if at+maxPages <= w.top {
		return false // older than what is remembered
	}
	p := w.pages[at]
	if p == nil {
		w.top = max(w.top, at)
		for k, v := range w.pages {
			if k+maxPages <= w.top || now >= v.until {
				delete(w.pages, k)
			}
		}
		p = new(page)
		w.pages[at] = p
	}
	p.until = max(p.until, until+nonceSkew.Milliseconds())
	word, bit := number%perPage/64, uint64(1)<<(number%64)
	if p.bits[word]&bit != 0 {
		return false
	}
	p.bits[word] |= bit
	return true
}

func put48(b []byte, v uint64) {
	binary.BigEndian.PutUint16(b, uint16(v>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(v))
}

func get48(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}
