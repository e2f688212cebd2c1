//go:build unix

package virtual_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscclient"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// FuzzServer lets a client say anything, and then be gone. It is cut off where it breaks the protocol and nowhere else,
// a client beside it notices nothing, and nothing is left of it: no goroutine, no context, no lock.
//
// What it says are the bytes of a session, in which handles are small numbers, see talker.
func FuzzServer(f *testing.F) {
	for minor := int32(protocol.FirstMinor); minor <= protocol.LastMinor; minor++ {
		for _, session := range fuzzSessions(f, minor) {
			f.Add(session, byte(0))
			f.Add(session, byte(hasty))
			f.Add(session, byte(hasty|vanishes))
			f.Add(session[:len(session)-5], byte(0))
			f.Add(session[20:], byte(0)) // without the version
		}
	}
	f.Add([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), byte(0))
	f.Add([]byte{}, byte(vanishes))

	s, r := setup(f, echo(atrBoth))
	r.SetController(virtual.ControlFunc(func(_ uint32, in []byte) ([]byte, error) { return bytes.Clone(in), nil }))
	other := s.AddReader("Other Reader")
	other.Insert(echo(atrBoth))
	socket, _ := serve(f, s)
	witness := open(f, socket, 6)
	exclusively := func(t testing.TB, r *virtual.Reader, protocols uint32) int32 {
		t.Helper()
		m := protocol.Connect{Context: witness.ctx, Reader: r.Name(), ShareMode: exclusive, PreferredProtocols: protocols}
		require.NoError(t, witness.Call(protocol.CmdConnect, &m))
		ok(t, m.RV)
		return m.Card
	}
	witnessed := exclusively(f, other, anyT)
	check := func(t *testing.T) {
		t.Helper()
		response, err := witness.Transmit(witnessed, t1, apdu...)
		require.NoError(t, err)
		require.Equal(t, append(bytes.Clone(apdu), 0x90, 0x00), response)
	}

	f.Fuzz(func(t *testing.T, session []byte, manner byte) {
		before := runtime.NumGoroutine()
		deadline := time.Now().Add(socketPatience)
		require.NoError(t, witness.SetDeadline(deadline))
		c, err := pcscclient.Dial(socket, deadline)
		require.NoError(t, err)
		defer c.Close()
		talk := talker{t: t, Client: c, deadline: deadline, hasty: manner&hasty != 0, own: map[int32]bool{}}
		talk.say(session)
		check(t)
		talk.leave(manner&vanishes != 0)
		require.NoError(t, dial(t, socket, 4).Close()) // when that was let in, the talker has been too
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
				require.Fail(t, "a goroutine is left")
			}
			runtime.Gosched()
		}
		check(t)
		// The card keeps the protocol that the client has agreed on with it, which may be any, until it loses its power.
		disconnect := protocol.Disconnect{Card: exclusively(t, r, raw), Disposition: unpower}
		require.NoError(t, witness.Call(protocol.CmdDisconnect, &disconnect))
		ok(t, disconnect.RV)
	})
}

// The manners of a talker.
const (
	hasty    = 1 << iota // it does not wait for each answer before it goes on
	vanishes             // it does not wait for the end either
)

// A talker says what is in a session. In place of its context a session has 1, and in place of the nth connection to a
// card n, at the beginning of the messages' bodies. It knows what is to be answered, and when it is cut off.
type talker struct {
	t *testing.T
	*pcscclient.Client
	deadline time.Time
	hasty    bool

	ctx    uint32  // 0 if there is none
	first  uint32  // the last context that there was
	cards  []int32 // all connections that there were
	own    map[int32]bool
	places int // the number of states that was told

	open    []func() // read the answers that have not been read
	waiting bool     // for an event
	cut     bool     // it has been cut off, or is as good as gone
	stuck   bool     // it may be waiting for a lock of its own, for ever
	deaf    chan struct{}
}

// lockPatience is how long a talker waits for an answer that may never come. Nothing depends on it but how much of a
// session is said.
const lockPatience = 10 * time.Millisecond

