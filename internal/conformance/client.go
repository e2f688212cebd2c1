package conformance

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// The contract's methods take numbers; the constants have types.
const (
	user = uint32(winscard.ScopeUser)

	exclusive = uint32(winscard.ShareExclusive)
	shared    = uint32(winscard.ShareShared)
	direct    = uint32(winscard.ShareDirect)

	undefined = uint32(winscard.ProtocolUndefined)
	t0        = uint32(winscard.ProtocolT0)
	t1        = uint32(winscard.ProtocolT1)
	anyT      = t0 | t1

	leave   = uint32(winscard.LeaveCard)
	reset   = uint32(winscard.ResetCard)
	unpower = uint32(winscard.UnpowerCard)
	eject   = uint32(winscard.EjectCard)

	// bad are values that no enumeration has.
	bad    = uint32(0x55)
	badAll = ^uint32(0)
)

// show makes a code readable in a failure.
func show(c winscard.Code) string { return fmt.Sprintf("%#08x %s", uint32(c), c.Name()) }

func requireCode(t *testing.T, want, got winscard.Code, msg ...any) {
	t.Helper()
	if want != got {
		require.Equal(t, show(want), show(got), msg...)
	}
}

func requireOK(t *testing.T, got winscard.Code, msg ...any) {
	t.Helper()
	requireCode(t, winscard.Success, got, msg...)
}

// requireOneOf is for what depends on the moment.
func requireOneOf(t *testing.T, got winscard.Code, want ...winscard.Code) {
	t.Helper()
	names := make([]string, len(want))
	for i, c := range want {
		if c == got {
			return
		}
		names[i] = show(c)
	}
	t.Fatalf("got %s, want one of %s", show(got), strings.Join(names, ", "))
}

// establish opens a context that the test's end releases.
func (s *suite) establish(t *testing.T) winscard.Context {
	t.Helper()
	ctx, rc := s.Backend.EstablishContext(user)
	requireOK(t, rc, "EstablishContext")
	t.Cleanup(func() { s.Backend.ReleaseContext(ctx) })
	return ctx
}

// connect connects; the test's end disconnects.
func (s *suite) connect(t *testing.T, ctx winscard.Context, reader int, share, protocols uint32) winscard.Card {
	t.Helper()
	card, _, rc := s.Backend.Connect(ctx, s.readers[reader], share, protocols)
	requireOK(t, rc, "Connect")
	// To leave the card never waits for another's transaction.
	t.Cleanup(func() { s.Backend.Disconnect(card, leave) })
	return card
}

// requireReleased requires that a context that was released is a handle no more.
func (s *suite) requireReleased(t *testing.T, ctx winscard.Context) {
	t.Helper()
	if !s.Quirks.HandlesAreAddresses {
		requireCode(t, winscard.ErrInvalidHandle, s.Backend.IsValidContext(ctx))
		requireCode(t, winscard.ErrInvalidHandle, s.Backend.ReleaseContext(ctx))
	}
}

// session is a context with a shared connection.
func (s *suite) session(t *testing.T, reader int) (winscard.Context, winscard.Card) {
	t.Helper()
	ctx := s.establish(t)
	return ctx, s.connect(t, ctx, reader, shared, anyT)
}

// listed makes a call that lists readers or groups, again and again while it is refused for no reason; see
// [Quirks.ListsAtRandom].
func (s *suite) listed(list func() (int, winscard.Code)) (n int, rc winscard.Code) {
	for range listTries {
		n, rc = list()
		if rc != winscard.ErrInvalidParameter || !s.Quirks.ListsAtRandom {
			break
		}
	}
	return n, rc
}

// listTries is how often a call may be refused at random.
const listTries = 20

// listReaders is ListReaders, by listed.
func (s *suite) listReaders(ctx winscard.Context, groups []string, buf []byte) (int, winscard.Code) {
	return s.listed(func() (int, winscard.Code) { return s.Backend.ListReaders(ctx, groups, buf) })
}

