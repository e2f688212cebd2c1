package gen

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dave/jennifer/jen"
)

func emitCgo(m *Model) ([]File, error) {
	if err := checkCgo(m); err != nil {
		return nil, err
	}
	var files []*goFile
	for _, p := range m.Platforms {
		files = append(files, cgoBackend(m, p))
	}
	return renderAll(files...)
}

// checkCgo refuses a handle where it is not known how the system tells why there is none.
func checkCgo(m *Model) error {
	for _, p := range m.Platforms {
		for _, f := range m.Functions {
			if p.Charset != "utf16" && f.Available(p.Name) && f.Returns == "handle" {
				return fmt.Errorf("gen: %s: a handle is not emitted for %s", f.Name, p.Name)
			}
		}
	}
	return nil
}

// cgoBackend emits the methods of a platform and, as their preamble, a C function for each: it takes numbers of fixed
// width and gives its results by value, so that the C compiler does every conversion and the Go is the same
// everywhere.
func cgoBackend(m *Model, p *Platform) *goFile {
	f := newFile(cgoPath, "zbackend_"+p.Name+".go", "cgo && ("+p.Constraint+")", "functions", "types", "constants", "errors", "attributes", "features", "platforms")
	c := &cgoEmitter{goFile: f, model: m, platform: p}
	c.preamble()
	f.CgoPreamble(strings.TrimSpace(c.text.String()))
	f.Func().Id("init").Params().Block(jen.Id("open").Op("=").Func().Params().Qual(winscardPath, "Backend").Block(
		jen.Return(jen.Op("&").Id("Backend").Values())))
	f.Line()
	f.doc("cBytes returns the address of a buffer for C, nil for an empty one. Its type tells cgo that there are no pointers in it.")
	f.Func().Id("cBytes").Params(jen.Id("b").Index().Byte()).Op("*").Qual("C", "uint8_t").Block(
		jen.If(jen.Len(jen.Id("b")).Op("==").Lit(0)).Block(jen.Return(jen.Nil())),
		jen.Return(jen.Parens(jen.Op("*").Qual("C", "uint8_t")).Call(jen.Op("&").Id("b").Index(jen.Lit(0)))))
	f.Line()
	if slices.ContainsFunc(m.Structs, func(s *Struct) bool { return usedFlat(m, s) && s.Layouts[c.anyABI().Name] != nil }) {
		f.doc("cArray is cBytes for structures, which have no pointers in them either.")
		f.Func().Id("cArray").Types(jen.Id("T").Any()).Params(jen.Id("s").Index().Id("T")).Op("*").Qual("C", "uint8_t").Block(
			jen.If(jen.Len(jen.Id("s")).Op("==").Lit(0)).Block(jen.Return(jen.Nil())),
			jen.Return(jen.Parens(jen.Op("*").Qual("C", "uint8_t")).Call(jen.Qual("unsafe", "Pointer").Call(jen.Op("&").Id("s").Index(jen.Lit(0))))))
		f.Line()
	}
	f.doc("cLen brings a length into 32 bits, without the value that stands for SCARD_AUTOALLOCATE. PC/SC has no calls with buffers so large; it refuses them.")
	f.Func().Id("cLen").Types(jen.Id("T").Any()).Params(jen.Id("s").Index().Id("T")).Qual("C", "uint32_t").Block(
		jen.Return(jen.Qual("C", "uint32_t").Call(jen.Min(jen.Uint64().Call(jen.Len(jen.Id("s"))), jen.Qual("math", "MaxUint32").Op("-").Lit(1)))))
	f.Line()
	for _, fn := range m.Functions {
		if fn.Available(p.Name) {
			c.method(fn)
		}
	}
	return f
}

type cgoEmitter struct {
	*goFile
	model    *Model
	platform *Platform
	text     strings.Builder
}

func (c *cgoEmitter) printf(format string, args ...any) { fmt.Fprintf(&c.text, format, args...) }

func (c *cgoEmitter) wide() bool { return c.platform.Charset == "utf16" }

