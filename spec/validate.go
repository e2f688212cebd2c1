package spec

import (
	"go/token"
	"go/types"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gopcsc/gopcsc/internal/yamldoc"
)

// Validate checks what the entries of a loaded spec mean: names, references, values, roles and texts.
//
// The error is of type Faults and holds every fault.
func Validate(s *Spec) error {
	v := &validator{
		Spec:      s,
		platforms: s.PlatformNames(),
		cited:     make(map[string]bool),
		cNames:    make(scope),
		goNames:   make(scope),
	}
	for _, name := range contractNames {
		v.goNames[name] = taken{what: "the contract"}
	}
	v.walk(reflect.ValueOf(&s.Document).Elem(), nil, "")
	v.checkPlatforms()
	v.checkScalars()
	v.checkStructs()
	v.checkFunctions()
	v.checkGroups()
	v.checkErrors()
	v.checkAttributes()
	v.checkControlCodes()
	v.checkFeatures()
	v.checkStatusWords()
	v.checkProtocol()
	v.checkSources() // last: it reports what nothing has cited
	return v.faults.err()
}

// contractNames are the names that the generated contract has besides those of the spec.
var contractNames = []string{"Backend", "Context", "Card", "Code", "Attribute", "Feature", "Property"}

type validator struct {
	*Spec
	platforms []string
	faults    Faults
	cited     map[string]bool // sources
	cNames    scope           // C has one name space for functions, types and constants; macros are in the way of all
	goNames   scope           // what is declared in the generated package, methods apart
}

func (v *validator) add(pos Pos, kind Kind, path, format string, args ...any) {
	v.faults.add(pos, kind, path, format, args...)
}

// scope holds the names that are taken.
type scope map[string]taken

type taken struct {
	pos  Pos
	what string
}

// claim takes a name, or reports that it is taken already.
func (v *validator) claim(in scope, kind Kind, name, what string, pos Pos, path string) {
	by, ok := in[name]
	switch {
	case !ok:
		in[name] = taken{pos, what}
	case by.pos == Pos{}:
		v.add(pos, kind, path, "%q is already a name of %s: choose another", name, by.what)
	default:
		v.add(pos, kind, path, "%q is already the name of %s at %s: choose another, or remove one", name, by.what, by.pos)
	}
}

// unknown reports a name that stands for nothing.
func (v *validator) unknown(pos Pos, kind Kind, path, what, name string, known []string) {
	hint := yamldoc.DidYouMean(name, known)
	if hint == "" && len(known) > 0 && len(known) <= 15 {
		hint = ": there is " + quoted(known, "and")
	} else if hint == "" {
		hint = ": describe it, or remove the name"
	}
	v.add(pos, kind, path, "no %s %q%s", what, name, hint)
}

// walk does the checks that depend only on the name or type of a key, on every entry.
func (v *validator) walk(entry reflect.Value, node *Node, path string) {
	for _, f := range fieldsOf(entry.Type()) {
		value, at := entry.Field(f.index), join(path, f.key)
		switch x := value.Interface().(type) {
		case string:
			if f.key == "doc" && x != "" && entry.Type() != reflect.TypeFor[Function]() && !strings.HasSuffix(x, ".") {
				v.add(node.At(f.key), KindDoc, at, "must end with a full stop")
			}
			continue
		case []string:
			v.list(node, f.key, x, path)
			continue
		case perPlatform:
			if !value.IsNil() {
				v.perPlatform(x, at)
			}
			continue
		}
		switch {
		case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Pointer:
			for i := range value.Len() {
				e := value.Index(i).Elem()
				name := element(f.key, i)
				if n := e.FieldByName("Name"); n.IsValid() && n.String() != "" {
					name = printable(n.String())
				}
				v.walk(e, e.FieldByName("Node").Addr().Interface().(*Node), within(path, name))
			}
		case value.Kind() == reflect.Pointer && !value.IsNil() && value.Elem().Kind() == reflect.Struct && value.Type().Elem() != intType:
			e := value.Elem()
			v.walk(e, e.FieldByName("Node").Addr().Interface().(*Node), within(path, f.key))
		}
	}
}

// list checks a list of names: that none is there twice, and that platforms and sources are known.
func (v *validator) list(n *Node, key string, names []string, path string) {
	at := join(path, key)
	for i, name := range names {
		pos := n.AtIndex(key, i)
		if slices.Contains(names[:i], name) {
			v.add(pos, KindListed, at, "%q is listed twice: remove one", name)
			continue
		}
		switch key {
		case "platforms", "headers":
			if !slices.Contains(v.platforms, name) {
				v.unknown(pos, KindUnknownPlatform, at, "platform", name, v.platforms)
			}
		case "sources":
			v.cited[name] = true
			if v.Source(name) == nil {
				v.unknown(pos, KindUnknownSource, at, "source", name, namesOf(v.Sources, func(s *Source) string { return s.Name }))
			}
		}
	}
}

func (v *validator) perPlatform(p perPlatform, path string) {
	node, _, by := p.parts()
	for _, key := range by.MapKeys() {
		if name := key.String(); !slices.Contains(v.platforms, name) {
			known := append([]string{"default"}, v.platforms...)
			v.unknown(node.At(name), KindUnknownPlatform, path, "platform", name, known)
		}
	}
}

func namesOf[T any](list []T, name func(T) string) []string {
	var names []string
	for _, e := range list {
		names = append(names, name(e))
	}
	return names
}

