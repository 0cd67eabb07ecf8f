package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
)

// keepFiles writes the files of a backup that the data directory does not have:
// the settings, or all others. CA certificates that differ are another CA's.
func (p Place) keepFiles(files map[string][]byte, settings bool) error {
	for name := range files {
		if !known(name) {
			return fmt.Errorf("the backup has a file called %.100q, which none has", name)
		}
	}
	if err := p.Dir.Make(); err != nil {
		return err
	}
	if _, ok := files[settingsName]; !ok && p.DSN != "" {
		files[settingsName] = nil // they had been elsewhere; these say where the records are
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if settings != (name == settingsName) {
			continue
		}
		if err := p.keepFile(name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

// known keeps a backup from writing anything but what Write puts into one.
func known(name string) bool {
	if base, ok := strings.CutPrefix(name, certsFolder+"/"); ok {
		base, ok = strings.CutSuffix(base, ".crt")
		return ok && base != "" && !strings.ContainsAny(base, `/\:`) && !strings.HasPrefix(base, ".")
	}
	return slices.Contains([]string{settingsName, policyName, rootsName, founderName, markerName}, name)
}

func (p Place) keepFile(name string, content []byte) error {
	path := p.Dir.Path(strings.Split(name, "/")...)
	have, err := os.ReadFile(path)
	switch {
	case err == nil && string(have) == string(content):
		return nil
	case err == nil && strings.HasPrefix(name, certsFolder+"/"):
		return fmt.Errorf("%s is not the certificate that the backup has: this data directory belongs to another CA", path)
	case err == nil:
		p.Say("file: %s stays as it is; the backup has another", path)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if name == settingsName {
		if content, err = p.settingsFor(content); err != nil || content == nil {
			return err
		}
	}
	mode := fs.FileMode(0o644)
	if name == settingsName || name == policyName || name == markerName {
		mode = 0o600
	}
	p.Say("file: %s", path)
	return datadir.Write(path, content, mode)
}

// settingsFor are the settings of the backup, for where its records go now: which
// database, only who restores can say. Nil: they are elsewhere.
func (p Place) settingsFor(doc []byte) ([]byte, error) {
	if p.File != "" {
		return nil, nil
	}
	n, err := loadSettings(doc)
	if err != nil {
		return nil, err
	}
	switch {
	case p.DSN != "":
		p.overrule(&n, config.Postgres{DSNFile: config.DSNFile})
		if err := datadir.Write(p.Dir.Path(config.DSNFile), []byte(string(p.DSN)+"\n"), 0o600); err != nil {
			return nil, err
		}
		return config.WriteNode(n)
	case n.Store.Postgres != nil:
		return nil, fmt.Errorf("the records were in PostgreSQL: say where to restore them, with --dsn, or with a chancery.yaml in %s", string(p.Dir))
	}
	return doc, nil
}

// loadSettings reads settings as if they lay in their place.
func loadSettings(doc []byte) (config.Node, error) {
	dir, err := os.MkdirTemp("", "chancery-settings-")
	if err != nil {
		return config.Node{}, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, settingsName)
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		return config.Node{}, err
	}
	n, err := config.LoadNode(path, true)
	if err != nil {
		err = fmt.Errorf("the settings of the backup cannot be used here; put a %s into the data directory: %w", settingsName, err)
	}
	return n, err
}
