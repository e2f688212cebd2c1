package pcsc

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// eventBackend has the event of a service that has not started.
type eventBackend struct {
	winscard.Unimplemented
	event    windows.Handle
	code     winscard.Code
	accessed chan struct{}
	released int
}

func newEventBackend(t *testing.T) *eventBackend {
	event, err := windows.CreateEvent(nil, 1, 0, nil) // set by hand, not set now
	require.NoError(t, err)
	t.Cleanup(func() { _ = windows.CloseHandle(event) })
	return &eventBackend{event: event, accessed: make(chan struct{}, 1)}
}

func (b *eventBackend) AccessStartedEvent() (uintptr, winscard.Code) {
	b.accessed <- struct{}{}
	return uintptr(b.event), b.code
}

func (b *eventBackend) ReleaseStartedEvent() winscard.Code {
	b.released++
	return winscard.Success
}

func TestWaitStarted(t *testing.T) {
	b := newEventBackend(t)
	go func() {
		<-b.accessed
		time.Sleep(20 * time.Millisecond)
		_ = windows.SetEvent(b.event)
	}()
	require.NoError(t, WaitStarted(bg, WithBackend(b)))
	require.Equal(t, 1, b.released)
	require.NoError(t, WaitStarted(cancellable(t), WithBackend(b)), "it runs already")
	require.Equal(t, 2, b.released)
}

func TestWaitStartedEndsWithItsContext(t *testing.T) {
	b := newEventBackend(t)
	ctx, cancel := context.WithCancel(bg)
	go func() {
		<-b.accessed
		cancel()
	}()
	err := WaitStarted(ctx, WithBackend(b))
	require.ErrorIs(t, requireCode(t, err, opAccessStartedEvent, ErrCancelled), context.Canceled)
	require.Equal(t, 1, b.released)

	late := newExpiring()
	go func() {
		<-b.accessed
		late.expire()
	}()
	err = WaitStarted(late, WithBackend(b))
	require.ErrorIs(t, requireCode(t, err, opAccessStartedEvent, ErrTimeout), context.DeadlineExceeded)
	require.Equal(t, 2, b.released)
}

func TestWaitStartedFails(t *testing.T) {
	b := newEventBackend(t)
	b.code = winscard.ErrWinAccessDenied
	requireCode(t, WaitStarted(bg, WithBackend(b)), opAccessStartedEvent, ErrWinAccessDenied)
	require.Zero(t, b.released, "there is nothing to give back")

	b = newEventBackend(t)
	b.event = 0x7FFFFFF0 // no handle
	e := requireCode(t, WaitStarted(bg, WithBackend(b)), opAccessStartedEvent, ErrInternalError)
	require.Contains(t, e.Detail, "waiting for the event")
	require.Equal(t, 1, b.released)
}

// No handle is left behind, however a wait ends.
func TestWaitStartedLeavesNoHandles(t *testing.T) {
	b := newEventBackend(t)
	b.accessed = make(chan struct{}, 1000)
	handles := func() (n uint32) {
		proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetProcessHandleCount")
		r, _, err := proc.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&n)))
		require.NotZero(t, r, "%v", err)
		return n
	}
	before := handles()
	for range 200 {
		ctx, cancel := context.WithCancel(bg)
		time.AfterFunc(time.Millisecond, cancel)
		require.Error(t, WaitStarted(ctx, WithBackend(b)))
	}
	require.Less(t, handles(), before+50)
}

func TestWindowsGUID(t *testing.T) {
	w := WindowsGUID(someGUID)
	require.Equal(t, someGUID.String(), w.String(), "both write it as Windows does")
	require.Equal(t, someGUID, GUIDFromWindows(w))
}
