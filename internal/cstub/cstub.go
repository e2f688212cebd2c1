// Package cstub builds a libpcsclite.so.1 look-alike for tests and benchmarks.
//
// The library has no service behind it. Each call returns at once, so a
// benchmark on it measures the binding alone, and each call checks every
// argument in C, where a pointer into a moved Go stack, a name that was freed
// too early or a truncated handle shows, and where -race, checkptr and cgocheck
// do not look. Use it with PCSC_LIBRARY or LD_LIBRARY_PATH set to what [Build]
// returns, then ask for the failures.
//
// # Reading the record, configuring
//
// A failed check is recorded and the call returns SCARD_E_INVALID_PARAMETER or
// SCARD_E_INVALID_HANDLE. The record and the configuration are vendor
// attributes, the Attr constants, reached through SCardGetAttrib and
// SCardSetAttrib with any card handle, [ControlHandle] by custom: no context and
// no connection is needed. They are neither counted nor delayed. All values are
// ASCII text.
//
// # Handles
//
// A context handle has 0x9 and a card handle 0xA in the top four of its lower 32
// bits, and where a handle has 64 bits 0x5CC0FFEE and 0x5CCA4D1E in the upper
// half. A handle that was closed gives SCARD_E_INVALID_HANDLE; one that was never
// given out does too and is a failure (but not for SCardIsValidContext, unless it
// is a damaged live one). Closing a card during a slow call on it is a failure.
//
// # Readers
//
// SCardListReaders gives "Stub Reader 00", "Stub Reader 01" and so on; two
// unless [Readers] says otherwise. A number that is not listed is
// SCARD_E_UNKNOWN_READER; a text that is no such name is a failure. Names that
// check themselves are always known:
//
//	Stub Reader NN #LLL#xyz...
//	Stub Reader NN *Ünïcödé 読取 😀
//	Stub Reader NN =XXXXXXXX
//	Stub Reader NN =XXXXXXXX #LLL#xyz...
//	Stub Reader NN =XXXXXXXX /HHHHHHHH
//
// LLL is the length of the whole name and the text after it a pattern;
// XXXXXXXX is what dwCurrentState must be in SCardGetStatusChange, and HHHHHHHH
// the hash of all else that is passed in. See [CheckedName], [StateName] and
// [WholeStateName].
//
// NN decides the rest: NN%4 == 3 has no card; even numbers prefer T=0 and odd
// ones T=1; [ATR], [EventState], [StatusState] and
// [Protocol] say what to expect.
//
// # Waiting
//
// SCardGetStatusChange compares dwCurrentState, all but its CHANGED bit, with
// the event state. If no reader differs it waits as the real one does, until the
// timeout, SCardCancel or SCardReleaseContext; with [TimeoutWait] it waits
// whatever the states are. A cancel that finds no waiter is lost. Names and
// states are checked again after the wait. "waiting" among the counters tells
// when a wait has begun. The plug-and-play name is known, with the number of
// readers in the upper half of its state.
//
// # Buffers
//
// Buffers made by [Command] check themselves and say what to answer. Other
// buffers are answered 90 00 if they are [BenchCommand] and 6D 00 if not, by
// SCardTransmit; by SCardControl see [ControlAnswer]. A capacity that is too
// small gives SCARD_E_INSUFFICIENT_BUFFER and the needed length, and writes
// nothing. [Fill] makes the library use every byte of the capacities it is told.
//
// # Windows
//
// Built for Windows, or by [BuildWindows], the library is a winscard.dll: it has
// the layouts of Windows, texts in UTF-16, and the functions that Windows alone
// has. Those are generated from the spec. Each checks its arguments by their
// roles, notes them for AttrLast as [Record] does, and gives what [Answer] said.
package cstub

