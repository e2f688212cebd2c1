package virtual_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// counter is a card that counts what it carries out, and its resets.
type counter struct{ commands, resets int }

func (c *counter) Reset() { c.resets++ }
func (c *counter) Transmit([]byte) ([]byte, error) {
	c.commands++
	return []byte{0x01, 0x02, 0x90, 0x00}, nil
}

func TestFaultsInTransmit(t *testing.T) {
	const none = "\xFFnone"
	for _, test := range []struct {
		fault    string
		want     winscard.Code // of the Transmit that it strikes
		response string
		executed int
		then     winscard.Code // of the next one
	}{
		{"nothing", winscard.Success, "\x01\x02\x90\x00", 1, winscard.Success},
		{"pull-card", winscard.ErrNotTransacted, none, 1, winscard.ErrRemovedCard},
		{"pull-card before", winscard.ErrRemovedCard, none, 0, winscard.ErrRemovedCard},
		{"unplug-reader", winscard.ErrNotTransacted, none, 1, winscard.ErrInvalidValue},
		{"unplug-reader before", winscard.ErrInvalidValue, none, 0, winscard.ErrInvalidValue},
		{"stop-service", winscard.ErrCommError, none, 1, winscard.ErrNoService},
		{"stop-service before", winscard.ErrNoService, none, 0, winscard.ErrNoService},
		{"restart-service", winscard.ErrCommError, none, 1, winscard.ErrNoService},
		{"restart-service before", winscard.ErrNoService, none, 0, winscard.ErrNoService},
		{"restart-service 1h", winscard.ErrCommError, none, 1, winscard.ErrNoService},
		{"reset-card", winscard.ErrResetCard, none, 0, winscard.ErrResetCard},
		{"reset-card before", winscard.ErrResetCard, none, 0, winscard.ErrResetCard},
		{"mute-card", winscard.ErrNotTransacted, none, 1, winscard.ErrNotTransacted},
		{"mute-card before", winscard.ErrNotTransacted, none, 0, winscard.ErrNotTransacted},
		{"delay 1h", winscard.Success, "\x01\x02\x90\x00", 1, winscard.Success},
		{"fail SCARD_E_TIMEOUT", winscard.ErrTimeout, none, 0, winscard.Success},
		{"fail SCARD_E_TIMEOUT before", winscard.ErrTimeout, none, 0, winscard.Success},
		{"lose SCARD_E_TIMEOUT", winscard.ErrTimeout, none, 1, winscard.Success},
		{"lose SCARD_E_TIMEOUT before", winscard.ErrTimeout, none, 0, winscard.Success},
		{"comm-error", winscard.ErrCommError, none, 1, winscard.Success},
		{"sharing-violation on Transmit", winscard.ErrSharingViolation, none, 0, winscard.Success},
		{"server-too-busy on Transmit", winscard.ErrServerTooBusy, none, 0, winscard.Success},
		{"answer 6F00", winscard.Success, "\x6F\x00", 1, winscard.Success},
		{"answer 6F00 before", winscard.Success, "\x6F\x00", 0, winscard.Success},
		{"answer 90", winscard.Success, "\x90", 1, winscard.Success},
		{"answer none", winscard.Success, "", 1, winscard.Success},
		{"oversize 6", winscard.Success, "\x01\x02\x00\x00\x90\x00", 1, winscard.Success},
		{"oversize 4", winscard.Success, "\x01\x02\x90\x00", 1, winscard.Success},
		{"oversize 2", winscard.Success, "\x01\x02\x90\x00", 1, winscard.Success},
		{"oversize 3 before", winscard.Success, "\x00\x00\x00", 0, winscard.Success},
		{"oversize 259", winscard.ErrInsufficientBuffer, none, 1, winscard.Success},
		{"oversize 65549", winscard.ErrNotTransacted, none, 1, winscard.Success},
	} {
		t.Run(test.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fault, err := virtual.ParseFault(test.fault)
				require.NoError(t, err)
				card := &counter{}
				s, r := setup(t, card)
				defer s.Stop() // so that a restart that is due later finds nothing to do
				_, h := connect(t, s, r, shared)
				injection := r.Inject(fault)
				require.Zero(t, injection.Struck())

				begin := time.Now()
				buf := make([]byte, 258)
				n, rc := s.Transmit(h, t1, apdu, buf)
				want(t, test.want, rc)
				if test.response != none {
					require.Equal(t, test.response, string(buf[:n]))
				}
				require.Equal(t, test.executed, card.commands)
				require.Equal(t, 1, injection.Struck())
				if test.fault == "delay 1h" {
					require.Equal(t, time.Hour, time.Since(begin))
				} else {
					require.Equal(t, begin, time.Now())
				}
				_, rc = s.Transmit(h, t1, apdu, buf)
				want(t, test.then, rc)
				require.Equal(t, 1, injection.Struck())
				switch test.fault {
				case "restart-service 1h":
					_, rc := s.EstablishContext(0)
					want(t, winscard.ErrNoService, rc)
					time.Sleep(time.Hour)
					synctest.Wait()
					fallthrough
				case "restart-service", "restart-service before":
					_, h := connect(t, s, r, shared)
					_, rc := s.Transmit(h, t1, apdu, buf)
					ok(t, rc)
				}
			})
		})
	}
}

