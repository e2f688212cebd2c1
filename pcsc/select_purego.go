//go:build (purego || pcsc_purego || !cgo) && (linux || freebsd || netbsd || darwin || windows || openbsd || dragonfly || solaris) && !android && !ios

package pcsc

import (
	backendpurego "github.com/gopcsc/gopcsc/backend_purego"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

const backendName = "purego"

func openBackend(library string) (winscard.Backend, error) { return backendpurego.Open(library) }
