//go:build linux && (386 || amd64 || arm || arm64 || loong64 || ppc64le || riscv64)

// It opens the library with purego, on the architectures that purego has.

package cstub_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/gopcsc/gopcsc/internal/cstub"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(cstub.Main(m)) }

// Codes, as 32 bits.
const (
	success            uint32 = 0
	cancelled          uint32 = 0x80100002
	invalidHandle      uint32 = 0x80100003
	invalidParameter   uint32 = 0x80100004
	insufficientBuffer uint32 = 0x80100008
	unknownReader      uint32 = 0x80100009
	timeout            uint32 = 0x8010000A
	noSmartcard        uint32 = 0x8010000C
	protoMismatch      uint32 = 0x8010000F
	notTransacted      uint32 = 0x80100016
	noService          uint32 = 0x8010001D
	unsupported        uint32 = 0x8010001F
	noReaders          uint32 = 0x8010002E
	removedCard        uint32 = 0x80100069
)

const word = unsafe.Sizeof(uintptr(0)) // of DWORD, LONG, handles and pointers alike

// autoAllocate is SCARD_AUTOALLOCATE.
const autoAllocate = ^uintptr(0)

// lib calls the library with bare words. The memory it hands out lies in a
// global, which never moves, so that its addresses may be kept as numbers.
type lib struct {
	t       *testing.T
	symbols map[string]uintptr
	next    uintptr
}

var arena [1 << 16]uint64

func base() uintptr { return uintptr(unsafe.Pointer(&arena[0])) }

func memory(at, n uintptr) []byte {
	all := unsafe.Slice((*byte)(unsafe.Pointer(&arena[0])), unsafe.Sizeof(arena))
	return all[at-base():][:n]
}

func open(t *testing.T) *lib {
	t.Helper()
	return openLibrary(t, cstub.Build(t), cstub.Symbols()...)
}

func openLibrary(t *testing.T, path string, symbols ...string) *lib {
	t.Helper()
	l := &lib{t: t, symbols: map[string]uintptr{}}
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	require.NoError(t, err)
	for _, name := range symbols {
		l.symbols[name], err = purego.Dlsym(h, name)
		require.NoError(t, err)
	}
	l.set(cstub.Reset())
	return l
}

// call is SCard<name>, its result in 32 bits.
func (l *lib) call(name string, args ...uintptr) uint32 {
	l.t.Helper()
	fn := l.symbols["SCard"+name]
	require.NotZero(l.t, fn, name)
	r, _, _ := purego.SyscallN(fn, args...)
	return uint32(r)
}

// buf is n bytes, aligned as anything may need. They and at least 16 after them
// are 0x55, to see what was written.
func (l *lib) buf(n uintptr) uintptr {
	at := base() + l.next
	size := (n+15)/16*16 + 16
	l.next += size
	b := memory(at, size)
	for i := range b {
		b[i] = 0x55
	}
	return at
}

func (l *lib) bytes(b []byte) uintptr {
	at := l.buf(uintptr(len(b)))
	copy(memory(at, uintptr(len(b))), b)
	return at
}

func (l *lib) str(s string) uintptr { return l.bytes(append([]byte(s), 0)) }

func (l *lib) word(v uintptr) uintptr {
	at := l.buf(word)
	l.put(at, v)
	return at
}

func (l *lib) put(at, v uintptr) {
	if word == 8 {
		binary.NativeEndian.PutUint64(memory(at, 8), uint64(v))
	} else {
		binary.NativeEndian.PutUint32(memory(at, 4), uint32(v))
	}
}

func (l *lib) get(at uintptr) uintptr {
	if word == 8 {
		return uintptr(binary.NativeEndian.Uint64(memory(at, 8)))
	}
	return uintptr(binary.NativeEndian.Uint32(memory(at, 4)))
}

func (l *lib) set(s cstub.Setting) {
	l.t.Helper()
	rc := l.call("SetAttrib", cstub.ControlHandle, uintptr(s.ID), l.bytes(s.Value), uintptr(len(s.Value)))
	require.EqualValues(l.t, success, rc, "setting %#x %q", s.ID, s.Value)
}

func (l *lib) text(id uint32) string {
	l.t.Helper()
	text, err := cstub.ReadText(func(id uint32, out []byte) (int, uint32) {
		n := l.word(uintptr(len(out)))
		at := l.buf(uintptr(len(out)))
		rc := l.call("GetAttrib", cstub.ControlHandle, uintptr(id), at, n)
		l.next = at - base()
		if rc != success {
			return 0, rc
		}
		return copy(out, memory(at, l.get(n))), rc
	}, id)
	require.NoError(l.t, err)
	return text
}

func (l *lib) counters() map[string]int {
	l.t.Helper()
	c, err := cstub.ParseCounters(l.text(cstub.AttrCounters))
	require.NoError(l.t, err)
	return c
}

func (l *lib) clean() {
	l.t.Helper()
	require.Empty(l.t, l.text(cstub.AttrFailures))
	require.Equal(l.t, "0", l.text(cstub.AttrFailureCount))
}

func (l *lib) context() uintptr {
	l.t.Helper()
	p := l.word(0)
	require.EqualValues(l.t, success, l.call("EstablishContext", 2, 0, 0, p))
	ctx := l.get(p)
	l.t.Cleanup(func() { l.call("ReleaseContext", ctx) })
	return ctx
}

func (l *lib) connect(ctx uintptr, name string) uintptr {
	l.t.Helper()
	card, protocol := l.word(0), l.word(0)
	require.EqualValues(l.t, success, l.call("Connect", ctx, l.str(name), 2, 3, card, protocol))
	return l.get(card)
}

func (l *lib) pci(protocol, size uintptr) uintptr {
	at := l.buf(2 * word)
	l.put(at, protocol)
	l.put(at+word, size)
	return at
}

// transmit is a right call with T=0.
func (l *lib) transmit(card uintptr, command []byte, room uintptr) (uint32, []byte, uintptr) {
	l.t.Helper()
	start := l.next
	defer func() { l.next = start }()
	out, n := l.buf(room), l.word(room)
	rc := l.call("Transmit", card, l.pci(1, 2*word), l.bytes(command), uintptr(len(command)), 0, out, n)
	require.Equal(l.t, bytes.Repeat([]byte{0x55}, 16), memory(out+room, 16), "written past the capacity")
	return rc, bytes.Clone(memory(out, min(room, l.get(n)))), l.get(n)
}

const (
	offState = 2 * word
	offEvent = 3 * word
	offCbATR = 4 * word
	offATR   = 5 * word
	stateLen = (5*word + 33 + word - 1) / word * word
)

// states makes an array of reader states.
func (l *lib) states(names []uintptr, current ...uintptr) uintptr {
	at := l.buf(uintptr(len(names)) * stateLen)
	for i, name := range names {
		s := at + uintptr(i)*stateLen
		l.put(s, name)
		l.put(s+word, 0)
		l.put(s+offState, current[i])
		l.put(s+offEvent, 0)
		l.put(s+offCbATR, 0)
	}
	return at
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, time.Millisecond, what)
}

func TestLibraryLooksReal(t *testing.T) {
	path := cstub.Build(t)
	require.True(t, filepath.IsAbs(path))
	require.Equal(t, path, cstub.Build(t), "built once")
	f, err := elf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	soname, err := f.DynString(elf.DT_SONAME)
	require.NoError(t, err)
	require.Equal(t, []string{"libpcsclite.so.1"}, soname)
	require.ElementsMatch(t, cstub.Symbols(), exported(t, f))
}

func exported(t *testing.T, f *elf.File) []string {
	t.Helper()
	symbols, err := f.DynamicSymbols()
	require.NoError(t, err)
	var names []string
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF {
			names = append(names, s.Name)
		}
	}
	return names
}

