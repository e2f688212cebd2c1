package virtual_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const virtualPnP = winscard.PnPNotification

const (
	sChanged   = uint32(winscard.StateChanged)
	sEmpty     = uint32(winscard.StateEmpty)
	sPresent   = uint32(winscard.StatePresent)
	sInUse     = uint32(winscard.StateInUse)
	sExclusive = uint32(winscard.StateExclusive)
	sMute      = uint32(winscard.StateMute)
	sUnknown   = uint32(winscard.StateUnknown)
	sUnavail   = uint32(winscard.StateUnavailable)
	sIgnore    = uint32(winscard.StateIgnore)
)

func TestStatus(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, card := connect(t, s, r, shared)
	size := len(r.Name()) + 1
	for _, test := range []struct {
		readers, atr int
		want         winscard.Code
	}{
		{0, 0, winscard.Success},
		{size, 5, winscard.Success},
		{200, 36, winscard.Success},
		{size - 1, 5, winscard.ErrInsufficientBuffer},
		{1, 0, winscard.ErrInsufficientBuffer},
		{0, 4, winscard.ErrInsufficientBuffer},
	} {
		readers, atr := make([]byte, test.readers), make([]byte, test.atr)
		n, state, protocol, atrLen, rc := s.Status(card, readers, atr)
		want(t, test.want, rc, "%+v", test)
		require.Equal(t, size, n)
		require.Equal(t, 1<<16|ready, state)
		require.Equal(t, t1, protocol)
		require.Equal(t, 5, atrLen)
		if test.readers >= size {
			require.Equal(t, r.Name()+"\x00", string(readers[:n]))
			require.Equal(t, atrBoth, atr[:atrLen])
		}
	}
	want(t, winscard.ErrInvalidHandle, status(s, card+1))
}

// What a caller believes of a reader decides whether there is news.
func TestStatusChangeBelief(t *testing.T) {
	for name, test := range map[string]struct {
		card  virtual.Card
		mode  uint32 // of a connection, if any
		event uint32
		news  map[uint32]bool
	}{
		"empty": {nil, 0, sEmpty, map[uint32]bool{
			0: true, sEmpty: false, sPresent: true, sUnknown: true, sUnavail: true, sInUse: true, sExclusive: true,
			sMute: false, sEmpty | sChanged: false, 7<<16 | sEmpty: true,
		}},
		"present": {echo(atrBoth), 0, 1<<16 | sPresent, map[uint32]bool{
			0: true, sPresent: false, sEmpty: true, sUnknown: true, sUnavail: true, sInUse: true, sExclusive: true,
			sMute: true, sPresent | sChanged: false, 1<<16 | sPresent: false, 2<<16 | sPresent: true, 1 << 16: false,
		}},
		"mute": {echo(nil), 0, 1<<16 | sPresent | sMute, map[uint32]bool{
			sPresent: true, sPresent | sMute: false, sEmpty: true,
		}},
		"in use": {echo(atrBoth), shared, 1<<16 | sPresent | sInUse, map[uint32]bool{
			sPresent: false, sPresent | sInUse: false, sPresent | sExclusive: true,
		}},
		"exclusive": {echo(atrBoth), exclusive, 1<<16 | sPresent | sExclusive, map[uint32]bool{
			sPresent: false, sPresent | sInUse: true, sPresent | sExclusive: false,
		}},
		"empty in use": {nil, direct, sEmpty, map[uint32]bool{sEmpty: false, sEmpty | sInUse: false}},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := setup(t, test.card)
			if test.mode != 0 {
				connect(t, s, r, test.mode)
			}
			ctx := establish(t, s)
			for belief, news := range test.news {
				states := []winscard.ReaderState{{Reader: r.Name(), CurrentState: belief, EventState: 0x5555, ATRLen: 99}}
				rc := s.GetStatusChange(ctx, 0, states)
				event := test.event
				if news {
					ok(t, rc, "belief %#x", belief)
					event |= sChanged
				} else {
					want(t, winscard.ErrTimeout, rc, "belief %#x", belief)
				}
				require.Equal(t, event, states[0].EventState, "belief %#x", belief)
				require.Equal(t, belief, states[0].CurrentState)
				atr := 0
				if event&sPresent != 0 && event&sMute == 0 {
					atr = len(atrBoth)
					require.Equal(t, atrBoth, states[0].ATR[:atr])
				}
				require.Equal(t, atr, int(states[0].ATRLen))
			}
		})
	}
}

