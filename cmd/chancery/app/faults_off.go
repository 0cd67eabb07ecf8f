//go:build !faults

package app

// faults is nothing: a release cannot be told to die.
func faults(func(string) string) func(step string) { return nil }
