package gen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dave/jennifer/jen"
)

const cstubPath = module + "/internal/cstub"

// emitStub emits what the argument-checking library of package cstub has for the functions that Windows alone has, and
// what its tests have to know of them: zfunctions.h and zfunctions.go. A function checks each argument by its role,
// notes what it was given, and answers as it was told. zwinscard.h has what the headers of Windows have, for a library
// with the layouts of Windows that runs elsewhere.
func emitStub(m *Model) ([]File, error) {
	var p *Platform
	for _, x := range m.Platforms {
		if x.Charset == "utf16" {
			p = x
		}
	}
	var alone []*Function
	for _, fn := range m.Functions {
		if p != nil && fn.Available(p.Name) && len(fn.Symbols) == 1 {
			alone = append(alone, fn)
		}
	}
	if alone == nil {
		return nil, nil
	}
	files, err := renderAll(stubTable(p, alone))
	if err != nil {
		return nil, err
	}
	functions := &stubEmitter{cgoEmitter{model: m, platform: p}}
	functions.functions(alone)
	header := &stubEmitter{cgoEmitter{model: m, platform: p}}
	header.winscard()
	return append(files,
		File{Path: "internal/cstub/src/zfunctions.h", Content: []byte(functions.text.String())},
		File{Path: "internal/cstub/src/zwinscard.h", Content: []byte(header.text.String())}), nil
}

// stubName is the name of a function among the library's counters.
func stubName(fn *Function) string { return strings.ToLower(strings.TrimPrefix(fn.Name, "SCard")) }

// stubTable emits the functions for Go:
//
//	{Name: "audit", Method: "Audit", Args: []Arg{{Name: "hContext", Role: "receiver"}, …}},
func stubTable(p *Platform, alone []*Function) *goFile {
	f := newFile(cstubPath, "zfunctions.go", "", "functions")
	var rows []jen.Code
	for _, fn := range alone {
		var args []jen.Code
		for _, a := range fn.Args {
			fields := []jen.Code{jen.Id("Name").Op(":").Lit(a.Name), jen.Id("Role").Op(":").Lit(a.Role)}
			if a.Buffer != nil {
				fields = append(fields, jen.Id("Of").Op(":").Lit(a.Of))
			}
			if a.Size != nil {
				fields = append(fields, jen.Id("Size").Op(":").Lit(int(a.Size.Value)))
			}
			args = append(args, jen.Values(fields...))
		}
		fields := []jen.Code{
			jen.Id("Name").Op(":").Lit(stubName(fn)), jen.Id("Symbol").Op(":").Lit(fn.Symbols[p.Name]), jen.Id("Method").Op(":").Lit(fn.Go),
		}
		if fn.Returns != "" {
			fields = append(fields, jen.Id("Returns").Op(":").Lit(fn.Returns))
		}
		if args != nil {
			fields = append(fields, jen.Id("Args").Op(":").Index().Id("Arg").Custom(jen.Options{
				Open: "{", Close: "}", Separator: ",", Multi: true}, args...))
		}
		rows = append(rows, jen.Values(fields...))
	}
	f.doc("WindowsFunctions are the functions that Windows alone has, in the order of the library, after [FuncStringifyError].")
	f.Var().Id("WindowsFunctions").Op("=").Index().Id("Function").Custom(jen.Options{
		Open: "{", Close: "}", Separator: ",", Multi: true}, rows...)
	return f
}

type stubEmitter struct{ cgoEmitter }

// functions emits the list of the functions and the functions themselves:
//
//	STUB_EXPORT LONG STUB_CALL SCardAudit(SCARDCONTEXT hContext, DWORD dwEvent)
//	{
//		enum fn f = FN_audit;
//		count(f);
//		REQUIRE_CONTEXT(f, slot);
//		hold(f, NULL);
//		REQUIRE_DWORD(f, dwEvent);
//		…
func (c *stubEmitter) functions(alone []*Function) {
	c.printf("%s\n\n#if defined(STUB_LIST)\n\n#define WINDOWS_FUNCTIONS(X)", header("functions", "types", "platforms"))
	for _, fn := range alone {
		c.printf(" \\\n\tX(%s, %q, \"\")", stubName(fn), fn.Symbols[c.platform.Name])
	}
	c.printf("\n\n#else\n")
	for _, fn := range alone {
		c.function(fn)
	}
	c.printf("\n#endif\n")
}

