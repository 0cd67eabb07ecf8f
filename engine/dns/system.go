package dns

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

const (
	resolvConf     = "/etc/resolv.conf"
	maxResolvConf  = 64 << 10
	maxNameservers = 3 // as many as the C library asks
)

// systemServers are those that a resolv.conf(5) names, read each time because
// it changes with the network. Without any it is this machine, as everywhere.
func systemServers(path string) []string {
	var all []string
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		lines := bufio.NewScanner(io.LimitReader(f, maxResolvConf))
		for lines.Scan() {
			word := strings.Fields(lines.Text())
			if len(word) < 2 || word[0] != "nameserver" || len(all) == maxNameservers {
				continue
			}
			if _, err := netip.ParseAddr(word[1]); err == nil {
				all = append(all, net.JoinHostPort(word[1], "53"))
			}
		}
	}
	if len(all) == 0 {
		return []string{"127.0.0.1:53"}
	}
	return all
}

// systemAddresses asks the operating system's way, hosts file included. A name
// with dots is meant as it is: no search list makes another one of it.
func (c *Client) systemAddresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if !askable(host) {
		return nil, ErrName
	}
	if strings.Contains(host, ".") {
		host += "."
	}
	found, err := c.system.LookupNetIP(ctx, "ip", host)
	var e *net.DNSError
	switch {
	case errors.As(err, &e) && e.IsNotFound:
		return nil, nil
	case err != nil:
		return nil, ErrNoAnswer
	}
	for i := range found {
		found[i] = found[i].Unmap() // the library's form of IPv4
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return b.BitLen() - a.BitLen() })
	return found, nil
}