// say sends the session's messages, until one is malformed: that one is sent with all that follows.
func (k *talker) say(session []byte) {
	for len(session) > 0 && !k.cut {
		n, cmd, body, data, intact := k.next(session)
		if !intact {
			// A header that is wrong is enough to be cut off, a message that is torn is not.
			cut := len(session) >= 8
			if cut {
				size, known := k.command(session)
				cut = !known || binary.NativeEndian.Uint32(session) != uint32(size) || k.Minor == 0 && cmd != protocol.CmdVersion && cmd != protocol.CmdCancel
			}
			k.write(session)
			k.isCutOff(cut)
			return
		}
		message := bytes.Clone(session[:n])
		body = message[8 : 8+len(body)]
		k.fill(cmd, body)
		if k.wrong(cmd, body) {
			k.write(append(message, session[n:]...))
			k.isCutOff(true)
			return
		}
		k.write(message)
		k.answer(cmd, body, data)
		session = session[n:]
	}
}

// command is what a header says.
func (k *talker) command(session []byte) (size int, known bool) {
	minor := k.Minor
	if minor == 0 {
		minor = protocol.FirstMinor
	}
	return protocol.Command(binary.NativeEndian.Uint32(session[4:])).Request(minor)
}

// next takes a message of n bytes, unless it is torn or its header is wrong.
func (k *talker) next(session []byte) (n int, cmd protocol.Command, body []byte, data int, intact bool) {
	if len(session) < 8 {
		return 0, 0, nil, 0, false
	}
	cmd = protocol.Command(binary.NativeEndian.Uint32(session[4:]))
	size, known := k.command(session)
	if !known || binary.NativeEndian.Uint32(session) != uint32(size) || len(session) < 8+size {
		return 0, cmd, nil, 0, false
	}
	body = session[8 : 8+size]
	var length uint32
	switch cmd {
	case protocol.CmdTransmit:
		var m protocol.Transmit
		require.NoError(k.t, m.UnmarshalBinary(body))
		length = m.RequestData()
	case protocol.CmdControl:
		var m protocol.Control
		require.NoError(k.t, m.UnmarshalBinary(body))
		length = m.RequestData()
	}
	if length > protocol.MaxData {
		length = 0 // nobody is going to read it
	}
	n = 8 + size + int(length)
	return n, cmd, body, int(length), n <= len(session)
}

// fill puts a handle in the place of its number.
func (k *talker) fill(cmd protocol.Command, body []byte) {
	switch cmd {
	case protocol.CmdReleaseContext, protocol.CmdConnect, protocol.CmdCancel:
		if binary.NativeEndian.Uint32(body) == 1 {
			binary.NativeEndian.PutUint32(body, k.first)
		}
	default:
		if !hasCard(cmd) {
			return
		}
		if i := binary.NativeEndian.Uint32(body); i >= 1 && i <= uint32(len(k.cards)) {
			binary.NativeEndian.PutUint32(body, uint32(k.cards[i-1]))
		}
	}
}

// hasCard reports whether a message begins with a connection to a card.
func hasCard(cmd protocol.Command) bool {
	switch cmd {
	case protocol.CmdReconnect, protocol.CmdDisconnect, protocol.CmdBeginTransaction, protocol.CmdEndTransaction,
		protocol.CmdTransmit, protocol.CmdControl, protocol.CmdStatus, protocol.CmdGetAttrib, protocol.CmdSetAttrib:
		return true
	}
	return false
}

// wrong reports whether a message that is intact must not be sent now, or not at all.
func (k *talker) wrong(cmd protocol.Command, body []byte) bool {
	switch {
	case k.deaf != nil:
		return false // it has lost count
	case k.Minor == 0 && cmd != protocol.CmdVersion && cmd != protocol.CmdCancel:
		return true
	case cmd == protocol.CmdVersion || cmd == protocol.CmdEstablishContext:
		return k.ctx != 0
	case hasCard(cmd) && !k.own[int32(binary.NativeEndian.Uint32(body))]:
		return true
	}
	switch cmd {
	case protocol.CmdTransmit:
		return binary.NativeEndian.Uint32(body[12:]) > protocol.MaxData
	case protocol.CmdControl:
		return binary.NativeEndian.Uint32(body[8:]) > protocol.MaxData
	case protocol.CmdGetAttrib, protocol.CmdSetAttrib:
		return binary.NativeEndian.Uint32(body[272:]) > uint32(len(protocol.Attrib{}.Value))
	}
	return false
}

// write sends bytes. The server may have cut the client off before it has read them.
func (k *talker) write(b []byte) {
	if _, err := k.Client.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		require.Fail(k.t, "the server does not read")
	}
}

