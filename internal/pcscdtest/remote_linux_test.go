package pcscdtest

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// The service of TestRemote is in this process too; what lies between is the same.
func TestRemote(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error)
	go func() { served <- Serve(l) }()
	t.Cleanup(func() { l.Close(); <-served })
	t.Setenv(RemoteEnv, l.Addr().String())
	require.True(t, HasRemote())

	t.Run("Session", func(t *testing.T) {
		r := StartRemote(t, 2)
		names := r.Readers()
		require.Len(t, names, 2)
		card := NewEchoCard(nil)
		r.Insert(1, card)
		direct := &Service{}
		s := connect(t, direct, names[1])
		require.Equal(t, []byte{0x90, 0x00}, s.transmit(0x00, 0xA4, 0x04, 0x00))
		r.Remove(1)
		r.Insert(1, card)
		r.Kill()
		r.Restart(-1)
		require.Equal(t, names, r.Readers())
		s = connect(t, direct, names[1])
		require.Equal(t, []byte{0x90, 0x00}, s.transmit(0x00, 0xA4, 0x04, 0x00))
		r.Stop()
		r.Restart(1)
		require.Len(t, r.Readers(), 1)
	})
	t.Run("CardPulledDuringCommand", func(t *testing.T) {
		r := StartRemote(t, 1)
		begun, pulled := make(chan struct{}), make(chan struct{})
		r.Insert(0, &stuckCard{begun, pulled})
		s := connect(t, &Service{}, r.Readers()[0])
		removed := make(chan struct{})
		go func() {
			defer close(removed)
			<-begun
			r.Remove(0) // ends the command
		}()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = s.Transmit(s.card, uint32(winscard.ProtocolT1), 0, 0, 0, 0)
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("the command did not end with the card")
		}
		<-removed // the command ends before pcscd has noticed
	})
	t.Run("Failures", func(t *testing.T) {
		rec := &recorder{TB: t}
		r := StartRemote(t, 1)
		r.tb = rec
		r.Insert(5, NewEchoCard(nil))
		r.Remove(0)
		r.Stop()
		r.Insert(0, NewEchoCard(nil))
		r.tb = t
		require.Len(t, rec.errors, 3)
		require.Contains(t, rec.errors[0], "reader 5 of 1")
		require.Contains(t, rec.errors[1], "has no card")
		require.Contains(t, rec.errors[2], "the service is down")
	})
}

// stuckCard answers no command before it is pulled out.
type stuckCard struct{ begun, pulled chan struct{} }

func (c *stuckCard) ATR() []byte { return DefaultATR() }
func (c *stuckCard) PowerOn()    {}
func (c *stuckCard) Reset()      {}

func (c *stuckCard) PowerOff() {
	select {
	case <-c.begun:
		close(c.pulled)
	default:
	}
}

func (c *stuckCard) Transmit([]byte) []byte {
	close(c.begun)
	<-c.pulled
	return []byte{0x90, 0x00}
}
