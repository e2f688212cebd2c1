package virtual_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func list(t testing.TB, s *virtual.Service) []string {
	t.Helper()
	ctx := establish(t, s)
	n, rc := s.ListReaders(ctx, nil, nil)
	if rc == winscard.ErrNoReadersAvailable {
		return nil
	}
	ok(t, rc)
	buf := make([]byte, n)
	n, rc = s.ListReaders(ctx, nil, buf)
	ok(t, rc)
	require.Len(t, buf, n)
	require.True(t, strings.HasSuffix(string(buf), "\x00\x00"))
	return strings.Split(string(buf[:n-2]), "\x00")
}

func TestReaderNames(t *testing.T) {
	s := virtual.New()
	require.Empty(t, list(t, s))
	a := s.AddReader("Reader A")
	b := s.AddReader("Reader B")
	c := s.AddReader("Reader A")
	require.Equal(t, "Reader A 00 00", a.Name())
	require.Equal(t, "Reader B 01 00", b.Name())
	require.Equal(t, "Reader A 02 00", c.Name())
	require.Equal(t, []*virtual.Reader{a, b, c}, s.Readers())

	s.RemoveReader(b)
	s.RemoveReader(b)
	s.RemoveReader(nil)
	s.RemoveReader(&virtual.Reader{})
	virtual.New().RemoveReader(a)
	require.False(t, b.Connected())
	require.True(t, a.Connected())
	require.Equal(t, []string{"Reader A 00 00", "Reader A 02 00"}, list(t, s))

	require.Equal(t, strings.Repeat("x", 121)+" 01 00", s.AddReader(strings.Repeat("x", 200)).Name(), "in the gap")
	require.Equal(t, "cut 03 00", s.AddReader("cut\x00off").Name())
	require.Equal(t, " 04 00", s.AddReader("").Name())
	require.Equal(t, []string{
		"Reader A 00 00", strings.Repeat("x", 121) + " 01 00", "Reader A 02 00", "cut 03 00", " 04 00",
	}, list(t, s))
}

func TestSixteenReaders(t *testing.T) {
	s := virtual.New()
	for range 16 {
		require.True(t, s.AddReader("R").Connected())
	}
	extra := s.AddReader("R")
	require.False(t, extra.Connected())
	extra.Insert(echo(atrBoth))
	extra.Remove()
	s.RemoveReader(extra)
	names := list(t, s)
	require.Len(t, names, 16)
	require.Equal(t, "R 0F 00", names[15])
}

// A Reader that no service made must not crash the program.
func TestZeroReader(t *testing.T) {
	var r virtual.Reader
	r.Insert(echo(nil))
	r.Remove()
	r.SetAttribute(1, nil)
	r.SetController(nil)
	r.SetEject(true)
	require.Nil(t, r.Card())
	require.False(t, r.Connected())
	require.Empty(t, r.Name())
}

func TestZeroService(t *testing.T) {
	var s virtual.Service
	_, rc := s.EstablishContext(0)
	want(t, winscard.ErrNoService, rc)
	s.Start()
	establish(t, &s)
	connect(t, &s, s.AddReader("R"), direct)
}

func TestRemoveReader(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, card := connect(t, s, r, shared)
	counter := look(t, s, r).EventState >> 16
	s.RemoveReader(r)
	require.Nil(t, r.Card())

	// The service has forgotten the connection, but the client looks for the name first.
	want(t, winscard.ErrReaderUnavailable, status(s, card))
	_, rc := s.Transmit(card, t1, apdu, make([]byte, 10))
	want(t, winscard.ErrInvalidValue, rc)
	want(t, winscard.ErrInvalidValue, s.BeginTransaction(card))
	want(t, winscard.ErrInvalidValue, s.EndTransaction(card, leave))
	_, rc = s.Reconnect(card, shared, anyT, leave)
	want(t, winscard.ErrInvalidValue, rc)
	_, rc = s.GetAttrib(card, uint32(winscard.AttrATRString), nil)
	want(t, winscard.ErrInvalidValue, rc)
	want(t, winscard.ErrInvalidValue, s.SetAttrib(card, 1, []byte{1}))
	_, rc = s.Control(card, 1, nil, nil)
	want(t, winscard.ErrInvalidValue, rc)

	again := s.AddReader("Test Reader")
	want(t, winscard.ErrInvalidValue, status(s, card), "another reader of the same name")
	require.Equal(t, counter, look(t, s, again).EventState>>16, "the place goes on counting")
	ok(t, s.Disconnect(card, reset))
	want(t, winscard.ErrInvalidHandle, s.Disconnect(card, reset))
}

