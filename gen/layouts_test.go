package gen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/mdtable"
)

// readLayouts reads a table of testdata: the cells of each row by column.
func readLayouts(t *testing.T) (rows []map[string]string) {
	tables, err := mdtable.Read("testdata/layouts.md")
	require.NoError(t, err)
	for _, table := range tables {
		for _, cells := range table.Rows {
			row := map[string]string{}
			for i, c := range table.Columns {
				row[c] = cells[i]
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// The layouts of the spec are those of a table that compilers have printed, for every target in it. For macOS there is
// no other proof on other systems.
func TestLayouts(t *testing.T) {
	m := model(t, 0)
	platforms := map[string]string{"linux": "pcsclite", "musl": "pcsclite", "freebsd": "pcsclite", "macos": "darwin", "mingw": "windows"}
	scalar := func(name string) *Scalar {
		return m.Scalars[slices.IndexFunc(m.Scalars, func(s *Scalar) bool { return s.Name == name })]
	}
	structure := func(name string) *Struct {
		return m.Structs[slices.IndexFunc(m.Structs, func(s *Struct) bool { return s.Name == name })]
	}
	seen := map[string]int{}
	for _, row := range readLayouts(t) {
		t.Run(row["target"], func(t *testing.T) {
			system, _, _ := strings.Cut(row["target"], "-")
			pointer, err := strconv.Atoi(row["ptr"])
			require.NoError(t, err)
			name := fmt.Sprintf("%s%d", platforms[system], 8*pointer)
			abi := m.ABIs[slices.IndexFunc(m.ABIs, func(a *ABI) bool { return a.Name == name })]
			want := func(column string, got int) {
				t.Helper()
				require.Equal(t, row[column], strconv.Itoa(got), column)
				delete(row, column)
			}
			for column, name := range map[string]string{"DWORD": "DWORD", "LONG": "LONG", "CTX": "SCARDCONTEXT", "HANDLE": "SCARDHANDLE"} {
				size, signed := scalar(name).Width(abi)
				sign := 0
				if signed {
					sign = 1
				}
				want(column, size)
				want(column+"_signed", sign)
			}
			states := structure("SCARD_READERSTATE")
			l := states.Layouts[abi.Name]
			want("RS_size", l.Size)
			want("RS_align", l.Align)
			for i, f := range states.Fields {
				want(f.Name, l.Offsets[i])
				switch f.Name {
				case "rgbAtr":
					want("rgbAtr_len", l.Sizes[i]*l.Lens[i])
				case "dwCurrentState":
					want("cur_size", l.Sizes[i])
				case "cbAtr":
					want("cbAtr_size", l.Sizes[i])
				}
			}
			request := structure("SCARD_IO_REQUEST")
			l = request.Layouts[abi.Name]
			want("IO_size", l.Size)
			want("IO_align", l.Align)
			for i, f := range request.Fields {
				want(f.Name, l.Offsets[i])
			}
			delete(row, "target")
			delete(row, "ptr")
			require.Empty(t, row, "columns that were not compared")
			seen[name]++
		})
	}
	for _, abi := range m.ABIs {
		require.NotZero(t, seen[abi.Name], abi.Name)
	}
}
