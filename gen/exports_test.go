package gen

import (
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// exports are the functions that a library exports, with their decoration.
func exports(t *testing.T, nm, cc, library string, flags ...string) []string {
	t.Helper()
	for _, tool := range []string{nm, cc} {
		if _, err := exec.LookPath(tool); err != nil {
			pcscdtest.Skip(t, "no %s", tool)
		}
	}
	path, err := exec.Command(cc, "-print-file-name="+library).Output()
	require.NoError(t, err)
	file := strings.TrimSpace(string(path))
	if file == library {
		pcscdtest.Skip(t, "%s has no %s", cc, library)
	}
	out, err := exec.Command(nm, append(flags, file)...).Output()
	require.NoError(t, err)
	var names []string
	for _, m := range regexp.MustCompile(`(?m) T (\S+)$`).FindAllStringSubmatch(string(out), -1) {
		names = append(names, m[1])
	}
	require.NotEmpty(t, names)
	return names
}

// On Windows with 32 bits a symbol says how many bytes of arguments its function takes, also where no header does. mingw's
// import library for 32 bits lacks those of a later Windows, whose prototypes internal/abi compares with a table.
func TestArgumentBytes(t *testing.T) {
	decorated := exports(t, "i686-w64-mingw32-nm", "i686-w64-mingw32-gcc", "libwinscard.a")
	var lacking []string
	for _, f := range model(t, 0).Functions {
		if !f.Available("windows") {
			continue
		}
		i := slices.IndexFunc(decorated, func(s string) bool { return strings.HasPrefix(s, "_"+f.Symbols["windows"]+"@") })
		if i < 0 {
			lacking = append(lacking, f.Symbols["windows"])
			continue
		}
		_, text, _ := strings.Cut(decorated[i], "@")
		bytes, err := strconv.Atoi(text)
		require.NoError(t, err)
		require.Equal(t, bytes, 4*len(f.Args), f.Name)
	}
	require.ElementsMatch(t, []string{
		"SCardAudit", "SCardGetDeviceTypeIdW", "SCardGetReaderDeviceInstanceIdW", "SCardGetReaderIconW",
		"SCardListReadersWithDeviceInstanceIdW",
	}, lacking)
}
