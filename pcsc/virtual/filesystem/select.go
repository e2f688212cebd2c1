package filesystem

import (
	"bytes"
	"slices"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/iso7816/tlv"
)

// P1 of SELECT (ISO/IEC 7816-4, SELECT command).
const (
	byID           = 0x00
	childDF        = 0x01
	childEF        = 0x02
	parentDF       = 0x03
	byName         = 0x04
	pathFromMF     = 0x08
	pathFromHere   = 0x09
	occurrenceMask = 0x03
)

func (c *Card) selectFile(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	info := iso7816.ControlInformation(cmd.P2 &^ occurrenceMask)
	occurrence := iso7816.Occurrence(cmd.P2 & occurrenceMask)
	if info&^iso7816.ReturnNothing != 0 || occurrence != iso7816.First && cmd.P1 != byName {
		return nil, iso7816.ErrIncorrectP1P2
	}
	to, sw := c.target(cmd, occurrence)
	if sw != iso7816.Success {
		return nil, sw
	}
	c.at = to
	return to.control(info), iso7816.Success
}

// target finds what a SELECT means.
func (c *Card) target(cmd iso7816.Command, occurrence iso7816.Occurrence) (to position, sw iso7816.StatusWord) {
	here := c.at.dir
	var id uint16
	switch cmd.P1 {
	case byID, childDF, childEF:
		switch {
		case len(cmd.Data) == 0 && cmd.P1 == byID:
			id = iso7816.FileMF
		case len(cmd.Data) != 2:
			return to, iso7816.ErrLengthInconsistentWithP1P2
		default:
			id = identifier(cmd.Data)
		}
	case parentDF:
		if len(cmd.Data) > 0 {
			return to, iso7816.ErrLengthInconsistentWithP1P2
		}
	case byName:
		if len(cmd.Data) > 16 {
			return to, iso7816.ErrLengthInconsistentWithP1P2
		}
	case pathFromMF, pathFromHere:
		if len(cmd.Data) == 0 || len(cmd.Data)%2 != 0 {
			return to, iso7816.ErrLengthInconsistentWithP1P2
		}
	default:
		return to, iso7816.ErrIncorrectP1P2
	}

	switch cmd.P1 {
	case byID:
		to = c.search(id)
	case childDF:
		to.dir = here.childDir(id)
	case childEF:
		if f := here.childFile(id); f != nil {
			to = position{dir: here, file: f}
		}
	case parentDF:
		to.dir = here.parent
	case byName:
		to.dir = c.named(cmd.Data, occurrence)
	case pathFromMF:
		to = c.mf.follow(cmd.Data)
	case pathFromHere:
		to = here.follow(cmd.Data)
	}
	if to.dir == nil {
		return to, iso7816.ErrFileNotFound
	}
	return to, iso7816.Success
}

