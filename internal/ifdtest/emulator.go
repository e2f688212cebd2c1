package ifdtest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// An Emulator is a reader of this package in Go. It is a controller for the virtual service; its Card goes into the
// same reader.
type Emulator struct {
	mu       sync.Mutex
	queue    map[byte][]answer
	expected map[string]string // by "verify" and "modify"
	failures strings.Builder
	calls    []byte
	verified bool
	aborted  bool

	setAttribute func(id uint32, value []byte)
	changed      map[uint32]bool
}

type answer struct {
	rc    int
	delay time.Duration
	bytes []byte
}

// NewEmulator returns a reader. setAttribute is called with each of its attributes, and again when one changes; an
// attribute that is nil does not exist.
func NewEmulator(setAttribute func(id uint32, value []byte)) *Emulator {
	e := &Emulator{setAttribute: setAttribute}
	e.forget()
	return e
}

// usualAttributes are the same as in pinpad.c.
func usualAttributes() map[winscard.Attribute][]byte {
	uint32s := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	dword := func(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) } // pcsc-lite's, on 64 bits
	return map[winscard.Attribute][]byte{
		winscard.AttrVendorName:          []byte("gopcsc\x00"),
		winscard.AttrVendorIFDType:       []byte("PIN Pad"),
		winscard.AttrVendorIFDSerialNo:   []byte("S/N 0042\x00"),
		winscard.AttrVendorIFDVersion:    uint32s(0x01020304),
		winscard.AttrChannelID:           dword(0x00200104),
		winscard.AttrAsyncProtocolTypes:  uint32s(3),
		winscard.AttrCurrentProtocolType: dword(2),
		winscard.AttrDefaultClk:          uint32s(4000),
		winscard.AttrMaxClk:              dword(20000),
		winscard.AttrDefaultDataRate:     uint32s(10753),
		winscard.AttrMaxDataRate:         dword(344086),
		winscard.AttrMaxIFSD:             uint32s(254),
		winscard.AttrMaxInput:            uint32s(65544),
		winscard.AttrPowerMgmtSupport:    uint32s(0),
		winscard.AttrCharacteristics:     uint32s(0),
		winscard.AttrICCPresence:         {2},
		winscard.AttrICCInterfaceStatus:  {1},
		winscard.AttrCurrentIOState:      {0xA5, 0x00, 0x5A},
	}
}

// SetAttrib sets an attribute.
func (e *Emulator) SetAttrib(id uint32, value []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changeAttribute(id, bytes.Clone(value))
	return nil
}

func (e *Emulator) changeAttribute(id uint32, value []byte) {
	e.changed[id] = true
	e.setAttribute(id, value)
}

func (e *Emulator) forget() {
	usual := usualAttributes()
	for id, value := range usual {
		e.setAttribute(uint32(id), value)
	}
	for id := range e.changed {
		e.setAttribute(id, usual[winscard.Attribute(id)])
	}
	e.changed = map[uint32]bool{}
	e.queue = map[byte][]answer{}
	e.expected = map[string]string{}
	e.failures.Reset()
	e.calls = nil
	e.verified, e.aborted = false, false
}

func (e *Emulator) fail(format string, args ...any) { fmt.Fprintf(&e.failures, format+"\n", args...) }

// A member of a structure; size 0 is the rest.
type member struct {
	name string
	size int
}

var verifyMembers = []member{
	{"bTimerOut", 1}, {"bTimerOut2", 1}, {"bmFormatString", 1}, {"bmPINBlockString", 1}, {"bmPINLengthFormat", 1},
	{"wPINMaxExtraDigit", 2}, {"bEntryValidationCondition", 1}, {"bNumberMessage", 1}, {"wLangId", 2},
	{"bMsgIndex", 1}, {"bTeoPrologue", 3}, {"ulDataLength", 4}, {"abData", 0},
}

