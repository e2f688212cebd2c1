package conformance

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// protocolTable is what a connection gives for the protocols asked for, when
// the card has just been reset.
func (s *suite) protocolTable() []protocolRow {
	raw := s.raw()
	return []protocolRow{
		{protocols: undefined, a: mismatch, b: mismatch},
		{protocols: t0, a: active(t0), b: active(t0)},
		{protocols: t1, a: active(t1), b: mismatch},
		{protocols: anyT, a: active(t1), b: active(t0)},
		{protocols: raw, a: active(raw), b: active(raw), direct: raw},
		{protocols: raw | anyT, a: active(raw), b: active(raw), direct: raw},
		{protocols: uint32(winscard.ProtocolT15), a: mismatch, b: mismatch},
		{protocols: uint32(winscard.ProtocolT15) | t0, a: active(t0), b: active(t0)},
	}
}

type protocolRow struct {
	protocols uint32
	a, b      protocolResult // card A offers T=0 and T=1, card B T=0
	direct    uint32
}

type protocolResult struct {
	code   winscard.Code
	active uint32
}

func active(protocol uint32) protocolResult { return protocolResult{active: protocol} }

var mismatch = protocolResult{code: winscard.ErrProtoMismatch}

var shareModes = []struct {
	name  string
	value uint32
}{{"exclusive", exclusive}, {"shared", shared}, {"direct", direct}}

// raw is the raw protocol of the service.
func (s *suite) raw() uint32 { return uint32(s.Quirks.Raw) }

// forget makes pcscd forget the protocol of a card.
func (s *suite) forget(t *testing.T, ctx winscard.Context, reader int) {
	t.Helper()
	card, _, rc := s.Backend.Connect(ctx, s.readers[reader], shared, s.raw())
	requireOK(t, rc)
	requireOK(t, s.Backend.Disconnect(card, reset))
}

