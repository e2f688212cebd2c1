package pcscdtest

import "testing"

// SocketName is what libpcsclite's socket is called in its directory.
const SocketName = socketName

// Redirect lets libpcsclite of this process find the socket called [SocketName] in dir until the test ends: that of
// another service than [Start]'s. Both at a time are not possible.
func Redirect(tb testing.TB, dir string) {
	tb.Helper()
	if socketDir < 0 {
		tb.Fatalf("pcscdtest: no socket path: %v", errPrepare)
	}
	if err := pointTo(dir); err != nil {
		tb.Fatalf("pcscdtest: %v", err)
	}
	tb.Cleanup(func() {
		if err := pointTo(noService); err != nil {
			tb.Errorf("pcscdtest: %v", err)
		}
	})
}
