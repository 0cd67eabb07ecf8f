//go:build faults

package engine

// fault is where a build with the tag faults lets a test stop the process.
func (e *Engine) fault(step string) {
	if e.Faults != nil {
		e.Faults(step)
	}
}
