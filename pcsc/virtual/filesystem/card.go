package filesystem

import (
	"bytes"
	"io"
	"slices"
	"sync"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// Card is a card with a file system. All methods may be called concurrently.
type Card struct {
	atr       []byte
	shortOnly bool

	mu     sync.Mutex
	random io.Reader
	t0     bool
	mf     *dir
	at     position
	chain  *iso7816.Command // what has come of a chain of commands
	left   []byte           // what GET RESPONSE has
}

var (
	_ virtual.Card           = (*Card)(nil)
	_ virtual.ATRer          = (*Card)(nil)
	_ virtual.Resetter       = (*Card)(nil)
	_ virtual.ProtocolSetter = (*Card)(nil)
)

// position is what is selected.
type position struct {
	dir    *dir
	file   *file // nil if there is no current EF
	record int   // of file, from 1; 0 before the first
}

// ATR returns the answer to reset.
func (c *Card) ATR() []byte { return bytes.Clone(c.atr) }

// Reset selects the master file and forgets which PINs were verified.
func (c *Card) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = position{dir: c.mf}
	c.chain, c.left = nil, nil
	c.mf.each(func(d *dir) {
		for _, p := range d.pins {
			p.verified = false
		}
	})
}

// SetProtocol tells the card which protocol it is spoken to in. With T=0 it answers as such a card has to; see Lengths
// in the documentation of the package. Until it is called, T=0 is assumed if the ATR offers nothing else.
func (c *Card) SetProtocol(p winscard.Protocol) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t0 = p == winscard.ProtocolT0
}

// Tries returns how many tries are left for the PIN, seen from the DF at path, which has the identifiers below the
// master file. There may be no such DF or PIN.
func (c *Card) Tries(reference byte, path ...uint16) (tries int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.find(path)
	if d == nil {
		return 0, false
	}
	p := d.pin(reference)
	if p == nil {
		return 0, false
	}
	return p.tries, true
}

// Contents returns a copy of what the EF at path holds: its records, or the one sequence of bytes. The path has the
// identifiers below the master file. There may be no such EF.
func (c *Card) Contents(path ...uint16) (contents [][]byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(path) == 0 {
		return nil, false
	}
	d := c.find(path[:len(path)-1])
	if d == nil {
		return nil, false
	}
	f := d.childFile(path[len(path)-1])
	if f == nil {
		return nil, false
	}
	if f.Structure == Transparent {
		return [][]byte{bytes.Clone(f.Data)}, true
	}
	for _, record := range f.Records {
		contents = append(contents, bytes.Clone(record))
	}
	return contents, true
}

// find follows a path of identifiers of DFs.
func (c *Card) find(path []uint16) *dir {
	d := c.mf
	for _, id := range path {
		if d = d.childDir(id); d == nil {
			return nil
		}
	}
	return d
}

// Transmit executes a command. It returns no error.
func (c *Card) Transmit(apdu []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, sw := c.transmit(apdu)
	return append(slices.Clip(data), sw.SW1(), sw.SW2()), nil
}

// maxChain is how much data the commands of a chain can have together.
const maxChain = 0xFFFF

const classChaining = 0x10

func (c *Card) transmit(apdu []byte) ([]byte, iso7816.StatusWord) {
	cmd, err := iso7816.ParseCommand(apdu)
	if err != nil || cmd.Extended && c.shortOnly {
		c.chain, c.left = nil, nil
		return nil, iso7816.ErrWrongLength
	}
	left, chain := c.left, c.chain
	c.left, c.chain = nil, nil
	if sw := classStatus(cmd.CLA); sw != iso7816.Success {
		return nil, sw
	}
	if cmd.INS == iso7816.InsGetResponse && cmd.CLA == 0 {
		c.left = left
		return c.getResponse(cmd)
	}
	execute := commands[cmd.INS]
	if execute == nil {
		return nil, iso7816.ErrInstructionNotSupported
	}
	if chain != nil {
		if chain.INS != cmd.INS || chain.P1 != cmd.P1 || chain.P2 != cmd.P2 {
			return nil, iso7816.ErrLastCommandExpected
		}
		if len(chain.Data)+len(cmd.Data) > maxChain {
			return nil, iso7816.ErrWrongLength
		}
		cmd.Data = append(chain.Data, cmd.Data...)
	}
	if cmd.CLA&classChaining != 0 {
		if chain == nil {
			cmd.Data = bytes.Clone(cmd.Data) // which still is the caller's
		}
		c.chain = &cmd
		return nil, iso7816.Success
	}
	before := c.at
	data, sw := execute(c, cmd)
	data, sw = c.answer(cmd, data, sw)
	if sw.SW1() == 0x6C {
		c.at = before // the command is going to be repeated
	}
	c.forget(before.dir)
	return data, sw
}

