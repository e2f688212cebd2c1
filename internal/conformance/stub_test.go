package conformance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstub"
)

// The stub library checks in C what each call was given: names to the last
// byte, buffers by a pattern, handles by their upper halves. Whoever hands it a
// pointer into a stack that moves, or memory that is collected before it has
// looked, is found out.

const (
	stubContexts = 8
	stubControl  = winscard.Card(cstub.ControlHandle)
)

func testStub(t *testing.T, b *concrete) {
	_, rc := b.GetAttrib(stubControl, cstub.AttrCounters, make([]byte, cstub.TextSize))
	requireOK(t, rc, "this is not the stub library")
	rounds := 300
	if testing.Short() {
		rounds = 5
	}
	t.Run("Calls", func(t *testing.T) { stubCalls(t, b, rounds, nil) })
	// Calls that take their time before they look: whatever was given up too
	// early is gone by then.
	t.Run("SlowCalls", func(t *testing.T) {
		stubCalls(t, b, max(rounds/60, 1), func(s *stub) {
			for f := cstub.FuncEstablishContext; f <= cstub.FuncSetAttrib; f++ {
				s.set(cstub.Delay(f, 2))
			}
		})
	})
	// Answers that fill the capacity that they are told.
	t.Run("FullCapacity", func(t *testing.T) {
		stubCalls(t, b, max(rounds/4, 1), func(s *stub) { s.set(cstub.Fill(true)) })
	})
	t.Run("Waiters", func(t *testing.T) { stubWaiters(t, b) })
}

// stub is a run of calls on the stub library.
type stub struct {
	b *concrete
	failures
	filled bool           // buffers are overwritten behind the answer
	calls  []atomic.Int64 // of each function, those that only a library of Windows has too

	windows bool // the library is one of Windows
	atrSize int  // of a reader state
}

func newStub(t *testing.T, b *concrete) *stub {
	t.Helper()
	s := &stub{b: b, calls: make([]atomic.Int64, int(cstub.FuncStringifyError)+1+len(cstub.WindowsFunctions))}
	s.set(cstub.Reset())
	s.failures.require(t)
	s.atrSize = 33
	counters, err := cstub.ParseCounters(s.text(t, cstub.AttrCounters))
	require.NoError(t, err)
	if _, s.windows = counters[cstub.WindowsFunctions[0].Name]; s.windows {
		s.atrSize = 36
	}
	return s
}

func (s *stub) set(setting cstub.Setting) {
	s.check(winscard.Success, s.b.SetAttrib(stubControl, setting.ID, setting.Value), "SetAttrib of a setting")
}

// called counts a call that the library is to have seen.
func (s *stub) called(f cstub.Func) { s.calls[f].Add(1) }

func (s *stub) text(t *testing.T, id uint32) string {
	t.Helper()
	text, err := cstub.ReadText(func(id uint32, out []byte) (int, uint32) {
		n, rc := s.b.GetAttrib(stubControl, id, out)
		return n, uint32(rc)
	}, id)
	require.NoError(t, err)
	return text
}

// finish requires that the library found no fault and saw every call, once.
func (s *stub) finish(t *testing.T) {
	t.Helper()
	require.Empty(t, s.text(t, cstub.AttrFailures), "what the library found")
	s.failures.require(t)
	counters, err := cstub.ParseCounters(s.text(t, cstub.AttrCounters))
	require.NoError(t, err)
	for f := range s.calls {
		require.Equal(t, int(s.calls[f].Load()), counters[cstub.Func(f).String()], "calls of %v", cstub.Func(f))
	}
	for _, name := range []string{"contexts", "cards", "waiting", "allocations", "events", "failures"} {
		require.Zero(t, counters[name], name)
	}
}

// session is a context of the stub library with a card.
type session struct {
	*stub
	ctx    winscard.Context
	card   winscard.Card
	number int // of the reader
	name   string
}

