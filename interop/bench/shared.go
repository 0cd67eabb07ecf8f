package main

import "fmt"

// The figures of one node with PostgreSQL. CPU is that of both programs.
const (
	figSharedNative    = "native submit, c=8, PostgreSQL"
	figSharedACME      = "ACME issuance, c=8, http-01, PostgreSQL"
	figSharedRetries   = "ACME, c=8, PostgreSQL, retries per 100 commits"
	figSharedCommits   = "ACME, c=8, PostgreSQL, commits per certificate"
	figSharedReads     = "ACME, c=8, PostgreSQL, transactions that only read per certificate"
	figSharedExchanges = "ACME, c=8, PostgreSQL, round trips per certificate"
	figSharedMany      = "ACME, c=64, one account, PostgreSQL, errors"
	figSharedManyAgain = "ACME, c=64, one account, PostgreSQL, retries per 100 commits"
)

func (b *bench) sharedFigures() []string {
	return append([]string{figSharedNative}, b.sharedACMEFigures()...)
}

func (b *bench) sharedACMEFigures() []string {
	return []string{figSharedACME, figSharedRetries, figSharedCommits, figSharedReads, figSharedExchanges, figSharedMany, figSharedManyAgain}
}

// shared measures one node on a PostgreSQL server of its own.
func (b *bench) shared() error {
	i, end, err := b.newOn(postgres, "n1")
	if err != nil {
		return err
	}
	defer end()
	if _, err := i.fill(b.prefill); err != nil {
		return err
	}
	if b.wants(figSharedNative) {
		l, text, err := i.submit(b.n, 8)
		if err != nil {
			return err
		}
		b.report(figSharedNative, 26, 20, l.Units, "s", text)
	}
	if !b.wants(b.sharedACMEFigures()...) {
		return nil
	}
	if err := i.delivered(); err != nil {
		return err
	}
	return b.sharedACME(i)
}

func (b *bench) sharedACME(i *install) error {
	l, text, u, err := i.counted(i.acme(b.n, 8, 64))
	if err != nil {
		return err
	}
	if l.Errors > 0 {
		return fmt.Errorf("%s: %d errors, the first: %s", text, l.Errors, l.FirstError)
	}
	n := float64(l.N)
	b.report(figSharedACME, 70, 55, l.Units, "s", text)
	b.report(figSharedRetries, 5, 1, u.share(), "%", "chancery_store_retries_total and _commits_total, before and after: "+text)
	b.tell(figSharedCommits, u.commits/n, "", "chancery_store_commits_total, over the same run")
	b.tell(figSharedReads, u.reads/n, "", "pg_stat_database.xact_rollback, over the same run")
	b.tell(figSharedExchanges, u.exchanges/n, "", "chancery_store_exchanges_total, over the same run")
	if !b.wants(figSharedMany, figSharedManyAgain) {
		return nil
	}
	if l, text, u, err = i.counted(i.acme(b.n, 64, 1)); err != nil {
		return err
	}
	b.report(figSharedMany, 0, 0, float64(l.Errors), "", text)
	b.tell(figSharedManyAgain, u.share(), "%", "chancery_store_retries_total and _commits_total, before and after: "+text)
	return nil
}

// A use is what runs did with the database, account set-up included.
type use struct{ commits, retries, exchanges, reads float64 }

func (u use) minus(v use) use {
	return use{u.commits - v.commits, u.retries - v.retries, u.exchanges - v.exchanges, u.reads - v.reads}
}

// share is how many retries there were per 100 commits.
func (u use) share() float64 {
	if u.commits == 0 {
		return 0
	}
	return 100 * u.retries / u.commits
}

// used is the use of the database since its server was started.
func (i *install) used() (use, error) {
	i.b.settle()
	all, err := i.counters()
	if err != nil {
		return use{}, err
	}
	u := use{commits: all["chancery_store_commits_total"], retries: all["chancery_store_retries_total"], exchanges: all["chancery_store_exchanges_total"]}
	if u.commits == 0 || u.exchanges == 0 {
		return u, fmt.Errorf("the page of metrics lacks what the store counts")
	}
	_, ended, err := i.base.Transactions(i.base.name)
	u.reads = float64(ended)
	return u, err
}

// counted drives the server and says what that did with the database. Failed
// operations are no error here.
func (i *install) counted(args []string) (loaded, string, use, error) {
	before, err := i.used()
	if err != nil {
		return loaded{}, "", use{}, err
	}
	l, text, err := i.b.driveAll(args)
	if err != nil {
		return l, text, use{}, err
	}
	after, err := i.used()
	return l, text, after.minus(before), err
}
