package gen

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/dave/jennifer/jen"
)

// emitPart10 emits the structures of part 10, as what they are on the wire, and its TLV properties. Both are the same
// on every platform, so there are no constraints. The structures have a package of their own, for both ends of the wire.
func emitPart10(m *Model) ([]File, error) {
	var files []*goFile
	raw := newFile(part10Path, "zpart10.go", "", "features", "types")
	empty := true
	for _, s := range m.Structs {
		if s.Pack == nil || usedByStates(m, s) {
			continue // its layout is the platform's, and the backends' business
		}
		l, err := onlyLayout(m, s)
		if err != nil {
			return nil, err
		}
		if l == nil {
			continue
		}
		empty = false
		rawStruct(raw, s, l)
	}
	if len(m.Props) > 0 {
		empty = false
		propertySizes(raw, m.Props)
		f := newFile(pcscPath, "zpart10.go", "", "features")
		properties(f, m.Props)
		files = append(files, f)
	}
	if !empty {
		files = append(files, raw)
	}
	return renderAll(files...)
}

// onlyLayout returns the layout that a structure has under every ABI whose headers have it.
func onlyLayout(m *Model, s *Struct) (*Layout, error) {
	var only *Layout
	for _, abi := range m.ABIs {
		l := s.Layouts[abi.Name]
		switch {
		case l == nil:
		case only == nil:
			only = l
		case !reflect.DeepEqual(only, l):
			return nil, fmt.Errorf("gen: %s: its layout under %s is another than elsewhere, though it has a packing of its own: "+
				"give its fields types of fixed width", s.Name, abi.Name)
		}
	}
	return only, nil
}

// rawStruct emits a structure with its encoder and decoder:
//
//	const TLVSize = 6
//
//	type TLV struct {
//		Tag   byte
//		Value uint32
//	}
//
//	func (s *TLV) AppendTo(b []byte) []byte {
//		at := len(b)
//		b = append(b, make([]byte, TLVSize)...)
//		p := b[at:]
//		p[0] = s.Tag
//		binary.BigEndian.PutUint32(p[2:], s.Value)
//		return b
//	}
//
//	func (s *TLV) Decode(b []byte) bool { … }
func rawStruct(f *goFile, s *Struct, l *Layout) {
	name := s.Go
	order := map[string]string{"big": "BigEndian", "little": "LittleEndian"}[s.Order]
	if order == "" {
		order = "NativeEndian"
	}
	put := func(size int) *jen.Statement {
		return jen.Qual(binaryPath, order).Dot(fmt.Sprintf("PutUint%d", 8*size))
	}
	get := func(size int) *jen.Statement {
		return jen.Qual(binaryPath, order).Dot(fmt.Sprintf("Uint%d", 8*size))
	}
	p := func(at int) *jen.Statement { return jen.Id("p").Index(jen.Lit(at).Op(":")) }
	b := func(at int) *jen.Statement { return jen.Id("b").Index(jen.Lit(at).Op(":")) }

	var fields, encode, decode []jen.Code
	tail := ""
	for i, fd := range s.Fields {
		at, size := l.Offsets[i], l.Sizes[i]
		field := jen.Id("s").Dot(fd.Go)
		fields = append(fields, comments(fmt.Sprintf("%s (%s): %s", fd.Go, fd.Name, fd.Doc))...)
		switch {
		case fd.Tail:
			tail = fd.Go
			fields = append(fields, jen.Id(fd.Go).Index().Byte())
			decode = append(decode, field.Clone().Op("=").Add(b(at)))
		case l.Lens[i] > 1:
			fields = append(fields, jen.Id(fd.Go).Index(jen.Lit(l.Lens[i])).Byte())
			encode = append(encode, jen.Copy(p(at), field.Clone().Index(jen.Op(":"))))
			decode = append(decode, jen.Copy(field.Clone().Index(jen.Op(":")), b(at)))
		case size == 1:
			fields = append(fields, jen.Id(fd.Go).Byte())
			encode = append(encode, jen.Id("p").Index(jen.Lit(at)).Op("=").Add(field.Clone()))
			decode = append(decode, field.Clone().Op("=").Id("b").Index(jen.Lit(at)))
		default:
			fields = append(fields, jen.Id(fd.Go).Id(fmt.Sprintf("uint%d", 8*size)))
			encode = append(encode, put(size).Call(p(at), field.Clone()))
			decode = append(decode, field.Clone().Op("=").Add(get(size).Call(b(at))))
		}
	}
	size, end := "", jen.Return(jen.Id("b"))
	if tail != "" {
		size = ", without " + tail
		end = jen.Return(jen.Append(jen.Id("b"), jen.Id("s").Dot(tail).Op("...")))
	}

	f.doc("%sSize is the size of %s in bytes%s.", name, s.Name, size)
	f.Const().Id(name + "Size").Op("=").Lit(l.Size)
	f.Line()
	f.doc("%s is %s. %s", name, s.Name, s.Doc)
	f.Type().Id(name).Struct(fields...)
	f.Line()
	f.doc("AppendTo appends the structure as it is in memory in C.")
	body := []jen.Code{
		jen.Id("at").Op(":=").Len(jen.Id("b")),
		jen.Id("b").Op("=").Append(jen.Id("b"), jen.Make(jen.Index().Byte(), jen.Id(name+"Size")).Op("...")),
		jen.Id("p").Op(":=").Id("b").Index(jen.Id("at").Op(":")),
	}
	f.Func().Params(jen.Id("s").Op("*").Id(name)).Id("AppendTo").Params(jen.Id("b").Index().Byte()).Index().Byte().Block(
		append(append(body, encode...), end)...)
	f.Line()
	f.doc("Decode reads the structure, or says that b is too short.")
	body = []jen.Code{jen.If(jen.Len(jen.Id("b")).Op("<").Id(name + "Size")).Block(jen.Return(jen.False()))}
	f.Func().Params(jen.Id("s").Op("*").Id(name)).Id("Decode").Params(jen.Id("b").Index().Byte()).Bool().Block(
		append(append(body, decode...), jen.Return(jen.True()))...)
	f.Line()
}