// session opens a session with a reader whose name has that length, or, if it is odd, is foreign.
func (s *stub) session(number, length int) *session {
	// The name is made here and now: nobody else keeps it alive.
	v := &session{stub: s, number: number}
	var rc winscard.Code
	s.called(cstub.FuncEstablishContext)
	v.ctx, rc = s.b.EstablishContext(uint32(winscard.ScopeSystem))
	if !s.check(winscard.Success, rc, "EstablishContext") {
		return nil
	}
	s.called(cstub.FuncConnect)
	v.name = cstub.CheckedName(number, length)
	if length%2 == 1 {
		v.name = cstub.ForeignName(number)
	}
	var protocol uint32
	v.card, protocol, rc = s.b.Connect(v.ctx, clone(v.name), shared, anyT)
	if !s.check(winscard.Success, rc, "Connect") {
		return nil
	}
	if want := cstub.Protocol(number); protocol != want {
		s.add("Connect: protocol %d, want %d", protocol, want)
	}
	return v
}

func (v *session) close() {
	v.called(cstub.FuncDisconnect)
	v.check(winscard.Success, v.b.Disconnect(v.card, leave), "Disconnect")
	v.called(cstub.FuncReleaseContext)
	v.check(winscard.Success, v.b.ReleaseContext(v.ctx), "ReleaseContext")
}

func stubCalls(t *testing.T, b *concrete, rounds int, configure func(*stub)) {
	watch(t)
	s := newStub(t, b)
	s.set(cstub.ForeignReaders(2))
	if configure != nil {
		configure(s)
		s.filled = strings.HasSuffix(t.Name(), "FullCapacity")
	}
	stop := pressure()
	defer stop()
	together(t, stubContexts, func(i int) {
		number := i * 4 // readers with a card
		number += i % 3
		v := s.session(number, 20+i*15)
		if v == nil {
			return
		}
		defer v.close()
		for round := range rounds {
			r := rand.New(rand.NewPCG(uint64(i), uint64(round)))
			var wg sync.WaitGroup
			for _, call := range stubTable {
				// A fresh goroutine has a small stack. Each depth makes it
				// grow at another place of the call.
				depth, seed := r.IntN(120), r.Uint64()
				wg.Go(func() {
					r := rand.New(rand.NewPCG(seed, 0))
					deepen(depth, func() { call(v, r) })
				})
			}
			wg.Wait()
		}
	})
	stop()
	s.finish(t)
}

// stubTable are calls of all functions.
var stubTable = []func(*session, *rand.Rand){
	(*session).transmit, (*session).transmit, (*session).transmitOnStack, (*session).transmitShort,
	(*session).control, (*session).controlOnStack, (*session).controlNothing, (*session).controlShort,
	(*session).status, (*session).statusOnStack, (*session).statusShort, (*session).statusShort,
	(*session).getAttrib, (*session).getAttribOnStack, (*session).getAttribShort,
	(*session).setAttrib, (*session).setAttribOnStack,
	(*session).getStatusChange, (*session).getStatusChange, (*session).statesOnStack,
	(*session).listReaders, (*session).listReaders, (*session).listGroups, (*session).listShort, (*session).listShort,
	(*session).connect, (*session).connectOnStack, (*session).reconnect,
	(*session).transaction, (*session).others,
}

func (v *session) protocol() uint32 { return cstub.Protocol(v.number) }

// patterned is a self-checking command with the length that random gives.
func patterned(r *rand.Rand) []byte {
	n := cstub.CommandHeader + r.IntN(600)
	if r.IntN(10) == 0 {
		n += r.IntN(60_000)
	}
	return cstub.Command(cstub.Echo, n, 0, byte(r.IntN(256)))
}

// answered checks an answer in a buffer, and that the rest was left alone.
func (v *session) answered(call string, rc winscard.Code, n int, buf, want []byte) {
	if !v.check(winscard.Success, rc, call) {
		return
	}
	if n != len(want) || !bytes.Equal(buf[:n], want) {
		v.add("%s: another answer, of %d bytes for %d", call, n, len(want))
	}
	if v.filled {
		return
	}
	for _, c := range buf[n:] {
		if c != 0 {
			v.add("%s: wrote beyond the answer", call)
			return
		}
	}
}