var modifyMembers = []member{
	{"bTimerOut", 1}, {"bTimerOut2", 1}, {"bmFormatString", 1}, {"bmPINBlockString", 1}, {"bmPINLengthFormat", 1},
	{"bInsertionOffsetOld", 1}, {"bInsertionOffsetNew", 1}, {"wPINMaxExtraDigit", 2}, {"bConfirmPIN", 1},
	{"bEntryValidationCondition", 1}, {"bNumberMessage", 1}, {"wLangId", 2}, {"bMsgIndex1", 1}, {"bMsgIndex2", 1},
	{"bMsgIndex3", 1}, {"bTeoPrologue", 3}, {"ulDataLength", 4}, {"abData", 0},
}

func (e *Emulator) check(members []member, expected string, in []byte) {
	want := map[string]string{}
	for f := range strings.FieldsSeq(expected) {
		name, value, _ := strings.Cut(f, "=")
		want[name] = value
	}
	var dataLength uint64
	for _, m := range members {
		if len(in) < m.size {
			e.fail("%s: the structure ends before it", m.name)
			return
		}
		field := in[:m.size]
		if m.size == 0 {
			field = in
		}
		in = in[len(field):]
		value, ok := want[m.name]
		delete(want, m.name)
		if !ok && expected != "" {
			e.fail("%s: nothing is expected of it", m.name)
		}
		var got uint64
		switch m.size {
		case 1:
			got = uint64(field[0])
		case 2:
			got = uint64(binary.NativeEndian.Uint16(field))
		case 4:
			got = uint64(binary.NativeEndian.Uint32(field))
			dataLength = got
		default:
			if m.size == 0 && dataLength != uint64(len(field)) {
				e.fail("ulDataLength: %d, but %d bytes follow", dataLength, len(field))
			}
			if b, err := hex.DecodeString(value); ok && (err != nil || !bytes.Equal(b, field)) {
				e.fail("%s: not as expected", m.name)
			}
			continue
		}
		if v, err := strconv.ParseUint(value, 0, 32); ok && (err != nil || v != got) {
			e.fail("%s: 0x%X, expected %s", m.name, got, value)
		}
	}
	for name := range want {
		e.fail("%s: there is no such member", name)
	}
}

func (e *Emulator) command(text string) error {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "reset":
		e.forget()
		return nil
	case "verify", "modify":
		e.expected[word] = rest
		return nil
	case "answer", "then", "attribute":
	default:
		return errDriver
	}
	f := strings.Fields(rest)
	if word == "attribute" {
		return e.attribute(f)
	}
	if len(f) == 3 {
		f = append(f, "")
	}
	if len(f) != 4 {
		return errDriver
	}
	tag, err1 := strconv.ParseUint(f[0], 16, 8)
	rc, err2 := strconv.Atoi(f[1])
	ms, err3 := strconv.Atoi(f[2])
	b, err4 := hex.DecodeString(f[3])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if word == "answer" {
		e.queue[byte(tag)] = nil
	}
	e.queue[byte(tag)] = append(e.queue[byte(tag)], answer{rc, time.Duration(ms) * time.Millisecond, b})
	return nil
}

