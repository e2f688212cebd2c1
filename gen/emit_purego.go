package gen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/gopcsc/gopcsc/spec"
)

const (
	puregoModule = "github.com/ebitengine/purego"
	unsafePath   = "unsafe"
	binaryPath   = "encoding/binary"
)

func emitPurego(m *Model) ([]File, error) {
	if err := checkPurego(m); err != nil {
		return nil, err
	}
	files := []*goFile{puregoLayout(m), puregoDlopen(m), puregoNone(m), puregoLibrary(m)}
	for _, p := range m.Platforms {
		files = append(files, puregoBackend(m, p))
	}
	return renderAll(files...)
}

// checkPurego refuses what the frame cannot hold.
func checkPurego(m *Model) error {
	for _, f := range m.Functions {
		wide := 0
		for _, a := range f.Args {
			if a.Role == "out_text" || a.Role == "out_multitext" {
				wide++
			}
		}
		if wide > 1 {
			return fmt.Errorf("gen: %s: two strings out of one function have no place in the frame", f.Name)
		}
	}
	for _, s := range m.Structs {
		if !usedAsPCI(m, s) {
			continue
		}
		for name, l := range s.Layouts {
			at := 0
			for i := range s.Fields {
				if l.Offsets[i] != at {
					return fmt.Errorf("gen: %s: not laid out as a Go structure on %s", s.Name, name)
				}
				at += l.Sizes[i] * l.Lens[i]
			}
		}
	}
	return nil
}

func usedAsPCI(m *Model, s *Struct) bool {
	return slices.ContainsFunc(m.Functions, func(f *Function) bool {
		return slices.ContainsFunc(f.Args, func(a *Arg) bool { return a.Role == "pci_in" && a.Struct == s })
	})
}

// goWord is the Go type with the width of a C type on a platform. Signs do not matter: only patterns are kept.
func goWord(kind string) string {
	switch kind {
	case "u8":
		return "uint8"
	case "u16":
		return "uint16"
	case "u32", "i32":
		return "uint32"
	case "u64", "i64":
		return "uint64"
	default:
		return "uintptr"
	}
}

// abiSuffix makes an exported-style suffix of an ABI's name: pcsclite64 becomes Pcsclite64.
func abiSuffix(a *ABI) string { return strings.ToUpper(a.Name[:1]) + a.Name[1:] }

