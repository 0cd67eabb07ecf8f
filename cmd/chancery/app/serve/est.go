package serve

import (
	"encoding/json"
	"net/http"

	"chancery/frontends/access"
	"chancery/frontends/est"
)

func newEST(w World, endpoints map[string]json.RawMessage) (Mounts, error) {
	if len(endpoints) == 0 {
		return Mounts{}, nil
	}
	c, err := est.ParseConfig(endpoints)
	if err != nil {
		return Mounts{}, err
	}
	n := w.Node
	_, enrollment, err := pools(n.Engine)
	if err != nil {
		return Mounts{}, err
	}
	f, err := est.New(c, est.Deps{
		Requests: w.Engine, Authorities: w.Engine, Grants: w.Engine, Records: w.Engine,
		Anchors: enrollment, Profiles: w.Profiles, Now: n.Now, Rand: n.Rand, Log: n.Log, Note: access.Note,
	})
	if err != nil {
		return Mounts{}, err
	}
	return Mounts{HTTPS: map[string]http.Handler{est.Root: f}}, nil
}