func TestMinimalLibraries(t *testing.T) {
	for name, test := range map[string]struct {
		path string
		want []string
	}{
		"all":     {cstub.BuildMinimal(t), cstub.Symbols()},
		"one":     {cstub.BuildMinimal(t, "SCardTransmit"), without("SCardTransmit")},
		"several": {cstub.BuildMinimal(t, "SCardCancel", "g_rgSCardT1Pci"), without("SCardCancel", "g_rgSCardT1Pci")},
		"none":    {cstub.BuildNotPCSC(t), nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := elf.Open(test.path)
			require.NoError(t, err)
			defer f.Close()
			require.ElementsMatch(t, append(slices.Clone(test.want), "stub_minimal"), exported(t, f))
			h, err := purego.Dlopen(test.path, purego.RTLD_NOW|purego.RTLD_LOCAL)
			require.NoError(t, err)
			if fn, err := purego.Dlsym(h, "SCardEstablishContext"); err == nil {
				r, _, _ := purego.SyscallN(fn, 0, 0, 0, 0)
				require.EqualValues(t, noService, uint32(r))
			}
		})
	}
	require.Equal(t, cstub.BuildMinimal(t, "SCardTransmit", "SCardTransmit"), cstub.BuildMinimal(t, "SCardTransmit"))

	// A symbol can be left out only if there is such a symbol.
	for _, symbol := range cstub.Symbols() {
		tb := &recorder{TB: t}
		tb.run(func() { cstub.BuildMinimal(tb, symbol+"X") })
		require.Contains(t, tb.fatal, symbol+"X")
	}
}

func without(missing ...string) []string {
	return slices.DeleteFunc(cstub.Symbols(), func(s string) bool { return slices.Contains(missing, s) })
}

