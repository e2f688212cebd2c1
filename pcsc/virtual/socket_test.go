//go:build unix

package virtual_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscclient"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// socketPatience is how long anything may take that has to happen.
const socketPatience = 20 * time.Second

// serve serves a service on a socket of its own until end is called, or the test ends: then nothing may be left.
func serve(t testing.TB, s *virtual.Service, opts ...virtual.ServeOption) (socket string, end func()) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	l, err := virtual.Listen("")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, opts...) }()
	end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(socketPatience):
			t.Error("Serve does not end")
		}
		require.NoFileExists(t, l.Addr().String())
		nothingLeft(t, before)
	})
	t.Cleanup(end)
	return l.Addr().String(), end
}

// nothingLeft requires that every goroutine ends that was not there before. goleak waits for less than half a second.
func nothingLeft(t testing.TB, before goleak.Option) {
	t.Helper()
	err := goleak.Find(before)
	for end := time.Now().Add(socketPatience); err != nil && time.Now().Before(end); {
		err = goleak.Find(before)
	}
	require.NoError(t, err)
}

// dial connects a client and agrees on a version; 0 is for none.
func dial(t testing.TB, socket string, minor int32) *pcscclient.Client {
	t.Helper()
	c, err := pcscclient.Dial(socket, time.Now().Add(socketPatience))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	if minor != 0 {
		require.NoError(t, c.Agree(minor))
		require.Equal(t, minor, c.Minor)
	}
	return c
}

// remote is a client with a context.
type remote struct {
	*pcscclient.Client
	t   testing.TB
	ctx uint32
}

func open(t testing.TB, socket string, minor int32) *remote {
	t.Helper()
	c := dial(t, socket, minor)
	ctx, err := c.Establish()
	require.NoError(t, err)
	require.NotZero(t, ctx)
	return &remote{c, t, ctx}
}

func (c *remote) connect(r *virtual.Reader) int32 {
	c.t.Helper()
	card, _, err := c.Connect(c.ctx, r.Name())
	require.NoError(c.t, err)
	return card
}

func (c *remote) begin(card int32) winscard.Code {
	c.t.Helper()
	m := protocol.BeginTransaction{Card: card}
	require.NoError(c.t, c.Call(protocol.CmdBeginTransaction, &m))
	return m.RV
}

func (c *remote) end(card int32) winscard.Code {
	c.t.Helper()
	m := protocol.EndTransaction{Card: card}
	require.NoError(c.t, c.Call(protocol.CmdEndTransaction, &m))
	return m.RV
}

func (c *remote) status(card int32) winscard.Code {
	c.t.Helper()
	m := protocol.Status{Card: card}
	require.NoError(c.t, c.Call(protocol.CmdStatus, &m))
	return m.RV
}

// requireCutOff makes sure that the server closes a connection, and says nothing more.
func requireCutOff(t testing.TB, c net.Conn, msg ...any) {
	t.Helper()
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		require.Fail(t, "the connection stays open", msg...)
	}
	require.Empty(t, b, msg...) // the error is nil, or a reset if the server had not read everything
}

func minors(t *testing.T, run func(t *testing.T, minor int32)) {
	for minor := int32(protocol.FirstMinor); minor <= protocol.LastMinor; minor++ {
		t.Run(fmt.Sprintf("4:%d", minor), func(t *testing.T) { run(t, minor) })
	}
}