// The same faults strike Control, where the card and its reader matter less.
func TestFaultsInControl(t *testing.T) {
	for _, test := range []struct {
		fault    string
		want     winscard.Code
		response string
		executed int
	}{
		{"pull-card", winscard.Success, "done", 1},
		{"unplug-reader", winscard.ErrNotTransacted, "", 1},
		{"unplug-reader before", winscard.ErrInvalidValue, "", 0},
		{"stop-service", winscard.ErrCommError, "", 1},
		{"restart-service", winscard.ErrCommError, "", 1},
		{"reset-card", winscard.Success, "done", 1},
		{"fail SCARD_E_TIMEOUT", winscard.ErrTimeout, "", 0},
		{"lose SCARD_E_TIMEOUT", winscard.ErrTimeout, "", 1},
		{"lose SCARD_E_TIMEOUT before", winscard.ErrTimeout, "", 0},
		{"answer AB", winscard.Success, "\xAB", 1},
		{"oversize 65549", winscard.ErrNotTransacted, "", 1},
		{"delay 1h", winscard.Success, "done", 1},
		{"delay 1h apdu 0103", winscard.Success, "done", 1}, // not struck: other input
	} {
		t.Run(test.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fault, err := virtual.ParseFault(test.fault)
				require.NoError(t, err)
				s, r := setup(t, echo(atrBoth))
				executed := 0
				r.SetController(virtual.ControlFunc(func(uint32, []byte) ([]byte, error) {
					executed++
					return []byte("done"), nil
				}))
				_, h := connect(t, s, r, shared)
				injection := r.Inject(fault, virtual.On(virtual.OpControl))
				begin := time.Now()
				buf := make([]byte, 10)
				n, rc := s.Control(h, 1, []byte{1, 2}, buf)
				want(t, test.want, rc)
				require.Equal(t, test.response, string(buf[:n]))
				require.Equal(t, test.executed, executed)
				if injection.Struck() == 1 && fault == virtual.Delay(time.Hour) {
					require.Equal(t, time.Hour, time.Since(begin))
				} else {
					require.Equal(t, begin, time.Now())
				}
			})
		})
	}
}

