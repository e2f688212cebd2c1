// Package gen turns the spec into Go: Resolve makes a Model in which no name is left to look up, Emit makes the
// files from it, and Write or Check bring them to the tree.
package gen

import (
	"github.com/gopcsc/gopcsc/spec"
)

// Model is the spec with every reference resolved and every layout computed. All emitters read it and nothing else.
type Model struct {
	Platforms []*Platform
	ABIs      []*ABI
	Scalars   []*Scalar
	Structs   []*Struct
	Functions []*Function
	Groups    []*Group
	Codes     []*Code
	Classes   []*Named
	Attrs     []*Attribute
	CtlCode   *spec.CtlCode
	Controls  []*Named
	Features  []*Named
	Props     []*Property
	Statuses  []*Status
	Protocol  *Protocol // nil if the spec has none
	Messages  []*Message
	Commands  []*Command
}

// Platform is an implementation of PC/SC.
type Platform struct {
	*spec.Platform
	Constraint string // the //go:build expression of its operating systems
}

// ABI is a platform at one pointer width.
type ABI struct {
	Platform *Platform
	Bits     int
	Name     string // pcsclite64
}

// Scalar is a C integer type.
type Scalar struct {
	*spec.Scalar
	Headers map[string]bool // platforms whose headers define it
}

// Width returns the size of the type in bytes under an ABI, and whether it is signed.
func (s *Scalar) Width(a *ABI) (size int, signed bool) {
	kind, _ := s.C.For(a.Platform.Name)
	return width(kind, a.Bits)
}

func width(kind string, bits int) (size int, signed bool) {
	switch kind {
	case "u8":
		return 1, false
	case "u16":
		return 2, false
	case "u32":
		return 4, false
	case "i32":
		return 4, true
	case "u64":
		return 8, false
	case "i64":
		return 8, true
	case "long":
		return bits / 8, true
	default: // ulong, uptr, and pointers
		return bits / 8, false
	}
}

// Struct is a C structure with its layout under every ABI.
type Struct struct {
	*spec.Struct
	Fields  []*Field
	Layouts map[string]*Layout // by ABI name
}

// Field is a field of a structure.
type Field struct {
	*spec.Field
	Scalar *Scalar // nil for text and pointer
}

// Layout is where the fields of a structure lie.
type Layout struct {
	Size, Align int
	Offsets     []int
	Sizes       []int // of one element, for an array
	Lens        []int // number of elements; 1 for what is not an array
}

// Arg is a C parameter.
type Arg struct {
	*spec.Param
	Scalar *Scalar
	Struct *Struct
	// Buffer is the parameter that a length belongs to.
	Buffer *Arg
	// Length, Cap and OutLen are the length parameters of a buffer; for an in and out length all are the same.
	Length, Cap, OutLen *Arg
}

// Var is a parameter or result of the Go method.
type Var struct {
	Name string
	Type string // in package winscard
	Arg  *Arg
}

// Function is a PC/SC function with its Go signature.
type Function struct {
	*spec.Function
	Symbols  map[string]string // by platform; those that have it
	Args     []*Arg
	Params   []*Var // of the Go method, the receiver's handle first
	Results  []*Var // without the code
	TextOnly bool   // returns a string
	// Declared are the platforms whose headers declare it.
	Declared map[string]bool
}

// On reports whether the platform has the function.
func (f *Function) Available(platform string) bool { _, ok := f.Symbols[platform]; return ok }

// Named is a constant with one value.
type Named struct {
	Name, Go, Doc string
	Value         map[string]spec.Int // by platform: value of the Go constant
	Native        map[string]spec.Int // by platform: value in the header, where the header has it
	Guard         map[string]bool     // by platform: assert only if the header defines it
	Headers       map[string]bool     // platforms whose headers define it
	Sources       []string
	Str           *string
	Text          string
	Implies       []*Named
	Same          string
	File          string
}

// Constants are all constants of C: those of the groups, codes, attributes and what belongs to part 10.
func (m *Model) Constants() (all []*Named) {
	for _, g := range m.Groups {
		all = append(all, g.Values...)
	}
	for _, n := range m.Codes {
		all = append(all, &n.Named)
	}
	all = append(all, m.Classes...)
	for _, n := range m.Attrs {
		all = append(all, &n.Named)
	}
	all = append(all, m.Controls...)
	all = append(all, m.Features...)
	for _, n := range m.Props {
		all = append(all, &n.Named)
	}
	return all
}

// Uniform reports whether the constant has one value everywhere.
func (n *Named) Uniform(platforms []*Platform) bool {
	var first *spec.Int
	for _, p := range platforms {
		v, ok := n.Value[p.Name]
		if !ok {
			return false
		}
		if first == nil {
			first = &v
		} else if first.Value != v.Value {
			return false
		}
	}
	return true
}

// Group is a set of constants of one Go type.
type Group struct {
	*spec.Group
	Values []*Named
}

// Code is a return code.
type Code struct {
	Named
	Hint       string
	IsCodes    []string // Go names
	IsDeadline bool
	IsNoSys    bool // errors.ErrUnsupported
	Own        bool
}

// Attribute is a reader attribute.
type Attribute struct {
	Named
	Decode, Access, Unit string
}

// Property is a part 10 TLV property.
type Property struct {
	Named
	Decode, Unit string
}

// Status is a status word of ISO/IEC 7816-4, or a range of them.
type Status struct {
	*spec.StatusWord
	First, Last uint16
	IsWords     []string // Go names
	IsNoSys     bool     // errors.ErrUnsupported
}

// Protocol is pcscd's socket protocol.
type Protocol struct {
	*spec.Protocol
	Data int // the most data after a message, in bytes
}

// Message is a structure of the socket protocol.
type Message struct {
	*spec.Message
	Fields []*MessageField
	Bytes  int
	// RequestData and ReplyData are the fields that tell the length of what follows, nil if nothing does, and Result is
	// the one that says whether a reply has data.
	RequestData, ReplyData, Result *MessageField
}

// MessageField is a field of a structure of the socket protocol, with its place in bytes.
type MessageField struct {
	*spec.MessageField
	Offset, Size int
}

// Command is a command of the socket protocol.
type Command struct {
	*spec.Command
	First, Last           spec.Int // the minor versions that have it, and that have its reply
	Request, Reply, Event *Message // nil if there is none
	Count                 int      // of messages in the reply; negative if another command tells it
}
