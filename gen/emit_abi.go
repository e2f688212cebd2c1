package gen

import (
	"fmt"
	"strings"
)

// emitABI emits, for each platform, a C file that compiles with the platform's headers exactly if the spec is what they
// say: every size, offset, sign and constant, as in the preamble of the cgo backend, and every function's prototype.
// make abi compiles it with the compiler of each target.
//
//	static LONG (*const z_SCardCancel)(SCARDCONTEXT) = SCardCancel;
func emitABI(m *Model) ([]File, error) {
	var files []File
	for _, p := range m.Platforms {
		c := &cgoEmitter{model: m, platform: p}
		c.printf("%s\n\n#include <stddef.h>\n#include <stdint.h>\n", header("functions", "types", "constants", "errors", "attributes", "features", "platforms"))
		for _, h := range p.Cgo.Include {
			c.printf("#include <%s>\n", h)
		}
		c.printf("\n")
		c.assertTypes()
		c.assertConstants()
		c.printf("\n// A function of another type does not compile: pointers are not converted, and nor are functions.\n")
		for _, fn := range m.Functions {
			if fn.Available(p.Name) && fn.Declared[p.Name] {
				c.prototype(fn)
			}
		}
		files = append(files, File{Path: "generated/abi/" + p.Name + ".c", Content: []byte(c.text.String())})
	}
	return files, nil
}

// prototype emits a pointer of the type that the spec gives a function, which the header's function is assigned to.
func (c *cgoEmitter) prototype(fn *Function) {
	returns, params := c.functionType(fn)
	convention := ""
	if c.wide() {
		convention = "WINAPI "
	}
	symbol := fn.Symbols[c.platform.Name]
	c.printf("%s (%s*const z_%s)(%s) = %s; // spec/functions.yaml: %s\n",
		returns, convention, symbol, params, symbol, fn.Name)
}

// Prototype is what the spec says that a function returns and takes on a platform, in C: "LONG(SCARDHANDLE, DWORD *)".
func Prototype(m *Model, p *Platform, fn *Function) string {
	c := &cgoEmitter{model: m, platform: p}
	returns, params := c.functionType(fn)
	return returns + "(" + params + ")"
}

// functionType is what a function returns and takes in C.
func (c *cgoEmitter) functionType(fn *Function) (returns, params string) {
	var types []string
	for _, a := range fn.Args {
		types = append(types, c.paramType(a))
	}
	if types == nil {
		types = []string{"void"}
	}
	switch fn.Returns {
	case "text":
		returns = "const char *"
	case "handle":
		returns = "HANDLE"
	case "void":
		returns = "void"
	default:
		returns = "LONG"
	}
	if t, ok := fn.C.For(c.platform.Name); ok {
		returns = t
	}
	return returns, strings.Join(types, ", ")
}

// paramType is the C type of a parameter.
func (c *cgoEmitter) paramType(a *Arg) string {
	if t, ok := a.C.For(c.platform.Name); ok {
		return t
	}
	typ := ""
	switch {
	case a.Scalar != nil:
		typ = c.typeName(a.Scalar)
	case a.Struct != nil:
		typ = c.structName(a.Struct)
	case a.Type == "text":
		typ = "char"
		if c.wide() {
			typ = "WCHAR"
		}
	case a.Type == "pointer":
		typ = "void"
	}
	switch a.Role {
	case "receiver", "in", "len", "cap", "count":
		return typ
	case "in_buffer", "in_mask", "in_atr", "in_text", "in_multitext", "guid", "guids", "pci_in", "reserved", "pointer":
		return fmt.Sprintf("const %s *", typ)
	}
	return typ + " *"
}