// puregoLayout emits how an array of structures lies in memory, for every ABI and for both byte orders: ordinary Go
// that the tests of every platform run anywhere.
//
//	func putReaderStateDarwin64(b []byte, o binary.ByteOrder, text uint64, s *winscard.ReaderState) {
//		o.PutUint64(b[0:], text)      // szReader
//		o.PutUint32(b[16:], s.CurrentState) // dwCurrentState
func puregoLayout(m *Model) *goFile {
	f := newFile(puregoPath, "zlayout.go", "", "types", "platforms")
	for _, s := range m.Structs {
		if !usedByStates(m, s) {
			continue
		}
		for _, abi := range m.ABIs {
			l := s.Layouts[abi.Name]
			suffix := s.Go + abiSuffix(abi)
			put := func(i int, v jen.Code) jen.Code {
				name := jen.Comment("// " + s.Fields[i].Name)
				switch l.Sizes[i] {
				case 8:
					return jen.Id("o").Dot("PutUint64").Call(jen.Id("b").Index(jen.Lit(l.Offsets[i]), jen.Empty()), jen.Uint64().Call(v)).Add(name)
				case 2:
					return jen.Id("o").Dot("PutUint16").Call(jen.Id("b").Index(jen.Lit(l.Offsets[i]), jen.Empty()), jen.Uint16().Call(v)).Add(name)
				default:
					return jen.Id("o").Dot("PutUint32").Call(jen.Id("b").Index(jen.Lit(l.Offsets[i]), jen.Empty()), jen.Uint32().Call(v)).Add(name)
				}
			}
			get := func(i int) *jen.Statement {
				return jen.Id("o").Dot(fmt.Sprintf("Uint%d", 8*l.Sizes[i])).Call(
					jen.Id("b").Index(jen.Lit(l.Offsets[i]), jen.Empty()))
			}
			span := func(i int) jen.Code {
				return jen.Id("b").Index(jen.Lit(l.Offsets[i]), jen.Lit(l.Offsets[i]+l.Lens[i]))
			}
			var puts, gets, moves []jen.Code
			for i, fd := range s.Fields {
				switch {
				case fd.Role == "reserved":
				case fd.Type == "text":
					puts = append(puts, put(i, jen.Id("text")))
					moves = append(moves, put(i, get(i).Op("+").Add(intAs(l.Sizes[i], jen.Id("base")))))
				case fd.Len != nil:
					puts = append(puts, jen.Copy(span(i), jen.Id("s").Dot(fd.Go).Index(jen.Op(":"))).Comment("// "+fd.Name))
					gets = append(gets, jen.Copy(jen.Id("s").Dot(fd.Go).Index(jen.Op(":")), span(i)).Comment("// "+fd.Name))
				default:
					puts = append(puts, put(i, jen.Id("s").Dot(fd.Go)))
					switch fd.Role {
					case "out":
						gets = append(gets, jen.Id("s").Dot(fd.Go).Op("=").Uint32().Call(get(i)).Comment("// "+fd.Name))
					case "out_len":
						gets = append(gets, jen.Id("s").Dot(fd.Go).Op("=").Min(jen.Uint32().Call(get(i)),
							jen.Lit(lenOf(s, l, fd.Of))).Comment("// "+fd.Name))
					}
				}
			}
			size := "size" + suffix
			f.doc("%s is the size of %s on %s with %d-bit pointers, in bytes.", size, s.Name, abi.Platform.Title, abi.Bits)
			f.Const().Id(size).Op("=").Lit(l.Size)
			f.Line()
			args := []jen.Code{jen.Id("b").Index().Byte(), jen.Id("o").Qual(binaryPath, "ByteOrder")}
			st := jen.Id("s").Op("*").Qual(winscardPath, s.Go)
			bound := jen.Id("_").Op("=").Id("b").Index(jen.Lit(l.Size - 1))
			f.doc("put%s writes a %s; text stands for the address of its string.", suffix, s.Name)
			f.Func().Id("put" + suffix).Params(append(slices.Clone(args), jen.Id("text").Uint64(), st)...).Block(append([]jen.Code{bound}, puts...)...)
			f.Line()
			f.doc("move%s adds base to the address of its string.", suffix)
			f.Func().Id("move" + suffix).Params(append(slices.Clone(args), jen.Id("base").Uint64())...).Block(append([]jen.Code{bound}, moves...)...)
			f.Line()
			f.doc("get%s reads what a call wrote.", suffix)
			f.Func().Id("get" + suffix).Params(append(slices.Clone(args), st)...).Block(append([]jen.Code{bound}, gets...)...)
			f.Line()
		}
	}
	return f
}

// intAs converts a 64-bit value to one of the size.
func intAs(size int, v *jen.Statement) *jen.Statement {
	if size == 8 {
		return v
	}
	return jen.Uint32().Call(v)
}

func lenOf(s *Struct, l *Layout, field string) int {
	for i, f := range s.Fields {
		if f.Name == field {
			return l.Lens[i]
		}
	}
	return 0
}

// dlopenTargets is the build expression of the targets where the dlopen backend builds. One that needs flags builds by
// itself only where cgo is on; without, it has to be asked for with a tag.
func dlopenTargets(p *Platform) string {
	var terms []string
	for _, t := range p.Targets {
		if !t.Dlopen {
			continue
		}
		term := t.GOOS + " && (" + strings.Join(slices.Sorted(slices.Values(t.GOARCH)), " || ") + ")"
		for _, not := range p.Not {
			term += " && !" + not
		}
		if t.Go != "" {
			term += " && go" + t.Go
		}
		if t.Flags != "" {
			term += " && (cgo || purego || pcsc_purego)"
		}
		terms = append(terms, "("+term+")")
	}
	slices.Sort(terms)
	return strings.Join(terms, " || ")
}