// everyCall makes each call that a fault can strike, on a reader with a card in it.
func everyCall(t *testing.T, s *virtual.Service, r *virtual.Reader, except virtual.Op) map[virtual.Op]func() winscard.Code {
	ctx, card := connect(t, s, r, shared)
	other := establish(t, s)
	if except != virtual.OpBeginTransaction {
		ok(t, s.BeginTransaction(card))
	}
	return map[virtual.Op]func() winscard.Code{
		virtual.OpEstablishContext: func() winscard.Code { _, rc := s.EstablishContext(0); return rc },
		virtual.OpReleaseContext:   func() winscard.Code { return s.ReleaseContext(other) },
		virtual.OpListReaders:      func() winscard.Code { _, rc := s.ListReaders(ctx, nil, nil); return rc },
		virtual.OpGetStatusChange: func() winscard.Code {
			return s.GetStatusChange(ctx, 0, []winscard.ReaderState{{Reader: r.Name()}})
		},
		virtual.OpCancel: func() winscard.Code { return s.Cancel(ctx) },
		virtual.OpConnect: func() winscard.Code {
			s.EndTransaction(card, leave)
			_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
			return rc
		},
		virtual.OpReconnect:        func() winscard.Code { _, rc := s.Reconnect(card, shared, anyT, leave); return rc },
		virtual.OpDisconnect:       func() winscard.Code { return s.Disconnect(card, leave) },
		virtual.OpBeginTransaction: func() winscard.Code { return s.BeginTransaction(card) },
		virtual.OpEndTransaction:   func() winscard.Code { return s.EndTransaction(card, leave) },
		virtual.OpStatus:           func() winscard.Code { return status(s, card) },
		virtual.OpTransmit:         func() winscard.Code { _, rc := s.Transmit(card, t1, apdu, make([]byte, 258)); return rc },
		virtual.OpControl:          func() winscard.Code { _, rc := s.Control(card, 1, nil, nil); return rc },
		virtual.OpGetAttrib:        func() winscard.Code { _, rc := s.GetAttrib(card, uint32(winscard.AttrATRString), nil); return rc },
		virtual.OpSetAttrib:        func() winscard.Code { return s.SetAttrib(card, 1, []byte{1}) },
	}
}

type anyController struct{ virtual.ControlFunc }

func (anyController) SetAttrib(uint32, []byte) error { return nil }

// Every call can be struck by every fault, by itself or as any call, and nothing hangs.
func TestFaultsInEveryCall(t *testing.T) {
	ofReader := map[virtual.Op]bool{}
	for _, op := range []virtual.Op{
		virtual.OpGetStatusChange, virtual.OpConnect, virtual.OpReconnect, virtual.OpDisconnect, virtual.OpBeginTransaction,
		virtual.OpEndTransaction, virtual.OpStatus, virtual.OpTransmit, virtual.OpControl, virtual.OpGetAttrib, virtual.OpSetAttrib,
	} {
		ofReader[op] = true
	}
	try := func(fault virtual.Fault, op virtual.Op, by virtual.When, whole bool) (rc winscard.Code, struck int, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s, r := setup(t, echo(atrBoth))
			r.SetController(anyController{virtual.ControlFunc(func(uint32, []byte) ([]byte, error) { return nil, nil })})
			calls := everyCall(t, s, r, op)
			var injection *virtual.Injection
			if op == virtual.OpConnect { // whose preparation is a call, too
				by = virtual.On(op)
			}
			if whole {
				injection = s.Inject(fault, by)
			} else {
				injection = r.Inject(fault, by)
			}
			begin := time.Now()
			rc = calls[op]()
			struck, took = injection.Struck(), time.Since(begin)
		})
		return rc, struck, took
	}
	everything := []virtual.Fault{}
	for _, fault := range faultTexts {
		everything = append(everything, fault)
	}
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, nil)
		r.Insert(echo(atrBoth))
		require.Len(t, everyCall(t, s, r, ""), 15)
	})
	for _, op := range []virtual.Op{
		virtual.OpEstablishContext, virtual.OpReleaseContext, virtual.OpListReaders, virtual.OpGetStatusChange,
		virtual.OpCancel, virtual.OpConnect, virtual.OpReconnect, virtual.OpDisconnect, virtual.OpBeginTransaction,
		virtual.OpEndTransaction, virtual.OpStatus, virtual.OpTransmit, virtual.OpControl, virtual.OpGetAttrib, virtual.OpSetAttrib,
	} {
		for _, by := range []virtual.When{virtual.On(op), virtual.OnAny()} {
			rc, struck, _ := try(virtual.Fault{}, op, by, true)
			ok(t, rc, op)
			require.Equal(t, 1, struck, op)

			rc, struck, _ = try(virtual.ServerTooBusy(), op, by, true)
			want(t, winscard.ErrServerTooBusy, rc, op)
			require.Equal(t, 1, struck, op)
			_, struck, took := try(virtual.Delay(time.Hour), op, by, true)
			require.Equal(t, 1, struck, op)
			require.Equal(t, time.Hour, took, op)

			rc, struck, _ = try(virtual.ServerTooBusy(), op, by, false)
			if ofReader[op] {
				want(t, winscard.ErrServerTooBusy, rc, op)
				require.Equal(t, 1, struck, op)
			} else {
				ok(t, rc, "%s has no reader", op)
				require.Zero(t, struck)
			}
			rc, _, _ = try(virtual.StopService(), op, by, true)
			switch op {
			case virtual.OpCancel:
				ok(t, rc)
			case virtual.OpGetStatusChange, virtual.OpConnect, virtual.OpListReaders, virtual.OpTransmit, virtual.OpControl, virtual.OpDisconnect:
				want(t, winscard.ErrCommError, rc, op)
			default:
				want(t, winscard.ErrNoService, rc, op)
			}
		}
		for _, fault := range everything {
			for _, whole := range []bool{false, true} {
				try(fault, op, virtual.On(op), whole)
			}
		}
		rc, struck, _ := try(virtual.ServerTooBusy(), op, virtual.On(virtual.OpPowerUp), true)
		if op != virtual.OpConnect {
			ok(t, rc, op)
			require.Zero(t, struck)
		}
	}
}

