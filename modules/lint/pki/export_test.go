package pki

// Names lists the rules.
func Names() []string {
	var out []string
	for _, group := range [...][]rule{bodyRules(), keyRules(), nameRules(), altNameRules(), extensionRules(), usageRules(), secondReading()} {
		for _, r := range group {
			out = append(out, r.name)
		}
	}
	return out
}