func TestSocketSession(t *testing.T) {
	minors(t, func(t *testing.T, minor int32) {
		s, r := setup(t, echo(atrBoth))
		s.AddReader("Second Reader")
		socket, _ := serve(t, s)
		c := open(t, socket, minor)
		states, err := c.States()
		require.NoError(t, err)
		if minor < 6 {
			require.Len(t, states, winscard.MaxReaders)
			require.Zero(t, states[2])
			states = states[:2]
		}
		state := protocol.ReaderState{Name: r.Name(), EventCounter: 1, State: ready, ATRLength: 5}
		copy(state.ATR[:], atrBoth)
		require.Equal(t, []protocol.ReaderState{state, {Name: "Second Reader 01 00", State: uint32(winscard.CardAbsent)}}, states)

		card, active, err := c.Connect(c.ctx, r.Name())
		require.NoError(t, err)
		require.Equal(t, t1, active)
		response, err := c.Transmit(card, t1, apdu...)
		require.NoError(t, err)
		require.Equal(t, append(append([]byte(nil), apdu...), 0x90, 0x00), response)
		_, err = c.Transmit(card, t0, apdu...)
		require.Equal(t, winscard.ErrProtoMismatch, err)
		want(t, winscard.Success, c.status(card))
		states, err = c.States()
		require.NoError(t, err)
		require.EqualValues(t, 1, states[0].Sharing)
		require.Equal(t, t1, states[0].Protocol)

		disconnect := protocol.Disconnect{Card: card}
		require.NoError(t, c.Call(protocol.CmdDisconnect, &disconnect))
		ok(t, disconnect.RV)
		release := protocol.Release{Context: c.ctx}
		require.NoError(t, c.Call(protocol.CmdReleaseContext, &release))
		ok(t, release.RV)
		require.NoError(t, c.Call(protocol.CmdReleaseContext, &release))
		want(t, winscard.ErrInvalidHandle, release.RV)
	})
}

func TestSocketVersions(t *testing.T) {
	s, _ := setup(t, nil)
	socket, _ := serve(t, s)
	for _, v := range []protocol.Version{{Major: 4, Minor: 3}, {Major: 4, Minor: 7}, {Major: 5, Minor: 4}, {Major: -1, Minor: -1}} {
		c := dial(t, socket, 0)
		require.NoError(t, c.Call(protocol.CmdVersion, &v))
		require.Equal(t, protocol.Version{Major: 4, Minor: 6, RV: winscard.ErrServiceStopped}, v)
		// The client may ask again, as libpcsclite does.
		require.NoError(t, c.Agree(6))
		_, err := c.Establish()
		require.NoError(t, err)
	}
	for minor := int32(4); minor <= 6; minor++ {
		v := protocol.Version{Major: 4, Minor: minor}
		require.NoError(t, dial(t, socket, 0).Call(protocol.CmdVersion, &v))
		require.Equal(t, protocol.Version{Major: 4, Minor: 6}, v)
	}
	for cmd, since := range map[protocol.Command]int32{
		protocol.CmdGetReaderEvents: 5, protocol.CmdGetReadersStateSize: 6, protocol.CmdGetReadersStateArray: 6,
	} {
		for minor := int32(4); minor < since; minor++ {
			c := dial(t, socket, minor)
			require.NoError(t, c.Send(cmd, nil))
			requireCutOff(t, c, "%v in 4:%d", cmd, minor)
		}
	}
}

// wait begins to wait, and reads the states that come at once.
func (c *remote) wait() {
	c.t.Helper()
	require.NoError(c.t, c.Send(protocol.CmdWaitReaderStateChange, nil))
	if c.Minor < 6 {
		_, err := c.ReceiveStates(winscard.MaxReaders)
		require.NoError(c.t, err)
		return
	}
	_, err := c.States()
	require.NoError(c.t, err)
}

func (c *remote) event() winscard.Code {
	c.t.Helper()
	var e protocol.Event
	require.NoError(c.t, c.Receive(&e))
	require.Zero(c.t, e.Timeout)
	return e.RV
}

// quiet makes sure that nothing was sent, by asking for something.
func (c *remote) quiet() {
	c.t.Helper()
	release := protocol.Release{Context: c.ctx + 1}
	require.NoError(c.t, c.Call(protocol.CmdReleaseContext, &release))
	want(c.t, winscard.ErrInvalidValue, release.RV)
}

