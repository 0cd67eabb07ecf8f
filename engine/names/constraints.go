package names

import (
	"errors"
)

// Constraints are the name constraints of an issuer (RFC 5280, Section
// 4.2.1.10). The zero value constrains nothing.
type Constraints struct {
	permitted, excluded []subtree
}

// Check refuses names and subjects outside the constraints.
func (c *Constraints) Check(list []Name, subject DN) error { return errors.ErrUnsupported }

type subtree struct{}

// ParseConstraints reads the value of a nameConstraints extension.
func ParseConstraints(ext []byte) (*Constraints, error) { return nil, errors.ErrUnsupported }
