package gen

import (
	"fmt"
	"slices"
	"strings"
)

// emitDoc emits the part of the documentation of package pcsc that follows from the spec, which go doc puts after the
// comment of doc.go:
//
//	// # Platform differences
//	//
//	// macOS (darwin). The library is a framework of the system.
//	//
//	//   - A program in a sandbox needs the entitlement com.apple.security.smartcard.
//	//
//	// Constants whose value differs:
//	//
//	//   - [ProtocolRaw] (SCARD_PROTOCOL_RAW) is 0x4 on macOS and pcsc-lite, 0x10000 on Windows.
//	package pcsc
func emitDoc(m *Model) ([]File, error) {
	f := newFile(pcscPath, "zdoc.go", "",
		"platforms", "types", "functions", "constants", "errors", "attributes", "features")
	d := &docText{model: m}
	d.paragraph("# Platform differences")
	d.paragraph("Methods, names and texts are the same on every platform. What differs follows; " +
		"it is generated from the description of PC/SC that the package is made from.")
	for _, p := range m.Platforms {
		d.platform(p)
	}
	d.values()
	d.constants()
	d.lacking()

	d.paragraph("# C libraries")
	d.paragraph("These differences are the backends' matter. " +
		"A program meets them when it brings a backend of its own.")
	d.list("Libraries, as the dlopen backend loads them:", each(m.Platforms, d.libraries))
	d.list("Functions that some platforms lack, and that no method uses:", d.availability("%s", func(f *Function) string {
		if f.API == "none" {
			return f.Name
		}
		return ""
	}))
	d.list("Functions whose symbol is not their name:", each(m.Platforms, d.symbols))
	d.list("Strings:", each(m.Platforms, d.strings))
	d.list("Types whose width differs:", each(m.Scalars, d.scalar))
	d.list("Structures whose layout differs:", each(m.Structs, d.structure))
	d.list("States that are ordinals in the library, and flags here:", each(m.Groups, d.ordinals))
	for _, line := range d.lines[:len(d.lines)-1] { // without the empty one at the end
		f.PackageComment(line)
	}
	return renderAll(f)
}

// docText collects the lines of a package comment.
type docText struct {
	model *Model
	lines []string
}

func (d *docText) paragraph(text string) {
	d.lines = append(append(d.lines, wrap(text)...), "//")
}

// list adds a paragraph and a list in the form that gofmt gives it, or nothing if the list is empty.
func (d *docText) list(intro string, items []string) {
	if len(items) == 0 {
		return
	}
	d.paragraph(intro)
	for _, item := range items {
		for i, line := range wrapTo(item, textWidth-len("  - ")) {
			mark := "//     "
			if i == 0 {
				mark = "//   - "
			}
			d.lines = append(d.lines, mark+strings.TrimPrefix(line, "// "))
		}
	}
	d.lines = append(d.lines, "//")
}

// each makes the items of a list; what has no text makes none.
func each[T any](list []T, text func(T) string) []string {
	var out []string
	for _, x := range list {
		if t := text(x); t != "" {
			out = append(out, t)
		}
	}
	return out
}

func (d *docText) platform(p *Platform) {
	intro := p.Title
	if goos := enumerate(slices.Sorted(slices.Values(p.GOOS))); !strings.EqualFold(goos, p.Title) {
		intro += " (" + goos + ")"
	}
	intro += ". " + p.Doc
	if len(p.Differences) == 0 {
		d.paragraph(intro)
		return
	}
	var texts []string
	for _, x := range p.Differences {
		texts = append(texts, x.Text)
	}
	d.list(intro, texts)
}

// values lists the constants that have another value on some platform, and the control codes, which are the same
// function of another number.
func (d *docText) values() {
	var all []*Named
	for _, g := range d.model.Groups {
		all = append(all, g.Values...)
	}
	for _, c := range d.model.Codes {
		all = append(all, &c.Named)
	}
	for _, a := range d.model.Attrs {
		all = append(all, &a.Named)
	}
	all = append(all, d.model.Controls...)
	d.list("Constants whose value differs:", each(all, func(n *Named) string {
		if n.Str != nil || len(n.Value) < len(d.model.Platforms) || n.Uniform(d.model.Platforms) {
			return ""
		}
		text, _ := d.by(func(p *Platform) string { return n.Value[p.Name].Text })
		return fmt.Sprintf("[%s] (%s) is %s.", n.Go, n.Name, text)
	}))
}

// constants lists the constants that are declared on some platforms alone.
func (d *docText) constants() {
	d.list("Constants that only some platforms have; all others can be used everywhere, also where a header lacks them:",
		each(d.model.Platforms, func(p *Platform) string {
			var names []string
			for _, n := range d.model.Controls {
				if _, ok := n.Value[p.Name]; ok && len(n.Value) < len(d.model.Platforms) {
					names = append(names, n.Go)
				}
			}
			if names == nil {
				return ""
			}
			return fmt.Sprintf("%s: %s.", p.Title, strings.Join(names, ", "))
		}))
}

