package cstub

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf16"
)

// Function is a function that Windows alone has. The library checks its arguments, notes what it was given, and answers
// what [Answer] told it.
type Function struct {
	Name    string // among the counters
	Symbol  string
	Method  string // of a backend
	Returns string // handle or void; else a code
	Args    []Arg
}

// Arg is an argument of a [Function], as the spec describes it.
type Arg struct {
	Name, Role string
	Of         string // the buffer that a length belongs to, or a mask is as long as
	Size       int    // of an in_atr
}

// Func is the function's number.
func (f *Function) Func() Func {
	for i := range WindowsFunctions {
		if WindowsFunctions[i].Name == f.Name {
			return FuncStringifyError + 1 + Func(i)
		}
	}
	panic("cstub: no function " + f.Name)
}

// WindowsFunction finds a function by the method of a backend.
func WindowsFunction(method string) *Function {
	for i := range WindowsFunctions {
		if WindowsFunctions[i].Method == method {
			return &WindowsFunctions[i]
		}
	}
	panic("cstub: no function for " + method)
}

// Answer makes a function give value for its argument of that number, counted from 0: the bytes that the caller finds,
// a number as [Number] has it. For states it is the event state of each reader. An event is set by the answer [Number](1)
// for 0, not set by 0, and there is none by 2, for the reason 5. The handle that was given is noted as a number, "event".
func Answer(f *Function, arg int, value []byte) Setting {
	return Setting{AttrAnswer, append(fmt.Appendf(nil, "%s %d\n", f.Name, arg), value...)}
}

// Number is a DWORD in memory.
func Number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// Units are the units of UTF-16 of a text in memory, without a NUL.
func Units(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.NativeEndian.AppendUint16(b, u)
	}
	return b
}

// Record is what [AttrLast] says of a call: what the library notes of each argument, in their order.
type Record struct{ strings.Builder }

// Number notes a number.
func (r *Record) Number(arg string, n uint32) { fmt.Fprintf(r, " %s=%d", arg, n) }

// NULL notes a pointer that is NULL.
func (r *Record) NULL(arg string) { fmt.Fprintf(r, " %s=NULL", arg) }

// Text notes a text, which is never NULL.
func (r *Record) Text(arg, s string) { r.data(arg, Units(s)) }

// Texts notes a list of texts; none is NULL.
func (r *Record) Texts(arg string, list []string) {
	if len(list) == 0 {
		r.NULL(arg)
		return
	}
	r.data(arg, Units(strings.Join(list, "\x00")+"\x00"))
}

// Bytes notes bytes; none are NULL.
func (r *Record) Bytes(arg string, b []byte) {
	if len(b) == 0 {
		r.NULL(arg)
		return
	}
	r.data(arg, b)
}

// recordWhole is how many bytes are noted whole.
const recordWhole = 96

func (r *Record) data(arg string, b []byte) {
	if len(b) <= recordWhole {
		fmt.Fprintf(r, " %s=%x", arg, b)
		return
	}
	h := fnv.New64a()
	h.Write(b)
	fmt.Fprintf(r, " %s=#%d:%016x", arg, len(b), h.Sum64())
}
