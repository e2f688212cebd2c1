//go:build linux && (386 || amd64 || arm || arm64 || loong64 || ppc64le || riscv64)

package cstub_test

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/cstub"
)

// The layout of SCARD_READERSTATEW. A DWORD has 32 bits; of the words that package's lib makes, C sees the lower half,
// as all these machines are little-endian.
const (
	wideUserData = word
	wideATRLen   = 2*word + 8
	wideStateLen = 2*word + 48
	guidLen      = 16
	maskLen      = 76
)

// openWindows opens the library with the layouts and the functions of Windows.
func openWindows(t *testing.T) *lib {
	t.Helper()
	wide := []string{"SCardConnect", "SCardStatus", "SCardListReaders", "SCardListReaderGroups", "SCardGetStatusChange"}
	var symbols []string
	for _, name := range cstub.Symbols() {
		switch {
		case slices.Contains(wide, name):
			symbols = append(symbols, name+"W")
		case strings.HasPrefix(name, "SCard"):
			symbols = append(symbols, name)
		}
	}
	for _, f := range cstub.WindowsFunctions {
		symbols = append(symbols, f.Symbol)
	}
	return openLibrary(t, cstub.BuildWindows(t), symbols...)
}

// wide is a text with its NUL.
func (l *lib) wide(s string) uintptr { return l.bytes(append(cstub.Units(s), 0, 0)) }

func (l *lib) dword(at uintptr, v uint32) { binary.NativeEndian.PutUint32(memory(at, 4), v) }

// crooked is an address where nothing that has more than a byte can be.
func (l *lib) crooked() uintptr { return l.buf(128) + 1 }

// fault is something wrong with a call: what to change, and what the library then says of which argument.
type fault struct {
	arg, want string
	change    func(a []uintptr)
}

// windowsCall makes right calls of a function, for the faults to change.
type windowsCall struct {
	*lib
	f         *cstub.Function
	ctx, card uintptr
}

func (c *windowsCall) symbol() string { return strings.TrimPrefix(c.f.Symbol, "SCard") }

// right are arguments that have no fault.
func (c *windowsCall) right() []uintptr {
	var a []uintptr
	for _, arg := range c.f.Args {
		switch arg.Role {
		case "receiver":
			if arg.Name == "hCard" {
				a = append(a, c.card)
			} else {
				a = append(a, c.ctx)
			}
		case "in":
			a = append(a, 7)
		case "in_text":
			a = append(a, c.wide("Kärtchen 𝄞"))
		case "in_multitext":
			a = append(a, c.wide("one\x00𝄞\x00"))
		case "in_buffer", "in_mask":
			a = append(a, c.bytes([]byte{1, 2}))
		case "in_atr":
			a = append(a, c.bytes(append([]byte{0x3B}, make([]byte, arg.Size-1)...)))
		case "guid", "guids", "out_guid":
			a = append(a, c.buf(2*guidLen))
		case "structs":
			a = append(a, c.buf(2*maskLen))
		case "states":
			a = append(a, c.wideStates())
		case "len", "count":
			a = append(a, 2)
		case "out":
			a = append(a, c.word(0))
		case "out_buffer", "out_text", "out_multitext", "out_guids":
			a = append(a, c.buf(64))
		case "inout_len":
			a = append(a, c.word(4))
		default:
			c.t.Fatalf("no right value for the role %q", arg.Role)
		}
	}
	return a
}

// wideStates are two reader states.
func (c *windowsCall) wideStates() uintptr {
	at := c.bytes(make([]byte, 2*wideStateLen))
	for i := range uintptr(2) {
		c.put(at+i*wideStateLen, c.wide("Lesegerät 😀"))
	}
	return at
}

