// Load drives certificate enrollment servers (ACME, OCSP, any HTTP API) from the
// outside and prints one JSON line per run. It knows nothing of the server that
// it drives, so that the same run measures another one. README.md says how to
// read what it prints.
package main

import (
	"fmt"
	"os"
)

var commands = map[string]func(args []string) error{
	"acme":    cmdACME,
	"ocsp":    cmdOCSP,
	"http":    cmdHTTP,
	"startup": cmdStartup,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load acme|ocsp|http|startup [flags]   (-h for flags)")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
