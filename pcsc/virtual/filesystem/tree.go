package filesystem

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

// dir is a DF in use.
type dir struct {
	id      uint16
	name    []byte
	parent  *dir
	dirs    []*dir
	files   []*file
	pins    []*pin
	data    []DataObject
	control []byte
}

// file is an EF in use.
type file struct {
	EF
	dir *dir
}

// pin is a PIN in use.
type pin struct {
	PIN
	dir      *dir
	value    []byte // padded
	tries    int
	pukTries int
	verified bool
}

const (
	maxRecords    = 254
	maxRecordSize = 0xFFFF
	maxFileSize   = 0xFFFF // what tag 80 of the control information can say in two bytes
	maxPIN        = 64
	maxTries      = 15 // what 63CX can say
	defaultTries  = 3
)

// New makes a card. The error has a [*Fault] for each mistake, which errors.As finds in what its Unwrap() []error returns.
func New(config Config) (*Card, error) {
	b := &builder{}
	c := &Card{atr: bytes.Clone(config.ATR), shortOnly: config.ShortOnly, random: config.Random}
	if c.atr == nil {
		c.atr = DefaultATR()
	} else if len(c.atr) < 2 || len(c.atr) > 33 {
		b.fault("ATR", "has %d bytes, 2 to 33 are allowed", len(c.atr))
	}
	if c.random == nil {
		c.random = rand.Reader
	}
	mf := config.MF
	if mf.ID == 0 {
		mf.ID = iso7816.FileMF
	} else if mf.ID != iso7816.FileMF {
		b.fault("MF.ID", "is %04X, the master file is 3F00", mf.ID)
	}
	c.mf = b.dir("MF", &mf, nil)
	b.conditions("MF", c.mf)
	if len(b.faults) > 0 {
		return nil, fmt.Errorf("filesystem: %w", errors.Join(b.faults...))
	}
	c.t0 = onlyT0(c.atr)
	c.Reset()
	return c, nil
}

// builder checks a configuration and makes the tree.
type builder struct {
	faults []error
	names  [][]byte
}

func (b *builder) fault(path, format string, args ...any) {
	b.faults = append(b.faults, &Fault{path, fmt.Sprintf(format, args...)})
}

// within checks a number that is 0 for its default.
func (b *builder) within(path string, n *int, least, most, otherwise int) {
	switch {
	case *n == 0:
		*n = otherwise
	case *n < least || *n > most:
		b.fault(path, "is %d, %d to %d are allowed", *n, least, most)
		*n = otherwise
	}
}

func (b *builder) dir(path string, config *DF, parent *dir) *dir {
	d := &dir{id: config.ID, name: bytes.Clone(config.Name), parent: parent, control: bytes.Clone(config.Control)}
	switch n := len(d.name); {
	case n > 16:
		b.fault(path+".Name", "has %d bytes, 1 to 16 are allowed", n)
	case n > 0 && slices.ContainsFunc(b.names, func(name []byte) bool { return bytes.Equal(name, d.name) }):
		b.fault(path+".Name", "%X is also that of another DF", d.name)
	case n == 0 && d.id == 0:
		b.fault(path+".ID", "is missing, and so is a name to select it by")
	}
	b.names = append(b.names, d.name)

	ids := map[uint16]bool{}
	checkID := func(path string, id uint16) {
		switch {
		case id == 0x3F00 || id == 0x3FFF || id == 0xFFFF:
			b.fault(path+".ID", "%04X is reserved", id)
		case ids[id]:
			b.fault(path+".ID", "%04X is also that of another file in the same DF", id)
		}
		ids[id] = true
	}
	sfis := map[byte]bool{}
	for i := range config.EFs {
		path := fmt.Sprintf("%s.EFs[%d]", path, i)
		f := b.file(path, &config.EFs[i], d)
		if f.ID == 0 {
			b.fault(path+".ID", "is missing")
		} else {
			checkID(path, f.ID)
		}
		switch {
		case f.SFI > 30:
			b.fault(path+".SFI", "is %d, 1 to 30 are allowed, and 0 is none", f.SFI)
		case f.SFI > 0 && sfis[f.SFI]:
			b.fault(path+".SFI", "%d is also that of another file in the same DF", f.SFI)
		}
		sfis[f.SFI] = true
		d.files = append(d.files, f)
	}
	for i := range config.PINs {
		path := fmt.Sprintf("%s.PINs[%d]", path, i)
		p := b.pin(path, config.PINs[i])
		p.dir = d
		switch {
		case p.Reference < 0x80 && parent != nil:
			b.fault(path+".Reference", "is %02X; below 80 are those of the whole card, which only the master file has", p.Reference)
		case slices.ContainsFunc(d.pins, func(other *pin) bool { return other.Reference == p.Reference }):
			b.fault(path+".Reference", "%02X is also that of another PIN in the same DF", p.Reference)
		}
		d.pins = append(d.pins, p)
	}
	for i, o := range config.Data {
		path := fmt.Sprintf("%s.Data[%d]", path, i)
		switch {
		case !o.Tag.Valid():
			b.fault(path+".Tag", "%s is no tag", o.Tag)
		case slices.ContainsFunc(d.data, func(other DataObject) bool { return other.Tag == o.Tag }):
			b.fault(path+".Tag", "%s is also that of another data object in the same DF", o.Tag)
		}
		o.Value = bytes.Clone(o.Value)
		d.data = append(d.data, o)
	}
	for i := range config.DFs {
		path := fmt.Sprintf("%s.DFs[%d]", path, i)
		if id := config.DFs[i].ID; id != 0 {
			checkID(path, id)
		}
		d.dirs = append(d.dirs, b.dir(path, &config.DFs[i], d))
	}
	return d
}