// answer reads what is answered to a message, now or later.
func (k *talker) answer(cmd protocol.Command, body []byte, data int) {
	if k.waiting && cmd != protocol.CmdStopWaiting && k.deaf == nil {
		// The event may come before or after any further answer: from now on they are not told apart.
		k.deaf = make(chan struct{})
		go func() {
			defer close(k.deaf)
			_, _ = io.Copy(io.Discard, k.Client.Conn)
		}()
	}
	locks := cmd == protocol.CmdConnect || cmd == protocol.CmdDisconnect
	if k.deaf != nil {
		k.stuck = k.stuck || locks
		return
	}
	if locks {
		k.catchUp()
		if k.stuck = k.silent(); k.stuck {
			k.cut = true
			return
		}
	}
	k.open = append(k.open, func() { k.read(cmd, body) })
	if !k.hasty || len(k.open) > 8 || data > 1<<10 || changes(cmd) {
		k.catchUp()
	}
}

// silent reports whether there is no answer yet, after a while.
func (k *talker) silent() bool {
	raw, err := k.Conn.(*net.UnixConn).SyscallConn()
	require.NoError(k.t, err)
	require.NoError(k.t, k.SetReadDeadline(time.Now().Add(lockPatience)))
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
		return n > 0 || !errors.Is(err, unix.EAGAIN)
	})
	require.NoError(k.t, k.SetReadDeadline(k.deadline))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// changes reports whether the answer to a command matters for what comes next.
func changes(cmd protocol.Command) bool {
	switch cmd {
	case protocol.CmdVersion, protocol.CmdEstablishContext, protocol.CmdReleaseContext, protocol.CmdConnect,
		protocol.CmdDisconnect, protocol.CmdGetReadersStateSize, protocol.CmdWaitReaderStateChange, protocol.CmdStopWaiting:
		return true
	}
	return false
}

// catchUp reads all answers.
func (k *talker) catchUp() {
	open := k.open
	k.open = nil
	for _, read := range open {
		read()
	}
}

// receive reads a message, for which there is no reason not to come.
func (k *talker) receive(cmd protocol.Command, m protocol.Message) {
	require.NoError(k.t, k.Receive(m), "the answer to %v", cmd)
}

// read reads the answer to a command.
func (k *talker) read(cmd protocol.Command, body []byte) {
	switch cmd {
	case protocol.CmdVersion:
		var asked, m protocol.Version
		require.NoError(k.t, asked.UnmarshalBinary(body))
		k.receive(cmd, &m)
		require.Equal(k.t, asked.Major == 4 && asked.Minor >= 4 && asked.Minor <= 6, m.RV == winscard.Success)
		if m.RV == winscard.Success {
			k.Minor = asked.Minor
		}
	case protocol.CmdEstablishContext:
		var m protocol.Establish
		k.receive(cmd, &m)
		if m.RV != winscard.Success {
			want(k.t, winscard.ErrInvalidValue, m.RV)
			return
		}
		k.ctx, k.first = m.Context, m.Context
	case protocol.CmdReleaseContext:
		var m protocol.Release
		k.receive(cmd, &m)
		if m.RV == winscard.Success {
			k.ctx = 0
			clear(k.own)
		}
	case protocol.CmdConnect:
		var m protocol.Connect
		k.receive(cmd, &m)
		if m.RV == winscard.Success {
			k.cards = append(k.cards, m.Card)
			k.own[m.Card] = true
		}
	case protocol.CmdDisconnect:
		var m protocol.Disconnect
		k.receive(cmd, &m)
		if m.RV == winscard.Success {
			delete(k.own, m.Card)
		}
	case protocol.CmdTransmit:
		var m protocol.Transmit
		k.receive(cmd, &m)
		k.receiveData(m.ReplyData())
	case protocol.CmdControl:
		var m protocol.Control
		k.receive(cmd, &m)
		k.receiveData(m.ReplyData())
	case protocol.CmdWaitReaderStateChange:
		k.waiting = true
		k.receiveStates(cmd)
	case protocol.CmdStopWaiting:
		if k.waiting { // the answer, or the event
			k.receive(cmd, &protocol.Event{})
		}
		k.waiting = false
	case protocol.CmdGetReadersStateSize:
		var m protocol.ReaderCount
		k.receive(cmd, &m)
		require.EqualValues(k.t, 2, m.Count)
		k.places = int(m.Count)
	case protocol.CmdGetReadersState, protocol.CmdGetReadersStateArray:
		k.receiveStates(cmd)
	default:
		size, count := cmd.Reply(k.Minor)
		if k.Minor == 0 {
			size, count = cmd.Reply(protocol.FirstMinor)
		}
		_, err := io.ReadFull(k.Client, make([]byte, size*count))
		require.NoError(k.t, err, "the answer to %v", cmd)
	}
}

