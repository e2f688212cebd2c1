//go:build !linux

package bench

import (
	"fmt"
	"runtime"
)

func pin() error { return fmt.Errorf("not known how to on %s", runtime.GOOS) }