func (v *session) transmit(r *rand.Rand) {
	send := patterned(r)
	recv := make([]byte, len(send)+2+r.IntN(300))
	v.called(cstub.FuncTransmit)
	n, rc := v.b.Transmit(v.card, v.protocol(), send, recv)
	v.answered("Transmit", rc, n, recv, cstub.TransmitAnswer(send))
}

func (v *session) transmitOnStack(r *rand.Rand) {
	var send [180]byte
	var recv [300]byte
	command := cstub.Command(cstub.Echo, len(send), 0, byte(r.IntN(256)))
	copy(send[:], command)
	v.called(cstub.FuncTransmit)
	n, rc := v.b.Transmit(v.card, v.protocol(), send[:], recv[:])
	v.answered("Transmit", rc, n, recv[:], cstub.TransmitAnswer(command))
}

func (v *session) transmitShort(r *rand.Rand) {
	send := patterned(r)
	room := 1 + r.IntN(len(send))
	backing := bytes.Repeat([]byte{0x5A}, room+64)
	v.called(cstub.FuncTransmit)
	n, rc := v.b.Transmit(v.card, v.protocol(), send, backing[:room])
	v.check(winscard.ErrInsufficientBuffer, rc, "Transmit into a short buffer")
	if n != len(send)+2 {
		v.add("Transmit: needed %d, want %d", n, len(send)+2)
	}
	if !bytes.Equal(backing[room:], bytes.Repeat([]byte{0x5A}, 64)) {
		v.add("Transmit: wrote beyond the buffer")
	}
}

func (v *session) control(r *rand.Rand) {
	in := patterned(r)
	out := make([]byte, len(in)+r.IntN(300))
	v.called(cstub.FuncControl)
	n, rc := v.b.Control(v.card, 0x42000000+r.Uint32N(2048), in, out)
	v.answered("Control", rc, n, out, in)
}

func (v *session) controlOnStack(r *rand.Rand) {
	var in, out [120]byte
	command := cstub.Command(cstub.Echo, len(in), 0, byte(r.IntN(256)))
	copy(in[:], command)
	v.called(cstub.FuncControl)
	n, rc := v.b.Control(v.card, unknownControl, in[:], out[:])
	v.answered("Control", rc, n, out[:], command)
}

func (v *session) controlNothing(r *rand.Rand) {
	out := make([]byte, 64)
	code := r.Uint32()%1000 + 5000
	v.called(cstub.FuncControl)
	n, rc := v.b.Control(v.card, code, nil, out)
	v.answered("Control", rc, n, out, cstub.ControlAnswer(code, nil))
}

func (v *session) isStatus(name, atr []byte, n int, st, protocol uint32, atrLen int, rc winscard.Code) {
	if !v.check(winscard.Success, rc, "Status") {
		return
	}
	if got := strings.TrimRight(string(name[:n]), "\x00"); got != v.name {
		v.add("Status: %q, want %q", got, v.name)
	}
	want := cstub.StatusState(v.number)
	if v.windows {
		want &= 0xFFFF
	}
	if st != want {
		v.add("Status: %#x, want %#x", st, want)
	}
	if protocol != v.protocol() || !bytes.Equal(atr[:atrLen], cstub.ATR(v.number)) {
		v.add("Status: protocol %d, ATR % x", protocol, atr[:atrLen])
	}
}

func (v *session) status(r *rand.Rand) {
	name, atr := make([]byte, 3*128+r.IntN(100)), make([]byte, 33+r.IntN(100)) // a unit of UTF-16 asks for 3 bytes
	v.called(cstub.FuncStatus)
	n, st, protocol, atrLen, rc := v.b.Status(v.card, name, atr)
	v.isStatus(name, atr, n, st, protocol, atrLen, rc)
}

