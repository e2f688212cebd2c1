// Package spec reads the description of PC/SC that everything else is generated from.
//
// The description is a set of YAML files. Every file may hold every top-level key of Document, so that a vendor's
// functions, attributes and control codes can be added in a file of their own. Load reads the files and keeps the
// position of every value; Validate checks what they mean. Both report all faults at once, as
// file:line:column: path: message.
package spec

// Document is the content of one file, and of all files together.
type Document struct {
	Sources          []*Source         `yaml:"sources" doc:"where values were read: headers and manuals, with their version"`
	Platforms        []*Platform       `yaml:"platforms" doc:"the PC/SC implementations, one for each set of headers"`
	Scalars          []*Scalar         `yaml:"scalars" doc:"C integer types and their width on each platform"`
	Structs          []*Struct         `yaml:"structs" doc:"C structures"`
	Functions        []*Function       `yaml:"functions" doc:"PC/SC functions"`
	Constants        []*Group          `yaml:"constants" doc:"constants, by the Go type they get"`
	LeftOut          []*LeftOut        `yaml:"left_out" doc:"what headers define and the spec leaves out on purpose"`
	Errors           []*Error          `yaml:"errors" doc:"return codes"`
	AttributeClasses []*AttributeClass `yaml:"attribute_classes" doc:"classes of reader attributes: the upper 16 bits of an attribute"`
	Attributes       []*Attribute      `yaml:"attributes" doc:"reader attributes"`
	CtlCode          *CtlCode          `yaml:"ctl_code" doc:"how SCARD_CTL_CODE computes a control code from a function number"`
	ControlCodes     []*ControlCode    `yaml:"control_codes" doc:"control codes"`
	Features         []*Feature        `yaml:"features" doc:"PC/SC part 10 features"`
	Properties       []*Property       `yaml:"properties" doc:"PC/SC part 10 TLV properties"`
	StatusWords      []*StatusWord     `yaml:"status_words" doc:"status words of ISO/IEC 7816-4"`
	Protocol         *Protocol         `yaml:"protocol" doc:"pcscd's socket protocol: its versions and limits"`
	Messages         []*Message        `yaml:"messages" doc:"structures of pcscd's socket protocol"`
	Commands         []*Command        `yaml:"commands" doc:"commands of pcscd's socket protocol"`
}

// Pos is a position in a file of the spec. Line and Col count from 1.
type Pos struct {
	File string
	Line int
	Col  int
}

// Node is the position of an entry and of each of its keys. Every entry embeds one.
type Node struct {
	Pos  Pos
	keys map[string]Pos // the position of each key's value
}

// At returns the position of the value of a key, or of the entry if it has no such key.
func (n *Node) At(key string) Pos {
	if p, ok := n.keys[key]; ok {
		return p
	}
	return n.Pos
}

// Has reports whether the entry has the key.
func (n *Node) Has(key string) bool { _, ok := n.keys[key]; return ok }

// Int is an integer as it was written, so that hexadecimal stays hexadecimal in what is generated.
type Int struct {
	Value uint64
	Text  string
}

// PerPlatform is a value that is either the same on every platform (written as it is) or given by platform, with
// "default" for those that are not named.
type PerPlatform[T any] struct {
	Node    `yaml:"-"`
	Default *T
	By      map[string]T
}

// For returns the value on the platform.
func (p *PerPlatform[T]) For(platform string) (v T, ok bool) {
	if p == nil {
		return v, false
	}
	if v, ok = p.By[platform]; ok {
		return v, true
	}
	if p.Default != nil {
		return *p.Default, true
	}
	return v, false
}

// Source is a header or manual that values were read from.
type Source struct {
	Node     `yaml:"-"`
	Name     string `yaml:"name" spec:"required" doc:"the name that entries cite"`
	Title    string `yaml:"title" spec:"required" doc:"what it is"`
	Version  string `yaml:"version" spec:"required" doc:"its version"`
	Platform string `yaml:"platform" doc:"the platform whose values it defines, if it is a set of headers"`
	Symbols  bool   `yaml:"symbols" doc:"it lists what the platform's library exports, and declares nothing"`
	URL      string `yaml:"url" doc:"where it can be read"`
}