func TestStopAndStart(t *testing.T) {
	demo := virtual.NewDemoCard()
	s, r := setup(t, demo)
	ctx, card := connect(t, s, r, shared)
	forgotten := establish(t, s)
	s.Stop()
	s.Stop()

	_, rc := s.EstablishContext(0)
	want(t, winscard.ErrNoService, rc)
	check := func() {
		t.Helper()
		want(t, winscard.ErrNoService, transmit(s, card))
		want(t, winscard.ErrNoService, s.BeginTransaction(card))
		want(t, winscard.ErrNoService, s.Disconnect(card, leave))
		_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
		want(t, winscard.ErrNoService, rc)
		_, rc = s.ListReaders(ctx, nil, nil)
		want(t, winscard.ErrNoService, rc)
		want(t, winscard.ErrNoService, s.GetStatusChange(ctx, 0, []winscard.ReaderState{{Reader: r.Name()}}))
		// These ask the library alone.
		ok(t, s.IsValidContext(ctx))
		ok(t, s.Cancel(ctx))
		ok(t, s.FreeMemory(ctx, 0))
		_, rc = s.ListReaderGroups(ctx, nil)
		ok(t, rc)
	}
	check()
	other := s.AddReader("Plugged in meanwhile")
	other.Insert(echo(atrT0))
	s.Start()
	s.Start()
	check()

	want(t, winscard.ErrNoService, s.ReleaseContext(ctx))
	want(t, winscard.ErrInvalidHandle, s.ReleaseContext(ctx))
	want(t, winscard.ErrInvalidHandle, s.IsValidContext(ctx))
	want(t, winscard.ErrInvalidHandle, status(s, card))
	ok(t, s.IsValidContext(forgotten))

	for _, reader := range []*virtual.Reader{r, other} {
		state := look(t, s, reader)
		require.Equal(t, uint32(winscard.StateChanged|winscard.StatePresent), state.EventState, "counted anew")
		_, card := connect(t, s, reader, exclusive)
		ok(t, transmit(s, card))
	}
}

func TestStopWakesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := newSlowCard()
		s, r := setup(t, card)
		quiet := s.AddReader("Quiet")
		quiet.Insert(echo(atrBoth))
		waiting := establish(t, s)
		_, owner := connect(t, s, r, shared)
		_, other := connect(t, s, r, shared)
		_, third := connect(t, s, r, shared)
		late := establish(t, s)
		ok(t, s.BeginTransaction(owner))
		busy := async(func() winscard.Code { return transmit(s, owner) })
		calls := map[string]struct {
			done <-chan winscard.Code
			want winscard.Code
		}{
			"GetStatusChange": {async(func() winscard.Code {
				return s.GetStatusChange(waiting, winscard.Infinite, []winscard.ReaderState{
					{Reader: quiet.Name(), CurrentState: uint32(winscard.StatePresent)},
				})
			}), winscard.ErrCommError},
			"BeginTransaction": {async(func() winscard.Code { return s.BeginTransaction(other) }), winscard.ErrNoService},
			"Transmit":         {async(func() winscard.Code { return transmit(s, other) }), winscard.ErrNoService},
			"Status":           {async(func() winscard.Code { return status(s, other) }), winscard.ErrNoService},
			"Reconnect": {async(func() winscard.Code {
				_, rc := s.Reconnect(other, shared, anyT, leave)
				return rc
			}), winscard.ErrNoService},
			"Disconnect": {async(func() winscard.Code { return s.Disconnect(third, reset) }), winscard.ErrCommError},
			"Connect": {async(func() winscard.Code {
				_, _, rc := s.Connect(late, r.Name(), shared, anyT)
				return rc
			}), winscard.ErrCommError},
		}
		synctest.Wait()
		for _, c := range calls {
			pending(t, c.done)
		}
		s.Stop()
		for name, c := range calls {
			want(t, c.want, <-c.done, name)
		}
		synctest.Wait()
		pending(t, busy) // the card itself can't be interrupted
		card.release <- struct{}{}
		want(t, winscard.ErrCommError, <-busy)
	})
}