// preamble emits the directives, the assertions and the C functions.
func (c *cgoEmitter) preamble() {
	p := c.platform
	if p.Cgo.PkgConfig != "" {
		c.printf("#cgo pkg-config: %s\n", p.Cgo.PkgConfig)
	}
	if p.Cgo.LDFlags != "" {
		c.printf("#cgo LDFLAGS: %s\n", p.Cgo.LDFlags)
	}
	// No function calls back into Go or keeps a pointer: buffers may stay on the stack.
	for _, fn := range c.model.Functions {
		if fn.Available(p.Name) {
			c.printf("#cgo noescape z_%s\n#cgo nocallback z_%s\n", fn.Name, fn.Name)
		}
	}
	c.printf("\n#include <stdint.h>\n#include <stddef.h>\n#include <stdlib.h>\n#include <string.h>\n")
	for _, h := range p.Cgo.Include {
		c.printf("#include <%s>\n", h)
	}
	c.printf("\n// The spec is what the headers say. The text of a failed assertion names the entry that is not.\n")
	c.assertTypes()
	c.assertConstants()
	for _, s := range c.model.Structs {
		if usedByStates(c.model, s) {
			c.stateStruct(s)
		}
	}
	if slices.ContainsFunc(c.model.Functions, func(fn *Function) bool { return c.looksUp(fn) }) {
		c.lookup()
	}
	for _, fn := range c.model.Functions {
		if fn.Available(p.Name) {
			c.shim(fn)
		}
	}
}

func (c *cgoEmitter) abi(bits int) *ABI {
	for _, a := range c.model.ABIs {
		if a.Platform == c.platform && a.Bits == bits {
			return a
		}
	}
	return nil
}

// byBits makes a C expression that is the value for the width of a pointer.
func (c *cgoEmitter) byBits(value func(a *ABI) int) string {
	a32, a64 := c.abi(32), c.abi(64)
	switch {
	case a32 == nil:
		return fmt.Sprint(value(a64))
	case a64 == nil:
		return fmt.Sprint(value(a32))
	case value(a32) == value(a64):
		return fmt.Sprint(value(a64))
	}
	return fmt.Sprintf("(sizeof(void *) == 8 ? %d : %d)", value(a64), value(a32))
}

func (c *cgoEmitter) assert(expr, file, entry, what string) {
	c.printf("_Static_assert(%s, \"spec/%s: %s: %s\");\n", expr, path.Base(file), entry, what)
}

// assertTypes emits, for every type of the platform's headers:
//
//	_Static_assert(sizeof(DWORD) == 4, "spec/types.yaml: DWORD: size");
//	_Static_assert(offsetof(SCARD_READERSTATE, cbAtr) == 32, "spec/types.yaml: SCARD_READERSTATE.cbAtr: offset");
func (c *cgoEmitter) assertTypes() {
	for _, s := range c.model.Scalars {
		if !s.Headers[c.platform.Name] {
			continue
		}
		name := c.typeName(s)
		c.assert(fmt.Sprintf("sizeof(%s) == %s", name, c.byBits(func(a *ABI) int { n, _ := s.Width(a); return n })),
			s.Pos.File, s.Name, "size")
		sign := ">"
		if _, signed := s.Width(c.anyABI()); signed {
			sign = "<"
		}
		c.assert(fmt.Sprintf("(%s)-1 %s 0", name, sign), s.Pos.File, s.Name, "sign")
	}
	for _, s := range c.model.Structs {
		if s.Layouts[c.anyABI().Name] == nil {
			continue
		}
		name := c.structName(s)
		c.assert(fmt.Sprintf("sizeof(%s) == %s", name, c.byBits(func(a *ABI) int { return s.Layouts[a.Name].Size })),
			s.Pos.File, s.Name, "size")
		for i, fd := range s.Fields {
			entry := s.Name + "." + fd.Name
			c.assert(fmt.Sprintf("offsetof(%s, %s) == %s", name, fd.Name,
				c.byBits(func(a *ABI) int { return s.Layouts[a.Name].Offsets[i] })), fd.Pos.File, entry, "offset")
			if fd.Tail {
				continue
			}
			c.assert(fmt.Sprintf("sizeof(((%s *)0)->%s) == %s", name, fd.Name,
				c.byBits(func(a *ABI) int { l := s.Layouts[a.Name]; return l.Sizes[i] * l.Lens[i] })), fd.Pos.File, entry, "size")
		}
	}
}

func (c *cgoEmitter) anyABI() *ABI {
	if a := c.abi(64); a != nil {
		return a
	}
	return c.abi(32)
}