import (
	"bytes"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

//go:embed src/*.c src/*.h
var sources embed.FS

// ErrNoToolchain says that the library cannot be built here: no C compiler, no
// PC/SC header, or a system whose PC/SC library is not an ELF libpcsclite.so.1.
var ErrNoToolchain = errors.New("no C compiler with the pcsc-lite headers")

// errOtherSystem is the case that nothing to install would change.
var errOtherSystem = fmt.Errorf("%w: %s has another PC/SC library", ErrNoToolchain, runtime.GOOS)

// LibraryName is the file name and the SONAME of the library.
const LibraryName = "libpcsclite.so.1"

// Paths is what [Compile] made.
type Paths struct {
	Dir     string // for LD_LIBRARY_PATH, so that a binary linked with -lpcsclite uses the library
	Library string // Dir/libpcsclite.so.1
	Bench   string // the C benchmark: bench MODE N [READER]
}

// Compile builds the library and the benchmark program in dir, which must
// exist. An error that is [ErrNoToolchain] means that this machine cannot.
func Compile(dir string) (Paths, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Paths{}, err
	}
	p := Paths{Dir: dir, Library: filepath.Join(dir, LibraryName), Bench: filepath.Join(dir, "bench")}
	if err := compileLibrary(p.Library, "stub.c"); err != nil {
		return Paths{}, err
	}
	// -lpcsclite looks for this name; the program then asks for the SONAME.
	if err := os.Symlink(LibraryName, filepath.Join(dir, "libpcsclite.so")); err != nil && !errors.Is(err, os.ErrExist) {
		return Paths{}, err
	}
	if err := compile(p.Bench, "bench.c", "-L"+dir, "-lpcsclite"); err != nil {
		return Paths{}, err
	}
	return p, nil
}

func compileLibrary(output, source string, flags ...string) error {
	flags = append([]string{"-shared", "-fPIC", "-pthread", "-fvisibility=hidden",
		"-Wl,-soname," + LibraryName, "-Wl,--no-undefined"}, flags...)
	return compile(output, source, flags...)
}

func compile(output, source string, flags ...string) error {
	tc, err := findToolchain()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cstub-src-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, sources); err != nil {
		return err
	}
	args := slices.Concat(tc.args, []string{"-O2", "-Wall", "-Wextra", "-Werror", "-o", output, filepath.Join(dir, "src", source)}, flags)
	cmd := exec.Command(tc.cc, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", source, err, out)
	}
	return nil
}

type toolchain struct {
	cc   string
	args []string
}

// findToolchain looks once for a compiler ($CC, else gcc) that finds the header.
var findToolchain = sync.OnceValues(func() (toolchain, error) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return toolchain{}, errOtherSystem
	}
	words := strings.Fields(os.Getenv("CC"))
	if len(words) == 0 {
		words = []string{"gcc"}
		if runtime.GOARCH == "386" {
			words = append(words, "-m32")
		}
	}
	cc, err := exec.LookPath(words[0])
	if err != nil {
		return toolchain{}, fmt.Errorf("%w: %w", ErrNoToolchain, err)
	}
	tc := toolchain{cc: cc, args: append(words[1:], "-std=c11")}
	if out, err := exec.Command("pkg-config", "--cflags", "libpcsclite").Output(); err == nil {
		tc.args = append(tc.args, strings.Fields(string(out))...)
	} else {
		tc.args = append(tc.args, "-I/usr/include/PCSC")
	}
	probe := exec.Command(tc.cc, append(slices.Clone(tc.args), "-fsyntax-only", "-x", "c", "-")...)
	probe.Stdin = strings.NewReader("#include <stdio.h>\n#include <winscard.h>\n")
	if out, err := probe.CombinedOutput(); err != nil {
		return toolchain{}, fmt.Errorf("%w: %w\n%s", ErrNoToolchain, err, out)
	}
	return tc, nil
})

// process holds what this process has built. It is built once because a second
// copy under another path would be a second library, with its own record.
var process struct {
	sync.Mutex
	dir   string
	paths Paths
	err   error
	built bool
	extra map[string]string // by source and flags: libraries beside stub.c
}

// Build compiles the library, once per process, and returns its absolute path.
// Without a compiler or the header it skips the test; with PCSC_MUST_RUN=1 in
// the environment it fails it. On Windows and macOS it always skips.
//
// The files lie in a private temporary directory until [Clean].
func Build(tb testing.TB) string {
	tb.Helper()
	return build(tb).Library
}

// BuildBench is [Build] for the C benchmark program. To run it on the library,
// set LD_LIBRARY_PATH to [Build]'s directory.
func BuildBench(tb testing.TB) string {
	tb.Helper()
	return build(tb).Bench
}

// LibraryEnv is the environment variable with the path of a library that was built elsewhere from the same source, for
// a program that runs where no compiler is.
const LibraryEnv = "CSTUB_LIBRARY"

func build(tb testing.TB) Paths {
	tb.Helper()
	if library := os.Getenv(LibraryEnv); library != "" {
		return Paths{Dir: filepath.Dir(library), Library: library}
	}
	process.Lock()
	defer process.Unlock()
	if !process.built {
		var dir string
		if dir, process.err = processDir(); process.err == nil {
			process.paths, process.err = Compile(dir)
		}
		process.built = true
	}
	orSkip(tb, process.err)
	return process.paths
}

