package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

func campaign(env func(string) string) *cobra.Command {
	group := &cobra.Command{Use: "campaign", Short: "Have certificates renewed early: begin, follow, end", Args: KnownCommand, RunE: Help}
	for _, make := range []func(*connection) *cobra.Command{campaignCreate, campaignList, campaignShow, campaignEnd} {
		o := &connection{env: env}
		c := make(o)
		o.flags(c)
		group.AddCommand(c)
	}
	return group
}

func campaignCreate(o *connection) *cobra.Command {
	var n client.NewCampaign
	c := &cobra.Command{
		Use: "create --where FILTER --within TIME", Short: "Have the clients of certificates renew them", Args: Args(0, ""),
		Long: `Have those certificates renewed that a filter selects and that exist now:

  chancery campaign create --where 'name = *.corp.example and issued before 2026-11-01' --within 48h

ACME clients that ask when to renew (RFC 9773) are each given a time within that
span, spread evenly. They ask every six hours or so; a shorter span has many of
them renew when they ask. Clients that never ask are not reached: campaign show
lists who has not renewed. docs/operations.md has the grammar of filters.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if n.Where == "" || n.Within == "" {
				return usage("campaign create wants --where FILTER and --within TIME, such as 48h")
			}
			cl, err := o.client()
			if err != nil {
				return err
			}
			k, err := cl.CreateCampaign(c.Context(), n)
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), k, lines("id", k.ID, "where", k.Where, "due", when(k.Due)))
		},
	}
	f := c.Flags()
	f.StringVar(&n.Where, "where", "", "which certificates, such as 'profile = web'")
	f.StringVar(&n.Within, "within", "", "the time over which renewals are spread: 48h, 7d")
	f.StringVar(&n.Reason, "reason", "", "address of a page that says why; clients show it to their operators")
	return c
}

func campaignList(o *connection) *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List campaigns, newest first", Args: Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			all, err := every(limit, func(after string, n int) ([]client.Campaign, string, error) {
				return cl.Campaigns(c.Context(), n, after)
			})
			if err != nil {
				return told(err)
			}
			rows := [][]string{{"ID", "BEGAN", "DUE", "ENDED", "BY", "WHERE"}}
			for _, k := range all {
				rows = append(rows, []string{k.ID, when(k.Created), when(k.Due), when(k.Ended), k.By, k.Where})
			}
			return o.show(c.OutOrStdout(), all, table(rows))
		},
	}
	c.Flags().IntVar(&limit, "limit", 0, "show at most so many; 0 is all")
	return c
}

// A campaignState is a campaign and how far it is.
type campaignState struct {
	client.Campaign
	Certificates int             `json:"certificates"`
	Renewed      int             `json:"renewed"`
	Gone         int             `json:"gone"`
	Waiting      int             `json:"waiting"`
	Overdue      int             `json:"overdue"`
	Members      []client.Member `json:"not_renewed"`
}

func campaignShow(o *connection) *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "show ID", Short: "Show how far a campaign is, and who has not renewed", Args: Args(1, "the id of a campaign"),
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			k, err := cl.Campaign(c.Context(), a[0])
			if err != nil {
				return told(err)
			}
			s := &campaignState{Campaign: *k, Members: []client.Member{}}
			if err := s.count(c.Context(), cl, limit); err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), s, s.text())
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "name at most so many that have not renewed; 0 is all")
	return c
}

// count adds up the pages, and keeps of those that have not renewed the ones that
// are due first.
func (s *campaignState) count(ctx context.Context, cl *client.Client, limit int) error {
	now := time.Now()
	for after := ""; ; {
		m, err := cl.Members(ctx, s.ID, 1000, after)
		if err != nil {
			return err
		}
		s.Certificates += m.Certificates
		s.Renewed += m.Renewed
		s.Gone += m.Gone
		s.Waiting += len(m.Waiting)
		for _, one := range m.Waiting {
			if now.After(one.RenewBefore) {
				s.Overdue++
			}
		}
		s.Members = append(s.Members, m.Waiting...)
		slices.SortStableFunc(s.Members, func(a, b client.Member) int { return a.RenewAfter.Compare(b.RenewAfter) })
		if limit > 0 && len(s.Members) > limit {
			s.Members = s.Members[:limit]
		}
		if after = m.Next; after == "" {
			return nil
		}
	}
}

func (s *campaignState) text() string {
	text := lines("id", s.ID, "where", s.Where, "began", when(s.Created)+" by "+s.By, "due", when(s.Due), "ended", when(s.Ended), "reason", s.Reason,
		"certificates", fmt.Sprint(s.Certificates), "renewed", fmt.Sprint(s.Renewed), "gone", fmt.Sprint(s.Gone), "not renewed", fmt.Sprintf("%d, %d of them overdue", s.Waiting, s.Overdue))
	if len(s.Members) == 0 {
		return text
	}
	rows := [][]string{{"RENEWS", "SERIAL", "UNTIL", "REQUESTER", "NAMES"}}
	for _, m := range s.Members {
		rows = append(rows, []string{when(m.RenewAfter), m.Serial, when(m.NotAfter), m.Requester, names(m.Names)})
	}
	text += "\n" + table(rows)
	if more := s.Waiting - len(s.Members); more > 0 {
		text += fmt.Sprintf("and %d more; --limit 0 shows all\n", more)
	}
	return text
}

func campaignEnd(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "end ID", Short: "End a campaign: clients are told their usual times again", Args: Args(1, "the id of a campaign"),
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			k, err := cl.EndCampaign(c.Context(), a[0])
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), k, "ended "+k.ID+"\n")
		},
	}
}