func (e *Emulator) attribute(f []string) error {
	if len(f) == 2 {
		f = append(f, "")
	}
	if len(f) != 3 {
		return errDriver
	}
	id, err1 := strconv.ParseUint(f[0], 16, 32)
	rc, err2 := strconv.Atoi(f[1])
	value, err3 := hex.DecodeString(f[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	switch rc {
	case OK:
		e.changeAttribute(uint32(id), value)
	case NoAttribute:
		e.changeAttribute(uint32(id), nil)
	default:
		return errDriver
	}
	return nil
}

// usual is the usual answer.
func usual(tag byte, in []byte) answer {
	ok := func(b ...byte) answer { return answer{bytes: b} }
	switch tag {
	case QueryFeatures:
		return ok(FeatureList(VerifyPINDirect, ModifyPINDirect, PINProperties, TLVProperties, Escape, PACE, KeyPressed, Abort)...)
	case TLVProperties:
		return ok(1, 2, 0x10, 0x02, 2, 1, 7, 3, 1, 1, 4, 2, 0x10, 0, 5, 2, 2, 0, 6, 1, 4, 7, 1, 12,
			8, 9, 'P', 'i', 'n', 'p', 'a', 'd', ' ', '1', 0, 9, 1, 0, 10, 4, 0, 1, 1, 0, 11, 2, 0x34, 0x12, 12, 2, 0x78, 0x56)
	case PINProperties:
		return ok(append(binary.NativeEndian.AppendUint16(nil, 0x0210), 7, 1)...)
	case VerifyPINDirect, ModifyPINDirect, VerifyPINFinish, ModifyPINFinish:
		return ok(0x90, 0x00)
	case VerifyPINStart, ModifyPINStart, Abort:
		return ok()
	case KeyPressed:
		return ok(0)
	case Escape:
		var out []byte
		for i := range in {
			out = append(out, in[len(in)-1-i])
		}
		return ok(out...)
	case PACE:
		if len(in) < 3 || len(in)-3 != int(in[1])|int(in[2])<<8 {
			return answer{rc: CommError}
		}
		return ok(append([]byte{0, 0, 0, 0, in[1], in[2]}, in[3:]...)...)
	}
	return answer{rc: NotSupported}
}

var errDriver = errors.New("ifdtest: the driver fails")

func (e *Emulator) call(tag byte, in []byte) ([]byte, error) {
	e.calls = append(e.calls, tag)
	switch tag {
	case VerifyPINDirect, VerifyPINStart:
		e.check(verifyMembers, e.expected["verify"], in)
	case ModifyPINDirect, ModifyPINStart:
		e.check(modifyMembers, e.expected["modify"], in)
	case Escape, PACE:
	default:
		if len(in) != 0 {
			e.fail("feature 0x%02X: %d bytes of input", tag, len(in))
		}
	}
	a := usual(tag, in)
	if q := e.queue[tag]; len(q) > 0 {
		a = q[0]
		if len(q) > 1 {
			e.queue[tag] = q[1:]
		}
	}
	entry := tag == VerifyPINDirect || tag == ModifyPINDirect
	switch {
	case tag == Abort:
		e.aborted = true
	case entry:
		e.aborted = false
	}
	for ; a.delay > 0; a.delay -= 10 * time.Millisecond {
		if entry && e.aborted {
			a.bytes = []byte{0x64, 0x01}
			break
		}
		e.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		e.mu.Lock()
	}
	switch a.rc {
	case OK:
	case NotSupported:
		return nil, errors.ErrUnsupported
	default:
		return nil, errDriver
	}
	if tag == VerifyPINDirect || tag == VerifyPINFinish {
		e.verified = bytes.HasSuffix(a.bytes, []byte{0x90, 0x00})
	}
	return a.bytes, nil
}

// Control answers a control code.
func (e *Emulator) Control(code uint32, in []byte) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch code {
	case winscard.CtlCode(numCommand):
		return nil, e.command(string(in))
	case winscard.CtlCode(numFailures):
		defer e.failures.Reset()
		return []byte(e.failures.String()), nil
	case winscard.CtlCode(numCalls):
		calls := e.calls
		e.calls = nil
		return calls, nil
	case winscard.CtlGetFeatureRequest:
		return e.call(QueryFeatures, in)
	}
	for tag := 1; tag < 256; tag++ {
		if code == FeatureCode(byte(tag)) {
			return e.call(byte(tag), in)
		}
	}
	return nil, errors.ErrUnsupported
}

// Card is the card in the reader, for the virtual service.
func (e *Emulator) Card() *EmulatorCard { return &EmulatorCard{e} }

// EmulatorCard is the card in an [Emulator].
type EmulatorCard struct{ e *Emulator }

// Reset takes the verification away.
func (c *EmulatorCard) Reset() {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.e.verified = false
}

// Transmit answers an APDU.
func (c *EmulatorCard) Transmit(apdu []byte) ([]byte, error) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	switch {
	case !bytes.HasPrefix(apdu, []byte{0x80, 0x50, 0x00, 0x00}):
		return []byte{0x6D, 0x00}, nil
	case c.e.verified:
		return []byte{1, 0x90, 0x00}, nil
	}
	return []byte{0, 0x90, 0x00}, nil
}
