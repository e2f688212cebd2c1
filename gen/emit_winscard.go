package gen

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/dave/jennifer/jen"
)

// The parts of package winscard that are the same whatever the spec says: how codes, enumerations and flags print.
//
//go:embed static/text.go.txt
var staticText string

// How a GUID prints and parses, where a function takes or gives one.
//
//go:embed static/guid.go.txt
var staticGUID string

func emitWinscard(m *Model) ([]File, error) {
	if err := checkFlat(m); err != nil {
		return nil, err
	}
	files := []*goFile{
		winscardBackend(m),
		winscardCodes(m),
		winscardConstants(m, ""),
		winscardTables(m),
		winscardAttributes(m),
		winscardFeatures(m),
	}
	for _, p := range m.Platforms {
		files = append(files, winscardConstants(m, p.Name))
	}
	out, err := renderAll(files...)
	if err != nil {
		return nil, err
	}
	out = append(out, File{
		Path:    "generated/winscard/text.go",
		Content: []byte(header("errors", "constants") + "\n\n" + staticText),
	})
	if hasGUIDs(m) {
		out = append(out, File{
			Path:    "generated/winscard/guid.go",
			Content: []byte(header("types", "functions") + "\n\n" + staticGUID),
		})
	}
	return out, nil
}

func hasGUIDs(m *Model) bool {
	return slices.ContainsFunc(m.Functions, func(f *Function) bool {
		return slices.ContainsFunc(f.Args, func(a *Arg) bool { return isGUID(a.Role) })
	})
}

func isGUID(role string) bool {
	return role == "guid" || role == "guids" || role == "out_guid" || role == "out_guids"
}

// usedFlat reports whether values of the structure are handed to C as they lie in Go.
func usedFlat(m *Model, s *Struct) bool {
	return slices.ContainsFunc(m.Functions, func(f *Function) bool {
		return slices.ContainsFunc(f.Args, func(a *Arg) bool {
			return a.Struct == s && (isGUID(a.Role) || a.Role == "structs")
		})
	})
}

// checkFlat refuses a structure that Go would lay out otherwise than C does.
func checkFlat(m *Model) error {
	sizes := map[string]int{"byte": 1, "uint16": 2, "uint32": 4, "uint64": 8}
	for _, s := range m.Structs {
		if !usedFlat(m, s) {
			continue
		}
		for name, l := range s.Layouts {
			at, align := 0, 1
			for i, f := range s.Fields {
				if f.Scalar == nil || f.Go == "" || f.Role == "reserved" || f.Tail {
					return fmt.Errorf("gen: %s.%s: only numbers and arrays of them, all with a Go name, can be handed over as they lie in Go", s.Name, f.Name)
				}
				size := sizes[f.Scalar.Go]
				at, align = roundUp(at, size), max(align, size)
				if at != l.Offsets[i] || size != l.Sizes[i] || l.Lens[i] != maxLen(s, i) {
					return fmt.Errorf("gen: %s.%s: Go would lay it out otherwise than C does on %s", s.Name, f.Name, name)
				}
				at += size * l.Lens[i]
			}
			if roundUp(at, align) != l.Size {
				return fmt.Errorf("gen: %s: Go would give it another size than C does on %s", s.Name, name)
			}
		}
	}
	return nil
}

