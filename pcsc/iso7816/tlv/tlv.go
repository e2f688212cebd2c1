// Package tlv reads and writes BER-TLV data objects as ISO/IEC 7816-4 has them: a tag of one byte or more, a length of
// one to five, and a value, which for a constructed tag holds data objects itself.
//
//	objects, err := tlv.Decode(fci)
//	...
//	name, ok := tlv.Find(objects, 0x6F, 0x84)
//
// Lengths are definite; the indefinite form, which ISO/IEC 7816-4 does not have, is refused. A length in more bytes than
// it needs is taken when reading and never written, so that what is encoded again may be shorter than it was.
package tlv

import (
	"fmt"
	"iter"
	"slices"
)

// Tag is a tag by its bytes, as it is written: 0x84, 0x5F20, 0xDF8101. It has at most four.
type Tag uint32

// The parts of a tag (ISO/IEC 8825-1, identifier octets).
const (
	constructed = 0x20 // in the first byte
	long        = 0x1F // in the first byte: more bytes follow
	more        = 0x80 // in a further byte: another one follows
)

// bytes is the number of bytes.
func (t Tag) bytes() int {
	switch {
	case t > 0xFFFFFF:
		return 4
	case t > 0xFFFF:
		return 3
	case t > 0xFF:
		return 2
	}
	return 1
}

func (t Tag) first() byte { return byte(t >> (8 * (t.bytes() - 1))) }

// Constructed reports whether the value consists of data objects.
func (t Tag) Constructed() bool { return t.first()&constructed != 0 }

// Valid reports whether the bytes are one tag: not too many and not too few of them. 00 is none, as it is padding.
func (t Tag) Valid() bool {
	_, n, problem := readTag(t.append(nil))
	return problem == "" && n == t.bytes()
}

// String returns the tag in hexadecimal: "5F20".
func (t Tag) String() string { return fmt.Sprintf("%0*X", 2*t.bytes(), uint32(t)) }

func (t Tag) append(dst []byte) []byte {
	for i := t.bytes() - 1; i >= 0; i-- {
		dst = append(dst, byte(t>>(8*i)))
	}
	return dst
}

// readTag reads a tag from the beginning of data, which is not empty. problem is what is wrong with it.
func readTag(data []byte) (t Tag, n int, problem string) {
	t = Tag(data[0])
	if t == 0 {
		return 0, 0, "00 is padding and no tag"
	}
	if t&long != long {
		return t, 1, ""
	}
	for n = 1; ; n++ {
		switch {
		case n == len(data):
			return 0, 0, "the tag is cut off"
		case n == 4:
			return 0, 0, "the tag has more than 4 bytes"
		case n == 1 && data[n] == more:
			return 0, 0, "the tag begins with a superfluous byte"
		}
		t = t<<8 | Tag(data[n])
		if data[n]&more == 0 {
			return t, n + 1, ""
		}
	}
}

// readLength reads a length from the beginning of data.
func readLength(data []byte) (length uint32, n int, problem string) {
	if len(data) == 0 {
		return 0, 0, "the length is missing"
	}
	b := data[0]
	switch {
	case b < 0x80:
		return uint32(b), 1, ""
	case b == 0x80:
		return 0, 0, "the indefinite length is not supported"
	case b > 0x84:
		return 0, 0, fmt.Sprintf("%02X is not the beginning of a length of at most 4 bytes", b)
	}
	n = 1 + int(b&0x7F)
	if len(data) < n {
		return 0, 0, "the length is cut off"
	}
	for _, b := range data[1:n] {
		length = length<<8 | uint32(b)
	}
	return length, n, ""
}

