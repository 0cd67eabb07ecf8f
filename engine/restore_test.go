package engine

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"chancery/store"
	"chancery/store/archive"
	"chancery/store/storetest/backends"
)

var restorer = Actor{Person: "rita", Roles: []Role{Admin}, Via: "test"}

// backup is what chancery backup writes of the records.
func (w *world) backup() []byte {
	w.t.Helper()
	var out bytes.Buffer
	if err := archive.Write(context.Background(), &out, archive.Header{Made: w.now()}, nil, w.db, archive.Without(Schemas(), Passing()...), nil); err != nil {
		w.t.Fatal(err)
	}
	return out.Bytes()
}

// restore puts a backup into a new store, and goes on with that as the process
// that restores does, up to serving.
func (w *world) restore(file []byte) []Change {
	w.t.Helper()
	w.db.Close()
	w.place = backends.New(w.t)
	schemas := Schemas()
	db, err := w.place.Open(w.conf.Log, schemas...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.db, w.conf.DB, w.conf.Restoring = db, db, true
	if err := BeginRestore(w.t.Context(), db, w.now(), w.now(), "rita"); err != nil {
		w.t.Fatal(err)
	}
	if w.Engine, err = New(w.t.Context(), w.conf); err != nil {
		w.t.Fatal(err)
	}
	// A process that serves refuses what is half restored.
	w.conf.Restoring = false
	if _, err := New(w.t.Context(), w.conf); !errors.Is(err, ErrHalfRestored) {
		w.t.Fatalf("half restored: %v", err)
	}
	w.conf.Restoring = true
	if _, err := archive.Load(w.t.Context(), bytes.NewReader(file), db, archive.Without(schemas, Passing()...)); err != nil {
		w.t.Fatal(err)
	}
	done, err := w.FinishRestore(w.t.Context(), restorer)
	if err != nil {
		w.t.Fatal(err)
	}
	w.conf.Restoring = false
	w.open()
	return done
}

// sound checks that each document has its index entries, and that the rows agree.
func (w *world) sound() {
	w.t.Helper()
	if err := store.Verify(context.Background(), w.db, Schemas()); err != nil {
		w.t.Error(err)
	}
	found, err := CheckRecords(context.Background(), w.db)
	if err != nil {
		w.t.Error(err)
	}
	for _, f := range found {
		w.t.Error(f)
	}
}

// readLists gives the last lists of all CA keys.
func (w *world) readLists(ders ...[]byte) (done []Change) {
	w.t.Helper()
	for _, der := range ders {
		d, err := w.ReadPublished(context.Background(), restorer, der, "a file")
		if err != nil {
			w.t.Fatal(err)
		}
		done = append(done, d...)
	}
	return done
}

func (w *world) lists() [][]byte {
	w.t.Helper()
	var all [][]byte
	for id, is := range w.issuers {
		if err := w.publishCRL(context.Background(), is, store.Lease{}); err != nil {
			w.t.Fatal(err)
		}
		c, err := w.CRL(context.Background(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, c.DER)
	}
	return all
}

func acts(all []Change) []string {
	var out []string
	for _, c := range all {
		out = append(out, c.Act)
	}
	slices.Sort(out)
	return out
}

// A revocation after the backup is in the last published list, and stays.
func TestOldBackupKeepsLaterRevocations(t *testing.T) {
	w := newWorld(t)
	early, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	held, heldCert := w.issue(w.submission("2", newKey(t), "b.test"))
	lost, lostCert := w.issue(w.submission("3", newKey(t), "good.test"))
	_ = lost
	w.lists()
	file := w.backup()
	w.advanceClock(time.Hour)
	late, lateCert := w.issue(w.submission("4", newKey(t), "late.test"))
	for id, reason := range map[CertID]int{early.ID: 1, held.ID: 6, late.ID: 4} {
		if err := w.Revoke(t.Context(), Revocation{ID: id, Reason: reason, By: "olga"}); err != nil {
			t.Fatal(err)
		}
	}
	at := w.now().Truncate(time.Second)
	for range 5 { // more lists than seconds: the number is ahead of the clock
		w.lists()
	}
	published := w.lists()
	last := &x509.RevocationList{Number: new(big.Int)}
	for _, der := range published {
		if l, err := x509.ParseRevocationList(der); err == nil && len(l.RevokedCertificateEntries) > 0 {
			last = l
		}
	}

	w.restore(file)
	w.sound()
	w.checkUnread(lostCert)
	if _, err := w.ReadPublished(t.Context(), restorer, published[0], "x"); err != nil {
		t.Fatal(err)
	}
	done := w.readLists(published...)
	w.sound()
	if r := w.ocsp(lateCert); r.Status != ocsp.Revoked || r.RevocationReason != 4 || !r.RevokedAt.Equal(at) {
		t.Errorf("issued and revoked after the backup: %+v", r)
	}
	if r := w.ocsp(heldCert); r.Status != ocsp.Revoked || r.RevocationReason != 6 {
		t.Errorf("put on hold after the backup: %+v", r)
	}
	if r := w.ocsp(lostCert); r.Status != ocsp.Good {
		t.Errorf("not revoked: %+v", r)
	}
	_ = done
	l := w.currentCRL()
	if l.Number.Cmp(last.Number) <= 0 || l.ThisUpdate.Before(last.ThisUpdate) {
		t.Errorf("list %v of %v after %v of %v", l.Number, l.ThisUpdate, last.Number, last.ThisUpdate)
	}
	if len(l.RevokedCertificateEntries) != 3 {
		t.Errorf("%d entries, want 3", len(l.RevokedCertificateEntries))
	}
	// The key of what was revoked as compromised is blocked again.
	c, _, err := w.Certificate(t.Context(), early.ID)
	if err != nil || c.Reason != 1 {
		t.Fatal(c, err)
	}
	w.checkAudited("restore-revoke", "restore-crl", "restore")
}

// checkUnread: before the last list is known, nothing is said of any certificate.
func (w *world) checkUnread(c *x509.Certificate) {
	w.t.Helper()
	is := w.current["main"]
	req, err := ocsp.CreateRequest(c, is.cert, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		w.t.Fatal(err)
	}
	var status ocsp.ResponseError
	if _, err := ocsp.ParseResponse(w.OCSP(w.t.Context(), req).DER, is.cert); !errors.As(err, &status) || status.Status != ocsp.TryLater {
		w.t.Errorf("OCSP before the list is read: %v", err)
	}
	if _, err := w.CRL(w.t.Context(), is.keyID); !errors.Is(err, ErrQuarantine) {
		w.t.Errorf("the old list is still served: %v", err)
	}
	if err := w.publishCRL(w.t.Context(), is, store.Lease{}); !errors.Is(err, ErrQuarantine) {
		w.t.Errorf("a list is published: %v", err)
	}
	if err := w.Release(w.t.Context(), admin); !errors.Is(err, ErrQuarantine) || !strings.Contains(err.Error(), is.keyID) {
		w.t.Errorf("released: %v", err)
	}
}

func (w *world) checkAudited(want ...string) {
	w.t.Helper()
	all, _, err := w.Audit(w.t.Context(), "", 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, act := range want {
		if !slices.ContainsFunc(all, func(a *AuditEntry) bool { return a.Act == act && a.Who != "" }) {
			w.t.Errorf("nothing in the audit says %s", act)
		}
	}
}

// Certificates after the backup come back from the file exit's journal.
func TestJournalBringsCertificatesBack(t *testing.T) {
	w := newWorld(t)
	pending := w.submission("p", newKey(t), "pending.test")
	pending.Profile, pending.Proofs = "manual", nil
	id := w.pend(pending).RequestID
	file := w.backup()
	w.advanceClock(time.Minute)
	var told []Issued
	for n, name := range []string{"good.test", "revoked.test", "held.test"} {
		i, _ := w.issue(w.submission(name, newKey(t), name))
		told = append(told, i)
		if n > 0 {
			if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: []int{0, 1, 6}[n], By: "olga"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	d, err := w.Approve(t.Context(), officer("olga"), id, "", "")
	if err != nil {
		t.Fatal(err)
	}
	approved := d.(Issued)
	w.runUntil("the exit heard of all", func() bool { return len(w.exit.kinds()) == 7 })

	w.restore(file)
	var issued []Issuance
	var changed []StatusChange
	for _, ev := range w.exit.told {
		switch ev.Kind {
		case EventIssued:
			issued = append(issued, Issuance{ev.DER, ev.RequestID, ev.Requester, ev.Profile, ev.At})
		case EventRevoked:
			reason, err := ParseReason(ev.Reason)
			if err != nil {
				t.Fatal(err)
			}
			changed = append(changed, StatusChange{CertID{ev.Issuer, ev.Serial}, ev.Status, reason, ev.At})
		}
	}
	for range 2 { // the second time changes nothing
		done, refused, err := w.ImportIssued(t.Context(), restorer, issued)
		if err != nil || refused != nil {
			t.Fatal(err)
		}
		more, unknown, err := w.ImportStatus(t.Context(), restorer, append(changed, StatusChange{ID: CertID{"ab", "cd"}, Status: Revoked}))
		if err != nil || len(unknown) != 1 {
			t.Fatal(unknown, err)
		}
		if got := acts(append(done, more...)); len(got) != 6 && len(got) != 0 {
			t.Errorf("changes: %v", got)
		}
	}
	w.sound()
	for id := range w.issuers {
		if _, err := w.NoPublished(t.Context(), restorer, id, "none was"); err != nil {
			t.Fatal(err)
		}
	}
	want := []int{ocsp.Good, ocsp.Revoked, ocsp.Revoked, ocsp.Good}
	for n, i := range append(told, approved) {
		c, err := x509.ParseCertificate(i.Cert)
		if err != nil {
			t.Fatal(err)
		}
		if r := w.ocsp(c); r.Status != want[n] {
			t.Errorf("%v: OCSP %d, want %d", c.DNSNames, r.Status, want[n])
		}
		row, der, err := w.Certificate(t.Context(), i.ID)
		if err != nil || !bytes.Equal(der, i.Cert) || row.Requester != "key:tester" || row.Profile == "" {
			t.Errorf("%+v, %v", row, err)
		}
	}
	if r, err := w.Request(t.Context(), id); err != nil || r.State != StateIssued || r.Cert != approved.ID {
		t.Errorf("the request that was open at the backup: %+v, %v", r, err)
	}
	if err := w.Release(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	// Exits are told of what happens to them now, without a request.
	w.exit.told = nil
	if err := w.Revoke(t.Context(), Revocation{ID: told[0].ID, Reason: 4, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	w.runUntil("the exit hears of it", func() bool { return slices.Contains(w.exit.kinds(), "revoked") })
	if ev := w.exit.told[slices.Index(w.exit.kinds(), "revoked")]; ev.Serial != told[0].ID.Serial || len(ev.DER) == 0 || ev.Subject == "" && len(ev.Names) == 0 {
		t.Errorf("%+v", ev)
	}
	d = w.submit(w.submission("again", newKey(t), "again.test"))
	if _, ok := d.(Issued); !ok {
		t.Errorf("after the release: %#v", d)
	}
}

// What a journal says is not believed: the CA's own signature is.
func TestForeignCertificatesAreNotTaken(t *testing.T) {
	w := newWorld(t)
	i, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	file := w.backup()
	other := newCA(t, "Test CA", w.clock)
	if _, _, err := w.ImportIssued(t.Context(), restorer, []Issuance{{DER: i.Cert}}); !errors.Is(err, ErrNoQuarantine) {
		t.Errorf("without a restore: %v", err)
	}
	w.restore(file)
	forged := bytes.Clone(i.Cert)
	forged[len(forged)-3] ^= 1
	for name, der := range map[string][]byte{"another CA's": other.Chain[0].Raw, "forged": forged, "nothing": nil} {
		done, refused, err := w.ImportIssued(t.Context(), restorer, []Issuance{{DER: der}, {DER: i.Cert}})
		if err != nil || len(done) != 0 || len(refused) != 1 || !errors.Is(refused[0], ErrBadInput) {
			t.Errorf("%s: %v, %v, %v", name, done, refused, err)
		}
	}
}

// A serial number that was known from the published list only gets its
// certificate later.
func TestListThenJournal(t *testing.T) {
	w := newWorld(t)
	file := w.backup()
	i, c := w.issue(w.submission("1", newKey(t), "a.test"))
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 1}); err != nil {
		t.Fatal(err)
	}
	lists := w.lists()
	w.restore(file)
	w.readLists(lists...)
	if row, der, err := w.Certificate(t.Context(), i.ID); err != nil || der != nil || row.Imported != "crl" {
		t.Errorf("%+v %v", row, err)
	}
	if _, _, err := w.ImportIssued(t.Context(), restorer, []Issuance{{DER: i.Cert, Request: i.RequestID}}); err != nil {
		t.Fatal(err)
	}
	w.sound()
	row, der, err := w.Certificate(t.Context(), i.ID)
	if err != nil || !bytes.Equal(der, i.Cert) || row.Status != Revoked || row.Reason != 1 || len(row.Names) != 1 {
		t.Errorf("%+v %v", row, err)
	}
	if _, blocked, err := w.KeyBlocked(t.Context(), spkiHash(c)); err != nil || !blocked {
		t.Error("the compromised key is not blocked", err)
	}
}

// While the quarantine stands, nothing is issued; what may have been used since
// is void.
func TestNothingIsIssuedInQuarantine(t *testing.T) {
	w := newWorld(t)
	once, _, err := w.CreateGrant(t.Context(), admin, Grant{Protocol: Native, Names: patterns(t, "*"), Uses: 1, Holder: "key:one"})
	if err != nil {
		t.Fatal(err)
	}
	many, _, err := w.CreateGrant(t.Context(), admin, Grant{Protocol: Native, Names: patterns(t, "*"), Holder: "key:many"})
	if err != nil {
		t.Fatal(err)
	}
	voted := w.submission("v", newKey(t), "voted.test")
	voted.Profile, voted.Proofs, voted.KeyPerRun = "manual", nil, true
	id := w.pend(voted).RequestID
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); err != nil {
		t.Fatal(err)
	}
	open := w.submission("o", newKey(t), "open.test")
	main := w.current["main"]
	main.Key = nil // another node is to sign it
	w.otherNode("n2", main.keyID)
	w.submit(open)
	file := w.backup()

	if r, err := w.find(t.Context(), open.Key.String()); err != nil || r.State != Issuing {
		t.Fatal("what is under way: ", r.State, err)
	}
	done := w.restore(file)
	if got := acts(done); !slices.Equal(got, []string{"restore-void-grant", "restore-void-votes"}) {
		t.Errorf("void: %v", got)
	}
	for id, usable := range map[string]bool{once.ID: false, many.ID: true} {
		all, _, err := w.Grants(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			if g.ID == id && (g.usable(w.now()) == nil) != usable {
				t.Errorf("grant of %d uses: %+v", g.Uses, g)
			}
		}
	}
	if r, err := w.Request(t.Context(), id); err != nil || len(r.Votes) != 0 || r.State != Pending {
		t.Errorf("%+v, %v", r, err)
	}
	s := w.submission("new", newKey(t), "new.test")
	var f *FrozenError
	for name, try := range map[string]func() (Disposition, error){
		"a submission":       func() (Disposition, error) { return w.Submit(t.Context(), s) },
		"what was under way": func() (Disposition, error) { return w.Submit(t.Context(), open) },
		"its poll":           func() (Disposition, error) { return w.Status(t.Context(), open.Key) },
	} {
		d, err := try()
		if !errors.As(err, &f) || !strings.Contains(err.Error(), "restored from a backup") || !strings.Contains(err.Error(), "released") {
			t.Errorf("%s: %T, %v", name, d, err)
		}
	}
	own := w.submission("own", newKey(t), "ca.test")
	own.Source, own.Profile, own.Requester = Self, ProfileTLS, "self:n1"
	own.Key = NewKey(Self, "", "", own.Requester, "own")
	own.Proofs = []Proof{{Method: BySelf, Principal: own.Requester, Names: dns(t, "ca.test"), By: "n1", At: w.now()}}
	w.issue(own) // or nobody could reach the server to look
	p := &resumer{after: map[State]string{}, states: []State{Issuing, Pending, Received}}
	w.advanceClock(time.Hour)
	p.pass(t.Context(), w.Engine, 0)
	if r, err := w.find(t.Context(), open.Key.String()); err != nil || r.State != Issuing {
		t.Errorf("what was under way: %+v, %v", r, err)
	}
	for id := range w.issuers {
		if _, err := w.NoPublished(t.Context(), restorer, id, "none was"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Release(t.Context(), officer("olga")); !errors.Is(err, ErrForbidden) {
		t.Errorf("released by an officer: %v", err)
	}
	if err := w.Release(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	if err := w.Release(t.Context(), admin); !errors.Is(err, ErrNoQuarantine) {
		t.Errorf("released again: %v", err)
	}
	w.issue(w.submission("new2", newKey(t), "new.test"))
	p.pass(t.Context(), w.Engine, 0)
	if r, err := w.Request(t.Context(), mustFind(t, w, open)); err != nil || r.State != StateAbandoned {
		t.Errorf("what was under way is not given up: %+v, %v", r, err)
	}
	w.sound()
	w.checkAudited("release", "restore-no-crl", "restore-void-grant", "restore-void-votes")
}

func mustFind(t *testing.T, w *world, s Submission) string {
	t.Helper()
	r, err := w.find(t.Context(), s.Key.String())
	if errors.Is(err, ErrNoRequest) { // given up: it answers for its key no more
		all, _, err := w.Requests(t.Context(), RequestFilter{State: StateAbandoned})
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0].ID
	} else if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func spkiHash(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }
