package serve

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"chancery/cmd/chancery/app/config"
)

// greet shows, after a first start, one command for each protocol that works
// when it is pasted on this machine.
func (s *Server) greet(w io.Writer, l *listeners) {
	abs := func(path string) string {
		if p, err := filepath.Abs(path); err == nil {
			return quote(p)
		}
		return quote(path)
	}
	dir, roots := abs(string(s.node.Dir)), abs(s.node.Dir.Roots())
	name, note := s.acmeName()
	url := s.world.HTTPS
	fmt.Fprintf(w, "\nTrust: %s, as chancery ca trust --data %s says.\n", s.node.Dir.Roots(), dir)
	fmt.Fprintf(w, "Settings: %s. CA policy: %s.\n", s.node.Dir.Settings(), s.node.Dir.Policy())
	fmt.Fprintf(w, "\nA certificate by the native API, from this command or with curl:\n")
	csr := func(out string) string {
		return "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout service.key -subj /CN=app.example.org -addext subjectAltName=DNS:app.example.org" + out
	}
	fmt.Fprintf(w, "  %s && chancery submit --data %s service.csr\n", csr(" -out service.csr"), dir)
	fmt.Fprintf(w, "  %s | curl -sS --fail-with-body --cacert %s --cert %s --key %s -H 'Content-Type: application/x-pem-file' --data-binary @- %s/api/v1/requests\n",
		csr(""), roots, abs(s.node.Dir.FounderCert()), abs(s.node.Dir.FounderKey()), url)
	fmt.Fprintf(w, "By ACME%s:\n", note)
	port := s.node.Settings.ACME.Validation.HTTPPort
	certbot, lego := "", ""
	if port != 80 {
		certbot, lego = fmt.Sprintf(" --http-01-port %d", port), fmt.Sprintf(" --http.port :%d", port)
	}
	fmt.Fprintf(w, "  REQUESTS_CA_BUNDLE=%s certbot certonly --standalone%s --non-interactive --agree-tos --register-unsafely-without-email --server %s/acme/directory -d %s\n", roots, certbot, url, name)
	fmt.Fprintf(w, "  LEGO_CA_CERTIFICATES=%s lego --accept-tos --email admin@example.org --server %s/acme/directory --http%s -d %s run\n", roots, url, lego, name)
	fmt.Fprintf(w, "By EST:\n")
	fmt.Fprintf(w, "  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout dev.key -subj /CN=dev.example.org -outform DER | base64 | curl -sS --fail-with-body --cacert %s -u \"$(%s)\" -H 'Content-Type: application/pkcs10' --data-binary @- %s/.well-known/est/simpleenroll | base64 -d | openssl pkcs7 -inform DER -print_certs -out dev.crt\n",
		roots, "chancery grant create --data "+dir+` --protocol est --profile device --name dev.example.org --uses 1 --json | tr -d '\n' | sed -E 's/.*"id": *"([^"]*)".*"secret": *"([^"]*)".*/\1:\2/'`, url)
	s.greetSCEP(w, "http://"+config.ClientAddr(l.http.Addr().String())+"/scep", dir)
	fmt.Fprintf(w, "Is it revoked?\n  curl -sS http://%s/crl/%s.crl | openssl crl -inform DER -noout -text\n\n", config.ClientAddr(l.http.Addr().String()), s.mainKey())
}

// mainKey names the CA key that clients' certificates are signed with.
func (s *Server) mainKey() string {
	all, err := s.node.Engine.Authorities(s.base)
	if err != nil {
		return "KEY"
	}
	for _, a := range all {
		if a.Name == "main" {
			return a.KeyID
		}
	}
	return all[0].KeyID
}

// acmeName is a name that an ACME client on this machine can have a certificate
// for, with a note if the reader must know better. While only this machine can
// reach the server, localhost is as good as any name.
func (s *Server) acmeName() (name, note string) {
	if s.world.Loopback {
		return "localhost", ""
	}
	host, err := os.Hostname()
	if err == nil && strings.Contains(host, ".") && net.ParseIP(host) == nil {
		return strings.ToLower(host), ""
	}
	return "HOST.EXAMPLE.ORG", " (write a DNS name of this machine in the place of HOST.EXAMPLE.ORG)"
}

// quote makes a path safe to paste into a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
