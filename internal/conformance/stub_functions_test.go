//go:build purego || pcsc_purego || !cgo || windows

package conformance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstub"
)

// testStubFunctions calls every function that Windows alone has with arguments of all kinds, and compares what the
// library noted with what it was given, and the results with what it was told to answer.
func testStubFunctions(t *testing.T, b *concrete) {
	s := newStub(t, b)
	v := s.session(0, 40)
	s.failures.require(t)
	ctx, card := v.ctx, v.card
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	for i := range cstub.WindowsFunctions {
		f := &cstub.WindowsFunctions[i]
		t.Run(f.Method, func(t *testing.T) {
			c := &functionCall{stub: s, f: f, ctx: ctx, card: card, random: rand.New(rand.NewPCG(uint64(i), 1))}
			switch f.Returns {
			case "handle":
				c.access(t)
				return
			case "void":
				c.release(t)
				return
			}
			for range rounds {
				c.enough(t)
			}
			c.tooLittle(t)
			c.refused(t)
			// A call that takes its time before it looks: what was given up too early is gone by then.
			s.set(cstub.Delay(f.Func(), 1))
			stop := churn()
			for range max(rounds/10, 2) {
				c.enough(t)
			}
			stop()
			s.set(cstub.Delay(f.Func(), 0))
		})
	}
	t.Run("OnTheStack", func(t *testing.T) { stubStacks(t, s, ctx) })
	t.Run("Refused", func(t *testing.T) { stubRefuses(t, s, ctx) })
	v.close()
	s.finish(t)
}

// churn collects garbage and makes more of it until it is stopped.
func churn() (stop func()) {
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				_ = bytes.Repeat([]byte{0xAA}, 1000)
				runtime.GC()
			}
		}
	})
	return func() { close(quit); done.Wait() }
}

// functionCall makes calls of one function.
type functionCall struct {
	*stub
	f      *cstub.Function
	ctx    winscard.Context
	card   winscard.Card
	random *rand.Rand

	// Of the call that is being made.
	in     []reflect.Value
	record cstub.Record
	checks []func(t *testing.T, results []reflect.Value)
}

// number is one that a DWORD can have, an edge of its range now and then.
func (c *functionCall) number() uint32 {
	if c.random.IntN(4) == 0 {
		return []uint32{0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF}[c.random.IntN(5)]
	}
	return c.random.Uint32()
}

func (c *functionCall) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
	return b
}

// word is a text of n characters, from all planes of Unicode.
func (c *functionCall) word(n int) string {
	var b strings.Builder
	for range n {
		r := []rune{
			'a' + rune(c.random.IntN(26)), 0x7F, 0x80, 0x7FF, 0x800, 0x8AAD, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF,
			0x10000 + rune(c.random.IntN(0x100000)), 0x10FFFF, 0x1F600,
		}[c.random.IntN(13)]
		b.WriteRune(r)
	}
	return b.String()
}

func (c *functionCall) guid() winscard.GUID {
	return winscard.GUID{Data1: c.random.Uint32(), Data2: uint16(c.random.Uint32()), Data3: uint16(c.random.Uint32()),
		Data4: [8]byte(c.bytes(8))}
}

