package spec

import (
	"slices"
	"strings"
)

// role says what a parameter's role asks of it.
type role struct {
	types    string // what the type has to be: scalar, byte, struct, text, pointer
	shown    bool   // the contract shows it, so it has a Go name
	lengths  string // the roles that give its length; with a plus, both are needed
	of       string // the roles that it can be the length of
	mask     bool   // of names the buffer that it is as long as
	nullable bool
	as       bool // it can have a Go type of its own, and be normalised
}

// A buffer that the library fills has its length given by one parameter that is read and written, or by two.
const filled = "inout_len cap+out_len"

var roles = map[string]role{
	"receiver":      {types: "scalar"},
	"in":            {types: "scalar", shown: true, as: true},
	"out":           {types: "scalar", shown: true, as: true},
	"reserved":      {types: "scalar pointer text"},
	"in_buffer":     {types: "byte", shown: true, lengths: "len", nullable: true},
	"in_mask":       {types: "byte", shown: true, of: "in_buffer", mask: true, nullable: true},
	"in_atr":        {types: "byte", shown: true, nullable: true},
	"out_buffer":    {types: "byte", shown: true, lengths: filled},
	"in_text":       {types: "text", shown: true, nullable: true},
	"in_multitext":  {types: "text", shown: true, nullable: true},
	"out_text":      {types: "text", shown: true, lengths: filled},
	"out_multitext": {types: "text", shown: true, lengths: filled},
	"states":        {types: "struct", shown: true, lengths: "count", nullable: true},
	"structs":       {types: "struct", shown: true, lengths: "count", nullable: true},
	"guid":          {types: "struct", shown: true, nullable: true},
	"guids":         {types: "struct", shown: true, lengths: "count", nullable: true},
	"out_guid":      {types: "struct", shown: true},
	"out_guids":     {types: "struct", shown: true, lengths: filled},
	"pci_in":        {types: "struct", shown: true, as: true},
	"pci_out":       {types: "struct"},
	"pointer":       {types: "pointer", shown: true, nullable: true},
	"len":           {types: "scalar", of: "in_buffer"},
	"count":         {types: "scalar", of: "states structs guids"},
	"cap":           {types: "scalar", of: "out_buffer out_text out_multitext out_guids"},
	"out_len":       {types: "scalar", of: "out_buffer out_text out_multitext out_guids"},
	"inout_len":     {types: "scalar", of: "out_buffer out_text out_multitext out_guids"},
}

// among reports whether a space-separated list has a word.
func among(list, word string) bool { return slices.Contains(strings.Fields(list), word) }

func either(list string) string { return strings.Join(strings.Fields(list), " or ") }

func (v *validator) checkFunctions() {
	methods := make(scope)
	for _, f := range v.Functions {
		path := printable(f.Name)
		v.cName(&f.Node, f.Name, "a function", path)
		v.goName(methods, &f.Node, f.Go, f.Name, path)
		if f.Platforms != nil {
			v.covered(&f.Node, "platforms", f.Platforms, f.Src, path)
		} else if missing := without(v.platforms, v.Covers(f.Src)); missing != nil && len(f.Src) > 0 {
			v.add(f.At("sources"), KindNotCovered, join(path, "sources"),
				"the function is on every platform, but no source is of %s: cite the headers that it was read from, or list its platforms", quoted(missing, "and"))
		}
		v.checkSymbol(f, path)
		v.checkSince(f, path)
		switch {
		case !functionDoc.MatchString(f.Doc):
			v.add(f.At("doc"), KindDoc, join(path, "doc"), "must go on after the function's name, with a small letter and a verb: \"sends a command to the reader.\"")
		case !strings.HasSuffix(f.Doc, "."):
			v.add(f.At("doc"), KindDoc, join(path, "doc"), "must end with a full stop")
		}
		v.checkSee(f.See, within(path, "see"))
		v.checkAPI(f, path)
		v.checkReturns(f, path)
		v.checkParams(f, path)
	}
}