// winscardBackend emits the handles, the structures and the call surface:
//
//	type Backend interface {
//		// BeginTransaction is the equivalent of SCardBeginTransaction: it waits for …
//		BeginTransaction(card Card) Code
//	}
func winscardBackend(m *Model) *goFile {
	f := newFile(winscardPath, "backend.go", "", "functions", "types")
	f.PackageComment("// Package winscard is the contract between package pcsc and the backends: handles, codes, constants and the")
	f.PackageComment("// PC/SC call surface, the same Go types on every platform.")
	for _, s := range m.Scalars {
		if s.Go == "Context" || s.Go == "Card" {
			f.doc("%s is %s, widened to 64 bits: %s", s.Go, s.Name, lowerFirst(s.Doc))
			f.Type().Id(s.Go).Uint64()
			f.Line()
		}
	}
	for _, s := range m.Structs {
		if !usedByStates(m, s) && !usedFlat(m, s) {
			continue
		}
		var fields []jen.Code
		for i, fd := range s.Fields {
			if fd.Go == "" || fd.Role == "reserved" {
				continue
			}
			fields = append(fields, comments(fmt.Sprintf("%s (%s): %s", fd.Go, fd.Name, fd.Doc))...)
			switch {
			case fd.Type == "text":
				fields = append(fields, jen.Id(fd.Go).String())
			case fd.Len != nil:
				f.doc("%s%sSize is the number of elements of %s.%s: the most that a platform has.", s.Go, fd.Go, s.Go, fd.Go)
				f.Const().Id(s.Go + fd.Go + "Size").Op("=").Lit(maxLen(s, i))
				f.Line()
				fields = append(fields, jen.Id(fd.Go).Index(jen.Id(s.Go+fd.Go+"Size")).Byte())
			default:
				fields = append(fields, jen.Id(fd.Go).Id(fd.Scalar.Go))
			}
		}
		if s.Go == s.Name {
			f.doc("%s is %s", s.Go, lowerFirst(s.Doc))
		} else {
			f.doc("%s is %s. %s", s.Go, s.Name, s.Doc)
		}
		f.Type().Id(s.Go).Struct(fields...)
		f.Line()
	}

	var methods []jen.Code
	for i, fn := range m.Functions {
		if i > 0 {
			methods = append(methods, jen.Line())
		}
		methods = append(methods, comments(methodDoc(m, fn))...)
		methods = append(methods, jen.Id(fn.Go).Add(signature(fn)))
	}
	f.doc(`Backend is the PC/SC call surface that every backend implements.

It holds no policy: no retry, no buffer growth, no locking, no allocation it can avoid. Every method is one C function; it may be called by several goroutines at once as far as the library below allows it.

Strings are UTF-8. Multi-strings in buffers are UTF-8, each string ended by a NUL and the last followed by one more. A string that contains a NUL gives ErrInvalidParameter without a call. A number of bytes returned with ErrInsufficientBuffer is what is needed; with any other error it is 0. An empty buffer is passed as NULL, by which functions that can tell the length are asked for it.

A function that the platform or its library does not have gives ErrUnsupportedFunction. Codes are compared as 32 bits. Card states have the same flags on every platform, all other numbers are the platform's own.`)
	f.Type().Id("Backend").Interface(methods...)
	f.Line()
	f.doc("Unimplemented is a Backend whose every method gives ErrUnsupportedFunction. Backends embed it, so that they still compile when the surface grows.")
	f.Type().Id("Unimplemented").Struct()
	f.Line()
	f.Var().Id("_").Id("Backend").Op("=").Id("Unimplemented").Values()
	for _, fn := range m.Functions {
		f.Line()
		f.doc("%s is not implemented.", fn.Go)
		f.Func().Params(jen.Id("Unimplemented")).Id(fn.Go).Add(signature(fn)).Block(
			jen.Return(fails(fn, "ErrUnsupportedFunction")...))
	}
	return f
}

// methodDoc is the comment of a function in the contract.
func methodDoc(m *Model, fn *Function) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is the equivalent of %s: it %s", fn.Go, fn.Name, fn.Doc)
	if fn.Blocking {
		b.WriteString(" It may block.")
	}
	if on := platformsOf(m, fn); on != "" {
		fmt.Fprintf(&b, " Only on %s%s.", on, sinceOf(m, fn))
	}
	for _, v := range fn.Params {
		if v.Arg.Doc != "" {
			fmt.Fprintf(&b, " %s: %s", v.Name, v.Arg.Doc)
		}
		if v.Arg.Role == "pci_in" {
			fmt.Fprintf(&b, " %s is the protocol whose control information goes with it.", v.Name)
		}
	}
	for _, v := range fn.Results {
		if v.Arg.Role == "handle" {
			fmt.Fprintf(&b, " %s is one of the system. Where the library gives none, the code is the system's.", v.Name)
		}
		if v.Arg.Normalise != "" {
			fmt.Fprintf(&b, " The lower 16 bits of %s are %s flags, the upper 16 an event counter where the platform has one.", v.Name, v.Arg.Normalise)
		}
	}
	b.WriteString(errorsOf(m, fn))
	if l := link(fn); l != "" {
		b.WriteString("\n" + l)
	}
	return b.String()
}

