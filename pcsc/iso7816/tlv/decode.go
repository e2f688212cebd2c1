package tlv

import (
	"fmt"
	"iter"
)

// SyntaxError says where data is no BER-TLV, and why.
type SyntaxError struct {
	Offset int // in bytes, from the beginning of all data
	Msg    string
}

// Error returns offset and reason on one line.
func (e *SyntaxError) Error() string { return fmt.Sprintf("tlv: offset %d: %s", e.Offset, e.Msg) }

// DefaultMaxDepth is how many data objects may lie within each other, unless [WithMaxDepth] says otherwise.
const DefaultMaxDepth = 16

type decoder struct {
	depth       int
	zeros, ones bool
	flat        bool
}

// Option changes how [Decode] and [Elements] read.
type Option func(*decoder)

// SkipZeros skips bytes of value 00 before, between and after data objects, which ISO/IEC 7816-4 allows there: in files
// they are the rest of erased objects.
func SkipZeros() Option { return func(d *decoder) { d.zeros = true } }

// SkipFF skips bytes of value FF before, between and after data objects: memory that was never written. Tags that begin
// with FF cannot be read then.
func SkipFF() Option { return func(d *decoder) { d.ones = true } }

// WithMaxDepth sets how many data objects may lie within each other, the outermost included; a value below 1 means
// [DefaultMaxDepth]. Beyond that decoding fails.
func WithMaxDepth(n int) Option {
	return func(d *decoder) {
		if n < 1 {
			n = DefaultMaxDepth
		}
		d.depth = n
	}
}

// Flat leaves the content of constructed objects in Value, for cards that put something else there.
func Flat() Option { return func(d *decoder) { d.flat = true } }

func newDecoder(opts []Option) *decoder {
	d := &decoder{depth: DefaultMaxDepth}
	for _, opt := range opts {
		if opt != nil {
			opt(d)
		}
	}
	return d
}

// Decode reads all data objects of data, and those within them. Values refer to the memory of data. The error is a
// [*SyntaxError]; with it comes nothing.
func Decode(data []byte, opts ...Option) ([]Object, error) {
	d := newDecoder(opts)
	return d.objects(data, 0, d.depth)
}

func (d *decoder) objects(data []byte, base, depth int) ([]Object, error) {
	objects := []Object{}
	for e, err := range d.elements(data, base) {
		if err != nil {
			return nil, err
		}
		if depth == 0 {
			return nil, &SyntaxError{e.Offset, fmt.Sprintf("tag %s lies within %d others, which is the limit", e.Tag, d.depth)}
		}
		o := Object{Tag: e.Tag, Value: e.Value}
		if !d.flat && e.Tag.Constructed() {
			inner, err := d.objects(e.Value, e.Offset+len(e.Raw)-len(e.Value), depth-1)
			if err != nil {
				return nil, err
			}
			o = Object{Tag: e.Tag, Objects: inner}
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// An Element is a data object as it stands in data, not looked into.
type Element struct {
	Tag    Tag
	Value  []byte
	Raw    []byte // tag, length and value
	Offset int    // of Raw in data
}

// Elements returns the data objects of data one after the other, without looking into constructed ones: Elements of a
// Value does that. It ends with the first error, a [*SyntaxError].
func Elements(data []byte, opts ...Option) iter.Seq2[Element, error] {
	return newDecoder(opts).elements(data, 0)
}

func (d *decoder) elements(data []byte, base int) iter.Seq2[Element, error] {
	return func(yield func(Element, error) bool) {
		for at := 0; ; {
			for at < len(data) && (d.zeros && data[at] == 0x00 || d.ones && data[at] == 0xFF) {
				at++
			}
			if at == len(data) {
				return
			}
			e, fault := element(data[at:])
			if fault != nil {
				fault.Offset += base + at
				yield(Element{}, fault)
				return
			}
			e.Offset = base + at
			at += len(e.Raw)
			if !yield(e, nil) {
				return
			}
		}
	}
}

// element reads the data object at the beginning of data, which is not empty.
func element(data []byte) (e Element, fault *SyntaxError) {
	tag, t, problem := readTag(data)
	if problem != "" {
		return e, &SyntaxError{0, problem}
	}
	length, l, problem := readLength(data[t:])
	if problem != "" {
		return e, &SyntaxError{t, fmt.Sprintf("tag %s: %s", tag, problem)}
	}
	head := t + l
	if left := len(data) - head; uint64(length) > uint64(left) {
		return e, &SyntaxError{t, fmt.Sprintf("tag %s: the length is %d, more than the %d that are left", tag, length, left)}
	}
	end := head + int(length)
	return Element{Tag: tag, Value: data[head:end:end], Raw: data[:end:end]}, nil
}