func appendLength(dst []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n <= 0xFF:
		return append(dst, 0x81, byte(n))
	case n <= 0xFFFF:
		return append(dst, 0x82, byte(n>>8), byte(n))
	case n <= 0xFFFFFF:
		return append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// lengthBytes is the number of bytes that appendLength appends.
func lengthBytes(n int) int {
	switch {
	case n < 0x80:
		return 1
	case n <= 0xFF:
		return 2
	case n <= 0xFFFF:
		return 3
	case n <= 0xFFFFFF:
		return 4
	}
	return 5
}

// An Object is a data object. A constructed one has Objects, or if these are nil its content in Value, encoded.
type Object struct {
	Tag     Tag
	Value   []byte
	Objects []Object
}

// New makes a data object with a value. If the tag is constructed, value has to be encoded data objects already.
func New(tag Tag, value []byte) Object { return Object{Tag: tag, Value: value} }

// NewConstructed makes a data object that holds others. The tag has to be a constructed one.
func NewConstructed(tag Tag, objects ...Object) Object {
	if objects == nil {
		objects = []Object{}
	}
	return Object{Tag: tag, Objects: objects}
}

// Find follows a path of tags: the first object with the first tag, the first object in it with the second tag, and so
// on. If that leads nowhere, other objects of the same tags are tried. Without a path nothing is found.
func Find(objects []Object, path ...Tag) (Object, bool) {
	for o := range All(objects, path...) {
		return o, true
	}
	return Object{}, false
}

// All returns every object that a path of tags leads to, in order.
func All(objects []Object, path ...Tag) iter.Seq[Object] {
	return func(yield func(Object) bool) { all(objects, path, yield) }
}

func all(objects []Object, path []Tag, yield func(Object) bool) bool {
	if len(path) == 0 {
		return true
	}
	for _, o := range objects {
		switch {
		case o.Tag != path[0]:
		case len(path) == 1:
			if !yield(o) {
				return false
			}
		case !all(o.Objects, path[1:], yield):
			return false
		}
	}
	return true
}

// Find is the function [Find] on the objects within o.
func (o Object) Find(path ...Tag) (Object, bool) { return Find(o.Objects, path...) }

// maxLength is the largest length of encoded data objects; also that of an int where it has 32 bits.
const maxLength = 1<<31 - 1

// content is the length of the value; problem is what is wrong with the object, or with one in it.
func (o Object) content() (n int, problem string) {
	switch {
	case !o.Tag.Valid():
		return 0, fmt.Sprintf("%s is no tag", o.Tag)
	case o.Objects == nil:
		return len(o.Value), ""
	case !o.Tag.Constructed():
		return 0, fmt.Sprintf("tag %s is primitive and cannot hold data objects", o.Tag)
	case o.Value != nil:
		return 0, fmt.Sprintf("tag %s has both a value and data objects", o.Tag)
	}
	if n, problem = contents(o.Objects); problem != "" {
		return 0, fmt.Sprintf("in %s: %s", o.Tag, problem)
	}
	return n, ""
}

// contents is the length of the encoded objects, at most maxLength.
func contents(objects []Object) (n int, problem string) {
	for _, o := range objects {
		m, problem := o.content()
		if problem != "" {
			return 0, problem
		}
		head := o.Tag.bytes() + lengthBytes(m)
		if m > maxLength-head-n { // in this order, as an int may have 32 bits
			return 0, fmt.Sprintf("with tag %s the data objects have more than %d bytes", o.Tag, maxLength)
		}
		n += head + m
	}
	return n, ""
}

// Append appends the encoded objects to dst, with lengths as short as they can be, and returns the extended slice. The
// error is about an object that cannot be encoded; dst is then returned as it is.
func Append(dst []byte, objects ...Object) ([]byte, error) {
	n, problem := contents(objects)
	if problem != "" {
		return dst, fmt.Errorf("tlv: %s", problem)
	}
	return appendObjects(slices.Grow(dst, n), objects), nil
}

func appendObjects(dst []byte, objects []Object) []byte {
	for _, o := range objects {
		n, _ := o.content()
		dst = appendLength(o.Tag.append(dst), n)
		if o.Objects == nil {
			dst = append(dst, o.Value...)
		} else {
			dst = appendObjects(dst, o.Objects)
		}
	}
	return dst
}

// Encode is [Append] into a new slice.
func Encode(objects ...Object) ([]byte, error) {
	b, err := Append(nil, objects...)
	if err != nil {
		return nil, err
	}
	return b, nil
}
