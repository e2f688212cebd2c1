package cardfile

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/gopcsc/gopcsc/internal/yamldoc"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

func (d *decoder) df(to *filesystem.DF) func(entry) {
	return func(e entry) {
		d.mapping(e,
			field{"id", "ID", false, hexadecimal(d, &to.ID, 4)},
			field{"name", "Name", false, d.bytes(&to.Name)},
			field{"efs", "EFs", false, elements(d, &to.EFs, d.ef)},
			field{"dfs", "DFs", false, elements(d, &to.DFs, d.df)},
			field{"pins", "PINs", false, elements(d, &to.PINs, d.pin)},
			field{"data", "Data", false, elements(d, &to.Data, d.object)},
			field{"control", "Control", false, d.bytes(&to.Control)},
		)
	}
}

func (d *decoder) ef(to *filesystem.EF) func(entry) {
	return func(e entry) {
		var sfi int
		d.mapping(e, append(d.content("Data", &to.Data),
			field{"id", "ID", true, hexadecimal(d, &to.ID, 4)},
			field{"sfi", "SFI", false, d.number(&sfi)},
			field{"structure", "Structure", false, d.structure(&to.Structure)},
			field{"size", "Size", false, d.number(&to.Size)},
			field{"records", "Records", false, elements(d, &to.Records, d.record)},
			field{"record_size", "RecordSize", false, d.number(&to.RecordSize)},
			field{"max_records", "MaxRecords", false, d.number(&to.MaxRecords)},
			field{"read", "Read", false, d.condition(&to.Read)},
			field{"update", "Update", false, d.condition(&to.Update)},
			field{"control", "Control", false, d.bytes(&to.Control)},
		)...)
		if sfi < 0 || sfi > 30 {
			d.fault(d.place(e.config+".SFI", e), "is %d, 1 to 30 are allowed, and 0 is none", sfi)
		}
		to.SFI = byte(sfi)
	}
}

// content is what a file, a record or a data object holds, which may be given in one of several ways.
func (d *decoder) content(config string, to *[]byte) []field {
	given := ""
	one := func(key string, set func(entry)) field {
		return field{key, config, false, func(e entry) {
			if given != "" {
				d.fault(e, "%s is given too: keep one", given)
				return
			}
			given = key
			set(e)
		}}
	}
	return []field{one("hex", d.bytes(to)), one("text", d.text(to)), one("file", d.contents(to))}
}

func (d *decoder) record(to *[]byte) func(entry) {
	return func(e entry) {
		if e.Kind == yaml.MappingNode {
			d.mapping(e, d.content("", to)...)
			return
		}
		d.bytes(to)(e)
	}
}

func (d *decoder) object(to *filesystem.DataObject) func(entry) {
	return func(e entry) {
		d.mapping(e, append(d.content("Value", &to.Value),
			field{"tag", "Tag", true, hexadecimal(d, &to.Tag, 2, 4, 6, 8)},
			field{"read", "Read", false, d.condition(&to.Read)},
		)...)
	}
}

func (d *decoder) pin(to *filesystem.PIN) func(entry) {
	return func(e entry) {
		d.mapping(e,
			field{"reference", "Reference", true, hexadecimal(d, &to.Reference, 2)},
			field{"value", "Value", false, d.text(&to.Value)},
			field{"hex", "Value", false, d.bytes(&to.Value)},
			field{"tries", "Tries", false, d.number(&to.Tries)},
			field{"min_length", "MinLength", false, d.number(&to.MinLength)},
			field{"max_length", "MaxLength", false, d.number(&to.MaxLength)},
			field{"length", "Length", false, d.number(&to.Length)},
			field{"pad", "Pad", false, hexadecimal(d, &to.Pad, 2)},
			field{"puk", "PUK", false, d.text(&to.PUK)},
			field{"puk_hex", "PUK", false, d.bytes(&to.PUK)},
			field{"puk_tries", "PUKTries", false, d.number(&to.PUKTries)},
			field{"unblock", "Unblock", false, d.condition(&to.Unblock)},
		)
	}
}

var structures = map[string]filesystem.Structure{}

func init() {
	for s := filesystem.Transparent; s <= filesystem.Cyclic; s++ {
		structures[s.String()] = s
	}
}

func (d *decoder) structure(to *filesystem.Structure) func(entry) {
	return func(e entry) {
		s, ok := structures[e.Value]
		if e.Kind != yaml.ScalarNode || !ok {
			d.fault(e, "wanted %s, found %s%s", oneOf(structures), yamldoc.Describe(e.Node), yamldoc.DidYouMean(e.Value, names(structures)))
		}
		*to = s
	}
}

func (d *decoder) condition(to *filesystem.Condition) func(entry) {
	return func(e entry) {
		if !d.isText(e) {
			return
		}
		switch e.Value {
		case "always":
			*to = filesystem.Always
			return
		case "never":
			*to = filesystem.Never
			return
		}
		words := strings.Fields(e.Value)
		var refs []byte
		joint := "and"
		for i, word := range words {
			ref, err := strconv.ParseUint(word, 16, 8)
			switch {
			case i%2 == 0 && err == nil && len(word) == 2:
				refs = append(refs, byte(ref))
				continue
			case i == 1 && (word == "and" || word == "or"):
				joint = word
				continue
			case i%2 == 1 && word == joint:
				continue
			}
			refs = nil
			break
		}
		if len(refs) == 0 || len(words)%2 == 0 {
			d.wrong(e, `"always", "never" or references of PINs, such as 01, "01 and 81" or "01 or 81"`)
			return
		}
		if *to = filesystem.Verified(refs...); joint == "or" {
			*to = filesystem.AnyVerified(refs...)
		}
	}
}