func (v *session) statusOnStack(*rand.Rand) {
	var name [3 * 128]byte
	var atr [33]byte
	v.called(cstub.FuncStatus)
	n, st, protocol, atrLen, rc := v.b.Status(v.card, name[:], atr[:])
	v.isStatus(name[:], atr[:], n, st, protocol, atrLen, rc)
}

func (v *session) getAttrib(r *rand.Rand) {
	size := r.IntN(264)
	buf := make([]byte, max(1, size)+r.IntN(100))
	v.called(cstub.FuncGetAttrib)
	n, rc := v.b.GetAttrib(v.card, cstub.AttrPattern+uint32(size), buf)
	v.answered("GetAttrib", rc, n, buf, cstub.AttribValue(size))
	v.called(cstub.FuncGetAttrib)
	n, rc = v.b.GetAttrib(v.card, cstub.AttrPattern+uint32(size), nil)
	if v.check(winscard.Success, rc, "GetAttrib of a length") && n != size {
		v.add("GetAttrib: length %d, want %d", n, size)
	}
}

func (v *session) getAttribOnStack(r *rand.Rand) {
	var buf [200]byte
	size := r.IntN(len(buf))
	v.called(cstub.FuncGetAttrib)
	n, rc := v.b.GetAttrib(v.card, cstub.AttrPattern+uint32(size), buf[:])
	v.answered("GetAttrib", rc, n, buf[:], cstub.AttribValue(size))
}

func (v *session) setAttrib(r *rand.Rand) {
	v.called(cstub.FuncSetAttrib)
	value := cstub.Command(cstub.Echo, cstub.CommandHeader+r.IntN(250), 0, byte(r.IntN(256)))
	v.check(winscard.Success, v.b.SetAttrib(v.card, cstub.AttrPattern+7, value), "SetAttrib")
}

func (v *session) setAttribOnStack(r *rand.Rand) {
	var value [77]byte
	copy(value[:], cstub.Command(cstub.Echo, len(value), 0, byte(r.IntN(256))))
	v.called(cstub.FuncSetAttrib)
	v.check(winscard.Success, v.b.SetAttrib(v.card, cstub.AttrPattern+7, value[:]), "SetAttrib")
}

// state is one that the library recognises by its name, as long as it is what it was.
func (s *stub) state(r *rand.Rand) winscard.ReaderState {
	number := r.IntN(90)
	state := winscard.ReaderState{
		CurrentState: r.Uint32() &^ uint32(winscard.StateIgnore),
		EventState:   r.Uint32(),
		ATRLen:       r.Uint32N(uint32(s.atrSize) + 1),
	}
	for i := range s.atrSize {
		state.ATR[i] = byte(r.Uint32())
	}
	switch r.IntN(4) {
	case 0:
		state.Reader = cstub.StateName(number, state.CurrentState, 0)
	case 1:
		state.Reader = cstub.StateName(number, state.CurrentState, 40+r.IntN(cstub.MaxName-40))
	default:
		state.Reader = cstub.WholeStateName(number, state.CurrentState, state.EventState, state.ATRLen, state.ATR[:s.atrSize])
	}
	return state
}

func (v *session) isState(before, after *winscard.ReaderState) {
	var number int
	if _, err := fmt.Sscanf(before.Reader, "Stub Reader %d", &number); err != nil {
		v.add("%q: %v", before.Reader, err)
	}
	if after.Reader != before.Reader || after.CurrentState != before.CurrentState {
		v.add("GetStatusChange: made %q of %q", after.Reader, before.Reader)
	}
	if want := cstub.EventState(number, before.CurrentState); after.EventState != want {
		v.add("GetStatusChange: %q: %#x, want %#x", before.Reader, after.EventState, want)
	}
	// The library fills what the ATR leaves.
	want := append(cstub.ATR(number), bytes.Repeat([]byte{0xEE}, v.atrSize)...)[:v.atrSize]
	if int(after.ATRLen) != len(cstub.ATR(number)) || !bytes.Equal(after.ATR[:v.atrSize], want) {
		v.add("GetStatusChange: %q: %d bytes of ATR % x", before.Reader, after.ATRLen, after.ATR)
	}
}