// recorder is a testing.TB that keeps what it is told.
type recorder struct {
	testing.TB
	fatal, skip string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skip = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// TestNoToolchain runs this binary again with a compiler that is not there.
func TestNoToolchain(t *testing.T) {
	if os.Getenv("CSTUB_TEST_CHILD") != "" {
		_, err := cstub.Compile(t.TempDir())
		require.ErrorIs(t, err, cstub.ErrNoToolchain)
		cstub.Build(t)
		t.Fatal("built without a compiler")
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	for must, want := range map[string]string{"": "--- SKIP: TestNoToolchain", "1": "--- FAIL: TestNoToolchain"} {
		cmd := exec.Command(exe, "-test.run=^TestNoToolchain$", "-test.v")
		cmd.Env = append(os.Environ(), "CSTUB_TEST_CHILD=1", "CC=no-such-compiler", "PCSC_MUST_RUN="+must)
		out, _ := cmd.CombinedOutput()
		require.Contains(t, string(out), want)
		require.NotContains(t, string(out), "built without")
	}
}

func TestCompile(t *testing.T) {
	cstub.Build(t) // skips for us
	p, err := cstub.Compile(t.TempDir())
	require.NoError(t, err)
	require.FileExists(t, p.Library)
	require.FileExists(t, p.Bench)
	_, err = cstub.Compile(p.Dir)
	require.NoError(t, err, "again in the same directory")
	_, err = cstub.Compile(filepath.Join(p.Dir, "missing"))
	require.Error(t, err)
	require.False(t, errors.Is(err, cstub.ErrNoToolchain))
}

func TestBench(t *testing.T) {
	bench := cstub.BuildBench(t)
	run := func(args ...string) (string, error) {
		cmd := exec.Command(bench, args...)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(cstub.Build(t)))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, mode := range []string{"transmit", "status", "getstatuschange", "session"} {
		for _, reader := range []string{"", cstub.Name(1)} {
			args := []string{mode, "1000"}
			if reader != "" {
				args = append(args, reader)
			}
			out, err := run(args...)
			require.NoError(t, err, out)
			require.Regexp(t, "^"+mode+` \d+\.\d\n$`, out)
		}
	}
	for _, args := range [][]string{{}, {"transmit"}, {"nothing", "1"}, {"transmit", "0"}, {"transmit", "1x"}, {"status", "1", "Nobody"}} {
		_, err := run(args...)
		require.Error(t, err, args)
	}
}

func TestRightCalls(t *testing.T) {
	l := open(t)
	ctx := l.context()
	require.EqualValues(t, success, l.call("IsValidContext", ctx))
	require.Equal(t, uint32(0x9), uint32(ctx)>>28)
	if word == 8 {
		require.Equal(t, uint64(0x5CC0FFEE), uint64(ctx)>>32)
	}

	t.Run("ListReaders", func(t *testing.T) {
		for _, count := range []int{1, 2, 16, 100} {
			l.set(cstub.Readers(count))
			var want []byte
			for i := range count {
				want = append(append(want, cstub.Name(i)...), 0)
			}
			want = append(want, 0)
			l.multi(t, want, func(buf, n uintptr) uint32 { return l.call("ListReaders", ctx, 0, buf, n) })
		}
		l.set(cstub.ForeignReaders(100))
		var want []byte
		for i := range 100 {
			want = append(append(want, cstub.ForeignName(i)...), 0)
		}
		l.multi(t, append(want, 0), func(buf, n uintptr) uint32 { return l.call("ListReaders", ctx, 0, buf, n) })
		l.set(cstub.Readers(2))
		for _, groups := range []string{"\x00", strings.Join(cstub.ReaderGroups(), "\x00") + "\x00\x00", "SCard$AllReaders\x00\x00", "Stub Group\x00SCard$DefaultReaders\x00\x00"} {
			require.EqualValues(t, success, l.call("ListReaders", ctx, l.bytes([]byte(groups)), 0, l.word(0)))
		}
		l.set(cstub.Readers(0))
		n := l.word(99)
		require.EqualValues(t, noReaders, l.call("ListReaders", ctx, 0, 0, n))
		require.EqualValues(t, 1, l.get(n))
		l.set(cstub.Readers(2))
	})

	t.Run("ListReaderGroups", func(t *testing.T) {
		want := []byte(strings.Join(cstub.ReaderGroups(), "\x00") + "\x00\x00")
		l.multi(t, want, func(buf, n uintptr) uint32 { return l.call("ListReaderGroups", ctx, buf, n) })
	})

	t.Run("Connect", func(t *testing.T) {
		for number := range 100 {
			name := cstub.CheckedName(number, 20+number)
			if number == 99 {
				name = cstub.CheckedName(number, cstub.MaxName)
			}
			cardP, protocolP := l.word(0), l.word(0)
			rc := l.call("Connect", ctx, l.str(name), 2, 3, cardP, protocolP)
			if !cstub.HasCard(number) {
				require.EqualValues(t, noSmartcard, rc)
				require.EqualValues(t, success, l.call("Connect", ctx, l.str(name), 3, 0, cardP, protocolP))
				require.EqualValues(t, 0, l.get(protocolP))
				require.EqualValues(t, success, l.call("Disconnect", l.get(cardP), 0))
				continue
			}
			require.EqualValues(t, success, rc)
			card := l.get(cardP)
			require.Equal(t, uint32(0xA), uint32(card)>>28)
			require.EqualValues(t, cstub.Protocol(number), l.get(protocolP))

			state, protocol, atrLen, nameLen := l.word(0), l.word(0), l.word(33), l.word(128)
			atr, nameBuf := l.buf(33), l.buf(128)
			require.EqualValues(t, success, l.call("Status", card, nameBuf, nameLen, state, protocol, atr, atrLen))
			require.Equal(t, name+"\x00", string(memory(nameBuf, l.get(nameLen))))
			require.EqualValues(t, cstub.StatusState(number), l.get(state))
			require.EqualValues(t, cstub.Protocol(number), l.get(protocol))
			require.Equal(t, cstub.ATR(number), memory(atr, l.get(atrLen)))
			l.multi(t, []byte(name+"\x00"), func(buf, n uintptr) uint32 { return l.call("Status", card, buf, n, 0, 0, 0, 0) })
			l.multi(t, cstub.ATR(number), func(buf, n uintptr) uint32 { return l.call("Status", card, 0, 0, 0, 0, buf, n) })
			require.EqualValues(t, success, l.call("Status", card, 0, 0, 0, 0, 0, 0))

			l.multi(t, cstub.ATR(number), func(buf, n uintptr) uint32 { return l.call("GetAttrib", card, 0x00090303, buf, n) })
			l.multi(t, []byte(name+"\x00"), func(buf, n uintptr) uint32 { return l.call("GetAttrib", card, 0x7FFF0003, buf, n) })
			require.EqualValues(t, success, l.call("Disconnect", card, 0))
			require.EqualValues(t, invalidHandle, l.call("Disconnect", card, 0), "closed")
			l.next = 0
		}
		require.EqualValues(t, unknownReader, l.call("Connect", ctx, l.str(cstub.Name(2)), 2, 3, l.word(0), l.word(0)))
		require.EqualValues(t, protoMismatch, l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 8, l.word(0), l.word(0)))
		require.EqualValues(t, protoMismatch, l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 0, l.word(0), l.word(0)))
	})

	t.Run("Reconnect", func(t *testing.T) {
		card, active := l.connect(ctx, cstub.Name(0)), l.word(0)
		for protocols, want := range map[uintptr]uintptr{1: 1, 2: 2, 3: 1, 4: 4} {
			require.EqualValues(t, success, l.call("Reconnect", card, 1, protocols, 2, active))
			require.Equal(t, want, l.get(active))
			require.Equal(t, fmt.Sprintf("dwShareMode=0x1 dwPreferredProtocols=%#x dwInitialization=0x2", protocols),
				l.text(cstub.AttrLast+uint32(cstub.FuncReconnect)))
		}
	})

	t.Run("Transaction", func(t *testing.T) {
		card := l.connect(ctx, cstub.Name(0))
		require.EqualValues(t, notTransacted, l.call("EndTransaction", card, 0))
		require.EqualValues(t, success, l.call("BeginTransaction", card))
		require.EqualValues(t, success, l.call("EndTransaction", card, 2))
		require.Equal(t, "dwDisposition=0x2", l.text(cstub.AttrLast+uint32(cstub.FuncEndTransaction)))
		require.EqualValues(t, notTransacted, l.call("EndTransaction", card, 0))
	})

	t.Run("Transmit", func(t *testing.T) {
		card := l.connect(ctx, cstub.Name(0))
		for _, command := range [][]byte{
			cstub.BenchCommand(),
			{0x00, 0xA4, 0x04, 0x00},
			cstub.Command(cstub.Echo, 9, 0, 1),
			cstub.Command(cstub.Echo, 65535, 0, 200),
			cstub.Command(cstub.Pattern, 300, 0, 3),
			cstub.Command(cstub.Pattern, 20, 65536, 77),
			cstub.Command(cstub.Sleep, 9, 1, 0),
		} {
			want := cstub.TransmitAnswer(command)
			rc, out, _ := l.transmit(card, command, uintptr(len(want))+100)
			require.EqualValues(t, success, rc)
			require.Equal(t, want, out)
			rc, out, _ = l.transmit(card, command, uintptr(len(want)))
			require.EqualValues(t, success, rc)
			require.Equal(t, want, out)
			rc, out, needed := l.transmit(card, command, uintptr(len(want))-1)
			require.EqualValues(t, insufficientBuffer, rc)
			require.EqualValues(t, len(want), needed)
			require.Equal(t, bytes.Repeat([]byte{0x55}, len(want)-1), out, "nothing is written")
		}
		rc, _, n := l.transmit(card, cstub.Command(cstub.Fail, 9, removedCard, 0), 10)
		require.EqualValues(t, removedCard, rc)
		require.Zero(t, n)
		rc, out, n := l.transmit(card, cstub.Command(cstub.Overclaim, 9, 1<<20, 0), 10)
		require.EqualValues(t, success, rc)
		require.EqualValues(t, 1<<20, n)
		require.Equal(t, bytes.Repeat([]byte{0x55}, 10), out)

		// The received PCI, a protocol that is not the card's, one buffer for both.
		recv := l.pci(0, 2*word)
		both := l.buf(300)
		command := cstub.Command(cstub.Echo, 100, 0, 9)
		copy(memory(both, 300), command)
		n = l.word(300)
		require.EqualValues(t, success, l.call("Transmit", card, l.symbols["g_rgSCardT0Pci"], both, 100, recv, both, n))
		require.EqualValues(t, 1, l.get(recv))
		require.Equal(t, cstub.TransmitAnswer(command), memory(both, l.get(n)))
		copy(memory(both, 300), command)
		l.put(n, 300)
		require.EqualValues(t, protoMismatch, l.call("Transmit", card, l.symbols["g_rgSCardT1Pci"], both, 100, 0, both, n))
		require.EqualValues(t, success, l.call("Transmit", card, l.symbols["g_rgSCardRawPci"], both, 100, 0, both, n))
		require.Equal(t, "dwProtocol=0x4 cbSendLength=0x64 cbRecvLength=0x12c", l.text(cstub.AttrLast+uint32(cstub.FuncTransmit)))
	})

	t.Run("Control", func(t *testing.T) {
		card := l.connect(ctx, cstub.Name(0))
		for _, in := range [][]byte{
			nil, {1, 2, 3}, bytes.Repeat([]byte{7}, 300),
			cstub.Command(cstub.Echo, 65536, 0, 5), cstub.Command(cstub.Pattern, 9, 70000, 6), cstub.Command(cstub.Sleep, 9, 1, 0),
		} {
			code := cstub.CtlCode(2049)
			want := cstub.ControlAnswer(code, in)
			send := uintptr(0)
			if len(in) > 0 {
				send = l.bytes(in)
			}
			out, n := l.buf(uintptr(len(want))), l.word(0)
			require.EqualValues(t, success, l.call("Control", card, uintptr(code), send, uintptr(len(in)), out, uintptr(len(want)), n))
			require.Equal(t, want, bytes.Clone(memory(out, l.get(n))))
			if len(want) > 0 {
				require.EqualValues(t, insufficientBuffer, l.call("Control", card, uintptr(code), send, uintptr(len(in)), 0, 0, n))
				require.EqualValues(t, len(want), l.get(n))
			}
			l.next = 0
		}
		out, n := l.buf(64), l.word(0)
		require.EqualValues(t, success, l.call("Control", card, uintptr(cstub.CtlCode(3400)), 0, 0, out, 64, n))
		require.Equal(t, []byte{
			0x06, 4, 0x42, 0x00, 0x0D, 0xB2,
			0x07, 4, 0x42, 0x00, 0x0D, 0xB3,
			0x12, 4, 0x42, 0x00, 0x0D, 0xBE,
		}, memory(out, l.get(n)))
		require.EqualValues(t, success, l.call("Control", card, uintptr(cstub.CtlCode(3518)), 0, 0, out, 64, n))
		require.Equal(t, []byte{0x0A, 4, 0, 0, 1, 0, 0x0B, 2, 0x34, 0x12}, memory(out, l.get(n)))
	})

	t.Run("Attributes", func(t *testing.T) {
		card := l.connect(ctx, cstub.Name(0))
		for _, n := range []int{0, 1, 264, 4095} {
			l.multi(t, cstub.AttribValue(n), func(buf, p uintptr) uint32 {
				return l.call("GetAttrib", card, cstub.AttrPattern+uintptr(n), buf, p)
			})
			l.next = 0
		}
		require.EqualValues(t, unsupported, l.call("GetAttrib", card, 0x12345, 0, l.word(0)))
		value := cstub.Command(cstub.Echo, 50, 0, 1)
		require.EqualValues(t, success, l.call("SetAttrib", card, cstub.AttrPattern, l.bytes(value), 50))
		require.EqualValues(t, unsupported, l.call("SetAttrib", card, 0x12345, l.bytes(value), 50))
	})

	t.Run("Closed", func(t *testing.T) {
		p := l.word(0)
		require.EqualValues(t, success, l.call("EstablishContext", 2, 0, 0, p))
		old := l.get(p)
		card := l.connect(old, cstub.Name(0))
		require.EqualValues(t, success, l.call("ReleaseContext", old))
		require.EqualValues(t, invalidHandle, l.call("ReleaseContext", old))
		require.EqualValues(t, invalidHandle, l.call("IsValidContext", old))
		require.EqualValues(t, invalidHandle, l.call("IsValidContext", 0))
		require.EqualValues(t, invalidHandle, l.call("BeginTransaction", card), "closed with its context")
	})
	l.clean()
}

