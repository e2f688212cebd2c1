package virtual_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// In each case, other's call waits for owner's transaction, which end ends.
func TestTransactionExcludes(t *testing.T) {
	calls := map[string]func(s *virtual.Service, r *virtual.Reader, other winscard.Card) winscard.Code{
		"Transmit": func(s *virtual.Service, _ *virtual.Reader, other winscard.Card) winscard.Code {
			_, rc := s.Transmit(other, t1, apdu, make([]byte, 258))
			return rc
		},
		"BeginTransaction": func(s *virtual.Service, _ *virtual.Reader, other winscard.Card) winscard.Code {
			return s.BeginTransaction(other)
		},
		"Status": func(s *virtual.Service, _ *virtual.Reader, other winscard.Card) winscard.Code {
			return status(s, other)
		},
		"Reconnect": func(s *virtual.Service, _ *virtual.Reader, other winscard.Card) winscard.Code {
			_, rc := s.Reconnect(other, shared, anyT, leave)
			return rc
		},
	}
	ends := map[string]struct {
		end  func(*testing.T, *virtual.Service, *virtual.Reader, winscard.Context, winscard.Card)
		want winscard.Code
	}{
		"EndTransaction": {func(t *testing.T, s *virtual.Service, _ *virtual.Reader, _ winscard.Context, owner winscard.Card) {
			ok(t, s.EndTransaction(owner, leave))
		}, winscard.Success},
		"EndTransaction reset": {func(t *testing.T, s *virtual.Service, _ *virtual.Reader, _ winscard.Context, owner winscard.Card) {
			ok(t, s.EndTransaction(owner, reset))
		}, winscard.ErrResetCard},
		"Disconnect": {func(t *testing.T, s *virtual.Service, _ *virtual.Reader, _ winscard.Context, owner winscard.Card) {
			ok(t, s.Disconnect(owner, leave))
		}, winscard.Success},
		"ReleaseContext": {func(t *testing.T, s *virtual.Service, _ *virtual.Reader, ctx winscard.Context, _ winscard.Card) {
			ok(t, s.ReleaseContext(ctx))
		}, winscard.ErrResetCard},
		"removal": {func(_ *testing.T, _ *virtual.Service, r *virtual.Reader, _ winscard.Context, _ winscard.Card) {
			r.Remove()
		}, winscard.ErrRemovedCard},
		"no reader": {func(_ *testing.T, s *virtual.Service, r *virtual.Reader, _ winscard.Context, _ winscard.Card) {
			s.RemoveReader(r)
		}, winscard.ErrInvalidValue},
	}
	for name, call := range calls {
		for by, e := range ends {
			t.Run(name+" until "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, r := setup(t, echo(atrBoth))
					ctx, owner := connect(t, s, r, shared)
					_, other := connect(t, s, r, shared)
					ok(t, s.BeginTransaction(owner))
					done := async(func() winscard.Code { return call(s, r, other) })
					synctest.Wait()
					pending(t, done)
					ok(t, transmit(s, owner))
					synctest.Wait()
					pending(t, done)
					e.end(t, s, r, ctx, owner)
					code := e.want
					switch {
					case name == "Reconnect" && code == winscard.ErrResetCard:
						code = winscard.Success
					case name == "Reconnect" && code == winscard.ErrRemovedCard:
						code = winscard.ErrNoSmartcard
					case name == "Status" && code == winscard.ErrInvalidValue:
						code = winscard.ErrReaderUnavailable
					}
					want(t, code, <-done)
				})
			})
		}
	}
}

func TestTransactionExcludesConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		_, owner := connect(t, s, r, shared)
		ok(t, s.BeginTransaction(owner))
		for _, mode := range []uint32{shared, direct} {
			ctx := establish(t, s)
			done := async(func() winscard.Code {
				_, _, rc := s.Connect(ctx, r.Name(), mode, anyT)
				return rc
			})
			synctest.Wait()
			pending(t, done)
			ok(t, s.EndTransaction(owner, leave))
			ok(t, <-done)
			ok(t, s.BeginTransaction(owner))
		}
	})
}

func TestTransactionDoesNotExclude(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, owner := connect(t, s, r, shared)
	ctx, other := connect(t, s, r, shared)
	ok(t, s.BeginTransaction(owner))
	_, rc := s.Control(other, 1, nil, nil)
	want(t, winscard.ErrSharingViolation, rc)
	_, rc = s.GetAttrib(other, uint32(winscard.AttrATRString), nil)
	want(t, winscard.ErrSharingViolation, rc)
	want(t, winscard.ErrSharingViolation, s.SetAttrib(other, 1, []byte{1}))
	for _, disposition := range []uint32{leave, reset, unpower, eject} {
		want(t, winscard.ErrSharingViolation, s.EndTransaction(other, disposition))
	}
	_, rc = s.ListReaders(ctx, nil, nil)
	ok(t, rc)
	look(t, s, r)
	ok(t, s.Disconnect(other, leave))
	ok(t, s.EndTransaction(owner, leave))
}

func TestTransactionsNest(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, owner := connect(t, s, r, shared)
	_, other := connect(t, s, r, shared)
	want(t, winscard.ErrNotTransacted, s.EndTransaction(owner, leave))
	for range 3 {
		ok(t, s.BeginTransaction(owner))
	}
	for range 3 {
		want(t, winscard.ErrSharingViolation, s.EndTransaction(other, leave))
		ok(t, s.EndTransaction(owner, leave))
	}
	want(t, winscard.ErrNotTransacted, s.EndTransaction(owner, leave))
	want(t, winscard.ErrUnsupportedFeature, s.EndTransaction(owner, eject))
	ok(t, s.BeginTransaction(other))
}

func TestDisconnectWithResetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		_, owner := connect(t, s, r, shared)
		_, other := connect(t, s, r, shared)
		ok(t, s.BeginTransaction(owner))
		done := async(func() winscard.Code { return s.Disconnect(other, reset) })
		synctest.Wait()
		pending(t, done)
		ok(t, s.EndTransaction(owner, leave))
		ok(t, <-done)
		want(t, winscard.ErrResetCard, status(s, owner))
	})
}

// A call that waits for a connection ends when another goroutine closes that connection.
func TestDisconnectWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		_, owner := connect(t, s, r, shared)
		_, other := connect(t, s, r, shared)
		ok(t, s.BeginTransaction(owner))
		begin := async(func() winscard.Code { return s.BeginTransaction(other) })
		closing := async(func() winscard.Code { return s.Disconnect(other, reset) })
		synctest.Wait()
		ok(t, s.Disconnect(other, leave))
		want(t, winscard.ErrInvalidHandle, <-begin)
		want(t, winscard.ErrInvalidHandle, <-closing)
		require.Zero(t, status(s, owner), "nobody reset the card")
	})
}
