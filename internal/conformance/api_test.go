package conformance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

// The same matters through package pcsc: on the real service with the backend
// that the build selects, and on the virtual service.

func TestAPIReal(t *testing.T) {
	env := Real(t, nil)
	testAPI(t, env)
}

func TestAPIVirtual(t *testing.T) {
	env := Virtual()
	testAPI(t, env, pcsc.WithBackend(env.Backend))
}

// apiSuite is the suite for package pcsc.
type apiSuite struct {
	suite
	options []pcsc.Option
}

type apiTest struct {
	name string
	run  func(*testing.T, *apiSuite)
}

func testAPI(t *testing.T, env Environment, options ...pcsc.Option) {
	s := &apiSuite{suite{Environment: env, left: map[string]bool{}}, options}
	s.prepare(t)
	t.Run("NoService", func(t *testing.T) {
		_, err := pcsc.EstablishContext(pcsc.ScopeSystem, options...)
		require.ErrorIs(t, err, pcsc.ErrNoService)
	})
	t.Run("NoReaders", func(t *testing.T) {
		env.Service.Start(0)
		c := s.context(t)
		list, err := s.names(t.Context(), c.ListReaders)
		require.NoError(t, err)
		require.NotNil(t, list)
		require.Empty(t, list)
	})
	t.Run("ManyReaders", func(t *testing.T) {
		env.Service.Start(pcsc16)
		c := s.context(t)
		list, err := s.names(t.Context(), c.ListReaders)
		require.NoError(t, err)
		require.Equal(t, env.Service.Readers(), list)
		with, err := s.names(t.Context(), c.ListReadersWithCard)
		require.NoError(t, err)
		require.Empty(t, with)
	})
	s.start(t)
	for _, group := range []struct {
		name  string
		tests []apiTest
	}{
		{"Basics", apiBasicTests},
		{"Reset", apiResetTests},
		{"Attributes", apiAttributeTests},
		{"Wait", apiWaitTests},
		{"Cancel", apiCancelTests},
		{"Close", apiCloseTests},
		{"Concurrency", apiConcurrencyTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				if s.missingOf(t, env.MissingAPI, group.name+"/"+test.name) {
					continue
				}
				s.runClean(t, test.name, func(t *testing.T) { test.run(t, s) })
			}
		})
	}
	t.Run("Outage", func(t *testing.T) {
		for _, test := range apiOutageTests {
			if s.missingOf(t, env.MissingAPI, "Outage/"+test.name) {
				continue
			}
			s.start(t)
			t.Run(test.name, func(t *testing.T) {
				watch(t)
				defer s.unhang(t)
				test.run(t, s)
			})
		}
	})
	env.Service.Stop()
	s.requireKnown(t, env.MissingAPI)
}

const pcsc16 = 16

