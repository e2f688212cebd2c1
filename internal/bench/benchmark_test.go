package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/cstub"
)

// BenchmarkStub measures the operations on the stub library, in this process
// and with the backend that it was built with.
func BenchmarkStub(b *testing.B) {
	library := cstub.Build(b)
	if BackendName == "cgo" {
		library = "" // it has been found already, see [benchmarkStub]
	}
	for _, op := range Operations() {
		b.Run(op.Name, func(b *testing.B) {
			s, err := Open(library)
			require.NoError(b, err)
			defer s.Close()
			if !s.OnStub() {
				b.Skip("the program has not found the stub library, but that of the system")
			}
			run, err := s.Prepare(op)
			require.NoError(b, err)
			require.NoError(b, run(1))
			b.ReportAllocs()
			b.ResetTimer()
			require.NoError(b, run(b.N))
		})
	}
}