func usedByStates(m *Model, s *Struct) bool {
	return slices.ContainsFunc(m.Functions, func(f *Function) bool {
		return slices.ContainsFunc(f.Args, func(a *Arg) bool { return a.Role == "states" && a.Struct == s })
	})
}

// maxLen is the largest length that an array field has on any platform.
func maxLen(s *Struct, field int) int {
	n := 0
	for _, l := range s.Layouts {
		n = max(n, l.Lens[field])
	}
	return n
}

// winscardCodes emits the return codes and the table of what they mean:
//
//	const ErrTimeout Code = 0x8010000A
//
//	var codes = [...]codeInfo{{code: 0x8010000A, name: "SCARD_E_TIMEOUT", text: "…", hint: "…"}, …}
func winscardCodes(m *Model) *goFile {
	f := newFile(winscardPath, "codes.go", "", "errors")
	type row struct {
		value uint64
		code  *Code
	}
	var defs []jen.Code
	var rows []row
	for _, c := range m.Codes {
		seen := map[uint64]bool{}
		for _, p := range m.Platforms {
			v, ok := c.Value[p.Name]
			if !ok || seen[v.Value] {
				continue
			}
			seen[v.Value] = true
			// A code that shares its value on purpose is described under the other's name.
			if c.Same != "" && slices.ContainsFunc(m.Codes, func(o *Code) bool {
				return o.Name == c.Same && o.Value[p.Name].Value == v.Value
			}) {
				continue
			}
			rows = append(rows, row{v.Value, c})
		}
		if c.Uniform(m.Platforms) {
			defs = append(defs, codeDef(c, c.Value[m.Platforms[0].Name].Value)...)
		}
	}
	f.doc("The return codes that are the same on every platform.")
	f.Const().Defs(defs...)
	f.Line()
	slices.SortFunc(rows, func(a, b row) int { return int(int64(a.value) - int64(b.value)) })
	var values []jen.Code
	for _, r := range rows {
		fields := []jen.Code{
			jen.Id("code").Op(":").Op(hexText(r.value, 8)),
			jen.Id("name").Op(":").Lit(r.code.Name),
			jen.Id("text").Op(":").Lit(r.code.Text),
		}
		if r.code.Hint != "" {
			fields = append(fields, jen.Id("hint").Op(":").Lit(r.code.Hint))
		}
		if len(r.code.IsCodes) > 0 {
			var is []jen.Code
			for _, name := range r.code.IsCodes {
				is = append(is, jen.Id(name))
			}
			fields = append(fields, jen.Id("is").Op(":").Index().Id("Code").Values(is...))
		}
		if r.code.IsDeadline {
			fields = append(fields, jen.Id("deadline").Op(":").True())
		}
		if r.code.IsNoSys {
			fields = append(fields, jen.Id("unsupported").Op(":").True())
		}
		values = append(values, jen.Values(fields...))
	}
	f.doc("codes is what is known of each code, in the order of their values.")
	f.Var().Id("codes").Op("=").Index(jen.Op("...")).Id("codeInfo").Custom(jen.Options{
		Open: "{", Close: "}", Separator: ",", Multi: true,
	}, values...)
	return f
}

func codeDef(c *Code, v uint64) []jen.Code {
	text := fmt.Sprintf("%s is %s: %s.", c.Go, c.Name, c.Text)
	if c.Doc != "" {
		text += " " + c.Doc
	}
	return append(comments(text), jen.Id(c.Go).Id("Code").Op("=").Op(hexText(v, 8)))
}

func hexText(v uint64, digits int) string { return fmt.Sprintf("0x%0*X", digits, v) }