func (c *stubEmitter) function(fn *Function) {
	var params []string
	for _, a := range fn.Args {
		params = append(params, strings.TrimSuffix(c.paramType(a), " ")+" "+a.Name)
	}
	if params == nil {
		params = []string{"void"}
	}
	returns, _ := c.functionType(fn)
	c.printf("\nSTUB_EXPORT %s STUB_CALL %s(%s)\n{\n\tenum fn f = FN_%s;\n\tcount(f);\n", returns,
		fn.Symbols[c.platform.Name], strings.ReplaceAll(strings.Join(params, ", "), "* ", "*"), stubName(fn))
	switch {
	case fn.Returns == "handle":
		c.printf("\treturn access_event(f);\n}\n")
		return
	case fn.Returns == "void":
		c.printf("\trelease_event(f);\n}\n")
		return
	}
	card := "NULL"
	for _, a := range fn.Args {
		if a.Role != "receiver" {
			continue
		}
		if a.Scalar.Go == "Card" {
			c.printf("\tREQUIRE_CARD(f, slot);\n")
			card = "&card_of[slot]"
		} else {
			c.printf("\tREQUIRE_CONTEXT(f, slot);\n\t(void)slot;\n")
		}
	}
	c.printf("\thold(f, %s);\n", card)
	for _, a := range fn.Args {
		c.check(a)
	}
	c.printf("\tlock(&record_lock);\n\trecord_begin(f);\n")
	for _, a := range fn.Args {
		c.record(a)
	}
	c.printf("\tunlock(&record_lock);\n\tRETURN_PLANNED(f);\n")
	results := slices.ContainsFunc(fn.Args, func(a *Arg) bool { return a.Cap != nil })
	if results {
		c.printf("\tLONG rc = SCARD_S_SUCCESS;\n")
	}
	for i, a := range fn.Args {
		c.answer(i, a)
	}
	if results {
		c.printf("\treturn rc;\n}\n")
	} else {
		c.printf("\treturn SCARD_S_SUCCESS;\n}\n")
	}
}

// check emits the check of an argument.
func (c *stubEmitter) check(a *Arg) {
	switch a.Role {
	case "in", "cap":
		c.printf("\tREQUIRE_DWORD(f, %s);\n", a.Name)
	case "reserved":
		c.printf("\tif (%s != 0)\n\t\tFAIL(f, %q, \"not NULL\");\n", a.Name, a.Name)
	case "in_text":
		c.printf("\tREQUIRE(text_ok(f, %q, %s));\n", a.Name, a.Name)
	case "in_multitext":
		c.printf("\tREQUIRE(texts_ok(f, %q, %s));\n", a.Name, a.Name)
	case "in_buffer":
		c.printf("\tREQUIRE(array_ok(f, %q, %s, %s, 1));\n", a.Name, a.Name, a.Length.Name)
	case "in_mask":
		c.printf("\tREQUIRE(%s == NULL || array_ok(f, %q, %s, %s, 1));\n", a.Name, a.Name, a.Name, a.Buffer.Length.Name)
	case "in_atr":
		c.printf("\tREQUIRE(atr_ok(f, %q, %s));\n", a.Name, a.Name)
	case "guids", "structs":
		c.printf("\tREQUIRE(array_ok(f, %q, %s, %s, _Alignof(%s)));\n", a.Name, a.Name, a.Length.Name, c.structName(a.Struct))
	case "guid":
		if a.Nullable {
			c.printf("\tif (%s != NULL)\n\t", a.Name)
		}
		c.printf("\tREQUIRE_OUT(f, %s, %s);\n", a.Name, c.structName(a.Struct))
	case "out_guid":
		c.printf("\tREQUIRE_OUT(f, %s, %s);\n", a.Name, c.structName(a.Struct))
	case "out", "out_len", "inout_len":
		c.printf("\tREQUIRE_OUT(f, %s, %s);\n", a.Name, c.typeName(a.Scalar))
	case "out_guids":
		c.printf("\tif (%s != NULL)\n\t\tREQUIRE_OUT(f, %s, %s);\n", a.Name, a.Name, c.structName(a.Struct))
	case "states":
		c.printf("\tREQUIRE(states_ok(f, %s, %s));\n", a.Name, a.Length.Name)
	}
}

// record emits how an argument is noted.
func (c *stubEmitter) record(a *Arg) {
	switch a.Role {
	case "in", "count", "len", "cap":
		c.printf("\trecord_number(f, %q, %s);\n", a.Name, a.Name)
	case "in_text":
		c.printf("\trecord_units(f, %q, %s, text_length(%s));\n", a.Name, a.Name, a.Name)
	case "in_multitext":
		c.printf("\trecord_units(f, %q, %s, texts_length(%s));\n", a.Name, a.Name, a.Name)
	case "in_buffer":
		c.printf("\trecord_bytes(f, %q, %s, %s);\n", a.Name, a.Name, a.Length.Name)
	case "in_mask":
		c.printf("\trecord_bytes(f, %q, %s, %s);\n", a.Name, a.Name, a.Buffer.Length.Name)
	case "in_atr":
		c.printf("\trecord_bytes(f, %q, %s, %s);\n", a.Name, a.Name, a.Size.Text)
	case "guid":
		c.printf("\trecord_bytes(f, %q, %s, sizeof *%s);\n", a.Name, a.Name, a.Name)
	case "guids", "structs":
		c.printf("\trecord_bytes(f, %q, %s, %s * sizeof *%s);\n", a.Name, a.Name, a.Length.Name, a.Name)
	case "inout_len":
		c.printf("\trecord_number(f, %q, *%s);\n", a.Name, a.Name)
	case "states":
		c.printf("\trecord_states(f, %s, %s);\n", a.Name, a.Length.Name)
	}
}

