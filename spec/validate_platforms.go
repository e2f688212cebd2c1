package spec

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// knownSystems and knownArchs are those of Go 1.26 (go tool dist list); the width is that of a pointer.
var (
	knownSystems = []string{
		"aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd", "plan9",
		"solaris", "wasip1", "windows",
	}
	knownArchs = map[string]int{
		"386": 32, "amd64": 64, "arm": 32, "arm64": 64, "loong64": 64, "mips": 32, "mips64": 64, "mips64le": 64,
		"mipsle": 32, "ppc64": 64, "ppc64le": 64, "riscv64": 64, "s390x": 64, "wasm": 32,
	}
)

// satisfies are the systems that satisfy the build constraint of another one too (go help buildconstraint).
var satisfies = map[string]string{"android": "linux", "illumos": "solaris", "ios": "darwin"}

func (v *validator) checkPlatforms() {
	names, systems := make(scope), make(scope)
	var fallback *Platform
	for _, p := range v.Platforms {
		path := printable(p.Name)
		if !platformName.MatchString(p.Name) || p.Name == "default" || p.Name == "all" {
			v.add(p.At("name"), KindName, join(path, "name"), "%q is not the name of a platform: use small letters and digits, not default or all", p.Name)
		}
		v.claim(names, KindDuplicate, p.Name, "a platform", p.At("name"), join(path, "name"))
		for i, os := range p.GOOS {
			pos, at := p.AtIndex("goos", i), join(path, "goos")
			if !slices.Contains(knownSystems, os) {
				v.unknown(pos, KindSystem, at, "operating system", os, knownSystems)
			} else if !slices.Contains(p.GOOS[:i], os) {
				v.claim(systems, KindSystem, os, "a system of "+p.Name, pos, at)
			}
		}
		for i, os := range p.Not {
			pos, at := p.AtIndex("not", i), join(path, "not")
			if as, ok := satisfies[os]; !ok {
				v.unknown(pos, KindSystem, at, "operating system that satisfies the build constraint of another", os, sortedKeys(satisfies))
			} else if !slices.Contains(p.GOOS, as) || slices.Contains(p.GOOS, os) {
				v.add(pos, KindSystem, at, "%q has to be left out only where goos has %q and not %q: remove it", os, as, os)
			}
		}
		for i, bits := range p.Bits {
			pos, at := p.AtIndex("bits", i), join(path, "bits")
			if bits != 32 && bits != 64 {
				v.add(pos, KindBits, at, "%d is not the width of a pointer: write 32 or 64", bits)
			} else if slices.Contains(p.Bits[:i], bits) {
				v.add(pos, KindBits, at, "%d is listed twice: remove one", bits)
			}
		}
		if p.Fallback && fallback != nil {
			v.add(p.At("fallback"), KindFallback, join(path, "fallback"), "%s is the fallback already: remove one", printable(fallback.Name))
		} else if p.Fallback {
			fallback = p
		}
		v.pack(p.At("pack"), p.Pack, join(path, "pack"))
		if p.Cgo != nil && p.Cgo.PkgConfig == "" && p.Cgo.LDFlags == "" {
			v.add(p.Cgo.Pos, KindCgo, within(path, "cgo"), "nothing to link with: give pkg_config or ldflags")
		}
		v.checkLibraries(p, path)
		v.checkTargets(p, path)
		v.checkDifferences(p, path)
		v.checkProofs(p, path)
	}
	if fallback == nil && len(v.Platforms) > 0 {
		p := v.Platforms[0]
		v.add(p.Pos, KindFallback, printable(p.Name), "no platform is the fallback, so systems without PC/SC have no constants: write fallback: true in one")
	}
}

func (v *validator) pack(pos Pos, pack int, path string) {
	if !slices.Contains([]int{0, 1, 2, 4, 8, 16}, pack) {
		v.add(pos, KindPack, path, "%d is not a packing: write 1, 2, 4, 8 or 16, or 0 for natural alignment", pack)
	}
}