func (b *builder) file(path string, config *EF, d *dir) *file {
	f := &file{EF: *config, dir: d}
	f.Data, f.Control = bytes.Clone(f.Data), bytes.Clone(f.Control)
	f.Records = make([][]byte, len(config.Records))
	longest := 0
	for i, record := range config.Records {
		f.Records[i] = bytes.Clone(record)
		longest = max(longest, len(record))
	}
	if f.Structure > Cyclic {
		b.fault(path+".Structure", "there is no %s", f.Structure)
		return f
	}
	if f.Structure == Transparent {
		if len(f.Records) > 0 || f.RecordSize != 0 || f.MaxRecords != 0 {
			b.fault(path+".Records", "a transparent file has no records")
		}
		if len(f.Data) > maxFileSize {
			b.fault(path+".Data", "has %d bytes, %d are allowed", len(f.Data), maxFileSize)
			return f
		}
		b.within(path+".Size", &f.Size, len(f.Data), maxFileSize, len(f.Data))
		f.Data = append(f.Data, make([]byte, f.Size-len(f.Data))...)
		return f
	}

	if len(f.Data) > 0 || f.Size != 0 {
		b.fault(path+".Data", "a %s file has records", f.Structure)
	}
	size, most := longest, maxRecords
	if f.Structure == LinearVariable {
		size = max(255, longest)
	}
	if f.Structure == Cyclic {
		most = len(f.Records)
	}
	if len(f.Records) > maxRecords || longest > maxRecordSize {
		b.fault(path+".Records", "there are %d of up to %d bytes, %d of up to %d are allowed", len(f.Records), longest,
			maxRecords, maxRecordSize)
		return f
	}
	b.within(path+".RecordSize", &f.RecordSize, max(longest, 1), maxRecordSize, size)
	b.within(path+".MaxRecords", &f.MaxRecords, max(len(f.Records), 1), maxRecords, most)
	if f.RecordSize == 0 {
		b.fault(path+".RecordSize", "is missing, and there is no record to take it from")
	}
	if f.MaxRecords == 0 {
		b.fault(path+".MaxRecords", "is missing, and there is no record to count")
	}
	for i, record := range f.Records {
		if f.Structure != LinearVariable && len(record) != f.RecordSize {
			b.fault(fmt.Sprintf("%s.Records[%d]", path, i), "has %d bytes, all records of the file have %d", len(record), f.RecordSize)
		}
	}
	return f
}