// faults are what can be wrong with argument i.
func (c *windowsCall) faults(i int) []fault {
	arg := c.f.Args[i]
	at := func(v func() uintptr) func([]uintptr) { return func(a []uintptr) { a[i] = v() } }
	null := fault{arg.Name, "NULL", at(func() uintptr { return 0 })}
	misaligned := fault{arg.Name, "misaligned", at(c.crooked)}
	length := c.lengthOf(arg.Name)
	array := []fault{
		null,
		{arg.Name, "not NULL, but it has no elements", func(a []uintptr) { a[length] = 0 }},
		{arg.Name, "0x7fffffff is not a capacity", func(a []uintptr) { a[length] = math.MaxInt32 }},
	}
	switch arg.Role {
	case "receiver":
		faults := []fault{
			{arg.Name, "0x0 was never given out", at(func() uintptr { return 0 })},
			{arg.Name, "was never given out", func(a []uintptr) { a[i] ^= c.ctx ^ c.card }}, // the other kind
		}
		if word == 8 {
			faults = append(faults, fault{arg.Name, "truncated or sign-extended", func(a []uintptr) { a[i] = uintptr(uint32(a[i])) }})
		}
		return faults
	case "in_text":
		return append(c.textFaults(arg.Name, "", func(a []uintptr, text uintptr) { a[i] = text }), null, misaligned)
	case "in_multitext":
		return append(c.textFaults(arg.Name, "one\x00", func(a []uintptr, text uintptr) { a[i] = text }), misaligned,
			fault{arg.Name, "does not end", at(func() uintptr { return c.wide(strings.Repeat("a\x00", 1<<14+1)) })},
			fault{arg.Name, "not NULL, but it has no texts", at(func() uintptr { return c.wide("\x00") })})
	case "in_buffer":
		return array
	case "in_mask":
		buffer, length := c.argument(arg.Of), c.lengthOf(arg.Of)
		return []fault{{arg.Name, "not NULL, but it has no elements", func(a []uintptr) { a[buffer], a[length] = 0, 0 }}}
	case "in_atr":
		return []fault{{arg.Name, "not an ATR: it begins 0x00", at(func() uintptr { return c.bytes(make([]byte, arg.Size)) })}}
	case "guid":
		if c.f.Method == "IntroduceCardType" { // whose provider may be none
			return []fault{misaligned}
		}
		return []fault{null, misaligned}
	case "guids", "structs":
		return append(array, misaligned)
	case "states":
		second := func(field, want string, change func(state uintptr)) fault {
			return fault{arg.Name + "[1]." + field, want, func(a []uintptr) { change(a[i] + wideStateLen) }}
		}
		faults := append(array, misaligned,
			fault{c.f.Args[length].Name, "0x81 is not in 0..128", func(a []uintptr) { a[length] = 129 }},
			second("cbAtr", "0x25 is not in 0..36", func(s uintptr) { c.dword(s+wideATRLen, 37) }),
			second("pvUserData", "not NULL", func(s uintptr) { c.put(s+wideUserData, s) }),
			second("szReader", "NULL", func(s uintptr) { c.put(s, 0) }),
			second("szReader", "misaligned", func(s uintptr) { c.put(s, c.crooked()) }))
		return append(faults, c.textFaults(arg.Name+"[1].szReader", "",
			func(a []uintptr, text uintptr) { c.put(a[i]+wideStateLen, text) })...)
	case "out", "out_guid":
		return []fault{null, misaligned}
	case "inout_len":
		return []fault{null, misaligned,
			{arg.Name, "0x7fffffff is not a capacity", at(func() uintptr { return c.word(math.MaxInt32) })}}
	case "out_text", "out_multitext", "out_guids":
		return []fault{misaligned}
	case "in", "out_buffer", "len", "count":
		return nil // any value is right, or its fault is that of the buffer
	}
	c.t.Fatalf("no faults for the role %q", arg.Role)
	return nil
}

func (c *windowsCall) argument(name string) int {
	return slices.IndexFunc(c.f.Args, func(a cstub.Arg) bool { return a.Name == name })
}

// lengthOf finds the length of a buffer.
func (c *windowsCall) lengthOf(buffer string) int {
	return slices.IndexFunc(c.f.Args, func(a cstub.Arg) bool { return a.Of == buffer && a.Role != "in_mask" })
}

// textFaults are texts that are wrong behind what comes before, and given by give.
func (c *windowsCall) textFaults(arg, before string, give func(a []uintptr, text uintptr)) []fault {
	var faults []fault
	for _, wrong := range []struct {
		want  string
		units []uint16
	}{
		{"0xd834, is half of a pair", []uint16{'a', 0xD834, 'b', 0}},
		{"0xd835, is half of a pair", []uint16{'a', 0xD835, 0}},
		{"0xd836, is half of a pair", []uint16{0xD836, 0xD834, 0xDD1E, 0}},
		{"0xdd1e, is half of a pair", []uint16{'a', 0xDD1E, 0}},
		{"0xdd1f, is half of a pair", []uint16{0xD834, 0xDD1E, 0xDD1F, 0}},
		{"does not end", slices.Repeat([]uint16{'a'}, 1<<15)},
	} {
		text := cstub.Units(before)
		for _, u := range wrong.units {
			text = binary.NativeEndian.AppendUint16(text, u)
		}
		faults = append(faults, fault{arg, wrong.want, func(a []uintptr) { give(a, c.bytes(text)) }})
	}
	return faults
}

// TestWrongWindowsCalls makes each check of each function that Windows alone has find its fault.
func TestWrongWindowsCalls(t *testing.T) {
	l := openWindows(t)
	ctx := l.context()
	card := l.word(0)
	require.EqualValues(t, success, l.call("ConnectW", ctx, l.wide(cstub.Name(0)), 2, 3, card, l.word(0)))
	keep := l.next
	for i := range cstub.WindowsFunctions {
		c := &windowsCall{lib: l, f: &cstub.WindowsFunctions[i], ctx: ctx, card: l.get(card)}
		if c.f.Returns != "" {
			continue // nothing to give it
		}
		t.Run(c.f.Method, func(t *testing.T) {
			l.t, l.next = t, keep
			require.EqualValues(t, success, l.call(c.symbol(), c.right()...))
			l.clean()
			for i, arg := range c.f.Args {
				code := invalidParameter
				if arg.Role == "receiver" {
					code = invalidHandle
				}
				for _, fault := range c.faults(i) {
					l.next = keep
					a := c.right()
					fault.change(a)
					require.Equal(t, code, l.call(c.symbol(), a...), "%s: %s", fault.arg, fault.want)
					l.failed(c.f.Symbol+": "+fault.arg+": ", fault.want)
				}
			}
		})
	}
	l.t, l.next = t, keep
	require.EqualValues(t, success, l.call("Disconnect", l.get(card), 0))
	l.clean()
}