// checkDifferences checks that the texts can be items of a list in a Go doc comment.
func (v *validator) checkDifferences(p *Platform, path string) {
	for i, d := range p.Differences {
		pos, at := d.At("text"), join(within(path, element("differences", i)), "text")
		first, _ := utf8.DecodeRuneInString(d.Text)
		switch {
		case !unicode.IsUpper(first) && first != '[':
			v.add(pos, KindDoc, at, "must begin with a capital, or with a name in brackets")
		case !strings.HasSuffix(d.Text, "."):
			v.add(pos, KindDoc, at, "must end with a full stop")
		case strings.Contains(d.Text, "\n"):
			v.add(pos, KindDoc, at, "must be one paragraph: write it after >-, without blank lines")
		}
		if j := slices.IndexFunc(p.Differences[:i], func(o *Difference) bool { return o.Text == d.Text }); j >= 0 {
			v.add(pos, KindDuplicate, at, "is the text at %s already: remove one", p.Differences[j].At("text"))
		}
	}
}

// checkProofs checks that what is proved is a target, and proved once.
func (v *validator) checkProofs(p *Platform, path string) {
	var targets []string
	for _, t := range p.Targets {
		for _, arch := range t.GOARCH {
			targets = append(targets, t.GOOS+"/"+arch)
		}
	}
	for i, proof := range p.Proofs {
		at := within(path, element("proofs", i))
		if !slices.Contains(targets, proof.Target) {
			v.unknown(proof.At("target"), KindTarget, join(at, "target"), "target of the platform", proof.Target, targets)
		}
		same := func(o *Proof) bool { return o.Target == proof.Target && o.Libc == proof.Libc }
		if j := slices.IndexFunc(p.Proofs[:i], same); j >= 0 {
			v.add(proof.At("target"), KindDuplicate, join(at, "target"), "%s is proved at %s already: keep one", proof.Target, p.Proofs[j].Pos)
		}
	}
}

// checkUnbound checks that what is left alone is not bound.
func (v *validator) checkUnbound(p *Platform, lib *Library, path string) {
	names := make(scope)
	for _, u := range lib.Unbound {
		pos, at := u.At("name"), within(path, join(printable(u.Name), "name"))
		if !cIdentifier.MatchString(u.Name) {
			v.add(pos, KindUnbound, at, "%q is not a C identifier", u.Name)
		}
		v.claim(names, KindDuplicate, u.Name, "a symbol that is left alone", pos, at)
		for _, f := range v.Functions {
			symbol, ok := f.Symbol.For(p.Name)
			if !ok {
				symbol = f.Name
			}
			if symbol == u.Name && slices.Contains(v.On(f.Platforms), p.Name) {
				v.add(pos, KindUnbound, at, "the function %s is for it: remove one", printable(f.Name))
			}
		}
	}
}

func (v *validator) checkLibraries(p *Platform, path string) {
	has := make(map[string]bool)
	for _, lib := range p.Libraries {
		at := join(within(path, printable(lib.Name)), "goos")
		for i, os := range lib.GOOS {
			pos := lib.AtIndex("goos", i)
			switch {
			case !slices.Contains(p.GOOS, os):
				v.unknown(pos, KindSystem, at, "operating system of the platform", os, p.GOOS)
			case has[os] && !slices.Contains(lib.GOOS[:i], os):
				v.add(pos, KindLibrary, at, "%q has a library already: name one for each system", os)
			}
			has[os] = true
		}
		v.checkUnbound(p, lib, within(path, printable(lib.Name)))
	}
	for i, os := range p.GOOS {
		if !has[os] && slices.Contains(knownSystems, os) {
			v.add(p.AtIndex("goos", i), KindLibrary, join(path, "goos"), "no library for %q: add it to libraries", os)
		}
	}
}

func (v *validator) checkTargets(p *Platform, path string) {
	has := make(map[string]Pos)
	for i, t := range p.Targets {
		at := within(path, element("targets", i))
		if !slices.Contains(p.GOOS, t.GOOS) {
			v.unknown(t.At("goos"), KindSystem, join(at, "goos"), "operating system of the platform", t.GOOS, p.GOOS)
		}
		has[t.GOOS] = t.Pos
		for j, arch := range t.GOARCH {
			pos, key := t.AtIndex("goarch", j), join(at, "goarch")
			bits, ok := knownArchs[arch]
			target := t.GOOS + "/" + arch
			switch first, again := has[target]; {
			case !ok:
				v.unknown(pos, KindTarget, key, "architecture", arch, sortedKeys(knownArchs))
			case slices.Contains(t.GOARCH[:j], arch): // reported as listed twice
			case again:
				v.add(pos, KindTarget, key, "%s is already a target at %s: keep one", target, first)
			case !slices.Contains(p.Bits, bits):
				v.add(pos, KindTarget, key, "%s has pointers of %d bits, which the platform's bits lack: add them, or remove the target", target, bits)
			}
			has[target] = pos
		}
		if t.Go != "" && !goRelease.MatchString(t.Go) {
			v.add(t.At("go"), KindTarget, join(at, "go"), "%q is not a release of Go: write it as \"1.27\"", t.Go)
		}
		if !t.Dlopen {
			for _, key := range []string{"go", "flags"} {
				if t.Has(key) {
					v.add(t.At(key), KindTarget, join(at, key), "is about the dlopen backend, which the target does not have: add dlopen: true, or remove the key")
				}
			}
		}
	}
	for i, os := range p.GOOS {
		if _, ok := has[os]; !ok && slices.Contains(knownSystems, os) {
			v.add(p.AtIndex("goos", i), KindTarget, join(path, "goos"), "no target has %q: add one", os)
		}
	}
}

