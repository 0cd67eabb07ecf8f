package native_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"chancery/frontends/native/client"
)

// A campaign from its beginning to its end, over the API.
func TestNative_CampaignOverTheAPI(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	c, _ := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	submit := func(name string) {
		t.Helper()
		if _, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), name), Profile: "service"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		submit(fmt.Sprintf("h%d.example.org", i))
	}
	h.now = h.now.Add(2 * time.Second)
	bob, alice := h.client(h.bob, ""), h.client(h.alice, "")
	k, err := bob.CreateCampaign(ctx, client.NewCampaign{Where: "name=*.example.org and profile = service", Within: "2d", Reason: "https://intranet.test/7"})
	if err != nil || k.By != "bob" || k.Where != "name = *.example.org and profile = service" || k.Due.Sub(k.Created) != 48*time.Hour {
		t.Fatalf("%+v %v", k, err)
	}
	h.now = h.now.Add(2 * time.Second)
	submit("h0.example.org")
	count := func(limit int) (all, renewed int, waiting []client.Member) {
		t.Helper()
		after := ""
		for {
			m, err := bob.Members(ctx, k.ID, limit, after)
			if err != nil {
				t.Fatal(err)
			}
			all, renewed, waiting = all+m.Certificates, renewed+m.Renewed, append(waiting, m.Waiting...)
			if after = m.Next; after == "" {
				return all, renewed, waiting
			}
		}
	}
	for _, limit := range []int{2, 1000} {
		if all, renewed, waiting := count(limit); all != 5 || renewed != 1 || len(waiting) != 4 ||
			waiting[0].Serial == "" || waiting[0].RenewBefore.After(k.Due) || !waiting[0].RenewAfter.Before(waiting[0].RenewBefore) {
			t.Errorf("%d, %d renewed, %+v", all, renewed, waiting)
		}
	}
	list, _, err := bob.Certificates(ctx, client.CertificateFilter{Where: "profile = service and not renewed", Limit: 100})
	if err != nil || len(list) != 5 {
		t.Errorf("%d %v", len(list), err)
	}
	if ended, err := alice.EndCampaign(ctx, k.ID); err != nil || ended.EndedBy != "alice" {
		t.Errorf("%+v %v", ended, err)
	}
	if all, _, err := bob.Campaigns(ctx, 10, ""); err != nil || len(all) != 1 || all[0].Ended.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
	if _, err := bob.CreateCampaign(ctx, client.NewCampaign{Where: "nmae = x", Within: "2d"}); reasonOf(err) != "bad-input" {
		t.Errorf("%v", err)
	}
}
