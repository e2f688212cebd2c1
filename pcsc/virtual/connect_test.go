package virtual_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestConnectArguments(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	empty := s.AddReader("Empty").Name()
	name := r.Name()
	ctx := establish(t, s)
	for _, test := range []struct {
		ctx             winscard.Context
		name            string
		mode, protocols uint32
		want            winscard.Code
	}{
		{ctx, name, shared, anyT, winscard.Success},
		{ctx, name, direct, 0, winscard.Success},
		{ctx, empty, direct, anyT, winscard.Success},
		{ctx, empty, shared, anyT, winscard.ErrNoSmartcard},
		{ctx, empty, exclusive, raw, winscard.ErrNoSmartcard},
		{ctx + 1, name, shared, anyT, winscard.ErrInvalidHandle},
		{0, name, shared, anyT, winscard.ErrInvalidHandle},
		{ctx, "", shared, anyT, winscard.ErrUnknownReader},
		{ctx, "Test Reader", shared, anyT, winscard.ErrUnknownReader},
		{ctx, strings.ToUpper(name), shared, anyT, winscard.ErrUnknownReader},
		{ctx, virtualPnP, direct, 0, winscard.ErrUnknownReader},
		{ctx, strings.Repeat("x", 128), shared, anyT, winscard.ErrUnknownReader},
		{ctx, strings.Repeat("x", 129), shared, anyT, winscard.ErrInvalidValue},
		{0, strings.Repeat("x", 129), shared, anyT, winscard.ErrInvalidValue},
		{0, name + "\x00", shared, anyT, winscard.ErrInvalidParameter},
		{ctx, name, 0, anyT, winscard.ErrInvalidValue},
		{ctx, name, 4, anyT, winscard.ErrInvalidValue},
		{ctx, name, 4, 0, winscard.ErrProtoMismatch},
		{ctx, "nope", 4, anyT, winscard.ErrInvalidValue},
		{ctx, name, shared, 0, winscard.ErrProtoMismatch},
		{ctx, name, shared, 8, winscard.ErrProtoMismatch},
		{ctx, name, shared, 0xFFFF0000 &^ uint32(winscard.ProtocolRaw), winscard.ErrProtoMismatch},
	} {
		card, _, rc := s.Connect(test.ctx, test.name, test.mode, test.protocols)
		want(t, test.want, rc, "%+v", test)
		if rc != winscard.Success {
			require.Zero(t, card)
			continue
		}
		ok(t, s.Disconnect(card, reset))
	}
}

func TestProtocols(t *testing.T) {
	const mismatch = 0xFFFF
	for _, test := range []struct {
		name                  string
		atr                   []byte
		t0, t1, any, old, raw uint32 // what a client gets that asks for it
	}{
		{"none named is T=0", atrT0, t0, mismatch, t0, t0, raw},
		{"T=1", atrT1, mismatch, t1, t1, t1, raw},
		{"both", atrBoth, t0, t1, t1, t1, raw},
		{"inverse convention", []byte{0x3F, 0x00}, t0, mismatch, t0, t0, raw},
		{"T=0 and T=15", []byte{0x3B, 0x80, 0x80, 0x1F, 0x40}, t0, mismatch, t0, t0, raw},
		{"T=15 first", []byte{0x3B, 0x80, 0x0F}, mismatch, mismatch, mismatch, mismatch, raw},
		{"T=2", []byte{0x3B, 0x80, 0x02}, mismatch, mismatch, mismatch, mismatch, raw},
		{"TA2 fixes T=1", []byte{0x3B, 0x80, 0x90, 0x01, 0x00}, mismatch, t1, t1, t1, raw},
		{"TA2 fixes T=0", []byte{0x3B, 0x80, 0x11, 0x00}, t0, mismatch, t0, t0, raw},
		{"TA2 fixes T=3", []byte{0x3B, 0x80, 0x11, 0x03}, mismatch, mismatch, mismatch, mismatch, raw},
		{"TB and TC are skipped", []byte{0x3B, 0xF0, 0x11, 0x22, 0x33, 0x01}, mismatch, t1, t1, t1, raw},
		{"cut short", []byte{0x3B, 0x80}, t0, mismatch, t0, t0, raw},
		{"no convention", []byte{0x00, 0x00}, mismatch, mismatch, mismatch, mismatch, raw},
		{"one byte", []byte{0x3B}, mismatch, mismatch, mismatch, mismatch, raw},
		{"endless", append([]byte{0x3B}, []byte(strings.Repeat("\xF1", 32))...), mismatch, mismatch, mismatch, mismatch, raw},
	} {
		t.Run(test.name, func(t *testing.T) {
			for asked, active := range map[uint32]uint32{
				t0: test.t0, t1: test.t1, anyT: test.any, 0x1000: test.old, raw: test.raw, raw | anyT: test.raw,
			} {
				s, r := setup(t, echo(test.atr))
				card, got, rc := s.Connect(establish(t, s), r.Name(), shared, asked)
				if active == mismatch {
					want(t, winscard.ErrProtoMismatch, rc, "asked for %#x", asked)
					continue
				}
				ok(t, rc, "asked for %#x", asked)
				require.Equal(t, active, got)
				_, _, got, _, rc = s.Status(card, nil, nil)
				ok(t, rc)
				require.Equal(t, active, got)
			}
		})
	}
}

