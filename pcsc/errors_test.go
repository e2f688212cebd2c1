package pcsc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

func TestErrorText(t *testing.T) {
	err := &Error{Op: opConnect, Reader: "Reader 0", Code: ErrNoSmartcard}
	want := `pcsc: SCardConnect "Reader 0": ` + ErrNoSmartcard.Error() + ` (SCARD_E_NO_SMARTCARD 0x8010000C)`
	if hint := ErrNoSmartcard.Hint(); hint != "" {
		want += ": " + hint
	}
	require.Equal(t, want, err.Error())

	err = &Error{Op: opListReaders, Code: ErrInsufficientBuffer, Needed: 5, Detail: "plain words"}
	require.Equal(t, "pcsc: SCardListReaders: "+ErrInsufficientBuffer.Error()+
		" (SCARD_E_INSUFFICIENT_BUFFER 0x80100008): 5 bytes needed: plain words", err.Error())

	require.Equal(t, 1, strings.Count((&Error{Op: opCancel, Code: 0x12345678}).Error(), "0x12345678"))

	err = endedError(endedContext(), opTransmit, "R", "late")
	require.True(t, strings.HasSuffix(err.Error(), "): context canceled: late"), err.Error())
}

func TestErrorIs(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &Error{Op: opConnect, Code: ErrNoSmartcard})
	require.ErrorIs(t, err, ErrNoSmartcard)
	require.NotErrorIs(t, err, ErrRemovedCard)
	require.NotErrorIs(t, err, context.Canceled)
	var code Code
	require.ErrorAs(t, err, &code)
	require.Equal(t, ErrNoSmartcard, code)

	// What a code stands for, an Error with it does too.
	for _, code := range []Code{ErrTimeout, ErrUnsupportedFunction, ErrUnavailable, ErrCancelled} {
		for _, target := range []error{context.DeadlineExceeded, context.Canceled, errors.ErrUnsupported} {
			require.Equal(t, errors.Is(code, target), errors.Is(&Error{Code: code}, target), "%v %v", code, target)
		}
	}
}

func TestEndedContextError(t *testing.T) {
	e := endedError(endedContext(), opTransmit, "", "")
	require.Equal(t, ErrCancelled, e.Code)
	require.ErrorIs(t, e, context.Canceled)

	ctx, cancel := context.WithTimeout(bg, -1)
	defer cancel()
	e = endedError(ctx, opTransmit, "", "")
	require.Equal(t, ErrTimeout, e.Code)
	require.ErrorIs(t, e, context.DeadlineExceeded)

	mine := errors.New("shutting down")
	ctx2, cancel2 := context.WithCancelCause(bg)
	cancel2(mine)
	e = endedError(ctx2, opTransmit, "", "")
	require.ErrorIs(t, e, context.Canceled)
	require.ErrorIs(t, e, mine)

	ctx3, cancel3 := context.WithCancelCause(bg)
	cancel3(fmt.Errorf("%w: %w", mine, context.Canceled))
	e = endedError(ctx3, opTransmit, "", "")
	require.ErrorIs(t, e, context.Canceled)
	require.ErrorIs(t, e, mine)
	require.Equal(t, 1, strings.Count(e.Error(), context.Canceled.Error()))
}

func TestEstablishErrors(t *testing.T) {
	f := newFake(t)
	f.establish = func() winscard.Code { return winscard.ErrNoService }
	_, err := EstablishContext(ScopeSystem, WithBackend(f))
	requireCode(t, err, opEstablishContext, ErrNoService)

	_, err = EstablishContext(ScopeSystem, WithBackend(nil))
	requireCode(t, err, opEstablishContext, ErrInvalidParameter)
	_, err = EstablishContext(ScopeSystem, WithBackend(f), WithLibrary("x"))
	requireCode(t, err, opEstablishContext, ErrInvalidParameter)
	_, err = EstablishContext(ScopeSystem, WithBackend(f), WithContext(nilContext))
	requireCode(t, err, opEstablishContext, ErrInvalidParameter)
	_, err = EstablishContext(ScopeSystem, WithBackend(f), WithContext(endedContext()))
	requireCode(t, err, opEstablishContext, ErrCancelled)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, f.count("EstablishContext"))

	c, err := EstablishContext(ScopeSystem, nil, WithBackend(newFake(t))) // a nil option is none
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

var nilContext context.Context

func TestLibraryPath(t *testing.T) {
	abs, err := filepath.Abs("x")
	require.NoError(t, err)
	for _, path := range []string{"", "libpcsclite.so.1", "winscard.dll", abs} {
		require.NoError(t, checkLibrary(path), path)
	}
	bad := []string{"./libpcsclite.so.1", "lib/x.so", "../x.so", "..", ".", `lib\x.dll`, "a\x00b"}
	if runtime.GOOS == "windows" {
		bad = append(bad, `C:x.dll`)
	}
	for _, path := range bad {
		require.Error(t, checkLibrary(path), path)
		_, err := EstablishContext(ScopeSystem, WithLibrary(path))
		requireCode(t, err, opEstablishContext, ErrInvalidParameter)
	}
}

func TestUnavailable(t *testing.T) {
	_, err := EstablishContext(ScopeSystem, WithLibrary("no-such-library-at-all.so.0"))
	e := requireCode(t, err, opEstablishContext, ErrUnavailable)
	require.NotEmpty(t, e.Detail)
	require.Equal(t, 1, strings.Count(err.Error(), e.Detail), "%v", err)
}

func TestBackendName(t *testing.T) {
	require.Contains(t, []string{"cgo", "purego", "none"}, BackendName())
}
