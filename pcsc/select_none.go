//go:build !(linux || freebsd || netbsd || darwin || windows || openbsd || dragonfly || solaris) || android || ios

package pcsc

import (
	"fmt"
	"runtime"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

const backendName = "none"

func openBackend(string) (winscard.Backend, error) {
	return nil, fmt.Errorf("%s/%s has no PC/SC: give a backend with WithBackend", runtime.GOOS, runtime.GOARCH)
}