func TestProtocolIsShared(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	ctx := establish(t, s)
	first, _, rc := s.Connect(ctx, r.Name(), shared, t0)
	ok(t, rc)
	_, _, rc = s.Connect(ctx, r.Name(), shared, t1)
	want(t, winscard.ErrProtoMismatch, rc)
	_, _, rc = s.Connect(ctx, r.Name(), shared, 0x1000)
	want(t, winscard.ErrProtoMismatch, rc, "the old mask matches no protocol in use")
	observer, active, rc := s.Connect(ctx, r.Name(), direct, 0)
	ok(t, rc)
	require.Equal(t, t0, active)
	ok(t, s.Disconnect(first, leave))
	_, _, rc = s.Connect(ctx, r.Name(), shared, t1)
	want(t, winscard.ErrProtoMismatch, rc, "it stays")
	_, rc = s.Reconnect(observer, shared, t1, leave)
	want(t, winscard.ErrProtoMismatch, rc)
	active, rc = s.Reconnect(observer, shared, t1, reset)
	ok(t, rc)
	require.Equal(t, t1, active)
}

func TestSharing(t *testing.T) {
	for _, test := range []struct {
		first, second uint32
		want          winscard.Code
	}{
		{exclusive, exclusive, winscard.ErrSharingViolation},
		{exclusive, shared, winscard.ErrSharingViolation},
		{exclusive, direct, winscard.ErrSharingViolation},
		{shared, exclusive, winscard.ErrSharingViolation},
		{shared, shared, winscard.Success},
		{shared, direct, winscard.Success},
		{direct, exclusive, winscard.ErrSharingViolation},
		{direct, shared, winscard.Success},
		{direct, direct, winscard.Success},
	} {
		t.Run(fmt.Sprint(test.first, test.second), func(t *testing.T) {
			s, r := setup(t, echo(atrBoth))
			_, first := connect(t, s, r, test.first)
			ctx := establish(t, s)
			second, _, rc := s.Connect(ctx, r.Name(), test.second, anyT)
			want(t, test.want, rc)
			if rc == winscard.Success {
				ok(t, s.Disconnect(second, leave))
			}
			ok(t, s.Disconnect(first, leave))
			connect(t, s, r, exclusive)
		})
	}
}

func TestReconnectArguments(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, card := connect(t, s, r, shared)
	for _, test := range []struct {
		card                  winscard.Card
		mode, protocols, init uint32
		want                  winscard.Code
	}{
		{card, shared, anyT, leave, winscard.Success},
		{card, direct, 0, leave, winscard.Success},
		{card, exclusive, t1, leave, winscard.Success},
		{card + 1, 9, 0, 9, winscard.ErrInvalidHandle},
		{0, shared, anyT, leave, winscard.ErrInvalidHandle},
		{card, shared, anyT, eject, winscard.ErrInvalidValue},
		{card, shared, anyT, 4, winscard.ErrInvalidValue},
		{card, 0, 0, leave, winscard.ErrInvalidValue},
		{card, 4, anyT, leave, winscard.ErrInvalidValue},
		{card, shared, 0, leave, winscard.ErrProtoMismatch},
		{card, exclusive, 8, leave, winscard.ErrProtoMismatch},
	} {
		_, rc := s.Reconnect(test.card, test.mode, test.protocols, test.init)
		want(t, test.want, rc, "%+v", test)
	}
	for _, disposition := range []uint32{4, 0xFFFFFFFF} {
		want(t, winscard.ErrInvalidValue, s.Disconnect(card, disposition))
		want(t, winscard.ErrInvalidHandle, s.Disconnect(card+1, disposition))
		want(t, winscard.ErrInvalidValue, s.EndTransaction(card, disposition))
		want(t, winscard.ErrInvalidHandle, s.EndTransaction(card+1, disposition))
	}
}