// multi checks the rules of an answer with a capacity: size query, exact room,
// one byte too little, memory of the library.
func (l *lib) multi(t *testing.T, want []byte, call func(buf, n uintptr) uint32) {
	t.Helper()
	size := uintptr(len(want))
	n := l.word(12345)
	require.EqualValues(t, success, call(0, n))
	require.Equal(t, size, l.get(n))
	buf := l.buf(size)
	require.EqualValues(t, success, call(buf, n))
	require.Equal(t, size, l.get(n))
	require.Equal(t, string(want), string(memory(buf, size)))
	if size > 0 {
		l.put(n, size-1)
		buf = l.buf(size)
		require.EqualValues(t, insufficientBuffer, call(buf, n))
		require.Equal(t, size, l.get(n))
		require.Equal(t, bytes.Repeat([]byte{0x55}, len(want)), memory(buf, size), "nothing is written")
	}
	l.put(n, autoAllocate)
	p := l.word(0)
	require.EqualValues(t, success, call(p, n))
	require.Equal(t, size, l.get(n))
	require.Equal(t, 1, l.counters()["allocations"])
	// The memory is C's: the address of the word that holds it makes it a pointer
	// without a conversion from a number.
	got := *(**byte)(unsafe.Pointer(&memory(p, word)[0]))
	require.Equal(t, string(want), string(unsafe.Slice(got, size)))
	ctx := l.context()
	require.EqualValues(t, success, l.call("FreeMemory", ctx, l.get(p)))
	require.EqualValues(t, success, l.call("ReleaseContext", ctx))
}

func TestGetStatusChange(t *testing.T) {
	l := open(t)
	ctx := l.context()

	t.Run("answers", func(t *testing.T) {
		for number := range 100 {
			l.next = 0
			for _, current := range []uint32{0, 1, cstub.EventState(number, 0), cstub.EventState(number, 0) &^ 2, 0xFFFFFFFE} {
				name := cstub.StateName(number, current, 0)
				if number >= 30 {
					name = cstub.StateName(number, current, number)
				}
				// A second state shows that the array's stride is right.
				s := l.states([]uintptr{l.str(cstub.CheckedName(0, 60)), l.str(name)}, 0, uintptr(current))
				require.EqualValues(t, success, l.call("GetStatusChange", ctx, 0, s, 2))
				require.EqualValues(t, cstub.EventState(0, 0), l.get(s+offEvent))
				s += stateLen
				require.EqualValues(t, cstub.EventState(number, current), l.get(s+offEvent), "%d %#x", number, current)
				require.EqualValues(t, current, l.get(s+offState))
				if current&1 == 0 {
					require.Equal(t, string(cstub.ATR(number)), string(memory(s+offATR, l.get(s+offCbATR))))
				}
			}
		}
		require.EqualValues(t, success, l.call("GetStatusChange", ctx, 0, 0, 0))
		s := l.states([]uintptr{l.str(cstub.Name(2))}, 0)
		require.EqualValues(t, unknownReader, l.call("GetStatusChange", ctx, 0, s, 1))
	})

	unchanged := uintptr(cstub.EventState(0, 0))
	t.Run("times out", func(t *testing.T) {
		s := l.states([]uintptr{l.str(cstub.Name(0))}, unchanged)
		require.EqualValues(t, timeout, l.call("GetStatusChange", ctx, 0, s, 1))
		start := time.Now()
		require.EqualValues(t, timeout, l.call("GetStatusChange", ctx, 30, s, 1))
		require.GreaterOrEqual(t, time.Since(start), 29*time.Millisecond)
		require.EqualValues(t, unchanged&^2, l.get(s+offEvent))
	})

	// wait starts a call that waits and returns when it does.
	wait := func(t *testing.T, ctx, ms, states, n uintptr) <-chan uint32 {
		rc := make(chan uint32, 1)
		fn := l.symbols["SCardGetStatusChange"]
		go func() {
			r, _, _ := purego.SyscallN(fn, ctx, ms, states, n)
			rc <- uint32(r)
		}()
		waitFor(t, "the wait begins", func() bool { return l.counters()["waiting"] == 1 })
		return rc
	}

	t.Run("cancel", func(t *testing.T) {
		require.EqualValues(t, success, l.call("Cancel", ctx)) // nobody waits: lost
		for _, ms := range []uintptr{cstub.TimeoutWait, 0xFFFFFFFF, 3600000} {
			s := l.states([]uintptr{l.str(cstub.Name(0))}, unchanged)
			rc := wait(t, ctx, ms, s, 1)
			require.EqualValues(t, success, l.call("Cancel", ctx))
			require.EqualValues(t, cancelled, <-rc)
		}
		rc := wait(t, ctx, cstub.TimeoutWait, 0, 0)
		require.EqualValues(t, success, l.call("Cancel", ctx))
		require.EqualValues(t, cancelled, <-rc)
	})

	t.Run("plug and play", func(t *testing.T) {
		s := l.states([]uintptr{l.str(`\\?PnP?\Notification`)}, 2<<16)
		rc := wait(t, ctx, 0xFFFFFFFF, s, 1)
		l.set(cstub.Readers(3))
		require.EqualValues(t, success, <-rc)
		require.EqualValues(t, 3<<16|2, l.get(s+offEvent))
	})

	t.Run("release ends it", func(t *testing.T) {
		p := l.word(0)
		require.EqualValues(t, success, l.call("EstablishContext", 2, 0, 0, p))
		rc := wait(t, l.get(p), cstub.TimeoutWait, 0, 0)
		require.EqualValues(t, success, l.call("ReleaseContext", l.get(p)))
		require.EqualValues(t, cancelled, <-rc)
	})
	l.clean()

	t.Run("name freed during the wait", func(t *testing.T) {
		name := l.str(cstub.CheckedName(0, 80))
		s := l.states([]uintptr{name}, unchanged)
		rc := wait(t, ctx, cstub.TimeoutWait, s, 1)
		memory(name, 80)[79] = 'Z'
		require.EqualValues(t, success, l.call("Cancel", ctx))
		require.EqualValues(t, invalidParameter, <-rc)
		require.Contains(t, l.text(cstub.AttrFailures), "rgReaderStates[0].szReader: corrupted at byte 79")
	})

	t.Run("pointer replaced during the wait", func(t *testing.T) {
		l.set(cstub.Reset())
		s := l.states([]uintptr{l.str(cstub.Name(0))}, unchanged)
		rc := wait(t, ctx, cstub.TimeoutWait, s, 1)
		l.put(s, l.str(cstub.Name(0)))
		require.EqualValues(t, success, l.call("Cancel", ctx))
		require.EqualValues(t, invalidParameter, <-rc)
		require.Contains(t, l.text(cstub.AttrFailures), "rgReaderStates[0].szReader: changed during the wait")
	})
}

