package spec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// The description itself has no fault. Messages name the files as a caller in the parent directory would.
func TestDescription(t *testing.T) {
	s, err := LoadDir(".")
	require.NoError(t, err)
	require.NoError(t, Validate(s))
	for _, name := range []string{"pcsclite", "darwin", "windows"} {
		require.NotNil(t, s.Platform(name), name)
	}
	require.NotEmpty(t, s.Functions)
	require.NotEmpty(t, s.Errors)
}

func loadText(t *testing.T, text string) *Spec {
	t.Helper()
	s, err := Load(fstest.MapFS{"a.yaml": {Data: []byte(text)}})
	require.NoError(t, err)
	return s
}

func TestLoadKeepsPositions(t *testing.T) {
	s := loadText(t, `errors:
  - name: SCARD_X
    go: ErrX
    value: {default: 0x8010000a, windows: 17}
    text: x
    headers: [one, two]
    sources:
      - one-1.0
  - {name: SCARD_Y, go: ErrY, value: 0, text: y}
`)
	at := func(line, col int) Pos { return Pos{"a.yaml", line, col} }
	x, y := s.Errors[0], s.Errors[1]
	require.Equal(t, at(2, 5), x.Pos)
	require.Equal(t, at(2, 11), x.At("name"))
	require.Equal(t, at(4, 12), x.At("value"))
	require.Equal(t, at(2, 5), x.At("hint"), "a key that is not there is where the entry is")
	require.True(t, x.Has("text"))
	require.False(t, x.Has("hint"))
	require.Equal(t, at(6, 20), x.AtIndex("headers", 1))
	require.Equal(t, at(8, 9), x.AtIndex("sources", 0))
	require.Equal(t, at(8, 7), x.At("sources"))
	require.Equal(t, at(8, 7), x.AtIndex("sources", 5))
	require.Equal(t, at(4, 22), x.Value.Where("pcsclite"))
	require.Equal(t, at(4, 43), x.Value.Where("windows"))
	require.Equal(t, at(9, 5), y.Pos)
	require.Equal(t, at(9, 38), y.Value.Where("windows"))
}

func TestLoadKeepsNumbersAsWritten(t *testing.T) {
	s := loadText(t, `errors:
  - {name: SCARD_X, go: ErrX, value: {default: 0x8010000a, windows: 17}, text: x}
  - {name: SCARD_Y, go: ErrY, value: 0xFFFFFFFFFFFFFFFF, text: y}
  - {name: SCARD_Z, go: ErrZ, value: 18446744073709551615, text: z}
`)
	value := func(i int, platform string) Int {
		v, ok := s.Errors[i].Value.For(platform)
		require.True(t, ok)
		return v
	}
	require.Equal(t, Int{0x8010000A, "0x8010000a"}, value(0, "pcsclite"))
	require.Equal(t, Int{17, "17"}, value(0, "windows"))
	require.Equal(t, Int{1<<64 - 1, "0xFFFFFFFFFFFFFFFF"}, value(1, "windows"))
	require.Equal(t, Int{1<<64 - 1, "18446744073709551615"}, value(2, "windows"))
}

// A pointer tells what is empty from what is not given.
func TestLoadEmptyString(t *testing.T) {
	s := loadText(t, `constants:
  - name: Names
    kind: values
    doc: Names.
    values:
      - {name: A, go: A, string: "", doc: A.}
      - {name: B, go: B, string: b, doc: B.}
      - {name: C, go: C, value: 1, doc: C.}
`)
	values := s.Constants[0].Values
	require.Empty(t, *values[0].String)
	require.Equal(t, "b", *values[1].String)
	require.Nil(t, values[2].String)
}