func (b *builder) pin(path string, config PIN) *pin {
	p := &pin{PIN: config}
	p.Value, p.PUK = bytes.Clone(p.Value), bytes.Clone(p.PUK)
	b.within(path+".Tries", &p.Tries, 1, maxTries, defaultTries)
	b.within(path+".PUKTries", &p.PUKTries, 1, maxTries, defaultTries)
	b.within(path+".Length", &p.Length, 1, maxPIN, 0)
	most := maxPIN
	if p.Length > 0 {
		most = p.Length
	}
	b.within(path+".MaxLength", &p.MaxLength, 1, most, most)
	b.within(path+".MinLength", &p.MinLength, 1, p.MaxLength, 1)
	if n := len(p.Value); n < p.MinLength || n > p.MaxLength {
		b.fault(path+".Value", "has %d bytes, %d to %d are allowed", n, p.MinLength, p.MaxLength)
	} else if p.Length > 0 && n > 0 && p.Value[n-1] == p.Pad {
		b.fault(path+".Value", "ends with the padding")
	}
	if len(p.PUK) > maxPIN {
		b.fault(path+".PUK", "has %d bytes, %d are allowed", len(p.PUK), maxPIN)
	}
	p.value = p.padded(p.Value)
	p.tries, p.pukTries = p.Tries, p.PUKTries
	return p
}

func (p *pin) padded(value []byte) []byte {
	return append(bytes.Clone(value), bytes.Repeat([]byte{p.Pad}, max(p.Length-len(value), 0))...)
}

// conditions checks that the PINs of all conditions exist.
func (b *builder) conditions(path string, d *dir) {
	check := func(path string, c Condition) {
		for _, ref := range c.refs {
			if d.pin(ref) == nil {
				b.fault(path, "there is no PIN %02X here", ref)
			}
		}
	}
	for i := range d.files {
		check(fmt.Sprintf("%s.EFs[%d].Read", path, i), d.files[i].Read)
		check(fmt.Sprintf("%s.EFs[%d].Update", path, i), d.files[i].Update)
	}
	for i := range d.data {
		check(fmt.Sprintf("%s.Data[%d].Read", path, i), d.data[i].Read)
	}
	for i := range d.pins {
		check(fmt.Sprintf("%s.PINs[%d].Unblock", path, i), d.pins[i].Unblock)
	}
	for i := range d.dirs {
		b.conditions(fmt.Sprintf("%s.DFs[%d]", path, i), d.dirs[i])
	}
}

// pin finds a PIN from a DF: a specific one in it or in the next parent that has it, else that of the master file.
func (d *dir) pin(reference byte) *pin {
	for at := d; at != nil; at = at.parent {
		if reference < iso7816.Specific && at.parent != nil {
			continue
		}
		for _, p := range at.pins {
			if p.Reference == reference {
				return p
			}
		}
	}
	return nil
}

// met says whether a condition of something in d is satisfied.
func (d *dir) met(c Condition) bool {
	verified := func(ref byte) bool { return d.pin(ref).verified }
	switch {
	case c.never:
		return false
	case c.all || len(c.refs) == 0:
		return !slices.ContainsFunc(c.refs, func(ref byte) bool { return !verified(ref) })
	}
	return slices.ContainsFunc(c.refs, verified)
}

// below says whether d is other or lies in it.
func (d *dir) below(other *dir) bool {
	for ; d != nil; d = d.parent {
		if d == other {
			return true
		}
	}
	return false
}

// each calls f with d and all DFs below it, in order.
func (d *dir) each(f func(*dir)) {
	f(d)
	for _, child := range d.dirs {
		child.each(f)
	}
}

// childDir finds a child by its identifier.
func (d *dir) childDir(id uint16) *dir {
	i := slices.IndexFunc(d.dirs, func(c *dir) bool { return c.id == id && id != 0 })
	if i < 0 {
		return nil
	}
	return d.dirs[i]
}

// childFile finds a file by its identifier.
func (d *dir) childFile(id uint16) *file {
	i := slices.IndexFunc(d.files, func(f *file) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	return d.files[i]
}

// shortFile finds a file by its short identifier.
func (d *dir) shortFile(sfi byte) *file {
	i := slices.IndexFunc(d.files, func(f *file) bool { return f.SFI == sfi && sfi != 0 })
	if i < 0 {
		return nil
	}
	return d.files[i]
}