func TestSocketWait(t *testing.T) {
	minors(t, func(t *testing.T, minor int32) {
		s, r := setup(t, nil)
		socket, _ := serve(t, s)
		c := open(t, socket, minor)
		cancel := func() winscard.Code {
			m := protocol.Cancel{Context: int32(c.ctx)}
			require.NoError(t, dial(t, socket, 0).Call(protocol.CmdCancel, &m))
			return m.RV
		}
		for i, change := range []func(){
			func() { r.Insert(echo(nil)) },
			r.Remove,
			func() { s.AddReader("Another") },
			func() { connect(t, s, r, direct) },
		} {
			c.wait()
			change()
			ok(t, c.event(), i)
			c.quiet()
		}
		c.wait()
		ok(t, cancel())
		want(t, winscard.ErrCancelled, c.event())
		ok(t, cancel()) // nobody waits: lost
		c.quiet()

		c.wait()
		require.NoError(t, c.Send(protocol.CmdStopWaiting, nil))
		ok(t, c.event())
		require.NoError(t, c.Send(protocol.CmdStopWaiting, nil)) // no answer
		r.Insert(echo(nil))                                      // no event
		c.quiet()

		c.wait()
		r.Remove()
		ok(t, c.event())
		require.NoError(t, c.Send(protocol.CmdStopWaiting, nil)) // too late: no answer
		c.quiet()
	})
}

// Either the event or the answer to stop comes, and never both, whatever is first.
func TestSocketStopWaitingRace(t *testing.T) {
	minors(t, func(t *testing.T, minor int32) {
		s, r := setup(t, nil)
		socket, _ := serve(t, s)
		c := open(t, socket, minor)
		card := echo(nil)
		for i := range 200 {
			c.wait()
			changed := make(chan struct{})
			go func() {
				defer close(changed)
				if i%2 == 0 {
					r.Insert(card)
				} else {
					r.Remove()
				}
			}()
			require.NoError(t, c.Send(protocol.CmdStopWaiting, nil))
			ok(t, c.event())
			<-changed
		}
		c.quiet()
	})
}

// pipes is a listener whose connections are in memory, so that the service and its clients can be in a bubble, where no
// machine is slow.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// servePipes serves a service in a bubble until the test ends. What it returns is open for it.
func servePipes(t *testing.T, s *virtual.Service) (open func(minor int32) *remote) {
	t.Helper()
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	return func(minor int32) *remote {
		t.Helper()
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		l.conns <- theirs
		c := &pcscclient.Client{Conn: ours}
		require.NoError(t, c.Agree(minor))
		ctx, err := c.Establish()
		require.NoError(t, err)
		return &remote{c, t, ctx}
	}
}

// Events do not come between what libpcsclite 2.x asks for after it has begun to wait, and its answers: it would take
// them for those.
func TestSocketEventsAreHeldBack(t *testing.T) {
	const slow = 19 * time.Millisecond // as long as a client may take for its next question
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, nil)
		open := servePipes(t, s)
		for minor := int32(5); minor <= 6; minor++ {
			c := open(minor)
			card := echo(nil)
			for range 10 {
				require.NoError(t, c.Send(protocol.CmdWaitReaderStateChange, nil))
				if minor < 6 {
					_, err := c.ReceiveStates(winscard.MaxReaders)
					require.NoError(t, err)
				} else {
					c.quiet() // so it has begun
				}
				r.Insert(card)
				r.Remove()
				if minor == 6 {
					time.Sleep(time.Second - 1)
					states, err := c.States()
					require.NoError(t, err)
					require.Len(t, states, 1)
					require.Equal(t, r.Name(), states[0].Name)
				}
				time.Sleep(slow)
				events := protocol.ReaderEvents{}
				require.NoError(t, c.Send(protocol.CmdGetReaderEvents, nil))
				require.NoError(t, c.Receive(&events))
				require.EqualValues(t, 2, events.Count)
				ok(t, c.event())
			}
		}
		// A client that asks for nothing more gets its event too.
		c := open(6)
		require.NoError(t, c.Send(protocol.CmdWaitReaderStateChange, nil))
		c.quiet()
		begin := time.Now()
		r.Insert(echo(nil))
		ok(t, c.event())
		require.Equal(t, time.Second, time.Since(begin))
	})
}