func TestResetIsSeenByOthers(t *testing.T) {
	for name, act := range map[string]func(*testing.T, *virtual.Service, winscard.Card){
		"Disconnect reset":   func(t *testing.T, s *virtual.Service, c winscard.Card) { ok(t, s.Disconnect(c, reset)) },
		"Disconnect unpower": func(t *testing.T, s *virtual.Service, c winscard.Card) { ok(t, s.Disconnect(c, unpower)) },
		"Reconnect reset": func(t *testing.T, s *virtual.Service, c winscard.Card) {
			_, rc := s.Reconnect(c, shared, anyT, reset)
			ok(t, rc)
			ok(t, transmit(s, c), "its author need not be told")
		},
		"Reconnect unpower": func(t *testing.T, s *virtual.Service, c winscard.Card) {
			_, rc := s.Reconnect(c, shared, anyT, unpower)
			ok(t, rc)
		},
		"EndTransaction reset": func(t *testing.T, s *virtual.Service, c winscard.Card) {
			ok(t, s.BeginTransaction(c))
			ok(t, s.EndTransaction(c, reset))
			want(t, winscard.ErrResetCard, transmit(s, c), "its author too")
		},
		"EndTransaction unpower": func(t *testing.T, s *virtual.Service, c winscard.Card) {
			ok(t, s.BeginTransaction(c))
			ok(t, s.EndTransaction(c, unpower))
		},
		"EndTransaction without Begin": func(t *testing.T, s *virtual.Service, c winscard.Card) {
			want(t, winscard.ErrNotTransacted, s.EndTransaction(c, reset))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := setup(t, virtual.NewDemoCard())
			_, other := connect(t, s, r, shared)
			verifyDemo(t, s, other)
			_, card := connect(t, s, r, shared)
			before := look(t, s, r)
			act(t, s, card)
			require.Equal(t, before, look(t, s, r), "a reset is no event")

			for range 2 {
				want(t, winscard.ErrResetCard, transmit(s, other))
				_, rc := s.Transmit(other, t1, apdu, make([]byte, 10))
				want(t, winscard.ErrResetCard, rc)
				want(t, winscard.ErrResetCard, s.BeginTransaction(other))
				want(t, winscard.ErrResetCard, s.EndTransaction(other, leave))
				_, rc = s.GetAttrib(other, uint32(winscard.AttrATRString), nil)
				want(t, winscard.ErrResetCard, rc)
				want(t, winscard.ErrResetCard, s.SetAttrib(other, 1, []byte{1}))
				_, rc = s.Control(other, 1, nil, nil)
				want(t, winscard.ErrUnsupportedFeature, rc, "is for the reader")
			}
			active, rc := s.Reconnect(other, shared, anyT, leave)
			ok(t, rc)
			require.Equal(t, t1, active)
			require.Equal(t, "6985", demoCommand(t, s, other, "002000010431323334"), "the selection is gone")
		})
	}
}

func TestLeaveAndEjectLeaveTheCard(t *testing.T) {
	for _, disposition := range []uint32{leave, eject} {
		s, r := setup(t, virtual.NewDemoCard())
		_, other := connect(t, s, r, shared)
		verifyDemo(t, s, other)
		_, card := connect(t, s, r, shared)
		ok(t, s.BeginTransaction(card))
		code := winscard.Success
		if disposition == eject {
			code = winscard.ErrUnsupportedFeature
		}
		want(t, code, s.EndTransaction(card, disposition))
		ok(t, s.BeginTransaction(other), "the transaction is over in any case")
		ok(t, s.EndTransaction(other, leave))
		ok(t, s.Disconnect(card, disposition))
		require.Equal(t, "9000", demoCommand(t, s, other, "00200001"), "still verified")
	}
}

