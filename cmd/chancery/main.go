// Command chancery is a certificate authority behind ACME and an API of its own.
package main

import "chancery/cmd/chancery/app"

// Set by the linker: see the Makefile.
var version, date string

func main() { app.Main(app.With{Version: version, Built: date}) }