func (k *talker) receiveData(n uint32) {
	require.LessOrEqual(k.t, n, uint32(protocol.MaxData))
	_, err := io.ReadFull(k.Client, make([]byte, n))
	require.NoError(k.t, err, "the data")
}

func (k *talker) receiveStates(cmd protocol.Command) {
	_, count := cmd.Reply(k.Minor)
	if count < 0 {
		count = k.places
	}
	_, err := k.ReceiveStates(count)
	require.NoError(k.t, err, "the answer to %v", cmd)
}

// isCutOff makes sure that the server closes the connection, by itself or when it has been told that nothing follows.
func (k *talker) isCutOff(byItself bool) {
	k.cut = true
	if !byItself || k.deaf != nil {
		_ = k.Conn.(*net.UnixConn).CloseWrite()
	}
	if k.deaf != nil {
		return
	}
	k.catchUp()
	waited := k.waiting
	b, err := io.ReadAll(k.Client)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		require.Fail(k.t, "the connection stays open")
	}
	require.True(k.t, len(b) == 0 || waited && len(b) == (&protocol.Event{}).Size(), "%d bytes more", len(b))
}

// leave ends the session.
func (k *talker) leave(vanishes bool) {
	vanishes = vanishes || k.stuck
	if !k.cut && !vanishes {
		k.isCutOff(false)
	}
	if k.deaf != nil {
		if vanishes {
			k.Client.Close()
		}
		<-k.deaf
		_, err := k.Client.Read(make([]byte, 1))
		require.False(k.t, errors.Is(err, os.ErrDeadlineExceeded), "the connection stays open")
	}
	k.Client.Close()
}

// a recordedConn keeps what is sent.
type recordedConn struct {
	net.Conn
	sent []byte
}

func (c *recordedConn) Write(b []byte) (int, error) {
	c.sent = append(c.sent, b...)
	return len(b), nil
}