// checkAPI refuses a generated method for what only a method written by hand can do.
func (v *validator) checkAPI(f *Function, path string) {
	if f.Method != "" {
		at := join(path, "method")
		if f.API != "policy" {
			v.add(f.At("method"), KindAPI, at, "only a function of policy has a method that is written by hand: remove the key, or write api: policy")
		} else if !goMethod.MatchString(f.Method) {
			v.add(f.At("method"), KindAPI, at, "%q is neither an exported function of Go nor a method: write it as WaitStarted or Transaction.Cancel", f.Method)
		}
	}
	if f.API != "method" {
		return
	}
	const instead = "write policy, and the method by hand, or none"
	if f.On == "none" {
		v.add(f.At("api"), KindAPI, join(path, "api"), "a function of neither a context nor a card has no method: %s", instead)
	}
	if f.Returns != "" && f.Returns != "code" {
		v.add(f.At("api"), KindAPI, join(path, "api"), "a generated method returns an error, and this function a %s: %s", f.Returns, instead)
	}
	results := 0
	for _, p := range f.Params {
		if !among(methodRoles[f.On], p.Role) {
			v.add(f.At("api"), KindAPI, join(path, "api"), "a generated method of a %s has no place for %s, which has role %s: %s", f.On, printable(p.Name), p.Role, instead)
		} else if p.Role == "out" || strings.HasPrefix(p.Role, "out_") && p.Role != "out_len" {
			results++
		}
	}
	if results > 1 {
		v.add(f.At("api"), KindAPI, join(path, "api"), "a generated method has one result, and this function %d: %s", results, instead)
	}
}

// checkReturns checks that the return codes of a function are described, and are of one of its platforms.
func (v *validator) checkReturns(f *Function, path string) {
	at := join(path, "errors")
	for i, name := range f.Errors {
		pos := f.AtIndex("errors", i)
		code := v.Code(name)
		switch {
		case code == nil:
			v.unknown(pos, KindUnknownError, at, "error", name, namesOf(v.Spec.Errors, func(e *Error) string { return e.Name }))
		case !slices.ContainsFunc(v.DefinedOn(code.Headers, code.Src), func(p string) bool { return slices.Contains(v.On(f.Platforms), p) }):
			v.add(pos, KindUnknownError, at, "%q is a code of no platform that has the function: remove it", name)
		}
	}
}

// methodRoles are the roles that a generated method has a place for, by what it is a method of. A call on a card may
// outlive its method, so it works on the card's own memory, of which there is one buffer.
var methodRoles = map[string]string{
	"Card": "receiver reserved in in_buffer len out",
	"Context": "receiver reserved in in_buffer in_mask in_atr in_text in_multitext guid guids len count cap inout_len " +
		"out out_len out_buffer out_text out_multitext out_guid out_guids",
}

// without returns those of a list that are not in another.
func without(list, other []string) []string {
	var rest []string
	for _, x := range list {
		if !slices.Contains(other, x) {
			rest = append(rest, x)
		}
	}
	return rest
}

func (v *validator) checkSymbol(f *Function, path string) {
	if f.Symbol == nil {
		return
	}
	for _, name := range sortedKeys(f.Symbol.By) {
		if slices.Contains(v.platforms, name) && !slices.Contains(v.On(f.Platforms), name) {
			v.add(f.Symbol.At(name), KindSymbol, join(path, "symbol"), "the function is not on platform %q: remove the symbol, or add the platform", name)
		}
	}
	for _, x := range variants(f.Symbol, v.platforms) {
		if !cIdentifier.MatchString(x.value) {
			v.add(x.pos, KindSymbol, join(path, "symbol"), "%q is not a C identifier", x.value)
		}
	}
}

// checkSince checks that a function that older libraries lack can be missing.
func (v *validator) checkSince(f *Function, path string) {
	if f.Since == nil {
		return
	}
	at := join(path, "since")
	if !f.Optional {
		v.add(f.At("since"), KindSince, at, "older libraries lack the function, and then none of them would load: write optional: true")
	}
	for _, name := range sortedKeys(f.Since.By) {
		if slices.Contains(v.platforms, name) && !slices.Contains(v.On(f.Platforms), name) {
			v.add(f.Since.At(name), KindSince, at, "the function is not on platform %q: remove it", name)
		}
	}
}

func (v *validator) checkSee(see *See, path string) {
	switch {
	case see == nil:
		return
	case see.PCSCLite == "" && see.WinSCard == "":
		v.add(see.Pos, KindSee, path, "no link: give pcsclite or winscard")
		return
	}
	if see.PCSCLite != "" && !pcscLitePage.MatchString(see.PCSCLite) {
		v.add(see.At("pcsclite"), KindSee, join(path, "pcsclite"), "%q is not a page of pcsc-lite's manual: write it as group__API, with #anchor if there is one", see.PCSCLite)
	}
	if see.WinSCard != "" && !winSCardPage.MatchString(see.WinSCard) {
		v.add(see.At("winscard"), KindSee, join(path, "winscard"), "%q is not a page of the Windows manual: write it as nf-winscard-scardconnectw", see.WinSCard)
	}
}

