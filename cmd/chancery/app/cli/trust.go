package cli

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/datadir"
)

// caGroup is about the CA's own certificates; it needs no server.
func caGroup(env func(string) string) *cobra.Command {
	group := &cobra.Command{Use: "ca", Short: "The CA's own certificates", Args: KnownCommand, RunE: Help}
	o := &connection{env: env}
	c := &cobra.Command{
		Use: "trust", Short: "Show the roots' fingerprints, and how to trust them on each system", Args: Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error { return o.trust(c) },
	}
	c.Flags().StringVar(&o.data, "data", "", "data directory of a server on this machine")
	c.Flags().StringVar(&o.ca, "ca", "", "file with the roots")
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	group.AddCommand(c)
	return group
}

// A rootView is one root as people compare it.
type rootView struct {
	Subject string `json:"subject"`
	Until   string `json:"not_after"`
	SHA256  string `json:"sha256"`
	SHA1    string `json:"sha1"`
	File    string `json:"file"`
}

func (o *connection) trust(c *cobra.Command) error {
	file := or(o.ca, o.env("CHANCERY_CA"))
	if file == "" {
		file = datadir.Dir(or(or(o.data, o.env("CHANCERY_DATA")), datadir.Default)).Roots()
	}
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var all []rootView
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, rootView{
			Subject: root.Subject.String(), Until: root.NotAfter.Format("2006-01-02T15:04:05Z07:00"), File: file,
			SHA256: fmt.Sprintf("%X", sha256.Sum256(root.Raw)),
			// Apple's profiles for SCEP (CAFingerprint) know nothing newer.
			SHA1: fmt.Sprintf("%X", sha1.Sum(root.Raw)),
		})
	}
	if len(all) == 0 {
		return fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return o.show(c.OutOrStdout(), all, trustText(all, file))
}

func trustText(all []rootView, file string) string {
	var b strings.Builder
	for _, r := range all {
		fmt.Fprintf(&b, "%s, until %s\n  SHA-256 %s\n  SHA-1   %s (for Apple's SCEP profile)\n", plain(r.Subject), r.Until[:10], colons(r.SHA256), colons(r.SHA1))
	}
	fmt.Fprintf(&b, "\nCompare a fingerprint over another way before you trust it. The roots are in %s.\n\n", file)
	q := "'" + strings.ReplaceAll(file, "'", `'\''`) + "'"
	for _, system := range [][2]string{
		{"Debian, Ubuntu", "sudo cp " + q + " /usr/local/share/ca-certificates/chancery.crt && sudo update-ca-certificates"},
		{"RHEL, Fedora", "sudo cp " + q + " /etc/pki/ca-trust/source/anchors/chancery.pem && sudo update-ca-trust"},
		{"macOS", "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain " + q},
		{"Windows", "certutil -addstore -f Root " + filepath.Base(file)},
		{"Firefox", `certutil -d sql:"$PROFILE" -A -t C,, -n chancery -i ` + q + "   (or policies.json: Certificates.Install)"},
		{"Java", "keytool -importcert -cacerts -alias chancery -file " + q},
	} {
		fmt.Fprintf(&b, "%-16s %s\n", system[0], system[1])
	}
	return b.String()
}

// colons writes AABBCC as AA:BB:CC.
func colons(hex string) string {
	var parts []string
	for i := 0; i+2 <= len(hex); i += 2 {
		parts = append(parts, hex[i:i+2])
	}
	return strings.Join(parts, ":")
}
