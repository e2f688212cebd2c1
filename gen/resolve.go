package gen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/spec"
)

// Resolve turns a spec that passed spec.Validate into a Model.
func Resolve(s *spec.Spec) (*Model, error) {
	r := resolver{spec: s, model: &Model{CtlCode: s.CtlCode}}
	r.platforms()
	r.types()
	r.functions()
	r.constants()
	r.codes()
	r.attributes()
	r.statuses()
	r.protocol()
	if r.err != nil {
		return nil, r.err
	}
	return r.model, nil
}

// resolver holds what the passes share. Validate has found every fault that a user can make; err is for what it let
// through.
type resolver struct {
	spec    *spec.Spec
	model   *Model
	scalars map[string]*Scalar
	structs map[string]*Struct
	sources map[string]*spec.Source
	err     error
}

func (r *resolver) fail(pos spec.Pos, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s:%d:%d: %s", pos.File, pos.Line, pos.Col, fmt.Sprintf(format, args...))
	}
}

func (r *resolver) platforms() {
	r.sources = map[string]*spec.Source{}
	for _, s := range r.spec.Sources {
		r.sources[s.Name] = s
	}
	ps := slices.Clone(r.spec.Platforms)
	slices.SortFunc(ps, func(a, b *spec.Platform) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range ps {
		pl := &Platform{Platform: p, Constraint: systems(p)}
		r.model.Platforms = append(r.model.Platforms, pl)
		for _, bits := range slices.Sorted(slices.Values(p.Bits)) {
			r.model.ABIs = append(r.model.ABIs, &ABI{Platform: pl, Bits: bits, Name: fmt.Sprintf("%s%d", p.Name, bits)})
		}
	}
}

// systems is the build expression of a platform's operating systems.
func systems(p *spec.Platform) string {
	expr := strings.Join(slices.Sorted(slices.Values(p.GOOS)), " || ")
	if len(p.Not) == 0 {
		return expr
	}
	if len(p.GOOS) > 1 {
		expr = "(" + expr + ")"
	}
	for _, not := range slices.Sorted(slices.Values(p.Not)) {
		expr += " && !" + not
	}
	return expr
}

func (r *resolver) types() {
	r.scalars = map[string]*Scalar{}
	r.structs = map[string]*Struct{}
	for _, s := range r.spec.Scalars {
		sc := &Scalar{s, r.headers(nil, s.Src)}
		r.scalars[s.Name] = sc
		r.model.Scalars = append(r.model.Scalars, sc)
	}
	slices.SortFunc(r.model.Scalars, func(a, b *Scalar) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range r.spec.Structs {
		st := &Struct{Struct: s, Layouts: map[string]*Layout{}}
		for _, f := range s.Fields {
			st.Fields = append(st.Fields, &Field{Field: f, Scalar: r.scalars[f.Type]})
		}
		for _, abi := range r.model.ABIs {
			if s.Headers == nil || slices.Contains(s.Headers, abi.Platform.Name) {
				st.Layouts[abi.Name] = layout(st, abi)
			}
		}
		r.structs[s.Name] = st
		r.model.Structs = append(r.model.Structs, st)
	}
	slices.SortFunc(r.model.Structs, func(a, b *Struct) int { return strings.Compare(a.Name, b.Name) })
}

// layout places the fields as a C compiler does: each at the next multiple of its alignment, but at most the packing,
// and the size a multiple of the largest.
func layout(s *Struct, abi *ABI) *Layout {
	pack := abi.Platform.Pack
	if s.Pack != nil {
		pack = *s.Pack
	}
	l := &Layout{Align: 1}
	at := 0
	for _, f := range s.Fields {
		size := abi.Bits / 8
		if f.Scalar != nil {
			size, _ = f.Scalar.Width(abi)
		}
		n := 1
		if v, ok := f.Len.For(abi.Platform.Name); ok {
			n = int(v.Value)
		}
		align := size
		if pack > 0 {
			align = min(align, pack)
		}
		at = roundUp(at, align)
		l.Align = max(l.Align, align)
		l.Offsets = append(l.Offsets, at)
		l.Sizes = append(l.Sizes, size)
		l.Lens = append(l.Lens, n)
		if !f.Tail {
			at += size * n
		}
	}
	l.Size = roundUp(at, l.Align)
	return l
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func (r *resolver) functions() {
	fs := slices.Clone(r.spec.Functions)
	slices.SortFunc(fs, func(a, b *spec.Function) int { return strings.Compare(a.Go, b.Go) })
	for _, sf := range fs {
		r.model.Functions = append(r.model.Functions, r.function(sf))
	}
}

func (r *resolver) function(sf *spec.Function) *Function {
	f := &Function{
		Function: sf,
		Symbols:  map[string]string{},
		TextOnly: sf.Returns == "text",
		Declared: r.headers(nil, sf.Src),
	}
	for _, p := range r.model.Platforms {
		if sf.Platforms != nil && !slices.Contains(sf.Platforms, p.Name) {
			continue
		}
		symbol := sf.Name
		if s, ok := sf.Symbol.For(p.Name); ok {
			symbol = s
		}
		f.Symbols[p.Name] = symbol
	}
	byName := map[string]*Arg{}
	for _, p := range sf.Params {
		a := &Arg{Param: p, Scalar: r.scalars[p.Type], Struct: r.structs[p.Type]}
		byName[p.Name] = a
		f.Args = append(f.Args, a)
	}
	for _, a := range f.Args {
		if a.Of == "" {
			continue
		}
		a.Buffer = byName[a.Of]
		if a.Buffer == nil {
			r.fail(a.At("of"), "%s.%s: no parameter %q", sf.Name, a.Name, a.Of)
			continue
		}
		switch a.Role {
		case "len", "count":
			a.Buffer.Length = a
		case "cap":
			a.Buffer.Cap = a
		case "out_len":
			a.Buffer.OutLen = a
		case "inout_len":
			a.Buffer.Cap, a.Buffer.OutLen = a, a
		}
	}
	buffers := 0
	for _, a := range f.Args {
		switch a.Role {
		case "out_buffer", "out_text", "out_multitext", "out_guids":
			buffers++
		}
	}
	for _, a := range f.Args {
		name := a.Go
		switch a.Role {
		case "receiver":
			if a.Scalar.Go == "Context" {
				name = "ctx"
			} else {
				name = "card"
			}
			f.Params = append(f.Params, &Var{name, a.Scalar.Go, a})
		case "in":
			f.Params = append(f.Params, &Var{name, a.Scalar.Go, a})
		case "pci_in":
			f.Params = append(f.Params, &Var{name, "uint32", a})
		case "pointer":
			f.Params = append(f.Params, &Var{name, "uintptr", a})
		case "in_buffer", "in_mask", "in_atr":
			f.Params = append(f.Params, &Var{name, "[]byte", a})
		case "guid":
			typ := a.Struct.Go
			if a.Nullable {
				typ = "*" + typ
			}
			f.Params = append(f.Params, &Var{name, typ, a})
		case "guids", "structs":
			f.Params = append(f.Params, &Var{name, "[]" + a.Struct.Go, a})
		case "out_guid":
			f.Results = append(f.Results, &Var{name, a.Struct.Go, a})
		case "in_text":
			f.Params = append(f.Params, &Var{name, "string", a})
		case "in_multitext":
			f.Params = append(f.Params, &Var{name, "[]string", a})
		case "states":
			f.Params = append(f.Params, &Var{name, "[]" + a.Struct.Go, a})
		case "out_buffer", "out_text", "out_multitext", "out_guids":
			typ := "[]byte"
			if a.Role == "out_guids" {
				typ = "[]" + a.Struct.Go
			}
			f.Params = append(f.Params, &Var{name, typ, a})
			n := "n"
			if buffers > 1 {
				n = name + "Len"
			}
			f.Results = append(f.Results, &Var{n, "int", a})
		case "out":
			if name == "context" {
				name = "ctx"
			}
			f.Results = append(f.Results, &Var{name, a.Scalar.Go, a})
		case "reserved", "pci_out", "len", "cap", "out_len", "inout_len", "count":
		default:
			r.fail(a.At("role"), "%s.%s: role %s is not emitted yet", sf.Name, a.Name, a.Role)
		}
	}
	if sf.Returns == "handle" {
		f.Results = append(f.Results, &Var{"handle", "uintptr", &Arg{Param: &spec.Param{Name: "handle", Role: "handle"}}})
	}
	return f
}

// headers returns the platforms whose headers define an entry: those that it names, else those of its sources.
func (r *resolver) headers(headers, sources []string) map[string]bool {
	has := map[string]bool{}
	if headers != nil {
		for _, h := range headers {
			has[h] = true
		}
		return has
	}
	for _, s := range sources {
		if src := r.sources[s]; src != nil && src.Platform != "" && !src.Symbols {
			has[src.Platform] = true
		}
	}
	return has
}

func (r *resolver) named(name, goName, doc string, value *spec.PerPlatform[spec.Int], native *spec.PerPlatform[spec.Int],
	headers, sources []string, since *spec.PerPlatform[string], file string) Named {
	has := r.headers(headers, sources)
	n := Named{Name: name, Go: goName, Doc: doc, Value: map[string]spec.Int{}, Native: map[string]spec.Int{},
		Guard: map[string]bool{}, Headers: has, Sources: sources, File: file}
	for _, p := range r.model.Platforms {
		v, ok := value.For(p.Name)
		if ok {
			n.Value[p.Name] = v
		}
		if nv, has := native.For(p.Name); has {
			v, ok = nv, true
		}
		if !has[p.Name] {
			continue
		}
		_, n.Guard[p.Name] = since.For(p.Name)
		if ok {
			n.Native[p.Name] = v
		}
	}
	return n
}

func (r *resolver) constants() {
	gs := slices.Clone(r.spec.Constants)
	slices.SortFunc(gs, func(a, b *spec.Group) int { return strings.Compare(a.Name, b.Name) })
	for _, sg := range gs {
		g := &Group{Group: sg}
		by := map[string]*Named{}
		for _, c := range sg.Values {
			src := c.Src
			if src == nil {
				src = sg.Src
			}
			n := r.named(c.Name, c.Go, c.Doc, c.Value, c.Native, c.Headers, src, c.Since, c.Pos.File)
			n.Str, n.Text, n.Same = c.String, c.Text, c.Same
			by[c.Name] = &n
			g.Values = append(g.Values, &n)
		}
		for i, c := range sg.Values {
			for _, other := range c.Implies {
				g.Values[i].Implies = append(g.Values[i].Implies, by[other])
			}
		}
		sortNamed(g.Values, func(n *Named) *Named { return n })
		r.model.Groups = append(r.model.Groups, g)
	}
}

// sortNamed sorts by value and then name, so that the order of the spec's lists does not show in what is generated.
func sortNamed[T any](list []T, named func(T) *Named) {
	lowest := func(n *Named) (v uint64) {
		first := true
		for _, i := range n.Value {
			if first || i.Value < v {
				v, first = i.Value, false
			}
		}
		return v
	}
	slices.SortFunc(list, func(x, y T) int {
		a, b := named(x), named(y)
		if va, vb := lowest(a), lowest(b); va != vb {
			if va < vb {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func (r *resolver) codes() {
	goNames := map[string]string{}
	for _, e := range r.spec.Errors {
		goNames[e.Name] = e.Go
	}
	for _, e := range r.spec.Errors {
		c := &Code{Hint: e.Hint, Own: e.Own}
		c.Named = r.named(e.Name, e.Go, e.Doc, e.Value, nil, e.Headers, e.Src, e.Since, e.Pos.File)
		c.Text, c.Same = e.Text, e.Same
		for _, is := range e.Is {
			switch is {
			case "context.DeadlineExceeded":
				c.IsDeadline = true
			case "errors.ErrUnsupported":
				c.IsNoSys = true
			default:
				c.IsCodes = append(c.IsCodes, goNames[is])
			}
		}
		r.model.Codes = append(r.model.Codes, c)
	}
	sortNamed(r.model.Codes, func(c *Code) *Named { return &c.Named })
}

func (r *resolver) attributes() {
	classes := map[string]*Named{}
	for _, c := range r.spec.AttributeClasses {
		n := r.named(c.Name, c.Go, c.Doc, c.Value, nil, c.Headers, c.Src, nil, c.Pos.File)
		classes[c.Name] = &n
		r.model.Classes = append(r.model.Classes, &n)
	}
	sortNamed(r.model.Classes, func(n *Named) *Named { return n })
	for _, a := range r.spec.Attributes {
		class := classes[a.Class]
		if class == nil {
			r.fail(a.At("class"), "%s: no attribute class %q", a.Name, a.Class)
			continue
		}
		value := &spec.PerPlatform[spec.Int]{By: map[string]spec.Int{}}
		for p, v := range class.Value {
			value.By[p] = hex(v.Value<<16 | a.Tag.Value)
		}
		at := &Attribute{Decode: a.Decode, Access: a.Access, Unit: a.Unit}
		at.Named = r.named(a.Name, a.Go, a.Doc, value, nil, a.Headers, a.Src, nil, a.Pos.File)
		at.Same = a.Same
		r.model.Attrs = append(r.model.Attrs, at)
	}
	sortNamed(r.model.Attrs, func(a *Attribute) *Named { return &a.Named })

	for _, c := range r.spec.ControlCodes {
		value := &spec.PerPlatform[spec.Int]{By: map[string]spec.Int{}}
		for _, p := range r.model.Platforms {
			if c.Platforms != nil && !slices.Contains(c.Platforms, p.Name) {
				continue
			}
			base, _ := r.spec.CtlCode.Base.For(p.Name)
			shift, _ := r.spec.CtlCode.Shift.For(p.Name)
			value.By[p.Name] = hex(base.Value + c.Function.Value<<shift.Value)
		}
		n := r.named(c.Name, c.Go, c.Doc, value, nil, c.Headers, c.Src, nil, c.Pos.File)
		r.model.Controls = append(r.model.Controls, &n)
	}
	sortNamed(r.model.Controls, func(n *Named) *Named { return n })

	for _, f := range r.spec.Features {
		n := r.named(f.Name, f.Go, f.Doc, same(f.Tag), nil, f.Headers, f.Src, nil, f.Pos.File)
		r.model.Features = append(r.model.Features, &n)
	}
	sortNamed(r.model.Features, func(n *Named) *Named { return n })
	for _, p := range r.spec.Properties {
		pr := &Property{Decode: p.Decode, Unit: p.Unit}
		pr.Named = r.named(p.Name, p.Go, p.Doc, same(p.Tag), nil, p.Headers, p.Src, nil, p.Pos.File)
		r.model.Props = append(r.model.Props, pr)
	}
	sortNamed(r.model.Props, func(p *Property) *Named { return &p.Named })
}

func (r *resolver) statuses() {
	goNames := map[string]string{}
	for _, s := range r.spec.StatusWords {
		goNames[s.Name] = s.Go
	}
	for _, s := range r.spec.StatusWords {
		st := &Status{StatusWord: s, First: uint16(s.Value.Value), Last: uint16(s.Value.Value)}
		if s.Last != nil {
			st.Last = uint16(s.Last.Value)
		}
		for _, is := range s.Is {
			if is == "errors.ErrUnsupported" {
				st.IsNoSys = true
			} else {
				st.IsWords = append(st.IsWords, goNames[is])
			}
		}
		r.model.Statuses = append(r.model.Statuses, st)
	}
	slices.SortFunc(r.model.Statuses, func(a, b *Status) int { return int(a.First) - int(b.First) })
}

func same(v *spec.Int) *spec.PerPlatform[spec.Int] { return &spec.PerPlatform[spec.Int]{Default: v} }

func hex(v uint64) spec.Int { return spec.Int{Value: v, Text: fmt.Sprintf("0x%08X", v)} }