var connectTests = []subtest{
	{"Protocols", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		for _, row := range s.protocolTable() {
			for reader, want := range []protocolResult{readerA: row.a, readerB: row.b} {
				for _, mode := range shareModes {
					if mode.value == direct {
						want = active(row.direct)
					}
					msg := fmt.Sprintf("reader %d, %s, protocols %#x", reader, mode.name, row.protocols)
					s.forget(t, ctx, reader)
					card, protocol, rc := s.Backend.Connect(ctx, s.readers[reader], mode.value, row.protocols)
					requireCode(t, want.code, rc, msg)
					if rc != winscard.Success {
						require.Zero(t, card, msg)
						continue
					}
					require.Equal(t, want.active, protocol, msg)
					_, _, protocol, _, rc = s.Backend.Status(card, nil, nil)
					requireOK(t, rc, msg)
					require.Equal(t, want.active, protocol, msg)
					if protocol != undefined {
						s.requireExchange(t, card, protocol, s.card(reader), 10, 10)
					}
					requireOK(t, s.Backend.Disconnect(card, leave), msg)
				}
			}
		}
	}},
	{"ReconnectProtocols", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		for reader := range []int{readerA, readerB} {
			card := s.connect(t, ctx, reader, shared, t0)
			for _, row := range s.protocolTable() {
				want := row.a
				if reader == readerB {
					want = row.b
				}
				for _, mode := range shareModes {
					if mode.value == direct {
						want = active(row.direct)
					}
					for _, initialization := range []uint32{reset, unpower} {
						msg := fmt.Sprintf("reader %d, %s, protocols %#x, initialization %d",
							reader, mode.name, row.protocols, initialization)
						protocol, rc := s.Backend.Reconnect(card, mode.value, row.protocols, initialization)
						requireCode(t, want.code, rc, msg)
						if rc == winscard.Success {
							require.Equal(t, want.active, protocol, msg)
						}
					}
				}
			}
			protocol, rc := s.Backend.Reconnect(card, shared, t0, reset)
			requireOK(t, rc)
			require.Equal(t, t0, protocol)
			s.requireExchange(t, card, t0, s.card(reader), 10, 10)
			if reader == readerA {
				// What leaves the card alone cannot change its protocol.
				_, rc = s.Backend.Reconnect(card, shared, t1, leave)
				requireCode(t, winscard.ErrProtoMismatch, rc)
				protocol, rc = s.Backend.Reconnect(card, shared, anyT, leave)
				requireOK(t, rc)
				require.Equal(t, t0, protocol)
			}
		}
	}},
	{"FirstProtocolStays", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		s.connect(t, ctx, readerA, shared, t0)
		other := s.establish(t)
		_, _, rc := s.Backend.Connect(other, s.readers[readerA], shared, t1)
		requireCode(t, winscard.ErrProtoMismatch, rc)
		card, protocol, rc := s.Backend.Connect(other, s.readers[readerA], shared, anyT)
		requireOK(t, rc)
		require.Equal(t, t0, protocol)
		requireOK(t, s.Backend.Disconnect(card, leave))
	}},
	{"WrongValues", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		for _, test := range []struct {
			share, protocols, initialization uint32
			want, wantAgain                  winscard.Code
		}{
			{0, anyT, leave, winscard.ErrInvalidValue, winscard.ErrInvalidValue},
			{4, anyT, leave, winscard.ErrInvalidValue, winscard.ErrInvalidValue},
			{badAll, anyT, leave, winscard.ErrInvalidValue, winscard.ErrInvalidValue},
			// Connect looks at the protocols first, Reconnect at the mode.
			{0, undefined, leave, winscard.ErrProtoMismatch, winscard.ErrInvalidValue},
			{shared, undefined, leave, winscard.ErrProtoMismatch, winscard.ErrProtoMismatch},
			{exclusive, undefined, leave, winscard.ErrProtoMismatch, winscard.ErrProtoMismatch},
			{shared, 0x80000000, leave, winscard.ErrProtoMismatch, winscard.ErrProtoMismatch},
			{shared, badAll &^ 7 &^ 0x1000 &^ s.raw(), leave, winscard.ErrProtoMismatch, winscard.ErrProtoMismatch},
		} {
			msg := fmt.Sprintf("share %#x, protocols %#x", test.share, test.protocols)
			_, _, rc := s.Backend.Connect(ctx, s.readers[readerA], test.share, test.protocols)
			requireCode(t, test.want, rc, msg)
			_, rc = s.Backend.Reconnect(card, test.share, test.protocols, test.initialization)
			requireCode(t, test.wantAgain, rc, msg)
		}
		for _, initialization := range []uint32{eject, 4, bad, badAll} {
			_, rc := s.Backend.Reconnect(card, shared, anyT, initialization)
			requireCode(t, winscard.ErrInvalidValue, rc, "initialization %#x", initialization)
		}
		for _, disposition := range []uint32{4, bad, badAll} {
			requireCode(t, winscard.ErrInvalidValue, s.Backend.Disconnect(card, disposition))
			requireCode(t, winscard.ErrInvalidValue, s.Backend.EndTransaction(card, disposition))
		}
		require.False(t, s.verified(t, card), "the connection is still good")
	}},
	{"NoCard", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		reader := s.readers[readerEmpty]
		for _, share := range []uint32{exclusive, shared} {
			for _, protocols := range []uint32{t0, t1, anyT, s.raw()} {
				card, _, rc := s.Backend.Connect(ctx, reader, share, protocols)
				requireCode(t, winscard.ErrNoSmartcard, rc)
				require.Zero(t, card)
			}
		}
		for _, protocols := range []uint32{undefined, anyT} {
			card, protocol, rc := s.Backend.Connect(ctx, reader, direct, protocols)
			requireOK(t, rc)
			require.Equal(t, undefined, protocol)

			buf, atr := make([]byte, 512), make([]byte, 36)
			n, st, protocol, atrLen, rc := s.Backend.Status(card, buf, atr)
			requireOK(t, rc)
			require.Equal(t, reader, s.name(buf[:n]))
			require.Equal(t, uint32(s.Quirks.Absent), st&0xFFFF)
			require.Equal(t, undefined, protocol)
			require.Zero(t, atrLen)

			_, rc = s.Backend.Transmit(card, t1, isVerified, buf)
			requireCode(t, winscard.ErrNoSmartcard, rc)
			for _, share := range []uint32{exclusive, shared, direct} {
				_, rc = s.Backend.Reconnect(card, share, anyT, leave)
				requireCode(t, winscard.ErrNoSmartcard, rc)
			}
			requireOK(t, s.Backend.BeginTransaction(card))
			requireOK(t, s.Backend.EndTransaction(card, leave))
			requireOK(t, s.Backend.Disconnect(card, leave))
		}
	}},
	{"Sharing", func(t *testing.T, s *suite) {
		const ok, violation = winscard.Success, winscard.ErrSharingViolation
		for _, test := range []struct {
			first, second uint32
			want          winscard.Code
		}{
			{exclusive, exclusive, violation},
			{exclusive, shared, violation},
			{exclusive, direct, violation},
			{shared, exclusive, violation},
			{shared, shared, ok},
			{shared, direct, ok},
			{direct, exclusive, violation},
			{direct, shared, ok},
			{direct, direct, ok},
		} {
			one := s.establish(t)
			// Two contexts, and one context twice.
			for _, two := range []winscard.Context{s.establish(t), one} {
				card, _, rc := s.Backend.Connect(one, s.readers[readerA], test.first, anyT)
				requireOK(t, rc)
				second, _, rc := s.Backend.Connect(two, s.readers[readerA], test.second, anyT)
				requireCode(t, test.want, rc, "%d then %d", test.first, test.second)
				if rc == ok {
					requireOK(t, s.Backend.Disconnect(second, leave))
				}
				requireOK(t, s.Backend.Disconnect(card, leave))
				// Nobody is left.
				card, _, rc = s.Backend.Connect(two, s.readers[readerA], exclusive, anyT)
				requireOK(t, rc)
				requireOK(t, s.Backend.Disconnect(card, reset))
			}
		}
	}},
	{"ReconnectSharing", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		other := s.establish(t)
		try := func(share uint32) winscard.Code {
			card, _, rc := s.Backend.Connect(other, s.readers[readerA], share, anyT)
			if rc == winscard.Success {
				requireOK(t, s.Backend.Disconnect(card, leave))
			}
			return rc
		}
		requireOK(t, try(shared))
		_, rc := s.Backend.Reconnect(card, exclusive, anyT, leave)
		requireOK(t, rc)
		requireCode(t, winscard.ErrSharingViolation, try(shared))
		_, rc = s.Backend.Reconnect(card, exclusive, anyT, leave)
		requireOK(t, rc, "exclusive again")
		_, rc = s.Backend.Reconnect(card, shared, anyT, leave)
		requireOK(t, rc)
		// pcscd 1.9.9 forgets to give up the lock of the exclusive connection,
		// which so becomes a transaction.
		requireCode(t, s.Quirks.EndAfterExclusive, s.Backend.EndTransaction(card, leave))
		requireOK(t, try(shared))
		requireCode(t, winscard.ErrSharingViolation, try(exclusive))
	}},
	{"ReconnectWaitsForOthers", func(t *testing.T, s *suite) {
		// SCardConnect gives SHARING_VIOLATION, SCardReconnect waits.
		_, card := s.session(t, readerA)
		_, other := s.session(t, readerA)
		var gone atomic.Bool
		type result struct {
			rc    winscard.Code
			early bool
		}
		done := start(func() result {
			_, rc := s.Backend.Reconnect(card, exclusive, anyT, leave)
			return result{rc, !gone.Load()}
		})
		for range 30 {
			s.requireExchange(t, other, t1, s.a, 10, 10)
			pause()
		}
		gone.Store(true)
		requireOK(t, s.Backend.Disconnect(other, leave))
		r := await(t, done, "Reconnect")
		requireOK(t, r.rc)
		require.False(t, r.early)
	}},
}

// card is the card in a reader.
func (s *suite) card(reader int) *Card {
	if reader == readerB {
		return s.b
	}
	return s.a
}
