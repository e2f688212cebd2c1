package virtual_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The contract takes numbers; its constants have types.
const (
	exclusive = uint32(winscard.ShareExclusive)
	shared    = uint32(winscard.ShareShared)
	direct    = uint32(winscard.ShareDirect)

	t0   = uint32(winscard.ProtocolT0)
	t1   = uint32(winscard.ProtocolT1)
	raw  = uint32(winscard.ProtocolRaw)
	anyT = t0 | t1

	leave   = uint32(winscard.LeaveCard)
	reset   = uint32(winscard.ResetCard)
	unpower = uint32(winscard.UnpowerCard)
	eject   = uint32(winscard.EjectCard)

	ready = uint32(winscard.CardPresent | winscard.CardPowered | winscard.CardNegotiable)
)

var (
	atrT0   = []byte{0x3B, 0x00}
	atrT1   = []byte{0x3B, 0x80, 0x01, 0x81}
	atrBoth = []byte{0x3B, 0x80, 0x80, 0x01, 0x01}
	apdu    = []byte{0x00, 0xA4, 0x04, 0x00}
)

// want compares codes by name, which reads better than numbers in a failure.
func want(t testing.TB, want, got winscard.Code, msg ...any) {
	t.Helper()
	if want != got {
		require.Equal(t, want.Name(), got.Name(), msg...)
	}
}

func ok(t testing.TB, got winscard.Code, msg ...any) {
	t.Helper()
	want(t, winscard.Success, got, msg...)
}

// echo answers each APDU with its bytes and 9000.
func echo(atr []byte) virtual.Card {
	return virtual.NewCard(atr, func(apdu []byte) []byte {
		return append(append([]byte(nil), apdu...), 0x90, 0x00)
	})
}

// setup is a service with one reader, and card in it.
func setup(t testing.TB, card virtual.Card) (*virtual.Service, *virtual.Reader) {
	s := virtual.New()
	r := s.AddReader("Test Reader")
	if card != nil {
		r.Insert(card)
	}
	return s, r
}

func establish(t testing.TB, s *virtual.Service) winscard.Context {
	t.Helper()
	ctx, rc := s.EstablishContext(uint32(winscard.ScopeSystem))
	ok(t, rc)
	require.NotZero(t, ctx)
	return ctx
}

func connect(t testing.TB, s *virtual.Service, r *virtual.Reader, mode uint32) (winscard.Context, winscard.Card) {
	t.Helper()
	ctx := establish(t, s)
	card, _, rc := s.Connect(ctx, r.Name(), mode, anyT)
	ok(t, rc)
	require.NotZero(t, card)
	return ctx, card
}

// status is the code of Status, which shows what happened to the card.
func status(s *virtual.Service, card winscard.Card) winscard.Code {
	_, _, _, _, rc := s.Status(card, nil, nil)
	return rc
}

// transmit sends apdu with the protocol in use.
func transmit(s *virtual.Service, card winscard.Card) winscard.Code {
	_, _, protocol, _, rc := s.Status(card, nil, nil)
	if rc == winscard.Success {
		_, rc = s.Transmit(card, protocol, apdu, make([]byte, 258))
	}
	return rc
}

// look is what GetStatusChange says at once of a reader of which nothing is known.
func look(t testing.TB, s *virtual.Service, r *virtual.Reader) winscard.ReaderState {
	t.Helper()
	states := []winscard.ReaderState{{Reader: r.Name()}}
	ok(t, s.GetStatusChange(establish(t, s), 0, states))
	return states[0]
}

// async runs a call in a goroutine.
func async(call func() winscard.Code) <-chan winscard.Code {
	done := make(chan winscard.Code, 1)
	go func() { done <- call() }()
	return done
}

// pending requires that a call has not returned. Use it in a synctest bubble, after synctest.Wait.
func pending(t testing.TB, done <-chan winscard.Code) {
	t.Helper()
	select {
	case rc := <-done:
		require.Fail(t, "returned too early", rc.Name())
	default:
	}
}