func TestSocketReaderEvents(t *testing.T) {
	s := virtual.New()
	socket, _ := serve(t, s)
	c := open(t, socket, 6)
	count := func() uint32 {
		var events protocol.ReaderEvents
		require.NoError(t, c.Send(protocol.CmdGetReaderEvents, nil))
		require.NoError(t, c.Receive(&events))
		ok(t, events.RV)
		return events.Count
	}
	require.EqualValues(t, 1, count())
	r := s.AddReader("Test Reader")
	require.EqualValues(t, 2, count())
	r.Insert(echo(nil))
	require.EqualValues(t, 2, count())
	s.RemoveReader(r)
	require.EqualValues(t, 3, count())
	for range 0x7FFF - 3 {
		s.RemoveReader(s.AddReader("Test Reader"))
	}
	require.EqualValues(t, 0x7FFC, count(), "of 15 bits, and never 0")
}

// The number of states is the one that was told, although readers come and go.
func TestSocketStatesWhileReadersChange(t *testing.T) {
	s := virtual.New()
	readers := []*virtual.Reader{s.AddReader("A"), s.AddReader("B")}
	socket, _ := serve(t, s)
	c := open(t, socket, 6)
	require.NoError(t, c.Send(protocol.CmdGetReadersStateArray, nil)) // none was told
	ask := func() int {
		var count protocol.ReaderCount
		require.NoError(t, c.Send(protocol.CmdGetReadersStateSize, nil))
		require.NoError(t, c.Receive(&count))
		return int(count.Count)
	}
	names := func(n int) (names []string) {
		require.NoError(t, c.Send(protocol.CmdGetReadersStateArray, nil))
		states, err := c.ReceiveStates(n)
		require.NoError(t, err)
		for _, s := range states {
			names = append(names, s.Name)
		}
		return names
	}
	require.Equal(t, 2, ask())
	s.AddReader("C")
	require.Equal(t, []string{"A 00 00", "B 01 00"}, names(2))
	require.Equal(t, 3, ask())
	s.RemoveReader(readers[0])
	require.Equal(t, []string{"B 01 00", "C 02 00", ""}, names(3))
	require.Equal(t, 2, ask())
	require.Equal(t, []string{"B 01 00", "C 02 00"}, names(2))
	c.quiet()
}

// libpcsclite asks again by itself while another client has the lock, so the server does not wait. BeginTransaction
// waits a little, as in pcscd, but not longer than it has to.
func TestSocketLock(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	socket, _ := serve(t, s)
	a, b := open(t, socket, 4), open(t, socket, 4)
	cardA, cardB := a.connect(r), b.connect(r)
	ok(t, a.begin(cardA))
	want(t, winscard.ErrSharingViolation, b.begin(cardB))
	want(t, winscard.ErrSharingViolation, b.status(cardB))
	_, err := b.Transmit(cardB, t1, apdu...)
	require.Equal(t, winscard.ErrSharingViolation, err)
	reconnect := protocol.Reconnect{Card: cardB, ShareMode: shared, PreferredProtocols: anyT}
	require.NoError(t, b.Call(protocol.CmdReconnect, &reconnect))
	want(t, winscard.ErrSharingViolation, reconnect.RV)
	want(t, winscard.ErrSharingViolation, b.end(cardB))
	control := protocol.Control{Card: cardB, RecvLength: 10}
	require.NoError(t, b.Call(protocol.CmdControl, &control))
	want(t, winscard.ErrSharingViolation, control.RV)

	require.NoError(t, b.Send(protocol.CmdBeginTransaction, &protocol.BeginTransaction{Card: cardB}))
	ok(t, a.end(cardA))
	var m protocol.BeginTransaction
	require.NoError(t, b.Receive(&m))
	if m.RV == winscard.ErrSharingViolation { // the machine was slow
		m.RV = b.begin(cardB)
	}
	ok(t, m.RV)
	want(t, winscard.ErrSharingViolation, a.status(cardA))
	ok(t, b.end(cardB))
	ok(t, a.status(cardA))

	reconnect = protocol.Reconnect{Card: cardB, ShareMode: exclusive, PreferredProtocols: anyT}
	require.NoError(t, b.Call(protocol.CmdReconnect, &reconnect))
	want(t, winscard.ErrSharingViolation, reconnect.RV, "there is another connection")
}

