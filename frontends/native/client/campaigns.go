package client

import (
	"context"
	"time"
)

// A Campaign has certificates renewed before their time.
type Campaign struct {
	ID      string    `json:"id"`
	Where   string    `json:"where"`
	Created time.Time `json:"created"`
	Within  string    `json:"within"`
	Due     time.Time `json:"due"` // when the last renewal is
	Reason  string    `json:"reason"`
	By      string    `json:"by"`
	Ended   time.Time `json:"ended"`
	EndedBy string    `json:"ended_by"`
}

// A NewCampaign says what is to be renewed.
type NewCampaign struct {
	Where  string `json:"where"`            // a filter over certificates
	Within string `json:"within"`           // the time over which renewals are spread, such as 48h
	Reason string `json:"reason,omitempty"` // address of a page that says why
}

// CreateCampaign begins a campaign.
func (c *Client) CreateCampaign(ctx context.Context, n NewCampaign) (*Campaign, error) {
	var k Campaign
	if _, err := c.do(ctx, call{method: "POST", path: "/campaigns", body: n, admin: true}, &k); err != nil {
		return nil, err
	}
	return &k, nil
}

// Campaigns lists campaigns, newest first, and the cursor of the next page.
func (c *Client) Campaigns(ctx context.Context, limit int, after string) ([]Campaign, string, error) {
	q := values("after", after)
	addLimit(q, limit)
	var page struct {
		Campaigns []Campaign `json:"campaigns"`
		Next      string     `json:"next"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/campaigns", query: q, admin: true}, &page)
	return page.Campaigns, page.Next, err
}

// Campaign shows one campaign.
func (c *Client) Campaign(ctx context.Context, id string) (*Campaign, error) {
	return get[Campaign](ctx, c, "/campaigns/", id, "")
}

// EndCampaign ends a campaign.
func (c *Client) EndCampaign(ctx context.Context, id string) (*Campaign, error) {
	return post[Campaign](ctx, c, "/campaigns/", id, "/end", map[string]any{})
}

// Members are some certificates of a campaign, and those of them that are still
// to be renewed.
type Members struct {
	Certificates int      `json:"certificates"`
	Renewed      int      `json:"renewed"`
	Gone         int      `json:"gone"` // revoked or expired
	Waiting      []Member `json:"waiting"`
	Next         string   `json:"next"` // cursor of the next page
}

// A Member is a certificate that is still to be renewed.
type Member struct {
	Certificate
	RenewAfter  time.Time `json:"renew_after"`
	RenewBefore time.Time `json:"renew_before"`
}

// Members looks at some certificates of a campaign. Pages are added up.
func (c *Client) Members(ctx context.Context, id string, limit int, after string) (*Members, error) {
	p, err := path("/campaigns/", id, "/members")
	if err != nil {
		return nil, err
	}
	q := values("after", after)
	addLimit(q, limit)
	var m Members
	if _, err := c.do(ctx, call{method: "GET", path: p, query: q, admin: true}, &m); err != nil {
		return nil, err
	}
	return &m, nil
}
