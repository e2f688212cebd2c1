package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/spec"
)

// What is generated from the spec does not compile for a platform whose table says something else, nor does a backend that
// was changed. The compiler of the machine does as well here as one for macOS, whose integers have the same widths.
func TestHeadersFromTable(t *testing.T) {
	const backend = "backend_cgo/zbackend_darwin.go"
	s, _ := load(t)
	p := s.Platform("darwin")
	if _, err := exec.LookPath("gcc"); err != nil {
		pcscdtest.Skip(t, "no gcc")
	}
	source, err := os.ReadFile(backend)
	require.NoError(t, err)
	// What cgo adds for macOS only clang knows.
	cc := filepath.Join(t.TempDir(), "cc")
	require.NoError(t, os.WriteFile(cc, []byte("#!/bin/sh\nfor a; do shift; [ \"$a\" = -arch ] || [ \"$last\" = -arch ] || set -- \"$@\" \"$a\"; last=$a; done\nexec gcc \"$@\"\n"), 0o700))
	row := func(section, name, column, old, now string) func(t table) {
		return func(t table) { t[section][name][column] = strings.Replace(t[section][name][column], old, now, 1) }
	}
	for name, test := range map[string]struct {
		table    func(t table)
		old, now string // in the backend
		want     string // of the generated C file, or of the backend where that has changed
	}{
		"nothing":   {},
		"prototype": {table: row("Symbols", "SCardCancel", "takes", "SCARDCONTEXT", "SCARDCONTEXT *"), want: "spec/functions.yaml: SCardCancel"},
		"result":    {table: row("Symbols", "pcsc_stringify_error", "returns", "char *", "const char *"), want: "spec/functions.yaml: pcsc_stringify_error"},
		"offset": {
			table: row("Structures", "SCARD_READERSTATE_A", "fields", "uint32_t cbAtr; uint8_t rgbAtr[33];", "uint8_t rgbAtr[33]; uint32_t cbAtr;"),
			want:  "spec/types.yaml: SCARD_READERSTATE.cbAtr: offset",
		},
		"pack":              {table: row("Structures", "SCARD_READERSTATE_A", "packed to", "1", "4"), want: "spec/types.yaml: SCARD_READERSTATE: size"},
		"sign":              {table: row("Types", "LONG", "is", "int32_t", "uint32_t"), want: "spec/types.yaml: LONG: sign"},
		"constant":          {table: row("Constants", "SCARD_E_TIMEOUT", "macos-12.0", "0x8010000A", "0x8010000B"), want: "spec/errors.yaml: SCARD_E_TIMEOUT: value"},
		"call of C":         {old: "SCardSetTimeout((SCARDCONTEXT)hContext, ", now: "SCardSetTimeout(", want: "too few arguments"},
		"type in C":         {old: "DWORD pcbAttrLen_ = ", now: "uint64_t pcbAttrLen_ = ", want: "incompatible pointer type"},
		"function of C":     {old: "(C.z_SCardCancel(", now: "(C.z_SCardCancle(", want: "could not determine what C.z_SCardCancle refers to"},
		"call from Go":      {old: "C.z_SCardCancel(C.uint64_t(ctx))", now: "C.z_SCardCancel(C.uint32_t(ctx))", want: "cannot use"},
		"another file's Go": {old: "buf.TextPtr(", now: "buf.TextPointer(", want: "buf.TextPointer undefined"},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := readTable(tables["darwin"])
			require.NoError(t, err)
			if test.table != nil {
				test.table(table)
			}
			dir := t.TempDir()
			require.NoError(t, table.writeHeaders(dir, s, p))
			c, err := newCompiler(p, &spec.Proof{Compiler: cc}, dir)
			require.NoError(t, err)
			if test.old == "" {
				err = c.check("generated/abi/darwin.c")
			}
			if err == nil && (test.table == nil) {
				changed := strings.Replace(string(source), test.old, test.now, 1)
				require.Equal(t, test.old == "", changed == string(source))
				err = checkCgo(backend, []byte(changed), "darwin/amd64", c)
			}
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}
