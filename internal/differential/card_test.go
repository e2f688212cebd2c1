package differential

import (
	"errors"
	"fmt"
	"sync"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/ifdtest"
)

// A kind of card is the answers to its resets: the first when it gets power for the first time, the next at the next
// reset or loss of power, and so on, from the beginning after the last. An empty one is a reset that fails.
type kind struct {
	name string
	atrs [][]byte
}

func atr(bytes ...byte) []byte { return bytes }

// The kinds. Those that are mute at times are last: GetStatusChange takes 400 ms on pcsc-lite with such a card, since
// libpcsclite hopes that its ATR is about to come.
var kinds = []kind{
	{"T=0 and T=1", [][]byte{atr(0x3B, 0x80, 0x80, 0x01, 0x01)}},
	{"T=0, by default", [][]byte{atr(0x3B, 0x00)}},
	{"T=1", [][]byte{atr(0x3B, 0x80, 0x01, 0x81)}},
	{"T=0 in specific mode", [][]byte{atr(0x3B, 0x80, 0x80, 0x11, 0x00, 0x11)}},
	{"T=1, then T=0", [][]byte{atr(0x3B, 0x81, 0x01, 'a', 0xE1), atr(0x3B, 0x01, 'b')}},
	{"T=1 and T=15, 33 bytes", [][]byte{atr(0x3B, 0x9F, 0x96, 0x81, 0xF1, 0xFE, 0x45, 0x00, 0x1F, 0x06,
		1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)}},
	{"T=14 only", [][]byte{atr(0x3B, 0x80, 0x0E, 0x8E)}},
	{"no valid ATR", [][]byte{atr(0x12, 0x34, 0x56)}},
	{"mute", [][]byte{nil}},
	{"mute at every other reset", [][]byte{atr(0x3B, 0x80, 0x80, 0x01, 0x01), nil}},
}

const firstMuteKind = 8

// A card is a card's chip: it implements [virtual.Card] and its like, and is behind pcscd's reader too.
type card struct {
	mu         sync.Mutex
	kind       kind
	resets     int // how often it was reset
	powered    bool
	cold, warm byte // how often it got power and was reset since it was put in
	count      byte // what it had in volatile memory
	atr        []byte
}

func (c *card) reset(n *byte) {
	c.atr = c.kind.atrs[c.resets%len(c.kind.atrs)]
	c.resets++
	*n++
	c.count = 0
	c.powered = true
}

// PowerOn, Reset, PowerOff and ATR are called by the virtual service.
func (c *card) PowerOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset(&c.cold)
}

func (c *card) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset(&c.warm)
}

func (c *card) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powered = false
}

func (c *card) ATR() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.atr
}

// Commands of the card: the second byte of an APDU.
const (
	insEcho   = 1 // the whole command, and 9000
	insCount  = 2 // counts, in volatile memory: the count, and how often it got power and was reset
	insLength = 3 // P1 P2 bytes
	insFail   = 4 // an error below the APDU
)

var errCard = errors.New("no answer")

func (c *card) Transmit(apdu []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.atr) == 0 || len(apdu) < 4 {
		return nil, errCard
	}
	switch apdu[1] {
	case insEcho:
		return append(append([]byte{}, apdu...), 0x90, 0x00), nil
	case insCount:
		c.count++
		return []byte{c.count, c.cold, c.warm, 0x90, 0x00}, nil
	case insLength:
		response := make([]byte, int(apdu[2])<<8|int(apdu[3]))
		for i := range response {
			response[i] = byte(i)
		}
		return response, nil
	}
	return nil, errCard
}

// Control codes of the readers: they return their input, or so many bytes, or fail. Others they don't know.
var (
	ctlEcho   = winscard.CtlCode(3501)
	ctlLength = winscard.CtlCode(3502)
	ctlFail   = winscard.CtlCode(3503)
)

