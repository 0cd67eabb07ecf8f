package bolt

// A fill chooses how full a page is left when it is split.
type fill struct{}

func (f *fill) percent() float64 { return 0.9 }