// typeName is the C name of a scalar.
func (c *cgoEmitter) typeName(s *Scalar) string {
	if name, ok := s.CName.For(c.platform.Name); ok {
		return name
	}
	return s.Name
}

func (c *cgoEmitter) structName(s *Struct) string {
	if name, ok := s.C.For(c.platform.Name); ok {
		return name
	}
	return s.Name
}

// assertConstants emits, for every constant that the platform's headers define:
//
//	_Static_assert((uint32_t)(SCARD_E_TIMEOUT) == 0x8010000Au, "spec/errors.yaml: SCARD_E_TIMEOUT: value");
func (c *cgoEmitter) assertConstants() {
	for _, n := range c.model.Constants() {
		if n.Str != nil {
			c.assertString(n)
			continue
		}
		v, ok := n.Native[c.platform.Name]
		if !ok {
			continue
		}
		if n.Guard[c.platform.Name] {
			c.printf("#ifdef %s\n", n.Name)
		}
		c.assert(fmt.Sprintf("(uint32_t)(%s) == %su", n.Name, v.Text), n.File, n.Name, "value")
		if n.Guard[c.platform.Name] {
			c.printf("#endif\n")
		}
	}
}

// assertString emits, for a string that the platform's headers define:
//
//	_Static_assert(__builtin_strcmp(SCARD_ALL_READERS, "SCard$AllReaders") == 0, "spec/constants.yaml: SCARD_ALL_READERS: value");
//
// What follows the first NUL is not part of the value. With UNICODE, under which the strings are of wide characters and
// some numbers others, nothing of this compiles; no backend is built with it.
func (c *cgoEmitter) assertString(n *Named) {
	if !n.Headers[c.platform.Name] {
		return
	}
	if n.Guard[c.platform.Name] {
		c.printf("#ifdef %s\n", n.Name)
	}
	c.assert(fmt.Sprintf("__builtin_strcmp(%s, %q) == 0", n.Name, *n.Str), n.File, n.Name, "value")
	if n.Guard[c.platform.Name] {
		c.printf("#endif\n")
	}
}

// stateStruct emits the structure that stands for a reader state between Go and C: no pointer, fixed widths.
//
//	typedef struct {
//		uint32_t text; // offset of the string
//		uint32_t CurrentState;
//		…
//	} z_SCARD_READERSTATE;
func (c *cgoEmitter) stateStruct(s *Struct) {
	c.printf("\ntypedef struct {\n\tuint32_t text; // offset of %s among the strings\n", textCField(s))
	for i, fd := range s.Fields {
		switch {
		case fd.Type == "text" || fd.Role == "reserved":
		case fd.Len != nil:
			c.printf("\tuint8_t %s[%d];\n", fd.Go, maxLen(s, i))
		default:
			c.printf("\tuint32_t %s;\n", fd.Go)
		}
	}
	c.printf("} z_%s;\n", s.Name)
}

func textCField(s *Struct) string {
	for _, fd := range s.Fields {
		if fd.Type == "text" {
			return fd.Name
		}
	}
	return ""
}

// looksUp reports whether a function is looked up and not linked, as its symbol may be missing. It is done on Windows,
// where the same program runs with libraries of several versions.
func (c *cgoEmitter) looksUp(fn *Function) bool {
	return c.wide() && fn.Optional && fn.Available(c.platform.Name)
}

// lookup emits how a symbol is found that may be missing.
func (c *cgoEmitter) lookup() {
	c.printf("\n// z_symbol finds a function of the library, which is loaded, or returns NULL.\n")
	c.printf("static inline void *z_symbol(const char *name) {\n")
	c.printf("\tHMODULE library = GetModuleHandleW(L%q);\n", c.platform.Libraries[0].Name)
	c.printf("\treturn library == NULL ? NULL : (void *)(uintptr_t)GetProcAddress(library, name);\n}\n")
}

// lookupType emits the type of a function that is looked up: the header's, or the spec's where no header declares it.
func (c *cgoEmitter) lookupType(fn *Function) {
	if fn.Declared[c.platform.Name] {
		c.printf("\ntypedef __typeof__(%s) z_%s_function;\n", fn.Symbols[c.platform.Name], fn.Name)
		return
	}
	returns, params := c.functionType(fn)
	c.printf("\ntypedef %s WINAPI z_%s_function(%s);\n", returns, fn.Name, params)
}

