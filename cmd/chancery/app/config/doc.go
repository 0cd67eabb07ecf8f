// Package config reads the two documents that an administrator writes: the
// node's settings (chancery.yaml) and the CA policy (policy.yaml).
//
// Reading is strict, because a key that is silently passed over in a CA's
// configuration is a rule that somebody believes to be in force. Every error is
// reported, not only the first, each with file, line and column.
package config
