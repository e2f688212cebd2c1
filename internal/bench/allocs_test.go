package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/cstub"
)

// TestAllocations asserts what calls allocate. Package pcsc promises it.
func TestAllocations(t *testing.T) {
	stub := place{name: "stub", library: cstub.Build(t)}
	workers, err := buildWorkers()
	require.NoError(t, err)
	for _, w := range workers {
		// What the runtime allocates for itself, for each processor, must not make a byte of each call's share.
		w := *w
		w.env = append(w.env, "GOMAXPROCS=1")
		for _, want := range []struct {
			operation          string
			allocations, bytes int
		}{
			{"Backend.Transmit", 0, 0},
			{"Backend.Status", 0, 0},
			{"Backend.GetStatusChange", 0, 0},
			{"TransmitAppend", 0, 0},
			{transmit1024, 1, 1024}, // the response, and no more than it needs
		} {
			t.Run(w.name+"/"+want.operation, func(t *testing.T) {
				op, err := Find(want.operation)
				require.NoError(t, err)
				m, err := w.measure(stub, op, 50_000)
				require.NoError(t, err)
				require.Equal(t, want.allocations, m.Allocations, "allocations")
				require.Equal(t, want.bytes, m.Bytes, "bytes allocated")
			})
		}
	}
}