// puregoDlopen emits the only file that imports purego, with the targets on which it builds:
//
//	func call(fn uintptr, words ...uintptr) (r1, r2, errno uintptr) { return purego.SyscallN(fn, words...) }
func puregoDlopen(m *Model) *goFile {
	var on []string
	for _, p := range m.Platforms {
		if p.Charset == "utf8" {
			on = append(on, dlopenTargets(p))
		}
	}
	f := newFile(puregoPath, "zdlopen.go", strings.Join(on, " || "), "platforms")
	f.doc("supported says that this build can load a library.")
	f.Const().Id("supported").Op("=").True()
	f.Line()
	f.doc("dlopen loads a library. Its symbols stay out of the way of others.")
	f.Func().Id("dlopen").Params(jen.Id("name").String()).Params(jen.Uintptr(), jen.Error()).Block(
		jen.Return(jen.Qual(puregoModule, "Dlopen").Call(jen.Id("name"),
			jen.Qual(puregoModule, "RTLD_NOW").Op("|").Qual(puregoModule, "RTLD_LOCAL"))))
	f.Line()
	f.doc("dlsym finds a symbol.")
	f.Func().Id("dlsym").Params(jen.Id("library").Uintptr(), jen.Id("name").String()).Params(jen.Uintptr(), jen.Error()).Block(
		jen.Return(jen.Qual(puregoModule, "Dlsym").Call(jen.Id("library"), jen.Id("name"))))
	f.Line()
	f.doc("dlclose unloads a library.")
	f.Func().Id("dlclose").Params(jen.Id("library").Uintptr()).Block(
		jen.Id("_").Op("=").Qual(puregoModule, "Dlclose").Call(jen.Id("library")))
	f.Line()
	f.doc("call calls a C function.")
	f.Func().Id("call").Params(jen.Id("fn").Uintptr(), jen.Id("words").Op("...").Uintptr()).Params(
		jen.Id("r1"), jen.Id("r2"), jen.Id("errno").Uintptr()).Block(
		jen.Return(jen.Qual(puregoModule, "SyscallN").Call(jen.Id("fn"), jen.Id("words").Op("..."))))
	return f
}

// puregoNone emits what takes the place of everything else where the dlopen backend does not build.
func puregoNone(m *Model) *goFile {
	var on []string
	for _, p := range m.Platforms {
		on = append(on, dlopenTargets(p))
	}
	f := newFile(puregoPath, "znone.go", "!("+strings.Join(on, " || ")+")", "platforms")
	f.Const().Defs(
		jen.Comment("supported says that this build can't load a library."),
		jen.Id("supported").Op("=").False(),
		jen.Id("numSymbols").Op("=").Lit(0),
	)
	f.Line()
	f.Var().Id("symbols").Index(jen.Id("numSymbols")).Id("symbol")
	f.Line()
	f.Func().Id("dlopen").Params(jen.String()).Params(jen.Uintptr(), jen.Error()).Block(jen.Return(jen.Lit(0), jen.Id("errUnsupported")))
	f.Line()
	f.Func().Id("dlsym").Params(jen.Uintptr(), jen.String()).Params(jen.Uintptr(), jen.Error()).Block(jen.Return(jen.Lit(0), jen.Id("errUnsupported")))
	f.Line()
	f.Func().Id("dlclose").Params(jen.Uintptr()).Block()
	return f
}

// puregoLibrary emits the names of the libraries:
//
//	func standardLibrary(goos string) (name, install string)
func puregoLibrary(m *Model) *goFile {
	f := newFile(puregoPath, "zlibrary.go", "", "platforms")
	var cases, flags []jen.Code
	for _, p := range m.Platforms {
		libraries := slices.SortedFunc(slices.Values(p.Libraries), func(a, b *spec.Library) int {
			return strings.Compare(slices.Min(a.GOOS), slices.Min(b.GOOS))
		})
		for _, l := range libraries {
			var goos []jen.Code
			for _, g := range slices.Sorted(slices.Values(l.GOOS)) {
				goos = append(goos, jen.Lit(g))
			}
			cases = append(cases, jen.Case(goos...).Block(jen.Return(jen.Lit(l.Name), jen.Lit(l.Install))))
		}
		for _, t := range p.Targets {
			if t.Flags != "" {
				flags = append(flags, jen.Case(jen.Lit(t.GOOS)).Block(jen.Return(jen.Lit(t.Flags))))
			}
		}
	}
	f.doc("standardLibrary returns the one standard name of the PC/SC library of an operating system, and what to do when it is missing.")
	f.Func().Id("standardLibrary").Params(jen.Id("goos").String()).Params(jen.Id("name"), jen.Id("install").String()).Block(
		jen.Switch(jen.Id("goos")).Block(cases...),
		jen.Return(jen.Lit(""), jen.Lit("")))
	f.Line()
	f.doc("buildFlags returns the flags that go build needs for this backend without cgo on an operating system.")
	f.Func().Id("buildFlags").Params(jen.Id("goos").String()).String().Block(
		jen.Switch(jen.Id("goos")).Block(flags...),
		jen.Return(jen.Lit("")))
	return f
}

