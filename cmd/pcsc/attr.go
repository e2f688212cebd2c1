package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

func (a *app) attrCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "attr [READER] [NAME | 0xID]",
		Short: "Show the attributes of a reader",
		Long: `Show the attributes of a reader and of the card in it, or one of them.

READER is a reader's name, a part of it that no other reader has, or an index that pcsc list shows. It can be left out if
there is only one reader. NAME is the name of an attribute in C or Go, in upper or lower case and also without its
beginning: SCARD_ATTR_VENDOR_NAME, AttrVendorName or vendor-name. An attribute of the reader's vendor has no name here,
but a number, such as 0x7A00A. A single argument that is an attribute's name or begins with 0x is the attribute.

The table leaves out what the reader does not have, unless there is --all, and says how many that are. Where the driver
failed, the table says how; the exit code is 0 all the same. Of one attribute the value alone is shown, and if the reader
does not have it or fails, the exit code is 1.

The card, if there is one, is connected to, shared, and left as it is.

With --json:
  {"reader": "...", "attributes": [{"id": "0x00010100", "name": "SCARD_ATTR_VENDOR_NAME", "status": "ok",
   "value": "...", "unit": "", "raw": "41636D6500", "problem": ""}], "absent": 36}
status is ok, absent or failed. value is a string, a number, true or false; upper case hexadecimal digits for bytes and
for attributes without a name; ["T0", "T1"] for protocols; {"type": "usb", "number": 260} for the channel; and null
unless status is ok. raw is the driver's answer. problem says why status is failed. absent counts the attributes that are
left out.`,
		Example: `  pcsc attr 0
  pcsc attr --json acr vendor-name`,
		Args: cobra.MaximumNArgs(2),
		RunE: a.runE(func(ctx context.Context, args []string) error { return a.attr(ctx, args, all) }),
	}
	cmd.Flags().BoolVar(&all, "all", false, "show absent attributes too")
	a.jsonFlag(cmd)
	return cmd
}

type attrReport struct {
	Reader     string          `json:"reader"`
	Attributes []jsonAttribute `json:"attributes"`
	Absent     int             `json:"absent"`
	outcome
}

type jsonAttribute struct {
	ID      string `json:"id"`
	Name    string `json:"name"` // empty if it has none
	Status  string `json:"status"`
	Value   any    `json:"value"`
	Unit    string `json:"unit"`
	Raw     string `json:"raw"`
	Problem string `json:"problem"`
}

type jsonChannel struct {
	Type   string `json:"type"`
	Number uint16 `json:"number"`
}