func identifier(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// search finds a file by its identifier alone.
func (c *Card) search(id uint16) (to position) {
	here := c.at.dir
	switch {
	case id == iso7816.FileMF:
		return position{dir: c.mf}
	case here.childDir(id) != nil:
		return position{dir: here.childDir(id)}
	case here.childFile(id) != nil:
		return position{dir: here, file: here.childFile(id)}
	case here.id == id:
		return position{dir: here}
	case here.parent == nil:
		return position{}
	case here.parent.id == id:
		return position{dir: here.parent}
	}
	return position{dir: here.parent.childDir(id)}
}

// named finds a DF by its name or the beginning of it. Next and previous are counted from the current DF; if that has
// another name, they are the first and the last.
func (c *Card) named(name []byte, occurrence iso7816.Occurrence) *dir {
	var found []*dir
	c.mf.each(func(d *dir) {
		if len(d.name) > 0 && bytes.HasPrefix(d.name, name) {
			found = append(found, d)
		}
	})
	// A whole name is that DF's, also if it is the beginning of another's.
	exact := slices.IndexFunc(found, func(d *dir) bool { return bytes.Equal(d.name, name) })
	if exact >= 0 {
		found = found[exact : exact+1]
	}
	i := slices.Index(found, c.at.dir)
	switch occurrence {
	case iso7816.First:
		i = 0
	case iso7816.Last:
		i = len(found) - 1
	case iso7816.Next:
		i++
	case iso7816.Previous:
		if i < 0 {
			i = len(found)
		}
		i--
	}
	if i < 0 || i >= len(found) {
		return nil
	}
	return found[i]
}

// follow follows a path of identifiers, of an even number of bytes. The last one may be that of an EF.
func (d *dir) follow(path []byte) position {
	for len(path) > 2 {
		if d = d.childDir(identifier(path)); d == nil {
			return position{}
		}
		path = path[2:]
	}
	id := identifier(path)
	if f := d.childFile(id); f != nil {
		return position{dir: d, file: f}
	}
	return position{dir: d.childDir(id)}
}

// forget forgets the PINs of the DFs that have been left: they have to be verified anew.
func (c *Card) forget(left *dir) {
	for d := left; d != nil && !c.at.dir.below(d); d = d.parent {
		for _, p := range d.pins {
			p.verified = false
		}
	}
}

// The tags of control information (ISO/IEC 7816-4, file control parameter data objects).
const (
	tagFCP            tlv.Tag = 0x62
	tagFMD            tlv.Tag = 0x64
	tagFCI            tlv.Tag = 0x6F
	tagSize           tlv.Tag = 0x80
	tagDescriptor     tlv.Tag = 0x82
	tagIdentifier     tlv.Tag = 0x83
	tagName           tlv.Tag = 0x84
	tagShortID        tlv.Tag = 0x88
	tagLifeCycle      tlv.Tag = 0x8A
	descriptorDF              = 0x38
	operationalActive         = 0x05
)

// descriptors are the file descriptor bytes of working EFs.
var descriptors = [...]byte{Transparent: 0x01, LinearFixed: 0x02, LinearVariable: 0x04, Cyclic: 0x06}

// control is the control information of what is at a position.
func (p position) control(info iso7816.ControlInformation) []byte {
	if info == iso7816.ReturnNothing {
		return nil
	}
	own := p.dir.control
	if p.file != nil {
		own = p.file.Control
	}
	if own != nil {
		return own
	}
	var objects []tlv.Object
	if p.file != nil {
		objects = p.file.parameters()
	} else {
		objects = p.dir.parameters()
	}
	tag := tagFCI
	switch info {
	case iso7816.ReturnFCP:
		tag = tagFCP
	case iso7816.ReturnFMD: // the name is all that there is of it
		tag = tagFMD
		objects = slices.DeleteFunc(objects, func(o tlv.Object) bool { return o.Tag != tagName })
	}
	b, err := tlv.Encode(tlv.NewConstructed(tag, objects...))
	if err != nil {
		panic(err) // no tag above is invalid, and no value too long
	}
	return b
}

func (d *dir) parameters() []tlv.Object {
	objects := []tlv.Object{tlv.New(tagDescriptor, []byte{descriptorDF})}
	if d.id != 0 {
		objects = append(objects, tlv.New(tagIdentifier, two(int(d.id))))
	}
	if len(d.name) > 0 {
		objects = append(objects, tlv.New(tagName, d.name))
	}
	return append(objects, tlv.New(tagLifeCycle, []byte{operationalActive}))
}

func (f *file) parameters() []tlv.Object {
	descriptor := []byte{descriptors[f.Structure]}
	size := len(f.Data)
	if f.Structure != Transparent {
		descriptor = append(append(descriptor, dataCoding), two(f.RecordSize)...)
		descriptor = append(descriptor, byte(len(f.Records)))
		for _, record := range f.Records {
			size += len(record)
		}
	}
	var short []byte
	if f.SFI != 0 {
		short = []byte{f.SFI << 3}
	}
	return []tlv.Object{
		tlv.New(tagSize, number(size)),
		tlv.New(tagDescriptor, descriptor),
		tlv.New(tagIdentifier, two(int(f.ID))),
		tlv.New(tagShortID, short),
		tlv.New(tagLifeCycle, []byte{operationalActive}),
	}
}

func two(n int) []byte { return []byte{byte(n >> 8), byte(n)} }

// number has two bytes, or more if it needs them.
func number(n int) []byte {
	if n > 0xFFFF {
		return append([]byte{byte(n >> 16)}, two(n)...)
	}
	return two(n)
}