func (v *session) getStatusChange(r *rand.Rand) {
	states := make([]winscard.ReaderState, 1+r.IntN(40))
	for i := range states {
		states[i] = v.state(r)
	}
	before := slices.Clone(states)
	v.called(cstub.FuncGetStatusChange)
	if v.check(winscard.Success, v.b.GetStatusChange(v.ctx, 1000, states), "GetStatusChange") {
		for i := range states {
			v.isState(&before[i], &states[i])
		}
	}
}

func (v *session) statesOnStack(r *rand.Rand) {
	var states [3]winscard.ReaderState
	for i := range states {
		states[i] = v.state(r)
	}
	before := states
	v.called(cstub.FuncGetStatusChange)
	if v.check(winscard.Success, v.b.GetStatusChange(v.ctx, 1000, states[:]), "GetStatusChange") {
		for i := range states {
			v.isState(&before[i], &states[i])
		}
	}
}

func (v *session) listReaders(r *rand.Rand) {
	var groups []string
	switch r.IntN(3) {
	case 1:
		groups = []string{clone(winscard.DefaultReaders)}
	case 2:
		groups = []string{clone("Stub Group"), clone(winscard.AllReaders), clone(cstub.ReaderGroups()[2])}
	}
	buf := make([]byte, 300)
	v.called(cstub.FuncListReaders)
	n, rc := v.b.ListReaders(v.ctx, groups, buf)
	v.answered("ListReaders", rc, n, buf, []byte(stubReaders))
}

// stubReaders are the names of the readers that are listed.
var stubReaders = cstub.ForeignName(0) + "\x00" + cstub.ForeignName(1) + "\x00\x00"

func (v *session) listGroups(*rand.Rand) {
	var buf [300]byte
	v.called(cstub.FuncListReaderGroups)
	n, rc := v.b.ListReaderGroups(v.ctx, buf[:])
	v.answered("ListReaderGroups", rc, n, buf[:], []byte(stubGroups))
}

var stubGroups = strings.Join(cstub.ReaderGroups(), "\x00") + "\x00\x00"

// needed is what a text needs: as many units of the library, each of which asks for that many bytes.
func (s *stub) needed(text string) (units, size int) {
	if s.windows {
		return len(cstub.Units(text)) / 2, 3
	}
	return len(text), 1
}

// short is a buffer with a guard behind it, which is seldom enough for an answer.
type short struct {
	*session
	call        string
	answer      []byte
	units, size int
	room        int
	backing     []byte
}

func (v *session) short(r *rand.Rand, call string, answer []byte, units, size int) *short {
	room := r.IntN(units*size + 1)
	return &short{v, call, answer, units, size, room, bytes.Repeat([]byte{0x5A}, room+64)}
}

func (v *session) shortText(r *rand.Rand, call, text string) *short {
	units, size := v.needed(text)
	return v.short(r, call, []byte(text), units, size)
}

func (s *short) buf() []byte { return s.backing[:s.room] }

// isNULL reports whether the buffer has no room for a unit: C is asked for the length then.
func (s *short) isNULL() bool { return s.room < s.size }

// code is what a call has to return, which knows that NULL asks for the length.
func (s *short) code() winscard.Code {
	if s.isNULL() || s.room >= s.units*s.size {
		return winscard.Success
	}
	return winscard.ErrInsufficientBuffer
}

// check checks the length, the answer if there was room for it, and that what lies behind was left alone.
func (s *short) check(rc winscard.Code, n int) {
	switch {
	case rc == winscard.Success && !s.isNULL():
		if n != len(s.answer) || !bytes.Equal(s.buf()[:n], s.answer) {
			s.add("%s: another answer, of %d bytes for %d", s.call, n, len(s.answer))
		}
	case n != s.units*s.size:
		s.add("%s into %d bytes: needed %d, want %d", s.call, s.room, n, s.units*s.size)
	}
	if !bytes.Equal(s.backing[s.room:], bytes.Repeat([]byte{0x5A}, 64)) {
		s.add("%s: wrote beyond the buffer of %d bytes", s.call, s.room)
	}
}