// BuildMinimal builds a library that has every PC/SC symbol but those missing;
// no call in it works (SCARD_E_NO_SERVICE). It returns the path.
func BuildMinimal(tb testing.TB, missing ...string) string {
	tb.Helper()
	missing = slices.Compact(slices.Sorted(slices.Values(missing)))
	var flags []string
	for _, symbol := range missing {
		if !slices.Contains(Symbols(), symbol) {
			tb.Fatalf("cstub: the library has no symbol %q to leave out", symbol)
		}
		flags = append(flags, "-DWITHOUT_"+symbol)
	}
	return buildVariant(tb, "minimal.c", flags...)
}

// BuildInstant builds a library whose calls succeed, return at once and check
// nothing, for measuring what a binding adds to a call. It returns the path.
func BuildInstant(tb testing.TB) string {
	tb.Helper()
	return buildVariant(tb, "instant.c")
}

// BuildWindows builds a library with the layouts and the functions of Windows that runs on this system: the functions
// for UTF-16, 32 bits for a DWORD, the structures of Windows. It returns the path.
func BuildWindows(tb testing.TB) string {
	tb.Helper()
	return buildVariant(tb, "stub.c", "-DSTUB_WINDOWS", "-fshort-wchar")
}

// BuildOldWindows builds the library of [BuildWindows] without the functions that Windows alone has. It returns the path.
func BuildOldWindows(tb testing.TB) string {
	tb.Helper()
	return buildVariant(tb, "stub.c", "-DSTUB_WINDOWS", "-fshort-wchar", "-DSTUB_OLD_WINDOWS")
}

// BuildNotPCSC builds a library that loads and has no PC/SC symbol at all.
func BuildNotPCSC(tb testing.TB) string {
	tb.Helper()
	return buildVariant(tb, "minimal.c", "-DNOT_PCSC")
}

func buildVariant(tb testing.TB, source string, flags ...string) string {
	tb.Helper()
	process.Lock()
	defer process.Unlock()
	key := source + " " + strings.Join(flags, " ")
	if path, ok := process.extra[key]; ok {
		return path
	}
	dir, err := processDir()
	orSkip(tb, err)
	// A directory each: the file's name is the SONAME, as for the real one.
	dir = filepath.Join(dir, "variant"+strconv.Itoa(len(process.extra)))
	path := filepath.Join(dir, LibraryName)
	if err = os.MkdirAll(dir, 0o700); err == nil {
		err = compileLibrary(path, source, flags...)
	}
	orSkip(tb, err)
	if process.extra == nil {
		process.extra = map[string]string{}
	}
	process.extra[key] = path
	return path
}

// processDir needs the lock.
func processDir() (string, error) {
	if process.dir != "" {
		return process.dir, nil
	}
	dir, err := os.MkdirTemp("", "cstub-")
	if err != nil {
		return "", err
	}
	process.dir = dir
	return dir, nil
}

func orSkip(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errOtherSystem):
		tb.Skipf("cstub: %v", err)
	case errors.Is(err, ErrNoToolchain) && os.Getenv("PCSC_MUST_RUN") != "1":
		tb.Skipf("cstub: %v", err)
	default:
		tb.Fatalf("cstub: %v", err)
	}
}

// Clean removes what Build and the others made. A library that is loaded stays
// usable. Nothing may be built after it: call it last, or use [Main].
func Clean() {
	process.Lock()
	defer process.Unlock()
	if process.dir != "" {
		_ = os.RemoveAll(process.dir)
		process.dir = ""
	}
}

// Main runs the tests of a package and cleans up. It is for TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(cstub.Main(m)) }
func Main(m *testing.M) int {
	defer Clean()
	return m.Run()
}

// Symbols lists what a libpcsclite.so.1 exports, in the header's order.
func Symbols() []string {
	return []string{
		"SCardEstablishContext", "SCardReleaseContext", "SCardIsValidContext",
		"SCardConnect", "SCardReconnect", "SCardDisconnect",
		"SCardBeginTransaction", "SCardEndTransaction", "SCardStatus", "SCardGetStatusChange",
		"SCardControl", "SCardTransmit", "SCardListReaderGroups", "SCardListReaders",
		"SCardFreeMemory", "SCardCancel", "SCardGetAttrib", "SCardSetAttrib", "pcsc_stringify_error",
		"g_rgSCardT0Pci", "g_rgSCardT1Pci", "g_rgSCardRawPci",
	}
}

