package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// A dialer looks at the address that a name led to, after connecting and before
// anything is said: between a look-up of its own and the dial, the name could
// lead elsewhere.
type dialer struct {
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	loopback bool // the configured host is one
	private  bool
}

// Dial connects, unless the address is one that the configuration did not mean.
func (d dialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := d.admits(conn.RemoteAddr()); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (d dialer) admits(addr net.Addr) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return nil // not of a network that has addresses of several kinds
	}
	ip, ok := netip.AddrFromSlice(tcp.IP)
	ip = ip.Unmap()
	switch {
	case !ok || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast():
		return fmt.Errorf("the host is at %s, where nothing is posted", ip)
	case ip.IsLoopback() && !d.loopback:
		return fmt.Errorf("the host is at the loopback address %s; if that is meant, write localhost into url", ip)
	case ip.IsPrivate() && !d.private:
		return fmt.Errorf("the host is at the private address %s; if that is meant, set allow_private: true", ip)
	}
	return nil
}