// A client that dies loses its locks, and its card is reset if it had one.
func TestSocketDeath(t *testing.T) {
	card := &resetCounter{}
	s, r := setup(t, card)
	socket, _ := serve(t, s)
	survivor := open(t, socket, 4)
	handle := survivor.connect(r)

	quiet := open(t, socket, 4)
	quiet.connect(r)
	quiet.Close()
	require.Eventually(t, func() bool { return sharing(t, survivor) == 1 }, socketPatience, time.Millisecond)
	ok(t, survivor.status(handle), "the card was left as it is")

	before := card.n.Load()
	holder := open(t, socket, 4)
	ok(t, holder.begin(holder.connect(r)))
	want(t, winscard.ErrSharingViolation, survivor.status(handle))
	holder.Close()
	require.Eventually(t, func() bool { return sharing(t, survivor) == 1 }, socketPatience, time.Millisecond)
	want(t, winscard.ErrResetCard, survivor.status(handle))
	require.Equal(t, before+1, card.n.Load())
}

// sharing is the number of connections to the first reader.
func sharing(t testing.TB, c *remote) int32 {
	t.Helper()
	states, err := c.States()
	require.NoError(t, err)
	return states[0].Sharing
}

// Handles and contexts are their client's alone.
func TestSocketHandlesArePrivate(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	socket, _ := serve(t, s)
	owner := open(t, socket, 4)
	card := owner.connect(r)
	_, inProcess := connect(t, s, r, shared)
	for _, handle := range []int32{card, int32(inProcess), 0, -1, card ^ 1} {
		for cmd, m := range map[protocol.Command]protocol.Message{
			protocol.CmdReconnect:        &protocol.Reconnect{Card: handle, ShareMode: shared, PreferredProtocols: anyT},
			protocol.CmdDisconnect:       &protocol.Disconnect{Card: handle},
			protocol.CmdBeginTransaction: &protocol.BeginTransaction{Card: handle},
			protocol.CmdEndTransaction:   &protocol.EndTransaction{Card: handle},
			protocol.CmdStatus:           &protocol.Status{Card: handle},
			protocol.CmdTransmit:         &protocol.Transmit{Card: handle, SendPCIProtocol: t1, RecvLength: 100},
			protocol.CmdControl:          &protocol.Control{Card: handle, RecvLength: 100},
			protocol.CmdGetAttrib:        &protocol.Attrib{Card: handle, Length: 100},
			protocol.CmdSetAttrib:        &protocol.Attrib{Card: handle, Length: 100},
		} {
			thief := open(t, socket, 4)
			require.NoError(t, thief.Send(cmd, m))
			requireCutOff(t, thief, "%v", cmd)
		}
	}
	thief := open(t, socket, 4)
	release := protocol.Release{Context: owner.ctx}
	require.NoError(t, thief.Call(protocol.CmdReleaseContext, &release))
	want(t, winscard.ErrInvalidValue, release.RV)
	_, _, err := thief.Connect(owner.ctx, r.Name())
	require.Equal(t, winscard.ErrInvalidValue, err)
	_, _, err = dial(t, socket, 4).Connect(owner.ctx, r.Name())
	require.Equal(t, winscard.ErrInvalidHandle, err)
	ok(t, owner.status(card))
}

