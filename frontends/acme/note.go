package acme

import "chancery/frontends/access"

// note adds a field to the request's line in the access log.
func (c *call) note(key, value string) {
	if value != "" {
		access.Note(c.ctx, key, value)
	}
}