// puregoBackend emits the methods of a platform.
func puregoBackend(m *Model, p *Platform) *goFile {
	f := newFile(puregoPath, "zbackend_"+p.Name+".go", dlopenTargets(p), "functions", "types", "platforms")

	// C types.
	for _, s := range m.Scalars {
		kind, _ := s.C.For(p.Name)
		f.doc("c%s is %s.", s.Name, s.Name)
		f.Type().Id("c" + s.Name).Op("=").Id(goWord(kind))
		f.Line()
	}
	for _, s := range m.Structs {
		if !usedAsPCI(m, s) {
			continue
		}
		var fields []jen.Code
		for _, fd := range s.Fields {
			fields = append(fields, jen.Id(fd.Name).Id("c"+fd.Scalar.Name))
		}
		f.doc("c%s is %s.", s.Name, s.Name)
		f.Type().Id("c" + s.Name).Struct(fields...)
		f.Line()
	}

	// Symbols.
	var ids, rows []jen.Code
	for _, fn := range m.Functions {
		if !fn.Available(p.Name) {
			continue
		}
		id := jen.Id("sym" + fn.Go)
		if len(ids) == 0 {
			id.Op("=").Iota()
		}
		ids = append(ids, id)
		row := jen.Dict{jen.Id("name"): jen.Lit(fn.Symbols[p.Name])}
		if fn.Optional {
			row[jen.Id("optional")] = jen.True()
		}
		rows = append(rows, jen.Id("sym"+fn.Go).Op(":").Values(row))
	}
	ids = append(ids, jen.Id("numSymbols"))
	f.Const().Defs(ids...)
	f.Line()
	f.doc("symbols is what the library has to export.")
	f.Var().Id("symbols").Op("=").Index(jen.Id("numSymbols")).Id("symbol").Custom(jen.Options{
		Open: "{", Close: "}", Separator: ",", Multi: true,
	}, rows...)
	f.Line()

	// The frame has room for what the function with the most needs.
	var words, ptrs, guids, atr int
	outs := map[string]int{}
	pci, guid := "", ""
	for _, fn := range m.Functions {
		if !fn.Available(p.Name) {
			continue
		}
		fp := planFrame(fn)
		words = max(words, len(fn.Args))
		ptrs = max(ptrs, fp.ptrs)
		guids = max(guids, fp.guids)
		for k, n := range fp.outs {
			outs[k] = max(outs[k], n)
		}
		for _, a := range fn.Args {
			switch a.Role {
			case "pci_in":
				pci = a.Struct.Name
			case "guid", "out_guid":
				guid = a.Struct.Go
			case "in_atr":
				atr = max(atr, int(a.Size.Value))
			}
		}
	}
	fields := append(comments("words are the arguments."), jen.Id("words").Index(jen.Lit(words)).Uintptr())
	fields = append(fields, comments("ptrs are the caller's buffers. As fields of a heap object they make the buffers escape to the heap, where they stay put: a uintptr alone would let a buffer lie on a stack that moves before C sees it.")...)
	fields = append(fields, jen.Id("ptrs").Index(jen.Lit(ptrs)).Qual(unsafePath, "Pointer"))
	for _, s := range m.Scalars {
		if n := outs[s.Name]; n > 0 {
			fields = append(fields, jen.Id("out"+s.Name).Index(jen.Lit(n)).Id("c"+s.Name))
		}
	}
	if pci != "" {
		fields = append(fields, jen.Id("pci").Id("c"+pci))
	}
	if guids > 0 {
		fields = append(fields, jen.Id("guids").Index(jen.Lit(guids)).Qual(winscardPath, guid))
	}
	if atr > 0 {
		fields = append(fields, jen.Id("atr").Index(jen.Lit(atr)).Byte())
	}
	fields = append(fields, jen.Id("buf").Qual(callbufPath, "Buffer"))
	f.doc("frame is all that a call into C points to, in one heap object that is used again.")
	f.Type().Id("frame").Struct(fields...)
	f.Line()
	f.Var().Id("frames").Op("=").Qual("sync", "Pool").Values(jen.Dict{
		jen.Id("New"): jen.Func().Params().Any().Block(jen.Return(jen.New(jen.Id("frame")))),
	})
	f.Line()
	f.doc("free gives the frame back. It does not keep the caller's buffers alive.")
	f.Func().Params(jen.Id("f").Op("*").Id("frame")).Id("free").Params().Block(
		jen.Clear(jen.Id("f").Dot("ptrs").Index(jen.Op(":"))),
		jen.Id("f").Dot("buf").Dot("Reset").Call(),
		jen.Id("frames").Dot("Put").Call(jen.Id("f")))
	f.Line()

	for _, s := range m.Structs {
		if usedByStates(m, s) {
			puregoStates(f, m, p, s)
		}
	}
	for _, fn := range m.Functions {
		if fn.Available(p.Name) {
			puregoMethod(f, p, fn)
		}
	}
	return f
}

