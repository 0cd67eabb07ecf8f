package dns

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"
)

// The server answers what Go's own resolver asks, over UDP and TCP.
func TestServe(t *testing.T) {
	s, err := Serve("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Set("_acme-challenge.a.example.com.", "one")
	s.Set("_ACME-challenge.a.example.com", "two")
	s.Set("_acme-challenge.a.example.com", "three")
	s.Clear("_acme-challenge.a.example.com.", "three")
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, s.Addr)
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			hosts, err := r.LookupHost(ctx, "a.example.com")
			if err != nil || !slices.Equal(hosts, []string{"127.0.0.1"}) {
				t.Errorf("A: %v %v", hosts, err)
			}
			txt, err := r.LookupTXT(ctx, "_acme-challenge.a.example.com")
			if err != nil || !slices.Equal(txt, []string{"one", "two"}) {
				t.Errorf("TXT: %v %v", txt, err)
			}
		})
	}
}