// TestWrongCalls makes each check find its fault.
func TestWrongCalls(t *testing.T) {
	l := open(t)
	ctx := l.context()
	card := l.connect(ctx, cstub.Name(0))
	keep := l.next
	big := uintptr(math.MaxUint32)
	if word == 8 {
		big = 1 << (8*word - 1) // a sign that was extended
	}

	name := func(s string) func() uint32 {
		return func() uint32 { return l.call("Connect", ctx, l.str(s), 2, 3, l.word(0), l.word(0)) }
	}
	change := func(s string, at int, c byte) string {
		b := []byte(s)
		b[at] = c
		return string(b)
	}
	checked := cstub.CheckedName(7, 60)
	stated := cstub.StateName(7, 0xBEEF, 60)

	transmit := func(change func(a []uintptr)) func() uint32 {
		return func() uint32 {
			a := []uintptr{card, l.pci(1, 2*word), l.bytes(cstub.BenchCommand()), 5, 0, l.buf(64), l.word(64)}
			change(a)
			return l.call("Transmit", a...)
		}
	}
	send := func(b []byte, n uintptr) func() uint32 {
		return transmit(func(a []uintptr) { a[2], a[3] = l.bytes(b), n })
	}
	control := func(change func(a []uintptr)) func() uint32 {
		return func() uint32 {
			a := []uintptr{card, 0x42000001, l.bytes([]byte{1, 2, 3}), 3, l.buf(64), 64, l.word(0)}
			change(a)
			return l.call("Control", a...)
		}
	}
	states := func(change func(s uintptr)) func() uint32 {
		return func() uint32 {
			s := l.states([]uintptr{l.str(cstub.Name(0)), l.str(stated)}, 0, 0xBEEF)
			change(s + stateLen)
			return l.call("GetStatusChange", ctx, 0, s, 2)
		}
	}
	status := func(i int, v func() uintptr) func() uint32 {
		return func() uint32 {
			a := []uintptr{card, l.buf(128), l.word(128), l.word(0), l.word(0), l.buf(33), l.word(33)}
			a[i] = v()
			return l.call("Status", a...)
		}
	}
	atr := cstub.PatternBytes(33, 5)
	wholeName := cstub.WholeStateName(7, 0xBEEE, 0xCAFE, 12, atr)
	whole := func(change func(s uintptr)) func() uint32 {
		return func() uint32 {
			s := l.states([]uintptr{l.str(wholeName)}, 0xBEEE)
			l.put(s+offEvent, 0xCAFE)
			l.put(s+offCbATR, 12)
			copy(memory(s+offATR, 33), atr)
			change(s)
			return l.call("GetStatusChange", ctx, 0, s, 1)
		}
	}
	require.Equal(t, success, whole(func(uintptr) {})(), "with nothing wrong")
	null := func() uintptr { return 0 }
	crooked := func() uintptr { return l.buf(32) + 1 }
	good := cstub.Command(cstub.Echo, 40, 0, 3)
	flipped := bytes.Clone(good)
	flipped[33] ^= 1
	config := func(id uintptr, text string) func() uint32 {
		return func() uint32 { return l.call("SetAttrib", 0, id, l.str(text), uintptr(len(text))) }
	}

	type test struct {
		want string // in the failure's text
		call func() uint32
	}
	tests := []test{
		{"SCardEstablishContext: dwScope: 0x7 is not in 0..3", func() uint32 { return l.call("EstablishContext", 7, 0, 0, l.word(0)) }},
		{"SCardEstablishContext: pvReserved1: not NULL", func() uint32 { return l.call("EstablishContext", 2, 1, 0, l.word(0)) }},
		{"SCardEstablishContext: pvReserved2: not NULL", func() uint32 { return l.call("EstablishContext", 2, 0, 1, l.word(0)) }},
		{"SCardEstablishContext: phContext: NULL", func() uint32 { return l.call("EstablishContext", 2, 0, 0, 0) }},
		{"SCardEstablishContext: phContext: misaligned", func() uint32 { return l.call("EstablishContext", 2, 0, 0, crooked()) }},

		{"SCardConnect: szReader: NULL", func() uint32 { return l.call("Connect", ctx, 0, 2, 3, l.word(0), l.word(0)) }},
		{`SCardConnect: szReader: ends too early at byte 0 of ""`, name("")},
		{`SCardConnect: szReader: not a known name at byte 5 of "Stub X"`, name("Stub Xeader 00")},
		{`SCardConnect: szReader: not a known name at byte 0 of "\xff"`, name("\xffStub")},
		{"SCardConnect: szReader: ends too early at byte 7", name("Stub Re")},
		{"SCardConnect: szReader: no number at byte 13", name("Stub Reader 0")},
		{"SCardConnect: szReader: no NUL at its end at byte 14", name(cstub.Name(0) + "U")},
		{"SCardConnect: szReader: no NUL at its end at byte 60", name(checked + "U")},
		{"SCardConnect: szReader: corrupted at byte 59", name(change(checked, 59, 'Z'))},
		{"SCardConnect: szReader: corrupted at byte 20", name(change(checked, 13, '6'))},
		{"SCardConnect: szReader: ends too early at byte 40", name(checked[:40])},
		{"SCardConnect: szReader: no length", name(change(checked, 17, 'x'))},
		{"SCardConnect: szReader: no '#' after the length", name(change(checked, 19, 'x'))},
		{"SCardConnect: szReader: impossible length", name(change(checked, 16, '9'))},
		{"SCardConnect: szReader: no NUL at its end at byte 50", name(change(checked, 17, '5'))},
		{"SCardConnect: szReader: state ends too early", name(stated[:20])},
		{"SCardConnect: szReader: state is not 8 upper-case", name(change(stated, 20, 'x'))},
		{"SCardConnect: szReader: hash ends too early", name(wholeName[:len(wholeName)-1])},
		{"SCardConnect: szReader: hash is not 8 upper-case", name(change(wholeName, len(wholeName)-1, 'x'))},
		{"SCardConnect: szReader: no NUL at its end", name(wholeName + "0")},
		{"SCardConnect: szReader: the plug-and-play reader", name(`\\?PnP?\Notification`)},
		{"SCardConnect: szReader: not a known name at byte 6", name(`\\?PnPX\Notification`)},
		{"SCardConnect: dwShareMode: 0x4 is not in 1..3", func() uint32 { return l.call("Connect", ctx, l.str(cstub.Name(0)), 4, 3, l.word(0), l.word(0)) }},
		{"SCardConnect: dwPreferredProtocols: 0x103 has unknown bits", func() uint32 {
			return l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 0x103, l.word(0), l.word(0))
		}},
		{"SCardConnect: phCard: NULL", func() uint32 { return l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 3, 0, l.word(0)) }},
		{"SCardConnect: phCard: misaligned", func() uint32 { return l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 3, crooked(), l.word(0)) }},
		{"SCardConnect: pdwActiveProtocol: NULL", func() uint32 { return l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 3, l.word(0), 0) }},
		{"SCardConnect: pdwActiveProtocol: misaligned", func() uint32 { return l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 3, l.word(0), crooked()) }},

		{"SCardReconnect: dwShareMode: 0x0", func() uint32 { return l.call("Reconnect", card, 0, 3, 0, l.word(0)) }},
		{"SCardReconnect: dwPreferredProtocols: 0x10", func() uint32 { return l.call("Reconnect", card, 2, 16, 0, l.word(0)) }},
		{"SCardReconnect: dwInitialization: 0x3", func() uint32 { return l.call("Reconnect", card, 2, 3, 3, l.word(0)) }},
		{"SCardReconnect: pdwActiveProtocol: NULL", func() uint32 { return l.call("Reconnect", card, 2, 3, 0, 0) }},
		{"SCardReconnect: pdwActiveProtocol: misaligned", func() uint32 { return l.call("Reconnect", card, 2, 3, 0, crooked()) }},
		{"SCardDisconnect: dwDisposition: 0x4", func() uint32 { return l.call("Disconnect", card, 4) }},
		{"SCardEndTransaction: dwDisposition: 0x4", func() uint32 { return l.call("EndTransaction", card, 4) }},

		{"SCardStatus: pcchReaderLen: NULL", status(2, null)},
		{"SCardStatus: pcchReaderLen: misaligned", status(2, crooked)},
		{"SCardStatus: pdwState: misaligned", status(3, crooked)},
		{"SCardStatus: pdwProtocol: misaligned", status(4, crooked)},
		{"SCardStatus: pcbAtrLen: NULL", status(6, null)},
		{"SCardStatus: pcbAtrLen: misaligned", status(6, crooked)},
		{"SCardStatus: mszReaderName: NULL", func() uint32 { return l.call("Status", card, 0, l.word(autoAllocate), 0, 0, 0, 0) }},
		{"SCardStatus: mszReaderName: misaligned", func() uint32 { return l.call("Status", card, crooked(), l.word(autoAllocate), 0, 0, 0, 0) }},
		{"SCardStatus: pbAtr: misaligned", func() uint32 { return l.call("Status", card, 0, 0, 0, 0, crooked(), l.word(autoAllocate)) }},
		{"SCardStatus: pcchReaderLen: 0x7fffffff is not a capacity", status(2, func() uintptr { return l.word(math.MaxInt32) })},

		{"SCardGetStatusChange: cReaders: 0x81 is not in 0..128", func() uint32 { return l.call("GetStatusChange", ctx, 0, l.buf(64), 129) }},
		{"SCardGetStatusChange: rgReaderStates: NULL", func() uint32 { return l.call("GetStatusChange", ctx, 0, 0, 1) }},
		{"SCardGetStatusChange: rgReaderStates: misaligned", func() uint32 { return l.call("GetStatusChange", ctx, 0, crooked(), 1) }},
		{"SCardGetStatusChange: rgReaderStates[1].szReader: NULL", states(func(s uintptr) { l.put(s, 0) })},
		{"SCardGetStatusChange: rgReaderStates[1].szReader: ends too early at byte 0", states(func(s uintptr) { l.put(s, l.str("")) })},
		{"SCardGetStatusChange: rgReaderStates[1].szReader: corrupted at byte 59", states(func(s uintptr) { l.put(s, l.str(change(checked, 59, 0x55))) })},
		{"SCardGetStatusChange: rgReaderStates[1].dwCurrentState: 0xbeee, want 0xbeef", states(func(s uintptr) { l.put(s+offState, 0xBEEE) })},
		{"SCardGetStatusChange: rgReaderStates[1].pvUserData: not NULL", states(func(s uintptr) { l.put(s+word, s) })},
		{"SCardGetStatusChange: rgReaderStates[0]: dwEventState 0xcaff, cbAtr 12 and rgbAtr have", whole(func(s uintptr) { l.put(s+offEvent, 0xCAFF) })},
		{"SCardGetStatusChange: rgReaderStates[0]: dwEventState 0xcafe, cbAtr 13 and rgbAtr have", whole(func(s uintptr) { l.put(s+offCbATR, 13) })},
		{"SCardGetStatusChange: rgReaderStates[0]: dwEventState 0xcafe, cbAtr 12 and rgbAtr have", whole(func(s uintptr) { memory(s+offATR, 33)[32]++ })},
		{"SCardGetStatusChange: rgReaderStates[0]: dwEventState 0xcafe, cbAtr 12 and rgbAtr have", whole(func(s uintptr) { memory(s+offATR, 33)[0]++ })},
		{"SCardGetStatusChange: rgReaderStates[1].cbAtr: 0x22 is not in 0..33", states(func(s uintptr) { l.put(s+offCbATR, 34) })},

		{"SCardControl: cbSendLength: 0x7fffffff is not", control(func(a []uintptr) { a[3] = math.MaxInt32 })},
		{"SCardControl: cbRecvLength: 0x7fffffff is not", control(func(a []uintptr) { a[5] = math.MaxInt32 })},
		{"SCardControl: pbSendBuffer: NULL", control(func(a []uintptr) { a[2] = 0 })},
		{"SCardControl: pbRecvBuffer: NULL", control(func(a []uintptr) { a[4] = 0 })},
		{"SCardControl: lpBytesReturned: NULL", control(func(a []uintptr) { a[6] = 0 })},
		{"SCardControl: lpBytesReturned: misaligned", control(func(a []uintptr) { a[6] = crooked() })},
		{"SCardControl: pbSendBuffer: wrong length: 39 bytes given, the buffer says 40", control(func(a []uintptr) { a[2], a[3] = l.bytes(good), 39 })},
		{"SCardControl: pbSendBuffer: corrupted at byte 33 of 40", control(func(a []uintptr) { a[2], a[3] = l.bytes(flipped), 40 })},

		{"SCardTransmit: pioSendPci: NULL", transmit(func(a []uintptr) { a[1] = 0 })},
		{"SCardTransmit: pioSendPci: misaligned", transmit(func(a []uintptr) { a[1] = crooked() })},
		{"SCardTransmit: pioSendPci->cbPciLength: 4, want", transmit(func(a []uintptr) { a[1] = l.pci(1, 4) })},
		{"SCardTransmit: pioSendPci->dwProtocol: 0x3", transmit(func(a []uintptr) { a[1] = l.pci(3, 2*word) })},
		{"SCardTransmit: pioRecvPci: misaligned", transmit(func(a []uintptr) { a[4] = crooked() })},
		{"SCardTransmit: pioRecvPci->cbPciLength: 0, want", transmit(func(a []uintptr) { a[4] = l.pci(0, 0) })},
		{"SCardTransmit: pbSendBuffer: NULL", transmit(func(a []uintptr) { a[2] = 0 })},
		{"SCardTransmit: cbSendLength: 0", transmit(func(a []uintptr) { a[3] = 0 })},
		{"SCardTransmit: cbSendLength: 0x7fffffff is not", transmit(func(a []uintptr) { a[3] = math.MaxInt32 })},
		{"SCardTransmit: pbRecvBuffer: NULL", transmit(func(a []uintptr) { a[5] = 0 })},
		{"SCardTransmit: pcbRecvLength: NULL", transmit(func(a []uintptr) { a[6] = 0 })},
		{"SCardTransmit: pcbRecvLength: misaligned", transmit(func(a []uintptr) { a[6] = crooked() })},
		{"SCardTransmit: *pcbRecvLength: 0x7fffffff is not", transmit(func(a []uintptr) { a[6] = l.word(math.MaxInt32) })},
		{"SCardTransmit: pbSendBuffer: 8 bytes are too few", send(good, 8)},
		{"SCardTransmit: pbSendBuffer: wrong length: 41 bytes given, the buffer says 40", send(good, 41)},
		{"SCardTransmit: pbSendBuffer: corrupted at byte 33 of 40: 0xeb, want 0xea", send(flipped, 40)},

		{"SCardListReaderGroups: pcchGroups: NULL", func() uint32 { return l.call("ListReaderGroups", ctx, 0, 0) }},
		{"SCardListReaderGroups: pcchGroups: misaligned", func() uint32 { return l.call("ListReaderGroups", ctx, 0, crooked()) }},
		{"SCardListReaders: pcchReaders: NULL", func() uint32 { return l.call("ListReaders", ctx, 0, 0, 0) }},
		{"SCardListReaders: pcchReaders: misaligned", func() uint32 { return l.call("ListReaders", ctx, 0, 0, crooked()) }},
		{"SCardListReaders: pcchReaders: 0x7fffffff", func() uint32 { return l.call("ListReaders", ctx, 0, l.buf(8), l.word(math.MaxInt32)) }},
		{"SCardListReaders: mszReaders: NULL", func() uint32 { return l.call("ListReaders", ctx, 0, 0, l.word(autoAllocate)) }},
		{"SCardListReaders: mszGroups: entry 0", func() uint32 { return l.call("ListReaders", ctx, l.str("Nobody"), 0, l.word(0)) }},
		{"SCardListReaders: mszGroups: entry 1", func() uint32 { return l.call("ListReaders", ctx, l.bytes([]byte("Stub Group\x00U")), 0, l.word(0)) }},
		{"SCardListReaders: mszGroups: does not end", func() uint32 {
			return l.call("ListReaders", ctx, l.str(strings.Repeat("Stub Group\x00", 17)), 0, l.word(0))
		}},
		{"SCardFreeMemory: pvMem: NULL", func() uint32 { return l.call("FreeMemory", ctx, 0) }},
		{"SCardFreeMemory: pvMem: 0x", func() uint32 { return l.call("FreeMemory", ctx, l.buf(8)) }},

		{"SCardGetAttrib: pcbAttrLen: NULL", func() uint32 { return l.call("GetAttrib", card, 0x00090303, 0, 0) }},
		{"SCardGetAttrib: pcbAttrLen: misaligned", func() uint32 { return l.call("GetAttrib", card, 0x00090303, 0, crooked()) }},
		{"SCardGetAttrib: pcbAttrLen: NULL", func() uint32 { return l.call("GetAttrib", card, cstub.AttrCounters, 0, 0) }},
		{"SCardSetAttrib: pbAttr: NULL", func() uint32 { return l.call("SetAttrib", card, cstub.AttrPattern, 0, 1) }},
		{"SCardSetAttrib: cbAttrLen: 0x7fffffff", func() uint32 { return l.call("SetAttrib", card, cstub.AttrPattern, l.buf(8), math.MaxInt32) }},
		{"SCardSetAttrib: pbAttr: corrupted at byte 33", func() uint32 { return l.call("SetAttrib", card, cstub.AttrPattern, l.bytes(flipped), 40) }},
		{`SCardSetAttrib: pbAttr: attribute 0x7f010 does not take "many"`, config(cstub.AttrReaders, "many")},
		{"SCardSetAttrib: pbAttr: attribute 0x7f010", config(cstub.AttrReaders, "101")},
		{"SCardSetAttrib: pbAttr: attribute 0x7f010", config(cstub.AttrReaders, "3 x")},
		{"SCardSetAttrib: pbAttr: attribute 0x7f011", config(cstub.AttrNext, "nothing 0")},
		{"SCardSetAttrib: pbAttr: attribute 0x7f011", config(cstub.AttrNext, "transmit")},
		{"SCardSetAttrib: pbAttr: attribute 0x7f012", config(cstub.AttrDelay, "transmit -1")},
		{"SCardSetAttrib: pbAttr: attribute 0x7f013", config(cstub.AttrFill, "yes")},
		{"SCardSetAttrib: pbAttr: attribute 0x7f001", config(cstub.AttrCounters, "")},
		{"SCardSetAttrib: cbAttrLen: 0x40 is not in 0..63", config(cstub.AttrFill, strings.Repeat("1", 64))},
	}
	if word == 8 {
		tests = append(tests, []test{
			// Values that only a 64-bit DWORD or LONG can have.
			{"SCardConnect: dwPreferredProtocols: 0x8000000000000000 has unknown bits", func() uint32 {
				return l.call("Connect", ctx, l.str(cstub.Name(0)), 2, big, l.word(0), l.word(0))
			}},
			{"SCardGetStatusChange: dwTimeout: 0xffffffffffffffff has more than 32 bits", func() uint32 { return l.call("GetStatusChange", ctx, ^uintptr(0), 0, 0) }},
			{"SCardGetStatusChange: rgReaderStates[1].dwCurrentState: 0x8000000000000000 has more", states(func(s uintptr) { l.put(s+offState, big) })},
			{"SCardGetStatusChange: rgReaderStates[1].dwEventState: 0x8000000000000000 has more", states(func(s uintptr) { l.put(s+offEvent, big) })},
			{"SCardControl: dwControlCode: 0x8000000000000000 has more", control(func(a []uintptr) { a[1] = big })},
			{"SCardGetAttrib: dwAttrId: 0x8000000000000000 has more", func() uint32 { return l.call("GetAttrib", card, big, 0, l.word(0)) }},
			{"SCardSetAttrib: dwAttrId: 0x8000000000000000 has more", func() uint32 { return l.call("SetAttrib", card, big, l.buf(8), 1) }},
			{"SCardListReaders: pcchReaders: 0xffffffff is not a capacity", func() uint32 { return l.call("ListReaders", ctx, 0, l.word(0), l.word(math.MaxUint32)) }},
		}...)
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			l.next = keep
			l.set(cstub.Reset())
			require.EqualValues(t, invalidParameter, test.call())
			failures := l.text(cstub.AttrFailures)
			require.Contains(t, failures, test.want)
			require.NotContains(t, failures, "\n", "one fault, one failure")
			require.Equal(t, "1", l.text(cstub.AttrFailureCount))
			require.Equal(t, 1, l.counters()["failures"])
		})
	}
	l.set(cstub.Reset())
	l.clean()
	require.EqualValues(t, success, l.call("Disconnect", card, 0), "the card survived all that")
	l.clean()
}