// framePlan is which slot of the frame each argument has.
type framePlan struct {
	slot  map[*Arg]int   // of an out parameter or length among those of its type, of a GUID among the GUIDs
	ptr   map[*Arg]int   // of a buffer among the pointers
	outs  map[string]int // slots by type
	ptrs  int
	guids int
}

// inFrame reports whether the address of an argument is a pointer of the frame.
func inFrame(a *Arg) bool {
	switch a.Role {
	case "in_buffer", "in_mask", "in_atr", "out_buffer", "out_text", "out_multitext", "guids", "structs", "out_guids":
		return true
	case "guid":
		return a.Nullable
	}
	return false
}

func planFrame(fn *Function) framePlan {
	p := framePlan{slot: map[*Arg]int{}, ptr: map[*Arg]int{}, outs: map[string]int{}}
	for _, a := range fn.Args {
		switch a.Role {
		case "out", "inout_len", "out_len":
			p.slot[a] = p.outs[a.Scalar.Name]
			p.outs[a.Scalar.Name]++
		case "guid", "out_guid":
			p.slot[a] = p.guids
			p.guids++
		}
		if inFrame(a) {
			p.ptr[a] = p.ptrs
			p.ptrs++
		}
	}
	return p
}

// puregoStates emits the choice of a layout by the width of a pointer, which the compiler makes:
//
//	func putReaderState(b []byte, text uint64, s *winscard.ReaderState) {
//		if bits == 64 {
//			putReaderStatePcsclite64(b, binary.NativeEndian, text, s)
func puregoStates(f *goFile, m *Model, p *Platform, s *Struct) {
	abi := func(name string, args ...jen.Code) []jen.Code {
		var out []jen.Code
		for _, a := range m.ABIs {
			if a.Platform != p {
				continue
			}
			all := append([]jen.Code{jen.Id("b"), jen.Qual(binaryPath, "NativeEndian")}, args...)
			out = append(out, jen.If(jen.Id("pointerBits").Op("==").Lit(a.Bits)).Block(
				jen.Id(name+s.Go+abiSuffix(a)).Call(all...)))
		}
		return out
	}
	st := jen.Id("s").Op("*").Qual(winscardPath, s.Go)
	b := jen.Id("b").Index().Byte()
	f.Func().Id("put"+s.Go).Params(b, jen.Id("text").Uint64(), st).Block(abi("put", jen.Id("text"), jen.Id("s"))...)
	f.Line()
	f.Func().Id("move"+s.Go).Params(b, jen.Id("base").Uint64()).Block(abi("move", jen.Id("base"))...)
	f.Line()
	f.Func().Id("get"+s.Go).Params(b, st).Block(abi("get", jen.Id("s"))...)
	f.Line()
	var sizes []jen.Code
	for _, a := range m.ABIs {
		if a.Platform == p {
			sizes = append(sizes, jen.If(jen.Id("pointerBits").Op("==").Lit(a.Bits)).Block(
				jen.Return(jen.Id("size"+s.Go+abiSuffix(a)))))
		}
	}
	f.Func().Id("size" + s.Go).Params().Int().Block(append(sizes, jen.Return(jen.Lit(0)))...)
	f.Line()
}

