package pcsc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReaderState(t *testing.T) {
	s := NewReaderState("Reader 0")
	require.Equal(t, ReaderState{Reader: "Reader 0"}, s)
	require.Nil(t, s.ATR())
	s.EventState = StatePresent | StateChanged | StateInUse | 0xABCD<<16
	require.EqualValues(t, 0xABCD, s.EventCount())
	require.Equal(t, StatePresent|StateChanged|StateInUse, s.Flags())
	s.SyncCurrentState()
	require.Equal(t, StatePresent|StateInUse|0xABCD<<16, s.CurrentState)
	require.Equal(t, StatePresent|StateChanged|StateInUse|0xABCD<<16, s.EventState)
}
