package node

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/initca"
	"chancery/engine"
	"chancery/engine/names"
	"chancery/modules/signer/file"
)

// founderLife is how long the first administrator has to enroll two persons.
const founderLife = 30 * 24 * time.Hour

// Finish ends a first start: it makes what is missing of the founder's key,
// credential, certificate and grant, and then the marker.
func (n *Node) Finish(ctx context.Context) error {
	if !n.First {
		return nil
	}
	key, err := file.New(file.Config{Path: n.Dir.FounderKey()})
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = NewKey(n); err == nil {
			err = file.Write(n.Dir.FounderKey(), key, nil)
		}
	}
	if err != nil {
		return err
	}
	if err := n.founder(ctx, key); err != nil {
		return err
	}
	n.First = false
	return n.Dir.WriteMarker(datadir.Initialized{Authorities: n.made})
}

// founder gives the key its roles, the right to enroll services, and a
// certificate to show it with.
func (n *Node) founder(ctx context.Context, key crypto.Signer) error {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	hash := sha256.Sum256(spki)
	who := engine.Principal("key:" + hex.EncodeToString(hash[:]))
	until := n.Now().Add(founderLife)
	f, _, err := n.Engine.Founder(ctx)
	if err != nil {
		return err
	}
	if f == nil {
		if err := n.Engine.MakeFounder(ctx, hash, until); err != nil {
			return err
		}
	} else if until = f.Expires; f.Key != hex.EncodeToString(hash[:]) {
		return fmt.Errorf("the records know another founder than the key in %s: restore that file from the backup, or begin in an empty data directory", n.Dir.FounderKey())
	}
	if err := n.founderGrant(ctx, who, until); err != nil {
		return err
	}
	chain, err := n.Enroll(ctx, Own{Profile: engine.ProfilePerson, ID: "founder", CN: "founder"}, key)
	if err != nil {
		return fmt.Errorf("the founder's certificate: %w", err)
	}
	n.Say("founder: %s and %s, all roles until %s; enroll two persons until then", n.Dir.FounderCert(), n.Dir.FounderKey(), until.Format(time.DateOnly))
	return datadir.Write(n.Dir.FounderCert(), initca.PEM(chain...), 0o644)
}

// founderGrant lets the founder's credential enroll for any name, so that the
// first submit works, whatever profiles the native endpoint offers. It is an ordinary grant: listed, and revocable.
func (n *Node) founderGrant(ctx context.Context, who engine.Principal, until time.Time) error {
	held, err := n.Engine.HeldGrants(ctx, engine.Native, "default", who)
	if err != nil || len(held) > 0 {
		return err
	}
	any, err := names.ParsePattern("any")
	if err != nil {
		return err
	}
	_, _, err = n.Engine.CreateGrant(ctx, engine.Actor{Person: "first start", Roles: []engine.Role{engine.Admin}, Via: "init"}, engine.Grant{
		Protocol: engine.Native, Names: []names.Pattern{any}, Holder: who, Expires: until,
	})
	return err
}

// Own is a certificate of Chancery's own.
type Own struct {
	Profile string
	ID      string // names the request: the same ID asks for the same certificate
	CN      string
	Names   []names.Name
}

// Enroll asks the engine for a certificate as everybody does, as source self. It
// returns the chain in DER without the root.
func (n *Node) Enroll(ctx context.Context, o Own, key crypto.Signer) ([][]byte, error) {
	csr, err := request(o, key)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(spki)
	me := engine.Principal("self:" + n.Settings.Node)
	d, err := n.submit(ctx, engine.Submission{
		Source: engine.Self, Endpoint: o.Profile, Requester: me, Form: engine.PKCS10, Body: csr, Profile: o.Profile,
		// The key is part of the identity: after a crash the same key file asks
		// for the same certificate.
		Key:    engine.NewKey(engine.Self, o.Profile, "", me, o.ID+":"+hex.EncodeToString(hash[:])),
		Proofs: []engine.Proof{{Method: engine.BySelf, Principal: me, Names: o.Names, By: n.Settings.Node, At: n.Now()}},
	})
	if err != nil {
		return nil, err
	}
	switch d := d.(type) {
	case engine.Issued:
		return append([][]byte{d.Cert}, d.Chain...), nil
	case engine.Denied:
		return nil, fmt.Errorf("the policy in use refuses it: %s", d.Detail)
	}
	return nil, errors.New("it waits for an officer; Chancery's own profiles must not")
}

// submit waits for another node to sign where this one has not the key.
func (n *Node) submit(ctx context.Context, s engine.Submission) (engine.Disposition, error) {
	const soon, late = time.Second, 5 * time.Second
	for tries := 0; ; tries++ {
		d, err := n.Engine.Submit(ctx, s)
		wait := soon
		switch d := d.(type) {
		case engine.Pended:
			r, err := n.Engine.Request(ctx, d.RequestID)
			if err != nil || r.State == engine.Pending {
				return d, err
			}
		default:
			if !errors.Is(err, engine.ErrNoSigner) {
				return d, err
			}
			wait = late
		}
		if tries%10 == 0 {
			n.Log.WarnContext(ctx, "a certificate of this node's own waits for another node to sign it: this one has not the CA key", "profile", s.Profile, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no node signed it: %w", errors.Join(ctx.Err(), err))
		case <-time.After(wait):
		}
	}
}

// NewKey makes a P-256 key.
func NewKey(n *Node) (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), n.Rand) }

// LoadPair reads a file with a private key and the certificates for it.
func LoadPair(path string) (key crypto.Signer, chain []*x509.Certificate, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type == "PRIVATE KEY" {
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", path, err)
			}
			key, _ = k.(crypto.Signer)
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		chain = append(chain, c)
	}
	if key == nil || len(chain) == 0 {
		return nil, nil, fmt.Errorf("%s does not hold a private key and its certificate", path)
	}
	return key, chain, nil
}

// SavePair writes what LoadPair reads.
func SavePair(path string, key crypto.Signer, chain [][]byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(der)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return datadir.Write(path, append(text, initca.PEM(chain...)...), 0o600)
}

// Remark notes the CAs that were made after the first start.
func (n *Node) Remark() error { return n.Dir.WriteMarker(datadir.Initialized{Authorities: n.made}) }
