package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestVersion(t *testing.T) {
	r := start(t.Context(), on(virtual.New()), "", "version")
	require.Equal(t, exitOK, r.exit)
	require.Empty(t, r.stderr)
	for _, want := range []string{modulePath, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, "\nbackend  " + pcsc.BackendName(), "\nlibrary  "} {
		require.Contains(t, r.stdout, want)
	}
	r = start(t.Context(), on(virtual.New()), "", "version", "--json")
	require.Equal(t, exitOK, r.exit)
	var got versionReport
	r.decode(t, &got)
	require.Equal(t, modulePath, got.Module)
	require.Equal(t, runtime.Version(), got.Go)
	require.True(t, got.Library.Loaded)
}

type unavailable struct{ winscard.Unimplemented }

func (unavailable) EstablishContext(uint32) (winscard.Context, winscard.Code) {
	return 0, winscard.ErrUnavailable
}

func TestVersionWithoutLibrary(t *testing.T) {
	for _, test := range []struct {
		env  env
		args []string
	}{
		{env{options: []pcsc.Option{pcsc.WithBackend(unavailable{})}}, nil},
		{env{}, []string{"--library", "/does/not/exist.so"}},
		{env{}, []string{"--library", "not/absolute"}},
	} {
		r := start(t.Context(), test.env, "", append(test.args, "version", "--json")...)
		require.Equal(t, exitOK, r.exit)
		var got versionReport
		r.decode(t, &got)
		require.False(t, got.Library.Loaded)
		require.NotEmpty(t, got.Library.Problem)
		r = start(t.Context(), test.env, "", append(test.args, "version")...)
		require.Equal(t, exitOK, r.exit)
		require.Contains(t, r.stdout, "\nlibrary  not loaded: ")
	}
}

func TestIsLibrary(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	file := filepath.Join(dir, "libmine.so.2.3")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	link := filepath.Join(dir, "lib.so")
	if err := os.Symlink(file, link); err == nil {
		require.True(t, isLibrary(file, link))
	}
	require.True(t, isLibrary(file, file))
	require.False(t, isLibrary(file, filepath.Join(dir, "other.so")))
	require.True(t, isLibrary("/usr/lib/libpcsclite.so.1.0.0", ""))
	require.True(t, isLibrary("/usr/lib/libpcsclite_real.so.1.0.0", ""))
	require.False(t, isLibrary("/usr/lib/libpcsclite.conf", ""))
	require.False(t, isLibrary("/usr/lib/libc.so.6", ""))
	require.True(t, isLibrary("/usr/lib/libmine.so.1", "libmine.so"))
	require.False(t, isLibrary("/usr/lib/libpcsclite.so.1", "libmine.so"))
}
