// Package join makes a machine a node of a CA that others serve already. It asks
// in the store, shows the fingerprint of its request, and when an administrator
// has approved that, writes the data directory of a node. The one secret that it
// gets is the key that all nodes share; CA keys never go this way.
package join

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/initca"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/store"
)

// Options say how to join.
type Options struct {
	Dir      datadir.Dir
	Settings config.Node // of the node to be
	Version  string
	Now      func() time.Time
	Look     time.Duration // how often to look for the answer; 1 s if zero
	Say      func(format string, args ...any)
}

// good are the names that people can type anywhere.
var good = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)

// Check refuses what cannot join, before the store is touched.
func (o *Options) Check() error {
	if !good.MatchString(o.Settings.Node) {
		return fmt.Errorf("%.70q is no name for a node: use letters, digits, dots and hyphens (--name)", o.Settings.Node)
	}
	for _, path := range []string{o.Dir.Marker(), o.Dir.Seal()} {
		if there, err := datadir.Exists(path); err != nil {
			return err
		} else if there {
			return fmt.Errorf("%s is there: this data directory has a CA, or is a node already; choose an empty one with --data", path)
		}
	}
	return nil
}

// Run joins through the store. It returns when this machine is a node, or when
// ctx ends, and leaves no request behind.
func Run(ctx context.Context, o Options, db store.DB) (err error) {
	if o.Look == 0 {
		o.Look = time.Second
	}
	if err := o.admissible(ctx, db); err != nil {
		return err
	}
	key, err := datadir.NewJoinKey()
	if err != nil {
		return err
	}
	now := o.Now().UTC()
	mine := engine.Join{Name: o.Settings.Node, Public: key.Public(), Version: o.Version, Made: now, Expires: now.Add(engine.JoinLife)}
	if err := engine.AskToJoin(ctx, db, mine); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, engine.EndJoin(ctx, db, &mine))
	}()
	o.Say("fingerprint: %s", mine.Fingerprint())
	o.Say("An administrator lets this machine in within an hour, on any node:")
	o.Say("  chancery node approve %s %s", mine.Name, mine.Fingerprint())
	answer, err := o.wait(ctx, db, mine)
	if err != nil {
		return err
	}
	seal, err := key.Unwrap(mine.Name, answer.Answer)
	if err != nil {
		return fmt.Errorf("%w: run the command again", err)
	}
	id, err := seal.ID()
	if err != nil {
		return err
	}
	if have, err := node.SealOf(ctx, db); err != nil {
		return err
	} else if have != id {
		return fmt.Errorf("the answer brings a key called %s and the records were made with %s: somebody changed the records; nothing was written here", id, have)
	}
	o.Say("approved by %s; the shared key is called %s", answer.By, id)
	return o.write(ctx, db, seal)
}

// admissible refuses a store without a CA, and the name of a node that lives.
func (o *Options) admissible(ctx context.Context, db store.DB) error {
	have, err := node.SealOf(ctx, db)
	if err != nil {
		return err
	}
	if have == "" {
		return fmt.Errorf("the store has no CA yet: make it with: chancery init --data %s", string(o.Dir))
	}
	live, err := engine.LiveNode(ctx, db, o.Settings.Node, o.Now())
	if err == nil && live {
		err = fmt.Errorf("a node called %s runs already; give this one another name with --name", o.Settings.Node)
	}
	return err
}

// wait returns when somebody has approved.
func (o *Options) wait(ctx context.Context, db store.DB, mine engine.Join) (*engine.Join, error) {
	look := time.NewTicker(o.Look)
	defer look.Stop()
	for {
		j, err := engine.JoinAnswer(ctx, db, mine)
		switch {
		case errors.Is(err, engine.ErrNoJoin):
			return nil, fmt.Errorf("the request of %s is gone: another machine asks under this name, or nobody approved it within an hour; run the command again", mine.Name)
		case err != nil:
			return nil, err
		case j.Answer != nil:
			return j, nil
		case o.Now().After(mine.Expires):
			return nil, errors.New("nobody approved within an hour; run the command again")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-look.C:
		}
	}
}

// write makes the data directory of a node. The marker is last: without it, the
// next start would be a first one, which the store refuses.
func (o *Options) write(ctx context.Context, db store.DB, seal *datadir.Seal) error {
	issuers, err := engine.RecordedIssuers(ctx, db)
	if err != nil {
		return err
	}
	if err := o.Dir.Make(); err != nil {
		return err
	}
	if there, err := datadir.Exists(o.Dir.Settings()); err != nil {
		return err
	} else if !there {
		doc, err := config.WriteNode(o.Settings)
		if err == nil {
			err = datadir.Write(o.Dir.Settings(), doc, 0o600)
		}
		if err != nil {
			return err
		}
	}
	if err := initca.Keep(o.Dir, issuers); err != nil {
		return err
	}
	made := map[string]string{}
	var keys []string
	for _, is := range issuers {
		made[is.Authority] = fmt.Sprintf("%x", is.Chain[0].SubjectKeyId)
		keys = append(keys, o.Dir.CAKey(is.Authority))
	}
	if err := o.Dir.WriteSeal(seal); err != nil {
		return err
	}
	if err := o.Dir.WriteMarker(datadir.Initialized{Authorities: made}); err != nil {
		return err
	}
	return o.explain(keys)
}

// explain says what to do next.
func (o *Options) explain(keys []string) error {
	roots, err := os.ReadFile(o.Dir.Roots())
	if err != nil {
		return err
	}
	o.Say("joined: %s; trust bundle %s (SHA-256 of the file %x)", string(o.Dir), o.Dir.Roots(), sha256.Sum256(roots))
	o.Say("Without CA keys it serves everything and has the other nodes sign. To let it sign too, copy by hand from a node that does (mode 600), any of:")
	o.Say("  %s", strings.Join(keys, "\n  "))
	o.Say("Go on with: chancery serve --data %s", string(o.Dir))
	return nil
}
