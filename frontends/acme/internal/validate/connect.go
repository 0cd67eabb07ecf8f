package validate

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	dialTimeout = 3 * time.Second // per address, so that a dead one leaves time for the next
	hopTimeout  = 6 * time.Second // from the connection to the end of the answer
	maxPerHost  = 32              // connections to one address at a time; further ones wait
)

// A link is a connection to an applicant's server. Its deadline is set.
type link struct {
	net.Conn
	stop func()
}

// Close ends the connection and makes room for another to the same address.
func (l *link) Close() error {
	l.stop()
	return l.Conn.Close()
}

// connect resolves the host, once, and dials the very addresses that it checked,
// so that a second answer of the DNS changes nothing. The error is an *Error.
func (v *Validator) connect(ctx context.Context, host, port string) (*link, error) {
	addrs, err := v.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	tried := v.candidates(ctx, addrs)
	if len(tried) == 0 {
		return nil, failure(Connection, "no address of %s is in a network that this server validates in", host)
	}
	for _, a := range tried {
		if l := v.dialOne(ctx, a, port); l != nil {
			return l, nil
		}
	}
	return nil, unreachable(host)
}

// unreachable is one text for refused, silent, reset and broken: this is no port
// scanner.
func unreachable(host string) error { return failure(Connection, "no valid answer from %s", host) }

// lookup resolves a host, which may be an address.
func (v *Validator) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := v.resolver.Addresses(ctx, host)
	if err != nil {
		return nil, asFailure(err, "the addresses", host)
	}
	if len(addrs) == 0 {
		return nil, failure(DNS, "no address found for %s", host)
	}
	return addrs, nil
}

// candidates are the addresses to dial: one, and another if that cannot be
// reached. IPv6 goes before IPv4.
func (v *Validator) candidates(ctx context.Context, addrs []netip.Addr) []netip.Addr {
	var six, four []netip.Addr
	for _, a := range addrs {
		if !v.admits(a) {
			note(ctx, "address", "%s is in no network that this server validates in: not dialled", a)
			continue
		}
		note(ctx, "address", "%s may be dialled", a)
		if a.Unmap().Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	if len(six) > 0 && len(four) > 0 {
		return []netip.Addr{six[0], four[0]}
	}
	all := append(six, four...)
	return all[:min(2, len(all))]
}

// dialOne returns nil when the address cannot be reached.
func (v *Validator) dialOne(ctx context.Context, a netip.Addr, port string) *link {
	if !v.busy.enter(ctx, a) {
		return nil
	}
	began := time.Now()
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := v.dial(dialling, "tcp", net.JoinHostPort(a.String(), port))
	cancel()
	if err != nil {
		v.busy.leave(a)
		note(ctx, "connect", "%s port %s: not reached", a, port)
		return nil
	}
	note(ctx, "connect", "%s port %s: connected in %d ms", a, port, time.Since(began).Milliseconds())
	end := time.Now().Add(hopTimeout)
	if t, ok := ctx.Deadline(); ok && t.Before(end) {
		end = t
	}
	err = conn.SetDeadline(end)
	// The end of ctx interrupts whatever waits on the connection.
	interrupt := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	l := &link{conn, sync.OnceFunc(func() { interrupt(); v.busy.leave(a) })}
	if err != nil {
		l.Close()
		return nil
	}
	return l
}

// targets are the addresses that are being asked, so that no machine is flooded
// by orders for many names that lead to it. The zero targets are ready for use.
type targets struct {
	mu   sync.Mutex
	busy map[netip.Addr]*target
}

type target struct {
	users int           // that are there, and that wait
	room  chan struct{} // one for each that is there
}

// enter waits for room at an address. It is false when ctx is done before.
func (t *targets) enter(ctx context.Context, a netip.Addr) bool {
	t.mu.Lock()
	if t.busy == nil {
		t.busy = map[netip.Addr]*target{}
	}
	at := t.busy[a]
	if at == nil {
		at = &target{room: make(chan struct{}, maxPerHost)}
		t.busy[a] = at
	}
	at.users++
	t.mu.Unlock()
	select {
	case at.room <- struct{}{}:
		return true
	case <-ctx.Done():
		t.gone(a, at)
		return false
	}
}

// leave makes room.
func (t *targets) leave(a netip.Addr) {
	t.mu.Lock()
	at := t.busy[a]
	t.mu.Unlock()
	<-at.room
	t.gone(a, at)
}

func (t *targets) gone(a netip.Addr, at *target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at.users--; at.users == 0 {
		delete(t.busy, a)
	}
}

// plainHost keeps what is no host name away from resolvers and messages.
func plainHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	return strings.Trim(s, letters) == ""
}