// Platform is one implementation of PC/SC: a set of headers, a library and an ABI.
type Platform struct {
	Node      `yaml:"-"`
	Name      string     `yaml:"name" spec:"required" doc:"short name, used as a key everywhere else"`
	Title     string     `yaml:"title" spec:"required" doc:"name for people"`
	GOOS      []string   `yaml:"goos" spec:"required" doc:"the operating systems of Go that have it"`
	Not       []string   `yaml:"not" doc:"operating systems that satisfy the build constraint of one of goos but do not have it"`
	Bits      []int      `yaml:"bits" spec:"required" doc:"pointer widths"`
	Pack      int        `yaml:"pack" doc:"#pragma pack of the structures, in bytes; 0 for natural alignment"`
	Charset   string     `yaml:"charset" spec:"required,enum=utf8|utf16" doc:"how strings are passed: bytes, or UTF-16 units (the W functions of Windows)"`
	Cgo       *Cgo       `yaml:"cgo" spec:"required" doc:"how the cgo backend finds headers and library"`
	Libraries []*Library `yaml:"libraries" spec:"required" doc:"what the dlopen backend loads, by operating system"`
	Targets   []*Target  `yaml:"targets" spec:"required" doc:"the GOOS/GOARCH that generated code is checked for"`
	Fallback  bool       `yaml:"fallback" doc:"its constants are those of systems that have no PC/SC, so that portable code compiles there; one platform has it"`
	Doc       string     `yaml:"doc" spec:"required" doc:"what it is, in a sentence"`

	Differences []*Difference `yaml:"differences" doc:"what a user of package pcsc has to know of it, in order, beside what follows from other entries"`
	Proofs      []*Proof      `yaml:"proofs" doc:"how what the spec says of a target is checked, beside building and vetting all of them"`
}

// Proof is how what the spec says of a target is checked.
type Proof struct {
	Node     `yaml:"-"`
	Target   string   `yaml:"target" spec:"required" doc:"GOOS/GOARCH, one of targets"`
	Libc     string   `yaml:"libc" doc:"the C library, where it is not the usual one: musl, x32"`
	Compiler string   `yaml:"compiler" spec:"required" doc:"the C compiler that checks layouts and constants against the headers, with flags"`
	Packages []string `yaml:"packages" spec:"required" doc:"Debian packages that have the compiler"`
	Headers  string   `yaml:"headers" spec:"enum=table|stand_in" doc:"where the target's own headers can't be had, table: those that are made from the table of the platform; stand_in: those of another system"`
	Cgo      string   `yaml:"cgo" doc:"the make target that runs the cgo backend"`
	Dlopen   string   `yaml:"dlopen" doc:"the make target that runs the dlopen backend"`
}

// LeftOut is what headers define and the spec leaves out on purpose.
type LeftOut struct {
	Node    `yaml:"-"`
	Names   []string `yaml:"names" spec:"required" doc:"names of macros; a * at the end stands for the rest of the name"`
	Headers []string `yaml:"headers" doc:"platforms whose headers have them; all if not given"`
	Why     string   `yaml:"why" spec:"required" doc:"why they are left out"`
}