// winscardConstants emits the constants that have one value everywhere (platform is empty) or those that differ, for
// a platform:
//
//	const ShareShared ShareMode = 2
func winscardConstants(m *Model, platform string) *goFile {
	name, constraint := "constants.go", ""
	if platform != "" {
		name, constraint = "constants_"+platform+".go", constantsConstraint(m, platform)
	}
	f := newFile(winscardPath, name, constraint, "constants", "errors", "features")
	here := func(n *Named) (v jen.Code, ok bool) {
		if n.Str != nil {
			return jen.Lit(*n.Str), platform == ""
		}
		uniform := n.Uniform(m.Platforms)
		if uniform != (platform == "") {
			return nil, false
		}
		p := platform
		if uniform {
			p = m.Platforms[0].Name
		}
		i, ok := n.Value[p]
		return jen.Op(i.Text), ok
	}
	for _, g := range m.Groups {
		typed := g.Kind != "values"
		if typed && platform == "" {
			f.doc("%s: %s", g.Name, g.Doc)
			f.Type().Id(g.Name).Uint32()
			f.Line()
		}
		var defs []jen.Code
		for _, n := range g.Values {
			v, ok := here(n)
			if !ok {
				continue
			}
			def := jen.Id(n.Go)
			if typed {
				def.Id(g.Name)
			}
			defs = append(defs, comments(constDoc(n))...)
			defs = append(defs, def.Op("=").Add(v))
		}
		if len(defs) > 0 {
			if !typed && platform == "" {
				f.doc("%s", g.Doc)
			}
			f.Const().Defs(defs...)
			f.Line()
		}
	}
	var defs []jen.Code
	for _, n := range m.Controls {
		if v, ok := here(n); ok {
			defs = append(defs, comments(constDoc(n))...)
			defs = append(defs, jen.Id(n.Go).Op("=").Add(v))
		}
	}
	if len(defs) > 0 {
		f.doc("Control codes.")
		f.Const().Defs(defs...)
		f.Line()
	}
	if platform == "" {
		return f
	}
	defs = nil
	for _, c := range m.Codes {
		if v, ok := c.Value[platform]; ok && !c.Uniform(m.Platforms) {
			defs = append(defs, codeDef(c, v.Value)...)
		}
	}
	if len(defs) > 0 {
		f.doc("The return codes that are not the same on every platform.")
		f.Const().Defs(defs...)
		f.Line()
	}
	base, _ := m.CtlCode.Base.For(platform)
	shift, _ := m.CtlCode.Shift.For(platform)
	f.Const().Defs(
		jen.Id("ctlCodeBase").Op("=").Op(base.Text),
		jen.Id("ctlCodeShift").Op("=").Op(shift.Text),
	)
	for _, g := range m.Groups {
		if kind, ok := g.Normalise.For(platform); ok && kind == "ordinal" {
			f.Line()
			normalise(f, g, platform)
			continue
		}
		if g.Normalise != nil {
			f.Line()
			f.doc("Normalise%s returns the flags as they are: they are %s's own.", g.Name, platform)
			f.Func().Id("Normalise" + g.Name).Params(jen.Id("native").Uint32()).Uint32().Block(jen.Return(jen.Id("native")))
		}
	}
	return f
}

// normalise emits the mapping of a platform's ordinals to flags:
//
//	func NormaliseCardState(native uint32) uint32 {
//		switch native & 0xFFFF {
//		case 0x5: // SCARD_NEGOTIABLE
//			return native&^0xFFFF | uint32(CardNegotiable|CardPowered|CardPresent)
func normalise(f *goFile, g *Group, platform string) {
	var cases []jen.Code
	for _, n := range g.Values {
		v, ok := n.Native[platform]
		if !ok {
			continue
		}
		flags := jen.Id(n.Go)
		for _, also := range slices.SortedFunc(slices.Values(n.Implies), func(a, b *Named) int { return strings.Compare(a.Name, b.Name) }) {
			flags.Op("|").Id(also.Go)
		}
		cases = append(cases, jen.Case(jen.Op(v.Text)).Block(
			jen.Comment("// "+n.Name),
			jen.Return(jen.Id("native").Op("&^").Op("0xFFFF").Op("|").Uint32().Call(flags))))
	}
	f.doc("Normalise%s maps %s's ordinals to flags; bits above the lower 16 stay.", g.Name, platform)
	f.Func().Id("Normalise"+g.Name).Params(jen.Id("native").Uint32()).Uint32().Block(
		jen.Switch(jen.Id("native").Op("&").Op("0xFFFF")).Block(cases...),
		jen.Return(jen.Id("native")))
}

