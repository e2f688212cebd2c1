package spec

// Kind says which check found a fault. Messages name the particulars; the kind is for tests and tools.
type Kind string

// The faults that Load finds.
const (
	KindSyntax   Kind = "syntax"   // not YAML, or not UTF-8
	KindDocument Kind = "document" // a file holds no document, several, or one that is not a mapping
	KindFeature  Kind = "feature"  // an anchor, alias, tag or merge key
	KindKey      Kind = "key"      // a key that is not in the schema
	KindRepeated Kind = "repeated" // a key given twice
	KindType     Kind = "type"     // a value of another type than the schema's
	KindInt      Kind = "int"      // an integer that is negative, too wide or not written as wanted
	KindNull     Kind = "null"     // a key without a value
	KindMissing  Kind = "missing"  // a required key that is not there
	KindEmpty    Kind = "empty"    // an empty text, list or mapping
	KindBlank    Kind = "blank"    // a text with white space around it, or control characters in it
	KindEnum     Kind = "enum"     // a value that is not one of those allowed
)

// The faults that Validate finds.
const (
	KindDuplicate       Kind = "duplicate"        // two entries with one name
	KindName            Kind = "name"             // a name that is no C identifier, or no name of a platform or source
	KindListed          Kind = "listed"           // an element that a list has twice
	KindGoDuplicate     Kind = "go-duplicate"     // two Go names in one scope
	KindGoName          Kind = "go-name"          // a Go name that is none, or shadows something
	KindGoMissing       Kind = "go-missing"       // no Go name for what the contract shows
	KindGoUnwanted      Kind = "go-unwanted"      // a Go name for what the contract does not show
	KindDoc             Kind = "doc"              // badly formed documentation
	KindText            Kind = "text"             // badly formed text of an error
	KindURL             Kind = "url"              // badly formed link
	KindSee             Kind = "see"              // no link to a manual, or a badly formed one
	KindUnknownPlatform Kind = "unknown-platform" // a platform that is not described
	KindUnknownSource   Kind = "unknown-source"   // a source that is not described
	KindUnusedSource    Kind = "unused-source"    // a source that nothing cites
	KindNoSource        Kind = "no-source"        // nothing cited
	KindNotCovered      Kind = "not-covered"      // a platform that no cited source is of
	KindPlatformValue   Kind = "platform-value"   // no value on a platform that needs one
	KindSystem          Kind = "system"           // an operating system unknown to Go, in two platforms or not the platform's
	KindBits            Kind = "bits"             // a pointer width other than 32 and 64, or given twice
	KindFallback        Kind = "fallback"         // not exactly one platform whose constants other systems get
	KindPack            Kind = "pack"             // a packing that no compiler has
	KindCgo             Kind = "cgo"              // nothing to link with
	KindLibrary         Kind = "library"          // an operating system without a library, or with two
	KindTarget          Kind = "target"           // a target that is unknown, repeated, missing or in contradiction
	KindScalarGo        Kind = "scalar-go"        // a Go type that no scalar can have
	KindUnknownType     Kind = "unknown-type"     // a C type that is not described
	KindTail            Kind = "tail"             // a variable array that is not at the end, or has a length
	KindFieldRole       Kind = "field-role"       // a role that the type of a field does not allow
	KindArray           Kind = "array"            // a length that is zero, or of what is no array
	KindReceiver        Kind = "receiver"         // a receiver that is missing, misplaced or of the wrong type
	KindRole            Kind = "role"             // a role that the type of a parameter does not allow
	KindOfMissing       Kind = "of-missing"       // a length that says not of what
	KindOfUnwanted      Kind = "of-unwanted"      // of with a role that has none
	KindOfUnknown       Kind = "of-unknown"       // of naming nothing
	KindOfRole          Kind = "of-role"          // of naming something that such a length cannot belong to
	KindOfTwice         Kind = "of-twice"         // two lengths for one buffer
	KindNoLength        Kind = "no-length"        // a buffer without a length, or with half of one
	KindAPI             Kind = "api"              // a generated method for what cannot have one, or the name of one for what has none
	KindUnknownError    Kind = "unknown-error"    // a return code that is not described, or that the function cannot give
	KindAs              Kind = "as"               // a Go type that is not generated, or for what cannot have one
	KindNormalise       Kind = "normalise"        // a group that is not normalised, or a role that cannot be
	KindNullable        Kind = "nullable"         // nullable with a role that cannot be NULL
	KindSymbol          Kind = "symbol"           // a symbol on a platform that lacks the function, or that is no C identifier
	KindSince           Kind = "since"            // a first version on a platform that lacks the function, or of one that must be there
	KindReader          Kind = "reader"           // the name of a reader that is none, or a second one
	KindUnbound         Kind = "unbound"          // a symbol that is left alone and bound, or that is no C identifier
	KindSymbols         Kind = "symbols"          // a source that lists symbols of no platform
	KindValue           Kind = "value"            // neither a value nor a string, or both
	KindWidth           Kind = "width"            // a value that its type cannot hold
	KindSameValue       Kind = "same-value"       // two entries with one value
	KindSameAs          Kind = "same-as"          // same_value_as naming nothing, or something with another value
	KindFlags           Kind = "flags"            // a flag that is neither one bit nor made of others
	KindImplies         Kind = "implies"          // implies naming no flag of the group, or in a group that is not normalised
	KindNative          Kind = "native"           // a native value in a group that is not normalised
	KindIs              Kind = "is"               // is naming no error
	KindOwn             Kind = "own"              // a code of this module with what only headers have
	KindClass           Kind = "class"            // an attribute class that is not described
	KindUnit            Kind = "unit"             // a unit for what is no number
	KindControl         Kind = "control"          // control codes without ctl_code
	KindRange           Kind = "range"            // status words that are none, or ranges that overlap
	KindParameter       Kind = "parameter"        // a status word whose text and number do not fit
	KindProtocol        Kind = "protocol"         // messages or commands without protocol
	KindVersion         Kind = "version"          // a version that the protocol does not have
	KindSize            Kind = "size"             // a size that is not that of the fields, missing, unwanted or too large
	KindUnknownConstant Kind = "unknown-constant" // a constant that is not described
)