// puregoMethod emits one call:
//
//	func (b *Backend) Transmit(card winscard.Card, pci uint32, send, recv []byte) (n int, rc winscard.Code) {
//		fn := b.sym[symTransmit]
//		if fn == 0 {
//			return 0, winscard.ErrUnsupportedFunction
//		}
//		f := frames.Get().(*frame)
//		f.ptrs[0] = bytesPtr(send)
//		…
//		w := f.words[:7]
//		w[0] = uintptr(card)
//		…
//		r, _, _ := call(fn, w...)
//		rc = winscard.Code(uint32(r))
//		n = winscard.NeededLength(int(f.outDWORD[0]), rc)
//		f.free()
//		return n, rc
//	}
func puregoMethod(f *goFile, p *Platform, fn *Function) {
	plan := planFrame(fn)
	wide := p.Charset == "utf16"
	slot := func(a *Arg) *jen.Statement {
		return jen.Id("f").Dot("out" + a.Scalar.Name).Index(jen.Lit(plan.slot[a]))
	}
	ptr := func(a *Arg) *jen.Statement { return jen.Id("f").Dot("ptrs").Index(jen.Lit(plan.ptr[a])) }
	guid := func(a *Arg) *jen.Statement { return jen.Id("f").Dot("guids").Index(jen.Lit(plan.slot[a])) }
	pointer := func(v jen.Code) *jen.Statement {
		return jen.Qual(unsafePath, "Pointer").Call(jen.Op("&").Add(v))
	}
	addr := func(v jen.Code) *jen.Statement {
		return jen.Uintptr().Call(jen.Qual(unsafePath, "Pointer").Call(jen.Op("&").Add(v)))
	}
	clen := func(v string) *jen.Statement { return jen.Id("clampLen").Call(jen.Id(v)) }

	body := []jen.Code{
		jen.Id("fn").Op(":=").Id("b").Dot("sym").Index(jen.Id("sym" + fn.Go)),
		jen.If(jen.Id("fn").Op("==").Lit(0)).Block(jen.Return(fails(fn, "ErrUnsupportedFunction")...)),
		jen.Id("f").Op(":=").Id("frames").Dot("Get").Call().Assert(jen.Op("*").Id("frame")),
	}
	refuse := func(cond *jen.Statement) jen.Code {
		return jen.If(cond).Block(jen.Id("f").Dot("free").Call(), jen.Return(fails(fn, "ErrInvalidParameter")...))
	}
	// What C reads and writes is put into the frame first.
	for _, a := range fn.Args {
		switch a.Role {
		case "in_text", "in_multitext":
			method := map[string]string{"in_textfalse": "Text", "in_texttrue": "WideText",
				"in_multitextfalse": "Texts", "in_multitexttrue": "WideTexts"}[a.Role+fmt.Sprint(wide)]
			body = append(body,
				jen.List(jen.Id(a.Go+"At"), jen.Id(a.Go+"OK")).Op(":=").Id("f").Dot("buf").Dot(method).Call(jen.Id(a.Go)),
				refuse(jen.Op("!").Id(a.Go+"OK")))
		case "in_buffer", "out_buffer":
			body = append(body, ptr(a).Op("=").Id("bytesPtr").Call(jen.Id(a.Go)))
		case "in_mask":
			body = append(body, refuse(maskDiffers(a)), ptr(a).Op("=").Id("bytesPtr").Call(jen.Id(a.Go)))
		case "in_atr":
			atr := jen.Id("f").Dot("atr")
			body = append(body,
				refuse(jen.Len(jen.Id(a.Go)).Op(">").Lit(int(a.Size.Value))),
				jen.If(jen.Len(jen.Id(a.Go)).Op(">").Lit(0)).Block(
					jen.Clear(atr.Clone().Index(jen.Op(":"))),
					jen.Copy(atr.Clone().Index(jen.Op(":")), jen.Id(a.Go)),
					ptr(a).Op("=").Add(pointer(atr))))
		case "guid":
			if a.Nullable {
				body = append(body, jen.If(jen.Id(a.Go).Op("!=").Nil()).Block(
					guid(a).Op("=").Op("*").Id(a.Go),
					ptr(a).Op("=").Add(pointer(guid(a)))))
			} else {
				body = append(body, guid(a).Op("=").Id(a.Go))
			}
		case "out_guid":
			body = append(body, guid(a).Op("=").Add(contract(a.Struct.Go)).Values())
		case "guids", "structs", "out_guids":
			body = append(body, ptr(a).Op("=").Id("slicePtr").Call(jen.Id(a.Go)))
		case "out_text", "out_multitext":
			if wide {
				body = append(body,
					jen.List(jen.Id(a.Go+"Ptr"), jen.Id(a.Go+"Units")).Op(":=").Id("f").Dot("buf").Dot("WideOut").Call(jen.Len(jen.Id(a.Go))),
					ptr(a).Op("=").Id(a.Go+"Ptr"))
			} else {
				body = append(body, ptr(a).Op("=").Id("bytesPtr").Call(jen.Id(a.Go)))
			}
		case "inout_len":
			n := clen(a.Buffer.Go)
			if wide && isOutText(a.Buffer) {
				n = jen.Uint32().Call(jen.Id(a.Buffer.Go + "Units"))
			}
			body = append(body, slot(a).Op("=").Id("c"+a.Scalar.Name).Call(n))
		case "out", "out_len":
			body = append(body, slot(a).Op("=").Lit(0))
		case "pci_in":
			d := jen.Dict{}
			for _, fd := range a.Struct.Fields {
				v := jen.Id(a.Go)
				if fd.Go == "Length" {
					v = jen.Qual(unsafePath, "Sizeof").Call(jen.Id("f").Dot("pci"))
				}
				d[jen.Id(fd.Name)] = jen.Id("c" + fd.Scalar.Name).Call(v)
			}
			body = append(body, jen.Id("f").Dot("pci").Op("=").Id("c"+a.Struct.Name).Values(d))
		case "states":
			text, unit := "Text", 1
			if wide {
				text, unit = "WideText", 2
			}
			off := jen.Id("off")
			if unit == 2 {
				off = jen.Lit(unit).Op("*").Id("off")
			}
			step := jen.Id("size").Op("*").Id("i")
			body = append(body,
				jen.Id("size").Op(":=").Id("size"+a.Struct.Go).Call(),
				jen.Id("array").Op(":=").Id("f").Dot("buf").Dot("Arena").Call(jen.Id("size").Op("*").Len(jen.Id(a.Go))),
				jen.For(jen.Id("i").Op(":=").Range().Id(a.Go)).Block(
					jen.List(jen.Id("off"), jen.Id("ok")).Op(":=").Id("f").Dot("buf").Dot(text).Call(jen.Id(a.Go).Index(jen.Id("i")).Dot(textField(a.Struct))),
					refuse(jen.Op("!").Id("ok")),
					jen.Id("put"+a.Struct.Go).Call(jen.Id("array").Index(step, jen.Empty()), jen.Uint64().Call(off), jen.Op("&").Id(a.Go).Index(jen.Id("i")))),
				// Only now have the strings their last place.
				jen.For(jen.Id("i").Op(":=").Range().Id(a.Go)).Block(
					jen.Id("move"+a.Struct.Go).Call(jen.Id("array").Index(step, jen.Empty()),
						jen.Uint64().Call(jen.Uintptr().Call(jen.Id("f").Dot("buf").Dot(map[int]string{1: "TextPtr", 2: "WidePtr"}[unit]).Call(jen.Lit(0)))))))
		}
	}
	// The argument words.
	body = append(body, jen.Id("w").Op(":=").Id("f").Dot("words").Index(jen.Op(":").Lit(len(fn.Args))))
	for i, a := range fn.Args {
		var v *jen.Statement
		if inFrame(a) {
			v = jen.Uintptr().Call(ptr(a))
		}
		switch a.Role {
		case "receiver":
			v = jen.Uintptr().Call(jen.Id(paramName(fn, a)))
		case "in":
			v = jen.Uintptr().Call(jen.Id(a.Go))
		case "pointer":
			v = jen.Id(a.Go)
		case "reserved", "pci_out":
			v = jen.Lit(0)
		case "in_text", "in_multitext":
			name := "TextPtr"
			if wide {
				name = "WidePtr"
			}
			v = jen.Uintptr().Call(jen.Id("f").Dot("buf").Dot(name).Call(jen.Id(a.Go + "At")))
		case "guid", "out_guid":
			if v == nil {
				v = addr(guid(a))
			}
		case "len", "cap":
			v = jen.Uintptr().Call(clen(a.Buffer.Go))
		case "count":
			v = jen.Uintptr().Call(jen.Len(jen.Id(a.Buffer.Go)))
		case "out", "out_len", "inout_len":
			v = addr(slot(a))
		case "pci_in":
			v = addr(jen.Id("f").Dot("pci"))
		case "states":
			v = jen.Uintptr().Call(jen.Id("bytesPtr").Call(jen.Id("array")))
		}
		body = append(body, jen.Id("w").Index(jen.Lit(i)).Op("=").Add(v).Comment("// "+a.Name))
	}
	if fn.TextOnly {
		body = append(body, lockThread()...)
	}
	r, reason := jen.Id("r"), jen.Id("_")
	switch fn.Returns {
	case "void":
		r = jen.Id("_")
	case "handle":
		reason = jen.Id("reason")
	}
	assign := ":="
	if fn.Returns == "void" {
		assign = "="
	}
	body = append(body, jen.List(r, jen.Id("_"), reason).Op(assign).Id("call").Call(jen.Id("fn"), jen.Id("w").Op("...")))
	if fn.TextOnly {
		body = append(body,
			jen.Id("text").Op(":=").Id("goString").Call(jen.Id("r")),
			jen.Id("f").Dot("free").Call(),
			jen.Return(jen.Id("text")))
	} else {
		rc := jen.Qual(winscardPath, "Code").Call(jen.Uint32().Call(jen.Id("r")))
		switch fn.Returns {
		case "void":
			rc = jen.Qual(winscardPath, "Success")
		case "handle":
			rc = jen.Qual(winscardPath, "HandleCode").Call(jen.Id("r"), jen.Uint32().Call(jen.Id("reason")))
		}
		if len(fn.Results) == 0 {
			body = append(body, jen.Id("rc").Op(":=").Add(rc))
		} else {
			body = append(body, jen.Id("rc").Op("=").Add(rc))
		}
		ret := []jen.Code{}
		for _, v := range fn.Results {
			a := v.Arg
			ret = append(ret, jen.Id(v.Name))
			switch a.Role {
			case "handle":
				body = append(body, jen.Id(v.Name).Op("=").Id("r"))
			case "out_guid":
				body = append(body, jen.Id(v.Name).Op("=").Add(guid(a)))
			case "out":
				value := contract(v.Type).Call(slot(a))
				body = append(body, jen.Id(v.Name).Op("=").Add(value))
				if a.Normalise != "" {
					body = append(body, jen.If(jen.Id("rc").Op("==").Qual(winscardPath, "Success")).Block(
						jen.Id(v.Name).Op("=").Qual(winscardPath, "Normalise"+a.Normalise).Call(jen.Id(v.Name))))
				}
			default:
				length := jen.Int().Call(slot(a.OutLen))
				if wide && isOutText(a) {
					body = append(body,
						jen.If(jen.Id("rc").Op("==").Qual(winscardPath, "Success")).Block(
							jen.Id(v.Name).Op("=").Id("f").Dot("buf").Dot("Narrow").Call(jen.Id(a.Go), length),
						).Else().Block(
							jen.Id(v.Name).Op("=").Qual(winscardPath, "NeededLength").Call(jen.Qual(callbufPath, "WideLen").Call(length.Clone()), jen.Id("rc"))))
				} else {
					body = append(body, jen.Id(v.Name).Op("=").Qual(winscardPath, "NeededLength").Call(length, jen.Id("rc")))
				}
			}
		}
		for _, a := range fn.Args {
			if a.Role == "states" {
				body = append(body, jen.For(jen.Id("i").Op(":=").Range().Id(a.Go)).Block(
					jen.Id("get"+a.Struct.Go).Call(jen.Id("array").Index(jen.Id("size").Op("*").Id("i"), jen.Empty()), jen.Op("&").Id(a.Go).Index(jen.Id("i")))))
			}
		}
		body = append(body, jen.Id("f").Dot("free").Call(), jen.Return(append(ret, jen.Id("rc"))...))
	}
	f.doc("%s is the equivalent of %s: it %s", fn.Go, fn.Symbols[p.Name], fn.Doc)
	f.Func().Params(jen.Id("b").Op("*").Id("Backend")).Id(fn.Go).Add(signature(fn)).Block(body...)
	f.Line()
}