func (v *validator) checkParams(f *Function, path string) {
	on := v.On(f.Platforms)
	cNames, goNames := make(scope), make(scope)
	var reader *Param
	for _, p := range f.Params {
		at := within(path, printable(p.Name))
		if !cIdentifier.MatchString(p.Name) {
			v.add(p.At("name"), KindName, join(at, "name"), "%q is not a C identifier", p.Name)
		}
		v.claim(cNames, KindDuplicate, p.Name, "a parameter", p.At("name"), join(at, "name"))
		scalar, structure, known := v.cType(&p.Node, p.Type, at, on)
		r, ok := roles[p.Role]
		if !ok {
			continue // Load has refused it
		}
		if known {
			v.paramType(p, r, scalar, structure, at)
		}
		switch {
		case p.Go != "" && !r.shown && p.Role != "receiver":
			v.add(p.At("go"), KindGoUnwanted, join(at, "go"), "a parameter with role %s is not shown: remove the name", p.Role)
		case p.Go == "" && r.shown:
			v.add(p.Pos, KindGoMissing, at, "a parameter with role %s is shown: give it a Go name", p.Role)
		case p.Go != "":
			v.paramName(goNames, f, p, at)
		}
		if p.Nullable && !r.nullable {
			v.add(p.At("nullable"), KindNullable, join(at, "nullable"), "a parameter with role %s cannot be NULL: remove the key", p.Role)
		}
		switch {
		case !p.Reader:
		case p.Role != "in_text":
			v.add(p.At("reader"), KindReader, join(at, "reader"), "only a parameter with role in_text is the name of a reader: remove the key")
		case reader != nil:
			v.add(p.At("reader"), KindReader, join(at, "reader"), "%q is the name of the reader already: remove one", reader.Name)
		default:
			reader = p
		}
		switch {
		case p.Role == "in_atr" && p.Size == nil:
			v.add(p.Pos, KindSize, at, "a parameter with role in_atr is read without its length being known: add size, the most that is read")
		case p.Role == "in_atr":
			v.size(p, at)
		case p.Size != nil:
			v.add(p.At("size"), KindSize, join(at, "size"), "a parameter with role %s has no size of its own: remove the key", p.Role)
		}
		v.paramMeaning(p, r, at)
	}
	v.checkReceiver(f, path)
	v.checkLengths(f, path)
}

// maxATR is the most that the structures of PC/SC hold of an ATR.
const maxATR = 36

func (v *validator) size(p *Param, at string) {
	if p.Size.Value == 0 || p.Size.Value > maxATR {
		v.add(p.At("size"), KindSize, join(at, "size"), "an ATR has 1 to %d bytes", maxATR)
	}
}

func (v *validator) paramType(p *Param, r role, scalar *Scalar, structure *Struct, at string) {
	is := p.Type // text or pointer
	switch {
	case structure != nil:
		is = "struct"
	case scalar != nil:
		is = "scalar"
	}
	if among(r.types, is) || is == "scalar" && among(r.types, "byte") && isByte(scalar) {
		return
	}
	var wanted []string
	for _, t := range strings.Fields(r.types) {
		wanted = append(wanted, typeNames[t])
	}
	v.add(p.At("role"), KindRole, join(at, "role"), "role %s needs type %s, and %s is not: change the role or the type",
		p.Role, strings.Join(wanted, " or "), p.Type)
}

var typeNames = map[string]string{
	"scalar": "scalar", "byte": "BYTE", "struct": "structure", "text": "text", "pointer": "pointer",
}

