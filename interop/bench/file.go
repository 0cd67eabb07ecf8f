package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// The figures of one node with a file.
const (
	figFirstStart = "start to first answer, first start"
	figIdle       = "memory (RssAnon), idle"
	figDisk       = "disk per certificate, native"
	figNative     = "native submit, c=8"
	figACME       = "ACME issuance, c=8, http-01"
	figOneAccount = "ACME, c=64, one account, errors"
	figStart      = "start to first answer, later"
	figCompacted  = "disk per certificate, native, compacted"
	figPurged     = "disk per certificate, ACME after purge"
)

func (b *bench) acmeCount() int { return max(b.acme, 2*b.n) }

func (b *bench) figMemory() string {
	return fmt.Sprintf("memory (RssAnon), after %d ACME", b.acmeCount())
}

func (b *bench) fileFigures() []string {
	return []string{figIdle, figDisk, figNative, figACME, figOneAccount, b.figMemory(), figStart}
}

// file measures one installation on bbolt from its first start on.
func (b *bench) file() error {
	i, err := b.newInstall("main")
	if err != nil {
		return err
	}
	if err := i.start(); err != nil {
		return err
	}
	defer func() { _ = i.Kill() }()
	for _, s := range []struct {
		take    func(*install) error
		figures []string
	}{
		{b.idleMemory, []string{figIdle}},
		{b.disk, b.fileFigures()[1:]}, // fills the store, which the others need
		{b.nativeCPU, []string{figNative}},
		{b.acmeCPU, []string{figACME}},
		{b.acmeMany, []string{figOneAccount, b.figMemory()}},
	} {
		if b.wants(s.figures...) {
			if err := s.take(i); err != nil {
				return err
			}
		}
	}
	if err := i.Stop(); err != nil || !b.wants(figStart) {
		return err
	}
	return b.laterStart(i)
}

// startup are the driver's arguments to time first answers of an installation.
func (i *install) startup(reps string) []string {
	url := fmt.Sprintf("https://127.0.0.1:%d/acme/directory", i.https) // what a client asks first
	return append([]string{"startup", "-url", url, "-insecure", "-reps", reps, "-settle", "100ms", "--", i.b.chancery}, i.args()...)
}

func (b *bench) firstStart() error {
	var ms []float64
	var text string
	for k := range 5 {
		i, err := b.newInstall(fmt.Sprintf("first%d", k))
		if err != nil {
			return err
		}
		l, command, err := b.clean(i.startup("1")...)
		if err != nil {
			return err
		}
		ms, text = append(ms, l.FirstMS), command
	}
	b.report(figFirstStart, 400, 150, median(ms), "ms", text+"    (5 folders, median)")
	return nil
}

func (b *bench) laterStart(i *install) error {
	l, text, err := b.clean(i.startup("5")...)
	if err != nil {
		return err
	}
	b.report(figStart, 100, 40, l.FirstMS, "ms", text)
	return nil
}

func (b *bench) idleMemory(i *install) error {
	b.settle()
	mb, err := rssAnon(i.PID)
	if err != nil {
		return err
	}
	b.report(figIdle, 40, 25, mb, "MB", "grep RssAnon /proc/PID/status, 3 s after the first start")
	return nil
}

func (b *bench) disk(i *install) error {
	file := filepath.Join(i.data, storeFile)
	before, err := allocated(file)
	if err != nil {
		return err
	}
	text, err := i.fill(b.prefill)
	if err != nil {
		return err
	}
	after, err := allocated(file)
	if err != nil {
		return err
	}
	b.report(figDisk, 4.5, 3.0, float64(after-before)/1000/float64(b.prefill), "KB", "growth of "+storeFile+" over: "+text)
	return nil
}

func (b *bench) nativeCPU(i *install) error {
	l, text, err := i.submit(b.n, 8) // the exit has nothing else to do by now
	if err != nil {
		return err
	}
	b.report(figNative, 17, 13, l.Units, "s", text)
	return nil
}

