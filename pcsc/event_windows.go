package pcsc

import (
	"context"
	"fmt"

	"golang.org/x/sys/windows"
)

// waitEvent waits until an event is set, or ctx ends, and says whether it is set.
func waitEvent(ctx context.Context, event uintptr) (set bool, err error) {
	const event0, event1 = windows.WAIT_OBJECT_0, windows.WAIT_OBJECT_0 + 1
	ended, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return false, waitFailed(err)
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_ = windows.SetEvent(ended)
	})
	defer func() {
		if !stop() {
			<-told // or the event would be set after it was closed
		}
		_ = windows.CloseHandle(ended)
	}()
	which, err := windows.WaitForMultipleObjects([]windows.Handle{windows.Handle(event), ended}, false, windows.INFINITE)
	switch {
	case err != nil:
		return false, waitFailed(err)
	case which == event0:
		return true, nil
	case which == event1:
		return false, nil
	}
	return false, waitFailed(fmt.Errorf("unexpected result %#x of the wait", which))
}

func waitFailed(err error) error {
	return &Error{Op: opAccessStartedEvent, Code: ErrInternalError, Detail: "waiting for the event: " + err.Error(), cause: err}
}
