package conformance

import "testing"

func TestVirtual(t *testing.T) { Run(t, Virtual()) }