// signExtended is what becomes of a word that was kept in an int32.
func signExtended(v uintptr) uintptr { return uintptr(int32(uint32(v))) }

func TestWrongHandles(t *testing.T) {
	l := open(t)
	ctx := l.context()
	card := l.connect(ctx, cstub.Name(0))

	// Every function that takes a handle looks at it before anything else.
	ofContext := map[string]int{
		"ReleaseContext": 0, "Connect": 5, "GetStatusChange": 3, "ListReaderGroups": 2, "ListReaders": 3, "FreeMemory": 1, "Cancel": 0,
	}
	ofCard := map[string]int{
		"Reconnect": 4, "Disconnect": 1, "BeginTransaction": 0, "EndTransaction": 1, "Status": 6, "Control": 6, "Transmit": 6,
		"GetAttrib": 3, "SetAttrib": 3,
	}
	require.Len(t, cstub.Symbols(), len(ofContext)+len(ofCard)+6) // and Establish, IsValid, stringify, three data

	check := func(name string, others int, handle uintptr, want string) {
		t.Run(name+" "+want, func(t *testing.T) {
			l.set(cstub.Reset())
			require.EqualValues(t, invalidHandle, l.call(name, append([]uintptr{handle}, make([]uintptr, others)...)...))
			require.Contains(t, l.text(cstub.AttrFailures), "SCard"+name+": ")
			require.Contains(t, l.text(cstub.AttrFailures), want)
		})
	}
	damaged := func(fns map[string]int, right, wrong uintptr) {
		for name, others := range fns {
			check(name, others, 0, "0x0 was never given out")
			check(name, others, wrong, fmt.Sprintf("%#x was never given out", wrong))
			if word == 8 {
				check(name, others, uintptr(uint32(right)), "truncated or sign-extended: 0x")
				check(name, others, signExtended(right), "truncated or sign-extended: 0xffffffff")
			}
		}
	}
	damaged(ofContext, ctx, card)
	damaged(ofCard, card, ctx)
	if word == 8 {
		check("IsValidContext", 0, uintptr(uint32(ctx)), "truncated or sign-extended")
	}
	l.set(cstub.Reset())

	if word == 8 {
		_, _, _ = purego.SyscallN(l.symbols["pcsc_stringify_error"], signExtended(0x80100001))
		require.Contains(t, l.text(cstub.AttrFailures), "pcsc_stringify_error: pcscError: 0xffffffff80100001 has more")
	}
}