func TestStatusChangeArguments(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	ctx := establish(t, s)
	known := winscard.ReaderState{Reader: r.Name()}
	for name, test := range map[string]struct {
		ctx    winscard.Context
		states []winscard.ReaderState
		want   winscard.Code
	}{
		"none":               {ctx, nil, winscard.Success},
		"none of no context": {0, nil, winscard.Success},
		"all ignored":        {0, []winscard.ReaderState{{Reader: "nope", CurrentState: sIgnore}}, winscard.Success},
		"no context":         {ctx + 1, []winscard.ReaderState{known}, winscard.ErrInvalidHandle},
		"unknown":            {ctx, []winscard.ReaderState{known, {Reader: "nope"}}, winscard.ErrUnknownReader},
		"unknown, ignored":   {ctx, []winscard.ReaderState{known, {Reader: "nope", CurrentState: sIgnore}}, winscard.ErrUnknownReader},
		"NUL":                {0, []winscard.ReaderState{{Reader: "a\x00"}}, winscard.ErrInvalidParameter},
		"16":                 {ctx, make16(known, 16), winscard.Success},
		"17":                 {0, make16(known, 17), winscard.ErrInvalidParameter},
		"empty name":         {ctx, []winscard.ReaderState{{}}, winscard.Success},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range test.states {
				test.states[i].EventState = 0x5555
			}
			want(t, test.want, s.GetStatusChange(test.ctx, 0, test.states))
			for _, state := range test.states {
				if test.want != winscard.Success {
					require.Equal(t, uint32(0x5555), state.EventState)
				}
			}
		})
	}
	for range 15 {
		s.AddReader("More")
	}
	want(t, winscard.ErrUnknownReader, s.GetStatusChange(ctx, 0, []winscard.ReaderState{{}}), "no place is free")

	states := []winscard.ReaderState{known, {Reader: s.Readers()[1].Name(), CurrentState: sIgnore, EventState: 0x5555}}
	ok(t, s.GetStatusChange(ctx, 0, states))
	require.Zero(t, states[1].EventState)
}

func make16(state winscard.ReaderState, n int) []winscard.ReaderState {
	states := make([]winscard.ReaderState, n)
	for i := range states {
		states[i] = state
	}
	return states
}

func TestStatusChangeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, nil)
		ctx := establish(t, s)
		for _, timeout := range []uint32{0, 1, 250, 0xFFFFFFFE} {
			begin := time.Now()
			states := []winscard.ReaderState{{Reader: r.Name(), CurrentState: sEmpty}}
			want(t, winscard.ErrTimeout, s.GetStatusChange(ctx, timeout, states))
			require.Equal(t, time.Duration(timeout)*time.Millisecond, time.Since(begin))
			require.Equal(t, sEmpty, states[0].EventState)
		}
		// Events that are not news do not prolong the wait.
		begin := time.Now()
		done := async(func() winscard.Code {
			return s.GetStatusChange(ctx, 1000, []winscard.ReaderState{{Reader: r.Name(), CurrentState: sEmpty}})
		})
		for range 9 {
			time.Sleep(100 * time.Millisecond)
			s.RemoveReader(s.AddReader("Other"))
		}
		want(t, winscard.ErrTimeout, <-done)
		require.Equal(t, time.Second, time.Since(begin))
	})
}

