package interop

import (
	"encoding/pem"
	"path/filepath"
	"testing"
	"time"
)

// The machine's clock jumps by years, goes back an hour, stands still. By a clock
// that cannot be right nothing is signed, and requests are told to try again;
// numbers and times of lists go on upwards all the while; when the clock is right
// again everything goes on in the same process.
func TestXD_009_ClockJumps(t *testing.T) {
	t.Parallel()
	x := newCrash(t, boltRecords{t})
	x.ops = append(nativeOps(x)[:2], acmeOps(x)[:2]...)
	begun := time.Now()
	file := filepath.Join(x.dir, "clock")
	x.start("CHANCERY_CLOCK=" + file)
	x.finish("the clock is right")
	for _, jump := range []string{"88000h", "8760h", "-88000h", "-1h"} {
		write(t, file, jump)
		_, csr := x.newRequest("jump.crash.test")
		text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
		if s, err := x.submit(t.Context(), x.plain(), text, "vetted", "jump "+jump, x.token); !isProblem(err, "undecided") {
			t.Errorf("%s: %+v, %v", jump, s, err)
		}
		if _, err := tryFetch("http://" + x.HTTP + "/readyz"); err == nil {
			t.Errorf("%s: it says that it is ready", jump)
		}
		if der, err := tryFetch("http://" + x.HTTP + x.list); err != nil {
			t.Errorf("%s: the list: %v", jump, err)
		} else if err := x.history.Listed(der); err != nil {
			t.Errorf("%s: %v", jump, err)
		}
		write(t, file, "")
		x.finish("the clock is right after " + jump)
	}
	// Behind, what is revoked is listed; and a clock that stands still is enough.
	write(t, file, "-1h")
	chain := x.done[0].chain
	if x.done[0].revoke {
		chain = x.done[1].chain
	}
	x.cli("revoke", "--reason", "superseded", serialOf(certsOf(t, chain)[0]))
	x.history.Revoked(certsOf(t, chain)[0])
	x.checkListed(x.certificates())
	write(t, file, "")
	x.finish("the clock is right")
	write(t, file, time.Now().Format(time.RFC3339))
	x.finish("the clock stands still")
	write(t, file, "")
	x.stop()
	x.inspect("jumps of the clock")

	// Started by a clock ten years behind, it serves and does not sign.
	write(t, file, "-88000h")
	x.start("CHANCERY_CLOCK=" + file)
	if err := x.ops[0].step(t.Context(), x.ops[0]); err == nil {
		t.Error("a server that starts ten years ago signs")
	}
	write(t, file, "")
	x.finish("the clock is right")
	x.stop()
	for _, c := range x.records.read(x.ca).Certificates {
		if c.NotBefore.After(time.Now()) || c.NotBefore.Before(begun.Add(-2*time.Hour)) || c.NotAfter.Before(time.Now()) {
			t.Errorf("%s for %v is good from %s to %s", c.Serial, c.Names, c.NotBefore, c.NotAfter)
		}
	}
}
