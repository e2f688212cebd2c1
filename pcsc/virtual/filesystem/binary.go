package filesystem

import (
	"slices"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/iso7816/tlv"
)

// current returns the current EF or, if sfi is not 0, the one in the current DF that has the short identifier, which
// becomes the current EF.
func (c *Card) current(sfi byte) (*file, iso7816.StatusWord) {
	switch {
	case sfi == 0 && c.at.file == nil:
		return nil, iso7816.ErrNoCurrentEF
	case sfi == 0:
		return c.at.file, iso7816.Success
	case sfi > 30:
		return nil, iso7816.ErrIncorrectP1P2
	}
	return c.currentIs(c.at.dir.shortFile(sfi))
}

// currentIs makes a file of the current DF the current EF.
func (c *Card) currentIs(f *file) (*file, iso7816.StatusWord) {
	if f == nil {
		return nil, iso7816.ErrFileNotFound
	}
	c.at = position{dir: f.dir, file: f}
	return f, iso7816.Success
}

// allowed says whether a command for such structures may do what takes the condition.
func (f *file) allowed(condition Condition, structures ...Structure) iso7816.StatusWord {
	switch {
	case !slices.Contains(structures, f.Structure):
		return iso7816.ErrIncompatibleFile
	case !f.dir.met(condition):
		return iso7816.ErrSecurityStatusNotSatisfied
	}
	return iso7816.Success
}

// binary finds the file and the offset of READ BINARY and UPDATE BINARY.
func (c *Card) binary(cmd iso7816.Command) (f *file, offset int, sw iso7816.StatusWord) {
	if cmd.P1&0x80 == 0 {
		f, sw = c.current(0)
		return f, int(cmd.P1)<<8 | int(cmd.P2), sw
	}
	if cmd.P1&0x60 != 0 || cmd.P1&0x1F == 0 {
		return nil, 0, iso7816.ErrIncorrectP1P2
	}
	f, sw = c.current(cmd.P1 & 0x1F)
	return f, int(cmd.P2), sw
}

func (c *Card) readBinary(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	f, offset, sw := c.binary(cmd)
	if sw != iso7816.Success {
		return nil, sw
	}
	if len(cmd.Data) > 0 || cmd.Ne == 0 {
		return nil, iso7816.ErrWrongLength
	}
	return f.read(offset, cmd.Ne)
}

// read reads up to n bytes.
func (f *file) read(offset, n int) ([]byte, iso7816.StatusWord) {
	if sw := f.allowed(f.Read, Transparent); sw != iso7816.Success {
		return nil, sw
	}
	size := len(f.Data)
	switch {
	case offset > size || offset == size && size > 0:
		return nil, iso7816.ErrWrongP1P2
	case n <= size-offset:
		return slices.Clone(f.Data[offset : offset+n]), iso7816.Success
	case n == iso7816.MaxShortNe || n == iso7816.MaxExtendedNe: // all there is
		return slices.Clone(f.Data[offset:]), iso7816.Success
	}
	return slices.Clone(f.Data[offset:]), iso7816.ErrEndOfFile
}

func (c *Card) updateBinary(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	f, offset, sw := c.binary(cmd)
	if sw != iso7816.Success {
		return nil, sw
	}
	return nil, f.write(offset, cmd.Data)
}

func (f *file) write(offset int, data []byte) iso7816.StatusWord {
	sw := f.allowed(f.Update, Transparent)
	switch {
	case sw != iso7816.Success:
		return sw
	case len(data) == 0:
		return iso7816.ErrWrongLength
	case offset > len(f.Data):
		return iso7816.ErrWrongP1P2
	case len(data) > len(f.Data)-offset:
		return iso7816.ErrNotEnoughMemory
	}
	copy(f.Data[offset:], data)
	return iso7816.Success
}

// The data objects of commands with odd instructions.
const (
	tagOffset tlv.Tag = 0x54
	tagData   tlv.Tag = 0x53
)

// binaryTLV finds the file and the offset of a READ BINARY or UPDATE BINARY with an odd instruction, and what there is
// in its data besides.
func (c *Card) binaryTLV(cmd iso7816.Command) (f *file, offset int, more []tlv.Object, sw iso7816.StatusWord) {
	switch id := uint16(cmd.P1)<<8 | uint16(cmd.P2); {
	case id == 0 || id >= 1 && id <= 30:
		f, sw = c.current(byte(id))
	default:
		f, sw = c.currentIs(c.at.dir.childFile(id))
	}
	if sw != iso7816.Success {
		return nil, 0, nil, sw
	}
	objects, err := tlv.Decode(cmd.Data)
	if err != nil || len(objects) == 0 || objects[0].Tag != tagOffset || len(objects[0].Value) > 4 {
		return nil, 0, nil, iso7816.ErrIncorrectData
	}
	for _, b := range objects[0].Value {
		offset = offset<<8 | int(b)
	}
	if offset < 0 || offset > maxFileSize { // negative where an int has 32 bits
		return nil, 0, nil, iso7816.ErrWrongP1P2
	}
	return f, offset, objects[1:], iso7816.Success
}

func (c *Card) readBinaryTLV(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	f, offset, more, sw := c.binaryTLV(cmd)
	switch {
	case sw != iso7816.Success:
		return nil, sw
	case len(more) > 0:
		return nil, iso7816.ErrIncorrectData
	}
	if cmd.Ne == 0 {
		return nil, iso7816.ErrWrongLength
	}
	n := max(room(cmd.Ne), 1)
	if cmd.Ne == iso7816.MaxShortNe || cmd.Ne == iso7816.MaxExtendedNe { // all there is
		n = min(n, max(len(f.Data)-offset, 1))
	}
	data, sw := f.read(offset, n)
	if data == nil {
		return nil, sw
	}
	b, err := tlv.Encode(tlv.New(tagData, data))
	if err != nil {
		panic(err) // the tag is valid and the value not too long
	}
	return b, sw
}

func (c *Card) updateBinaryTLV(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	f, offset, more, sw := c.binaryTLV(cmd)
	switch {
	case sw != iso7816.Success:
		return nil, sw
	case len(more) != 1 || more[0].Tag != tagData:
		return nil, iso7816.ErrIncorrectData
	}
	return nil, f.write(offset, more[0].Value)
}

// room is how long the value of a data object can be that has no more than n bytes and a tag of one byte.
func room(n int) int {
	switch {
	case n <= 2+0x7F:
		return n - 2
	case n <= 3+0xFF:
		return n - 3
	}
	return n - 4
}
