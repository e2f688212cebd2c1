package pcsc

import (
	"context"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// WaitStarted waits until the smart card service of Windows runs, for a program that starts before it. It is the
// equivalent of SCardAccessStartedEvent ([Windows]), of waiting for the event that it gives, and of
// SCardReleaseStartedEvent. Windows starts the service when a reader is attached, and may stop it when the last one has
// gone.
//
// It blocks until then, or until ctx ends; the error then is ctx's. [WithBackend], [WithLibrary] and [WithTracer] work as
// for [EstablishContext]. Only on Windows; elsewhere the error is errors.ErrUnsupported. [Watch] waits for the service on
// every platform.
//
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardaccessstartedevent
func WaitStarted(ctx context.Context, opts ...Option) error {
	if err := checkContext(ctx, opAccessStartedEvent, ""); err != nil {
		return err
	}
	o := options{ctx: ctx}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	b, err := o.open()
	if err != nil {
		return err
	}
	event, rc := b.AccessStartedEvent()
	if rc != winscard.Success {
		return &Error{Op: opAccessStartedEvent, Code: rc}
	}
	set, err := waitEvent(ctx, event)
	rc = b.ReleaseStartedEvent()
	switch {
	case err != nil:
		return err
	case !set:
		return endedError(ctx, opAccessStartedEvent, "", "the service has not started")
	case rc != winscard.Success:
		return &Error{Op: opReleaseStartedEvent, Code: rc}
	}
	return nil
}