// covered checks that the headers of every platform that an entry names are among its sources.
func (v *validator) covered(n *Node, key string, platforms, sources []string, path string) {
	if len(sources) == 0 {
		return
	}
	covers := v.Covers(sources)
	for i, name := range platforms {
		if slices.Contains(v.platforms, name) && !slices.Contains(covers, name) {
			v.add(n.AtIndex(key, i), KindNotCovered, join(path, key),
				"no source of the entry is of platform %q: cite the headers that it was read from, or remove the platform", name)
		}
	}
}

// needs checks that there is a value on each of the platforms.
func needs[T any](v *validator, p *PerPlatform[T], platforms []string, path string) {
	if p == nil {
		return
	}
	var missing []string
	for _, name := range platforms {
		if _, ok := p.For(name); !ok {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		v.add(p.Pos, KindPlatformValue, path, "no value for %s: give one, or a default", quoted(missing, "and"))
	}
}

// variant is one of the values of a PerPlatform, with the platforms that have it.
type variant[T any] struct {
	value     T
	pos       Pos
	platforms []string
}

// variants returns the values that a PerPlatform has on some platforms, each position once: a fault of the default is
// one fault, however many platforms have it.
func variants[T any](p *PerPlatform[T], platforms []string) []variant[T] {
	var all []variant[T]
	for _, name := range platforms {
		value, ok := p.For(name)
		if !ok {
			continue
		}
		pos := p.Where(name)
		i := slices.IndexFunc(all, func(x variant[T]) bool { return x.pos == pos })
		if i < 0 {
			i = len(all)
			all = append(all, variant[T]{value: value, pos: pos})
		}
		all[i].platforms = append(all[i].platforms, name)
	}
	return all
}

var (
	cIdentifier  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	platformName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	sourceName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	groupName    = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	goMethod     = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)?$`) // or a function
	functionDoc  = regexp.MustCompile(`^[a-z]+s\b`)
	pcscLitePage = regexp.MustCompile(`^group__[A-Za-z0-9_]+(#[A-Za-z0-9_]+)?$`)
	winSCardPage = regexp.MustCompile(`^(nf|ns|ne|nc)-winscard-[a-z0-9_]+$`)
	goRelease    = regexp.MustCompile(`^1\.[1-9][0-9]*$`)
)

// cName checks and takes the C name of an entry.
func (v *validator) cName(n *Node, name, what, path string) {
	if !cIdentifier.MatchString(name) {
		v.add(n.At("name"), KindName, join(path, "name"), "%q is not a C identifier", name)
		return
	}
	v.claim(v.cNames, KindDuplicate, name, what, n.At("name"), join(path, "name"))
}

// goName checks the Go name of an entry, which has to be exported, and takes it.
func (v *validator) goName(in scope, n *Node, name, what, path string) {
	if !token.IsIdentifier(name) || !token.IsExported(name) || !cIdentifier.MatchString(name) {
		v.add(n.At("go"), KindGoName, join(path, "go"), "%q is not an exported Go identifier: begin with a capital, and use ASCII letters and digits", name)
		return
	}
	v.claim(in, KindGoDuplicate, name, what, n.At("go"), join(path, "go"))
}

// shadowed are names that generated code declares itself where parameters are in scope.
var shadowed = []string{"b", "f", "rc", "n", "i", "ctx"}

// paramName checks the Go name of a parameter.
func (v *validator) paramName(in scope, fn *Function, p *Param, path string) {
	pos, at := p.At("go"), join(path, "go")
	r, _ := utf8.DecodeRuneInString(p.Go)
	switch {
	case token.IsKeyword(p.Go):
		v.add(pos, KindGoName, at, "%q is a keyword of Go: choose another name", p.Go)
	case !token.IsIdentifier(p.Go) || !unicode.IsLower(r) || !cIdentifier.MatchString(p.Go):
		v.add(pos, KindGoName, at, "%q is not the name of a Go parameter: begin with a small letter, and use ASCII letters and digits", p.Go)
	case types.Universe.Lookup(p.Go) != nil:
		v.add(pos, KindGoName, at, "%q would hide what Go declares by that name: choose another", p.Go)
	case p.Role != "receiver" && (slices.Contains(shadowed, p.Go) || fn.On == "Card" && p.Go == "card"):
		v.add(pos, KindGoName, at, "%q is a name that generated code uses itself: choose another", p.Go)
	default:
		v.claim(in, KindGoDuplicate, p.Go, p.Name, pos, at)
	}
}

func (v *validator) url(pos Pos, text, path string) {
	if text == "" {
		return
	}
	if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" || strings.ContainsAny(text, " \n") {
		v.add(pos, KindURL, path, "%q is not a link: write it as https://host/path", text)
	}
}

func (v *validator) checkSources() {
	names := make(scope)
	for _, s := range v.Sources {
		path := printable(s.Name)
		if !sourceName.MatchString(s.Name) {
			v.add(s.At("name"), KindName, join(path, "name"), "%q is not the name of a source: use small letters, digits, hyphens and full stops", s.Name)
		}
		v.claim(names, KindDuplicate, s.Name, "a source", s.At("name"), join(path, "name"))
		if s.Platform != "" && !slices.Contains(v.platforms, s.Platform) {
			v.unknown(s.At("platform"), KindUnknownPlatform, join(path, "platform"), "platform", s.Platform, v.platforms)
		}
		if s.Symbols && s.Platform == "" {
			v.add(s.At("symbols"), KindSymbols, join(path, "symbols"), "it lists what the library of a platform exports: add platform")
		}
		v.url(s.At("url"), s.URL, join(path, "url"))
		if !v.cited[s.Name] {
			v.add(s.Pos, KindUnusedSource, path, "nothing cites the source: cite it, or remove it")
		}
	}
}
