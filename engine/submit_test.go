package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/store"
)

func TestSubmitIssues(t *testing.T) {
	w := newWorld(t)
	i, c := w.issue(w.submission("1", newKey(t), "www.example.test"))
	ca := w.conf.Issuers[0].Chain[0]
	if err := c.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
	if !slices.Equal(c.DNSNames, []string{"www.example.test"}) || len(c.Subject.Names) != 0 {
		t.Errorf("names %v, subject %v", c.DNSNames, c.Subject)
	}
	if !bytes.Equal(c.AuthorityKeyId, ca.SubjectKeyId) || len(c.SubjectKeyId) != 20 {
		t.Error("key identifiers are not as they should be")
	}
	if got := c.NotBefore; !got.Equal(w.now().Add(-time.Hour)) {
		t.Errorf("notBefore %s", got)
	}
	if c.SerialNumber.Sign() <= 0 || len(c.SerialNumber.Bytes()) > 20 {
		t.Errorf("serial %x", c.SerialNumber)
	}
	if len(c.CRLDistributionPoints) != 1 || len(c.OCSPServer) != 1 || len(c.IssuingCertificateURL) != 1 {
		t.Error("CDP, OCSP and CA issuers are not all there")
	}
	row, der, err := w.Certificate(t.Context(), i.ID)
	if err != nil || !bytes.Equal(der, i.Cert) || row.Status != Good || row.Request != i.RequestID {
		t.Errorf("row %+v, %v", row, err)
	}
	w.runUntil("the exit is told", func() bool { return sameKinds(w.exit.kinds(), "issued") })
	if ev := w.exit.told[0]; !bytes.Equal(ev.DER, i.Cert) || ev.Serial != i.ID.Serial {
		t.Errorf("event %+v", ev)
	}
}

