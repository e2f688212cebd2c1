//go:build !windows

package pcsc

import (
	"context"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// waitEvent has no events to wait for.
func waitEvent(context.Context, uintptr) (bool, error) {
	return false, &Error{Op: opAccessStartedEvent, Code: winscard.ErrUnsupportedFunction}
}