// fuzzSessions are what libpcsclite says in one version of the protocol, and what it would say if it were asked to.
func fuzzSessions(t testing.TB, minor int32) (sessions [][]byte) {
	const reader = "Test Reader 00 00"
	session := func(talk func(say func(cmd protocol.Command, m protocol.Message, data ...byte))) {
		var conn recordedConn
		c := pcscclient.Client{Conn: &conn}
		say := func(cmd protocol.Command, m protocol.Message, data ...byte) {
			var err error
			if m == nil {
				err = c.Send(cmd, nil)
			} else {
				err = c.Send(cmd, m, data...)
			}
			require.NoError(t, err)
		}
		say(protocol.CmdVersion, &protocol.Version{Major: protocol.Major, Minor: minor})
		say(protocol.CmdEstablishContext, &protocol.Establish{Scope: uint32(winscard.ScopeSystem)})
		talk(say)
		sessions = append(sessions, conn.sent)
	}
	connect := func(mode uint32) *protocol.Connect {
		return &protocol.Connect{Context: 1, Reader: reader, ShareMode: mode, PreferredProtocols: anyT}
	}
	transmit := func(card int32, apdu ...byte) (protocol.Command, protocol.Message) {
		return protocol.CmdTransmit, &protocol.Transmit{Card: card, SendPCIProtocol: t1, SendPCILength: 16, SendLength: uint32(len(apdu)),
			RecvPCIProtocol: anyT, RecvPCILength: 16, RecvLength: 264}
	}
	states := func(say func(cmd protocol.Command, m protocol.Message, data ...byte)) {
		if minor < 6 {
			say(protocol.CmdGetReadersState, nil)
			return
		}
		say(protocol.CmdGetReadersStateSize, nil)
		say(protocol.CmdGetReadersStateArray, nil)
	}
	type sayer = func(cmd protocol.Command, m protocol.Message, data ...byte)
	session(func(say sayer) { // SCardListReaders, SCardConnect, and so on
		states(say)
		say(protocol.CmdConnect, connect(shared))
		say(protocol.CmdStatus, &protocol.Status{Card: 1})
		say(protocol.CmdBeginTransaction, &protocol.BeginTransaction{Card: 1})
		cmd, m := transmit(1, apdu...)
		say(cmd, m, apdu...)
		say(protocol.CmdControl, &protocol.Control{Card: 1, ControlCode: 0x42000D48, SendLength: 4, RecvLength: 264}, apdu...)
		say(protocol.CmdGetAttrib, &protocol.Attrib{Card: 1, ID: uint32(winscard.AttrATRString), Length: 264})
		say(protocol.CmdSetAttrib, &protocol.Attrib{Card: 1, ID: uint32(winscard.AttrSuppressT1IFSRequest), Length: 1})
		say(protocol.CmdEndTransaction, &protocol.EndTransaction{Card: 1, Disposition: leave})
		say(protocol.CmdReconnect, &protocol.Reconnect{Card: 1, ShareMode: exclusive, PreferredProtocols: t0, Initialization: unpower})
		say(protocol.CmdDisconnect, &protocol.Disconnect{Card: 1, Disposition: eject})
		say(protocol.CmdReleaseContext, &protocol.Release{Context: 1})
		say(protocol.CmdEstablishContext, &protocol.Establish{Scope: uint32(winscard.ScopeUser)})
	})
	session(func(say sayer) { // SCardGetStatusChange, which SCardCancel ends or a time-out, or nothing
		say(protocol.CmdWaitReaderStateChange, nil)
		say(protocol.CmdStopWaiting, nil)
		say(protocol.CmdWaitReaderStateChange, nil)
		if minor >= 5 {
			states(say)
			say(protocol.CmdGetReaderEvents, nil)
		}
		say(protocol.CmdCancel, &protocol.Cancel{Context: 1})
		say(protocol.CmdConnect, connect(direct))
		say(protocol.CmdWaitReaderStateChange, nil)
	})
	session(func(say sayer) { // two connections, of which one is in a transaction and has an APDU sent when all ends
		say(protocol.CmdConnect, connect(shared))
		say(protocol.CmdConnect, connect(shared))
		say(protocol.CmdBeginTransaction, &protocol.BeginTransaction{Card: 1})
		say(protocol.CmdBeginTransaction, &protocol.BeginTransaction{Card: 1})
		say(protocol.CmdStatus, &protocol.Status{Card: 2})
		cmd, m := transmit(2, apdu...)
		say(cmd, m, apdu...)
		say(protocol.CmdDisconnect, &protocol.Disconnect{Card: 2, Disposition: reset})
		cmd, m = transmit(1, make([]byte, 300)...)
		say(cmd, m, make([]byte, 300)...)
	})
	session(func(say sayer) { // handles of others
		say(protocol.CmdConnect, connect(exclusive))
		say(protocol.CmdReleaseContext, &protocol.Release{Context: 2})
		say(protocol.CmdDisconnect, &protocol.Disconnect{Card: 7})
	})
	session(func(say sayer) { // more than there is room for
		say(protocol.CmdConnect, connect(shared))
		say(protocol.CmdTransmit, &protocol.Transmit{Card: 1, SendPCIProtocol: t1, SendLength: protocol.MaxData + 1})
	})
	for _, header := range [][]byte{ // what is no message, and one more that nobody may read
		pcscclient.Words(4, uint32(protocol.CmdStatus), 1),
		pcscclient.Words(0, uint32(protocol.CmdReleaseContext)),
		pcscclient.Words(0, 0x77),
		pcscclient.Words(^uint32(0), uint32(protocol.CmdCancel)),
	} {
		session(func(say sayer) {
			say(protocol.CmdGetAttrib, &protocol.Attrib{Length: 264})
		})
		last := sessions[len(sessions)-1]
		sessions[len(sessions)-1] = append(last[:len(last)-288:len(last)-288], append(header, last[len(last)-288:]...)...)
	}
	session(func(say sayer) { // a second context
		say(protocol.CmdEstablishContext, &protocol.Establish{Scope: uint32(winscard.ScopeSystem)})
	})
	return sessions
}
