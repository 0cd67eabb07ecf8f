package serve

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"

	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/frontends/scep"
)

// A scepMount keeps the RA through changes of policy.
type scepMount struct{ ra *scep.RA }

func (m *scepMount) mount(w World, endpoints map[string]json.RawMessage) (Mounts, error) {
	if len(endpoints) == 0 {
		return Mounts{}, nil
	}
	c, err := scep.ParseConfig(endpoints)
	if err != nil {
		return Mounts{}, err
	}
	n := w.Node
	if m.ra == nil {
		if m.ra, err = newRA(n); err != nil {
			return Mounts{}, err
		}
	}
	f, err := scep.New(c, scep.Deps{
		Requests: w.Engine, Certificates: w.Engine, Grants: w.Engine, People: w.Engine, RA: m.ra, Profiles: w.Profiles, Now: n.Now, Rand: n.Rand, Log: n.Log,
	})
	if err != nil {
		return Mounts{}, err
	}
	at := map[string]http.Handler{}
	for _, p := range scep.Paths() {
		at[p] = f
	}
	secure := maps.Clone(at)
	secure[scep.AdminPath()] = f
	return Mounts{HTTPS: secure, HTTP: at, Run: m.ra.Run}, nil
}

// newRA makes the keeper of the keys that stand before the authority main.
func newRA(n *node.Node) (*scep.RA, error) {
	seal, err := n.Seal.Key("scep ra")
	if err != nil {
		return nil, err
	}
	return scep.NewRA(scep.RADeps{
		DB: n.DB, Certificates: n.Engine, SealKey: seal, Authority: n.Engine.Profiles()[engine.ProfileRA].Authority, Now: n.Now, Rand: n.Rand, Log: n.Log,
		Enroll: func(ctx context.Context, id string, key crypto.Signer) ([]byte, error) {
			chain, err := n.Enroll(ctx, node.Own{Profile: engine.ProfileRA, ID: "scep-ra-" + id, CN: "SCEP RA " + id}, key)
			if err != nil {
				return nil, err
			}
			return chain[0], nil
		},
	})
}

// greetSCEP shows enrollment with strongSwan's pki: the certificates of the CA,
// then one for a device, with a challenge made for it.
func (s *Server) greetSCEP(w io.Writer, url, dir string) {
	fmt.Fprintf(w, "By SCEP, with strongSwan's pki:\n")
	fmt.Fprintf(w, "  pki --scepca --url %s --caout scep-ca.crt --raout scep-ra.crt --outform pem --force\n", url)
	fmt.Fprintf(w, "  openssl genrsa -out dev.key 2048 && pki --scep --url %s --in dev.key --dn CN=dev.example.org --password $(chancery grant create --data %s --protocol scep --profile device --name dev.example.org --uses 1 --json | grep -o '\"secret\": *\"[^\"]*' | cut -d'\"' -f4) --cacert-enc scep-ra.crt --cacert-sig scep-ra.crt --cacert scep-ca-1.crt --cacert scep-ca.crt --outform pem > dev.crt\n", url, dir)
}
