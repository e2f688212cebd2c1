package gen

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/spec"
)

// cTargets are the platforms whose headers Debian has, with a compiler for them.
var cTargets = []struct {
	name, platform, cc, pkg string
}{
	{"pcsclite", "pcsclite", "gcc", "libpcsclite"},
	{"windows64", "windows", "x86_64-w64-mingw32-gcc", ""},
	{"windows32", "windows", "i686-w64-mingw32-gcc", ""},
}

// compilePreamble compiles the C of the cgo backend against the real headers and returns what the compiler says.
func compilePreamble(t *testing.T, m *Model, platform, cc, pkg string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(cc); err != nil {
		pcscdtest.Skip(t, "no %s", cc)
	}
	var src string
	files, err := emitCgo(m)
	require.NoError(t, err)
	for _, f := range files {
		if f.Path == "backend_cgo/zbackend_"+platform+".go" {
			_, rest, _ := strings.Cut(string(f.Content), "\n/*\n")
			src, _, _ = strings.Cut(rest, "\n*/\nimport \"C\"")
		}
	}
	require.NotEmpty(t, src)
	src = regexp.MustCompile(`(?m)^#cgo .*\n`).ReplaceAllString(src, "")
	file := filepath.Join(t.TempDir(), "preamble.c")
	require.NoError(t, os.WriteFile(file, []byte(src), 0o600))
	args := []string{"-std=gnu11", "-fsyntax-only", "-Wall", "-Werror=incompatible-pointer-types", "-Wno-unused-function"}
	if pkg != "" {
		flags, err := exec.Command("pkg-config", "--cflags", pkg).Output()
		if err != nil {
			pcscdtest.Skip(t, "no headers of %s", pkg)
		}
		args = append(args, strings.Fields(string(flags))...)
	}
	out, err := exec.Command(cc, append(args, file)...).CombinedOutput()
	return string(out), err
}

// The spec is what the headers of each platform say, for every size, offset, sign and constant.
func TestSpecIsWhatTheHeadersSay(t *testing.T) {
	for _, c := range cTargets {
		t.Run(c.name, func(t *testing.T) {
			out, err := compilePreamble(t, model(t, 0), c.platform, c.cc, c.pkg)
			require.NoError(t, err, out)
			require.Empty(t, out, "warnings")
		})
	}
}

// What is wrong in the spec does not compile, and the compiler's message names the entry.
func TestWrongSpecDoesNotCompile(t *testing.T) {
	value := func(text string, v uint64) *spec.Int { return &spec.Int{Text: text, Value: v} }
	for name, test := range map[string]struct {
		change func(s *spec.Spec)
		want   string
		target int // of cTargets
	}{
		"string": {
			func(s *spec.Spec) {
				for _, v := range s.Group("Names").Values {
					if v.Name == "SCARD_LOCAL_READERS" {
						text := *v.String + "s"
						v.String = &text
					}
				}
			},
			"spec/constants.yaml: SCARD_LOCAL_READERS: value",
			1,
		},
		"code": {
			func(s *spec.Spec) { s.Code("SCARD_E_TIMEOUT").Value.Default = value("0x80100035", 0x80100035) },
			"spec/errors.yaml: SCARD_E_TIMEOUT: value",
			0,
		},
		"constant": {
			func(s *spec.Spec) {
				for _, v := range s.Group("ShareMode").Values {
					if v.Name == "SCARD_SHARE_DIRECT" {
						v.Value.Default = value("4", 4)
					}
				}
			},
			"spec/constants.yaml: SCARD_SHARE_DIRECT: value",
			0,
		},
		"attribute": {
			func(s *spec.Spec) { s.Attributes[0].Tag = value("0x7777", 0x7777) },
			"spec/attributes.yaml: SCARD_ATTR_",
			0,
		},
		"width": {
			func(s *spec.Spec) {
				u16 := "u16"
				s.Scalar("DWORD").C = &spec.PerPlatform[string]{Default: &u16}
			},
			"spec/types.yaml: DWORD: size",
			0,
		},
		"array": {
			func(s *spec.Spec) {
				for _, f := range s.Struct("SCARD_READERSTATE").Fields {
					if f.Name == "rgbAtr" {
						f.Len = &spec.PerPlatform[spec.Int]{Default: value("40", 40)}
					}
				}
			},
			"spec/types.yaml: SCARD_READERSTATE.rgbAtr: size",
			0,
		},
		"offset": {
			func(s *spec.Spec) {
				f := s.Struct("SCARD_READERSTATE").Fields
				f[2], f[3] = f[3], f[2]
			},
			"spec/types.yaml: SCARD_READERSTATE.dwCurrentState: offset",
			0,
		},
		"pack": {
			func(s *spec.Spec) { one := 2; s.Struct("SCARD_READERSTATE").Pack = &one },
			"spec/types.yaml: SCARD_READERSTATE: size",
			0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := spec.LoadDir(filepath.Join(root, "spec"))
			require.NoError(t, err)
			test.change(s)
			m, err := Resolve(s)
			require.NoError(t, err)
			c := cTargets[test.target]
			out, err := compilePreamble(t, m, c.platform, c.cc, c.pkg)
			require.Error(t, err)
			require.Contains(t, out, test.want)
		})
	}
}