// answer emits what is given back for an argument, which is known by its number.
func (c *stubEmitter) answer(i int, a *Arg) {
	switch a.Role {
	case "out":
		c.printf("\t*%s = (%s)answer_number(f, %d);\n", a.Name, c.typeName(a.Scalar), i)
	case "out_guid":
		c.printf("\tanswer_copy(f, %d, %s, sizeof *%s);\n", i, a.Name, a.Name)
	case "states":
		c.printf("\tanswer_states(f, %d, %s, %s);\n", i, a.Name, a.Length.Name)
	case "out_buffer", "out_text", "out_multitext", "out_guids":
		unit := "1"
		switch a.Role {
		case "out_text", "out_multitext":
			unit = "sizeof(stub_char)"
		case "out_guids":
			unit = "sizeof *" + a.Name
		}
		c.printf("\tif (rc == SCARD_S_SUCCESS)\n\t\trc = answer(f, %d, %q, %q, %s, %s, %s);\n",
			i, a.Name, a.Cap.Name, a.Name, a.Cap.Name, unit)
	}
}

// winscard emits the types, structures, constants and other names of the headers, as far as the spec has them.
func (c *stubEmitter) winscard() {
	c.printf("%s\n\n#include <stddef.h>\n#include <stdint.h>\n#include <wchar.h>\n\n#define WINAPI\ntypedef wchar_t WCHAR; // compile with -fshort-wchar\n",
		header("functions", "types", "constants", "errors", "platforms"))
	kinds := map[string]string{"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t",
		"i32": "int32_t", "i64": "int64_t", "long": "intptr_t", "ulong": "uintptr_t", "uptr": "uintptr_t"}
	for _, s := range c.model.Scalars {
		if kind, ok := s.C.For(c.platform.Name); ok && s.Headers[c.platform.Name] {
			c.printf("typedef %s %s, *LP%s;\n", kinds[kind], c.typeName(s), c.typeName(s))
		}
	}
	c.printf("typedef const BYTE *LPCBYTE;\ntypedef BYTE *PBYTE;\ntypedef const void *LPCVOID;\ntypedef void *LPVOID, *HANDLE;\n" +
		"typedef char *LPSTR;\ntypedef WCHAR *LPWSTR;\ntypedef const WCHAR *LPCWSTR;\n")
	for _, s := range c.model.Structs {
		if s.Layouts[c.anyABI().Name] == nil {
			continue
		}
		c.printf("\ntypedef struct {\n")
		for i, fd := range s.Fields {
			typ := "void *"
			switch {
			case fd.Scalar != nil && !fd.Scalar.Headers[c.platform.Name]:
				kind, _ := fd.Scalar.C.For(c.platform.Name)
				typ = kinds[kind] + " "
			case fd.Scalar != nil:
				typ = c.typeName(fd.Scalar) + " "
			case fd.Type == "text":
				typ = "const WCHAR *"
			}
			array := ""
			if fd.Len != nil {
				array = fmt.Sprintf("[%d]", s.Layouts[c.anyABI().Name].Lens[i])
			}
			c.printf("\t%s%s%s;\n", typ, fd.Name, array)
		}
		name := c.structName(s)
		c.printf("} %s;\n", name)
		if name != s.Name {
			c.printf("#define %s %s\n", s.Name, name)
		}
	}
	c.printf("typedef GUID UUID;\n\n")
	c.assertTypes()
	c.printf("\n#define SCARD_AUTOALLOCATE ((DWORD)-1)\n")
	define := func(n *Named, typ string) {
		if v, ok := n.Native[c.platform.Name]; ok && n.Str == nil {
			c.printf("#define %s ((%s)%s)\n", n.Name, typ, v.Text)
		}
	}
	for _, g := range c.model.Groups {
		for _, n := range g.Values {
			define(n, "DWORD")
		}
	}
	for _, n := range c.model.Codes {
		define(&n.Named, "LONG")
	}
	c.printf("\n")
	for _, fn := range c.model.Functions {
		if symbol, ok := fn.Symbols[c.platform.Name]; ok && symbol != fn.Name && len(fn.Symbols) > 1 {
			c.printf("#define %s %s\n", fn.Name, symbol)
		}
	}
}
