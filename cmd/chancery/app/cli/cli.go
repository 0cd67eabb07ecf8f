// Package cli is the part of the command line that talks to a server, whether
// it runs here or elsewhere. It uses only what every client can: the native API.
package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// An ExitError ends the program with a code. Its message, if there is one, is
// what people are told.
type ExitError struct {
	Code    int
	Message string
}

// Exit codes beside 0 and 1.
const (
	exitFailed  = 1 // refused or failed
	exitUsage   = 2 // wrong usage
	exitPending = 3 // the request waits for an officer
)

func (e *ExitError) Error() string { return e.Message }

func usage(format string, args ...any) error {
	return &ExitError{exitUsage, "chancery: " + fmt.Sprintf(format, args...)}
}

// Print writes either v as JSON or text.
func Print(w io.Writer, asJSON bool, v any, text string) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	_, err := io.WriteString(w, text)
	return err
}

// KnownCommand refuses a word that is none of a group's commands.
func KnownCommand(c *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	hint := ""
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(given[0]); len(near) > 0 {
		hint = "; did you mean " + near[0] + "?"
	}
	return usage("there is no command %q%s; see: %s --help", given[0], hint, c.CommandPath())
}

// Help shows what a group of commands has.
func Help(c *cobra.Command, _ []string) error { return c.Help() }

// atMostOne refuses more arguments with the exit code of wrong usage.
func atMostOne(c *cobra.Command, given []string) error {
	if len(given) <= 1 {
		return nil
	}
	return usage("%s takes one argument at most; see: %s --help", inner(c), c.CommandPath())
}

// inner is a command's path without the program's name.
func inner(c *cobra.Command) string {
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	return path
}

// Args refuses another number of arguments with the exit code of wrong usage.
func Args(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if len(given) == n {
			return nil
		}
		if n == 0 {
			return usage("%s takes no argument; see: %s --help", inner(c), c.CommandPath())
		}
		return usage("%s wants %s; see: %s --help", inner(c), what, c.CommandPath())
	}
}
