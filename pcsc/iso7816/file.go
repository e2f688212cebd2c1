package iso7816

// MaxOffset is the largest offset of READ BINARY and UPDATE BINARY, in data units, which mostly are bytes.
const MaxOffset = 0x7FFF

func checkNe(name string, ne int) error {
	if ne < 1 || ne > MaxExtendedNe {
		return invalidCommand("%s: %d bytes are asked for, 1 to %d can be", name, ne, MaxExtendedNe)
	}
	return nil
}

// binary sets P1 and P2 for an offset in the current file.
func binary(c Command, name string, offset int) (Command, error) {
	if offset < 0 || offset > MaxOffset {
		return Command{}, invalidCommand("%s: the offset is %d, 0 to %d are allowed", name, offset, MaxOffset)
	}
	c.P1, c.P2 = byte(offset>>8), byte(offset)
	return c, nil
}

// binarySFI sets P1 and P2 for an offset in the file with a short identifier.
func binarySFI(c Command, name string, sfi byte, offset int) (Command, error) {
	if err := checkSFI(name, sfi, 1); err != nil {
		return Command{}, err
	}
	if offset < 0 || offset > 0xFF {
		return Command{}, invalidCommand("%s: the offset is %d, with a short identifier 0 to 255 are allowed", name, offset)
	}
	c.P1, c.P2 = 0x80|sfi, byte(offset)
	return c, nil
}

func checkSFI(name string, sfi, least byte) error {
	if sfi < least || sfi > 30 {
		return invalidCommand("%s: the short file identifier is %d, %d to 30 are allowed", name, sfi, least)
	}
	return nil
}

// ReadBinary reads up to ne bytes (1 to 65536) of the current transparent file from an offset of 0 to [MaxOffset]. With
// 256 it reads as much as fits one response in short form, whatever there is.
func ReadBinary(offset, ne int) (Command, error) {
	if err := checkNe("READ BINARY", ne); err != nil {
		return Command{}, err
	}
	return binary(Command{INS: InsReadBinary, Ne: ne}, "READ BINARY", offset)
}

// ReadBinarySFI is [ReadBinary] for the file with the short identifier sfi (1 to 30), which becomes the current one;
// the offset is at most 255.
func ReadBinarySFI(sfi byte, offset, ne int) (Command, error) {
	if err := checkNe("READ BINARY", ne); err != nil {
		return Command{}, err
	}
	return binarySFI(Command{INS: InsReadBinary, Ne: ne}, "READ BINARY", sfi, offset)
}

// UpdateBinary writes data, at least one byte, to the current transparent file at an offset of 0 to [MaxOffset].
func UpdateBinary(offset int, data []byte) (Command, error) {
	if len(data) == 0 {
		return Command{}, invalidCommand("UPDATE BINARY: no data")
	}
	return binary(Command{INS: InsUpdateBinary, Data: data}, "UPDATE BINARY", offset)
}

// UpdateBinarySFI is [UpdateBinary] for the file with the short identifier sfi (1 to 30), which becomes the current one;
// the offset is at most 255.
func UpdateBinarySFI(sfi byte, offset int, data []byte) (Command, error) {
	if len(data) == 0 {
		return Command{}, invalidCommand("UPDATE BINARY: no data")
	}
	return binarySFI(Command{INS: InsUpdateBinary, Data: data}, "UPDATE BINARY", sfi, offset)
}

// ReadRecord reads up to ne bytes (1 to 65536) of one record. number is 1 to 254, or 0 for the current record. sfi is
// the short identifier of the file (1 to 30), or 0 for the current file.
func ReadRecord(number, sfi byte, ne int) (Command, error) {
	const byNumber = 0x04 // P1 is a record number, and that record alone is read
	if number == 0xFF {
		return Command{}, invalidCommand("READ RECORD: record number 255 is reserved")
	}
	if err := checkSFI("READ RECORD", sfi, 0); err != nil {
		return Command{}, err
	}
	if err := checkNe("READ RECORD", ne); err != nil {
		return Command{}, err
	}
	return Command{INS: InsReadRecord, P1: number, P2: sfi<<3 | byNumber, Ne: ne}, nil
}

// GetData reads the data object with the tag in the current file or application, up to ne bytes (1 to 65536). A tag of
// one byte is written as 0040 to 00FF, one of two bytes as it is, from 4000; 0100 to 01FF are numbers of the application
// and 0200 to 02FF tags of SIMPLE-TLV.
func GetData(tag uint16, ne int) (Command, error) {
	if err := checkNe("GET DATA", ne); err != nil {
		return Command{}, err
	}
	return Command{INS: InsGetData, P1: byte(tag >> 8), P2: byte(tag), Ne: ne}, nil
}
