package differential

// A disagreement is a difference between pcscd and the virtual service that is wanted.
type disagreement struct {
	name   string
	reason string
	when   func(difference) bool // the exact condition
	ends   bool                  // the services' states differ from then on
	show   func(*machine)        // a sequence in which it occurs
}

var disagreements = []disagreement{}