// attrSettable can be set, all others are refused; attrUnsettable is refused as unknown.
const (
	attrSettable   = uint32(winscard.AttrSuppressT1IFSRequest)
	attrUnsettable = uint32(winscard.AttrVendorName)
)

// A controller is what a reader's driver does besides cards, for the virtual service.
type controller struct{}

func (controller) Control(code uint32, in []byte) ([]byte, error) {
	switch code {
	case ctlEcho:
		return in, nil
	case ctlLength:
		if len(in) == 2 {
			return make([]byte, int(in[0])<<8|int(in[1])), nil
		}
	case ctlFail:
	default:
		return nil, errors.ErrUnsupported
	}
	return nil, errCard
}

func (controller) SetAttrib(id uint32, value []byte) error {
	switch id {
	case attrSettable:
		return nil
	case attrUnsettable:
		return errors.ErrUnsupported
	}
	return errCard
}

// A driver is the driver of a reader of pcscd. It answers as the virtual service's reader does.
type driver struct {
	controller
	mu   sync.Mutex
	card *card
	atr  []byte // from the last PowerICC
}

func (d *driver) put(c *card) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.card, d.atr = c, nil
}

func (d *driver) inserted() *card {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.card
}

func (d *driver) ICCPresence() bool { return d.inserted() != nil }

func (d *driver) PowerICC(action uint32) ([]byte, int) {
	c := d.inserted()
	switch {
	case c == nil:
		return nil, ifdtest.ErrorPowerAction
	case action == ifdtest.PowerDown:
		c.PowerOff()
		return nil, ifdtest.OK
	case action == ifdtest.WarmReset && c.hasPower():
		c.Reset()
	default:
		c.PowerOn()
	}
	a := c.ATR()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.atr = a; len(a) > 0 {
		return a, ifdtest.OK
	}
	return nil, ifdtest.ErrorPowerAction
}

func (c *card) hasPower() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.powered
}

// TransmitToICC gives a card without power some, first.
func (d *driver) TransmitToICC(_ uint32, apdu []byte) ([]byte, int) {
	c := d.inserted()
	if c == nil {
		return nil, ifdtest.CommError
	}
	if !c.hasPower() {
		c.PowerOn()
	}
	response, err := c.Transmit(apdu)
	return response, code(err)
}

func code(err error) int {
	switch {
	case err == nil:
		return ifdtest.OK
	case errors.Is(err, errors.ErrUnsupported):
		return ifdtest.NotSupported
	}
	return ifdtest.CommError
}

func (d *driver) Control(c uint32, in []byte) ([]byte, int) {
	out, err := d.controller.Control(c, in)
	return out, code(err)
}

func (d *driver) SetCapabilities(tag uint32, value []byte) int {
	switch err := d.controller.SetAttrib(tag, value); {
	case err == nil:
		return ifdtest.OK
	case errors.Is(err, errors.ErrUnsupported):
		return ifdtest.ErrorTag
	}
	return ifdtest.ErrorSetFailure
}

func (d *driver) GetCapabilities(tag uint32) ([]byte, int) {
	c := d.inserted()
	flag := func(is bool, value byte) []byte {
		if is {
			return []byte{value}
		}
		return []byte{0}
	}
	switch winscard.Attribute(tag) {
	case winscard.AttrATRString:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.atr, ifdtest.OK
	case winscard.AttrVendorName:
		return []byte("gopcsc\x00"), ifdtest.OK
	case winscard.AttrVendorIFDVersion:
		return []byte{0, 0, 0, 1}, ifdtest.OK
	case winscard.AttrMaxInput:
		return []byte{0x0C, 0x00, 0x01, 0x00}, ifdtest.OK
	case winscard.AttrICCPresence:
		return flag(c != nil, 2), ifdtest.OK
	case winscard.AttrICCInterfaceStatus:
		return flag(c != nil && c.hasPower(), 1), ifdtest.OK
	}
	return nil, ifdtest.ErrorTag
}

func (k kind) String() string { return fmt.Sprintf("a card that offers %s", k.name) }