func (v *session) listShort(r *rand.Rand) {
	s := v.shortText(r, "ListReaders", stubReaders)
	v.called(cstub.FuncListReaders)
	n, rc := v.b.ListReaders(v.ctx, []string{"Stub Group", cstub.ReaderGroups()[2]}, s.buf())
	if v.check(s.code(), rc, "ListReaders into a short buffer") {
		s.check(rc, n)
	}
	s = v.shortText(r, "ListReaderGroups", stubGroups)
	v.called(cstub.FuncListReaderGroups)
	n, rc = v.b.ListReaderGroups(v.ctx, s.buf())
	if v.check(s.code(), rc, "ListReaderGroups into a short buffer") {
		s.check(rc, n)
	}
}

// statusShort has two buffers, each of which may be too small, or NULL.
func (v *session) statusShort(r *rand.Rand) {
	name := v.shortText(r, "Status", v.name+"\x00")
	if r.IntN(3) == 0 {
		name.room = name.units * name.size
		name.backing = bytes.Repeat([]byte{0x5A}, name.room+64)
	}
	atr := v.short(r, "Status", cstub.ATR(v.number), len(cstub.ATR(v.number)), 1)
	v.called(cstub.FuncStatus)
	n, _, protocol, atrLen, rc := v.b.Status(v.card, name.buf(), atr.buf())
	if v.check(max(name.code(), atr.code()), rc, "Status into short buffers") {
		name.check(rc, n)
		atr.check(rc, atrLen)
		if protocol != v.protocol() {
			v.add("Status: protocol %d", protocol)
		}
	}
}

func (v *session) controlShort(r *rand.Rand) {
	in := patterned(r)
	room := r.IntN(len(in))
	backing := bytes.Repeat([]byte{0x5A}, room+64)
	v.called(cstub.FuncControl)
	n, rc := v.b.Control(v.card, unknownControl, in, backing[:room])
	if v.check(winscard.ErrInsufficientBuffer, rc, "Control into a short buffer") && n != len(in) {
		v.add("Control: needed %d, want %d", n, len(in))
	}
	if !bytes.Equal(backing[room:], bytes.Repeat([]byte{0x5A}, 64)) {
		v.add("Control: wrote beyond the buffer")
	}
}

func (v *session) getAttribShort(r *rand.Rand) {
	size := 1 + r.IntN(264)
	s := v.short(r, "GetAttrib", cstub.AttribValue(size), size, 1)
	v.called(cstub.FuncGetAttrib)
	n, rc := v.b.GetAttrib(v.card, cstub.AttrPattern+uint32(size), s.buf())
	if v.check(s.code(), rc, "GetAttrib into a short buffer") {
		s.check(rc, n)
	}
}

func (v *session) connect(r *rand.Rand) {
	number := r.IntN(90) &^ 3
	v.called(cstub.FuncConnect)
	card, protocol, rc := v.b.Connect(v.ctx, cstub.CheckedName(number, 20+r.IntN(cstub.MaxName-20)), shared, anyT)
	v.disconnect(card, protocol, cstub.Protocol(number), rc)
	v.called(cstub.FuncConnect)
	card, protocol, rc = v.b.Connect(v.ctx, cstub.ForeignName(number), shared, anyT)
	v.disconnect(card, protocol, cstub.Protocol(number), rc)
}

// connectOnStack passes a name that is short enough to be made on the stack.
func (v *session) connectOnStack(r *rand.Rand) {
	digit := [1]byte{'0' + byte(r.IntN(2))}
	name := "Stub Reader 0" + string(digit[:])
	v.called(cstub.FuncConnect)
	card, protocol, rc := v.b.Connect(v.ctx, name, direct, undefined)
	v.disconnect(card, protocol, protocol, rc)
}

