package main

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/gen"
)

// checkSymbols compares the symbols that the backends expect of a library with those that it exports: the real
// libpcsclite, and the library that mingw links programs for Windows with, which lists those of winscard.dll.
func checkSymbols(m *gen.Model) []result {
	libraries := []struct {
		platform string
		find     func() (string, error)
		exports  func(file string) ([]string, error)
	}{
		{"pcsclite", findELF, elfExports},
		{"windows", findImportLibrary, importLibraryExports},
	}
	var results []result
	for _, l := range libraries {
		r := result{target: l.platform, what: "symbols of the library"}
		file, err := l.find()
		var exports []string
		if err == nil {
			r.what += " " + filepath.Base(file)
			exports, err = l.exports(file)
		}
		if err == nil {
			err = compareSymbols(m, l.platform, exports)
		}
		r.set(err)
		results = append(results, r)
	}
	return results
}

// compareSymbols finds what the spec expects and the library lacks, and what the library has and the spec lacks.
func compareSymbols(m *gen.Model, platform string, exports []string) error {
	expected := map[string]bool{}
	var lacking, unknown []string
	for _, f := range m.Functions {
		symbol, ok := f.Symbols[platform]
		if !ok {
			continue
		}
		expected[symbol] = true
		// Those that may be missing too: this library is of a version that has them, and a wrong name would never be found.
		if !slices.Contains(exports, symbol) {
			lacking = append(lacking, symbol)
		}
	}
	for _, p := range m.Platforms {
		for _, l := range p.Libraries {
			for _, u := range l.Unbound {
				if p.Name != platform {
					continue
				}
				expected[u.Name] = true
				if !slices.Contains(exports, u.Name) {
					lacking = append(lacking, u.Name)
				}
			}
		}
	}
	for _, symbol := range exports {
		// Of the two forms of a function with texts on Windows the one for UTF-16 is used.
		narrow := strings.HasSuffix(symbol, "A") && expected[strings.TrimSuffix(symbol, "A")+"W"]
		// libpcsclite exports some of its insides.
		ours := platform != "pcsclite" || strings.HasPrefix(symbol, "SCard")
		if ours && !expected[symbol] && !narrow {
			unknown = append(unknown, symbol)
		}
	}
	switch {
	case lacking != nil:
		return fmt.Errorf("the library does not export %s, which the spec expects", strings.Join(lacking, ", "))
	case unknown != nil:
		return fmt.Errorf("the library exports %s, which the spec does not have", strings.Join(unknown, ", "))
	}
	return nil
}

// findELF finds the system's libpcsclite by way of the linker's cache.
func findELF() (string, error) {
	out, err := exec.Command("/sbin/ldconfig", "-p").Output()
	if err != nil {
		return "", missing{"the linker's cache could not be asked: " + err.Error()}
	}
	for line := range strings.Lines(string(out)) {
		name, file, found := strings.Cut(strings.TrimSpace(line), " => ")
		if found && strings.HasPrefix(name, "libpcsclite.so.1 ") {
			return file, nil
		}
	}
	return "", missing{"there is no libpcsclite.so.1: install libpcsclite1"}
}

func elfExports(file string) (names []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF {
			names = append(names, s.Name)
		}
	}
	return names, err
}

// mingwCompiler has the import library of winscard.dll, and a nm beside it that reads it.
const mingwCompiler = "x86_64-w64-mingw32"

func findImportLibrary() (string, error) {
	out, err := exec.Command(mingwCompiler+"-gcc", "-print-file-name=libwinscard.a").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || !filepath.IsAbs(file) {
		return "", missing{"there is no libwinscard.a: install gcc-mingw-w64-x86-64"}
	}
	return file, nil
}

func importLibraryExports(file string) (names []string, err error) {
	out, err := exec.Command(mingwCompiler+"-nm", "--defined-only", file).Output()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[1] == "T" {
			names = append(names, fields[2])
		}
	}
	return names, nil
}
