//go:build !unix

package bolt

import "os"

// sameOwner has nothing to do where a file's owner is that of its folder.
func sameOwner(string, os.FileInfo) error { return nil }
