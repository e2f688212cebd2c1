package pcsc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// pcscd 1.9.9 goes on counting when a reader is plugged in again under the same name, and does not count that the card
// has gone with it. So a count that goes on by one can be another card, also right after the first reading.
func TestWatchedReaderReplugged(t *testing.T) {
	reading := func(count uint32, present bool, atr byte) *winscard.ReaderState {
		s := &winscard.ReaderState{Reader: "A", EventState: count<<16 | uint32(StateEmpty)}
		if present {
			s.EventState = count<<16 | uint32(StatePresent)
			s.ATR[0], s.ATRLen = atr, 1
		}
		return s
	}
	now := time.Now()
	for name, test := range map[string]struct {
		second *winscard.ReaderState
		later  time.Duration
		want   int
	}{
		"the first reading was ahead":       {reading(2, true, 1), 0, 0},
		"another card at once":              {reading(2, true, 2), 0, 2},
		"another card some time later":      {reading(2, true, 2), time.Hour, 2},
		"the same card, which was taken":    {reading(2, true, 1), time.Hour, 2},
		"no card":                           {reading(1, false, 0), 0, 1},
		"the same card with another ATR":    {reading(1, true, 2), time.Hour, 0}, // after a warm reset
		"another card, taken and put in":    {reading(3, true, 2), 0, 2},
		"the same card, the ATR is missing": {reading(1, true, 0), 0, 0},
	} {
		r := &watchedReader{visit: &visit{name: "A"}, seen: StateUnavailable}
		require.Equal(t, 1, r.update(reading(1, true, 1), now), name)
		require.Equal(t, test.want, r.update(test.second, now.Add(test.later)), name)
		if test.want == 2 {
			require.Equal(t, []byte{1}, r.removed, name)
		}
	}
}
