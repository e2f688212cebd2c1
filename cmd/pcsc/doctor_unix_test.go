//go:build unix

package main

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// A socket that nobody listens at any more.
func TestDoctorStaleSocket(t *testing.T) {
	h := testHost(t, map[string]string{"run/pcscd/x": ""})
	l, err := net.Listen("unix", h.socket())
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	d := h.daemon(t.Context(), "")
	require.Equal(t, verdictProblem, d.Verdict)
	require.Contains(t, d.What, "nobody listens at "+h.socket()+": connect")
	require.Contains(t, d.Todo, "Start it again")
}
