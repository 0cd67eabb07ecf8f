package engine

import (
	"chancery/store"
)

// raws holds a request's body without its secrets, its certificate, and the
// trails of its decisions, each under the request's id and a suffix, so that
// everything of one request lies together. Between decision and signature the
// certificate is there with a placeholder for the signature: the exact TBS to be
// signed, in a document that will not grow, which keeps pages full.
var raws = store.Blobs{Name: "raws"}

func bodyKey(request string) string  { return request + ".body" }
func certKey(request string) string  { return request + ".cert" } // a twin while Issuing
func trailKey(request string) string { return request + ".trail." }

// past is a key after all that begin with prefix.
func past(prefix string) string { return prefix + "\xff" }
