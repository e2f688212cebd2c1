package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

func (a *app) featureCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "feature READER",
		Short: "Show what a reader can do by PC/SC part 10, such as the entry of a PIN",
		Long: `Show the PC/SC part 10 features of a reader, such as the entry of a PIN at its own keys, with the control codes that
call them, and the properties that the reader gives. No feature is called but those that give the properties. A reader
without features is no error.

The card, if there is one, is connected to, shared, and left as it is.

READER is a reader's name, a part of it that no other reader has, or an index that pcsc list shows.

With --json:
  {"reader": "...",
   "features": [{"tag": 6, "name": "FEATURE_VERIFY_PIN_DIRECT", "code": "0x42000DB1"}],
   "properties": [{"tag": 6, "name": "PCSCv2_PART10_PROPERTY_bMinPINSize", "value": 4, "raw": "04"}],
   "pin_properties": {"lcd_layout": 528, "lcd_lines": 2, "lcd_columns": 16, "end_on": ["max_digits", "key"],
    "timeout2": 0},
   "problems": ["..."]}
value is a number or a string, or null if it has not the form that the property should have. pin_properties is null if
the reader does not have them. end_on is what can end the entry of a PIN: max_digits, key or timeout. problems are what
the driver did not answer.`,
		Example: `  pcsc feature 0
  pcsc feature --json acr`,
		Args: needReader,
		RunE: a.runE(a.feature),
	}
	a.jsonFlag(cmd)
	return cmd
}

type featureReport struct {
	Reader        string             `json:"reader"`
	Features      []jsonFeature      `json:"features"`
	Properties    []jsonProperty     `json:"properties"`
	PINProperties *jsonPINProperties `json:"pin_properties"`
	Problems      []string           `json:"problems"`
	outcome
}

type jsonFeature struct {
	Tag  uint8  `json:"tag"`
	Name string `json:"name"`
	Code string `json:"code"`
}

type jsonProperty struct {
	Tag   uint8  `json:"tag"`
	Name  string `json:"name"`
	Value any    `json:"value"`
	Raw   string `json:"raw"`
}

type jsonPINProperties struct {
	LCDLayout  uint16   `json:"lcd_layout"`
	LCDLines   uint8    `json:"lcd_lines"`
	LCDColumns uint8    `json:"lcd_columns"`
	EndOn      []string `json:"end_on"`
	TimeOut2   uint8    `json:"timeout2"`
}

// reset makes the report empty.
func (r *featureReport) reset() {
	*r = featureReport{Features: []jsonFeature{}, Properties: []jsonProperty{}, Problems: []string{}}
}

func (a *app) feature(ctx context.Context, args []string) error {
	report := &featureReport{}
	report.reset()
	a.report = report
	err := a.inspect(ctx, args, func(card *pcsc.Card) error {
		report.reset()
		report.Reader = card.Reader()
		return report.ask(ctx, card)
	})
	if err == nil && !a.json {
		a.printFeatures(report)
	}
	return err
}

// ask asks for everything. Where the driver fails, that is a problem and no error.
func (r *featureReport) ask(ctx context.Context, card *pcsc.Card) error {
	problem := func(what string, err error) error {
		if err == nil || !lasting(ctx, err) {
			return err
		}
		r.Problems = append(r.Problems, what+": "+answered(err))
		return nil
	}
	features, err := card.Features(ctx)
	if err != nil {
		return err
	}
	for feature, code := range features.All() {
		r.Features = append(r.Features, jsonFeature{uint8(feature), feature.String(), fmt.Sprintf("0x%08X", code)})
	}
	if err := features.Err(); err != nil {
		r.Problems = append(r.Problems, "features: "+answered(err))
	}
	if features.Has(pcsc.FeatureGetTLVProperties) {
		properties, err := features.Properties(ctx, card)
		if err := problem("properties", err); err != nil {
			return err
		}
		for _, tag := range properties.Tags() {
			raw, _ := properties.Raw(tag)
			r.Properties = append(r.Properties,
				jsonProperty{uint8(tag), tag.String(), propertyValue(&properties, tag), fmt.Sprintf("%X", raw)})
		}
	}
	if features.Has(pcsc.FeatureIFDPINProperties) {
		pin, err := card.PINProperties(ctx)
		if err == nil {
			r.PINProperties = &jsonPINProperties{
				LCDLayout:  pin.LCDLayout,
				LCDLines:   uint8(pin.LCDLayout >> 8),
				LCDColumns: uint8(pin.LCDLayout),
				EndOn:      endNames(pin.EndOn),
				TimeOut2:   pin.TimeOut2,
			}
		}
		return problem("PIN properties", err)
	}
	return nil
}

