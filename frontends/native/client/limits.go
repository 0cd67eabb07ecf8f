package client

import (
	"context"
	"time"
)

// Limited is who is held back: by rates, as the node that answered has seen it
// lately, and by pauses, on whatever node.
type Limited struct {
	Held   []Held  `json:"held"`
	Paused []Pause `json:"paused"`
}

// A Held is somebody who did too much.
type Held struct {
	Limit    string    `json:"limit"`    // its name in the policy document
	Endpoint string    `json:"endpoint"` // such as acme/default
	Of       string    `json:"of"`       // account, name or address
	Until    time.Time `json:"until"`
	Times    int       `json:"times"` // that it was refused
}

// A Pause is an ACME account that failed to prove a name over and over.
type Pause struct {
	Account  string    `json:"account"`
	Endpoint string    `json:"endpoint"`
	Name     string    `json:"name"`
	Failures int       `json:"failures"` // one after the other
	Since    time.Time `json:"since"`
	Last     time.Time `json:"last"` // failure
}

// Resume forgets the failures of an ACME account (its id or address), or of a
// name for all accounts, so that orders go on. It returns how many names of
// accounts that were.
func (c *Client) Resume(ctx context.Context, what string) (int, error) {
	var r struct {
		Resumed int `json:"resumed"`
	}
	_, err := c.do(ctx, call{method: "POST", path: "/acme/resume", body: map[string]string{"what": what}, admin: true}, &r)
	return r.Resumed, err
}
