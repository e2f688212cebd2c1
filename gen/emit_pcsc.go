package gen

import (
	"strings"

	"github.com/dave/jennifer/jen"
)

func emitAPI(m *Model) ([]File, error) {
	files := []*goFile{apiNames(m), apiConstants(m, ""), apiMethods(m)}
	for _, p := range m.Platforms {
		if f := apiConstants(m, p.Name); f != nil {
			files = append(files, f)
		}
	}
	return renderAll(files...)
}

// apiNames emits the names of the C functions, for errors:
//
//	const opConnect = "SCardConnect"
func apiNames(m *Model) *goFile {
	f := newFile(pcscPath, "zapi_names.go", "", "functions")
	var defs []jen.Code
	for _, fn := range m.Functions {
		if fn.API != "none" {
			defs = append(defs, jen.Id("op"+fn.Go).Op("=").Lit(fn.Name))
		}
	}
	f.doc("The names of the C functions, for Error.Op.")
	f.Const().Defs(defs...)
	return f
}

// apiConstants emits the types and constants of package winscard again, so that programs import one package:
//
//	type ShareMode = winscard.ShareMode
//
//	const ShareShared = winscard.ShareShared
//
// With a platform, those that only this platform has, or nothing if there are none.
func apiConstants(m *Model, platform string) *goFile {
	name, constraint := "zapi_constants.go", ""
	if platform != "" {
		name, constraint = "zapi_constants_"+platform+".go", constantsConstraint(m, platform)
	}
	f := newFile(pcscPath, name, constraint, "constants", "errors", "attributes", "features")
	empty := true
	here := func(n *Named) bool {
		if n.Str != nil || len(n.Value) == len(m.Platforms) {
			return platform == ""
		}
		_, ok := n.Value[platform]
		return ok && platform != ""
	}
	alias := func(doc string, list []*Named) {
		var defs []jen.Code
		for _, n := range list {
			if here(n) {
				defs = append(defs, comments(constDoc(n))...)
				defs = append(defs, jen.Id(n.Go).Op("=").Qual(winscardPath, n.Go))
			}
		}
		if len(defs) > 0 {
			empty = false
			f.doc("%s", doc)
			f.Const().Defs(defs...)
			f.Line()
		}
	}
	typ := func(name, doc string) {
		if platform == "" {
			f.doc("%s: %s", name, doc)
			f.Type().Id(name).Op("=").Qual(winscardPath, name)
			f.Line()
		}
	}
	for _, g := range m.Groups {
		if g.Kind != "values" {
			typ(g.Name, g.Doc)
			alias("Values of "+g.Name+".", g.Values)
		} else {
			alias(g.Doc, g.Values)
		}
	}
	var codes []*Named
	for _, c := range m.Codes {
		n := c.Named
		n.Doc = strings.ToUpper(c.Text[:1]) + c.Text[1:] + "."
		codes = append(codes, &n)
	}
	typ("Code", "The return code of a PC/SC function. It is an error with an English text that is the same on every platform.")
	alias("Return codes.", codes)
	if len(m.Attrs) > 0 {
		typ("Attribute", "An attribute of a reader.")
		typ("AttributeClass", "The class of an attribute.")
		alias("Classes of attributes.", m.Classes)
		var attrs []*Named
		for _, a := range m.Attrs {
			attrs = append(attrs, &a.Named)
		}
		alias("Attributes.", attrs)
	}
	alias("Control codes.", m.Controls)
	if len(m.Features) > 0 {
		typ("Feature", "The tag of a PC/SC part 10 feature.")
		alias("Features.", m.Features)
	}
	if len(m.Props) > 0 {
		typ("Property", "The tag of a PC/SC part 10 TLV property.")
		var props []*Named
		for _, p := range m.Props {
			props = append(props, &p.Named)
		}
		alias("TLV properties.", props)
	}
	if platform == "" {
		f.doc("CtlCode is the equivalent of SCARD_CTL_CODE: it returns the control code of a driver's function, for Card.Control. %s", m.CtlCode.Doc)
		f.Func().Id("CtlCode").Params(jen.Id("function").Uint32()).Uint32().Block(
			jen.Return(jen.Qual(winscardPath, "CtlCode").Call(jen.Id("function"))))
		return f
	}
	if empty {
		return nil
	}
	return f
}

// apiMethods emits the methods of functions that need no policy:
//
//	func (c *Card) SetAttrib(ctx context.Context, id Attribute, attr []byte) error {
//		defer runtime.KeepAlive(c)
//		return c.target().do(ctx, opSetAttrib, attr, func(b winscard.Backend, h winscard.Card, attr []byte) winscard.Code {
//			return b.SetAttrib(h, uint32(id), attr)
//		})
//	}
func apiMethods(m *Model) *goFile {
	f := newFile(pcscPath, "zapi_methods.go", "", "functions")
	for _, fn := range m.Functions {
		if fn.API != "method" {
			continue
		}
		switch fn.On {
		case "Context":
			apiMethod(f, m, fn, "c", "Context")
		case "Card":
			apiMethod(f, m, fn, "c", "Card")
			apiMethod(f, m, fn, "t", "Transaction")
		}
	}
	return f
}

func apiMethod(f *goFile, m *Model, fn *Function, recv, on string) {
	params := []jen.Code{}
	ctx := jen.Code(jen.Qual("context", "Background").Call())
	if fn.Blocking {
		params = append(params, jen.Id("ctx").Qual("context", "Context"))
		ctx = jen.Id("ctx")
	}
	args := []jen.Code{jen.Id("h")}
	in := jen.Code(jen.Nil())
	inName := "_"
	for _, v := range fn.Params[1:] {
		switch {
		case v.Arg.Role == "in_buffer":
			params = append(params, jen.Id(v.Name).Index().Byte())
			args = append(args, jen.Id(v.Name))
			in, inName = jen.Id(v.Name), v.Name
		case v.Arg.As != "":
			params = append(params, jen.Id(v.Name).Id(v.Arg.As))
			args = append(args, jen.Id(v.Type).Call(jen.Id(v.Name)))
		default:
			params = append(params, jen.Id(v.Name).Add(contract(v.Type)))
			args = append(args, jen.Id(v.Name))
		}
	}
	handle := "Card"
	if on == "Context" {
		handle = "Context"
	}
	inner := []jen.Code{jen.Id("b").Qual(winscardPath, "Backend"), jen.Id("h").Qual(winscardPath, handle)}
	outer := []jen.Code{ctx, jen.Id("op" + fn.Go)}
	target := jen.Id(recv)
	if on != "Context" {
		inner = append(inner, jen.Id(inName).Index().Byte())
		outer = append(outer, in)
		target.Dot("target").Call()
	}
	outer = append(outer, jen.Func().Params(inner...).Qual(winscardPath, "Code").Block(
		jen.Return(jen.Id("b").Dot(fn.Go).Call(args...))))

	doc := fn.Go + " " + fn.Doc + " It is the equivalent of " + fn.Name + "."
	if fn.Blocking {
		doc += " It may block; when ctx ends first it returns at once, and the call goes on in the background."
	}
	if on := platformsOf(m, fn); on != "" {
		doc += " Only on " + on + "; elsewhere the error is errors.ErrUnsupported."
	}
	if l := link(fn); l != "" {
		doc += "\n\n" + l
	}
	f.doc("%s", doc)
	f.Func().Params(jen.Id(recv).Op("*").Id(on)).Id(fn.Go).Params(params...).Error().Block(
		jen.Defer().Qual("runtime", "KeepAlive").Call(jen.Id(recv)),
		jen.Return(target.Dot("do").Call(outer...)))
	f.Line()
}
