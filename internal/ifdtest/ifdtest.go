package ifdtest

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// Numbers of the control codes; the same as in pinpad.c.
const (
	numCommand  = 3600
	numFailures = 3601
	numCalls    = 3602
	numFeature  = 3700 // plus the tag
)

// FeatureCode is the control code of a feature.
func FeatureCode(tag byte) uint32 { return winscard.CtlCode(numFeature + uint32(tag)) }

// Tags of features. QueryFeatures stands for the question for them.
const (
	QueryFeatures   = 0x00
	VerifyPINStart  = 0x01
	VerifyPINFinish = 0x02
	ModifyPINStart  = 0x03
	ModifyPINFinish = 0x04
	KeyPressed      = 0x05
	VerifyPINDirect = 0x06
	ModifyPINDirect = 0x07
	PINProperties   = 0x0A
	Abort           = 0x0B
	TLVProperties   = 0x12
	Escape          = 0x13
	PACE            = 0x20
)

// Return codes of drivers, as in ifdhandler.h.
const (
	OK           = 0
	CommError    = 612
	NotSupported = 614
	NoAttribute  = 600
	PowerError   = 608
	NoReader     = 617
)

// A Pad is a reader of this package, seen from a test.
type Pad struct {
	tb      testing.TB
	control func(code uint32, in []byte) ([]byte, error)
}

// New returns the reader at the other end of control.
func New(tb testing.TB, control func(code uint32, in []byte) ([]byte, error)) *Pad {
	return &Pad{tb, control}
}

func (p *Pad) call(number uint32, in string) []byte {
	p.tb.Helper()
	out, err := p.control(winscard.CtlCode(number), []byte(in))
	if err != nil {
		p.tb.Fatalf("ifdtest: %q: %v", in, err)
	}
	return out
}

// Reset makes the reader forget all it was told and has recorded.
func (p *Pad) Reset() { p.tb.Helper(); p.call(numCommand, "reset") }

// Answer sets the answer to every further call of a feature: the driver's return code, how long it takes (in steps of
// 10 ms), and bytes. Then adds an answer that comes after those before, each of which is given once.
func (p *Pad) Answer(tag byte, rc int, delay time.Duration, answer ...byte) {
	p.tb.Helper()
	p.call(numCommand, fmt.Sprintf("answer %02X %d %d %X", tag, rc, delay.Milliseconds(), answer))
}

// Then is described at [Pad.Answer].
func (p *Pad) Then(tag byte, rc int, delay time.Duration, answer ...byte) {
	p.tb.Helper()
	p.call(numCommand, fmt.Sprintf("then %02X %d %d %X", tag, rc, delay.Milliseconds(), answer))
}

// AnswerFeatures makes the reader have these features.
func (p *Pad) AnswerFeatures(tags ...byte) {
	p.tb.Helper()
	p.Answer(QueryFeatures, OK, 0, FeatureList(tags...)...)
}

// Attribute sets what the reader answers when it is asked for an attribute: the driver's return code and bytes. The
// virtual service can't fail; there the code is [OK], or [NoAttribute] for one that the reader does not have.
func (p *Pad) Attribute(id uint32, rc int, value ...byte) {
	p.tb.Helper()
	p.call(numCommand, fmt.Sprintf("attribute %X %d %X", id, rc, value))
}

// Power sets the driver's return code when it is to supply the card with power. The virtual service can't do that.
func (p *Pad) Power(rc int) {
	p.tb.Helper()
	p.call(numCommand, fmt.Sprintf("power %d", rc))
}

// FeatureList is the answer of a reader with these features.
func FeatureList(tags ...byte) []byte {
	var out []byte
	for _, tag := range tags {
		code := FeatureCode(tag)
		out = append(out, tag, 4, byte(code>>24), byte(code>>16), byte(code>>8), byte(code))
	}
	return out
}

// ExpectVerify says what every member of a PIN_VERIFY_STRUCTURE has to be, by the names of C: numbers as C writes
// them, bTeoPrologue and abData in hexadecimal. ExpectModify does so for PIN_MODIFY_STRUCTURE.
func (p *Pad) ExpectVerify(members string) {
	p.tb.Helper()
	p.call(numCommand, "verify "+fields(members))
}

// ExpectModify is described at [Pad.ExpectVerify].
func (p *Pad) ExpectModify(members string) {
	p.tb.Helper()
	p.call(numCommand, "modify "+fields(members))
}

func fields(s string) string { return strings.Join(strings.Fields(s), " ") }

// Failures returns what was wrong with calls so far, a line each, and forgets it.
func (p *Pad) Failures() string { p.tb.Helper(); return string(p.call(numFailures, "")) }

// Calls returns the tags of the features that were called, in their order, and forgets them.
func (p *Pad) Calls() []byte { p.tb.Helper(); return bytes.Clone(p.call(numCalls, "")) }

//go:embed src/pinpad.c
var source []byte

// Build compiles the driver and returns its path, for [pcscdtest.WithDriver]. Where it can't be built the test is
// skipped; with PCSC_MUST_RUN=1 in the environment it fails, unless the system is not Linux. The file goes when the
// test ends, and has to be built before the service is started, so that it goes after it.
func Build(tb testing.TB) string {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skipf("ifdtest: no pcscd with drivers of this kind on %s", runtime.GOOS)
	}
	return build(tb, filepath.Join(tb.TempDir(), "libifdpinpad.so"), source)
}

// build compiles a driver.
func build(tb testing.TB, path string, source []byte, flags ...string) string {
	tb.Helper()
	if err := pcscdtest.Compile(path, source, flags...); err != nil {
		if errors.Is(err, pcscdtest.ErrNoCompiler) {
			pcscdtest.Skip(tb, "ifdtest: %v", err)
		}
		tb.Fatalf("ifdtest: %v", err)
	}
	return path
}
