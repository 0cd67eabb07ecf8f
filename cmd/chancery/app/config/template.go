package config

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	"chancery/engine"
)

//go:embed node.yaml.tmpl
var nodeTemplate string

//go:embed policy.yaml.tmpl
var policyTemplate string

// WriteNode is a commented document with the settings: what differs from the
// defaults as settings, the defaults as comments.
func WriteNode(n Node) ([]byte, error) {
	d := DefaultNode()
	set := func(indent, key string, value, def any) string {
		text := fmt.Sprint(value)
		if s, ok := value.(string); ok && (s == "" || strings.ContainsAny(s, `#{}[]"'`) || strings.HasPrefix(s, ":")) {
			text = fmt.Sprintf("%q", s)
		}
		if value == def {
			return "#" + indent + key + ": " + text
		}
		return indent + key + ": " + text
	}
	list := func(indent, key string, value []string, example string) string {
		if len(value) == 0 {
			return "#" + indent + key + ": [" + example + "]"
		}
		quoted := make([]string, len(value))
		for i, v := range value {
			quoted[i] = fmt.Sprintf("%q", v)
		}
		return indent + key + ": [" + strings.Join(quoted, ", ") + "]"
	}
	text := func(d engine.Duration) string {
		s := time.Duration(d).String() // 24h0m0s
		for _, zero := range []string{"m0s", "h0m"} {
			if rest, ok := strings.CutSuffix(s, zero); ok {
				s = rest + zero[:1]
			}
		}
		return s
	}
	path := boltFile
	if n.Store.Bolt != nil && n.Store.Bolt.Path != "" {
		path = n.Store.Bolt.Path
	}
	return fill(nodeTemplate, template.FuncMap{"set": set, "list": list, "text": text, "secret": func(s Secret) string { return string(s) }}, map[string]any{"N": n, "D": d, "Path": path, "DefaultPath": boltFile})
}

// WritePolicy is the commented policy document of a first start. Domain, if not
// empty, is what the issuing CA is constrained to.
func WritePolicy(domain string) ([]byte, error) {
	return fill(policyTemplate, nil, map[string]any{"Domain": domain})
}

func fill(text string, funcs template.FuncMap, data any) ([]byte, error) {
	t, err := template.New("").Funcs(funcs).Parse(text)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return []byte(b.String()), err
}
