// Command corpca is Chancery with a policy, a lint and an exit of a company's
// own. It has every command that chancery has.
package main

import (
	"bytes"
	"context"

	"chancery/cmd/chancery/app"
	"chancery/engine"
	"chancery/modules"

	"example.org/corpca/ledger"
	"example.org/corpca/maxnames"
)

func main() {
	app.Main(app.With{
		Version: "corpca-1",
		With: modules.With{
			Judges: map[string]modules.Builder[engine.Judge]{"maxnames": modules.Of(maxnames.New)},
			Exits:  map[string]modules.Builder[engine.Exit]{"ledger": modules.Of(ledger.New)},
			Lints:  map[string]engine.Lint{"forbidden-word": forbiddenWord},
		},
	})
}

// forbiddenWord is a lint: it looks at the finished certificate, whoever made it.
func forbiddenWord(_ context.Context, der []byte) ([]engine.Finding, error) {
	if bytes.Contains(der, []byte("test-do-not-use")) {
		return []engine.Finding{{Rule: "forbidden-word", Severity: "error", Detail: "test-do-not-use is in it"}}, nil
	}
	return nil, nil
}
