package iso7816

// A SelectOption says which file [SelectAID] and its like select, or what the card returns: [Occurrence] and
// [ControlInformation] are such.
type SelectOption interface {
	p2() (value byte, ok bool)
}

// An Occurrence is which of several files of that name is selected.
type Occurrence byte

// The occurrences (ISO/IEC 7816-4, SELECT command).
const (
	First    Occurrence = 0 // the first or only one; the default
	Last     Occurrence = 1
	Next     Occurrence = 2
	Previous Occurrence = 3
)

func (o Occurrence) p2() (byte, bool) { return byte(o), o <= Previous }

// ControlInformation is what the card returns about the file that it has selected.
type ControlInformation byte

// The kinds of control information (ISO/IEC 7816-4, SELECT command).
const (
	ReturnFCI     ControlInformation = 0x00 // file control information; the default
	ReturnFCP     ControlInformation = 0x04 // file control parameters
	ReturnFMD     ControlInformation = 0x08 // file management data
	ReturnNothing ControlInformation = 0x0C
)

func (i ControlInformation) p2() (byte, bool) { return byte(i), i&^ReturnNothing == 0 }

// selection makes a SELECT. Of several options of one kind the last one counts.
func selection(p1 byte, data []byte, opts []SelectOption) (Command, error) {
	c := Command{INS: InsSelect, P1: p1, Data: data}
	for _, opt := range opts {
		if opt == nil {
			continue
		}
		v, ok := opt.p2()
		if !ok {
			return Command{}, invalidCommand("SELECT: no such option: %02X", v)
		}
		mask := byte(ReturnNothing)
		if _, ok := opt.(Occurrence); ok {
			mask = byte(Previous)
		}
		c.P2 = c.P2&^mask | v
	}
	if c.P2&byte(ReturnNothing) != byte(ReturnNothing) {
		c.Ne = MaxShortNe
	}
	return c, nil
}

// SelectAID selects an application, or any DF, by its name of 1 to 16 bytes; an application identifier has 5 to 16. Most
// cards also take the beginning of a name, and then [Next] selects the next one that begins so.
func SelectAID(aid []byte, opts ...SelectOption) (Command, error) {
	if len(aid) < 1 || len(aid) > 16 {
		return Command{}, invalidCommand("SELECT: the name has %s, 1 to 16 are allowed", bytesText(len(aid)))
	}
	return selection(0x04, aid, opts)
}

// FileMF is the identifier of the master file.
const FileMF uint16 = 0x3F00

// SelectFile selects the file with the identifier: the master file ([FileMF]), or what the card finds by it from the
// current DF.
func SelectFile(id uint16, opts ...SelectOption) (Command, error) {
	return selection(0x00, []byte{byte(id >> 8), byte(id)}, opts)
}

// SelectDF selects the DF with the identifier below the current DF.
func SelectDF(id uint16, opts ...SelectOption) (Command, error) {
	return selection(0x01, []byte{byte(id >> 8), byte(id)}, opts)
}

// SelectEF selects the elementary file with the identifier in the current DF.
func SelectEF(id uint16, opts ...SelectOption) (Command, error) {
	return selection(0x02, []byte{byte(id >> 8), byte(id)}, opts)
}

// SelectParent selects the parent of the current DF.
func SelectParent(opts ...SelectOption) (Command, error) { return selection(0x03, nil, opts) }

// SelectPath selects a file by a path of identifiers from the master file, whose own identifier is left out. It has 1
// to 127 elements.
func SelectPath(path []uint16, opts ...SelectOption) (Command, error) {
	return selectPath(0x08, path, opts)
}

// SelectRelativePath is [SelectPath] from the current DF, whose own identifier is left out.
func SelectRelativePath(path []uint16, opts ...SelectOption) (Command, error) {
	return selectPath(0x09, path, opts)
}

func selectPath(p1 byte, path []uint16, opts []SelectOption) (Command, error) {
	if len(path) < 1 || len(path) > MaxShortData/2 {
		return Command{}, invalidCommand("SELECT: the path has %d elements, 1 to %d are allowed", len(path), MaxShortData/2)
	}
	data := make([]byte, 0, 2*len(path))
	for _, id := range path {
		data = append(data, byte(id>>8), byte(id))
	}
	return selection(p1, data, opts)
}