// insert puts a new card into the reader for insertions, until remove is called
// or the test ends.
func (s *suite) insert(t *testing.T) (card *Card, remove func()) {
	t.Helper()
	card = NewCard()
	s.Service.Insert(readerSlot, card)
	remove = sync.OnceFunc(func() { s.Service.Remove(readerSlot) })
	t.Cleanup(remove)
	return card, remove
}

// transmit sends a command with the protocol in use and returns the response.
func (s *suite) transmit(t *testing.T, card winscard.Card, apdu []byte) []byte {
	t.Helper()
	_, _, protocol, _, rc := s.Backend.Status(card, nil, nil)
	requireOK(t, rc, "Status")
	recv := make([]byte, winscard.MaxBufferSizeExtended)
	n, rc := s.Backend.Transmit(card, protocol, apdu, recv)
	requireOK(t, rc, "Transmit")
	return recv[:n]
}

// verified asks the card for its volatile flag.
func (s *suite) verified(t *testing.T, card winscard.Card) bool {
	t.Helper()
	answer := s.transmit(t, card, isVerified)
	require.Len(t, answer, 3)
	return answer[0] == 1
}

// split makes strings of a multi-string.
func split(t *testing.T, multi []byte) []string {
	t.Helper()
	require.True(t, strings.HasSuffix(string(multi), "\x00"), "ends with a NUL: %q", multi)
	list := []string{}
	for _, name := range strings.Split(strings.TrimRight(string(multi), "\x00"), "\x00") {
		if name != "" {
			list = append(list, name)
		}
	}
	return list
}

// name is the name that Status gave.
func (s *suite) name(buf []byte) string {
	name, rest, _ := strings.Cut(string(buf), "\x00")
	if s.Quirks.NamesEndLate {
		return name
	}
	return name + strings.TrimRight(rest, "\x00")
}

// A wait is a GetStatusChange under way.
type wait struct {
	states []winscard.ReaderState
	done   <-chan winscard.Code
}

func (s *suite) wait(ctx winscard.Context, timeout uint32, states ...winscard.ReaderState) *wait {
	w := &wait{states: states}
	w.done = start(func() winscard.Code { return s.Backend.GetStatusChange(ctx, timeout, states) })
	return w
}

// end waits until the call returns.
func (w *wait) end(t *testing.T) winscard.Code {
	t.Helper()
	return await(t, w.done, "GetStatusChange")
}

// cancel cancels a wait over and over, because a cancel just before it begins
// is lost, until it returns.
func (s *suite) cancel(t *testing.T, ctx winscard.Context, w *wait) winscard.Code {
	t.Helper()
	deadline := time.After(patience)
	for {
		rc := s.Backend.Cancel(ctx)
		// Between its return from the wait and its answer the daemon no longer
		// has the client on its list.
		requireOneOf(t, rc, winscard.Success, winscard.ErrInvalidHandle)
		select {
		case rc := <-w.done:
			return rc
		case <-deadline:
			t.Fatalf("cancelled for %v in vain\n%s", patience, stacks())
		case <-time.After(time.Millisecond):
		}
	}
}

// state is what a caller that knows nothing passes.
func state(reader string) winscard.ReaderState { return winscard.ReaderState{Reader: reader} }

// current asks for the state of readers as it is, ready to be waited on.
func (s *suite) current(t *testing.T, ctx winscard.Context, readers ...string) []winscard.ReaderState {
	t.Helper()
	states := make([]winscard.ReaderState, len(readers))
	for i, r := range readers {
		states[i] = state(r)
	}
	requireOK(t, s.Backend.GetStatusChange(ctx, 0, states), "GetStatusChange")
	for i := range states {
		states[i].CurrentState = states[i].EventState &^ uint32(winscard.StateChanged)
	}
	return states
}

func has(state uint32, flags ...winscard.State) bool {
	for _, f := range flags {
		if state&uint32(f) == 0 {
			return false
		}
	}
	return true
}

// counter is the event counter of a state.
func counter(state uint32) uint32 { return state >> 16 }

// pause gives others a chance to do what they should not.
func pause() { time.Sleep(5 * time.Millisecond) }
