package main

import (
	"fmt"
	"slices"
)

// turns is how often the small store and the grown one are measured, one after
// the other, so that both see the same moods of the machine. The least of each
// counts: whatever else runs only adds.
const turns = 4

// step is how many certificates the small store begins with, and how many are
// issued in each turn.
func (b *bench) step() int { return max(b.full/50, 300) }

func (b *bench) figGrowth(on backend) string {
	return fmt.Sprintf("native submit, CPU growth from %d to %d certificates, %s", b.step(), b.full, on)
}

func (b *bench) figFull(on backend) string {
	return fmt.Sprintf("memory (RssAnon), after %d native, %s", b.full, on)
}

func (b *bench) growthFigures(on backend) []string {
	return []string{b.figGrowth(on), b.figFull(on)}
}

// growth compares what a certificate costs in a store with few and with many.
func (b *bench) growth(on backend) error {
	step := b.step()
	grown, end, err := b.newOn(on, "grown-"+string(on))
	if err != nil {
		return err
	}
	defer end()
	fill := b.full - turns*step
	if _, err := grown.fill(fill); err != nil {
		return err
	}
	small, endSmall, err := b.newOn(on, "small-"+string(on))
	if err != nil {
		return err
	}
	defer endSmall()
	if _, err := small.fill(step); err != nil {
		return err
	}
	var few, many []float64
	var text string
	for range turns {
		l, _, err := small.submit(step, 8)
		if err != nil {
			return err
		}
		few = append(few, l.Units)
		if err := small.delivered(); err != nil {
			return err
		}
		if l, text, err = grown.submit(step, 8); err != nil {
			return err
		}
		many = append(many, l.Units)
		if err := grown.delivered(); err != nil {
			return err
		}
	}
	more, how := percentMore(slices.Min(few), slices.Min(many)),
		fmt.Sprintf("least of %d turns, %v s in a store with %d to %d certificates, %v s with %d to %d: %s",
			turns, few, step, (turns+1)*step, many, fill, b.full, text)
	if b.short { // too few to promise anything
		b.tell(b.figGrowth(on), more, "%", how)
	} else {
		b.report(b.figGrowth(on), 15, 5, more, "%", how)
	}
	mb, err := rssAnon(grown.PID)
	if err != nil {
		return err
	}
	b.report(b.figFull(on), 90, 60, mb, "MB", "grep RssAnon /proc/PID/status, after the same runs")
	return nil
}

// percentMore is by how much b is above a.
func percentMore(a, b float64) float64 { return 100 * (b - a) / a }