// Difference is how a platform differs from others in what it does.
type Difference struct {
	Node `yaml:"-"`
	Text string   `yaml:"text" spec:"required" doc:"whole sentences; a name of package pcsc in brackets becomes a link"`
	Src  []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Cgo is how the cgo backend is built on a platform.
type Cgo struct {
	Node      `yaml:"-"`
	Include   []string `yaml:"include" spec:"required" doc:"headers, in order"`
	PkgConfig string   `yaml:"pkg_config" doc:"pkg-config package"`
	LDFlags   string   `yaml:"ldflags" doc:"linker flags"`
}

// Library is the PC/SC library of an operating system.
type Library struct {
	Node    `yaml:"-"`
	GOOS    []string   `yaml:"goos" spec:"required" doc:"operating systems"`
	Name    string     `yaml:"name" spec:"required" doc:"the platform's one standard name, as dlopen or LoadLibrary takes it"`
	Install string     `yaml:"install" spec:"required" doc:"what to do when it is missing"`
	Unbound []*Unbound `yaml:"unbound" doc:"what it exports that no function is for"`
}

// Unbound is a symbol of a library that is left alone.
type Unbound struct {
	Node `yaml:"-"`
	Name string   `yaml:"name" spec:"required" doc:"the symbol"`
	Doc  string   `yaml:"doc" spec:"required" doc:"what it is, and why no function is for it"`
	Src  []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Target is a GOOS/GOARCH.
type Target struct {
	Node   `yaml:"-"`
	GOOS   string   `yaml:"goos" spec:"required" doc:"operating system"`
	GOARCH []string `yaml:"goarch" spec:"required" doc:"architectures"`
	Dlopen bool     `yaml:"dlopen" doc:"the dlopen backend builds there without cgo"`
	Go     string   `yaml:"go" doc:"the first Go release with which it does, as 1.27"`
	Flags  string   `yaml:"flags" doc:"flags that go build needs for the dlopen backend there"`
}

// Scalar is a C integer type.
type Scalar struct {
	Node  `yaml:"-"`
	Name  string               `yaml:"name" spec:"required" doc:"C name"`
	C     *PerPlatform[string] `yaml:"c" spec:"required,enum=u8|u16|u32|u64|i32|i64|long|ulong|uptr" doc:"what it is on each platform; long, ulong and uptr have the width of a pointer"`
	CName *PerPlatform[string] `yaml:"c_name" doc:"its name in the headers, where it is not the name"`
	Go    string               `yaml:"go" spec:"required" doc:"its type in the contract"`
	Doc   string               `yaml:"doc" spec:"required" doc:"what it is"`
	Src   []string             `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Struct is a C structure.
type Struct struct {
	Node    `yaml:"-"`
	Name    string               `yaml:"name" spec:"required" doc:"C name"`
	Go      string               `yaml:"go" spec:"required" doc:"Go name"`
	C       *PerPlatform[string] `yaml:"c" doc:"C name where it is another (SCARD_READERSTATEW)"`
	Order   string               `yaml:"order" spec:"enum=host|big|little" doc:"byte order of its integers; host if not given"`
	Pack    *int                 `yaml:"pack" doc:"packing where it is not the platform's"`
	Headers []string             `yaml:"headers" doc:"platforms whose headers have it; all if not given"`
	Fields  []*Field             `yaml:"fields" spec:"required" doc:"fields in order"`
	Doc     string               `yaml:"doc" spec:"required" doc:"what it is"`
	Src     []string             `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Field is a field of a structure.
type Field struct {
	Node `yaml:"-"`
	Name string            `yaml:"name" spec:"required" doc:"C name"`
	Go   string            `yaml:"go" doc:"Go name; none for a field that the contract does not show"`
	Type string            `yaml:"type" spec:"required" doc:"a scalar, or text (pointer to a string), or pointer"`
	Len  *PerPlatform[Int] `yaml:"len" doc:"number of elements, for an array"`
	Role string            `yaml:"role" spec:"enum=in|out|out_len|reserved" doc:"in: written before the call; out: read after it; out_len: length of the array named by of"`
	Of   string            `yaml:"of" doc:"the array that an out_len counts"`
	Tail bool              `yaml:"tail" doc:"a variable array at the end, not counted in the size"`
	Doc  string            `yaml:"doc" doc:"what it is, with its unit"`
}

// Function is a PC/SC function.
type Function struct {
	Node      `yaml:"-"`
	Name      string               `yaml:"name" spec:"required" doc:"C name, as the manuals call it"`
	Go        string               `yaml:"go" spec:"required" doc:"name in the contract"`
	On        string               `yaml:"on" spec:"required,enum=Context|Card|none" doc:"what it is called on: a context, a card connection, or neither"`
	Symbol    *PerPlatform[string] `yaml:"symbol" doc:"symbol in the library, where it is not the name"`
	Platforms []string             `yaml:"platforms" doc:"platforms that have it; all if not given"`
	Optional  bool                 `yaml:"optional" doc:"a missing symbol is an error of that call, not of loading"`
	Since     *PerPlatform[string] `yaml:"since" doc:"first version of the platform that has it, as its manual says; older ones need optional"`
	Blocking  bool                 `yaml:"blocking" doc:"whether it may wait for a card, a reader or another program"`
	Returns   string               `yaml:"returns" spec:"enum=code|handle|text|void" doc:"code if not given; a handle of the system is NULL on failure, for a reason that the system has"`
	C         *PerPlatform[string] `yaml:"c" doc:"the C type of what it returns in the headers, where that does not follow from returns"`
	API       string               `yaml:"api" spec:"required,enum=method|policy|none" doc:"method: package pcsc gets a generated method; policy: a method written by hand; none: only the contract has it"`
	Method    string               `yaml:"method" doc:"what package pcsc has for a function of policy, where that is not a method of its name: Transaction.Cancel"`
	Params    []*Param             `yaml:"params" doc:"parameters in order"`
	Errors    []string             `yaml:"errors" doc:"return codes by which a program decides what to do, as the manuals or tests have them; codes that every function may give are left out"`
	Doc       string               `yaml:"doc" spec:"required" doc:"what it does, as the end of a sentence that begins with its name"`
	See       *See                 `yaml:"see" doc:"where the manuals have it; left out if none does"`
	Src       []string             `yaml:"sources" spec:"required" doc:"where the declaration was read"`
}

// See links the manuals.
type See struct {
	Node     `yaml:"-"`
	PCSCLite string `yaml:"pcsclite" doc:"page of pcsclite.apdu.fr/api"`
	WinSCard string `yaml:"winscard" doc:"page of learn.microsoft.com/windows/win32/api/winscard"`
}

// Param is a parameter of a function.
type Param struct {
	Node      `yaml:"-"`
	Name      string               `yaml:"name" spec:"required" doc:"C name"`
	Type      string               `yaml:"type" spec:"required" doc:"a scalar (of what it points to, for an out parameter), a structure, text, or pointer"`
	Go        string               `yaml:"go" doc:"Go name, for what the contract shows"`
	Role      string               `yaml:"role" spec:"required,enum=receiver|in|out|reserved|in_buffer|in_mask|in_atr|out_buffer|len|cap|out_len|inout_len|in_text|in_multitext|out_text|out_multitext|states|count|pci_in|pci_out|pointer|guid|guids|out_guid|out_guids|structs" doc:"what it is for"`
	Of        string               `yaml:"of" doc:"the buffer that a len, cap, out_len, inout_len or count belongs to, or that an in_mask is as long as"`
	Size      *Int                 `yaml:"size" doc:"bytes that an in_atr is filled up to with zeros, as the library is not told its length"`
	Reader    bool                 `yaml:"reader" doc:"an in_text is the name of a reader, which errors and traces of the call carry"`
	As        string               `yaml:"as" doc:"the Go type that package pcsc gives it"`
	Normalise string               `yaml:"normalise" doc:"the constant group whose one meaning it is brought to"`
	Nullable  bool                 `yaml:"nullable" doc:"an empty list or string is passed as NULL"`
	C         *PerPlatform[string] `yaml:"c" doc:"its C type in the headers, where that does not follow from type and role"`
	Doc       string               `yaml:"doc" doc:"what it is, with its unit"`
}

// Group is a set of constants that share a Go type.
type Group struct {
	Node      `yaml:"-"`
	Name      string               `yaml:"name" spec:"required" doc:"name of the group, and of the Go type unless the kind is values"`
	Kind      string               `yaml:"kind" spec:"required,enum=enum|flags|values" doc:"enum: one value at a time; flags: bits that combine; values: untyped constants"`
	Type      string               `yaml:"type" doc:"the C type that the values must fit"`
	Normalise *PerPlatform[string] `yaml:"normalise" spec:"enum=ordinal" doc:"platforms whose native values are mapped to the values of the contract"`
	Doc       string               `yaml:"doc" spec:"required" doc:"what it is"`
	Src       []string             `yaml:"sources" doc:"where the values were read, unless a value says otherwise"`
	Values    []*Constant          `yaml:"values" spec:"required" doc:"the constants"`
}

// Constant is a C constant.
type Constant struct {
	Node    `yaml:"-"`
	Name    string               `yaml:"name" spec:"required" doc:"C name"`
	Go      string               `yaml:"go" spec:"required" doc:"Go name"`
	Value   *PerPlatform[Int]    `yaml:"value" doc:"value of the Go constant on each platform"`
	Native  *PerPlatform[Int]    `yaml:"native" doc:"value in the header where it is not the contract's (normalised groups)"`
	Implies []string             `yaml:"implies" doc:"flags that a native ordinal also stands for"`
	String  *string              `yaml:"string" doc:"value of a string constant"`
	Text    string               `yaml:"text" doc:"what String prints; the Go name without the group's prefix if not given"`
	Headers []string             `yaml:"headers" doc:"platforms whose headers define it; all that the sources cover if not given"`
	Since   *PerPlatform[string] `yaml:"since" doc:"first version of the header that defines it"`
	Same    string               `yaml:"same_value_as" doc:"another constant that has the same value on purpose"`
	Doc     string               `yaml:"doc" spec:"required" doc:"what it means"`
	Src     []string             `yaml:"sources" doc:"where it was read"`
}

// Error is a return code.
type Error struct {
	Node    `yaml:"-"`
	Name    string               `yaml:"name" spec:"required" doc:"C name"`
	Go      string               `yaml:"go" spec:"required" doc:"Go name"`
	Value   *PerPlatform[Int]    `yaml:"value" spec:"required" doc:"32-bit pattern on each platform"`
	Text    string               `yaml:"text" spec:"required" doc:"what went wrong, in plain English, small first letter, no full stop"`
	Hint    string               `yaml:"hint" doc:"what to do about it"`
	Is      []string             `yaml:"is" doc:"other codes, or errors of the standard library, that errors.Is finds in it"`
	Headers []string             `yaml:"headers" doc:"platforms whose headers define it; all that the sources cover if not given"`
	Since   *PerPlatform[string] `yaml:"since" doc:"first version of the header that defines it"`
	Same    string               `yaml:"same_value_as" doc:"another code that has the same value on a platform on purpose"`
	Own     bool                 `yaml:"own" doc:"a code of this module, in no header"`
	Doc     string               `yaml:"doc" doc:"more than the text says"`
	Src     []string             `yaml:"sources" doc:"where it was read; not for an own code"`
}

// AttributeClass is a class of attributes.
type AttributeClass struct {
	Node    `yaml:"-"`
	Name    string            `yaml:"name" spec:"required" doc:"C name"`
	Go      string            `yaml:"go" spec:"required" doc:"Go name"`
	Value   *PerPlatform[Int] `yaml:"value" spec:"required" doc:"16-bit value"`
	Headers []string          `yaml:"headers" doc:"platforms whose headers define it; all that the sources cover if not given"`
	Doc     string            `yaml:"doc" spec:"required" doc:"what it holds"`
	Src     []string          `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Attribute is a reader attribute.
type Attribute struct {
	Node    `yaml:"-"`
	Name    string   `yaml:"name" spec:"required" doc:"C name"`
	Go      string   `yaml:"go" spec:"required" doc:"Go name"`
	Class   string   `yaml:"class" spec:"required" doc:"its class: the upper 16 bits"`
	Tag     *Int     `yaml:"tag" spec:"required" doc:"the lower 16 bits"`
	Access  string   `yaml:"access" spec:"required,enum=r|w|rw" doc:"whether it can be read or written"`
	Decode  string   `yaml:"decode" spec:"required,enum=bytes|string|utf16|uint8|uint32|version|protocols|atr|channel|bool8" doc:"what its bytes are; integers are in the host's byte order"`
	Unit    string   `yaml:"unit" doc:"unit of a number"`
	Headers []string `yaml:"headers" doc:"platforms whose headers define it; all that the sources cover if not given"`
	Same    string   `yaml:"same_value_as" doc:"another attribute that has the same value on purpose"`
	Doc     string   `yaml:"doc" spec:"required" doc:"what it is"`
	Src     []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// CtlCode says how a control code is computed: base + function << shift.
type CtlCode struct {
	Node  `yaml:"-"`
	Base  *PerPlatform[Int] `yaml:"base" spec:"required" doc:"control code of function 0"`
	Shift *PerPlatform[Int] `yaml:"shift" spec:"required" doc:"bits that the function number is shifted left"`
	Doc   string            `yaml:"doc" spec:"required" doc:"what a user should know"`
	Src   []string          `yaml:"sources" spec:"required" doc:"where it was read"`
}

// ControlCode is a control code.
type ControlCode struct {
	Node      `yaml:"-"`
	Name      string   `yaml:"name" spec:"required" doc:"C name"`
	Go        string   `yaml:"go" spec:"required" doc:"Go name"`
	Function  *Int     `yaml:"function" spec:"required" doc:"function number that SCARD_CTL_CODE takes"`
	Platforms []string `yaml:"platforms" doc:"platforms where the Go constant exists; all if not given"`
	Headers   []string `yaml:"headers" doc:"platforms whose headers define it; all that the sources cover if not given"`
	Doc       string   `yaml:"doc" spec:"required" doc:"what it does"`
	Src       []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Feature is a PC/SC part 10 feature.
type Feature struct {
	Node    `yaml:"-"`
	Name    string   `yaml:"name" spec:"required" doc:"C name"`
	Go      string   `yaml:"go" spec:"required" doc:"Go name"`
	Tag     *Int     `yaml:"tag" spec:"required" doc:"tag in the answer to GET_FEATURE_REQUEST"`
	Headers []string `yaml:"headers" doc:"platforms whose headers define it; all that the sources cover if not given"`
	Doc     string   `yaml:"doc" spec:"required" doc:"what it does"`
	Src     []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Property is a PC/SC part 10 TLV property.
type Property struct {
	Node    `yaml:"-"`
	Name    string   `yaml:"name" spec:"required" doc:"C name"`
	Go      string   `yaml:"go" spec:"required" doc:"Go name"`
	Tag     *Int     `yaml:"tag" spec:"required" doc:"tag in the answer to GET_TLV_PROPERTIES"`
	Decode  string   `yaml:"decode" spec:"required,enum=uint8|uint16|uint32|string" doc:"what its bytes are; integers are little endian"`
	Unit    string   `yaml:"unit" doc:"unit of a number"`
	Headers []string `yaml:"headers" doc:"platforms whose headers define it; all that the sources cover if not given"`
	Doc     string   `yaml:"doc" spec:"required" doc:"what it is"`
	Src     []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// StatusWord is a status word of ISO/IEC 7816-4, or a range of them. A range may lie within another one: its status
// words then are both, and the text is that of the narrower one.
type StatusWord struct {
	Node  `yaml:"-"`
	Name  string   `yaml:"name" spec:"required" doc:"the value as the standard writes it: 6A82, 63CX, 61XX, or 6202-6280"`
	Go    string   `yaml:"go" spec:"required" doc:"Go name"`
	Value *Int     `yaml:"value" spec:"required" doc:"16-bit value, the first of a range"`
	Last  *Int     `yaml:"last" doc:"last value of a range"`
	Mask  *Int     `yaml:"mask" doc:"bits of the value that are a number, which stands for {n} in the text"`
	Zero  *Int     `yaml:"zero" doc:"what the number 0 means, if not 0"`
	Class string   `yaml:"class" spec:"required,enum=normal|warning|execution|checking" doc:"normal processing, warning processing, execution error or checking error"`
	Text  string   `yaml:"text" spec:"required" doc:"what it means, in plain English, small first letter, no full stop"`
	Is    []string `yaml:"is" doc:"other status words by name, or errors.ErrUnsupported, that errors.Is finds in it, besides the ranges it lies in"`
	Doc   string   `yaml:"doc" doc:"more than the text says"`
	Src   []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Protocol is pcscd's socket protocol.
type Protocol struct {
	Node     `yaml:"-"`
	Major    *Int     `yaml:"major" spec:"required" doc:"major version"`
	First    *Int     `yaml:"first" spec:"required" doc:"first minor version that is described"`
	Last     *Int     `yaml:"last" spec:"required" doc:"last minor version that is described"`
	Platform string   `yaml:"platform" spec:"required" doc:"the platform whose constants give the lengths"`
	Header   string   `yaml:"header" spec:"required" doc:"the message that precedes every request"`
	MaxData  string   `yaml:"max_data" spec:"required" doc:"the constant that limits the data after a request or a reply"`
	Doc      string   `yaml:"doc" spec:"required" doc:"what holds for all messages, and how versions are agreed on"`
	Src      []string `yaml:"sources" spec:"required" doc:"where it was read"`
}

// Message is a structure of the socket protocol.
type Message struct {
	Node   `yaml:"-"`
	Name   string          `yaml:"name" spec:"required" doc:"C name"`
	Go     string          `yaml:"go" spec:"required" doc:"Go name"`
	Size   *Int            `yaml:"size" spec:"required" doc:"size in bytes, which has to be that of the fields"`
	Fields []*MessageField `yaml:"fields" spec:"required" doc:"fields in order"`
	Doc    string          `yaml:"doc" spec:"required" doc:"what it is for"`
	Src    []string        `yaml:"sources" spec:"required" doc:"where it was read"`
}

// MessageField is a field of a structure of the socket protocol. It has the same width on every platform.
type MessageField struct {
	Node `yaml:"-"`
	Name string `yaml:"name" spec:"required" doc:"C name"`
	Go   string `yaml:"go" spec:"required" doc:"Go name"`
	Type string `yaml:"type" spec:"required,enum=char|u8|u32|i32" doc:"what it is; an array of char is a text that ends with NUL"`
	Len  string `yaml:"len" doc:"the constant that is the number of elements, for an array"`
	As   string `yaml:"as" spec:"enum=Code|Command" doc:"the Go type of a u32 that is a return code or a command"`
	Doc  string `yaml:"doc" spec:"required" doc:"what it is, with its unit"`
}

// Command is a command of the socket protocol.
type Command struct {
	Node        `yaml:"-"`
	Name        string   `yaml:"name" spec:"required" doc:"C name"`
	Go          string   `yaml:"go" spec:"required" doc:"Go name"`
	Value       *Int     `yaml:"value" spec:"required" doc:"its number"`
	Since       *Int     `yaml:"since" doc:"first minor version that has it, if not all have"`
	Request     string   `yaml:"request" doc:"the message that is its body; none if not given"`
	RequestData string   `yaml:"request_data" doc:"the field of the request that is the length of the data after it"`
	Reply       string   `yaml:"reply" spec:"required" doc:"the message that answers it"`
	ReplyData   string   `yaml:"reply_data" doc:"the field of the reply that is the length of the data after it, if the return code is success"`
	Count       string   `yaml:"count" doc:"the constant that is the number of messages in the reply, if not one"`
	CountedBy   string   `yaml:"counted_by" doc:"the command whose reply tells the number of messages in this one's"`
	Until       *Int     `yaml:"until" doc:"last minor version that has the reply, if not all have"`
	Event       string   `yaml:"event" doc:"a message that comes once, later"`
	Doc         string   `yaml:"doc" spec:"required" doc:"what it does"`
	Src         []string `yaml:"sources" spec:"required" doc:"where it was read"`
}
