package spec

import (
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// valued is an entry whose value must differ from that of the others in its set.
type valued struct {
	*Node
	name  string
	path  string
	key   string // where the value is
	same  string
	value func(platform string) (uint64, Pos, bool)
}

// aliases are the entries that may share a value because same_value_as links them, directly or through others.
type aliases map[string]string

func (a aliases) root(name string) string {
	for a[name] != "" {
		name = a[name]
	}
	return name
}

// link checks same_value_as, which may name an entry of a larger set.
func (v *validator) link(set, all []valued) aliases {
	linked := make(aliases)
	for _, e := range set {
		if e.same == "" {
			continue
		}
		pos, at := e.At("same_value_as"), join(e.path, "same_value_as")
		i := slices.IndexFunc(all, func(x valued) bool { return x.name == e.same })
		switch {
		case i < 0:
			v.unknown(pos, KindSameAs, at, "such entry", e.same, without(namesOf(all, func(x valued) string { return x.name }), []string{e.name}))
		case e.same == e.name:
			v.add(pos, KindSameAs, at, "an entry always has its own value: remove the key")
		case !slices.ContainsFunc(v.platforms, func(p string) bool {
			a, _, okA := e.value(p)
			b, _, okB := all[i].value(p)
			return okA && okB && a == b
		}):
			v.add(pos, KindSameAs, at, "%q has the same value on no platform: remove the key, or correct a value", e.same)
		default:
			if a, b := linked.root(e.name), linked.root(e.same); a != b {
				linked[a] = b
			}
		}
	}
	return linked
}

// distinct checks that no two entries have one value on a platform unless they are aliases; nil if none can be.
func (v *validator) distinct(set []valued, linked aliases) {
	type clash struct{ entry, other int }
	on := make(map[clash][]string)
	var order []clash
	for _, platform := range v.platforms {
		first := make(map[uint64]int)
		for i, e := range set {
			value, _, ok := e.value(platform)
			if !ok {
				continue
			}
			other, again := first[value]
			if !again {
				first[value] = i
				continue
			}
			if linked.root(set[other].name) == linked.root(e.name) {
				continue
			}
			c := clash{i, other}
			if on[c] == nil {
				order = append(order, c)
			}
			on[c] = append(on[c], platform)
		}
	}
	for _, c := range order {
		e, other := set[c.entry], set[c.other]
		_, pos, _ := e.value(on[c][0])
		where, hint := "", "correct one, or remove it"
		if len(on[c]) < len(v.platforms) {
			where = " on " + quoted(on[c], "and")
		}
		if linked != nil {
			hint = "correct one, or say same_value_as: " + other.name
		}
		v.add(pos, KindSameValue, join(e.path, e.key), "%q at %s has the same value%s: %s", other.name, other.Pos, where, hint)
	}
}

// numbers returns the value of an entry by platform.
func numbers(p *PerPlatform[Int]) func(string) (uint64, Pos, bool) {
	return func(platform string) (uint64, Pos, bool) {
		i, ok := p.For(platform)
		return i.Value, p.Where(platform), ok
	}
}

// number is numbers for a value that is the same everywhere.
func number(n *Node, key string, i *Int) func(string) (uint64, Pos, bool) {
	return func(string) (uint64, Pos, bool) {
		if i == nil {
			return 0, Pos{}, false
		}
		return i.Value, n.At(key), true
	}
}

func (v *validator) width(pos Pos, value Int, limit int, path, what string) {
	if bits.Len64(value.Value) > limit {
		v.add(pos, KindWidth, path, "%s has %d bits, and %s has %d: correct the value or the type", value.Text, bits.Len64(value.Value), what, limit)
	}
}

func (v *validator) checkGroups() {
	names := make(scope)
	var all []valued
	for _, g := range v.Constants {
		for _, c := range g.Values {
			all = append(all, valued{&c.Node, c.Name, "", "value", c.Same, numbers(c.Value)})
		}
	}
	for _, g := range v.Constants {
		path := printable(g.Name)
		if !groupName.MatchString(g.Name) {
			v.add(g.At("name"), KindGoName, join(path, "name"), "%q is not the name of a Go type: begin with a capital, and use ASCII letters and digits", g.Name)
		} else {
			v.claim(names, KindDuplicate, g.Name, "a group", g.At("name"), join(path, "name"))
			if g.Kind != "values" && find(v.Constants, func(x *Group) string { return x.Name }, g.Name) == g {
				v.claim(v.goNames, KindGoDuplicate, g.Name, "group "+g.Name, g.At("name"), join(path, "name"))
			}
		}
		scalar := v.groupType(g, path)
		var set, native []valued
		for _, c := range g.Values {
			at := within(path, printable(c.Name))
			v.checkConstant(g, c, scalar, at)
			set = append(set, valued{&c.Node, c.Name, at, "value", c.Same, numbers(c.Value)})
			native = append(native, valued{&c.Node, c.Name, at, "native", c.Same, func(platform string) (uint64, Pos, bool) {
				_, normalised := g.Normalise.For(platform)
				i, ok := c.Native.For(platform)
				return i.Value, c.Native.Where(platform), ok && normalised
			}})
		}
		linked := v.link(set, all)
		if g.Kind == "values" {
			continue // limits and the like may well be the same number
		}
		v.distinct(set, linked)
		v.distinct(native, linked)
		if g.Kind == "flags" {
			v.checkFlags(g, path)
		}
	}
}

func (v *validator) groupType(g *Group, path string) *Scalar {
	if g.Type == "" {
		if g.Kind != "values" {
			v.add(g.Pos, KindUnknownType, path, "a group of kind %s has a Go type, which needs a C type: add type", g.Kind)
		}
		return nil
	}
	s := v.Scalar(g.Type)
	if s == nil {
		v.unknown(g.At("type"), KindUnknownType, join(path, "type"), "scalar", g.Type, namesOf(v.Scalars, func(s *Scalar) string { return s.Name }))
	}
	return s
}

func (v *validator) checkConstant(g *Group, c *Constant, scalar *Scalar, path string) {
	v.cName(&c.Node, c.Name, "a constant", path)
	v.goName(v.goNames, &c.Node, c.Go, c.Name, path)
	sources := c.Src
	if len(sources) == 0 {
		sources = g.Src
	}
	if len(sources) == 0 {
		v.add(c.Pos, KindNoSource, path, "no source: add sources here or to the group")
	}
	v.covered(&c.Node, "headers", c.Headers, sources, path)
	switch {
	case c.Value == nil && c.String == nil:
		v.add(c.Pos, KindValue, path, "no value: add value, or string")
	case c.Value != nil && c.String != nil:
		v.add(c.At("string"), KindValue, join(path, "string"), "a constant has a value or a string, not both: remove one")
	case c.String != nil && g.Kind != "values":
		v.add(c.At("string"), KindValue, join(path, "string"), "a group of kind %s has numbers: move the constant to a group of kind values", g.Kind)
	}
	needs(v, c.Value, v.platforms, join(path, "value"))
	for _, p := range []struct {
		key string
		by  *PerPlatform[Int]
	}{{"value", c.Value}, {"native", c.Native}} {
		for _, x := range variants(p.by, v.platforms) {
			limit := 64
			for _, platform := range x.platforms {
				if bits, ok := v.bitsOf(scalar, platform); ok {
					limit = min(limit, bits)
				}
			}
			v.width(x.pos, x.value, limit, join(path, p.key), g.Type)
		}
	}
	if c.Native != nil {
		for _, platform := range sortedKeys(c.Native.By) {
			if _, ok := g.Normalise.For(platform); !ok && slices.Contains(v.platforms, platform) {
				v.add(c.Native.At(platform), KindNative, join(path, "native"), "the group is not normalised on %q: add the platform to its normalise, or use value", platform)
			}
		}
		if c.Native.Default != nil && g.Normalise == nil {
			v.add(c.Native.At("default"), KindNative, join(path, "native"), "the group is not normalised: add normalise to it, or use value")
		}
	}
	for i, name := range c.Implies {
		pos, at := c.AtIndex("implies", i), join(path, "implies")
		others := without(namesOf(g.Values, func(x *Constant) string { return x.Name }), []string{c.Name})
		switch {
		case name == c.Name:
			v.add(pos, KindImplies, at, "a flag always implies itself: remove the name")
		case g.Normalise == nil || g.Kind != "flags":
			v.add(c.At("implies"), KindImplies, at, "only an ordinal that is mapped to flags implies others: add normalise to the group, or remove the key")
			return
		case !slices.Contains(others, name):
			v.unknown(pos, KindImplies, at, "flag of the group", name, others)
		}
	}
}

// checkFlags checks that every flag is one bit, nothing, or made of other flags.
func (v *validator) checkFlags(g *Group, path string) {
	single := make(map[string]uint64)
	for _, platform := range v.platforms {
		for _, c := range g.Values {
			if i, ok := c.Value.For(platform); ok && bits.OnesCount64(i.Value) == 1 {
				single[platform] |= i.Value
			}
		}
	}
	for _, c := range g.Values {
		for _, x := range variants(c.Value, v.platforms) {
			for _, platform := range x.platforms {
				if rest := x.value.Value &^ single[platform]; rest != 0 {
					v.add(x.pos, KindFlags, join(within(path, printable(c.Name)), "value"),
						"%s is neither one bit nor made of other flags, 0x%X is left over: correct it, or make the group an enum", x.value.Text, rest)
					break
				}
			}
		}
	}
}

// knownErrors are the errors of the standard library that a code can be.
var knownErrors = []string{
	"context.Canceled", "context.DeadlineExceeded", "errors.ErrUnsupported", "fs.ErrClosed", "fs.ErrExist", "fs.ErrInvalid",
	"fs.ErrNotExist", "fs.ErrPermission", "io.EOF", "io.ErrClosedPipe", "io.ErrShortBuffer", "io.ErrUnexpectedEOF",
	"net.ErrClosed", "os.ErrClosed", "os.ErrDeadlineExceeded", "os.ErrExist", "os.ErrInvalid", "os.ErrNotExist",
	"os.ErrPermission",
}

func (v *validator) checkErrors() {
	known := namesOf(v.Errors, func(e *Error) string { return e.Name })
	var set []valued
	for _, e := range v.Errors {
		path := printable(e.Name)
		v.cName(&e.Node, e.Name, "an error", path)
		v.goName(v.goNames, &e.Node, e.Go, e.Name, path)
		needs(v, e.Value, v.platforms, join(path, "value"))
		for _, x := range variants(e.Value, v.platforms) {
			v.width(x.pos, x.value, 32, join(path, "value"), "a code")
		}
		v.errorText(e, path)
		v.covered(&e.Node, "headers", e.Headers, e.Src, path)
		if e.Own {
			for _, key := range []string{"headers", "since", "sources"} {
				if e.Has(key) {
					v.add(e.At(key), KindOwn, join(path, key), "a code of this module is in no header: remove the key, or own")
				}
			}
		} else if len(e.Src) == 0 {
			v.add(e.Pos, KindNoSource, path, "no source: add sources, or own: true for a code of this module")
		}
		others := without(known, []string{e.Name})
		for i, name := range e.Is {
			if name == e.Name {
				v.add(e.AtIndex("is", i), KindIs, join(path, "is"), "a code always is itself: remove the name")
			} else if !slices.Contains(others, name) && !slices.Contains(knownErrors, name) {
				v.unknown(e.AtIndex("is", i), KindIs, join(path, "is"), "error", name, append(others, knownErrors...))
			}
		}
		set = append(set, valued{&e.Node, e.Name, path, "value", e.Same, numbers(e.Value)})
	}
	v.distinct(set, v.link(set, set))
}

// errorText checks a text that stands at the end of "list readers: ...". It may begin with the name of a platform.
func (v *validator) errorText(e *Error, path string) {
	named := slices.ContainsFunc(v.Platforms, func(p *Platform) bool { return strings.HasPrefix(e.Text, p.Title+" ") })
	v.plainText(&e.Node, e.Text, named, path)
}

// plainText checks a text that stands inside a sentence. It may begin with a name.
func (v *validator) plainText(n *Node, text string, named bool, path string) {
	first, size := utf8.DecodeRuneInString(text)
	second, _ := utf8.DecodeRuneInString(text[size:])
	acronym := unicode.IsUpper(second) || unicode.IsDigit(second)
	if unicode.IsUpper(first) && !acronym && !named {
		v.add(n.At("text"), KindText, join(path, "text"), "begins with a capital: the text stands inside a sentence")
	}
	if strings.HasSuffix(text, ".") || strings.Contains(text, "\n") {
		v.add(n.At("text"), KindText, join(path, "text"), "must be one line without a full stop: it stands inside a sentence")
	}
}

// numeric are the decodings that have a unit.
const numeric = "uint8 uint16 uint32"

func (v *validator) unit(n *Node, unit, decode, path string) {
	if unit != "" && !among(numeric, decode) {
		v.add(n.At("unit"), KindUnit, join(path, "unit"), "only a number has a unit, and %s is none: remove the key, or decode as %s", decode, either(numeric))
	}
}

func (v *validator) checkAttributes() {
	var set []valued
	known := namesOf(v.AttributeClasses, func(c *AttributeClass) string { return c.Name })
	for _, c := range v.AttributeClasses {
		path := printable(c.Name)
		v.cName(&c.Node, c.Name, "an attribute class", path)
		v.goName(v.goNames, &c.Node, c.Go, c.Name, path)
		v.covered(&c.Node, "headers", c.Headers, c.Src, path)
		needs(v, c.Value, v.platforms, join(path, "value"))
		for _, x := range variants(c.Value, v.platforms) {
			v.width(x.pos, x.value, 16, join(path, "value"), "an attribute class")
		}
		set = append(set, valued{&c.Node, c.Name, path, "value", "", numbers(c.Value)})
	}
	v.distinct(set, nil)

	set = nil
	for _, a := range v.Attributes {
		path := printable(a.Name)
		v.cName(&a.Node, a.Name, "an attribute", path)
		v.goName(v.goNames, &a.Node, a.Go, a.Name, path)
		v.covered(&a.Node, "headers", a.Headers, a.Src, path)
		v.unit(&a.Node, a.Unit, a.Decode, path)
		class := v.AttributeClass(a.Class)
		if class == nil {
			v.unknown(a.At("class"), KindClass, join(path, "class"), "attribute class", a.Class, known)
		}
		if a.Tag != nil {
			v.width(a.At("tag"), *a.Tag, 16, join(path, "tag"), "the tag of an attribute")
		}
		set = append(set, valued{&a.Node, a.Name, path, "tag", a.Same, func(platform string) (uint64, Pos, bool) {
			if class == nil || a.Tag == nil {
				return 0, Pos{}, false
			}
			c, ok := class.Value.For(platform)
			return c.Value<<16 | a.Tag.Value, a.At("tag"), ok
		}})
	}
	v.distinct(set, v.link(set, set))
}

func (v *validator) checkControlCodes() {
	ctl := v.CtlCode
	if ctl != nil {
		needs(v, ctl.Base, v.platforms, "ctl_code: base")
		needs(v, ctl.Shift, v.platforms, "ctl_code: shift")
		for _, x := range variants(ctl.Base, v.platforms) {
			v.width(x.pos, x.value, 32, "ctl_code: base", "a control code")
		}
		for _, x := range variants(ctl.Shift, v.platforms) {
			if x.value.Value > 31 {
				v.add(x.pos, KindWidth, "ctl_code: shift", "%s shifts everything out of a control code, which has 32 bits: correct it", x.value.Text)
			}
		}
	}
	var set []valued
	for _, c := range v.ControlCodes {
		path := printable(c.Name)
		v.cName(&c.Node, c.Name, "a control code", path)
		v.goName(v.goNames, &c.Node, c.Go, c.Name, path)
		v.covered(&c.Node, "headers", c.Headers, c.Src, path)
		if ctl == nil {
			v.add(c.Pos, KindControl, path, "nothing says how its value is computed: add ctl_code")
		} else if c.Function != nil {
			for _, platform := range v.On(c.Platforms) {
				shift, ok := ctl.Shift.For(platform)
				if ok && shift.Value < 32 && bits.Len64(c.Function.Value)+int(shift.Value) > 32 {
					v.add(c.At("function"), KindWidth, join(path, "function"), "%s does not fit a control code of %s, which shifts it left by %d bits: correct it",
						c.Function.Text, platform, shift.Value)
					break
				}
			}
		}
		set = append(set, valued{&c.Node, c.Name, path, "function", "", func(platform string) (uint64, Pos, bool) {
			if c.Function == nil || !slices.Contains(v.On(c.Platforms), platform) {
				return 0, Pos{}, false
			}
			return c.Function.Value, c.At("function"), true
		}})
	}
	v.distinct(set, nil)
}

func (v *validator) checkFeatures() {
	var set []valued
	for _, f := range v.Features {
		path := printable(f.Name)
		v.cName(&f.Node, f.Name, "a feature", path)
		v.goName(v.goNames, &f.Node, f.Go, f.Name, path)
		v.covered(&f.Node, "headers", f.Headers, f.Src, path)
		if f.Tag != nil {
			v.width(f.At("tag"), *f.Tag, 8, join(path, "tag"), "the tag of a feature")
		}
		set = append(set, valued{&f.Node, f.Name, path, "tag", "", number(&f.Node, "tag", f.Tag)})
	}
	v.distinct(set, nil)

	set = nil
	for _, p := range v.Properties {
		path := printable(p.Name)
		v.cName(&p.Node, p.Name, "a property", path)
		v.goName(v.goNames, &p.Node, p.Go, p.Name, path)
		v.covered(&p.Node, "headers", p.Headers, p.Src, path)
		v.unit(&p.Node, p.Unit, p.Decode, path)
		if p.Tag != nil {
			v.width(p.At("tag"), *p.Tag, 8, join(path, "tag"), "the tag of a property")
		}
		set = append(set, valued{&p.Node, p.Name, path, "tag", "", number(&p.Node, "tag", p.Tag)})
	}
	v.distinct(set, nil)
}
