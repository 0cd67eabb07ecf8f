package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/datadir"
	"chancery/frontends/native/client"
)

// A connection is where the server is and who calls: from flags, then from the
// environment, then from the data directory of a server on this machine.
type connection struct {
	env                                       func(string) string
	data, server, admin, ca, cert, key, token string
	socket, json                              bool
}

// flags adds those that every command has that talks to a server.
func (o *connection) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.data, "data", "", "data directory of a server on this machine: addresses, roots and the founder's credential")
	f.StringVar(&o.server, "server", "", "address for enrollment, such as https://pki.example.org:8443")
	f.StringVar(&o.admin, "admin", "", "address for administration, such as https://127.0.0.1:8444")
	f.StringVar(&o.ca, "ca", "", "file with the roots that the server's certificate chains to")
	f.StringVar(&o.cert, "cert", "", "file with your certificate")
	f.StringVar(&o.key, "key", "", "file with its private key")
	f.StringVar(&o.token, "token", "", "secret of a grant, instead of a certificate; better in CHANCERY_TOKEN")
	f.BoolVar(&o.socket, "socket", false, "administer over the socket in the data directory, as its owner: when no credential works")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

// complete fills in what the flags left open.
func (o *connection) complete() error {
	for _, one := range []struct {
		to   *string
		name string
	}{
		{&o.server, "CHANCERY_SERVER"}, {&o.admin, "CHANCERY_ADMIN"}, {&o.ca, "CHANCERY_CA"},
		{&o.cert, "CHANCERY_CERT"}, {&o.key, "CHANCERY_KEY"}, {&o.token, "CHANCERY_TOKEN"}, {&o.data, "CHANCERY_DATA"},
	} {
		if *one.to == "" {
			*one.to = o.env(one.name)
		}
	}
	if o.data == "" && o.server == "" && o.admin == "" {
		o.data = datadir.Default
	}
	if o.data != "" {
		if err := o.local(datadir.Dir(o.data)); err != nil {
			return err
		}
	}
	if o.admin == "" {
		o.admin = o.server // one address for both, behind a proxy
	}
	if (o.cert == "") != (o.key == "") {
		return usage("--cert and --key go together")
	}
	return nil
}

// local takes from a data directory what nobody named.
func (o *connection) local(d datadir.Dir) error {
	if o.server == "" || o.admin == "" {
		at, err := d.ReadServing()
		if err != nil && !o.socket {
			return err
		}
		if o.server == "" && at.HTTPS != "" {
			o.server = "https://" + reachable(at.HTTPS)
		}
		if o.admin == "" && at.Admin != "" {
			o.admin = "https://" + reachable(at.Admin)
		}
	}
	if o.ca == "" {
		o.ca = d.Roots()
	}
	if o.cert == "" && o.key == "" && o.token == "" {
		o.cert, o.key = d.FounderCert(), d.FounderKey()
	}
	return nil
}

// reachable turns an address that listens everywhere into one to call.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

// client makes the client of the native API.
func (o *connection) client() (*client.Client, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	opts := client.Options{Server: o.server, Admin: o.admin, Token: o.token}
	if o.socket {
		if o.data == "" {
			return nil, usage("--socket needs --data")
		}
		opts.Socket = datadir.Dir(o.data).Socket()
		if _, err := os.Stat(opts.Socket); err != nil {
			return nil, fmt.Errorf("no server runs on %s: %w", o.data, err)
		}
		return client.New(opts)
	}
	if o.ca != "" {
		text, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, fmt.Errorf("the server's roots: %w", err)
		}
		opts.Roots = x509.NewCertPool()
		if !opts.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", o.ca)
		}
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("your credential: %w; give --cert and --key, or on the server's machine --data with --socket", err)
		case err != nil:
			return nil, fmt.Errorf("your credential: %w", err)
		}
		opts.Certificate = &pair
	}
	return client.New(opts)
}
