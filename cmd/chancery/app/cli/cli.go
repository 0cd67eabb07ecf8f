// Package cli is the part of the command line that talks to a server, whether
// it runs here or elsewhere. It uses only what every client can: the native API.
package cli

import (
	"encoding/json"
	"fmt"
	"io"

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

// args refuses another number of arguments with the exit code of wrong usage.
func args(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if len(given) == n {
			return nil
		}
		if n == 0 {
			return usage("%s takes no argument; see: %s --help", c.CommandPath(), c.CommandPath())
		}
		return usage("%s wants %s; see: %s --help", c.CommandPath(), what, c.CommandPath())
	}
}