// shim emits the C function of a call:
//
//	typedef struct {
//		uint32_t rc;
//		uint32_t n;
//	} z_SCardTransmit_result;
//
//	static inline z_SCardTransmit_result z_SCardTransmit(uint64_t hCard, uint32_t pioSendPci, …) {
//		DWORD pcbRecvLength_ = pcbRecvLength;
//		…
//		r.rc = (uint32_t)SCardTransmit((SCARDHANDLE)hCard, &pioSendPci_, …);
func (c *cgoEmitter) shim(fn *Function) {
	var params, before, args, after []string
	char, tchar := "uint8_t", "char"
	if c.wide() {
		char, tchar = "uint16_t", "wchar_t"
	}
	var fields []string
	for _, a := range fn.Args {
		typ := ""
		switch {
		case a.Scalar != nil:
			typ = c.typeName(a.Scalar)
		case a.Struct != nil:
			typ = c.structName(a.Struct)
		}
		switch a.Role {
		case "receiver":
			params = append(params, "uint64_t "+a.Name)
			args = append(args, fmt.Sprintf("(%s)%s", typ, a.Name))
		case "in", "len", "cap", "count":
			params = append(params, "uint32_t "+a.Name)
			args = append(args, fmt.Sprintf("(%s)%s", typ, a.Name))
		case "pointer":
			params = append(params, "uint64_t "+a.Name)
			args = append(args, "(void *)(uintptr_t)"+a.Name)
		case "reserved", "pci_out":
			args = append(args, "NULL")
		case "in_buffer", "in_mask", "in_atr":
			params = append(params, "const uint8_t *"+a.Name)
			args = append(args, "(void *)"+a.Name) // not const: some headers forget it
		case "out_buffer":
			params = append(params, "uint8_t *"+a.Name)
			args = append(args, "(void *)"+a.Name)
		case "guid", "guids", "structs", "out_guid", "out_guids":
			params = append(params, "uint8_t *"+a.Name)
			args = append(args, fmt.Sprintf("(%s *)(void *)%s", typ, a.Name))
		case "in_text", "in_multitext":
			params = append(params, "const "+char+" *"+a.Name)
			args = append(args, fmt.Sprintf("(%s *)%s", tchar, a.Name))
		case "out_text", "out_multitext":
			params = append(params, char+" *"+a.Name)
			args = append(args, fmt.Sprintf("(%s *)%s", tchar, a.Name))
		case "inout_len":
			params = append(params, "uint32_t "+a.Name)
			before = append(before, fmt.Sprintf("%s %s_ = %s;", typ, a.Name, a.Name))
			args = append(args, "&"+a.Name+"_")
			fields = append(fields, "uint32_t "+a.Name)
			after = append(after, fmt.Sprintf("r.%s = (uint32_t)%s_;", a.Name, a.Name))
		case "out", "out_len":
			before = append(before, fmt.Sprintf("%s %s_ = 0;", typ, a.Name))
			args = append(args, "&"+a.Name+"_")
			width := "uint32_t"
			cast := "(uint32_t)"
			if a.Scalar.Go == "Context" || a.Scalar.Go == "Card" {
				// Through the unsigned type of its width: no sign is carried into the upper bits.
				width, cast = "uint64_t", fmt.Sprintf("sizeof(%s) == 4 ? (uint64_t)(uint32_t)%s_ : (uint64_t)", typ, a.Name)
			}
			fields = append(fields, width+" "+a.Name)
			after = append(after, fmt.Sprintf("r.%s = %s%s_;", a.Name, cast, a.Name))
		case "pci_in":
			params = append(params, "uint32_t "+a.Name)
			before = append(before, fmt.Sprintf("%s %s_;", typ, a.Name))
			for _, fd := range a.Struct.Fields {
				v := a.Name
				if fd.Go == "Length" {
					v = "sizeof " + a.Name + "_"
				}
				before = append(before, fmt.Sprintf("%s_.%s = %s;", a.Name, fd.Name, v))
			}
			args = append(args, "&"+a.Name+"_")
		case "states":
			n := a.Length.Name
			params = append(params, fmt.Sprintf("z_%s *%s", a.Struct.Name, a.Name), fmt.Sprintf("const %s *texts", char))
			before = append(before,
				fmt.Sprintf("%s few[8], *all = few;", typ),
				fmt.Sprintf("if (%s > sizeof few / sizeof few[0]) {", n),
				fmt.Sprintf("\tall = calloc(%s, sizeof *all);", n),
				"\tif (all == NULL)",
				"\t\treturn (uint32_t)SCARD_E_NO_MEMORY;",
				"} else",
				fmt.Sprintf("\tmemset(few, 0, %s * sizeof few[0]);", n),
				fmt.Sprintf("for (uint32_t i = 0; i < %s; i++) {", n))
			after = append(after, fmt.Sprintf("for (uint32_t i = 0; i < %s; i++) {", n))
			for _, fd := range a.Struct.Fields {
				zf := fmt.Sprintf("%s[i].%s", a.Name, fd.Go)
				cf := "all[i]." + fd.Name
				switch {
				case fd.Role == "reserved":
				case fd.Type == "text":
					before = append(before, fmt.Sprintf("\t%s = (const %s *)(texts + %s[i].text);", cf, tchar, a.Name))
				case fd.Len != nil:
					before = append(before, fmt.Sprintf("\tmemcpy(%s, %s, sizeof %s);", cf, zf, cf))
					after = append(after, fmt.Sprintf("\tmemcpy(%s, %s, sizeof %s);", zf, cf, cf))
				default:
					before = append(before, fmt.Sprintf("\t%s = %s;", cf, zf))
					if fd.Role == "out_len" {
						after = append(after, fmt.Sprintf("\t%s = (uint32_t)%s < sizeof all[i].%s ? (uint32_t)%s : sizeof all[i].%s;", zf, cf, fd.Of, cf, fd.Of))
					} else if fd.Role == "out" {
						after = append(after, fmt.Sprintf("\t%s = (uint32_t)%s;", zf, cf))
					}
				}
			}
			before = append(before, "}")
			after = append(after, "}", "if (all != few)", "\tfree(all);")
			args = append(args, n+" ? all : NULL")
		}
	}
	call := fmt.Sprintf("%s(%s)", fn.Symbols[c.platform.Name], strings.Join(args, ", "))
	missing := ""
	if c.looksUp(fn) {
		c.lookupType(fn)
		call = fmt.Sprintf("((z_%s_function *)z_%s_symbol)(%s)", fn.Name, fn.Name, strings.Join(args, ", "))
		missing = fmt.Sprintf("if (z_%s_symbol == NULL && (z_%s_symbol = z_symbol(%q)) == NULL)\n\t\treturn ",
			fn.Name, fn.Name, fn.Symbols[c.platform.Name])
		c.printf("static void *volatile z_%s_symbol;\n", fn.Name)
	}
	if len(params) == 0 {
		params = []string{"void"}
	}
	if fn.Returns == "handle" {
		fields = append(fields, "uint64_t handle")
	}
	name := "z_" + fn.Name
	unsupported := c.codeValue("ErrUnsupportedFunction")
	switch {
	case fn.TextOnly:
		c.printf("\nstatic inline const char *%s(%s) {\n\treturn %s;\n}\n", name, strings.Join(params, ", "), call)
	case len(fields) == 0:
		c.printf("\nstatic inline uint32_t %s(%s) {\n", name, strings.Join(params, ", "))
		if missing != "" {
			c.printf("\t%s%s;\n", missing, unsupported)
		}
		for _, l := range before {
			c.printf("\t%s\n", l)
		}
		switch {
		case fn.Returns == "void":
			c.printf("\t%s;\n\treturn 0;\n}\n", call)
			return
		case len(after) == 0:
			c.printf("\treturn (uint32_t)%s;\n}\n", call)
			return
		}
		c.printf("\tuint32_t rc = (uint32_t)%s;\n", call)
		for _, l := range after {
			c.printf("\t%s\n", l)
		}
		c.printf("\treturn rc;\n}\n")
	default:
		c.printf("\ntypedef struct {\n")
		for _, f := range append(slices.Clone(fields), "uint32_t rc") {
			c.printf("\t%s;\n", f)
		}
		c.printf("} %s_result;\n\nstatic inline %s_result %s(%s) {\n", name, name, name, strings.Join(params, ", "))
		if missing != "" {
			c.printf("\t%s(%s_result){.rc = %s};\n", missing, name, unsupported)
		}
		c.printf("\t%s_result r;\n", name)
		for _, l := range before {
			c.printf("\t%s\n", l)
		}
		if fn.Returns == "handle" {
			c.printf("\tr.handle = (uintptr_t)%s;\n\tr.rc = GetLastError();\n", call)
		} else {
			c.printf("\tr.rc = (uint32_t)%s;\n", call)
		}
		for _, l := range after {
			c.printf("\t%s\n", l)
		}
		c.printf("\treturn r;\n}\n")
	}
}

