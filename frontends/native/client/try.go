package client

import "context"

// A Trial is an ACME validation to try as the CA sees it.
type Trial struct {
	Name             string `json:"name"`                        // DNS name or address
	Challenge        string `json:"challenge,omitempty"`         // such as http-01, the default
	KeyAuthorization string `json:"key_authorization,omitempty"` // what the client serves: TOKEN.THUMBPRINT
	Account          string `json:"account,omitempty"`           // address of the account, for challenges that name it
}

// An Outcome is what became of a trial.
type Outcome struct {
	Name       string `json:"name"`
	Challenge  string `json:"challenge"`
	Valid      bool   `json:"valid"`
	Conclusion string `json:"conclusion"`
	Steps      []struct {
		About string `json:"about"` // dns, address, connect, http, tls, txt, caa
		Text  string `json:"text"`
	} `json:"steps"`
}

// Try tries a validation and tells step by step what the CA saw. It is for
// officers and admins, and one at a time.
func (c *Client) Try(ctx context.Context, t Trial) (*Outcome, error) {
	var o Outcome
	if _, err := c.do(ctx, call{method: "POST", path: "/acme/try", body: t, admin: true}, &o); err != nil {
		return nil, err
	}
	return &o, nil
}