// What is not as it should be ends that connection, and disturbs no other.
func TestSocketMalformed(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	socket, _ := serve(t, s)
	witness := open(t, socket, 6)
	witnessed := witness.connect(r)
	words := pcscclient.Words
	big := uint32(1) << 31
	for name, send := range map[string]func(c *remote, card int32) []byte{
		"NoSuchCommand":    func(*remote, int32) []byte { return words(0, 0x77) },
		"CommandZero":      func(*remote, int32) []byte { return words(0, 0) },
		"UnusedCommand":    func(*remote, int32) []byte { return words(0, 3) },
		"BodyTooShort":     func(*remote, int32) []byte { return words(4, uint32(protocol.CmdStatus), 1) },
		"BodyTooLong":      func(c *remote, card int32) []byte { return words(12, uint32(protocol.CmdStatus), uint32(card), 0, 0) },
		"BodyHuge":         func(*remote, int32) []byte { return words(big, uint32(protocol.CmdStatus)) },
		"BodyWhereNone":    func(*remote, int32) []byte { return words(4, uint32(protocol.CmdGetReadersState), 1) },
		"SecondContext":    func(*remote, int32) []byte { return words(12, uint32(protocol.CmdEstablishContext), 2, 0, 0) },
		"VersionInContext": func(*remote, int32) []byte { return words(12, uint32(protocol.CmdVersion), 4, 4, 0) },
		"SecondWait":       func(c *remote, _ int32) []byte { c.wait(); return words(0, uint32(protocol.CmdWaitReaderStateChange)) },
		"OversizedAPDU": func(_ *remote, card int32) []byte {
			return words(32, uint32(protocol.CmdTransmit), uint32(card), t1, 16, protocol.MaxData+1, 3, 16, 100, 0)
		},
		"HugeAPDU": func(_ *remote, card int32) []byte {
			return words(32, uint32(protocol.CmdTransmit), uint32(card), t1, 16, ^uint32(0), 3, 16, 100, 0)
		},
		"OversizedControl": func(_ *remote, card int32) []byte {
			return words(24, uint32(protocol.CmdControl), uint32(card), 1, protocol.MaxData+1, 100, 0, 0)
		},
		"OversizedGet": func(_ *remote, card int32) []byte {
			return append(words(280, uint32(protocol.CmdGetAttrib), uint32(card), 1), append(make([]byte, 264), words(265, 0)...)...)
		},
		"OversizedSet": func(_ *remote, card int32) []byte {
			return append(words(280, uint32(protocol.CmdSetAttrib), uint32(card), 1), append(make([]byte, 264), words(big, 0)...)...)
		},
		"AnotherProtocol":   func(*remote, int32) []byte { return []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") },
		"AllOnes":           func(*remote, int32) []byte { return words(^uint32(0), ^uint32(0), ^uint32(0)) },
		"WaitWithSizeAfter": func(*remote, int32) []byte { return words(8, uint32(protocol.CmdStopWaiting), 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			minors(t, func(t *testing.T, minor int32) {
				c := open(t, socket, minor)
				_, err := c.Write(send(c, c.connect(r)))
				require.NoError(t, err)
				requireCutOff(t, c)
			})
		})
	}
	for name, b := range map[string][]byte{
		"Nothing":       {},
		"HalfAHeader":   words(12),
		"HeaderAlone":   words(12, uint32(protocol.CmdVersion)),
		"HalfABody":     words(12, uint32(protocol.CmdVersion), 4),
		"NoVersion":     words(12, uint32(protocol.CmdEstablishContext), 2, 0, 0),
		"StatesAtOnce":  words(0, uint32(protocol.CmdGetReadersState)),
		"WaitAtOnce":    words(0, uint32(protocol.CmdWaitReaderStateChange)),
		"ReleaseAtOnce": words(8, uint32(protocol.CmdReleaseContext), 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, socket, 0)
			_, err := c.Write(b)
			require.NoError(t, err)
			require.NoError(t, c.Conn.(*net.UnixConn).CloseWrite()) // it has said all it has to say
			requireCutOff(t, c)
		})
	}
	// A command whose data never come, in the middle.
	c := open(t, socket, 4)
	require.NoError(t, c.Send(protocol.CmdTransmit, &protocol.Transmit{Card: c.connect(r), SendPCIProtocol: t1, SendLength: 100, RecvLength: 100}, apdu...))
	require.NoError(t, c.Conn.(*net.UnixConn).CloseWrite())
	requireCutOff(t, c)

	ok(t, witness.status(witnessed))
	_, err := witness.Transmit(witnessed, t1, apdu...)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return sharing(t, witness) == 1 }, socketPatience, time.Millisecond, "the others' connections are closed")
}