func TestFaultsAreOfTheirReader(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	other := s.AddReader("Other")
	other.Insert(echo(atrBoth))
	ctx, card := connect(t, s, r, shared)
	_, card2 := connect(t, s, other, shared)
	injection := r.Inject(virtual.CommError())
	ok(t, transmit(s, card2))
	require.Zero(t, injection.Struck())
	want(t, winscard.ErrCommError, transmit(s, card))

	// A wait is of all readers that it does not ignore.
	states := []winscard.ReaderState{{Reader: other.Name(), CurrentState: sIgnore}, {Reader: r.Name()}}
	injection = other.Inject(virtual.ServerTooBusy())
	ok(t, s.GetStatusChange(ctx, 0, states))
	states[0].CurrentState = 0
	want(t, winscard.ErrServerTooBusy, s.GetStatusChange(ctx, 0, states))
	require.Equal(t, 1, injection.Struck())

	// One of the service strikes the reader of the call.
	s.Inject(virtual.PullCard())
	want(t, winscard.ErrNotTransacted, transmit(s, card2))
	require.Nil(t, other.Card())
	require.NotNil(t, r.Card())
}

func TestFaultConditions(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, card := connect(t, s, r, shared)
	send := func(command ...byte) string {
		_, rc := s.Transmit(card, t1, command, make([]byte, 258))
		if rc == winscard.Success {
			return "-"
		}
		require.Equal(t, winscard.ErrCommError.Name(), rc.Name())
		return "x"
	}
	run := func(conditions ...virtual.When) (pattern string) {
		injection := r.Inject(virtual.CommError(), conditions...)
		defer injection.Remove()
		for i := range 6 {
			pattern += send(0, 0xA0+byte(i%2), 0, 0)
		}
		require.Equal(t, injection.Struck(), len(pattern)-len(removeAll(pattern, 'x')))
		return pattern
	}
	require.Equal(t, "x-----", run())
	require.Equal(t, "--x---", run(virtual.Nth(3)))
	require.Equal(t, "xxx---", run(virtual.Times(3)))
	require.Equal(t, "--xxxx", run(virtual.Nth(3), virtual.Always()))
	require.Equal(t, "-x----", run(virtual.APDU(0, 0xA1)))
	require.Equal(t, "---x-x", run(virtual.APDU(0, 0xA1), virtual.Nth(2), virtual.Times(2)))
	require.Equal(t, "------", run(virtual.APDU(0, 0xA0, 0, 0, 0)))
	require.Equal(t, "------", run(virtual.On(virtual.OpStatus)))
	require.Equal(t, "------", run(virtual.Nth(7)))
	r.Inject(virtual.CommError()).Remove()
	require.Equal(t, "-", send(1))

	// A call that the service refuses does not count.
	injection := r.Inject(virtual.CommError(), virtual.Nth(2))
	_, rc := s.Transmit(card, t0, apdu, make([]byte, 258))
	want(t, winscard.ErrProtoMismatch, rc)
	require.Equal(t, "-", send(1))
	require.Equal(t, "x", send(1))
	require.Equal(t, 1, injection.Struck())
	require.Equal(t, virtual.CommError().When(virtual.Nth(2)), injection.Fault())
	injection.Remove()
	injection.Remove()
}

