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
	if platform == "" && hasGUIDs(m) {
		typ("GUID", "A globally unique identifier, as Windows names providers, interfaces and cards with. It has the layout and the fields of windows.GUID in golang.org/x/sys.")
		f.doc("ParseGUID reads a GUID as String writes it, with or without braces, in capital or small letters.")
		f.Func().Id("ParseGUID").Params(jen.Id("text").String()).Params(jen.Id("GUID"), jen.Error()).Block(
			jen.Return(jen.Qual(winscardPath, "ParseGUID").Call(jen.Id("text"))))
		f.Line()
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

// apiMethods emits the methods of functions that need no policy.
func apiMethods(m *Model) *goFile {
	f := newFile(pcscPath, "zapi_methods.go", "", "functions")
	for _, fn := range m.Functions {
		if fn.API != "method" {
			continue
		}
		switch fn.On {
		case "Context":
			contextMethod(f, m, fn)
		case "Card":
			cardMethod(f, m, fn, "c", "Card")
			cardMethod(f, m, fn, "t", "Transaction")
		}
	}
	return f
}

// methodParams makes the parameters of a method, and the arguments of the call that it makes.
func methodParams(fn *Function) (params, args []jen.Code) {
	if fn.Blocking {
		params = append(params, jen.Id("ctx").Qual("context", "Context"))
	}
	args = append(args, jen.Id("h"))
	for _, v := range fn.Params[1:] {
		switch {
		case v.Arg.OutLen != nil: // what C fills is the call's own
			args = append(args, jen.Id("buf"))
		default:
			arg := jen.Id(v.Name)
			if v.Arg.As != "" {
				arg = jen.Id(v.Type).Call(arg)
			}
			params = append(params, jen.Id(v.Name).Add(apiType(v)))
			args = append(args, arg)
		}
	}
	return params, args
}

// backendCall makes the call, with its result in the type of package pcsc.
func backendCall(fn *Function, args []jen.Code) []jen.Code {
	call := jen.Id("b").Dot(fn.Go).Call(args...)
	if len(fn.Results) == 0 || fn.Results[0].Arg.As == "" {
		return []jen.Code{jen.Return(call)}
	}
	v := fn.Results[0]
	return []jen.Code{
		jen.List(jen.Id(v.Name), jen.Id("rc")).Op(":=").Add(call),
		jen.Return(jen.Id(v.Arg.As).Call(jen.Id(v.Name)), jen.Id("rc")),
	}
}

// apiType is the type of a parameter or result in package pcsc, which has names of its own for the structures.
func apiType(v *Var) *jen.Statement {
	if v.Arg.As != "" {
		return jen.Id(v.Arg.As)
	}
	if isGUID(v.Arg.Role) {
		return jen.Op(strings.TrimSuffix(v.Type, v.Arg.Struct.Go)).Id(v.Arg.Struct.Go)
	}
	return contract(v.Type)
}

// background is the context of a method that has none.
func background(fn *Function) jen.Code {
	if fn.Blocking {
		return jen.Id("ctx")
	}
	return jen.Qual("context", "Background").Call()
}

// methodDescription is the comment of a generated method.
func methodDescription(m *Model, fn *Function) string {
	doc := fn.Go + " " + fn.Doc + " It is the equivalent of " + fn.Name + "."
	for _, v := range fn.Params {
		if v.Arg.Doc != "" {
			doc += " " + v.Name + ": " + v.Arg.Doc
		}
	}
	if fn.Blocking {
		doc += " It may block; when ctx ends first it returns at once, and the call goes on in the background."
	}
	doc += errorsOf(m, fn)
	if on := platformsOf(m, fn); on != "" {
		doc += " Only on " + on + sinceOf(m, fn) + "; elsewhere the error is errors.ErrUnsupported."
	}
	if l := link(fn); l != "" {
		doc += "\n\n" + l
	}
	return doc
}

// contextMethod emits a method of a Context, by what the function gives; a buffer that it fills is the call's own and
// grows until all fits:
//
//	func (c *Context) ListCards(ctx context.Context, atr []byte, interfaces []GUID) ([]string, error) {
//		atr, interfaces = slices.Clone(atr), slices.Clone(interfaces)
//		return c.list(ctx, opListCards, "", func(b winscard.Backend, h winscard.Context, buf []byte) (int, winscard.Code) {
//			return b.ListCards(h, atr, interfaces, buf)
//		})
//	}
func contextMethod(f *goFile, m *Model, fn *Function) {
	params, args := methodParams(fn)
	reader := jen.Code(jen.Lit(""))
	var body []jen.Code
	var own, copies []jen.Code
	check := func(name string, arg *Arg, more ...jen.Code) {
		body = append(body, jen.If(jen.Err().Op(":=").Id(name).Call(
			append([]jen.Code{jen.Id("op" + fn.Go), jen.Id(arg.Go)}, more...)...), jen.Err().Op("!=").Nil()).Block(
			jen.Return(failure(fn)...)))
	}
	for _, v := range fn.Params[1:] {
		switch a := v.Arg; {
		case a.Reader:
			reader = jen.Id(v.Name)
		case a.Role == "in_mask":
			check("checkATRMask", a.Buffer, jen.Id(a.Go))
		case a.Role == "in_atr":
			check("checkATR", a)
		}
		switch {
		case v.Arg.OutLen != nil:
		case strings.HasPrefix(v.Type, "[]"):
			own, copies = append(own, jen.Id(v.Name)), append(copies, jen.Qual("slices", "Clone").Call(jen.Id(v.Name)))
		case strings.HasPrefix(v.Type, "*"):
			own, copies = append(own, jen.Id(v.Name)), append(copies, jen.Id("clone").Call(jen.Id(v.Name)))
		}
	}
	if own != nil {
		body = append(body, jen.Comment("The caller may change them while a call that was given up goes on."),
			jen.List(own...).Op("=").List(copies...))
	}
	inner := []jen.Code{jen.Id("b").Qual(winscardPath, "Backend"), jen.Id("h").Qual(winscardPath, "Context")}
	outer := []jen.Code{background(fn), jen.Id("op" + fn.Go), reader}
	method, result, back := "do", jen.Code(nil), jen.Qual(winscardPath, "Code")
	if len(fn.Results) == 1 {
		v := fn.Results[0]
		length := jen.Params(jen.Int(), jen.Qual(winscardPath, "Code"))
		switch v.Arg.Role {
		case "out_multitext":
			method, result, back = "list", jen.Index().String(), length
		case "out_text":
			method, result, back = "text", jen.String(), length
		case "out_buffer":
			method, result, back = "fill", jen.Index().Byte(), length
		case "out_guids":
			method, result, back = "guids", jen.Index().Id(v.Arg.Struct.Go), length
		default:
			method, result = "", apiType(v)
			back = jen.Params(jen.Add(result), jen.Qual(winscardPath, "Code"))
		}
		switch v.Arg.Role {
		case "out_multitext", "out_text", "out_buffer":
			inner = append(inner, jen.Id("buf").Index().Byte())
		case "out_guids":
			inner = append(inner, jen.Id("buf").Index().Id(v.Arg.Struct.Go))
		}
	}
	fun := jen.Func().Params(inner...).Add(back).Block(backendCall(fn, args)...)
	if method != "" {
		body = append(body, jen.Return(jen.Id("c").Dot(method).Call(append(outer, fun)...)))
	} else {
		all := append([]jen.Code{outer[0], jen.Id("c")}, outer[1:]...)
		body = append(body, jen.Return(jen.Id("contextCall").Call(append(all, jen.False(), fun, jen.Nil())...)))
	}
	f.doc("%s", methodDescription(m, fn))
	decl := f.Func().Params(jen.Id("c").Op("*").Id("Context")).Id(fn.Go).Params(params...)
	if result == nil {
		decl.Error()
	} else {
		decl.Params(result, jen.Error())
	}
	decl.Block(body...)
	f.Line()
}

// failure makes the results of a method that has found err before the call.
func failure(fn *Function) []jen.Code {
	if len(fn.Results) == 0 {
		return []jen.Code{jen.Err()}
	}
	var none jen.Code = jen.Nil()
	switch v := fn.Results[0]; v.Arg.Role {
	case "out_text":
		none = jen.Lit("")
	case "out":
		none = jen.Lit(0)
	case "out_guid":
		none = jen.Id(v.Type).Values()
	}
	return []jen.Code{none, jen.Err()}
}

// cardMethod emits a method of a Card, or of a Transaction:
//
//	func (c *Card) SetAttrib(ctx context.Context, id Attribute, attr []byte) error {
//		defer runtime.KeepAlive(c)
//		return c.target().do(ctx, opSetAttrib, attr, func(b winscard.Backend, h winscard.Card, attr []byte) winscard.Code {
//			return b.SetAttrib(h, uint32(id), attr)
//		})
//	}
//
//	func (c *Card) GetTransmitCount(ctx context.Context) (uint32, error) {
//		defer runtime.KeepAlive(c)
//		return cardCall(ctx, c.target(), opGetTransmitCount, nil, func(b winscard.Backend, h winscard.Card, _ []byte) (uint32, winscard.Code) {
//			return b.GetTransmitCount(h)
//		})
//	}
func cardMethod(f *goFile, m *Model, fn *Function, recv, on string) {
	params, args := methodParams(fn)
	in, inName := jen.Code(jen.Nil()), "_"
	for _, v := range fn.Params {
		if v.Arg.Role == "in_buffer" {
			in, inName = jen.Id(v.Name), v.Name
		}
	}
	inner := []jen.Code{
		jen.Id("b").Qual(winscardPath, "Backend"), jen.Id("h").Qual(winscardPath, "Card"), jen.Id(inName).Index().Byte(),
	}
	target := jen.Id(recv).Dot("target").Call()
	var returns, back, call *jen.Statement
	if len(fn.Results) == 0 {
		returns, back = jen.Error(), jen.Qual(winscardPath, "Code")
		call = target.Dot("do").Call(background(fn), jen.Id("op"+fn.Go), in,
			jen.Func().Params(inner...).Add(back).Block(backendCall(fn, args)...))
	} else {
		result := apiType(fn.Results[0])
		returns, back = jen.Params(result, jen.Error()), jen.Params(result, jen.Qual(winscardPath, "Code"))
		call = jen.Id("cardCall").Call(background(fn), target, jen.Id("op"+fn.Go), in,
			jen.Func().Params(inner...).Add(back).Block(backendCall(fn, args)...))
	}
	f.doc("%s", methodDescription(m, fn))
	f.Func().Params(jen.Id(recv).Op("*").Id(on)).Id(fn.Go).Params(params...).Add(returns).Block(
		jen.Defer().Qual("runtime", "KeepAlive").Call(jen.Id(recv)),
		jen.Return(call))
	f.Line()
}
