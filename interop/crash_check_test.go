package interop

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// check looks at everything that was acknowledged in all lives, as clients see
// it, and then at the records.
func (x *crash) check() {
	x.t.Helper()
	x.start()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	x.work(ctx, func() bool { return true })
	certs := x.certificates()
	byName, bySerial := map[string][]certificateRow{}, map[string]bool{}
	for _, c := range certs {
		s := normalSerial(c.Serial)
		if bySerial[s] {
			x.t.Errorf("serial number %s is there twice", s)
		}
		bySerial[s] = true
		for _, n := range c.Names {
			n = strings.TrimPrefix(n, "dns:")
			byName[n] = append(byName[n], c)
		}
	}
	for _, o := range x.done {
		x.checkOp(o, byName[o.name])
	}
	if len(x.done) < len(x.ops) {
		x.t.Fatalf("only %d requests came through", len(x.done))
	}
	for what, n := range x.unexplained {
		x.t.Errorf("an answer that nothing excuses, %d times: %s", n, what)
	}
	x.t.Logf("%d requests acknowledged, %d certificates", len(x.done), len(certs))
	x.checkEvents(certs, bySerial)
	x.checkListed(certs)
	x.stop()
	x.inspect("everything")
}

func (x *crash) checkOp(o *op, rows []certificateRow) {
	x.t.Helper()
	if len(rows) != 1 {
		x.t.Errorf("%s has %d certificates: %v", o.name, len(rows), rows)
		return
	}
	want := strings.ToLower(serialOf(certsOf(x.t, o.chain)[0]))
	if normalSerial(rows[0].Serial) != normalSerial(want) {
		x.t.Errorf("%s: acknowledged %s, there is %s", o.name, want, rows[0].Serial)
	}
	if o.revoked && rows[0].Status != "revoked" {
		x.t.Errorf("%s: the revocation was acknowledged, the certificate is %s", o.name, rows[0].Status)
	}
	before := o.chain
	must(x.t, o.step(x.t.Context(), o)) // asking again gives the same
	if o.chain != before {
		x.t.Errorf("%s: asking again gave another certificate", o.name)
	}
}

// checkEvents waits until both exits were told of everything.
func (x *crash) checkEvents(certs []certificateRow, known map[string]bool) {
	x.t.Helper()
	eventually(x.t, 60*time.Second, func() error {
		files := x.issuedFiles()
		type counts struct{ issued, revoked map[string]int }
		told := map[string]counts{}
		for exit, events := range map[string]map[string]event{"webhook": x.events.taken(), "file": x.journal()} {
			told[exit] = counts{serials(events, "issued"), serials(events, "revoked")}
		}
		var missing []string
		for _, c := range certs {
			if x.before[c.Serial] {
				continue
			}
			s := normalSerial(c.Serial)
			if !files[s] {
				missing = append(missing, fmt.Sprintf("%v has no file", c))
			}
			for exit, n := range told {
				if n.issued[s] == 0 || c.Status == "revoked" && n.revoked[s] == 0 {
					missing = append(missing, fmt.Sprintf("%v was not told to %s", c, exit))
				}
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d events did not come: %v", len(missing), missing)
		}
		return nil
	})
	for s, n := range serials(x.events.taken(), "issued") {
		if n != 1 {
			x.t.Errorf("%s was issued by %d different events", s, n)
		}
		if !known[s] {
			x.t.Errorf("an event says that %s was issued, which is not there", s)
		}
	}
	x.events.check(x.t)
}

// checkListed waits until everything that is revoked is on the list.
func (x *crash) checkListed(certs []certificateRow) {
	x.t.Helper()
	eventually(x.t, 10*time.Second, func() error {
		der, err := tryFetch("http://" + x.HTTP + x.list)
		if err != nil {
			return err
		}
		if err := x.history.Listed(der); err != nil {
			x.t.Error(err)
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		on := map[string]bool{}
		for _, e := range list.RevokedCertificateEntries {
			on[normalSerial(e.SerialNumber.Text(16))] = true
		}
		for _, c := range certs {
			if c.Status == "revoked" && !on[normalSerial(c.Serial)] {
				return fmt.Errorf("%v is not on list %s", c, list.Number)
			}
		}
		return nil
	})
}

// normalSerial is a serial number without leading zeros, in lower case.
func normalSerial(s string) string { return strings.TrimLeft(strings.ToLower(s), "0") }