func TestStringify(t *testing.T) {
	l := open(t)
	var stringify func(code uintptr) string
	purego.RegisterFunc(&stringify, l.symbols["pcsc_stringify_error"])
	require.Equal(t, cstub.ErrorText(timeout), stringify(uintptr(timeout)))
	l.clean()
	require.Equal(t, 1, l.counters()["stringifyerror"])
}

func TestCounters(t *testing.T) {
	l := open(t)
	for f := cstub.FuncEstablishContext; f <= cstub.FuncStringifyError; f++ {
		require.Contains(t, l.counters(), f.String())
		l.set(cstub.Next(f, removedCard, 1))
		l.set(cstub.Delay(f, 1))
	}
	require.Len(t, l.counters(), 19+6)

	// AttrLast goes by number: the order of functions must be that of stub.c.
	source, err := os.ReadFile("src/stub.c")
	require.NoError(t, err)
	entries := regexp.MustCompile(`(?m)^\tX\((\w+), "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	require.Len(t, entries, 19)
	for i, entry := range entries {
		require.Equal(t, entry[1], cstub.Func(i).String())
		require.Equal(t, entry[2], cstub.Symbols()[i])
	}
	for i, f := range cstub.WindowsFunctions {
		require.Equal(t, cstub.Func(19+i), f.Func())
		require.Equal(t, f.Name, f.Func().String())
	}
	last := 19 + len(cstub.WindowsFunctions)
	require.Equal(t, fmt.Sprintf("Func(%d)", last), cstub.Func(last).String())
	l.set(cstub.Reset())

	ctx := l.context()
	card := l.connect(ctx, cstub.Name(0))
	var wg sync.WaitGroup
	command, pci := l.bytes(cstub.BenchCommand()), l.pci(1, 2*word)
	for range 8 {
		n, out := l.word(2), l.buf(2)
		wg.Go(func() {
			for range 1000 {
				purego.SyscallN(l.symbols["SCardTransmit"], card, pci, command, 5, 0, out, n)
			}
		})
	}
	wg.Wait()
	l.clean()
	c := l.counters()
	require.Equal(t, 8000, c["transmit"])
	require.Equal(t, 1, c["contexts"])
	require.Equal(t, 1, c["cards"])
	require.Equal(t, 0, c["getattrib"], "vendor attributes are not counted")
	require.Empty(t, l.text(cstub.AttrReset))
	require.Zero(t, l.counters()["transmit"])

	_, err = cstub.ParseCounters("transmit")
	require.Error(t, err)
	_, err = cstub.ParseCounters("transmit=x")
	require.Error(t, err)
	_, err = cstub.ReadText(func(uint32, []byte) (int, uint32) { return 0, timeout }, cstub.AttrCounters)
	require.ErrorContains(t, err, "0x8010000a")
}

func TestManyFailures(t *testing.T) {
	l := open(t)
	for range 20 {
		l.call("EstablishContext", 7, 0, 0, 0)
	}
	text := l.text(cstub.AttrFailures)
	require.Equal(t, 16, strings.Count(text, "dwScope"))
	require.True(t, strings.HasSuffix(text, "\nand 4 more"))
	require.Less(t, len(text), cstub.TextSize)
}

func TestNext(t *testing.T) {
	l := open(t)
	ctx := l.context()
	card := l.connect(ctx, cstub.Name(0))
	l.set(cstub.Next(cstub.FuncTransmit, removedCard, 2))
	for _, want := range []uint32{removedCard, removedCard, success, success} {
		rc, _, _ := l.transmit(card, cstub.BenchCommand(), 10)
		require.Equal(t, want, rc)
	}
	calls := map[cstub.Func]func() uint32{
		cstub.FuncEstablishContext: func() uint32 { return l.call("EstablishContext", 2, 0, 0, l.word(0)) },
		cstub.FuncReleaseContext:   func() uint32 { return l.call("ReleaseContext", ctx) },
		cstub.FuncIsValidContext:   func() uint32 { return l.call("IsValidContext", ctx) },
		cstub.FuncConnect:          func() uint32 { return l.call("Connect", ctx, l.str(cstub.Name(0)), 2, 3, l.word(0), l.word(0)) },
		cstub.FuncReconnect:        func() uint32 { return l.call("Reconnect", card, 2, 3, 0, l.word(0)) },
		cstub.FuncDisconnect:       func() uint32 { return l.call("Disconnect", card, 0) },
		cstub.FuncBeginTransaction: func() uint32 { return l.call("BeginTransaction", card) },
		cstub.FuncEndTransaction:   func() uint32 { return l.call("EndTransaction", card, 0) },
		cstub.FuncStatus:           func() uint32 { return l.call("Status", card, 0, 0, 0, 0, 0, 0) },
		cstub.FuncGetStatusChange:  func() uint32 { return l.call("GetStatusChange", ctx, 0, 0, 0) },
		cstub.FuncControl:          func() uint32 { return l.call("Control", card, 1, 0, 0, l.buf(9), 9, l.word(0)) },
		cstub.FuncListReaderGroups: func() uint32 { return l.call("ListReaderGroups", ctx, 0, l.word(0)) },
		cstub.FuncListReaders:      func() uint32 { return l.call("ListReaders", ctx, 0, 0, l.word(0)) },
		cstub.FuncFreeMemory:       func() uint32 { return l.call("FreeMemory", ctx, l.buf(8)) },
		cstub.FuncCancel:           func() uint32 { return l.call("Cancel", ctx) },
		cstub.FuncGetAttrib:        func() uint32 { return l.call("GetAttrib", card, 0x00090303, 0, l.word(0)) },
		cstub.FuncSetAttrib:        func() uint32 { return l.call("SetAttrib", card, cstub.AttrPattern, l.buf(8), 8) },
	}
	for f, call := range calls {
		l.set(cstub.Next(f, noService, 1))
		require.EqualValues(t, noService, call(), f)
		require.Positive(t, l.counters()[f.String()], f)
	}
	l.clean()
}

func TestDelay(t *testing.T) {
	l := open(t)
	ctx := l.context()
	card := l.connect(ctx, cstub.Name(0))
	l.set(cstub.Delay(cstub.FuncTransmit, 60))
	start := time.Now()
	rc, _, _ := l.transmit(card, cstub.BenchCommand(), 2)
	require.EqualValues(t, success, rc)
	require.GreaterOrEqual(t, time.Since(start), 60*time.Millisecond)
	l.set(cstub.Delay(cstub.FuncTransmit, 0))
	l.clean()

	const long = 1500 // milliseconds, for a machine on which the closing is late
	for name, slow := range map[string]func(){
		"delay": func() { l.set(cstub.Delay(cstub.FuncTransmit, long)) },
		"sleep": func() {},
	} {
		t.Run("closed during "+name, func(t *testing.T) {
			card := l.connect(ctx, cstub.Name(0))
			slow()
			before := l.counters()["transmit"]
			command := l.bytes(cstub.Command(cstub.Sleep, 9, long, 0))
			pci, out, n := l.pci(1, 2*word), l.buf(9), l.word(9)
			done := make(chan struct{})
			go func() {
				defer close(done)
				purego.SyscallN(l.symbols["SCardTransmit"], card, pci, command, 9, 0, out, n)
			}()
			waitFor(t, "the call begins", func() bool { return l.counters()["transmit"] > before })
			time.Sleep(30 * time.Millisecond)
			require.EqualValues(t, success, l.call("Disconnect", card, 0))
			require.Contains(t, l.text(cstub.AttrFailures), "SCardDisconnect: hCard: closed while 1 call(s) use the card")
			<-done
			l.set(cstub.Reset())
		})
	}
}

func TestFill(t *testing.T) {
	l := open(t)
	ctx := l.context()
	card := l.connect(ctx, cstub.Name(0))
	l.set(cstub.Fill(true))
	filler := func(n int) []byte { return bytes.Repeat([]byte{0xEE}, n) }

	out, n := l.buf(40), l.word(40)
	require.EqualValues(t, success, l.call("ListReaders", ctx, 0, out, n))
	require.Equal(t, filler(40-31), memory(out+31, 9))
	for _, command := range [][]byte{cstub.BenchCommand(), cstub.Command(cstub.Echo, 20, 0, 0)} {
		out, n := l.buf(40), l.word(40)
		require.EqualValues(t, success, l.call("Transmit", card, l.pci(1, 2*word), l.bytes(command), uintptr(len(command)), 0, out, n))
		want := cstub.TransmitAnswer(command)
		require.Equal(t, append(want, filler(40-len(want))...), memory(out, 40))
		l.put(n, 1)
		out = l.buf(40)
		require.EqualValues(t, insufficientBuffer, l.call("Transmit", card, l.pci(1, 2*word), l.bytes(command), uintptr(len(command)), 0, out, n))
		require.Equal(t, []byte{0xEE, 0x55}, memory(out, 2))
	}
	l.set(cstub.Fill(false))
	l.clean()
}

func TestHelpersRefuse(t *testing.T) {
	for name, f := range map[string]func(){
		"short name":      func() { cstub.CheckedName(0, 19) },
		"long name":       func() { cstub.CheckedName(0, 128) },
		"short state":     func() { cstub.StateName(0, 0, 29) },
		"short command":   func() { cstub.Command(cstub.Echo, 8, 0, 0) },
		"long command":    func() { cstub.Command(cstub.Echo, 1<<24, 0, 0) },
		"answer to fail":  func() { cstub.TransmitAnswer(cstub.Command(cstub.Fail, 9, 0, 0)) },
		"answer to claim": func() { cstub.ControlAnswer(0, cstub.Command(cstub.Overclaim, 9, 0, 0)) },
	} {
		t.Run(name, func(t *testing.T) { require.Panics(t, f) })
	}
	require.Len(t, cstub.CheckedName(0, 20), 20)
	require.Equal(t, "Stub Reader 03 #024#xyza", cstub.CheckedName(3, 24))
	require.Equal(t, "Stub Reader 03 =0000BEEF", cstub.StateName(3, 0xBEEF, 0))
	require.Equal(t, "Stub Reader 03 =0000BEEF #033#hij", cstub.StateName(3, 0xBEEF, 33))
}
