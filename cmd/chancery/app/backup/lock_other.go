//go:build !unix

package backup

import "os"

// lock takes every file: two backups into one file at the same time are found
// when it is read again.
func lock(*os.File) (bool, error) { return true, nil }