func TestEject(t *testing.T) {
	for name, act := range map[string]func(*testing.T, *virtual.Service, winscard.Card){
		"Disconnect": func(t *testing.T, s *virtual.Service, c winscard.Card) { ok(t, s.Disconnect(c, eject)) },
		"EndTransaction": func(t *testing.T, s *virtual.Service, c winscard.Card) {
			ok(t, s.BeginTransaction(c))
			ok(t, s.EndTransaction(c, eject))
			want(t, winscard.ErrRemovedCard, status(s, c))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := setup(t, echo(atrBoth))
			r.SetEject(true)
			_, other := connect(t, s, r, shared)
			_, card := connect(t, s, r, shared)
			act(t, s, card)
			require.Nil(t, r.Card())
			want(t, winscard.ErrRemovedCard, status(s, other))
		})
	}
}

func TestRemoval(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, card := connect(t, s, r, shared)
	_, other := connect(t, s, r, direct)
	ok(t, s.BeginTransaction(card))
	r.Remove()
	r.Remove()
	for _, h := range []winscard.Card{card, other} {
		for range 2 {
			want(t, winscard.ErrRemovedCard, status(s, h))
			_, rc := s.Transmit(h, t1, apdu, make([]byte, 10))
			want(t, winscard.ErrRemovedCard, rc)
			want(t, winscard.ErrRemovedCard, s.BeginTransaction(h))
			want(t, winscard.ErrRemovedCard, s.EndTransaction(h, leave))
		}
		for _, mode := range []uint32{shared, direct} {
			_, rc := s.Reconnect(h, mode, anyT, leave)
			want(t, winscard.ErrNoSmartcard, rc)
		}
	}
	r.Insert(echo(atrT0))
	want(t, winscard.ErrRemovedCard, status(s, card), "until it reconnects")
	active, rc := s.Reconnect(card, shared, anyT, leave)
	ok(t, rc)
	require.Equal(t, t0, active)
	atr := make([]byte, 33)
	_, state, _, n, rc := s.Status(card, nil, atr)
	ok(t, rc)
	require.Equal(t, atrT0, atr[:n])
	require.Equal(t, 3<<16|ready, state)
	ok(t, transmit(s, card))

	// A reset of a card that is not there is told as a reset.
	r.Remove()
	_, rc = s.Reconnect(card, shared, anyT, reset)
	want(t, winscard.ErrNoSmartcard, rc)
	want(t, winscard.ErrResetCard, status(s, card))
	ok(t, s.Disconnect(card, reset))
	ok(t, s.Disconnect(other, unpower))
	require.Equal(t, uint32(winscard.StateChanged|winscard.StateEmpty), look(t, s, r).EventState&0xFFFF)
}

func TestInsertReplaces(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, card := connect(t, s, r, shared)
	second := echo(atrT0)
	r.Insert(second)
	require.Equal(t, second, r.Card())
	want(t, winscard.ErrRemovedCard, status(s, card))
	require.Equal(t, uint32(3), look(t, s, r).EventState>>16)
	r.Insert(nil)
	require.Nil(t, r.Card())
	require.Equal(t, uint32(4), look(t, s, r).EventState>>16)
}

func TestMuteCard(t *testing.T) {
	for name, atr := range map[string][]byte{"empty": {}, "too long": make([]byte, 34)} {
		t.Run(name, func(t *testing.T) {
			s, r := setup(t, echo(atr))
			state := look(t, s, r)
			require.Equal(t, 1<<16|uint32(winscard.StateChanged|winscard.StatePresent|winscard.StateMute), state.EventState)
			require.Zero(t, state.ATRLen)
			ctx := establish(t, s)
			_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
			want(t, winscard.ErrUnpoweredCard, rc)
			card, active, rc := s.Connect(ctx, r.Name(), direct, 0)
			ok(t, rc)
			require.Zero(t, active)
			for _, init := range []uint32{leave, reset, unpower} {
				_, rc = s.Reconnect(card, shared, anyT, init)
				want(t, winscard.ErrUnresponsiveCard, rc)
			}
		})
	}
}