// propertySizes emits how many bytes the numbers among the TLV properties have:
//
//	var PropertySizes = map[winscard.Property]int{
//		winscard.PropertyLines: 2,
//	}
func propertySizes(f *goFile, props []*Property) {
	var sizes []jen.Code
	for _, p := range props {
		if size := map[string]int{"uint8": 1, "uint16": 2, "uint32": 4}[p.Decode]; size > 0 {
			sizes = append(sizes, jen.Line().Qual(winscardPath, p.Go).Op(":").Lit(size))
		}
	}
	f.doc("PropertySizes has the TLV properties that are numbers, and how many bytes each has.")
	f.Var().Id("PropertySizes").Op("=").Map(jen.Qual(winscardPath, "Property")).Int().Values(append(sizes, jen.Line())...)
}

// properties emits the TLV properties as a structure, and what sets a field of it:
//
//	type Properties struct {
//		MinPINSize byte
//	}
//
//	func (p *Properties) set(tag Property, value []byte) bool {
//		switch tag {
//		case PropertyMinPINSize:
//			return setUint(&p.MinPINSize, value)
//		}
//		return false
//	}
func properties(f *goFile, props []*Property) {
	var fields, cases []jen.Code
	for _, p := range props {
		name := strings.TrimPrefix(p.Go, "Property")
		doc := fmt.Sprintf("%s (%s): %s", name, p.Name[strings.LastIndex(p.Name, "_")+1:], p.Doc)
		if p.Unit != "" {
			doc += " Unit: " + p.Unit + "."
		}
		fields = append(fields, comments(doc)...)
		setter := "setUint"
		switch p.Decode {
		case "string":
			setter = "setText"
			fields = append(fields, jen.Id(name).String())
		case "uint8":
			fields = append(fields, jen.Id(name).Byte())
		default:
			fields = append(fields, jen.Id(name).Id(p.Decode))
		}
		cases = append(cases, jen.Case(jen.Id(p.Go)).Block(
			jen.Return(jen.Id(setter).Call(jen.Op("&").Id("p").Dot(name), jen.Id("value")))))
	}
	fields = append(fields, jen.Line(), jen.Id("given").Index().Id("givenProperty"))
	f.doc("Properties are the TLV properties of a reader. A property that it did not give is zero; see Has.")
	f.Type().Id("Properties").Struct(fields...)
	f.Line()
	f.doc("set sets the field of a property. It says false if there is none, or if the value is not what it should be.")
	f.Func().Params(jen.Id("p").Op("*").Id("Properties")).Id("set").Params(
		jen.Id("tag").Id("Property"), jen.Id("value").Index().Byte()).Bool().Block(
		jen.Switch(jen.Id("tag")).Block(cases...),
		jen.Return(jen.False()))
}
