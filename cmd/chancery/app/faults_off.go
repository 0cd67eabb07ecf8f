//go:build !faults

package app

import "time"

// clock is the machine's.
func clock(func(string) string) func() time.Time { return time.Now }

// faults is nothing: a release cannot be told to die.
func faults(func(string) string) func(step string) { return nil }