// memory is the bytes of structures as they lie.
func memory[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// prepare makes the arguments, and what the library is to note of them. room says how long the buffer of an answer is
// that needs so many elements.
func (c *functionCall) prepare(room func(needed int) int) {
	c.in, c.checks = nil, nil
	c.record = cstub.Record{}
	typ := reflect.ValueOf(c.b).MethodByName(c.f.Method).Type()
	lengths := map[string]int{}
	give := func(v any) { c.in = append(c.in, reflect.ValueOf(v)) }
	for i, a := range c.f.Args {
		switch a.Role {
		case "receiver":
			if typ.In(0) == reflect.TypeFor[winscard.Card]() {
				give(c.card)
			} else {
				give(c.ctx)
			}
		case "in":
			v := c.number()
			give(v)
			c.record.Number(a.Name, v)
		case "in_text":
			v := c.word(c.random.IntN(60))
			give(v)
			c.record.Text(a.Name, v)
		case "in_multitext":
			var list []string
			for range c.random.IntN(4) {
				list = append(list, c.word(1+c.random.IntN(20)))
			}
			give(list)
			c.record.Texts(a.Name, list)
		case "in_buffer":
			v := c.bytes([]int{0, 1, c.random.IntN(96), c.random.IntN(5000), 70000}[c.random.IntN(5)])
			lengths[a.Name] = len(v)
			give(v)
			c.record.Bytes(a.Name, v)
		case "in_mask":
			var v []byte
			if c.random.IntN(2) == 0 {
				v = c.bytes(lengths[a.Of])
			}
			give(v)
			c.record.Bytes(a.Name, v)
		case "in_atr":
			v := c.bytes(c.random.IntN(a.Size + 1))
			if len(v) > 0 {
				v[0] = 0x3B | byte(c.random.IntN(2))<<2
			}
			give(v)
			if full := make([]byte, a.Size); len(v) > 0 {
				copy(full, v)
				c.record.Bytes(a.Name, full)
			} else {
				c.record.NULL(a.Name)
			}
		case "guid":
			v := c.guid()
			switch {
			case typ.In(len(c.in)).Kind() != reflect.Pointer:
				give(v)
			case c.random.IntN(3) == 0:
				give((*winscard.GUID)(nil))
				c.record.NULL(a.Name)
				continue
			default:
				give(&v)
			}
			c.record.Bytes(a.Name, memory([]winscard.GUID{v}))
		case "guids":
			v := make([]winscard.GUID, c.random.IntN(6))
			for i := range v {
				v[i] = c.guid()
			}
			lengths[a.Name] = len(v)
			give(v)
			c.record.Bytes(a.Name, memory(v))
		case "structs":
			v := make([]winscard.ATRMask, c.random.IntN(5))
			for i := range v {
				v[i].ATRLen = c.random.Uint32N(37)
				copy(v[i].ATR[:], c.bytes(36))
				copy(v[i].Mask[:], c.bytes(36))
			}
			lengths[a.Name] = len(v)
			give(v)
			c.record.Bytes(a.Name, memory(v))
		case "states":
			c.states(i, a, lengths)
		case "len", "count":
			c.record.Number(a.Name, uint32(lengths[a.Of]))
		case "out_buffer", "out_text", "out_multitext", "out_guids":
			c.buffer(i, a, lengths, room)
		case "inout_len":
			c.record.Number(a.Name, uint32(lengths[a.Of]))
		case "out":
			v := c.number() & 0xFF
			c.set(cstub.Answer(c.f, i, cstub.Number(v)))
			if c.f.Method == "State" && a.Name == "pdwState" {
				v = winscard.NormaliseCardState(v)
			}
			c.result(v)
		case "out_guid":
			v := c.guid()
			c.set(cstub.Answer(c.f, i, memory([]winscard.GUID{v})))
			c.result(v)
		default:
			panic("no value for the role " + a.Role)
		}
	}
}

// result expects the next result of the call, if it succeeds.
func (c *functionCall) result(want any) {
	i := len(c.checks)
	c.checks = append(c.checks, func(t *testing.T, results []reflect.Value) {
		if results[len(results)-1].Interface() == winscard.Success {
			require.Equal(t, want, results[i].Interface(), "result %d", i)
		}
	})
}

func (c *functionCall) states(i int, a cstub.Arg, lengths map[string]int) {
	v := make([]winscard.ReaderState, c.random.IntN(5))
	var events []byte
	for i := range v {
		v[i] = winscard.ReaderState{Reader: c.word(1 + c.random.IntN(40)), CurrentState: c.number(), EventState: c.number(),
			ATRLen: c.random.Uint32N(37), ATR: [36]byte(c.bytes(36))}
		c.record.Text("szReader", v[i].Reader)
		c.record.Number("dwCurrentState", v[i].CurrentState)
		c.record.Number("dwEventState", v[i].EventState)
		c.record.Number("cbAtr", v[i].ATRLen)
		c.record.Bytes("rgbAtr", v[i].ATR[:])
		events = append(events, cstub.Number(c.number())...)
	}
	lengths[a.Name] = len(v)
	c.in = append(c.in, reflect.ValueOf(v))
	c.set(cstub.Answer(c.f, i, events))
	was := append([]winscard.ReaderState(nil), v...)
	c.checks = append(c.checks, func(t *testing.T, _ []reflect.Value) {
		for i := range v {
			require.Equal(t, was[i].Reader, v[i].Reader)
			require.Equal(t, was[i].CurrentState, v[i].CurrentState)
			require.Equal(t, events[4*i:4*i+4], cstub.Number(v[i].EventState))
			require.EqualValues(t, i+2, v[i].ATRLen)
			want := append(cstub.PatternBytes(i+2, byte(i)), bytes.Repeat([]byte{0xEE}, 36-i-2)...)
			require.Equal(t, want, v[i].ATR[:])
		}
	})
}

// buffer provides for an answer. What lies behind it has to stay as it is.
func (c *functionCall) buffer(i int, a cstub.Arg, lengths map[string]int, room func(int) int) {
	const guard = 16
	n := len(c.checks) // the number of the result
	if a.Role == "out_guids" {
		want := make([]winscard.GUID, c.random.IntN(8))
		for i := range want {
			want[i] = c.guid()
		}
		c.set(cstub.Answer(c.f, i, memory(want)))
		buf := make([]winscard.GUID, room(len(want))+1)
		lengths[a.Name] = len(buf) - 1
		c.in = append(c.in, reflect.ValueOf(buf[:len(buf)-1]))
		c.checks = append(c.checks, func(t *testing.T, results []reflect.Value) {
			require.EqualValues(t, len(want), results[n].Int())
			if len(buf) > len(want) && len(buf) > 1 {
				require.Equal(t, want, buf[:len(want)])
			}
			require.Zero(t, buf[len(buf)-1])
		})
		return
	}
	var want, answer []byte
	unit := 1 // how many bytes make up a unit of the length that C knows
	switch a.Role {
	case "out_buffer":
		want = c.bytes(c.random.IntN(300))
		answer = want
	case "out_text":
		want = []byte(c.word(c.random.IntN(40)) + "\x00")
		unit = 3
	case "out_multitext":
		for range c.random.IntN(4) {
			want = append(want, c.word(1+c.random.IntN(20))+"\x00"...)
		}
		want = append(want, 0)
		unit = 3
	}
	needed := len(want)
	if unit > 1 {
		answer = cstub.Units(string(want))
		needed = unit * len(answer) / 2
	}
	c.set(cstub.Answer(c.f, i, answer))
	buf := bytes.Repeat([]byte{0x5A}, room(needed)+guard)
	lengths[a.Name] = (len(buf) - guard) / unit
	c.in = append(c.in, reflect.ValueOf(buf[:len(buf)-guard]))
	c.checks = append(c.checks, func(t *testing.T, results []reflect.Value) {
		if lengths[a.Name]*unit < needed || lengths[a.Name] == 0 {
			require.EqualValues(t, needed, results[n].Int(), "what is needed")
		} else {
			require.EqualValues(t, len(want), results[n].Int())
			require.Equal(t, want, buf[:len(want)])
		}
		require.Equal(t, bytes.Repeat([]byte{0x5A}, guard), buf[len(buf)-guard:], "behind the buffer")
	})
}

// call makes the call in a goroutine of its own, whose stack is small.
func (c *functionCall) call(t *testing.T) (results []reflect.Value, rc winscard.Code) {
	t.Helper()
	c.called(c.f.Func())
	done := make(chan struct{})
	go func() {
		defer close(done)
		results = reflect.ValueOf(c.b).MethodByName(c.f.Method).Call(c.in)
	}()
	<-done
	return results, results[len(results)-1].Interface().(winscard.Code)
}

// enough gives room for all that is answered.
func (c *functionCall) enough(t *testing.T) {
	extra := c.random.IntN(40)
	c.prepare(func(needed int) int { return needed + extra })
	results, rc := c.call(t)
	require.Equal(t, winscard.Success, rc, "%v\n%s", c.f.Method, c.text(t, cstub.AttrFailures))
	require.Equal(t, c.record.String(), c.text(t, cstub.AttrLast+uint32(c.f.Func())))
	for _, check := range c.checks {
		check(t, results)
	}
}

// tooLittle gives too little room, and none.
func (c *functionCall) tooLittle(t *testing.T) {
	for _, a := range c.f.Args {
		if !strings.HasPrefix(a.Role, "out_") {
			continue
		}
		for range 20 {
			few := false
			c.prepare(func(needed int) int {
				few = needed > 4
				return min(needed, 4) * needed / max(needed, 1) * 3 / 4
			})
			results, rc := c.call(t)
			if few {
				require.Equal(t, winscard.ErrInsufficientBuffer, rc, "%v", c.in)
			}
			if rc == winscard.ErrInsufficientBuffer {
				for _, check := range c.checks {
					check(t, results)
				}
			}
		}
		// NULL asks for the length.
		c.prepare(func(int) int { return 0 })
		results, rc := c.call(t)
		require.Equal(t, winscard.Success, rc)
		for _, check := range c.checks {
			check(t, results)
		}
		return
	}
}

// refused has the library return an error: there are no lengths then.
func (c *functionCall) refused(t *testing.T) {
	c.set(cstub.Next(c.f.Func(), uint32(winscard.ErrUnknownReader), 1))
	c.prepare(func(needed int) int { return needed })
	results, rc := c.call(t)
	require.Equal(t, winscard.ErrUnknownReader, rc)
	for _, r := range results {
		if r.Kind() == reflect.Int {
			require.Zero(t, r.Int())
		}
	}
}

// event calls a function that gives or takes an event.
func (s *stub) event(method string) []reflect.Value {
	s.called(cstub.WindowsFunction(method).Func())
	return reflect.ValueOf(s.b).MethodByName(method).Call(nil)
}

// events is how many events the library has given and not got back.
func (s *stub) events(t *testing.T) int {
	t.Helper()
	counters, err := cstub.ParseCounters(s.text(t, cstub.AttrCounters))
	require.NoError(t, err)
	require.Contains(t, counters, "events")
	return counters["events"]
}

// access calls a function that gives an event, or says why there is none.
func (c *functionCall) access(t *testing.T) {
	c.set(cstub.Answer(c.f, 0, cstub.Number(1)))
	r := c.event(c.f.Method)
	require.Equal(t, winscard.Success, r[1].Interface())
	require.NotZero(t, r[0].Uint())
	require.Equal(t, fmt.Sprintf(" event=%d", r[0].Uint()), c.text(t, cstub.AttrLast+uint32(c.f.Func())), "the handle, whole")
	require.Equal(t, 1, c.events(t))
	require.Equal(t, winscard.Success, c.event(strings.Replace(c.f.Method, "Access", "Release", 1))[0].Interface())
	require.Zero(t, c.events(t))
	c.set(cstub.Answer(c.f, 0, cstub.Number(2)))
	r = c.event(c.f.Method)
	reason := winscard.Code(5)
	if runtime.GOOS != "windows" {
		reason = winscard.ErrInternalError // no other system has one
	}
	require.Equal(t, reason, r[1].Interface(), "the system's reason")
	require.Zero(t, r[0].Uint())
	require.Zero(t, c.events(t))
}

// release calls a function that takes back the event of its own kind, or all.
func (c *functionCall) release(t *testing.T) {
	kinds := []string{"AccessNewReaderEvent", "AccessStartedEvent"}
	for _, access := range kinds {
		c.set(cstub.Answer(cstub.WindowsFunction(access), 0, cstub.Number(1)))
		require.Equal(t, winscard.Success, c.event(access)[1].Interface())
	}
	require.Equal(t, 2, c.events(t))
	require.Equal(t, winscard.Success, c.event(c.f.Method)[0].Interface())
	if c.f.Method == "ReleaseAllEvents" {
		require.Zero(t, c.events(t))
		return
	}
	require.Equal(t, 1, c.events(t))
	for _, access := range kinds {
		if release := strings.Replace(access, "Access", "Release", 1); release != c.f.Method {
			require.Equal(t, winscard.Success, c.event(release)[0].Interface())
		}
	}
	require.Zero(t, c.events(t))
}

// stubStacks calls with arguments that may lie on the stack, from goroutines whose stacks are about to grow.
func stubStacks(t *testing.T, s *stub, ctx winscard.Context) {
	stop := churn()
	defer stop()
	f := cstub.WindowsFunction("IntroduceCardType")
	s.set(cstub.Delay(f.Func(), 1))
	defer s.set(cstub.Delay(f.Func(), 0))
	want := ""
	for i := range 20 {
		primary := winscard.GUID{Data1: uint32(i)}
		interfaces := [3]winscard.GUID{{Data1: 1}, {Data2: 2}, {Data3: uint16(i)}}
		atr, mask := [5]byte{0x3B, byte(i), 1, 2, 3}, [5]byte{0xFF, 0, byte(i)}
		name := fmt.Sprintf("Kärtchen 𝄞 %d", i)
		var r cstub.Record
		r.Text("szCardName", name)
		r.Bytes("pguidPrimaryProvider", memory([]winscard.GUID{primary}))
		r.Bytes("rgguidInterfaces", memory(interfaces[:]))
		r.Number("dwInterfaceCount", 3)
		r.Bytes("pbAtr", append([]byte(nil), atr[:]...))
		r.Bytes("pbAtrMask", append([]byte(nil), mask[:]...))
		r.Number("cbAtrLen", 5)
		want = r.String()
		done := make(chan winscard.Code)
		s.called(f.Func())
		go func() { done <- stackCall(s.b, ctx, i, name, primary, interfaces, atr, mask) }()
		require.Equal(t, winscard.Success, <-done)
		require.Equal(t, want, s.text(t, cstub.AttrLast+uint32(f.Func())))
	}
}

// stackCall calls from some way down the stack.
func stackCall(b *concrete, ctx winscard.Context, depth int, name string, primary winscard.GUID, interfaces [3]winscard.GUID, atr, mask [5]byte) winscard.Code {
	if depth > 0 {
		var room [256]byte
		rc := stackCall(b, ctx, depth-1, name, primary, interfaces, atr, mask)
		return rc + winscard.Code(room[depth])
	}
	return b.IntroduceCardType(ctx, name, &primary, interfaces[:], atr[:], mask[:])
}

// stubRefuses has the backend refuse what C can't take, without a call.
func stubRefuses(t *testing.T, s *stub, ctx winscard.Context) {
	before := s.text(t, cstub.AttrCounters)
	for _, name := range []string{"a\x00b", "a\xffb", "\xed\xa0\xb4"} {
		require.Equal(t, winscard.ErrInvalidParameter, s.b.ForgetReader(ctx, name), "%q", name)
		require.Equal(t, winscard.ErrInvalidParameter, s.b.LocateCards(ctx, []string{"card", name}, nil), "%q", name)
		require.Equal(t, winscard.ErrInvalidParameter, s.b.LocateCards(ctx, nil, []winscard.ReaderState{{Reader: name}}), "%q", name)
	}
	require.Equal(t, winscard.ErrInvalidParameter, s.b.LocateCards(ctx, []string{""}, nil), "it would end the list")
	require.Equal(t, winscard.ErrInvalidParameter, s.b.IntroduceCardType(ctx, "card", nil, nil, []byte{1, 2}, []byte{1}))
	_, rc := s.b.ListCards(ctx, make([]byte, 37), nil, nil)
	require.Equal(t, winscard.ErrInvalidParameter, rc)
	require.Equal(t, before, s.text(t, cstub.AttrCounters))
}

// testOldWindows opens a library without all that later versions of Windows added: each of it is an error of its call.
func testOldWindows(t *testing.T, b *concrete) {
	ctx, rc := b.EstablishContext(uint32(winscard.ScopeSystem))
	requireOK(t, rc, "EstablishContext")
	defer b.ReleaseContext(ctx)
	for _, f := range cstub.WindowsFunctions {
		method := reflect.ValueOf(b).MethodByName(f.Method)
		var in []reflect.Value
		for i := range method.Type().NumIn() {
			in = append(in, reflect.Zero(method.Type().In(i)))
		}
		results := method.Call(in)
		require.Equal(t, winscard.ErrUnsupportedFunction, results[len(results)-1].Interface(), f.Method)
	}
}