// classStatus says whether a class byte is one that the card takes.
func classStatus(cla byte) iso7816.StatusWord {
	switch {
	case cla&0x80 != 0 || cla&0xE0 == 0x20:
		return iso7816.ErrClassNotSupported
	case cla&0x40 != 0 || cla&0x03 != 0:
		return iso7816.ErrChannelNotSupported
	case cla&0x0C != 0:
		return iso7816.ErrSecureMessagingNotSupported
	}
	return iso7816.Success
}

// commands are the commands of the card, without GET RESPONSE.
var commands = [256]func(*Card, iso7816.Command) ([]byte, iso7816.StatusWord){
	iso7816.InsVerify:              (*Card).verify,
	iso7816.InsChangeReferenceData: (*Card).changeReferenceData,
	iso7816.InsResetRetryCounter:   (*Card).resetRetryCounter,
	iso7816.InsGetChallenge:        (*Card).getChallenge,
	iso7816.InsSelect:              (*Card).selectFile,
	iso7816.InsReadBinary:          (*Card).readBinary,
	iso7816.InsReadBinary | 1:      (*Card).readBinaryTLV,
	iso7816.InsReadRecord:          (*Card).readRecord,
	iso7816.InsGetData:             (*Card).getData,
	iso7816.InsGetData | 1:         (*Card).getDataTLV,
	iso7816.InsUpdateBinary:        (*Card).updateBinary,
	iso7816.InsUpdateBinary | 1:    (*Card).updateBinaryTLV,
	insUpdateRecord:                (*Card).updateRecord,
	insAppendRecord:                (*Card).appendRecord,
	insManageChannel:               (*Card).manageChannel,
}

// What package iso7816 has no names for, since it does not make these commands.
const (
	insManageChannel = 0x70
	insUpdateRecord  = 0xDC
	insAppendRecord  = 0xE2
)

func (c *Card) manageChannel(iso7816.Command) ([]byte, iso7816.StatusWord) {
	return nil, iso7816.ErrChannelNotSupported
}

// answer fits a response to what the command asked for, and keeps the rest for GET RESPONSE.
func (c *Card) answer(cmd iso7816.Command, data []byte, sw iso7816.StatusWord) ([]byte, iso7816.StatusWord) {
	n := len(data)
	ne := cmd.Ne
	switch {
	case n == 0:
		return nil, sw
	case c.t0 && len(cmd.Data) > 0:
		ne = 0
	case c.t0 && n <= iso7816.MaxShortNe && n != ne && ne <= iso7816.MaxShortNe,
		ne > 0 && ne < n && n <= iso7816.MaxShortNe:
		return nil, wrongLe(n)
	case ne == 0:
		return nil, sw
	case n <= ne:
		return data, sw
	}
	c.left = data[ne:]
	return data[:ne], moreData(len(c.left))
}

func wrongLe(n int) iso7816.StatusWord { return iso7816.ErrWrongLe | iso7816.StatusWord(n&0xFF) }

func moreData(n int) iso7816.StatusWord {
	if n > 0xFF {
		n = 0
	}
	return iso7816.MoreData | iso7816.StatusWord(n)
}

// getResponse returns what is left of a response.
func (c *Card) getResponse(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	left, n := c.left, len(c.left)
	c.left = nil
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, iso7816.ErrIncorrectP1P2
	case n == 0:
		return nil, iso7816.ErrConditionsNotSatisfied
	case len(cmd.Data) > 0 || cmd.Ne == 0:
		return nil, iso7816.ErrWrongLength
	case n < cmd.Ne && n <= iso7816.MaxShortNe && (c.t0 || cmd.Ne < iso7816.MaxShortNe):
		c.left = left
		return nil, wrongLe(n)
	case n <= cmd.Ne:
		return left, iso7816.Success
	}
	c.left = left[cmd.Ne:]
	return left[:cmd.Ne], moreData(len(c.left))
}