func (d *docText) libraries(p *Platform) string {
	by := map[string][]string{}
	for _, l := range p.Libraries {
		by[l.Name] = append(by[l.Name], l.GOOS...)
	}
	var names []string
	for name, goos := range by {
		if len(by) > 1 {
			name += " on " + enumerate(slices.Sorted(slices.Values(goos)))
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Sprintf("%s: %s.", p.Title, strings.Join(names, ", "))
}

// lacking lists what a user of package pcsc does not find everywhere.
func (d *docText) lacking() {
	items := d.availability("[%s]", methodOf)
	if items == nil {
		return
	}
	d.paragraph("# Methods that some platforms lack")
	d.list("All methods can be called everywhere, so that a program compiles everywhere. Where the platform lacks the "+
		"function, or is older than the version named, the error is errors.ErrUnsupported. These are not on every platform:", items)
}

// methodOf is what package pcsc has for a function, or nothing.
func methodOf(f *Function) string {
	switch {
	case f.API == "none":
		return ""
	case f.Method != "":
		return f.Method
	case f.On == "none":
		return f.Go
	}
	return f.On + "." + f.Go
}

// availability lists the functions that some platforms lack by the platforms that have them, under the names that it is
// given and in their format; what has no name is left out.
func (d *docText) availability(format string, name func(*Function) string) []string {
	names := map[string][]string{}
	for _, fn := range d.model.Functions {
		on := platformsOf(d.model, fn)
		n := name(fn)
		if n == "" || on == "" && !fn.Optional {
			continue
		}
		if on == "" {
			on = "Every platform"
		}
		on += sinceOf(d.model, fn)
		if fn.Optional && fn.Since == nil {
			on += ", where the library has it"
		}
		names[on] = append(names[on], n)
	}
	var items []string
	for on, list := range names {
		slices.Sort(list)
		list = slices.Compact(list)
		for i := range list {
			list[i] = fmt.Sprintf(format, list[i])
		}
		items = append(items, on+": "+strings.Join(list, ", ")+".")
	}
	slices.SortFunc(items, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return items
}

func (d *docText) symbols(p *Platform) string {
	var names []string
	for _, fn := range d.model.Functions {
		if s, ok := fn.Symbols[p.Name]; ok && s != fn.Name {
			names = append(names, s+" for "+fn.Name)
		}
	}
	if names == nil {
		return ""
	}
	return fmt.Sprintf("%s: %s.", p.Title, strings.Join(names, ", "))
}

func (d *docText) strings(p *Platform) string {
	if p.Charset == "utf16" {
		return p.Title + ": UTF-16, translated from and to UTF-8."
	}
	return p.Title + ": UTF-8, as they are."
}

func (d *docText) scalar(s *Scalar) string {
	text, differs := d.by(func(p *Platform) string {
		kind, ok := s.C.For(p.Name)
		if !ok {
			return ""
		}
		size, signed := width(kind, 32)
		bits := fmt.Sprintf("%d bits", size*8)
		if wide, _ := width(kind, 64); wide != size {
			bits = "the bits of a pointer"
		}
		if signed {
			return bits + " and a sign"
		}
		return bits
	})
	if !differs {
		return ""
	}
	return fmt.Sprintf("%s has %s.", s.Name, text)
}

func (d *docText) structure(s *Struct) string {
	text, differs := d.by(func(p *Platform) string {
		var text string
		for _, a := range slices.Backward(d.model.ABIs) {
			l, ok := s.Layouts[a.Name]
			switch {
			case !ok || a.Platform != p:
			case text == "":
				text = fmt.Sprintf("%d bytes", l.Size)
				if s.Pack == nil && p.Pack > 0 {
					text += fmt.Sprintf(" (packed to %d)", p.Pack)
				}
			case s.Layouts[fmt.Sprintf("%s%d", p.Name, slices.Max(p.Bits))].Size != l.Size:
				text += fmt.Sprintf(" (%d with %d-bit pointers)", l.Size, a.Bits)
			}
		}
		return text
	})
	if !differs {
		return ""
	}
	text = fmt.Sprintf("%s has %s.", s.Name, text)
	for _, f := range s.Fields {
		if f.Len != nil && len(f.Len.By) > 0 {
			lens, _ := d.by(func(p *Platform) string {
				n, _ := f.Len.For(p.Name)
				return n.Text
			})
			text += fmt.Sprintf(" The length of %s is %s.", f.Name, lens)
		}
	}
	return text
}

func (d *docText) ordinals(g *Group) string {
	var on []string
	for _, p := range d.model.Platforms {
		if _, ok := g.Normalise.For(p.Name); !ok {
			continue
		}
		var states []string
		for _, n := range g.Values {
			if v, ok := n.Native[p.Name]; ok {
				states = append(states, v.Text+" is ["+n.Go+"]")
			}
		}
		on = append(on, fmt.Sprintf("on %s %s", p.Title, enumerate(states)))
	}
	if on == nil {
		return ""
	}
	return fmt.Sprintf("[%s]: %s.", g.Name, strings.Join(on, "; "))
}

// by says which platforms have which text: "4 on macOS and pcsc-lite, 16 on Windows". A platform that has none is left
// out. differs tells whether there is more than one.
func (d *docText) by(text func(*Platform) string) (list string, differs bool) {
	var texts []string
	titles := map[string][]string{}
	for _, p := range d.model.Platforms {
		t := text(p)
		if t == "" {
			continue
		}
		if titles[t] == nil {
			texts = append(texts, t)
		}
		titles[t] = append(titles[t], p.Title)
	}
	for i, t := range texts {
		texts[i] = t + " on " + enumerate(titles[t])
	}
	return strings.Join(texts, ", "), len(texts) > 1
}

// enumerate joins words as a sentence does.
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