// scalarGo are the Go types that a scalar can have in the contract.
var scalarGo = []string{
	"byte", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "uintptr", "Context", "Card", "Code",
}

func (v *validator) checkScalars() {
	for _, s := range v.Scalars {
		path := printable(s.Name)
		v.cName(&s.Node, s.Name, "a scalar", path)
		if !slices.Contains(scalarGo, s.Go) {
			v.unknown(s.At("go"), KindScalarGo, join(path, "go"), "Go type", s.Go, scalarGo)
		}
		needs(v, s.C, v.Covers(s.Src), join(path, "c"))
	}
}

// bitsOf returns the width that a scalar has at least on a platform, in C and in Go: what a value must fit to be
// portable between the 32-bit and 64-bit systems of the platform.
func (v *validator) bitsOf(s *Scalar, platform string) (bits int, ok bool) {
	if s == nil {
		return 0, false
	}
	c, ok := s.C.For(platform)
	if !ok {
		return 0, false
	}
	switch c {
	case "u8":
		bits = 8
	case "u16":
		bits = 16
	case "u32", "i32":
		bits = 32
	case "u64", "i64":
		bits = 64
	default:
		p := v.Platform(platform)
		if p == nil || len(p.Bits) == 0 {
			return 0, false
		}
		bits = slices.Min(p.Bits)
	}
	switch s.Go {
	case "byte", "uint8", "int8":
		bits = min(bits, 8)
	case "uint16", "int16":
		bits = min(bits, 16)
	case "uint32", "int32", "Code":
		bits = min(bits, 32)
	}
	return bits, true
}

// cType looks up the type of a field or parameter. Both results are nil for text and pointer, which ok distinguishes
// from an unknown type.
func (v *validator) cType(n *Node, name, path string, platforms []string) (scalar *Scalar, structure *Struct, ok bool) {
	if name == "text" || name == "pointer" {
		return nil, nil, true
	}
	if s := v.Scalar(name); s != nil {
		var missing []string
		for _, p := range platforms {
			if _, ok := s.C.For(p); !ok && slices.Contains(v.platforms, p) {
				missing = append(missing, p)
			}
		}
		if missing != nil {
			v.add(n.At("type"), KindPlatformValue, join(path, "type"), "%s has no width on %s: add it to the scalar", name, quoted(missing, "and"))
		}
		return s, nil, true
	}
	if s := v.Struct(name); s != nil {
		return nil, s, true
	}
	known := []string{"text", "pointer"}
	for _, s := range v.Scalars {
		known = append(known, s.Name)
	}
	for _, s := range v.Structs {
		known = append(known, s.Name)
	}
	v.unknown(n.At("type"), KindUnknownType, join(path, "type"), "type", name, known)
	return nil, nil, false
}

func (v *validator) checkStructs() {
	for _, s := range v.Structs {
		path := printable(s.Name)
		v.cName(&s.Node, s.Name, "a structure", path)
		v.goName(v.goNames, &s.Node, s.Go, "structure "+s.Name, path)
		v.covered(&s.Node, "headers", s.Headers, s.Src, path)
		for _, x := range variants(s.C, v.platforms) {
			if !cIdentifier.MatchString(x.value) {
				v.add(x.pos, KindName, join(path, "c"), "%q is not a C identifier", x.value)
			}
		}
		if s.Pack != nil {
			v.pack(s.At("pack"), *s.Pack, join(path, "pack"))
		}
		v.checkFields(s, path)
	}
}