// constantsConstraint is the build expression of a platform's constants. Systems without PC/SC get those of the
// fallback, so that portable code compiles there.
func constantsConstraint(m *Model, platform string) string {
	var not []string
	for _, p := range m.Platforms {
		goos := slices.Sorted(slices.Values(p.GOOS))
		if p.Name == platform {
			if !p.Fallback {
				return strings.Join(goos, " || ")
			}
			continue
		}
		for _, g := range goos {
			not = append(not, "!"+g)
		}
	}
	return strings.Join(not, " && ")
}

func constDoc(n *Named) string { return fmt.Sprintf("%s is %s. %s", n.Go, n.Name, n.Doc) }

func lowerFirst(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && (s[1] < 'A' || s[1] > 'Z') {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// winscardTables emits how enumerations and flags print and parse:
//
//	var shareModeNames = [...]valueName{{1, "exclusive"}, …}
//
//	func (v ShareMode) String() string { return enumText("ShareMode", uint32(v), shareModeNames[:]) }
func winscardTables(m *Model) *goFile {
	f := newFile(winscardPath, "names.go", "", "constants")
	for _, g := range m.Groups {
		if g.Kind == "values" {
			continue
		}
		table := strings.ToLower(g.Name[:1]) + g.Name[1:] + "Names"
		print, parse := "enumText", "parseEnum"
		if g.Kind == "flags" {
			print, parse = "flagsText", "parseFlags"
		}
		var rows []jen.Code
		for _, n := range g.Values {
			if n.Same == "" && len(n.Value) == len(m.Platforms) {
				rows = append(rows, jen.Values(jen.Uint32().Call(jen.Id(n.Go)), jen.Lit(n.Text)))
			}
		}
		f.Var().Id(table).Op("=").Index(jen.Op("...")).Id("valueName").Custom(jen.Options{
			Open: "{", Close: "}", Separator: ",", Multi: true,
		}, rows...)
		f.Line()
		recv := jen.Params(jen.Id("v").Id(g.Name))
		f.doc("String returns the name of the value.")
		f.Func().Add(recv).Id("String").Params().String().Block(
			jen.Return(jen.Id(print).Call(jen.Lit(g.Name), jen.Uint32().Call(jen.Id("v")), jen.Id(table).Index(jen.Op(":")))))
		f.Line()
		f.doc("MarshalText implements encoding.TextMarshaler with the names of String.")
		f.Func().Add(recv).Id("MarshalText").Params().Params(jen.Index().Byte(), jen.Error()).Block(
			jen.Return(jen.Index().Byte().Call(jen.Id("v").Dot("String").Call()), jen.Nil()))
		f.Line()
		f.doc("UnmarshalText implements encoding.TextUnmarshaler; it takes the names of String.")
		f.Func().Params(jen.Id("v").Op("*").Id(g.Name)).Id("UnmarshalText").Params(jen.Id("text").Index().Byte()).Error().Block(
			jen.List(jen.Id("u"), jen.Err()).Op(":=").Id(parse).Call(jen.Lit(g.Name), jen.String().Call(jen.Id("text")), jen.Id(table).Index(jen.Op(":"))),
			jen.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Err())),
			jen.Op("*").Id("v").Op("=").Id(g.Name).Call(jen.Id("u")),
			jen.Return(jen.Nil()))
		f.Line()
	}
	return f
}

