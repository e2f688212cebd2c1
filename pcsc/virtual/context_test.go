package virtual_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestContexts(t *testing.T) {
	s := virtual.New()
	for scope, code := range map[uint32]winscard.Code{
		0: winscard.Success, 1: winscard.Success, 2: winscard.Success, 3: winscard.Success,
		4: winscard.ErrInvalidValue, 0xFFFFFFFF: winscard.ErrInvalidValue,
	} {
		ctx, rc := s.EstablishContext(scope)
		want(t, code, rc, "scope %d", scope)
		if rc != winscard.Success {
			require.Zero(t, ctx)
			continue
		}
		ok(t, s.IsValidContext(ctx))
		ok(t, s.FreeMemory(ctx, 0))
		ok(t, s.Cancel(ctx))
		ok(t, s.ReleaseContext(ctx))
		for name, rc := range map[string]winscard.Code{
			"ReleaseContext": s.ReleaseContext(ctx),
			"IsValidContext": s.IsValidContext(ctx),
			"FreeMemory":     s.FreeMemory(ctx, 0),
			"Cancel":         s.Cancel(ctx),
		} {
			want(t, winscard.ErrInvalidHandle, rc, name)
		}
	}
	want(t, winscard.ErrUnsupportedFunction, s.SetTimeout(0, 0))
	want(t, winscard.ErrUnsupportedFunction, s.CancelTransaction(0))
	require.NotEmpty(t, s.StringifyError(winscard.ErrNoSmartcard))
}

func TestContextLimit(t *testing.T) {
	s := virtual.New()
	seen := map[winscard.Context]bool{}
	for range 200 {
		ctx := establish(t, s)
		require.False(t, seen[ctx])
		seen[ctx] = true
	}
	_, rc := s.EstablishContext(0)
	want(t, winscard.ErrCommError, rc)
	for ctx := range seen {
		ok(t, s.ReleaseContext(ctx))
	}
	establish(t, s)
}

func TestConnectionLimit(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	ctx := establish(t, s)
	seen := map[winscard.Card]bool{}
	for range 200 {
		card, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
		ok(t, rc)
		require.False(t, seen[card])
		seen[card] = true
	}
	_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
	want(t, winscard.ErrInternalError, rc)
	_, _, rc = s.Connect(ctx, s.AddReader("Other").Name(), direct, 0)
	want(t, winscard.ErrNoMemory, rc)
	ok(t, s.ReleaseContext(ctx))
	connect(t, s, r, exclusive)
}

func TestListBuffers(t *testing.T) {
	s, _ := setup(t, nil)
	ctx := establish(t, s)
	for name, test := range map[string]struct {
		call func([]byte) (int, winscard.Code)
		want string
	}{
		"ListReaders":      {func(b []byte) (int, winscard.Code) { return s.ListReaders(ctx, nil, b) }, "Test Reader 00 00\x00\x00"},
		"ListReaderGroups": {func(b []byte) (int, winscard.Code) { return s.ListReaderGroups(ctx, b) }, "SCard$DefaultReaders\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			size := len(test.want)
			for room, code := range map[int]winscard.Code{
				0: winscard.Success, 1: winscard.ErrInsufficientBuffer, size - 1: winscard.ErrInsufficientBuffer,
				size: winscard.Success, size + 10: winscard.Success,
			} {
				buf := make([]byte, room)
				n, rc := test.call(buf)
				want(t, code, rc, "room for %d", room)
				require.Equal(t, size, n)
				if room >= size {
					require.Equal(t, test.want, string(buf[:n]))
				}
			}
		})
	}
	for _, groups := range [][]string{{}, {""}, {"no such group"}, {winscard.AllReaders, "x"}} {
		_, rc := s.ListReaders(ctx, groups, nil)
		ok(t, rc)
	}
	_, rc := s.ListReaders(ctx, []string{"a\x00"}, nil)
	want(t, winscard.ErrInvalidParameter, rc)
	_, rc = s.ListReaders(ctx+1, nil, nil)
	want(t, winscard.ErrInvalidHandle, rc)
	_, rc = s.ListReaderGroups(ctx+1, nil)
	want(t, winscard.ErrInvalidHandle, rc)
}

func TestReleaseContext(t *testing.T) {
	for name, test := range map[string]struct {
		mode   uint32
		begin  bool
		resets bool
	}{
		"shared":         {shared, false, false},
		"in transaction": {shared, true, true},
		"direct":         {direct, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := setup(t, echo(atrBoth))
			_, observer := connect(t, s, r, shared)
			ctx, card := connect(t, s, r, test.mode)
			if test.begin {
				ok(t, s.BeginTransaction(card))
			}
			ok(t, s.ReleaseContext(ctx))
			want(t, winscard.ErrInvalidHandle, status(s, card))
			code := winscard.Success
			if test.resets {
				code = winscard.ErrResetCard
			}
			want(t, code, status(s, observer))
			_, rc := s.Reconnect(observer, exclusive, anyT, leave)
			ok(t, rc, "nobody else is connected")
		})
	}
	t.Run("exclusive", func(t *testing.T) {
		demo := virtual.NewDemoCard()
		s, r := setup(t, demo)
		ctx, card := connect(t, s, r, exclusive)
		verifyDemo(t, s, card)
		ok(t, s.ReleaseContext(ctx))
		_, card = connect(t, s, r, shared)
		require.Equal(t, "6985", demoCommand(t, s, card, "002000010431323334"), "the card was reset")
	})
}

func TestReleaseContextWakesItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		ctx, card := connect(t, s, r, shared)
		_, owner := connect(t, s, r, shared)
		ok(t, s.BeginTransaction(owner))
		waiting := async(func() winscard.Code {
			return s.GetStatusChange(ctx, winscard.Infinite, []winscard.ReaderState{{Reader: virtualPnP}})
		})
		begin := async(func() winscard.Code { return s.BeginTransaction(card) })
		again := async(func() winscard.Code {
			_, _, rc := s.Connect(ctx, r.Name(), shared, anyT)
			return rc
		})
		synctest.Wait()
		ok(t, s.ReleaseContext(ctx))
		want(t, winscard.ErrCancelled, <-waiting)
		want(t, winscard.ErrInvalidHandle, <-begin)
		want(t, winscard.ErrInvalidHandle, <-again)
	})
}
