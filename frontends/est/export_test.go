package est

import "chancery/engine"

// StatusOf is how a reason looks over HTTP; 0 if nothing says so.
func StatusOf(r engine.Reason) int { return denials[r] }
