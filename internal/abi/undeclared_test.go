package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/spec"
)

// A prototype that no header declares is that of the table, and there is none without a row.
func TestUndeclared(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *spec.Spec)
		want   string
	}{
		"nothing": {func(*spec.Spec) {}, ""},
		"parameter too many": {
			func(s *spec.Spec) {
				f := s.Function("SCardGetDeviceTypeId")
				f.Params = append(f.Params, s.Function("SCardAudit").Params[1])
			},
			"SCardGetDeviceTypeId: SCardGetDeviceTypeIdW is LONG(SCARDCONTEXT, const WCHAR *, DWORD *, DWORD) in the spec, and LONG(SCARDCONTEXT, const WCHAR *, DWORD *) in the table",
		},
		"type": {
			func(s *spec.Spec) { s.Function("SCardAudit").Params[1].Type = "BYTE" },
			"SCardAudit: SCardAudit is LONG(SCARDCONTEXT, BYTE) in the spec, and LONG(SCARDCONTEXT, DWORD) in the table",
		},
		"parameter of what takes nothing": {
			func(s *spec.Spec) {
				f := s.Function("SCardReleaseAllEvents")
				f.Params = append(f.Params, s.Function("SCardAudit").Params[1])
			},
			"SCardReleaseAllEvents is void(DWORD) in the spec, and takes nothing",
		},
		"another that no header declares": {
			func(s *spec.Spec) { s.Function("SCardState").Src = []string{"winscard-manual"} },
			"SCardState: no header declares SCardState, and the table does not have it",
		},
		"declared": {
			func(s *spec.Spec) { s.Function("SCardAudit").Src = []string{"mingw-10.0.0"} },
			"the table has SCardAudit, which the spec lacks, or has from a header",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root(t)
			s, err := spec.LoadDir("spec")
			require.NoError(t, err)
			test.change(s)
			m, err := gen.Resolve(s)
			require.NoError(t, err)
			err = checkUndeclared(m, s.Platform("windows"))
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}
