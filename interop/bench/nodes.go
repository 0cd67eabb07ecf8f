package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// The figures of two nodes. Both are on this machine, with driver and database:
// what shows is what sharing costs, not what a second machine brings.
const (
	figOneRate  = "one node, native submit, c=8, PostgreSQL, rate"
	figTwoRate  = "two nodes, native submit, c=8, PostgreSQL, rate"
	figOneCPU   = "one node, native submit, c=8, PostgreSQL, CPU beside an idle node"
	figTwoCPU   = "two nodes, native submit, c=8, PostgreSQL, CPU"
	figTwoAgain = "two nodes, native submit, c=8, PostgreSQL, retries per 100 commits"
)

func nodesFigures() []string {
	return []string{figOneRate, figTwoRate, figOneCPU, figTwoCPU, figTwoAgain}
}

// nodes compares one node with two that share a database, in turn.
func (b *bench) nodes() error {
	first, end, err := b.newOn(postgres, "a1")
	if err != nil {
		return err
	}
	defer end()
	second, err := b.join(first, "a2")
	if err != nil {
		return err
	}
	defer func() { _ = second.Kill() }()
	first.beside = []*install{second} // idle or not
	if _, err := first.fill(b.prefill); err != nil {
		return err
	}
	var rates, units [2][]float64
	var texts [2]string
	var again use
	for range 2 {
		for k, others := range [][]*install{nil, {second}} {
			before, err := first.usedWith(second)
			if err != nil {
				return err
			}
			l, text, err := first.submit(b.n, 8, others...)
			if err != nil {
				return err
			}
			rates[k], units[k], texts[k] = append(rates[k], l.Rate), append(units[k], l.Units), text
			if err := first.delivered(); err != nil {
				return err
			}
			after, err := first.usedWith(second)
			if err != nil {
				return err
			}
			if k == 1 {
				again = again.minus(before).plus(after)
			}
		}
	}
	for k, name := range []string{figOneRate, figTwoRate} {
		b.tell(name, slices.Max(rates[k]), "/s", fmt.Sprintf("the best of %v: %s", rates[k], texts[k]))
	}
	for k, name := range []string{figOneCPU, figTwoCPU} {
		b.tell(name, slices.Min(units[k]), "s", fmt.Sprintf("the least of %v: %s", units[k], texts[k]))
	}
	b.tell(figTwoAgain, again.share(), "%", "chancery_store_retries_total and _commits_total of both, over the same runs")
	return nil
}

func (u use) plus(v use) use {
	return use{u.commits + v.commits, u.retries + v.retries, u.exchanges + v.exchanges, u.reads + v.reads}
}

// usedWith is used, with what a second node did.
func (i *install) usedWith(o *install) (use, error) {
	mine, err := i.used()
	if err != nil {
		return use{}, err
	}
	its, err := o.used()
	its.reads = 0 // the database counts for both
	return mine.plus(its), err
}

// join starts a second node of the same CA, with all its keys: as on a machine
// to which an administrator has copied them.
func (b *bench) join(first *install, name string) (*install, error) {
	second, err := b.newNode(name, first.base)
	if err != nil {
		return nil, err
	}
	second.base = first.base
	if err := os.MkdirAll(filepath.Join(second.data, "keys"), 0o700); err != nil {
		return nil, err
	}
	keys, err := filepath.Glob(filepath.Join(first.data, "keys", "*"))
	if err != nil {
		return nil, err
	}
	files := append([]string{"seal.key", "admin.crt", "admin.key", "roots.pem"}, names(first.data, keys)...)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(first.data, f))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(second.data, f), text, 0o600); err != nil {
			return nil, err
		}
	}
	return second, second.start()
}

// names are paths as seen from a folder.
func names(dir string, paths []string) (rel []string) {
	for _, p := range paths {
		if r, err := filepath.Rel(dir, p); err == nil {
			rel = append(rel, r)
		}
	}
	return rel
}