func TestStatusChangeWaits(t *testing.T) {
	for name, test := range map[string]struct {
		state  winscard.ReaderState
		card   virtual.Card
		change func(*testing.T, *virtual.Service, *virtual.Reader)
		event  uint32
	}{
		"insertion": {
			winscard.ReaderState{CurrentState: sEmpty}, nil,
			func(_ *testing.T, _ *virtual.Service, r *virtual.Reader) { r.Insert(echo(atrBoth)) },
			1<<16 | sChanged | sPresent,
		},
		"removal": {
			winscard.ReaderState{CurrentState: 1<<16 | sPresent}, echo(atrBoth),
			func(_ *testing.T, _ *virtual.Service, r *virtual.Reader) { r.Remove() },
			2<<16 | sChanged | sEmpty,
		},
		"unplugged": {
			winscard.ReaderState{CurrentState: sPresent}, echo(atrBoth),
			func(_ *testing.T, s *virtual.Service, r *virtual.Reader) { s.RemoveReader(r) },
			sChanged | sUnknown | sUnavail,
		},
		"one more reader": {
			winscard.ReaderState{Reader: `\\?PNP?\notification`}, nil,
			func(_ *testing.T, s *virtual.Service, _ *virtual.Reader) { s.AddReader("New") },
			sChanged,
		},
		"one reader less": {
			winscard.ReaderState{Reader: virtualPnP}, nil,
			func(_ *testing.T, s *virtual.Service, r *virtual.Reader) { s.RemoveReader(r) },
			sChanged,
		},
		"no longer exclusive": {
			winscard.ReaderState{CurrentState: sPresent | sExclusive}, echo(atrBoth),
			nil, 1<<16 | sChanged | sPresent,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := setup(t, test.card)
				if test.change == nil {
					_, card := connect(t, s, r, exclusive)
					test.change = func(t *testing.T, s *virtual.Service, _ *virtual.Reader) { ok(t, s.Disconnect(card, leave)) }
				}
				if test.state.Reader == "" {
					test.state.Reader = r.Name()
				}
				states := []winscard.ReaderState{test.state}
				ctx := establish(t, s)
				done := async(func() winscard.Code { return s.GetStatusChange(ctx, winscard.Infinite, states) })
				time.Sleep(24 * time.Hour)
				pending(t, done)
				test.change(t, s, r)
				ok(t, <-done)
				require.Equal(t, test.event, states[0].EventState)
			})
		})
	}
}

func TestStatusChangeVisitInBetween(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	state := look(t, s, r)
	r.Remove()
	r.Insert(echo(atrBoth))
	states := []winscard.ReaderState{{Reader: r.Name(), CurrentState: state.EventState}}
	ok(t, s.GetStatusChange(establish(t, s), 0, states))
	require.Equal(t, 3<<16|sChanged|sPresent, states[0].EventState)
}

func TestEventCounterWraps(t *testing.T) {
	s, r := setup(t, nil)
	card := echo(atrBoth)
	for range 0x8000 {
		r.Insert(card)
		r.Remove()
	}
	require.Equal(t, sChanged|sEmpty, look(t, s, r).EventState)
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, nil)
		ctx, bystander := establish(t, s), establish(t, s)
		wait := func(ctx winscard.Context) <-chan winscard.Code {
			return async(func() winscard.Code {
				return s.GetStatusChange(ctx, winscard.Infinite, []winscard.ReaderState{{Reader: r.Name(), CurrentState: sEmpty}})
			})
		}
		ok(t, s.Cancel(ctx)) // lost
		first, second, other := wait(ctx), wait(ctx), wait(bystander)
		synctest.Wait()
		pending(t, first)
		ok(t, s.Cancel(ctx))
		want(t, winscard.ErrCancelled, <-first)
		want(t, winscard.ErrCancelled, <-second)
		synctest.Wait()
		pending(t, other)

		first = wait(ctx)
		synctest.Wait()
		pending(t, first)
		r.Insert(echo(atrBoth))
		ok(t, <-first)
		ok(t, <-other)
		want(t, winscard.ErrInvalidHandle, s.Cancel(ctx+1))
	})
}
