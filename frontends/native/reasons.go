package native

import (
	"fmt"
	"slices"
	"strings"

	"chancery/engine"
)

// What each may give as a reason for revocation (RFC 5280, Section 5.3.1). A
// requester cannot hold, because only an officer could release.
var (
	officerReasons   = []int{0, 1, 3, 4, 5, 6, 9}
	requesterReasons = []int{0, 1, 3, 4, 5}
)

// reasonCode reads a reason by name; none is unspecified.
func reasonCode(name string, admitted []int) (int, error) {
	if code, err := engine.ParseReason(name); err == nil && slices.Contains(admitted, code) {
		return code, nil
	}
	var list []string
	for _, code := range admitted {
		list = append(list, engine.ReasonName(code))
	}
	return 0, &problem{Status: 400, Reason: "bad-reason",
		Detail: fmt.Sprintf("The reason %q cannot be used. Use one of: %s.", clip(name, 40), strings.Join(list, ", "))}
}