func TestLoadMergesFiles(t *testing.T) {
	entry := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("errors:\n  - {name: " + name + ", go: " + name + ", value: 1, text: x}\n")}
	}
	s, err := Load(fstest.MapFS{"b.yaml": entry("B"), "a.yaml": entry("A"), "c.txt": {Data: []byte("[")}, "d/d.yaml": entry("D")})
	require.NoError(t, err)
	require.Equal(t, []string{"a.yaml", "b.yaml"}, s.Files)
	require.Equal(t, []string{"A", "B"}, namesOf(s.Errors, func(e *Error) string { return e.Name }))
	require.Equal(t, "b.yaml", s.Code("B").Pos.File)
}

// A vendor's file, or a directory of them, is read with the rest and named as the caller does.
func TestLoadDirMore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "vendor.yml")
	require.NoError(t, os.WriteFile(file, []byte("errors:\n  - {name: VENDOR_X, go: ErrVendorX, value: 0xA0001000, text: x, own: true}\n"), 0o600))
	sub := filepath.Join(dir, "sub")
	require.NoError(t, os.Mkdir(sub, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(sub, "more.yaml"), []byte("errors:\n  - {name: VENDOR_X, go: ErrVendorY, value: 0xA0001001, text: y, own: true}\n"), 0o600))
	s, err := LoadDir("testdata/good", file, sub)
	require.NoError(t, err)
	require.Equal(t, []string{"testdata/good/base.yaml", file, filepath.Join(sub, "more.yaml")}, s.Files)
	err = Validate(s)
	require.ErrorContains(t, err, filepath.Join(sub, "more.yaml")+`:2:12: VENDOR_X: name: "VENDOR_X" is already the name of an error at `+file+":2:12: choose another, or remove one")
}

func TestLoadDirUnreadable(t *testing.T) {
	_, err := LoadDir("testdata/nowhere")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = LoadDir("testdata/good", "testdata/nowhere.yaml")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = LoadDir(t.TempDir())
	require.ErrorContains(t, err, "no *.yaml file")
	_, err = Load(fstest.MapFS{})
	require.ErrorContains(t, err, "no *.yaml file")
}

// All faults of all files come at once, in the order of their positions.
func TestFaultsAreCollected(t *testing.T) {
	_, err := Load(fstest.MapFS{
		"b.yaml": {Data: []byte("errors: {}\nfoo: 1\n")},
		"a.yaml": {Data: []byte("errors:\n  - {value: -1}\n")},
	})
	var faults Faults
	require.ErrorAs(t, err, &faults)
	require.Equal(t, []string{
		`a.yaml:2:5: errors[0]: "go" is missing: Go name`,
		`a.yaml:2:5: errors[0]: "name" is missing: C name`,
		`a.yaml:2:5: errors[0]: "text" is missing: what went wrong, in plain English, small first letter, no full stop`,
		`a.yaml:2:13: errors[0]: value: "-1" is negative: write the bit pattern, as 0xFFFFFFFF`,
		`b.yaml:1:9: errors: wanted a list, found a mapping`,
		`b.yaml:2:1: no key "foo": the keys are sources, platforms, scalars, structs, functions, constants, left_out, errors, attribute_classes, attributes, ctl_code, control_codes, features, properties, status_words, protocol, messages, commands`,
	}, strings.Split(err.Error(), "\n"))
	var first *Fault
	require.True(t, errors.As(err, &first))
	require.Equal(t, faults[0], first)
	require.Equal(t, Pos{"a.yaml", 2, 5}, first.Pos)
	require.Equal(t, KindMissing, first.Kind)
}

// Whatever a file holds, Load and Validate return: with faults that have a position and stand on one line each.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"*.yaml", "testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, name := range files {
			data, err := os.ReadFile(name)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Load(fstest.MapFS{"fuzz.yaml": {Data: data}})
		if err == nil {
			err = Validate(s)
		}
		if err == nil {
			return
		}
		var faults Faults
		require.ErrorAs(t, err, &faults)
		for _, fault := range faults {
			require.NotEmpty(t, fault.Msg)
			require.NotContains(t, fault.Error(), "\n")
			require.Positive(t, fault.Line, fault.Error())
			require.Positive(t, fault.Col, fault.Error())
			require.Equal(t, "fuzz.yaml", fault.File, fault.Error())
		}
	})
}