// failed requires that the library found one fault, and forgets it.
func (l *lib) failed(begins, says string) {
	l.t.Helper()
	failures := l.text(cstub.AttrFailures)
	require.True(l.t, strings.HasPrefix(failures, begins), "%q, want %q", failures, begins)
	require.Contains(l.t, failures, says)
	require.NotContains(l.t, failures, "\n", "one fault, one failure")
	require.Equal(l.t, 1, l.counters()["failures"])
	l.set(cstub.Reset())
}

// TestWrongWideCalls has faults found that the functions of every system can have in UTF-16 alone.
func TestWrongWideCalls(t *testing.T) {
	l := openWindows(t)
	ctx := l.context()
	card := l.word(0)
	require.EqualValues(t, success, l.call("ConnectW", ctx, l.wide(cstub.ForeignName(0)), 2, 3, card, l.word(0)))
	connect := func(name uintptr) uint32 { return l.call("ConnectW", ctx, name, 2, 3, l.word(0), l.word(0)) }
	half := cstub.Units(cstub.ForeignName(0))
	half = append(half[:len(half)-2], 0, 0)
	for _, test := range []struct {
		begins, says string
		call         func() uint32
	}{
		{"SCardConnect: szReader: ", "misaligned", func() uint32 { return connect(l.crooked()) }},
		{"SCardConnect: szReader: ", "ends too early at byte 28", func() uint32 { return connect(l.bytes(half)) }},
		{"SCardConnect: szReader: ", `not a known name at byte 0 of "\u7453"`, func() uint32 { return connect(l.str("Stub")) }},
		{"SCardStatus: mszReaderName: ", "misaligned", func() uint32 {
			return l.call("StatusW", l.get(card), l.crooked(), l.word(60), 0, 0, 0, 0)
		}},
		{"SCardListReaders: mszReaders: ", "misaligned", func() uint32 { return l.call("ListReadersW", ctx, 0, l.crooked(), l.word(60)) }},
		{"SCardListReaders: mszGroups: ", "misaligned", func() uint32 { return l.call("ListReadersW", ctx, l.crooked(), 0, l.word(0)) }},
		{"SCardListReaders: mszGroups: ", "entry 1", func() uint32 { return l.call("ListReadersW", ctx, l.wide("Stub Group\x00U"), 0, l.word(0)) }},
		{"SCardListReaderGroups: mszGroups: ", "misaligned", func() uint32 { return l.call("ListReaderGroupsW", ctx, l.crooked(), l.word(60)) }},
	} {
		require.Equal(t, invalidParameter, test.call(), test.begins+test.says)
		l.failed(test.begins, test.says)
	}
}

// TestWindowsEvents has events given and given back, and given back once more.
func TestWindowsEvents(t *testing.T) {
	l := openWindows(t)
	events := func() int { return l.counters()["events"] }
	call := func(f *cstub.Function) uintptr {
		r, _, _ := purego.SyscallN(l.symbols[f.Symbol])
		return r
	}
	all := cstub.WindowsFunction("ReleaseAllEvents")
	for _, kind := range []string{"StartedEvent", "NewReaderEvent"} {
		access, release := cstub.WindowsFunction("Access"+kind), cstub.WindowsFunction("Release"+kind)
		require.NotZero(t, call(access))
		require.NotZero(t, call(access))
		require.Equal(t, 2, events())
		call(release)
		require.Equal(t, 1, events())
		call(release)
		require.Zero(t, events())
		l.clean()
		call(release)
		l.failed(release.Symbol+": the event: ", "given back more often")
		require.Zero(t, events())

		require.NotZero(t, call(access))
		call(all)
		require.Zero(t, events())
		l.clean()
		call(release)
		l.failed(release.Symbol+": the event: ", "given back more often")

		l.set(cstub.Answer(access, 0, cstub.Number(2)))
		require.Zero(t, call(access))
		require.Zero(t, events(), "none was given")
	}
	call(all) // of none
	l.clean()
}

// TestWrongAnswers has the library told what it can't answer.
func TestWrongAnswers(t *testing.T) {
	l := openWindows(t)
	for text, says := range map[string]string{
		"audit 1":      `not an answer: it begins "audit 1"`,
		"audit\n":      `not an answer: it begins "audit"`,
		"audit 9\n":    `not an answer: it begins "audit 9"`,
		"transmit 1\n": `no function "transmit" takes answers`,
		"nothing 1\n":  `no function "nothing" takes answers`,
	} {
		at := l.bytes([]byte(text))
		require.Equal(t, invalidParameter, l.call("SetAttrib", cstub.ControlHandle, cstub.AttrAnswer, at, uintptr(len(text))))
		l.failed("SCardSetAttrib: pbAttr: ", says)
	}
}