// isOutText reports whether C writes a string to the argument.
func isOutText(a *Arg) bool { return a.Role == "out_text" || a.Role == "out_multitext" }

// maskDiffers is the condition under which a mask does not go with its buffer.
func maskDiffers(a *Arg) *jen.Statement {
	mask := jen.Len(jen.Id(a.Go))
	return mask.Clone().Op("!=").Lit(0).Op("&&").Add(mask).Op("!=").Len(jen.Id(a.Buffer.Go))
}

// lockThread keeps the goroutine on its thread until the method returns: a text that a library returns is the thread's,
// and another call on the thread would change it before it is copied.
func lockThread() []jen.Code {
	return []jen.Code{
		jen.Comment("The text is the thread's, until its next call."),
		jen.Qual("runtime", "LockOSThread").Call(),
		jen.Defer().Qual("runtime", "UnlockOSThread").Call(),
	}
}

// paramName is the Go name of an argument.
func paramName(fn *Function, a *Arg) string {
	for _, v := range fn.Params {
		if v.Arg == a {
			return v.Name
		}
	}
	return a.Go
}

// textField is the Go name of the string in a structure.
func textField(s *Struct) string {
	for _, fd := range s.Fields {
		if fd.Type == "text" {
			return fd.Go
		}
	}
	return ""
}