func (v *session) disconnect(card winscard.Card, protocol, want uint32, rc winscard.Code) {
	if !v.check(winscard.Success, rc, "Connect") {
		return
	}
	if protocol != want {
		v.add("Connect: protocol %d, want %d", protocol, want)
	}
	v.called(cstub.FuncDisconnect)
	v.check(winscard.Success, v.b.Disconnect(card, reset), "Disconnect")
}

func (v *session) reconnect(*rand.Rand) {
	v.called(cstub.FuncReconnect)
	protocol, rc := v.b.Reconnect(v.card, shared, anyT, leave)
	if v.check(winscard.Success, rc, "Reconnect") && protocol != v.protocol() {
		v.add("Reconnect: protocol %d", protocol)
	}
}

func (v *session) transaction(*rand.Rand) {
	v.called(cstub.FuncBeginTransaction)
	v.check(winscard.Success, v.b.BeginTransaction(v.card), "BeginTransaction")
	v.called(cstub.FuncEndTransaction)
	v.check(winscard.Success, v.b.EndTransaction(v.card, leave), "EndTransaction")
}

func (v *session) others(r *rand.Rand) {
	v.called(cstub.FuncIsValidContext)
	v.check(winscard.Success, v.b.IsValidContext(v.ctx), "IsValidContext")
	v.called(cstub.FuncCancel)
	v.check(winscard.Success, v.b.Cancel(v.ctx), "Cancel")
	code := r.Uint32()
	if !v.windows { // which has no such function
		v.called(cstub.FuncStringifyError)
		if got := v.b.StringifyError(winscard.Code(code)); got != cstub.ErrorText(code) {
			v.add("StringifyError: %q", got)
		}
	}
	// Refused without a call: not counted.
	_, _, rc := v.b.Connect(v.ctx, v.name+"\x00", shared, anyT)
	v.check(winscard.ErrInvalidParameter, rc, "Connect with a NUL")
	_, rc = v.b.ListReaders(v.ctx, []string{"a\x00"}, nil)
	v.check(winscard.ErrInvalidParameter, rc, "ListReaders with a NUL")
	rc = v.b.GetStatusChange(v.ctx, 0, []winscard.ReaderState{{Reader: v.name}, {Reader: "a\x00"}})
	v.check(winscard.ErrInvalidParameter, rc, "GetStatusChange with a NUL")
}

// stubWaiters lets many contexts wait with names and states that nobody else
// holds. The library looks at them again when the wait ends.
func stubWaiters(t *testing.T, b *concrete) {
	watch(t)
	s := newStub(t, b)
	const waiters = 16
	stop := pressure()
	defer stop()
	ctxs := make([]winscard.Context, waiters)
	var done []<-chan winscard.Code
	for i := range ctxs {
		var rc winscard.Code
		s.called(cstub.FuncEstablishContext)
		ctxs[i], rc = b.EstablishContext(user)
		requireOK(t, rc)
		s.called(cstub.FuncGetStatusChange)
		done = append(done, start(func() (rc winscard.Code) {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			deepen(r.IntN(100), func() {
				states := make([]winscard.ReaderState, 5)
				for j := range states {
					states[j] = s.state(r)
				}
				rc = b.GetStatusChange(ctxs[i], cstub.TimeoutWait, states)
			})
			return rc
		}))
	}
	waiting := start(func() int {
		for {
			counters, err := cstub.ParseCounters(s.text(t, cstub.AttrCounters))
			if err != nil || counters["waiting"] == waiters {
				return counters["waiting"]
			}
		}
	})
	require.Equal(t, waiters, await(t, waiting, "the waiters"))
	for i, ctx := range ctxs {
		s.called(cstub.FuncCancel)
		requireOK(t, b.Cancel(ctx))
		requireCode(t, winscard.ErrCancelled, await(t, done[i], "the cancelled wait"))
		s.called(cstub.FuncReleaseContext)
		requireOK(t, b.ReleaseContext(ctx))
	}
	stop()
	s.finish(t)
}
