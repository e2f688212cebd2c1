package virtual

// pinBlock is where and how the digits of a PIN stand in the data field of a command, as the structures of part 10 say
// in bits.
type pinBlock struct {
	format byte // bmFormatString
	block  byte // bmPINBlockString
	length byte // bmPINLengthFormat
}

// digitBits is the size of a digit, or 0 if the encoding is none.
func (b pinBlock) digitBits() int {
	switch b.format & 3 {
	case 0, 2: // binary, ASCII
		return 8
	case 1: // BCD
		return 4
	}
	return 0
}

// offset is where the block begins, in bits.
func (b pinBlock) offset() int {
	n := int(b.format >> 3 & 0xF)
	if b.format&0x80 != 0 {
		n *= 8
	}
	return n
}

func (b pinBlock) size() int { return int(b.block&0xF) * 8 }

// put writes digits into a data field, at a place in bytes, and returns it; a block without a size makes it as long as
// it has to be. It says false if they do not fit.
func (b pinBlock) put(data []byte, at int, digits []byte) ([]byte, bool) {
	bits := b.digitBits()
	if bits == 0 {
		return data, false
	}
	begin, n := at*8+b.offset(), len(digits)*bits
	if b.size() == 0 {
		data = append(data[:min(len(data), begin/8)], make([]byte, max(begin/8-len(data), 0)+(begin%8+n+7)/8)...)
	} else {
		// The block ends with the data field: programs give the size of the whole field in spite of an offset.
		end := min(begin+b.size(), len(data)*8)
		if n > end-begin {
			return data, false
		}
		if b.format&4 != 0 {
			begin = end - n
		}
	}
	for i, d := range digits {
		v := uint(d - '0')
		if b.format&3 == 2 {
			v = uint(d)
		}
		if !setBits(data, begin+i*bits, bits, v) {
			return data, false
		}
	}
	lengthBits := int(b.block >> 4)
	if lengthBits == 0 {
		return data, true
	}
	where := int(b.length & 0xF)
	if b.length&0x10 != 0 {
		where *= 8
	}
	return data, len(digits) < 1<<lengthBits && setBits(data, at*8+where, lengthBits, uint(len(digits)))
}

// setBits writes a number of so many bits, most significant first, and says false if it does not fit.
func setBits(data []byte, at, bits int, v uint) bool {
	if at+bits > len(data)*8 {
		return false
	}
	for i := range bits {
		bit := byte(0x80) >> ((at + i) % 8)
		data[(at+i)/8] &^= bit
		if v>>(bits-1-i)&1 != 0 {
			data[(at+i)/8] |= bit
		}
	}
	return true
}

// template is the client's command, into which the PIN goes.
type template struct {
	header []byte // CLA, INS, P1, P2
	data   []byte // the data field, padded
	le     []byte // Le, or nothing
}

// parseTemplate parts a command. It says false if it makes no sense; an extended length makes none to readers.
func parseTemplate(apdu []byte) (t template, ok bool) {
	switch {
	case len(apdu) < 4:
		return t, false
	case len(apdu) <= 5:
		return template{header: apdu[:4]}, len(apdu) == 4 || apdu[4] == 0
	}
	n := int(apdu[4])
	rest := apdu[5:]
	if n == 0 || len(rest) != n && len(rest) != n+1 {
		return t, false
	}
	return template{header: apdu[:4], data: rest[:n:n], le: rest[n:]}, true
}

// command puts the command together again. It says false if the data field is empty or too long.
func (t template) command() ([]byte, bool) {
	if len(t.data) == 0 || len(t.data) > 255 {
		return nil, false
	}
	c := append([]byte(nil), t.header...)
	c = append(c, byte(len(t.data)))
	c = append(c, t.data...)
	return append(c, t.le...), true
}