// paramMeaning checks the Go type of a parameter and the group that it is normalised to.
func (v *validator) paramMeaning(p *Param, r role, at string) {
	var typed, normalised []string
	for _, g := range v.Constants {
		if g.Kind != "values" {
			typed = append(typed, g.Name)
		}
		if g.Normalise != nil {
			normalised = append(normalised, g.Name)
		}
	}
	typed = append(typed, "Attribute", "Code", "Feature", "Property")
	switch {
	case p.As == "":
	case !r.as:
		v.add(p.At("as"), KindAs, join(at, "as"), "only numbers have a Go type of their own: remove the key")
	case !slices.Contains(typed, p.As):
		v.unknown(p.At("as"), KindAs, join(at, "as"), "Go type", p.As, typed)
	}
	switch {
	case p.Normalise == "":
	case p.Role != "in" && p.Role != "out":
		v.add(p.At("normalise"), KindNormalise, join(at, "normalise"), "only role in or out can be normalised: remove the key")
	case !slices.Contains(normalised, p.Normalise):
		if v.Group(p.Normalise) != nil {
			v.add(p.At("normalise"), KindNormalise, join(at, "normalise"), "group %q is not normalised: add normalise to it, or use as", p.Normalise)
			return
		}
		v.unknown(p.At("normalise"), KindNormalise, join(at, "normalise"), "normalised group", p.Normalise, normalised)
	}
}

func (v *validator) checkReceiver(f *Function, path string) {
	for i, p := range f.Params {
		if p.Role != "receiver" {
			continue
		}
		at := join(within(path, printable(p.Name)), "role")
		if f.On == "none" {
			v.add(p.At("role"), KindReceiver, at, "the function is called on nothing: change the role, or on")
			continue
		}
		if i != 0 {
			v.add(p.At("role"), KindReceiver, at, "the receiver is the first parameter and the only one: change the role, or the order")
			continue
		}
		if s := v.Scalar(p.Type); s != nil && s.Go != f.On {
			v.add(p.At("type"), KindReceiver, join(within(path, printable(p.Name)), "type"), "the function is called on a %s, and %s is none: change the type, or on", f.On, p.Type)
		}
	}
	if f.On != "none" && (len(f.Params) == 0 || !slices.ContainsFunc(f.Params, func(p *Param) bool { return p.Role == "receiver" })) {
		v.add(f.At("on"), KindReceiver, join(path, "on"), "no parameter is the %s that the function is called on: give one role receiver, or write on: none", f.On)
	}
}

// checkLengths checks that every length has its buffer, and every buffer its lengths.
func (v *validator) checkLengths(f *Function, path string) {
	byRole := make(map[string]scope) // the lengths of each buffer, by role
	for _, p := range f.Params {
		r := roles[p.Role]
		at := within(path, printable(p.Name))
		pos, key := p.At("of"), join(at, "of")
		if r.of == "" {
			if p.Of != "" {
				v.add(pos, KindOfUnwanted, key, "role %s is not the length of anything: remove the key, or change the role", p.Role)
			}
			continue
		}
		if p.Of == "" {
			v.add(p.Pos, KindOfMissing, at, "role %s is the length of something: add of, with the name of that parameter", p.Role)
			continue
		}
		buffer := find(f.Params, func(x *Param) string { return x.Name }, p.Of)
		switch {
		case buffer == nil:
			v.unknown(pos, KindOfUnknown, key, "parameter", p.Of, namesOf(f.Params, func(x *Param) string { return x.Name }))
		case !among(r.of, buffer.Role):
			v.add(pos, KindOfRole, key, "%q has role %s, and %s goes with %s: change one of the roles, or name another parameter",
				p.Of, buffer.Role, p.Role, either(r.of))
		case r.mask: // no length
		default:
			if byRole[p.Of] == nil {
				byRole[p.Of] = make(scope)
			}
			if other := clash(byRole[p.Of], p.Role); other != nil {
				v.add(pos, KindOfTwice, key, "%q already has a length, %q at %s: remove one", p.Of, other.what, other.pos)
				continue
			}
			byRole[p.Of][p.Role] = taken{pos, p.Name}
		}
	}
	for _, p := range f.Params {
		want := roles[p.Role].lengths
		if want == "" {
			continue
		}
		has := strings.Join(sortedKeys(byRole[p.Name]), "+")
		if !among(want, has) {
			v.add(p.Pos, KindNoLength, within(path, printable(p.Name)), "a parameter with role %s has its length in another, with role %s: add it, with of: %s",
				p.Role, strings.NewReplacer("+", " and ", " ", ", or two with roles ").Replace(want), p.Name)
		}
	}
}

// clash returns the length among those of a buffer that excludes another of the role.
func clash(lengths scope, role string) *taken {
	for _, other := range sortedKeys(lengths) {
		if other == role || role == "inout_len" || other == "inout_len" {
			by := lengths[other]
			return &by
		}
	}
	return nil
}