func (v *validator) checkFields(s *Struct, path string) {
	on := v.On(s.Headers)
	cNames, goNames, counted := make(scope), make(scope), make(scope)
	for i, f := range s.Fields {
		at := within(path, printable(f.Name))
		if !cIdentifier.MatchString(f.Name) {
			v.add(f.At("name"), KindName, join(at, "name"), "%q is not a C identifier", f.Name)
		}
		v.claim(cNames, KindDuplicate, f.Name, "a field", f.At("name"), join(at, "name"))
		if f.Go != "" {
			v.goName(goNames, &f.Node, f.Go, "field "+f.Name, at)
		}
		scalar, inner, known := v.cType(&f.Node, f.Type, at, on)
		if inner != nil {
			v.add(f.At("type"), KindUnknownType, join(at, "type"), "%q is a structure: a field is a scalar, text or pointer", f.Type)
			known = false
		}
		if f.Len != nil {
			needs(v, f.Len, on, join(at, "len"))
			for _, x := range variants(f.Len, v.platforms) {
				if x.value.Value == 0 || x.value.Value > 1<<16 {
					v.add(x.pos, KindArray, join(at, "len"), "an array of %s elements: write a number from 1 to 65536", x.value.Text)
				}
			}
			if known && scalar == nil {
				v.add(f.At("len"), KindArray, join(at, "len"), "only scalars make arrays, not %s", f.Type)
			}
		}
		if f.Tail {
			switch {
			case i != len(s.Fields)-1:
				v.add(f.At("tail"), KindTail, join(at, "tail"), "only the last field can be a variable array: move it, or remove the key")
			case f.Len != nil:
				v.add(f.At("tail"), KindTail, join(at, "tail"), "a variable array has no length: remove len or tail")
			case known && scalar == nil:
				v.add(f.At("tail"), KindTail, join(at, "tail"), "only scalars make arrays, not %s", f.Type)
			}
		}
		if known {
			v.fieldRole(f, scalar, at)
		}
		v.fieldOf(s, f, counted, at)
	}
}

func (v *validator) fieldRole(f *Field, scalar *Scalar, at string) {
	pos, key := f.At("role"), join(at, "role")
	switch {
	case f.Role == "out" && scalar == nil:
		v.add(pos, KindFieldRole, key, "a %s cannot be read after the call: use in or reserved", f.Type)
	case f.Role == "in" && f.Type == "pointer":
		v.add(pos, KindFieldRole, key, "Go has no pointer to write there: use reserved, or type text")
	case f.Role == "out_len" && (scalar == nil || f.Len != nil):
		v.add(pos, KindFieldRole, key, "a length is one scalar")
	}
	switch {
	case f.Role == "reserved" && f.Go != "":
		v.add(f.At("go"), KindGoUnwanted, join(at, "go"), "a reserved field is not shown: remove the name")
	case (f.Role == "in" || f.Role == "out") && f.Go == "":
		v.add(f.Pos, KindGoMissing, at, "a field with role %s is shown: give it a Go name", f.Role)
	}
}

func (v *validator) fieldOf(s *Struct, f *Field, counted scope, at string) {
	pos, key := f.At("of"), join(at, "of")
	switch {
	case f.Role != "out_len":
		if f.Of != "" {
			v.add(pos, KindOfUnwanted, key, "only role out_len says of which array: remove the key, or change the role")
		}
		return
	case f.Of == "":
		v.add(f.Pos, KindOfMissing, at, "a length says of which array: add of, with the name of that field")
		return
	}
	array := find(s.Fields, func(x *Field) string { return x.Name }, f.Of)
	switch {
	case array == nil:
		v.unknown(pos, KindOfUnknown, key, "field", f.Of, namesOf(s.Fields, func(x *Field) string { return x.Name }))
	case array.Len == nil && !array.Tail:
		v.add(pos, KindOfRole, key, "%q is no array: give it a len, or name another field", f.Of)
	default:
		v.claimLength(counted, f.Of, f.Name, pos, key)
	}
}

// claimLength takes a buffer for a length.
func (v *validator) claimLength(in scope, buffer, by string, pos Pos, path string) {
	if first, ok := in[buffer]; ok {
		v.add(pos, KindOfTwice, path, "%q already has a length, %q at %s: remove one", buffer, first.what, first.pos)
		return
	}
	in[buffer] = taken{pos, by}
}

// isByte reports whether a scalar is a byte on every platform.
func isByte(s *Scalar) bool {
	if s.C == nil || s.C.Default != nil && *s.C.Default != "u8" {
		return false
	}
	for _, c := range s.C.By {
		if c != "u8" {
			return false
		}
	}
	return true
}
