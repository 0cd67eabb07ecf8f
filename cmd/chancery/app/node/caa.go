package node

import (
	"strings"

	"chancery/engine"
	"chancery/engine/caa"
	"chancery/engine/dns"
	"chancery/frontends/acme"
)

// caaRecords look CAA records up where ACME challenges are looked up too.
func (n *Node) caaRecords() (caa.Records, error) {
	return dns.New(dns.Config{Servers: n.Settings.ACME.Validation.Resolvers, Rand: n.Rand})
}

// accountURL is the address of the account that a request comes from, for CAA
// records that name one (RFC 8657, Section 3.1); empty where there is none.
func (n *Node) accountURL(r *engine.Request) string {
	id, ok := strings.CutPrefix(string(r.Requester), "account:")
	if !ok || r.Source != engine.ACME || n.HTTPS == "" {
		return ""
	}
	return acme.AccountURL(acme.EndpointURL(n.HTTPS, r.Endpoint), id)
}