// ControlHandle is the card handle to read and write the vendor attributes
// with. Any other does as well.
const ControlHandle = 0xFFFFFFFF

// Vendor attributes to read with SCardGetAttrib. No text is longer than
// [TextSize] bytes.
const (
	// AttrFailures is one line for each of the first 16 failures, as
	// "SCardTransmit: pioSendPci: NULL"; empty if there is none.
	AttrFailures = 0x0007F000
	// AttrCounters is "transmit=12 control=3 ...": calls by [Func], then contexts,
	// cards, waiting, allocations and events, which are alive now, and failures.
	AttrCounters = 0x0007F001
	// AttrReset forgets failures, counters and configuration, on SCardGetAttrib
	// as on SCardSetAttrib. Open handles stay open.
	AttrReset = 0x0007F002
	// AttrFailureCount is the number of failures.
	AttrFailureCount = 0x0007F003
	// AttrLast plus a [Func] is what its last call got, as "dwDisposition=0x1":
	// the scalars that no check can know.
	AttrLast = 0x0007F100

	// TextSize is a buffer for any of these.
	TextSize = 8192
)

// Vendor attributes to write with SCardSetAttrib; see the [Setting] functions.
const (
	AttrReaders = 0x0007F010 // "3" or "3 *"
	AttrNext    = 0x0007F011 // "transmit 80100069" or "transmit 80100069 2"
	AttrDelay   = 0x0007F012 // "transmit 500"
	AttrFill    = 0x0007F013 // "0" or "1"
	AttrAnswer  = 0x0007F014 // "audit 1\n" and bytes, see [Answer]
)

// AttrPattern plus N, up to 4095, is an ordinary readable attribute of N bytes;
// see [AttribValue]. Writing to these succeeds, and checks the value if
// [Command] made it.
const AttrPattern = 0x0007E000

// TimeoutWait, in milliseconds, makes SCardGetStatusChange wait even though
// states differ.
const TimeoutWait = 0x5EE9

// Func is a function of the library, in the order of stub.c.
type Func uint32

// The functions.
const (
	FuncEstablishContext Func = iota
	FuncReleaseContext
	FuncIsValidContext
	FuncConnect
	FuncReconnect
	FuncDisconnect
	FuncBeginTransaction
	FuncEndTransaction
	FuncStatus
	FuncGetStatusChange
	FuncControl
	FuncTransmit
	FuncListReaderGroups
	FuncListReaders
	FuncFreeMemory
	FuncCancel
	FuncGetAttrib
	FuncSetAttrib
	FuncStringifyError
)

var funcNames = [...]string{
	"establishcontext", "releasecontext", "isvalidcontext", "connect", "reconnect", "disconnect",
	"begintransaction", "endtransaction", "status", "getstatuschange", "control", "transmit",
	"listreadergroups", "listreaders", "freememory", "cancel", "getattrib", "setattrib", "stringifyerror",
}

// String is the function's name among the counters.
func (f Func) String() string {
	if int(f) < len(funcNames) {
		return funcNames[f]
	}
	if i := int(f) - len(funcNames); i < len(WindowsFunctions) {
		return WindowsFunctions[i].Name
	}
	return "Func(" + strconv.Itoa(int(f)) + ")"
}

// Setting is an attribute to write with SCardSetAttrib.
type Setting struct {
	ID    uint32
	Value []byte
}

// Readers makes SCardListReaders give n names, 0 to 100. Waiters look again.
func Readers(n int) Setting { return Setting{AttrReaders, strconv.AppendInt(nil, int64(n), 10)} }

// ForeignReaders is [Readers] whose names are listed as [ForeignName] has them.
func ForeignReaders(n int) Setting { return Setting{AttrReaders, fmt.Appendf(nil, "%d *", n)} }

// Next makes the next calls of f return code, after their arguments are checked
// and before anything is written.
func Next(f Func, code uint32, calls int) Setting {
	return Setting{AttrNext, fmt.Appendf(nil, "%s %08x %d", f, code, calls)}
}

// Delay makes every call of f take ms milliseconds more, up to a minute; 0 ends
// it. The delay comes before arguments are looked at, and no cancel ends it.
func Delay(f Func, ms int) Setting { return Setting{AttrDelay, fmt.Appendf(nil, "%s %d", f, ms)} }