// The largest APDU goes through in both directions, and a response is not sent to a client that has no room for it.
func TestSocketSizes(t *testing.T) {
	s, r := setup(t, virtual.NewCard(atrBoth, func(apdu []byte) []byte { return append([]byte(nil), apdu...) }))
	r.SetController(virtual.ControlFunc(func(code uint32, in []byte) ([]byte, error) { return append([]byte{byte(code)}, in...), nil }))
	socket, _ := serve(t, s)
	c := open(t, socket, 4)
	card := c.connect(r)
	largest := make([]byte, protocol.MaxData)
	for i := range largest {
		largest[i] = byte(i * 7)
	}
	response, err := c.Transmit(card, t1, largest...)
	require.NoError(t, err)
	require.Equal(t, largest, response)
	m := protocol.Transmit{Card: card, SendPCIProtocol: t1, SendLength: 100, RecvLength: 99}
	require.NoError(t, c.Call(protocol.CmdTransmit, &m, largest[:100]...))
	want(t, winscard.ErrInsufficientBuffer, m.RV)
	require.EqualValues(t, 100, m.RecvLength)
	m = protocol.Transmit{Card: card, SendPCIProtocol: t1, RecvLength: 99}
	require.NoError(t, c.Call(protocol.CmdTransmit, &m))
	want(t, winscard.ErrInvalidParameter, m.RV)

	for room, code := range map[uint32]winscard.Code{4: winscard.ErrInsufficientBuffer, 5: winscard.Success} {
		m := protocol.Control{Card: card, ControlCode: 9, SendLength: 4, RecvLength: room}
		require.NoError(t, c.Call(protocol.CmdControl, &m, apdu...))
		want(t, code, m.RV)
		require.EqualValues(t, 5, m.BytesReturned)
		out := make([]byte, m.ReplyData())
		_, err := io.ReadFull(c, out)
		require.NoError(t, err)
		if code == winscard.Success {
			require.Equal(t, append([]byte{9}, apdu...), out)
		}
	}
	name := r.Name() + "\x00"
	for room, code := range map[uint32]winscard.Code{5: winscard.ErrInsufficientBuffer, 264: winscard.Success} {
		m := protocol.Attrib{Card: card, ID: uint32(winscard.AttrDeviceFriendlyName), Length: room}
		require.NoError(t, c.Call(protocol.CmdGetAttrib, &m))
		want(t, code, m.RV)
		require.EqualValues(t, len(name), m.Length)
		require.Equal(t, name, string(m.Value[:m.Length]))
	}
	set := protocol.Attrib{Card: card, ID: 1, Length: 3}
	require.NoError(t, c.Call(protocol.CmdSetAttrib, &set))
	want(t, winscard.ErrNotTransacted, set.RV)
}

