package pcscdtest

import (
	"time"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/internal/pcscclient"
)

// dial connects to pcscd, in the oldest version of its protocol that is described.
func dial(socket string, deadline time.Time) (*pcscclient.Client, error) {
	return pcscclient.Open(socket, protocol.FirstMinor, deadline)
}