func (a *app) attr(ctx context.Context, args []string, all bool) error {
	report := &attrReport{Attributes: []jsonAttribute{}}
	a.report = report
	var one pcsc.Attribute // if not 0
	if len(args) > 0 {
		last := args[len(args)-1]
		id, ok := parseAttribute(last)
		switch {
		case ok:
			one, args = id, args[:len(args)-1]
		case len(args) == 2 || isHex(last):
			return &failure{exit: exitUsage, what: fmt.Sprintf("%q is not an attribute", last),
				todo: "pcsc attr --all shows the names; others have a number, such as 0x7A00A"}
		}
	}
	var values []pcsc.AttributeValue
	err := a.inspect(ctx, args, func(card *pcsc.Card) (err error) {
		report.Reader = card.Reader()
		if one != 0 {
			values, err = readAttribute(ctx, card, one)
		} else {
			values, err = card.Attributes(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	shown := slices.Clone(values)
	if one == 0 && !all {
		shown = slices.DeleteFunc(shown, pcsc.AttributeValue.Absent)
	}
	report.Absent = len(values) - len(shown)
	for _, v := range shown {
		report.Attributes = append(report.Attributes, attributeJSON(v))
	}
	switch {
	case one != 0:
		v := shown[0]
		if v.Err != nil {
			return noAttribute(report.Reader, v)
		}
		if !a.json {
			fmt.Fprintln(a.stdout, attributeText(v))
		}
	case !a.json:
		a.printAttributes(shown, report.Absent)
	}
	return nil
}

func (a *app) printAttributes(values []pcsc.AttributeValue, absent int) {
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, v := range values {
		fmt.Fprintf(table, "%s\t0x%08X\t%s\n", v.ID, uint32(v.ID), attributeText(v))
	}
	_ = table.Flush() // a.stdout remembers
	if absent > 0 {
		fmt.Fprintf(a.stdout, "absent: %d (--all shows them)\n", absent)
	}
}

// readAttribute reads one attribute.
func readAttribute(ctx context.Context, card *pcsc.Card, id pcsc.Attribute) ([]pcsc.AttributeValue, error) {
	v := pcsc.AttributeValue{ID: id}
	raw, err := card.GetAttrib(ctx, id)
	switch {
	case err == nil:
		v.Raw, v.Value = raw, raw
	case errors.Is(err, errors.ErrUnsupported) || lasting(ctx, err):
		v.Err = err
		return []pcsc.AttributeValue{v}, nil
	default:
		return nil, err
	}
	if named(id) { // then it may have a type
		all, err := card.Attributes(ctx)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(v pcsc.AttributeValue) bool { return v.ID == id }); i >= 0 {
			v = all[i]
		}
	}
	return []pcsc.AttributeValue{v}, nil
}

func noAttribute(reader string, v pcsc.AttributeValue) *failure {
	f := explain(v.Err)
	f.exit, f.reader = exitError, reader
	if v.Absent() {
		f.what, f.todo = fmt.Sprintf("the reader %q does not have the attribute %v", reader, v.ID), ""
		return f
	}
	f.what, f.todo = fmt.Sprintf("reading the attribute %v of the reader %q: %s", v.ID, reader, attributeProblem(v)), ""
	if v.Raw != nil {
		f.todo = fmt.Sprintf("the driver's answer: % X", v.Raw)
	}
	return f
}

// attributeProblem says why an attribute could not be read.
func attributeProblem(v pcsc.AttributeValue) string {
	return strings.TrimPrefix(answered(v.Err), v.ID.String()+": ")
}

// attributeText is the value of an attribute for people.
func attributeText(v pcsc.AttributeValue) string {
	switch {
	case v.Absent():
		return "(absent)"
	case v.Err != nil && v.Raw != nil:
		return fmt.Sprintf("(failed: %s; the answer is % X)", attributeProblem(v), v.Raw)
	case v.Err != nil:
		return fmt.Sprintf("(failed: %s)", attributeProblem(v))
	}
	switch value := v.Value.(type) {
	case string:
		if value == "" {
			return "(empty)"
		}
		return printable(value)
	case []byte:
		if len(value) == 0 {
			return "(empty)"
		}
	}
	return v.String()
}

func attributeJSON(v pcsc.AttributeValue) jsonAttribute {
	j := jsonAttribute{ID: fmt.Sprintf("0x%08X", uint32(v.ID)), Status: "ok", Unit: v.Unit, Raw: fmt.Sprintf("%X", v.Raw)}
	if named(v.ID) {
		j.Name = v.ID.String()
	}
	switch {
	case v.Absent():
		j.Status = "absent"
		return j
	case v.Err != nil:
		j.Status, j.Problem = "failed", attributeProblem(v)
		return j
	}
	switch value := v.Value.(type) {
	case []byte:
		j.Value = fmt.Sprintf("%X", value)
	case pcsc.Version:
		j.Value = value.String()
	case pcsc.Channel:
		j.Value = jsonChannel{value.Type.String(), value.Number}
	case pcsc.Protocol:
		j.Value = flagNames(value)
	default:
		j.Value = value
	}
	return j
}

// attributes are those that have a name.
var attributes = []pcsc.Attribute{
	pcsc.AttrVendorName, pcsc.AttrVendorIFDType, pcsc.AttrVendorIFDVersion, pcsc.AttrVendorIFDSerialNo,
	pcsc.AttrChannelID, pcsc.AttrAsyncProtocolTypes, pcsc.AttrDefaultClk, pcsc.AttrMaxClk, pcsc.AttrDefaultDataRate,
	pcsc.AttrMaxDataRate, pcsc.AttrMaxIFSD, pcsc.AttrSyncProtocolTypes, pcsc.AttrPowerMgmtSupport,
	pcsc.AttrUserToCardAuthDevice, pcsc.AttrUserAuthInputDevice, pcsc.AttrCharacteristics, pcsc.AttrEscReset,
	pcsc.AttrEscCancel, pcsc.AttrEscAuthRequest, pcsc.AttrMaxInput, pcsc.AttrCurrentProtocolType, pcsc.AttrCurrentClk,
	pcsc.AttrCurrentF, pcsc.AttrCurrentD, pcsc.AttrCurrentN, pcsc.AttrCurrentW, pcsc.AttrCurrentIFSC,
	pcsc.AttrCurrentIFSD, pcsc.AttrCurrentBWT, pcsc.AttrCurrentCWT, pcsc.AttrCurrentEBCEncoding, pcsc.AttrExtendedBWT,
	pcsc.AttrICCPresence, pcsc.AttrICCInterfaceStatus, pcsc.AttrCurrentIOState, pcsc.AttrATRString,
	pcsc.AttrICCTypePerATR, pcsc.AttrPerfNumTransmissions, pcsc.AttrPerfBytesTransmitted,
	pcsc.AttrPerfTransmissionTime, pcsc.AttrDeviceUnit, pcsc.AttrDeviceInUse, pcsc.AttrDeviceFriendlyName,
	pcsc.AttrDeviceSystemName, pcsc.AttrDeviceFriendlyNameW, pcsc.AttrDeviceSystemNameW, pcsc.AttrSuppressT1IFSRequest,
}

// named says whether an attribute has a name, and not just a number.
func named(id pcsc.Attribute) bool { return slices.Contains(attributes, id) }

func isHex(text string) bool { return strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X") }

// parseAttribute reads the name or the number of an attribute.
func parseAttribute(text string) (pcsc.Attribute, bool) {
	if isHex(text) {
		n, err := strconv.ParseUint(text[2:], 16, 32)
		return pcsc.Attribute(n), err == nil && n != 0
	}
	for _, id := range attributes {
		if attributeKey(id.String()) == attributeKey(text) {
			return id, true
		}
	}
	return 0, false
}

// attributeKey is what the ways to write an attribute's name have in common.
func attributeKey(name string) string {
	key := strings.ToUpper(strings.NewReplacer("_", "", "-", "").Replace(name))
	return strings.TrimPrefix(strings.TrimPrefix(key, "SCARD"), "ATTR")
}