// Fill makes answers fill the whole capacity that the caller states, with 0xEE
// beyond (or, if it is too small, instead of) the answer: bytes that change
// outside the caller's buffer prove that it stated too much.
func Fill(on bool) Setting {
	if on {
		return Setting{AttrFill, []byte("1")}
	}
	return Setting{AttrFill, []byte("0")}
}

// Reset forgets failures, counters and configuration.
func Reset() Setting { return Setting{AttrReset, []byte("reset")} }

// ParseCounters reads the text of [AttrCounters].
func ParseCounters(text string) (map[string]int, error) {
	counters := map[string]int{}
	for field := range strings.FieldsSeq(text) {
		name, value, ok := strings.Cut(field, "=")
		n, err := strconv.Atoi(value)
		if !ok || err != nil {
			return nil, fmt.Errorf("not a counter: %q", field)
		}
		counters[name] = n
	}
	return counters, nil
}

// MaxName is the longest name, without its NUL.
const MaxName = 127

// Name is the listed name of a reader, 0 to 99.
func Name(number int) string { return fmt.Sprintf("Stub Reader %02d", number) }

// CheckedName is a name of length bytes, 20 to [MaxName], that proves that it
// arrived whole. It is known whether or not the reader is listed.
func CheckedName(number, length int) string { return pad(Name(number), number, length) }

// ForeignName is a name that is not ASCII, with characters of 1 to 4 bytes in UTF-8.
func ForeignName(number int) string { return Name(number) + " *" + foreign }

const foreign = "Ünïcödé 読取 😀"

// StateName is a name for SCardGetStatusChange which requires dwCurrentState to
// be state. It has no more than it needs if length is 0; otherwise, with 30 to
// [MaxName], it is a [CheckedName] too.
func StateName(number int, state uint32, length int) string {
	name := fmt.Sprintf("%s =%08X", Name(number), state)
	if length == 0 {
		return name
	}
	return pad(name, number, length)
}

// WholeStateName is a [ForeignName] for SCardGetStatusChange which requires of
// dwCurrentState, dwEventState, cbAtr and all bytes of rgbAtr, of which a
// platform has 33 or 36, to be these.
func WholeStateName(number int, current, event, atrLen uint32, atr []byte) string {
	h := fnv.New32a()
	h.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, event), atrLen))
	h.Write(atr)
	return fmt.Sprintf("%s =%08X /%08X", ForeignName(number), current, h.Sum32())
}

func pad(head string, number, length int) string {
	b := fmt.Appendf(nil, "%s #%03d#", head, length)
	if length < len(b) || length > MaxName {
		panic(fmt.Sprintf("cstub: a name that begins %q has %d to %d bytes, not %d", head, len(b), MaxName, length))
	}
	for i := len(b); i < length; i++ {
		b = append(b, 'a'+byte((i+number)%26))
	}
	return string(b)
}

// HasCard reports whether the reader has a card. Without one only a direct
// connection succeeds; others are SCARD_E_NO_SMARTCARD.
func HasCard(number int) bool { return number%4 != 3 }

// ATR is the ATR of the reader's card: 2 to 33 bytes, none without a card.
func ATR(number int) []byte {
	if !HasCard(number) {
		return nil
	}
	atr := make([]byte, 2+number%32)
	atr[0] = 0x3B
	for i := 1; i < len(atr); i++ {
		atr[i] = byte(number*7 + i)
	}
	return atr
}

// EventState is the dwEventState that SCardGetStatusChange writes for a reader
// whose dwCurrentState is current: an event count above PRESENT or EMPTY, and
// CHANGED if that differs from current.
func EventState(number int, current uint32) uint32 {
	const ignore, changed, empty, present = 0x1, 0x2, 0x10, 0x20
	if current&ignore != 0 {
		return ignore
	}
	event := uint32(number+1)<<16 | empty
	if HasCard(number) {
		event = uint32(number+1)<<16 | present
	}
	if current&^changed != event {
		event |= changed
	}
	return event
}

// StatusState is the dwState that SCardStatus writes. On Windows, which has no
// counter, it is the lower half of it alone.
func StatusState(number int) uint32 {
	const absent, present, powered, negotiable = 0x2, 0x4, 0x10, 0x20
	if !HasCard(number) {
		return absent
	}
	return uint32(number+1)<<16 | present | powered | negotiable
}

// Protocol is the active protocol of a connection that allows T=0 and T=1.
func Protocol(number int) uint32 { return 1 + uint32(number%2) }