func TestSameKeySameCertificate(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]bool{}
	for range 16 {
		wg.Go(func() {
			for {
				d, err := w.Submit(context.Background(), s)
				if err != nil {
					t.Error(err)
					return
				}
				if i, ok := d.(Issued); ok {
					mu.Lock()
					got[string(i.Cert)] = true
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Errorf("%d certificates for one Key", len(got))
	}
	if n := countCertificates(t, w); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func countCertificates(t *testing.T, w *world) int {
	n := 0
	if err := w.view(t.Context(), func(tx store.Tx) error {
		n = 0
		for c, err := range certificates.All(tx, "", "") {
			if err != nil {
				return err
			}
			if c.Profile != ProfileOCSP { // Run makes them when it likes
				n++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	s := w.submission("1", key, "a.test")
	first, _ := w.issue(s)

	other := s
	other.Body = csrFor(t, key, "a.test") // another signature: another body
	if _, err := w.Submit(t.Context(), other); !errors.Is(err, ErrConflict) {
		t.Errorf("same Key, other body: %v, want ErrConflict", err)
	}
	other = s
	other.Profile = "manual"
	if _, err := w.Submit(t.Context(), other); !errors.Is(err, ErrConflict) {
		t.Errorf("same Key, other profile: %v, want ErrConflict", err)
	}
	again, _ := w.issue(s)
	if !bytes.Equal(again.Cert, first.Cert) {
		t.Error("the repeat got another certificate")
	}
	w.advanceClock(25 * time.Hour)
	s.Proofs[0].Expires = w.now().Add(time.Hour)
	later, _ := w.issue(s)
	if bytes.Equal(later.Cert, first.Cert) {
		t.Error("an issued request still answers after 24 hours")
	}
}

func TestAnotherPrincipalsKeyReturnsNothing(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test").as("key:alice", "k")
	first, _ := w.issue(s)
	second, _ := w.issue(s.as("key:bob", "k"))
	if first.RequestID == second.RequestID || bytes.Equal(first.Cert, second.Cert) {
		t.Error("bob got what alice asked for")
	}
	if _, err := w.Retrieve(t.Context(), first.RequestID, "key:bob"); !errors.Is(err, ErrNoRequest) {
		t.Errorf("Retrieve by another = %v", err)
	}
	if _, err := w.Retrieve(t.Context(), first.RequestID, "key:alice"); err != nil {
		t.Error(err)
	}
}

func TestRevokedIsNeverReplayed(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	first, _ := w.issue(s)
	if err := w.Revoke(t.Context(), Revocation{ID: first.ID, Reason: 4, By: "t"}); err != nil {
		t.Fatal(err)
	}
	second, _ := w.issue(s)
	if bytes.Equal(first.Cert, second.Cert) {
		t.Error("a revoked certificate was handed out again")
	}
}

func TestDenialDoesNotStickOnceProofsDiffer(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	proofs := s.Proofs
	s.Proofs = nil
	first := w.denied(s, NameNotAllowed)
	if again := w.denied(s, NameNotAllowed); again.RequestID != first.RequestID {
		t.Error("the same denial was decided twice within a minute")
	}
	s.Proofs = proofs
	w.issue(s)
}

func TestNothingUnprovedIsIssued(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test", "b.test")
	s.Proofs[0].Names = s.Proofs[0].Names[:1]
	w.denied(s, NameNotAllowed)

	s = w.submission("2", newKey(t), "a.test")
	s.Proofs[0].Expires = w.now().Add(-time.Second)
	w.denied(s, NameNotAllowed)

	s = w.submission("3", newKey(t), "a.test")
	s.Proofs[0].Method = BySelf // only Chancery itself proves that way
	w.denied(s, NameNotAllowed)

	s = w.submission("4", newKey(t), "*.a.test")
	s.Proofs[0].Names = dns(t, "a.test")
	w.denied(s, NameNotAllowed)
}

// Whatever a shaper says, a profile is only for the frontends that it names.
func TestGateKeepsProfilesToTheirFrontends(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = ProfileTLS
	w.denied(s, UnknownProfile)
}

func TestPolicyErrorIsNoDenial(t *testing.T) {
	w := newWorld(t)
	broken := true
	good := w.setup.Shapers[0].Run
	w.setup.Shapers[0].Run = func(ctx context.Context, r *Request, d *Draft) (Verdict, error) {
		if broken {
			return Verdict{}, errBoom
		}
		return good(ctx, r, d)
	}
	w.use()
	s := w.submission("1", newKey(t), "a.test")
	if _, err := w.Submit(t.Context(), s); !errors.Is(err, ErrUndecided) {
		t.Fatalf("Submit = %v, want ErrUndecided", err)
	}
	if d, err := w.Status(t.Context(), s.Key); !errors.Is(err, ErrUndecided) {
		t.Errorf("Status = %v, %v", d, err)
	}
	broken = false
	w.runUntil("Run resumes it", func() bool {
		d, err := w.Status(t.Context(), s.Key)
		_, ok := d.(Issued)
		return err == nil && ok
	})
}

func TestVerdicts(t *testing.T) {
	none := func(context.Context, *Request, Rendered) (Verdict, error) { return Verdict{}, nil }
	no := func(context.Context, *Request, Rendered) (Verdict, error) { return Deny(LimitExceeded, "no"), nil }
	wait := func(context.Context, *Request, Rendered) (Verdict, error) { return PendForOne("wait"), nil }
	for _, tt := range []struct {
		name  string
		judge []Judge
		want  string
	}{
		{"denial beats pend", []Judge{wait, no}, "denied"},
		{"pend", []Judge{wait}, "pended"},
		{"forgetting to decide is an error", []Judge{none}, "error"},
	} {
		w := newWorld(t)
		for i, j := range tt.judge {
			w.setup.Judges = append(w.setup.Judges, Step[Judge]{Name: fmt.Sprint("j", i), Run: j})
		}
		w.use()
		d, err := w.Submit(t.Context(), w.submission("1", newKey(t), "a.test"))
		got := "error"
		switch d.(type) {
		case Issued:
			got = "issued"
		case Pended:
			got = "pended"
		case Denied:
			got = "denied"
		}
		if got != tt.want {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
	}
}

func TestBadBodies(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	good := s.Body
	for name, body := range map[string][]byte{
		"empty": nil, "garbage": []byte("hello"), "truncated": good[:len(good)-3], "trailing": append(slices.Clone(good), 0),
		"bad signature": append(slices.Clone(good[:len(good)-1]), good[len(good)-1]^1),
	} {
		s.Body = body
		if d, err := w.Submit(t.Context(), s); err != nil || d.(Denied).Reason != BadCSR {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}