// winscardAttributes emits attribute classes and attributes:
//
//	const AttrVendorName Attribute = 0x00010100
func winscardAttributes(m *Model) *goFile {
	f := newFile(winscardPath, "attributes.go", "", "attributes")
	if len(m.Attrs) == 0 {
		return f
	}
	f.doc("Attribute is an attribute of a reader: its class in the upper 16 bits, its tag in the lower.")
	f.Type().Id("Attribute").Uint32()
	f.Line()
	f.doc("AttributeClass is the class of an attribute.")
	f.Type().Id("AttributeClass").Uint16()
	f.Line()
	var defs, rows []jen.Code
	for _, n := range m.Classes {
		defs = append(defs, comments(constDoc(n))...)
		defs = append(defs, jen.Id(n.Go).Id("AttributeClass").Op("=").Op(hexText(n.Value[m.Platforms[0].Name].Value, 4)))
	}
	f.Const().Defs(defs...)
	f.Line()
	defs = nil
	for _, a := range m.Attrs {
		defs = append(defs, comments(constDoc(&a.Named))...)
		defs = append(defs, jen.Id(a.Go).Id("Attribute").Op("=").Op(hexText(a.Value[m.Platforms[0].Name].Value, 8)))
		if a.Same == "" {
			rows = append(rows, jen.Values(jen.Uint32().Call(jen.Id(a.Go)), jen.Lit(a.Name)))
		}
	}
	f.Const().Defs(defs...)
	f.Line()
	f.Var().Id("attributeNames").Op("=").Index(jen.Op("...")).Id("valueName").Custom(jen.Options{
		Open: "{", Close: "}", Separator: ",", Multi: true,
	}, rows...)
	f.Line()
	f.doc("String returns the C name of the attribute.")
	f.Func().Params(jen.Id("v").Id("Attribute")).Id("String").Params().String().Block(
		jen.Return(jen.Id("enumText").Call(jen.Lit("Attribute"), jen.Uint32().Call(jen.Id("v")), jen.Id("attributeNames").Index(jen.Op(":")))))
	f.Line()
	f.doc("Class returns the class of the attribute.")
	f.Func().Params(jen.Id("v").Id("Attribute")).Id("Class").Params().Id("AttributeClass").Block(
		jen.Return(jen.Id("AttributeClass").Call(jen.Id("v").Op(">>").Lit(16))))
	f.Line()
	f.doc("MakeAttribute returns the attribute of a class and a tag. It is the equivalent of SCARD_ATTR_VALUE.")
	f.Func().Id("MakeAttribute").Params(jen.Id("class").Id("AttributeClass"), jen.Id("tag").Uint16()).Id("Attribute").Block(
		jen.Return(jen.Id("Attribute").Call(jen.Id("class")).Op("<<").Lit(16).Op("|").Id("Attribute").Call(jen.Id("tag"))))
	return f
}

// winscardFeatures emits the tags of part 10 and SCARD_CTL_CODE:
//
//	const FeatureVerifyPINDirect Feature = 0x06
func winscardFeatures(m *Model) *goFile {
	f := newFile(winscardPath, "features.go", "", "features")
	f.doc("CtlCode is the equivalent of SCARD_CTL_CODE: it returns the control code of a driver's function. %s", m.CtlCode.Doc)
	f.Func().Id("CtlCode").Params(jen.Id("function").Uint32()).Uint32().Block(
		jen.Return(jen.Id("ctlCodeBase").Op("+").Id("function").Op("<<").Id("ctlCodeShift")))
	f.Line()
	tags := func(typ, doc string, list []*Named) {
		if len(list) == 0 {
			return
		}
		f.doc("%s", doc)
		f.Type().Id(typ).Byte()
		f.Line()
		var defs, rows []jen.Code
		for _, n := range list {
			defs = append(defs, comments(constDoc(n))...)
			defs = append(defs, jen.Id(n.Go).Id(typ).Op("=").Op(hexText(n.Value[m.Platforms[0].Name].Value, 2)))
			rows = append(rows, jen.Values(jen.Uint32().Call(jen.Id(n.Go)), jen.Lit(n.Name)))
		}
		f.Const().Defs(defs...)
		f.Line()
		table := strings.ToLower(typ[:1]) + typ[1:] + "Names"
		f.Var().Id(table).Op("=").Index(jen.Op("...")).Id("valueName").Custom(jen.Options{
			Open: "{", Close: "}", Separator: ",", Multi: true,
		}, rows...)
		f.Line()
		f.doc("String returns the C name of the tag.")
		f.Func().Params(jen.Id("v").Id(typ)).Id("String").Params().String().Block(
			jen.Return(jen.Id("enumText").Call(jen.Lit(typ), jen.Uint32().Call(jen.Id("v")), jen.Id(table).Index(jen.Op(":")))))
		f.Line()
	}
	tags("Feature", "Feature is the tag of a PC/SC part 10 feature.", m.Features)
	var props []*Named
	for _, p := range m.Props {
		props = append(props, &p.Named)
	}
	tags("Property", "Property is the tag of a PC/SC part 10 TLV property.", props)
	return f
}