// ReaderGroups is what SCardListReaderGroups gives.
func ReaderGroups() []string { return []string{"SCard$DefaultReaders", "Stub Group", foreign} }

// ErrorText is what pcsc_stringify_error gives.
func ErrorText(code uint32) string { return fmt.Sprintf("Stub text of 0x%08X", code) }

// BenchCommand is the command for benchmarks, with as good as no work behind
// it. It is answered 90 00.
func BenchCommand() []byte { return []byte{0x00, 0xB0, 0x00, 0x00, 0x02} }

// Mode is what a self-checking buffer asks for; see [Command].
type Mode byte

// The modes. SCardTransmit adds 90 00 to its answers, SCardControl nothing.
const (
	Echo      Mode = 0xC1 + iota // answers the buffer itself
	Pattern                      // answers arg bytes, see [PatternBytes]
	Fail                         // returns arg as the code, and length 0
	Sleep                        // takes arg milliseconds, then answers nothing
	Overclaim                    // returns success and length arg, and writes nothing
)

// CommandHeader is the least length of a self-checking buffer.
const CommandHeader = 9

// Command makes a self-checking buffer of length bytes, at least
// [CommandHeader]:
//
//	byte 0     mode
//	byte 1-3   length, big-endian
//	byte 4-7   arg, big-endian
//	byte 8     seed
//	byte 9-    the pattern of seed
//
// A buffer that begins with a mode and is not this is a failure.
func Command(mode Mode, length int, arg uint32, seed byte) []byte {
	if length < CommandHeader || length >= 1<<24 {
		panic(fmt.Sprintf("cstub: no command has %d bytes", length))
	}
	b := PatternBytes(length, seed)
	binary.BigEndian.PutUint32(b[0:], uint32(length))
	b[0] = byte(mode)
	binary.BigEndian.PutUint32(b[4:], arg)
	b[8] = seed
	return b
}

// PatternBytes is the first n bytes of a seed's pattern.
func PatternBytes(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*7) + byte((i>>8)*13)
	}
	return b
}

// TransmitAnswer is what SCardTransmit answers to a command that succeeds.
func TransmitAnswer(command []byte) []byte {
	if body, ok := answer(command); ok {
		return append(body, 0x90, 0x00)
	}
	if bytes.Equal(command, BenchCommand()) {
		return []byte{0x90, 0x00}
	}
	return []byte{0x6D, 0x00}
}

// CtlCode is the control code for a number, as SCARD_CTL_CODE. 3400 asks for the
// features (VERIFY_PIN_DIRECT, MODIFY_PIN_DIRECT and TLV_PROPERTIES, at 3500 plus
// their tags) and 3518 for the TLV properties (dwMaxAPDUDataSize 65536, wIdVendor
// 0x1234).
func CtlCode(number uint32) uint32 { return 0x42000000 + number }

// ControlAnswer is what SCardControl answers, except to the two codes of
// [CtlCode]: as for [Command], and to other buffers the code in big-endian and
// their first 60 bytes.
func ControlAnswer(code uint32, in []byte) []byte {
	if body, ok := answer(in); ok {
		return body
	}
	return append(binary.BigEndian.AppendUint32(nil, code), in[:min(len(in), 60)]...)
}

// answer panics on the modes that have none.
func answer(command []byte) ([]byte, bool) {
	if len(command) < CommandHeader || command[0] < byte(Echo) || command[0] > byte(Overclaim) {
		return nil, false
	}
	switch Mode(command[0]) {
	case Echo:
		return bytes.Clone(command), true
	case Pattern:
		return PatternBytes(int(binary.BigEndian.Uint32(command[4:])), command[8]), true
	case Sleep:
		return []byte{}, true
	}
	panic(fmt.Sprintf("cstub: mode %#x has no answer", command[0]))
}

// AttribValue is the value of attribute [AttrPattern] plus n.
func AttribValue(n int) []byte { return PatternBytes(n, byte(n)) }

// ReadText reads a text attribute through a binding's SCardGetAttrib, given as
// a function that returns the length and the code.
func ReadText(getAttrib func(id uint32, out []byte) (n int, code uint32), id uint32) (string, error) {
	out := make([]byte, TextSize)
	n, code := getAttrib(id, out)
	if code != 0 {
		return "", fmt.Errorf("cstub: SCardGetAttrib(%#x): code %#08x", id, code)
	}
	return string(out[:n]), nil
}