// 200 clients at once work, each with a context, and wait for each other only where they have to. The next one gets
// none, as from pcscd.
func TestSocketManyClients(t *testing.T) {
	const clients = 200
	s, r := setup(t, echo(atrBoth))
	socket, _ := serve(t, s)
	all := make([]*remote, clients)
	for i := range all {
		all[i] = open(t, socket, int32(4+i%3))
	}
	_, err := dial(t, socket, 4).Establish()
	require.Equal(t, winscard.ErrCommError, err)

	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			card, _, err := c.Connect(c.ctx, r.Name())
			if err != nil {
				t.Errorf("client %d: connect: %v", i, err)
				return
			}
			for n := range 20 {
				command := []byte{byte(i), byte(n), 1, 2, 3}
				response, err := c.Transmit(card, t1, command...)
				if err != nil || string(response) != string(command)+"\x90\x00" {
					t.Errorf("client %d: % X: % X, %v", i, command, response, err)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, clients, sharing(t, all[0]))
	for i, c := range all { // who waits can be cancelled, although there are 200 contexts
		wg.Go(func() {
			c.wait()
			canceller := dial(t, socket, 0)
			defer canceller.Close()
			m := protocol.Cancel{Context: int32(c.ctx)}
			if err := canceller.Call(protocol.CmdCancel, &m); err != nil {
				t.Errorf("client %d: cancel: %v", i, err)
			} else if rc := c.event(); rc != winscard.ErrCancelled {
				t.Errorf("client %d: %v", i, rc)
			}
		})
	}
	wg.Wait()
	for _, c := range all[1:] {
		c.Close()
	}
	require.Eventually(t, func() bool { return sharing(t, all[0]) == 1 }, socketPatience, time.Millisecond)
}

// A client that does not read, one that stops in the middle of a message and one whose card takes its time stop nobody.
func TestSocketHungClients(t *testing.T) {
	release := make(chan struct{})
	s, r := setup(t, echo(atrBoth))
	slow := s.AddReader("Slow Reader")
	slow.Insert(virtual.NewCard(atrBoth, func([]byte) []byte { <-release; return []byte{0x90, 0x00} }))
	socket, _ := serve(t, s)

	deaf := open(t, socket, 4)
	go func() { // until nothing goes any more
		for deaf.Send(protocol.CmdGetReadersState, nil) == nil {
		}
	}()
	half := open(t, socket, 4)
	_, err := half.Write(pcscclient.Words(32, uint32(protocol.CmdTransmit), 1))
	require.NoError(t, err)
	waiting := open(t, socket, 4)
	require.NoError(t, waiting.Send(protocol.CmdWaitReaderStateChange, nil)) // and it does not read
	patient := open(t, socket, 4)
	card := patient.connect(slow)
	require.NoError(t, patient.Send(protocol.CmdTransmit, &protocol.Transmit{Card: card, SendPCIProtocol: t1, SendLength: 4, RecvLength: 100}, apdu...))

	for range 20 {
		c := open(t, socket, 4)
		card := c.connect(r)
		ok(t, c.begin(card))
		_, err := c.Transmit(card, t1, apdu...)
		require.NoError(t, err)
		ok(t, c.end(card))
		c.Close()
	}
	close(release)
	var m protocol.Transmit
	require.NoError(t, patient.Receive(&m))
	ok(t, m.RV)
	deaf.Close()
}

// With the service goes its socket, and with it all contexts.
func TestSocketStopAndStart(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	socket, _ := serve(t, s)
	for range 3 {
		c := open(t, socket, 4)
		card := c.connect(r)
		ok(t, c.begin(card))
		waiting := open(t, socket, 4)
		waiting.wait()
		s.Stop()
		requireCutOff(t, c)
		requireCutOff(t, waiting)
		_, err := pcscclient.Dial(socket, time.Now().Add(time.Second))
		require.ErrorIs(t, err, os.ErrNotExist)
		s.Stop() // does nothing
		s.Start()
	}
	c := open(t, socket, 6)
	var events protocol.ReaderEvents
	require.NoError(t, c.Send(protocol.CmdGetReaderEvents, nil))
	require.NoError(t, c.Receive(&events))
	require.EqualValues(t, 2, events.Count)
	_, err := c.Transmit(c.connect(r), t1, apdu...)
	require.NoError(t, err)

	s.Stop()
	t.Run("ServedWhileStopped", func(t *testing.T) {
		socket, end := serve(t, s)
		require.Eventually(t, func() bool { _, err := os.Stat(socket); return errors.Is(err, os.ErrNotExist) }, socketPatience, time.Millisecond)
		s.Start()
		open(t, socket, 4)
		s.Stop()
		end()
	})
}

// If somebody has taken the path meanwhile, Serve ends and says so.
func TestSocketPathTaken(t *testing.T) {
	s := virtual.New()
	l, err := virtual.Listen("")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), l) }()
	open(t, l.Addr().String(), 4)
	s.Stop()
	require.NoError(t, os.WriteFile(l.Addr().String(), nil, 0o600))
	s.Start()
	require.ErrorIs(t, <-done, os.ErrExist)
	require.FileExists(t, l.Addr().String(), "it is not ours")
	require.NoError(t, os.RemoveAll(l.Addr().String()))
}