func TestDirectWithoutCard(t *testing.T) {
	s, r := setup(t, nil)
	_, card := connect(t, s, r, direct)
	_, state, protocol, atrLen, rc := s.Status(card, nil, nil)
	ok(t, rc)
	require.Equal(t, uint32(winscard.CardAbsent), state)
	require.Zero(t, protocol)
	require.Zero(t, atrLen)
	_, rc = s.Transmit(card, t0, apdu, make([]byte, 10))
	want(t, winscard.ErrNoSmartcard, rc)
	_, rc = s.Transmit(card, raw, apdu, make([]byte, 10))
	want(t, winscard.ErrNotTransacted, rc)
	ok(t, s.BeginTransaction(card))
	ok(t, s.EndTransaction(card, leave))
	ok(t, s.BeginTransaction(card))
	want(t, winscard.ErrRemovedCard, s.EndTransaction(card, reset))
	want(t, winscard.ErrResetCard, status(s, card))
	require.Zero(t, look(t, s, r).EventState&uint32(winscard.StateInUse), "in use is for cards")
}

func TestReconnectToExclusiveWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		_, card := connect(t, s, r, shared)
		_, other := connect(t, s, r, shared)
		done := async(func() winscard.Code {
			_, rc := s.Reconnect(card, exclusive, anyT, reset)
			return rc
		})
		synctest.Wait()
		pending(t, done)
		want(t, winscard.ErrResetCard, status(s, other))
		ok(t, s.Disconnect(other, leave))
		ok(t, <-done)
		_, _, rc := s.Connect(establish(t, s), r.Name(), shared, anyT)
		want(t, winscard.ErrSharingViolation, rc)
	})
}

func TestExclusiveToSharedKeepsTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		_, card := connect(t, s, r, exclusive)
		want(t, winscard.ErrNotTransacted, s.EndTransaction(card, leave))
		ok(t, s.BeginTransaction(card))
		ok(t, s.EndTransaction(card, leave))
		_, rc := s.Reconnect(card, shared, anyT, leave)
		ok(t, rc)
		ctx := establish(t, s)
		done := async(func() winscard.Code {
			_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
			return rc
		})
		synctest.Wait()
		pending(t, done)
		ok(t, s.EndTransaction(card, leave))
		ok(t, <-done)
	})
}

// TestExclusiveReconnectWithoutCard: a Reconnect that waits for the other connections to go returns when the card goes.
func TestExclusiveReconnectWithoutCard(t *testing.T) {
	for name, init := range map[string]uint32{"leave": leave, "reset": reset} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := setup(t, echo(atrBoth))
				_, h := connect(t, s, r, shared)
				connect(t, s, r, shared)
				done := async(func() winscard.Code {
					_, rc := s.Reconnect(h, exclusive, anyT, init)
					return rc
				})
				synctest.Wait()
				pending(t, done)
				r.Remove()
				want(t, winscard.ErrNoSmartcard, <-done)
			})
		})
	}
}

// TestConnectWaitsForExclusive: a Connect that waits for the end of a transaction goes on to wait if the other
// connection becomes exclusive, and does not get the sharing violation that a new one gets.
func TestConnectWaitsForExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		_, h := connect(t, s, r, shared)
		ok(t, s.BeginTransaction(h))
		ctx := establish(t, s)
		done := async(func() winscard.Code {
			_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
			return rc
		})
		synctest.Wait()
		_, rc := s.Reconnect(h, exclusive, anyT, leave)
		ok(t, rc)
		synctest.Wait()
		pending(t, done)
		ok(t, s.Disconnect(h, leave))
		ok(t, <-done)
	})
}

// TestRawWithoutCard: the protocol of a reader without a card is forgotten when the card would have been reset.
func TestRawWithoutCard(t *testing.T) {
	s, r := setup(t, nil)
	ctx := establish(t, s)
	h, protocol, rc := s.Connect(ctx, r.Name(), direct, raw)
	ok(t, rc)
	require.Equal(t, raw, protocol)
	ok(t, s.Disconnect(h, unpower))
	_, protocol, rc = s.Connect(ctx, r.Name(), direct, 0)
	ok(t, rc)
	require.Zero(t, protocol)
}

// TestNoAnswerAfterLostPower: pcscd does not notice that a card which lost its power is mute when it gets power again.
func TestNoAnswerAfterLostPower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := atrT0
		s, r := setup(t, atrCard{&answer})
		answer = nil
		time.Sleep(5 * time.Second)
		ctx := establish(t, s)
		_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
		want(t, winscard.ErrProtoMismatch, rc)
		require.Zero(t, look(t, s, r).ATRLen)
	})
}

type atrCard struct{ atr *[]byte }

func (c atrCard) ATR() []byte                     { return *c.atr }
func (c atrCard) Transmit([]byte) ([]byte, error) { return nil, errors.ErrUnsupported }
