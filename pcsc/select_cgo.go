//go:build cgo && !purego && !pcsc_purego && (linux || freebsd || netbsd || darwin || windows || openbsd || dragonfly || solaris) && !android && !ios

package pcsc

import (
	backendcgo "github.com/gopcsc/gopcsc/backend_cgo"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

const backendName = "cgo"

func openBackend(library string) (winscard.Backend, error) { return backendcgo.Open(library) }