// context opens a Context that the test's end closes.
func (s *apiSuite) context(t *testing.T) *pcsc.Context {
	t.Helper()
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// names makes a call that lists readers or groups, again and again while it is refused for no reason; see
// [Quirks.ListsAtRandom].
func (s *apiSuite) names(ctx context.Context, list func(context.Context) ([]string, error)) (names []string, err error) {
	for range listTries {
		names, err = list(ctx)
		if !errors.Is(err, pcsc.ErrInvalidParameter) || !s.Quirks.ListsAtRandom {
			break
		}
	}
	return names, err
}

// card connects through a Context of its own. The test's end closes it.
func (s *apiSuite) connected(t *testing.T, reader int) *pcsc.Card {
	t.Helper()
	return s.connectedBy(t, s.context(t), reader)
}

func (s *apiSuite) connectedBy(t *testing.T, c *pcsc.Context, reader int) *pcsc.Card {
	t.Helper()
	card, err := c.Connect(t.Context(), s.readers[reader], pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	// Left as it is, so that the end of a failed test waits for nobody.
	t.Cleanup(func() { _ = card.Disconnect(pcsc.LeaveCard) })
	return card
}

func (s *apiSuite) begin(t *testing.T, card *pcsc.Card) *pcsc.Transaction {
	t.Helper()
	tx, err := card.BeginTransaction(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	return tx
}

// requireAPIExchange requires that a command and its answer arrive whole.
func requireAPIExchange(t *testing.T, card *pcsc.Card, send, recv int) {
	t.Helper()
	apdu := exchange(send, recv)
	got, err := card.Transmit(context.Background(), apdu)
	require.NoError(t, err)
	require.Equal(t, Answer(apdu), got)
}

func isSet(t *testing.T, card *pcsc.Card) bool {
	t.Helper()
	got, err := card.Transmit(t.Context(), isVerified)
	require.NoError(t, err)
	require.Len(t, got, 3)
	return got[0] == 1
}

// known asks for the states of readers, ready to wait for changes.
func (s *apiSuite) known(t *testing.T, c *pcsc.Context, readers ...string) []pcsc.ReaderState {
	t.Helper()
	states := make([]pcsc.ReaderState, len(readers))
	for i, r := range readers {
		states[i] = pcsc.NewReaderState(r)
	}
	require.NoError(t, c.GetStatusChange(t.Context(), states))
	for i := range states {
		states[i].SyncCurrentState()
	}
	return states
}

// soon is the longest that something may take which is done at once.
const soon = 2 * time.Second

// requireSoon waits for the end of something that is done at once.
func requireSoon[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("%s: nothing for %v\n%s", what, soon, stacks())
		panic("unreachable")
	}
}

// requireNotYet requires that something is still under way.
func requireNotYet[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("%s: is over: %v", what, v)
	case <-time.After(150 * time.Millisecond): // pcscd polls every 100 ms
	}
}

var apiBasicTests = []apiTest{
	{"Session", func(t *testing.T, s *apiSuite) {
		ctx := t.Context()
		c := s.context(t)
		require.NoError(t, c.IsValid())
		list, err := s.names(ctx, c.ListReaders)
		require.NoError(t, err)
		require.Equal(t, s.readers, list)
		with, err := s.names(ctx, c.ListReadersWithCard)
		require.NoError(t, err)
		require.Equal(t, s.readers[:2], with)
		groups, err := s.names(ctx, c.ListReaderGroups)
		require.NoError(t, err)
		require.Equal(t, []string{pcsc.DefaultReaders}, groups)

		card := s.connectedBy(t, c, readerA)
		require.Equal(t, pcsc.ProtocolT1, card.ActiveProtocol())
		st, err := card.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{s.readers[readerA]}, st.Readers)
		require.Equal(t, s.a.ATR(), st.ATR)
		require.Equal(t, pcsc.ProtocolT1, st.Protocol)
		require.Equal(t, pcsc.CardPresent|pcsc.CardPowered|pcsc.CardNegotiable, st.State)
		require.Equal(t, uint16(1), st.EventCount)
	}},
	// What Windows alone has is an error elsewhere, and so is what wine's library lacks.
	{"OtherPlatforms", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		_, err := c.ReadCache(t.Context(), pcsc.GUID{Data1: 1}, 1, "item")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorIs(t, c.Audit(t.Context(), pcsc.AuditCHVSuccess), errors.ErrUnsupported)
		card := s.connectedBy(t, c, readerA)
		_, err = card.GetTransmitCount(t.Context())
		require.ErrorIs(t, err, errors.ErrUnsupported)
		requireAPIExchange(t, card, 10, 10) // nothing has happened to the card
		err = pcsc.WaitStarted(t.Context(), s.options...)
		if s.Quirks.UTF16 { // it has the event, and the service runs
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
	}},
	{"Sizes", func(t *testing.T, s *apiSuite) {
		card := s.connected(t, readerA)
		ctxs := []context.Context{context.Background(), t.Context()} // can't end, can end
		for _, ctx := range ctxs {
			for _, n := range []int{4, 5, 255, 256, 257, 258, 261, 65534, 65535} {
				for _, recv := range []int{2, 256, 258, 65535} {
					before := s.a.Commands()
					apdu := exchange(n, recv)
					dst := []byte("head")
					got, err := card.TransmitAppend(ctx, dst, apdu)
					require.NoError(t, err)
					require.Equal(t, "head", string(got[:4]))
					require.Equal(t, Answer(apdu), got[4:])
					require.Equal(t, before+1, s.a.Commands())
				}
			}
			before := s.a.Commands()
			for _, n := range []int{0, 1 << 17} {
				_, err := card.Transmit(ctx, make([]byte, n))
				require.Error(t, err)
			}
			require.Equal(t, before, s.a.Commands())
		}
	}},
	{"Errors", func(t *testing.T, s *apiSuite) {
		ctx := t.Context()
		c := s.context(t)
		for _, test := range []struct {
			reader string
			want   error
		}{
			{"", pcsc.ErrUnknownReader},
			{"no such reader", pcsc.ErrUnknownReader},
			{s.readers[readerA] + "\x00", pcsc.ErrInvalidParameter},
			{s.readers[readerEmpty], pcsc.ErrNoSmartcard},
		} {
			_, err := c.Connect(ctx, test.reader, pcsc.ShareShared, pcsc.ProtocolAny)
			require.ErrorIs(t, err, test.want)
			var e *pcsc.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "SCardConnect", e.Op)
			require.Equal(t, test.reader, e.Reader)
		}
		// pcsc-lite would take the empty name for a slot without a reader, which is always as it was.
		for _, timeout := range []time.Duration{-1, 0, time.Second} {
			require.ErrorIs(t, c.GetStatusChangeTimeout(ctx, timeout, []pcsc.ReaderState{pcsc.NewReaderState("")}), pcsc.ErrUnknownReader)
		}
		card, err := c.Connect(ctx, s.readers[readerB], pcsc.ShareExclusive, pcsc.ProtocolAny)
		require.NoError(t, err)
		_, err = s.context(t).Connect(ctx, s.readers[readerB], pcsc.ShareShared, pcsc.ProtocolAny)
		require.ErrorIs(t, err, pcsc.ErrSharingViolation)
		require.NoError(t, card.Close())
		require.NoError(t, card.Close(), "again")
		_, err = card.Transmit(ctx, isVerified)
		require.ErrorIs(t, err, pcsc.ErrInvalidHandle)
	}},
	{"Attributes", func(t *testing.T, s *apiSuite) {
		// vpcd's answer to the name is INSUFFICIENT_BUFFER for every buffer:
		// whoever grows buffers has to stop some time.
		card := s.connected(t, readerA)
		done := start(func() error {
			_, err := card.GetAttrib(context.Background(), pcsc.Attribute(0x7FFF0003))
			return err
		})
		if err := requireSoon(t, done, "GetAttrib"); err != nil {
			require.ErrorIs(t, err, pcsc.ErrInsufficientBuffer)
		}
		_, err := card.GetAttrib(t.Context(), pcsc.Attribute(unknownAttribute))
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = card.Control(t.Context(), unknownControl, nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}},
	{"ResetByAnother", func(t *testing.T, s *apiSuite) {
		ctx := t.Context()
		card := s.connected(t, readerA)
		other := s.connected(t, readerA)
		require.NoError(t, other.Close())
		_, err := card.Transmit(ctx, isVerified)
		require.ErrorIs(t, err, pcsc.ErrResetCard)
		_, err = card.BeginTransaction(ctx)
		require.ErrorIs(t, err, pcsc.ErrResetCard)
		require.NoError(t, card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
		requireAPIExchange(t, card, 10, 10)
	}},
	{"Removal", func(t *testing.T, s *apiSuite) {
		ctx := t.Context()
		_, remove := s.insert(t)
		card := s.connected(t, readerSlot)
		tx, err := card.BeginTransaction(ctx)
		require.NoError(t, err)
		remove()
		_, err = tx.Transmit(ctx, isVerified)
		require.ErrorIs(t, err, pcsc.ErrRemovedCard)
		require.ErrorIs(t, tx.End(pcsc.LeaveCard), pcsc.ErrRemovedCard)
		err = card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard)
		require.ErrorIs(t, err, pcsc.ErrNoSmartcard)
	}},
}
