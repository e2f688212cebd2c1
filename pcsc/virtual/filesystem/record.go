package filesystem

import (
	"bytes"
	"slices"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

// The lower three bits of P2 (ISO/IEC 7816-4, commands for record handling): how P1 says which record is meant.
const (
	firstRecord    = 0
	lastRecord     = 1
	nextRecord     = 2
	previousRecord = 3
	byNumber       = 4
	fromNumber     = 5 // all from that one to the last
	toNumber       = 6 // all from the last to that one
)

var recordStructures = []Structure{LinearFixed, LinearVariable, Cyclic}

// records finds the file of a record command, if it may do what takes the condition.
func (c *Card) records(cmd iso7816.Command, condition func(*file) Condition) (*file, iso7816.StatusWord) {
	f, sw := c.current(cmd.P2 >> 3)
	if sw != iso7816.Success {
		return nil, sw
	}
	return f, f.allowed(condition(f), recordStructures...)
}

func reading(f *file) Condition  { return f.Read }
func updating(f *file) Condition { return f.Update }

// numbered returns the number of the record that P1 means: 0 is the current one.
func (c *Card) numbered(f *file, p1 byte) (int, iso7816.StatusWord) {
	n := int(p1)
	if n == 0 {
		n = c.at.record
	}
	if n < 1 || n > len(f.Records) {
		return 0, iso7816.ErrRecordNotFound
	}
	return n, iso7816.Success
}

// found returns the number of the first, last, next or previous record of those that have the identifier in their first
// byte; with identifier 0, of all.
func (c *Card) found(f *file, mode, identifier byte) (int, iso7816.StatusWord) {
	fits := func(i int) bool {
		r := f.Records[i-1]
		return identifier == 0 || len(r) > 0 && r[0] == identifier
	}
	last := len(f.Records)
	i, step := 1, 1
	switch mode {
	case lastRecord:
		i, step = last, -1
	case nextRecord:
		i = c.at.record + 1
	case previousRecord:
		i, step = c.at.record-1, -1
		if c.at.record == 0 {
			i = last
		}
	}
	for ; i >= 1 && i <= last; i += step {
		if fits(i) {
			return i, iso7816.Success
		}
	}
	return 0, iso7816.ErrRecordNotFound
}

func (c *Card) readRecord(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	f, sw := c.records(cmd, reading)
	switch {
	case sw != iso7816.Success:
		return nil, sw
	case cmd.P1 == 0xFF:
		return nil, iso7816.ErrIncorrectP1P2
	case len(cmd.Data) > 0 || cmd.Ne == 0:
		return nil, iso7816.ErrWrongLength
	}
	mode := cmd.P2 & 7
	if mode < byNumber {
		n, sw := c.found(f, mode, cmd.P1)
		if sw != iso7816.Success {
			return nil, sw
		}
		c.at.record = n
		return bytes.Clone(f.Records[n-1]), iso7816.Success
	}
	n, sw := c.numbered(f, cmd.P1)
	switch {
	case sw != iso7816.Success:
		return nil, sw
	case mode == byNumber:
		return bytes.Clone(f.Records[n-1]), iso7816.Success
	case mode == fromNumber:
		return bytes.Join(f.Records[n-1:], nil), iso7816.Success
	case mode == toNumber:
		all := slices.Clone(f.Records[n-1:])
		slices.Reverse(all)
		return bytes.Join(all, nil), iso7816.Success
	}
	return nil, iso7816.ErrIncorrectP1P2
}

// fits says whether data can be a record.
func (f *file) fits(data []byte) iso7816.StatusWord {
	switch n := len(data); {
	case n == 0, f.Structure != LinearVariable && n != f.RecordSize:
		return iso7816.ErrWrongLength
	case n > f.RecordSize:
		return iso7816.ErrNotEnoughMemory
	}
	return iso7816.Success
}

func (c *Card) updateRecord(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	f, sw := c.records(cmd, updating)
	if sw == iso7816.Success {
		sw = f.fits(cmd.Data)
	}
	mode := cmd.P2 & 7
	switch {
	case sw != iso7816.Success:
		return nil, sw
	case cmd.P1 == 0xFF, mode > byNumber, mode < byNumber && cmd.P1 != 0:
		return nil, iso7816.ErrIncorrectP1P2
	case mode == previousRecord && f.Structure == Cyclic:
		return nil, c.add(f, cmd.Data)
	}
	var n int
	if mode == byNumber {
		n, sw = c.numbered(f, cmd.P1)
	} else if n, sw = c.found(f, mode, 0); sw == iso7816.Success {
		c.at.record = n
	}
	if sw != iso7816.Success {
		return nil, sw
	}
	f.Records[n-1] = bytes.Clone(cmd.Data)
	return nil, iso7816.Success
}

func (c *Card) appendRecord(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	f, sw := c.records(cmd, updating)
	if sw == iso7816.Success {
		sw = f.fits(cmd.Data)
	}
	switch {
	case sw != iso7816.Success:
		return nil, sw
	case cmd.P1 != 0 || cmd.P2&7 != 0:
		return nil, iso7816.ErrIncorrectP1P2
	}
	return nil, c.add(f, cmd.Data)
}

// add adds a record, which becomes the current one: at the end, or at the beginning of a cyclic file, where the oldest
// one makes room for it.
func (c *Card) add(f *file, data []byte) iso7816.StatusWord {
	full := len(f.Records) == f.MaxRecords
	switch {
	case f.Structure == Cyclic:
		if full {
			f.Records = f.Records[:f.MaxRecords-1]
		}
		f.Records = slices.Insert(f.Records, 0, bytes.Clone(data))
		c.at.record = 1
	case full:
		return iso7816.ErrNotEnoughMemory
	default:
		f.Records = append(f.Records, bytes.Clone(data))
		c.at.record = len(f.Records)
	}
	return iso7816.Success
}
