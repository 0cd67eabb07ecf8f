package storage

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A progress shows how far something is: as a bar on a terminal, elsewhere as a
// line now and then.
type progress struct {
	to       io.Writer
	terminal bool
	now      func() time.Time
	next     time.Time // when to show something again
	doing    string
	shown    int // length of the bar on the screen
}

const (
	redraw = 100 * time.Millisecond
	retell = 5 * time.Second
	width  = 30
)

func newProgress(to io.Writer, now func() time.Time) *progress {
	p := &progress{to: to, now: now}
	if f, ok := to.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			p.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return p
}

// show says what is done, and how far it is. What is new is said at once.
func (p *progress) show(doing string, done, of int, detail string) {
	now, every := p.now(), retell
	if p.terminal {
		every = redraw
	}
	if doing == p.doing && now.Before(p.next) {
		return
	}
	p.doing, p.next = doing, now.Add(every)
	part := min(1, float64(done)/float64(max(of, 1)))
	if !p.terminal {
		fmt.Fprintf(p.to, "%s %.0f %% %s\n", doing, 100*part, detail)
		return
	}
	full := int(part * width)
	line := fmt.Sprintf("%-30s [%s%s] %3.0f %% %s", doing, strings.Repeat("#", full), strings.Repeat(".", width-full), 100*part, detail)
	fmt.Fprintf(p.to, "\r%s%s", line, strings.Repeat(" ", max(0, p.shown-len(line))))
	p.shown = len(line)
}

// end takes the bar off the screen.
func (p *progress) end() {
	if p.shown > 0 {
		fmt.Fprintf(p.to, "\r%s\r", strings.Repeat(" ", p.shown))
		p.shown = 0
	}
}
