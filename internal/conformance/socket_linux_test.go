package conformance

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// overSocket is the virtual service as libpcsclite, and so backend, sees it through its socket.
func overSocket(t *testing.T, backend winscard.Backend) Environment {
	env := Virtual()
	service := env.Service.(*virtualService).service
	dir := t.TempDir()
	l, err := virtual.Listen(filepath.Join(dir, pcscdtest.SocketName))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	// The service is stopped at first. Until Serve has taken the socket away, who connects is cut off, not refused.
	require.Eventually(t, func() bool {
		_, err := os.Lstat(l.Addr().String())
		return errors.Is(err, fs.ErrNotExist)
	}, 10*time.Second, time.Millisecond)
	pcscdtest.Redirect(t, dir)
	env.Backend = backend
	env.Quirks.OwnServer = true
	return env
}
