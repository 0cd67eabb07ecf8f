package serve

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/engine/names"
)

// ownTLS is the certificate of the https and admin listeners. It comes through
// the same door as everybody's, and is renewed while the server runs.
type ownTLS struct {
	node  *node.Node
	names []names.Name
	have  atomic.Pointer[tls.Certificate]
}

// config is for a listener. It asks for a client certificate without verifying
// it: each frontend has its own anchors and looks at the live records.
func (o *ownTLS) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequestClientCert,
		NextProtos: []string{"h2", "http/1.1"},
		// One record for each write: strongSwan's EST client gives up when the
		// second part of an answer is not there yet. Ours are small.
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := o.have.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("the server has no certificate yet")
		},
	}
}

// open takes the certificate that is there, or asks for one.
func (o *ownTLS) open(ctx context.Context) error {
	key, chain, err := node.LoadPair(o.node.Dir.TLS())
	if err == nil {
		why := o.unfit(ctx, key, chain)
		if why == "" {
			o.use(key, chain)
			return nil
		}
		o.node.Log.InfoContext(ctx, "the server's own certificate is replaced", "because", why)
	} else if !errors.Is(err, fs.ErrNotExist) {
		o.node.Log.WarnContext(ctx, "the server's own certificate cannot be read and is replaced", "err", err)
	}
	return o.renew(ctx)
}

// unfit says why a certificate is not good enough to begin with, or "".
func (o *ownTLS) unfit(ctx context.Context, key crypto.Signer, chain []*x509.Certificate) string {
	c := chain[0]
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !pub.Equal(c.PublicKey):
		return "key and certificate do not belong together"
	case o.node.Now().After(renewAt(c)):
		return "more than two thirds of its life are over"
	}
	row, err := o.node.Engine.Identify(ctx, c.Raw)
	if err != nil || row.Status != engine.Good {
		return "it is not one that is good here"
	}
	want := make([]string, 0, len(o.names))
	for _, n := range o.names {
		want = append(want, n.Value)
	}
	have := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		have = append(have, ip.String())
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		return "the server's names are others now"
	}
	return ""
}

func (o *ownTLS) use(key crypto.Signer, chain []*x509.Certificate) {
	c := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	o.have.Store(c)
}

// renew asks for a certificate with a new key.
func (o *ownTLS) renew(ctx context.Context) error {
	key, err := node.NewKey(o.node)
	if err != nil {
		return err
	}
	ders, err := o.node.Enroll(ctx, node.Own{Profile: engine.ProfileTLS, ID: "tls", Names: o.names}, key)
	if err != nil {
		return fmt.Errorf("the server's own certificate: %w", err)
	}
	var chain []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, c)
	}
	if err := node.SavePair(o.node.Dir.TLS(), key, ders); err != nil {
		return err
	}
	o.use(key, chain)
	o.node.Log.InfoContext(ctx, "the server's own certificate", "serial", hex.EncodeToString(chain[0].SerialNumber.Bytes()),
		"until", chain[0].NotAfter, "sha256", fmt.Sprintf("%x", sha256.Sum256(ders[0])))
	return nil
}

// renewAt is two thirds into a certificate's life.
func renewAt(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// run renews the certificate when its time comes. What fails is tried again,
// from every minute to every hour.
func (o *ownTLS) run(ctx context.Context) {
	const soon, late = time.Minute, time.Hour
	pause := soon
	for {
		// Not one long sleep: a machine that was suspended looks at the clock
		// again within the hour.
		wait := min(max(renewAt(o.have.Load().Leaf).Sub(o.node.Now()), 0)+time.Second, late)
		if o.node.Now().After(renewAt(o.have.Load().Leaf)) {
			if err := o.renew(ctx); err != nil {
				o.node.Log.ErrorContext(ctx, "the server's own certificate could not be renewed", "err", err, "again_in", pause.String())
				wait, pause = pause, min(2*pause, late)
			} else {
				pause = soon
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ownNames are what clients call this server.
func ownNames(n *node.Node, listeners ...net.Listener) []names.Name {
	texts := []string{"localhost", "127.0.0.1", "::1"}
	for _, s := range []string{n.Settings.Listen.HTTPS, n.Settings.Listen.Admin} {
		if host, _, err := net.SplitHostPort(s); err == nil {
			texts = append(texts, host)
		}
	}
	for _, l := range listeners {
		if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsUnspecified() {
			texts = append(texts, a.IP.String())
		}
	}
	if u, err := url.Parse(n.Settings.PublicURL.HTTPS); err == nil {
		texts = append(texts, u.Hostname())
	}
	if host, err := os.Hostname(); err == nil {
		texts = append(texts, host)
	}
	var all []names.Name
	for _, t := range texts {
		kind := names.DNS
		if ip := net.ParseIP(t); ip != nil {
			if kind = names.IP; ip.IsUnspecified() {
				continue
			}
		}
		name, err := names.Parse(kind, strings.ToLower(t))
		if err != nil || slices.Contains(all, name) {
			continue // a host name that no certificate can hold
		}
		all = append(all, name)
	}
	return all
}

// certifiable are those of the server's names that the CA may certify. To leave
// the others out is better than not to start: clients on this machine, at least,
// find a certificate that is good.
func certifiable(n *node.Node, own []names.Name) []names.Name {
	authority := n.Engine.Profiles()[engine.ProfileTLS].Authority
	var all []names.Name
	for _, name := range own {
		if err := n.Engine.Permits(authority, name); err != nil {
			n.Log.Warn("the server's own certificate will not have a name that the CA is not for", "name", name.String(), "because", err)
			continue
		}
		all = append(all, name)
	}
	return all
}
