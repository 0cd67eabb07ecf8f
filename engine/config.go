package engine

import (
	"context"
	"crypto"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"time"

	"chancery/engine/caa"
	"chancery/store"
)

// Config is what an engine is made of. All fields are required unless they say
// otherwise.
type Config struct {
	DB   store.DB
	Log  *slog.Logger
	Now  func() time.Time
	Rand io.Reader // must not fail
	Node string    // name of this node, for records

	// Issuers are the CA keys, for each authority the current one last.
	Issuers []Issuer

	// StatusURL is the address under which clients find CRLs, OCSP and CA
	// certificates, such as "http://pki.example.org", without a slash at its end.
	StatusURL string

	// MACKey keys the hashes of secrets and bodies: 32 octets that every node
	// shares.
	MACKey []byte

	// Restoring is for the process that restores a backup: it may use records that
	// are not all there yet.
	Restoring bool

	// ClockIsRight says that what was signed later than now was signed by a wrong
	// clock. Lists are then made anew, with times before those of the last ones.
	ClockIsRight bool

	// Faults is called at each named step of Submit. Only a build with the tag
	// faults sets it; nil otherwise.
	Faults func(step string)
}

// An Issuer is a CA key with its certificate chain.
type Issuer struct {
	Authority string
	Chain     []*x509.Certificate // its certificate first, the root last
	Key       crypto.Signer       // nil: this node cannot sign with it
}

// A Setup is a policy document with the modules built from it. An engine uses
// one at a time and can be given another while it runs.
type Setup struct {
	Policy  Policy
	Version string // under which the store has the document already, for Adopt; empty: that of its canonical form
	Shapers []Step[Shaper]
	Judges  []Step[Judge]
	Lints   []Step[Lint]
	Exits   []Outlet
}

// An Outlet is an exit with the name that the configuration gives it.
type Outlet struct {
	Name string
	Exit Exit
}

// Deps is what a module may use of the world.
type Deps struct {
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	Dir      string // of the server's data; an exit's relative paths are under it
	Profiles map[string]Profile
	Facts    Facts

	// CAA is where CAA records are looked up, CAAIdentities are the names of this
	// CA in them, and Account is the address by which they mean the account that
	// asks, empty for none (RFC 8657).
	CAA           caa.Records
	CAAIdentities []string
	Account       func(*Request) string
}

// Facts are what policies may ask about the CA's own records.
type Facts interface {
	// KeyBlocked reports whether the key, by the SHA-256 of its SPKI, may never
	// be certified again, and why.
	KeyBlocked(ctx context.Context, spkiHash [32]byte) (why string, blocked bool, err error)

	// CAKey reports whether the key is one of Chancery's own CA keys.
	CAKey(spkiHash [32]byte) bool
}