func removeAll(s string, c rune) string {
	var out []rune
	for _, r := range s {
		if r != c {
			out = append(out, r)
		}
	}
	return string(out)
}

// Faults for one call strike together, in the order of injection.
func TestFaultsCompose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := &counter{}
		s, r := setup(t, card)
		_, h := connect(t, s, r, shared)
		r.Inject(virtual.Delay(time.Hour))
		r.Inject(virtual.PullCard())
		done := async(func() winscard.Code { return transmit(s, h) })
		time.Sleep(time.Hour - 1)
		pending(t, done)
		require.NotNil(t, r.Card())
		want(t, winscard.ErrNotTransacted, <-done)
		require.Nil(t, r.Card())

		// The first code counts, and a restart comes after a reset.
		r.Insert(card)
		_, h = connect(t, s, r, shared)
		r.Inject(virtual.Fail(winscard.ErrTimeout))
		r.Inject(virtual.Fail(winscard.ErrNoMemory))
		r.Inject(virtual.ResetCard())
		want(t, winscard.ErrTimeout, transmit(s, h))
		want(t, winscard.ErrResetCard, transmit(s, h))
	})
}

func TestMuteCardFault(t *testing.T) {
	card := &counter{}
	s, r := setup(t, card)
	_, h := connect(t, s, r, shared)
	r.Inject(virtual.MuteCard())
	want(t, winscard.ErrNotTransacted, transmit(s, h))
	want(t, winscard.ErrNotTransacted, transmit(s, h))
	require.Equal(t, 1, card.commands, "it does not hear what comes after")
	_, rc := s.Reconnect(h, shared, anyT, leave)
	ok(t, rc)
	want(t, winscard.ErrNotTransacted, transmit(s, h))
	_, rc = s.Reconnect(h, shared, anyT, reset)
	ok(t, rc)
	ok(t, transmit(s, h))

	// No answer to reset.
	r.Inject(virtual.MuteCard(), virtual.On(virtual.OpPowerUp))
	_, rc = s.Reconnect(h, shared, anyT, unpower)
	want(t, winscard.ErrUnresponsiveCard, rc)
	require.NotZero(t, look(t, s, r).EventState&sMute)
	ctx := establish(t, s)
	_, _, rc = s.Connect(ctx, r.Name(), shared, anyT)
	want(t, winscard.ErrUnpoweredCard, rc, "the card is in use, so it is not powered up")
	ok(t, s.Disconnect(h, unpower))
	r.Inject(virtual.MuteCard(), virtual.On(virtual.OpPowerUp))
	_, _, rc = s.Connect(ctx, r.Name(), shared, anyT)
	want(t, winscard.ErrUnpoweredCard, rc)
	_, _, rc = s.Connect(ctx, r.Name(), shared, anyT)
	ok(t, rc)
}

