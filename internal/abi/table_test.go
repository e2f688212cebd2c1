package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/spec"
)

// What is wrong in the spec of a platform without headers is found by its table, whichever of the two has more.
func TestTable(t *testing.T) {
	number := func(n uint64) *spec.Int { return &spec.Int{Value: n} }
	constant := func(s *spec.Spec, group, name string) *spec.Constant {
		values := s.Group(group).Values
		return values[slices.IndexFunc(values, func(c *spec.Constant) bool { return c.Name == name })]
	}
	for name, test := range map[string]struct {
		change func(s *spec.Spec)
		want   string
	}{
		"nothing": {func(*spec.Spec) {}, ""},
		"symbol": {
			func(s *spec.Spec) { s.Function("SCardControl").Symbol.By["darwin"] = "SCardControl" },
			"the library exports SCardControl132, which the spec does not have",
		},
		"prototype of the symbol": {
			func(s *spec.Spec) { s.Function("SCardControl").Symbol.By["darwin"] = "SCardControl" },
			"SCardControl is LONG(SCARDHANDLE, DWORD, const void *, DWORD, void *, DWORD, DWORD *) in the spec, and int32_t(SCARDHANDLE, const void *, uint32_t, void *, uint32_t *) in the headers",
		},
		"parameter": {
			func(s *spec.Spec) { s.Function("SCardDisconnect").Params[1].Type = "BYTE" },
			"spec/functions.yaml: SCardDisconnect: SCardDisconnect is LONG(SCARDHANDLE, BYTE) in the spec, and int32_t(SCARDHANDLE, uint32_t) in the headers",
		},
		"result": {
			func(s *spec.Spec) { s.Function("pcsc_stringify_error").C = nil },
			"pcsc_stringify_error is const char *(LONG) in the spec, and char *(int32_t) in the headers",
		},
		"declared": {
			func(s *spec.Spec) { s.Function("SCardSetTimeout").Src = []string{"macos-exports"} },
			"SCardSetTimeout: sources: the spec and the table disagree on whether the headers declare SCardSetTimeout",
		},
		"symbol that is not bound": {
			func(s *spec.Spec) { l := s.Platform("darwin").Libraries[0]; l.Unbound = l.Unbound[1:] },
			"the library exports SCardControl, which the spec does not have",
		},
		"symbol that is not exported": {
			func(s *spec.Spec) {
				l := s.Platform("darwin").Libraries[0]
				l.Unbound = append(slices.Clone(l.Unbound), &spec.Unbound{Name: "SCardFreeMemory"})
			},
			"the library does not export SCardFreeMemory, which the spec expects",
		},
		"value": {
			func(s *spec.Spec) {
				constant(s, "Limits", "MAX_BUFFER_SIZE_EXTENDED").Value.By["darwin"] = *number(65540)
			},
			"spec/constants.yaml: MAX_BUFFER_SIZE_EXTENDED: value: macos-12.0 has 0x1000A",
		},
		"code of another platform": {
			func(s *spec.Spec) { s.Code("SCARD_E_UNSUPPORTED_FEATURE").Value.Default = number(0x80100022) },
			"spec/errors.yaml: SCARD_E_UNSUPPORTED_FEATURE: value: macos-12.0 has 0x8010001F",
		},
		"value that the headers do not have": {
			func(s *spec.Spec) { s.Attributes[0].Tag = number(0x7777) },
			"spec/attributes.yaml: SCARD_ATTR_VENDOR_NAME: value: apple-reader-55111 has 0x10100",
		},
		"constant that is missing": {
			func(s *spec.Spec) {
				g := s.Group("CardEvents")
				g.Values = g.Values[1:]
			},
			"the table has what the spec does not have: SCARD_RESET",
		},
		"constant of another platform": {
			func(s *spec.Spec) {
				s.Code("SCARD_E_PIN_CACHE_EXPIRED").Headers = nil
				s.Code("SCARD_E_PIN_CACHE_EXPIRED").Src = []string{"macos-12.0"}
			},
			"spec/errors.yaml: SCARD_E_PIN_CACHE_EXPIRED: macos-12.0 does not have it",
		},
		"constant that is not said to be there": {
			func(s *spec.Spec) { constant(s, "Limits", "MAX_READERNAME").Headers = []string{"pcsclite"} },
			"spec/constants.yaml: MAX_READERNAME: macos-12.0 has it, as 0x34, and the spec does not say so",
		},
		"source": {
			func(s *spec.Spec) { s.Features[0].Src = []string{"pcsclite-1.9.9"} },
			"FEATURE_VERIFY_PIN_START: apple-reader-55111 has it, as 0x1, and the spec does not say so",
		},
		"control code": {
			func(s *spec.Spec) { s.CtlCode.Shift.Default = number(2) },
			"spec/features.yaml: ctl_code: of function 1 it makes 0x42000004, and not 0x42000001",
		},
		"sign": {
			func(s *spec.Spec) { s.Scalar("LONG").C.By["darwin"] = "u32" },
			`spec/types.yaml: LONG: is uint32_t in the spec, and "int32_t" in the table`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			root(t)
			s, err := spec.LoadDir("spec")
			require.NoError(t, err)
			test.change(s)
			m, err := gen.Resolve(s)
			require.NoError(t, err)
			err = checkTable(s, m, s.Platform("darwin"))
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}
