package gen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dave/jennifer/jen"
)

// attributeDecoders are, for each way to decode an attribute, the function of package pcsc that does so, and what it
// returns.
var attributeDecoders = map[string]struct {
	decoder string
	typ     *jen.Statement
}{
	"atr":       {"decodeATR", jen.Index().Byte()},
	"bool8":     {"decodeBool", jen.Bool()},
	"bytes":     {"decodeBytes", jen.Index().Byte()},
	"channel":   {"decodeChannel", jen.Id("Channel")},
	"protocols": {"decodeProtocols", jen.Id("Protocol")},
	"string":    {"decodeString", jen.String()},
	"uint8":     {"decodeUint8", jen.Uint8()},
	"uint32":    {"decodeUint32", jen.Uint32()},
	"utf16":     {"decodeUTF16", jen.String()},
	"version":   {"decodeVersion", jen.Id("Version")},
}

// emitAttributes emits what reads and decodes the attributes: a table of them, the way to decode each, and a method
// for each on Card and on Transaction.
//
// An attribute that can be written too is not among them, as reading it may do something, nor is another name for one
// that is, nor one that not every platform has.
func emitAttributes(m *Model) ([]File, error) {
	var list []*Attribute
	for _, a := range m.Attrs {
		if a.Access != "r" || a.Same != "" || len(a.Value) != len(m.Platforms) {
			continue
		}
		if _, ok := attributeDecoders[a.Decode]; !ok {
			return nil, fmt.Errorf("gen: %s: decode %s is not emitted yet", a.Name, a.Decode)
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, nil
	}
	f := newFile(pcscPath, "zapi_attributes.go", "", "attributes")
	attributeTable(f, list)
	attributeSwitch(f, list)
	for _, a := range list {
		attributeMethod(f, a, "c", "Card")
		attributeMethod(f, a, "t", "Transaction")
	}
	return renderAll(f)
}

// attributeTable emits the attributes that Card.Attributes asks for:
//
//	var readableAttributes = [...]readableAttribute{
//		{AttrMaxClk, "kHz"},
//	}
func attributeTable(f *goFile, list []*Attribute) {
	f.doc("readableAttributes are the attributes that can be read, with their units.")
	f.Var().Id("readableAttributes").Op("=").Index(jen.Op("...")).Id("readableAttribute").Values(
		jen.CustomFunc(jen.Options{Open: "\n", Close: ",\n", Separator: ",\n"}, func(g *jen.Group) {
			for _, a := range list {
				g.Values(jen.Id(a.Go), jen.Lit(a.Unit))
			}
		}))
	f.Line()
}

// attributeSwitch emits the decoding of a value when the attribute is known at run time only:
//
//	func decodeAttribute(id Attribute, raw []byte) (any, error) {
//		switch id {
//		case AttrMaxClk:
//			return decodeUint32(raw)
//		default:
//			return decodeBytes(raw)
//		}
//	}
func attributeSwitch(f *goFile, list []*Attribute) {
	by := map[string][]jen.Code{}
	var kinds []string
	for _, a := range list {
		if a.Decode == "bytes" {
			continue
		}
		if by[a.Decode] == nil {
			kinds = append(kinds, a.Decode)
		}
		by[a.Decode] = append(by[a.Decode], jen.Id(a.Go))
	}
	slices.Sort(kinds)
	var cases []jen.Code
	for _, kind := range kinds {
		ids := by[kind]
		if len(ids) > 4 { // one a line
			for i := range ids {
				ids[i] = jen.Line().Add(ids[i])
			}
		}
		cases = append(cases, jen.Case(ids...).Block(
			jen.Return(jen.Id(attributeDecoders[kind].decoder).Call(jen.Id("raw")))))
	}
	cases = append(cases, jen.Default().Block(jen.Return(jen.Id("decodeBytes").Call(jen.Id("raw")))))
	f.doc("decodeAttribute decodes the value of an attribute.")
	f.Func().Id("decodeAttribute").Params(jen.Id("id").Id("Attribute"), jen.Id("raw").Index().Byte()).
		Params(jen.Any(), jen.Error()).Block(jen.Switch(jen.Id("id")).Block(cases...))
	f.Line()
}

// attributeMethod emits the method that reads an attribute:
//
//	func (c *Card) MaxClk(ctx context.Context) (uint32, error) {
//		defer runtime.KeepAlive(c)
//		return readAttribute(ctx, c.target(), AttrMaxClk, decodeUint32)
//	}
func attributeMethod(f *goFile, a *Attribute, recv, on string) {
	name := strings.TrimPrefix(a.Go, "Attr")
	d := attributeDecoders[a.Decode]
	if on == "Card" {
		doc := fmt.Sprintf("%s reads %s. %s", name, a.Go, a.Doc)
		if a.Unit != "" {
			doc += " Unit: " + a.Unit + "."
		}
		f.doc("%s It blocks as [Card.GetAttrib] does. The error is errors.ErrUnsupported if the reader does not have it.", doc)
	} else {
		f.doc("%s is [Card.%s] in the transaction.", name, name)
	}
	f.Func().Params(jen.Id(recv).Op("*").Id(on)).Id(name).Params(jen.Id("ctx").Qual("context", "Context")).
		Params(d.typ.Clone(), jen.Error()).Block(
		jen.Defer().Qual("runtime", "KeepAlive").Call(jen.Id(recv)),
		jen.Return(jen.Id("readAttribute").Call(
			jen.Id("ctx"), jen.Id(recv).Dot("target").Call(), jen.Id(a.Go), jen.Id(d.decoder))))
	f.Line()
}