// propertyValue is the value of a property, or nil if it is not known what it means.
func propertyValue(p *pcsc.Properties, tag pcsc.Property) any {
	if !p.Has(tag) {
		return nil
	}
	switch tag {
	case pcsc.PropertyLCDLayout:
		return p.LCDLayout
	case pcsc.PropertyEntryValidationCondition:
		return p.EntryValidationCondition
	case pcsc.PropertyTimeOut2:
		return p.TimeOut2
	case pcsc.PropertyLCDMaxCharacters:
		return p.LCDMaxCharacters
	case pcsc.PropertyLCDMaxLines:
		return p.LCDMaxLines
	case pcsc.PropertyMinPINSize:
		return p.MinPINSize
	case pcsc.PropertyMaxPINSize:
		return p.MaxPINSize
	case pcsc.PropertyFirmwareID:
		return p.FirmwareID
	case pcsc.PropertyPPDUSupport:
		return p.PPDUSupport
	case pcsc.PropertyMaxAPDUDataSize:
		return p.MaxAPDUDataSize
	case pcsc.PropertyVendorID:
		return p.VendorID
	case pcsc.PropertyProductID:
		return p.ProductID
	}
	return nil
}

func endNames(end pcsc.PINEnd) []string {
	names := []string{}
	for _, e := range []struct {
		flag pcsc.PINEnd
		name string
	}{{pcsc.PINEndMaxDigits, "max_digits"}, {pcsc.PINEndKey, "key"}, {pcsc.PINEndTimeout, "timeout"}} {
		if end&e.flag != 0 {
			names = append(names, e.name)
		}
	}
	return names
}

func (a *app) printFeatures(r *featureReport) {
	if len(r.Features) == 0 {
		fmt.Fprintf(a.stdout, "The reader %s has no PC/SC part 10 features.\n", printable(r.Reader))
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, f := range r.Features {
		fmt.Fprintf(table, "%s\t%s\n", f.Name, f.Code)
	}
	_ = table.Flush() // a.stdout remembers, here and below
	if len(r.Properties) > 0 {
		fmt.Fprintln(a.stdout, "Properties:")
	}
	for _, p := range r.Properties {
		name := strings.TrimPrefix(p.Name, "PCSCv2_PART10_PROPERTY_")
		fmt.Fprintf(table, "  %s\t%s\n", name, propertyText(p))
	}
	_ = table.Flush()
	if pin := r.PINProperties; pin != nil {
		fmt.Fprintln(a.stdout, "PIN properties:")
		fmt.Fprintf(table, "  display\t%s\n", layoutText(pin.LCDLayout))
		fmt.Fprintf(table, "  an entry ends on\t%s\n", orNothing(strings.Join(pin.EndOn, ", ")))
		fmt.Fprintf(table, "  bTimeOut2\t%d\n", pin.TimeOut2)
	}
	_ = table.Flush()
	for _, problem := range r.Problems {
		fmt.Fprintf(a.stdout, "The driver's answer to the question for %s\n", problem)
	}
}

func propertyText(p jsonProperty) string {
	tag := pcsc.Property(p.Tag)
	switch value := p.Value.(type) {
	case nil:
		return p.Raw + " (bytes)"
	case string:
		return printable(value)
	case uint16:
		switch tag {
		case pcsc.PropertyLCDLayout:
			return layoutText(value)
		case pcsc.PropertyVendorID, pcsc.PropertyProductID:
			return fmt.Sprintf("0x%04X", value)
		}
	case byte:
		if tag == pcsc.PropertyEntryValidationCondition {
			return orNothing(strings.Join(endNames(pcsc.PINEnd(value)), ", "))
		}
	}
	return fmt.Sprint(p.Value)
}

func layoutText(layout uint16) string {
	if layout == 0 {
		return "none"
	}
	return fmt.Sprintf("%d lines of %d characters", layout>>8, layout&0xFF)
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