func TestPowerUpFaults(t *testing.T) {
	for text, check := range map[string]func(*testing.T, *virtual.Service, *virtual.Reader, winscard.ReaderState){
		"mute-card": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.Equal(t, sPresent|sMute, state.EventState&(sPresent|sMute))
		},
		"answer 3B00": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.Equal(t, atrT0, state.ATR[:state.ATRLen])
		},
		"oversize 33": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.EqualValues(t, 33, state.ATRLen)
		},
		"oversize 34": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.Equal(t, sPresent|sMute, state.EventState&(sPresent|sMute))
		},
		"pull-card": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.Nil(t, r.Card())
			require.Equal(t, sEmpty, state.EventState&(sPresent|sEmpty))
		},
		"unplug-reader": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.False(t, r.Connected())
		},
		"delay 1h": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.Equal(t, sPresent, state.EventState&(sPresent|sMute))
		},
		"reset-card": func(t *testing.T, s *virtual.Service, r *virtual.Reader, state winscard.ReaderState) {
			require.Equal(t, sPresent, state.EventState&(sPresent|sMute))
		},
		"stop-service":    nil,
		"restart-service": nil,
	} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fault, err := virtual.ParseFault(text + " on PowerUp")
				require.NoError(t, err)
				s, r := setup(t, nil)
				begin := time.Now()
				injection := r.Inject(fault)
				r.Insert(echo(atrBoth))
				require.Equal(t, 1, injection.Struck())
				if text == "delay 1h" {
					require.Equal(t, time.Hour, time.Since(begin))
				}
				switch {
				case check == nil:
					synctest.Wait()
					_, rc := s.EstablishContext(0)
					if text == "stop-service" {
						want(t, winscard.ErrNoService, rc)
						s.Start()
					} else {
						ok(t, rc)
					}
					_, card := connect(t, s, r, shared)
					ok(t, transmit(s, card))
				case r.Connected():
					check(t, s, r, look(t, s, r))
				default:
					check(t, s, r, winscard.ReaderState{})
				}
			})
		})
	}
	// While the service starts it is not stopped, which would never end.
	s, r := setup(t, echo(atrBoth))
	s.Stop()
	r.Inject(virtual.StopService(), virtual.On(virtual.OpPowerUp))
	s.Start()
	establish(t, s)
}

// Faults strike in the middle of a wait.
func TestFaultsInWaits(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	ctx := establish(t, s)
	known := []winscard.ReaderState{{Reader: r.Name(), CurrentState: sPresent}, {Reader: virtualPnP}}
	r.Inject(virtual.PullCard(), virtual.On(virtual.OpGetStatusChange))
	ok(t, s.GetStatusChange(ctx, winscard.Infinite, known))
	require.Equal(t, sChanged|sEmpty, known[0].EventState&0xFFFF)
	known[0].CurrentState = sEmpty
	r.Inject(virtual.UnplugReader(), virtual.On(virtual.OpGetStatusChange))
	ok(t, s.GetStatusChange(ctx, winscard.Infinite, known))
	require.Equal(t, uint32(winscard.StateChanged|winscard.StateUnknown|winscard.StateUnavailable), known[0].EventState)
	require.Equal(t, sChanged, known[1].EventState, "a reader less")

	s, r = setup(t, echo(atrBoth))
	ctx = establish(t, s)
	known = []winscard.ReaderState{{Reader: r.Name(), CurrentState: sPresent}}
	s.Inject(virtual.StopService(), virtual.On(virtual.OpGetStatusChange))
	want(t, winscard.ErrCommError, s.GetStatusChange(ctx, winscard.Infinite, known))
}

// A slow card keeps its reader busy and nobody else, and the caller of another connection waits.
func TestSlowCardFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		_, card := connect(t, s, r, shared)
		_, other := connect(t, s, r, shared)
		r.Inject(virtual.Delay(time.Hour))
		done := async(func() winscard.Code { return transmit(s, card) })
		synctest.Wait()
		ok(t, status(s, other))
		begin := time.Now()
		ok(t, transmit(s, other))
		require.Equal(t, time.Hour, time.Since(begin))
		ok(t, <-done)
	})
}

// Injecting into what is not there does nothing.
func TestFaultsOfNobody(t *testing.T) {
	var r virtual.Reader
	injection := r.Inject(virtual.PullCard())
	require.Zero(t, injection.Struck())
	injection.Remove()
	s := virtual.New()
	gone := s.AddReader("Gone")
	gone.Inject(virtual.PullCard(), virtual.OnAny())
	s.RemoveReader(gone)
	ctx := establish(t, s)
	_, rc := s.ListReaders(ctx, nil, nil)
	want(t, winscard.ErrNoReadersAvailable, rc)
	s.Inject(virtual.UnplugReader(), virtual.OnAny())
	establish(t, s) // has no reader
}

func ExampleParseFault() {
	fault, err := virtual.ParseFault("delay 5s apdu 00B0 nth 2 always")
	fmt.Println(fault, err)
	_, err = virtual.ParseFault("delay long")
	fmt.Println(err)
	// Output:
	// delay 5s apdu 00B0 nth 2 always <nil>
	// virtual: fault "delay long": delay: "long" is no time such as 5s
}