func (b *bench) acmeCPU(i *install) error {
	if err := i.delivered(); err != nil {
		return err
	}
	l, text, err := b.clean(i.acme(b.n, 8, 64)...)
	if err != nil {
		return err
	}
	b.report(figACME, 55, 46, l.Units, "s", text)
	return nil
}

func (b *bench) acmeMany(i *install) error {
	l, text, err := b.driveAll(i.acme(b.n, 64, 1))
	if err != nil {
		return err
	}
	b.report(figOneAccount, 0, 0, float64(l.Errors), "", text)
	if rest := b.acme - 2*b.n; rest > 0 {
		if _, text, err = b.drive(i.acme(rest, 64, 256)...); err != nil {
			return err
		}
	}
	mb, err := rssAnon(i.PID)
	if err != nil {
		return err
	}
	b.report(b.figMemory(), 90, 50, mb, "MB", "grep RssAnon /proc/PID/status, at the end of: "+text)
	return nil
}

// compactedDisk is what is left of a file with nothing but native certificates
// when it is as small as it can be: the whole file, not its growth.
func (b *bench) compactedDisk() error {
	i, err := b.newInstall("compacted")
	if err != nil {
		return err
	}
	if err := i.start(); err != nil {
		return err
	}
	text, err := i.fill(b.prefill)
	if err = errors.Join(err, i.Stop()); err != nil {
		return err
	}
	return b.compact(i, text)
}

func (b *bench) compact(i *install, text string) error {
	if out, err := exec.Command(b.chancery, "store", "compact", "--data", i.data, "--config", i.conf).CombinedOutput(); err != nil {
		return fmt.Errorf("store compact: %w\n%s", err, out)
	}
	size, err := allocated(filepath.Join(i.data, storeFile))
	b.report(figCompacted, 3.0, 2.0, float64(size)/1000/float64(b.prefill), "KB", "chancery store compact, after: "+text)
	return err
}

// acmeDisk lets ended orders be purged between rounds of issuing, so that what
// is left is what a certificate costs for good. The file is not compacted: what
// was purged is used again by the next round. The first round, which has nothing
// to use again, does not count.
func (b *bench) acmeDisk() error {
	i, err := b.newInstall("disk")
	if err != nil {
		return err
	}
	if err := i.setRetention(keep.String()); err != nil {
		return err
	}
	rounds := 4
	if b.short {
		rounds = 2
	}
	n := b.acme / rounds
	var first, last int64
	var text string
	for round := range rounds {
		var begin int64
		if begin, last, text, err = b.purgeRound(i, n); err != nil {
			return err
		}
		if round == 1 {
			first = begin
		}
	}
	b.report(figPurged, 6.5, 4.5, float64(last-first)/1000/float64(n*(rounds-1)), "KB",
		fmt.Sprintf("growth of %s, retention.orders 5s, over rounds 2 to %d of: %s", storeFile, rounds, text))
	return nil
}

// keep is longer than a client needs between order and certificate.
const keep = 5 * time.Second

// purgeRound lets the server purge what ended before, and issue.
func (b *bench) purgeRound(i *install, n int) (begin, end int64, text string, err error) {
	file := filepath.Join(i.data, storeFile)
	if err := i.start(); err != nil {
		return 0, 0, "", err
	}
	defer func() {
		if err != nil {
			_ = i.Kill()
		}
	}()
	// An order is deleted for its age, and the server does not tell: only time
	// makes it old enough, and lets the next round of deleting (every keep/2) end.
	time.Sleep(4 * keep)
	if begin, err = allocated(file); err != nil {
		return 0, 0, "", err
	}
	if _, text, err = b.clean(i.acme(n, 16, 64)...); err != nil {
		return 0, 0, "", err
	}
	if end, err = allocated(file); err != nil {
		return 0, 0, "", err
	}
	return begin, end, text, i.Stop()
}
