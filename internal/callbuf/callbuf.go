// Package callbuf is the memory of one call into C: its strings, in the form that C takes, and its arrays.
//
// A Buffer lives on the heap and is used again, so that calls allocate nothing. Strings are appended first and their
// addresses taken when all are in, as appending can move them.
package callbuf

import (
	"unsafe"

	"github.com/gopcsc/gopcsc/internal/cstring"
)

// Null is the offset of a string that is passed as NULL.
const Null = -1

// keep is how much memory a buffer keeps for its next use, in bytes. What a call with names of unusual length needed
// is given back.
const keep = 64 << 10

// Buffer is the memory of one call.
type Buffer struct {
	text []byte
	wide []uint16
	out  []uint16
	// words is what Arena hands out: 64-bit words, so that structures in it are aligned.
	words []uint64
}

// Reset makes the buffer ready for the next call.
func (b *Buffer) Reset() {
	b.text = reuse(b.text, 1)
	b.wide = reuse(b.wide, 2)
	b.out = reuse(b.out, 2)
	b.words = reuse(b.words, 8)
}

func reuse[T any](s []T, size int) []T {
	if cap(s)*size > keep {
		return nil
	}
	return s[:0]
}

// Text appends a string and returns its offset. It reports false for one that C cannot take.
func (b *Buffer) Text(s string) (off int, ok bool) {
	off = len(b.text)
	var err error
	b.text, err = cstring.Append(b.text, s)
	return off, err == nil
}

// Texts appends a multi-string; no string at all is passed as NULL.
func (b *Buffer) Texts(list []string) (off int, ok bool) {
	if len(list) == 0 {
		return Null, true
	}
	off = len(b.text)
	var err error
	b.text, err = cstring.AppendMulti(b.text, list)
	return off, err == nil
}

// WideText is Text in UTF-16.
func (b *Buffer) WideText(s string) (off int, ok bool) {
	off = len(b.wide)
	var err error
	b.wide, err = cstring.AppendUTF16(b.wide, s)
	return off, err == nil
}

// WideTexts is Texts in UTF-16.
func (b *Buffer) WideTexts(list []string) (off int, ok bool) {
	if len(list) == 0 {
		return Null, true
	}
	off = len(b.wide)
	var err error
	b.wide, err = cstring.AppendMultiUTF16(b.wide, list)
	return off, err == nil
}

// TextPtr returns the address of a string.
func (b *Buffer) TextPtr(off int) unsafe.Pointer {
	if off == Null {
		return nil
	}
	return unsafe.Pointer(&b.text[off])
}

// WidePtr returns the address of a string in UTF-16.
func (b *Buffer) WidePtr(off int) unsafe.Pointer {
	if off == Null {
		return nil
	}
	return unsafe.Pointer(&b.wide[off])
}

// utf8PerUnit is the most bytes of UTF-8 that one UTF-16 unit becomes.
const utf8PerUnit = 3

// WideOut provides for a string that C writes in UTF-16 and that Narrow shall bring into n bytes: as many units as
// are sure to fit. A capacity of 0 goes with NULL, by which C is asked for the length.
func (b *Buffer) WideOut(n int) (p unsafe.Pointer, units int) {
	units = n / utf8PerUnit
	if units == 0 {
		return nil, 0
	}
	if cap(b.out) < units {
		b.out = make([]uint16, units)
	}
	b.out = b.out[:units]
	return unsafe.Pointer(&b.out[0]), units
}

// Narrow brings the first units that C wrote into dst as UTF-8 and returns the number of bytes. Where there was no
// room to write any, it returns the number that is sure to be enough.
func (b *Buffer) Narrow(dst []byte, units int) int {
	if len(b.out) == 0 || units > len(b.out) {
		return units * utf8PerUnit
	}
	return len(cstring.AppendUTF8(dst[:0], b.out[:units]))
}

// WideLen returns the length in bytes that a length in units asks for.
func WideLen(units int) int { return units * utf8PerUnit }

// Arena returns n bytes of memory, set to zero and aligned for any structure.
func (b *Buffer) Arena(n int) []byte {
	words := (n + 7) / 8
	if words == 0 {
		return nil
	}
	if cap(b.words) < words {
		b.words = make([]uint64, words)
	}
	b.words = b.words[:words]
	clear(b.words)
	return unsafe.Slice((*byte)(unsafe.Pointer(&b.words[0])), n)
}
