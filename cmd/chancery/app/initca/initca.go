// Package initca makes the CA keys and certificates of a first start, and reads
// them at later ones.
//
// Each file is written once and never over another: what a crash left is taken
// up again, and a CA key that is missing although it was made once is an error,
// because a new one would be another CA under the same name.
package initca

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
	"chancery/modules/signer/file"
)

// root is the name of the offline CA's files.
const root = "root"

// A Spec is what to make.
type Spec struct {
	Dir         datadir.Dir
	Authorities map[string]engine.Authority // by name, as the CA policy has them
	Label       string                      // whose CA it is, for subjects: a domain or host name
	StatusURL   string                      // written into CA certificates; empty: none is
	Store       string                      // the database file
	Built       time.Time                   // when this program was built: no honest clock is before
	Now         func() time.Time
	Rand        io.Reader
	Say         func(format string, args ...any) // told what is made
}

// Make makes the keys and certificates that are not there, and returns the key
// identifiers of all CAs by name. The root's passphrase is needed only while a
// certificate under it is made.
func Make(s Spec) (map[string]string, error) {
	if now := s.Now(); now.Before(s.Built) {
		return nil, fmt.Errorf("the clock says %s, which is before this program was built (%s): set the clock, then start again", now.Format(time.DateTime), s.Built.Format(time.DateOnly))
	}
	if err := s.refuseLost(); err != nil {
		return nil, err
	}
	m := &maker{Spec: s, ids: map[string]string{}}
	if err := m.management(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Authorities)) {
		if err := m.authority(name, s.Authorities[name]); err != nil {
			return nil, fmt.Errorf("authority %s: %w", name, err)
		}
	}
	if err := m.roots(); err != nil {
		return nil, err
	}
	return m.ids, nil
}

// refuseLost finds CA keys that were made once and are gone.
func (s *Spec) refuseLost() error {
	marker, err := s.Dir.ReadMarker()
	if err != nil {
		return err
	}
	var must []string // have been made
	if marker != nil {
		must = slices.Sorted(maps.Keys(marker.Authorities))
	} else if there, err := datadir.Exists(s.Store); err != nil {
		return err
	} else if there {
		// The database is first opened when all CAs of then are made.
		must = []string{engine.ManagementAuthority}
		if _, ok := s.Authorities["main"]; ok {
			must = append(must, "main")
		}
	}
	for _, name := range must {
		if there, err := datadir.Exists(s.Dir.CACert(name)); err != nil {
			return err
		} else if !there {
			return fmt.Errorf("%s is missing, and %s belongs to the CA that it is the certificate of: restore the directories keys and ca from the backup, or begin in an empty data directory", s.Dir.CACert(name), s.Store)
		}
	}
	return nil
}

// A CA is a certificate with its files' name.
type CA struct {
	Name  string
	Chain []*x509.Certificate // its own first, the root last
}

// KeyID is the CA's key identifier in hexadecimal.
func (c *CA) KeyID() string { return hex.EncodeToString(c.Chain[0].SubjectKeyId) }

// Root reads the root's certificate.
func Root(dir datadir.Dir) (*x509.Certificate, error) { return readCert(dir.CACert(root)) }

// Load puts together the CAs that the records know and those of the data
// directory, with the keys that are here, never the root's. An authority whose
// key file is not here is served without being able to sign. Fresh are those that
// the records do not know yet.
func Load(dir datadir.Dir, authorities []string, recorded []engine.Issuer) (all, fresh []engine.Issuer, err error) {
	known := map[string]int{} // where the current one of an authority is in all
	for _, is := range recorded {
		all = append(all, is)
		known[is.Authority] = len(all) - 1
	}
	if err := agree(dir, recorded, known); err != nil {
		return nil, nil, err
	}
	for _, name := range append([]string{engine.ManagementAuthority}, authorities...) {
		if _, ok := known[name]; ok {
			continue
		}
		is, err := local(dir, name)
		if err != nil {
			return nil, nil, err
		}
		fresh = append(fresh, is)
		all = append(all, is)
		known[name] = len(all) - 1
	}
	for name, i := range known {
		all[i].Key, err = file.New(file.Config{Path: dir.CAKey(name)})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, nil, err
		}
	}
	return all, fresh, nil
}

// agree refuses a certificate here that is of another CA key than the records
// know.
func agree(dir datadir.Dir, recorded []engine.Issuer, known map[string]int) error {
	for name := range known {
		cert, err := readCert(dir.CACert(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if !slices.ContainsFunc(recorded, func(is engine.Issuer) bool {
			return is.Authority == name && bytes.Equal(is.Chain[0].SubjectKeyId, cert.SubjectKeyId)
		}) {
			return fmt.Errorf("%s is the certificate of another CA than the records know as authority %s: this data directory and this store do not belong together", dir.CACert(name), name)
		}
	}
	return nil
}

// local is a CA of the data directory, without its key.
func local(dir datadir.Dir, name string) (engine.Issuer, error) {
	is := engine.Issuer{Authority: name}
	cert, err := readCert(dir.CACert(name))
	if errors.Is(err, os.ErrNotExist) {
		return is, fmt.Errorf("authority %s has no certificate yet (%s is not there): make it with: chancery init --data %s", name, dir.CACert(name), string(dir))
	} else if err != nil {
		return is, err
	}
	is.Chain = []*x509.Certificate{cert}
	if name != engine.ManagementAuthority {
		top, err := Root(dir)
		if err != nil {
			return is, err
		}
		is.Chain = append(is.Chain, top)
	}
	return is, nil
}

// Keep writes the certificates that the records know into a data directory that
// does not have them: they are public, and a CA is not made again.
func Keep(dir datadir.Dir, recorded []engine.Issuer) error {
	write := func(path string, c *x509.Certificate) error {
		if there, err := datadir.Exists(path); err != nil || there {
			return err
		}
		return datadir.Write(path, PEM(c.Raw), 0o644)
	}
	for _, is := range slices.Backward(recorded) { // the current one of an authority is the last
		if err := write(dir.CACert(is.Authority), is.Chain[0]); err != nil {
			return err
		}
		if len(is.Chain) < 2 {
			continue
		}
		top := is.Chain[len(is.Chain)-1]
		if err := errors.Join(write(dir.CACert(root), top), write(dir.Roots(), top)); err != nil {
			return err
		}
	}
	return nil
}

// readCert reads the one certificate in a file.
func readCert(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return nil, fmt.Errorf("%s is not one certificate in PEM", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// PEM encodes certificates.
func PEM(certs ...[]byte) []byte {
	var all []byte
	for _, der := range certs {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return all
}
