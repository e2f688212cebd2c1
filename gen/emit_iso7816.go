package gen

import (
	"fmt"
	"strings"

	"github.com/dave/jennifer/jen"
)

// emitISO7816 emits the status words:
//
//	const (
//		// ErrWrongLe is 6CXX: wrong Le, n bytes are available.
//		ErrWrongLe StatusWord = 0x6C00
//	)
//
//	var statusWords = [...]statusInfo{
//		{first: 0x6C00, last: 0x6CFF, class: ClassChecking, text: "wrong Le, {n} bytes are available", mask: 0xFF, zero: 256, is: []StatusWord{ErrWrongLength}},
//	}
//
// A spec that has none gives no file.
func emitISO7816(m *Model) ([]File, error) {
	if len(m.Statuses) == 0 {
		return nil, nil
	}
	f := newFile(iso7816Path, "zstatus.go", "", "statuswords")
	var defs, table []jen.Code
	for _, s := range m.Statuses {
		doc := fmt.Sprintf("%s is %s: %s.", s.Go, s.Name, strings.ReplaceAll(s.Text, "{n}", "n"))
		if s.Doc != "" {
			doc += " " + s.Doc
		}
		defs = append(defs, comments(doc)...)
		defs = append(defs, jen.Id(s.Go).Id("StatusWord").Op("=").Op(word(s.First)))
		table = append(table, jen.Values(statusFields(s)...))
	}
	f.doc("The status words of ISO/IEC 7816-4. One that has X in it stands for a range: errors.Is finds it in every status word of the range.")
	f.Const().Defs(defs...)
	f.Line()
	f.doc("statusWords is what is known of each status word and range, in the order of their first values.")
	f.Var().Id("statusWords").Op("=").Index(jen.Op("...")).Id("statusInfo").Custom(jen.Options{
		Open: "{", Close: "}", Separator: ",", Multi: true,
	}, table...)
	return renderAll(f)
}

func word(v uint16) string { return fmt.Sprintf("0x%04X", v) }

func statusFields(s *Status) []jen.Code {
	fields := []jen.Code{
		jen.Id("first").Op(":").Op(word(s.First)),
		jen.Id("last").Op(":").Op(word(s.Last)),
		jen.Id("class").Op(":").Id("Class" + strings.ToUpper(s.Class[:1]) + s.Class[1:]),
		jen.Id("text").Op(":").Lit(s.Text),
	}
	if s.Mask != nil {
		fields = append(fields, jen.Id("mask").Op(":").Op(s.Mask.Text))
	}
	if s.Zero != nil {
		fields = append(fields, jen.Id("zero").Op(":").Op(s.Zero.Text))
	}
	if s.IsWords != nil {
		var is []jen.Code
		for _, name := range s.IsWords {
			is = append(is, jen.Id(name))
		}
		fields = append(fields, jen.Id("is").Op(":").Index().Id("StatusWord").Values(is...))
	}
	if s.IsNoSys {
		fields = append(fields, jen.Id("unsupported").Op(":").True())
	}
	return fields
}