// codeValue is the value of a code of this module.
func (c *cgoEmitter) codeValue(goName string) string {
	for _, code := range c.model.Codes {
		if code.Go == goName {
			return code.Value[c.platform.Name].Text + "u"
		}
	}
	return "0"
}

// returnsStruct reports whether the C function of a call gives more than a code.
func returnsStruct(fn *Function) bool {
	return slices.ContainsFunc(fn.Results, func(v *Var) bool { return v.Arg.Role != "out_guid" })
}

// method emits one call:
//
//	func (*Backend) Transmit(card winscard.Card, pci uint32, send, recv []byte) (n int, rc winscard.Code) {
//		r := C.z_SCardTransmit(C.uint64_t(card), C.uint32_t(pci), cBytes(send), cLen(send), cBytes(recv), cLen(recv))
//		rc = winscard.Code(r.rc)
//		n = winscard.NeededLength(int(r.pcbRecvLength), rc)
//		return n, rc
//	}
func (c *cgoEmitter) method(fn *Function) {
	wide := c.wide()
	needsBuf := slices.ContainsFunc(fn.Args, func(a *Arg) bool {
		return a.Role == "in_text" || a.Role == "in_multitext" || a.Role == "states" ||
			wide && (a.Role == "out_text" || a.Role == "out_multitext")
	})
	var body, done []jen.Code
	if needsBuf {
		body = append(body, jen.Id("buf").Op(":=").Id("buffers").Dot("Get").Call().Assert(jen.Op("*").Qual(callbufPath, "Buffer")))
		done = append(done, jen.Id("freeBuffer").Call(jen.Id("buf")))
	}
	refuse := func(cond *jen.Statement) jen.Code {
		return jen.If(cond).Block(append(slices.Clone(done), jen.Return(fails(fn, "ErrInvalidParameter")...))...)
	}
	cchar := "uint8_t"
	textMethod, textsMethod, textPtr := "Text", "Texts", "TextPtr"
	if wide {
		cchar, textMethod, textsMethod, textPtr = "uint16_t", "WideText", "WideTexts", "WidePtr"
	}
	u32 := func(v jen.Code) *jen.Statement { return jen.Qual("C", "uint32_t").Call(v) }
	charPtr := func(v jen.Code) *jen.Statement {
		return jen.Parens(jen.Op("*").Qual("C", cchar)).Call(v)
	}
	for _, a := range fn.Args {
		switch a.Role {
		case "in_text", "in_multitext":
			method := textMethod
			if a.Role == "in_multitext" {
				method = textsMethod
			}
			body = append(body,
				jen.List(jen.Id(a.Go+"At"), jen.Id(a.Go+"OK")).Op(":=").Id("buf").Dot(method).Call(jen.Id(a.Go)),
				refuse(jen.Op("!").Id(a.Go+"OK")))
		case "in_mask":
			body = append(body, refuse(maskDiffers(a)))
		case "in_atr":
			body = append(body,
				refuse(jen.Len(jen.Id(a.Go)).Op(">").Lit(int(a.Size.Value))),
				jen.Var().Id(a.Go+"Full").Index(jen.Lit(int(a.Size.Value))).Byte(),
				jen.Id(a.Go+"Len").Op(":=").Copy(jen.Id(a.Go+"Full").Index(jen.Op(":")), jen.Id(a.Go)))
		case "out_text", "out_multitext":
			if wide {
				body = append(body, jen.List(jen.Id(a.Go+"Ptr"), jen.Id(a.Go+"Units")).Op(":=").Id("buf").Dot("WideOut").Call(jen.Len(jen.Id(a.Go))))
			}
		case "states":
			ct := jen.Qual("C", "z_"+a.Struct.Name)
			var set []jen.Code
			for _, fd := range a.Struct.Fields {
				switch {
				case fd.Type == "text":
					set = append(set, jen.Id("array").Index(jen.Id("i")).Dot("text").Op("=").Add(u32(jen.Id("off"))))
				case fd.Role == "reserved":
				case fd.Len != nil:
					set = append(set, jen.Op("*").Parens(jen.Op("*").Index(jen.Qual(winscardPath, a.Struct.Go+fd.Go+"Size")).Byte()).Call(
						jen.Qual("unsafe", "Pointer").Call(jen.Op("&").Id("array").Index(jen.Id("i")).Dot(fd.Go))).Op("=").Id(a.Go).Index(jen.Id("i")).Dot(fd.Go))
				default:
					set = append(set, jen.Id("array").Index(jen.Id("i")).Dot(fd.Go).Op("=").Add(u32(jen.Id(a.Go).Index(jen.Id("i")).Dot(fd.Go))))
				}
			}
			loop := []jen.Code{
				jen.List(jen.Id("off"), jen.Id("ok")).Op(":=").Id("buf").Dot(textMethod).Call(jen.Id(a.Go).Index(jen.Id("i")).Dot(textField(a.Struct))),
				refuse(jen.Op("!").Id("ok")),
			}
			body = append(body,
				jen.Var().Id("array").Index().Add(ct.Clone()),
				jen.Var().Id("first").Op("*").Add(ct.Clone()),
				jen.Var().Id("texts").Op("*").Qual("C", cchar),
				jen.If(jen.Len(jen.Id(a.Go)).Op(">").Lit(0)).Block(
					jen.Id("arena").Op(":=").Id("buf").Dot("Arena").Call(jen.Len(jen.Id(a.Go)).Op("*").Int().Call(jen.Qual("unsafe", "Sizeof").Call(ct.Clone().Values()))),
					jen.Id("first").Op("=").Parens(jen.Op("*").Add(ct.Clone())).Call(jen.Qual("unsafe", "Pointer").Call(jen.Op("&").Id("arena").Index(jen.Lit(0)))),
					jen.Id("array").Op("=").Qual("unsafe", "Slice").Call(jen.Id("first"), jen.Len(jen.Id(a.Go))),
					jen.For(jen.Id("i").Op(":=").Range().Id(a.Go)).Block(append(loop, set...)...),
					jen.Id("texts").Op("=").Add(charPtr(jen.Id("buf").Dot(textPtr).Call(jen.Lit(0)))),
				))
		}
	}
	var args []jen.Code
	for _, a := range fn.Args {
		switch a.Role {
		case "receiver":
			args = append(args, jen.Qual("C", "uint64_t").Call(jen.Id(paramName(fn, a))))
		case "in", "pci_in":
			args = append(args, u32(jen.Id(a.Go)))
		case "pointer":
			args = append(args, jen.Qual("C", "uint64_t").Call(jen.Id(a.Go)))
		case "in_buffer", "in_mask", "out_buffer":
			args = append(args, jen.Id("cBytes").Call(jen.Id(a.Go)))
		case "in_atr":
			args = append(args, jen.Id("cBytes").Call(jen.Id(a.Go+"Full").Index(jen.Op(":").Id(a.Go+"Len"))))
		case "guid", "out_guid":
			at := jen.Id(a.Go)
			if !a.Nullable {
				at = jen.Op("&").Add(at)
			}
			args = append(args, jen.Parens(jen.Op("*").Qual("C", "uint8_t")).Call(jen.Qual("unsafe", "Pointer").Call(at)))
		case "guids", "structs", "out_guids":
			args = append(args, jen.Id("cArray").Call(jen.Id(a.Go)))
		case "len", "cap":
			args = append(args, jen.Id("cLen").Call(jen.Id(a.Buffer.Go)))
		case "count":
			args = append(args, u32(jen.Len(jen.Id(a.Buffer.Go))))
		case "in_text", "in_multitext":
			args = append(args, charPtr(jen.Id("buf").Dot(textPtr).Call(jen.Id(a.Go+"At"))))
		case "out_text", "out_multitext":
			if wide {
				args = append(args, charPtr(jen.Id(a.Go+"Ptr")))
			} else {
				args = append(args, jen.Id("cBytes").Call(jen.Id(a.Go)))
			}
		case "inout_len":
			if wide && isOutText(a.Buffer) {
				args = append(args, u32(jen.Id(a.Buffer.Go+"Units")))
			} else {
				args = append(args, jen.Id("cLen").Call(jen.Id(a.Buffer.Go)))
			}
		case "states":
			args = append(args, jen.Id("first"), jen.Id("texts"))
		}
	}
	call := jen.Qual("C", "z_"+fn.Name).Call(args...)
	switch {
	case fn.TextOnly:
		body = append(body, lockThread()...)
		body = append(body, jen.Return(jen.Qual("C", "GoString").Call(call)))
	case !returnsStruct(fn):
		assign := ":="
		if len(fn.Results) > 0 {
			assign = "="
		}
		body = append(body, jen.Id("rc").Op(assign).Qual(winscardPath, "Code").Call(call))
	default:
		rc := jen.Qual(winscardPath, "Code").Call(jen.Id("r").Dot("rc"))
		if fn.Returns == "handle" {
			rc = jen.Qual(winscardPath, "HandleCode").Call(jen.Uintptr().Call(jen.Id("r").Dot("handle")), jen.Uint32().Call(jen.Id("r").Dot("rc")))
		}
		body = append(body, jen.Id("r").Op(":=").Add(call), jen.Id("rc").Op("=").Add(rc))
	}
	if !fn.TextOnly {
		var ret []jen.Code
		for _, v := range fn.Results {
			a := v.Arg
			ret = append(ret, jen.Id(v.Name))
			switch a.Role {
			case "out_guid": // C has written it
				continue
			case "handle":
				body = append(body, jen.Id(v.Name).Op("=").Uintptr().Call(jen.Id("r").Dot("handle")))
				continue
			}
			if a.Role == "out" {
				body = append(body, jen.Id(v.Name).Op("=").Add(contract(v.Type)).Call(jen.Id("r").Dot(a.Name)))
				if a.Normalise != "" {
					body = append(body, jen.If(jen.Id("rc").Op("==").Qual(winscardPath, "Success")).Block(
						jen.Id(v.Name).Op("=").Qual(winscardPath, "Normalise"+a.Normalise).Call(jen.Id(v.Name))))
				}
				continue
			}
			length := jen.Int().Call(jen.Id("r").Dot(a.OutLen.Name))
			if wide && isOutText(a) {
				body = append(body,
					jen.If(jen.Id("rc").Op("==").Qual(winscardPath, "Success")).Block(
						jen.Id(v.Name).Op("=").Id("buf").Dot("Narrow").Call(jen.Id(a.Go), length),
					).Else().Block(
						jen.Id(v.Name).Op("=").Qual(winscardPath, "NeededLength").Call(jen.Qual(callbufPath, "WideLen").Call(length.Clone()), jen.Id("rc"))))
			} else {
				body = append(body, jen.Id(v.Name).Op("=").Qual(winscardPath, "NeededLength").Call(length, jen.Id("rc")))
			}
		}
		for _, a := range fn.Args {
			if a.Role != "states" {
				continue
			}
			var get []jen.Code
			for _, fd := range a.Struct.Fields {
				to := jen.Id(a.Go).Index(jen.Id("i")).Dot(fd.Go)
				switch {
				case fd.Role != "out" && fd.Role != "out_len":
				case fd.Len != nil:
					get = append(get, to.Op("=").Op("*").Parens(jen.Op("*").Index(jen.Qual(winscardPath, a.Struct.Go+fd.Go+"Size")).Byte()).Call(
						jen.Qual("unsafe", "Pointer").Call(jen.Op("&").Id("array").Index(jen.Id("i")).Dot(fd.Go))))
				default:
					get = append(get, to.Op("=").Uint32().Call(jen.Id("array").Index(jen.Id("i")).Dot(fd.Go)))
				}
			}
			body = append(body, jen.For(jen.Id("i").Op(":=").Range().Id(a.Go)).Block(get...))
		}
		body = append(body, done...)
		body = append(body, jen.Return(append(ret, jen.Id("rc"))...))
	}
	c.doc("%s is the equivalent of %s: it %s", fn.Go, fn.Symbols[c.platform.Name], fn.Doc)
	c.Func().Params(jen.Op("*").Id("Backend")).Id(fn.Go).Add(signature(fn)).Block(body...)
	c.Line()
}
