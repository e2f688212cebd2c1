package main

import (
	"bufio"
	"os"
	"slices"
	"strings"
)

// loadedLibraries returns the files of the PC/SC library in this process, as the kernel has them: the real files, not
// the links to them. It returns none if the library is linked statically.
func loadedLibraries(name string) (files []string) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// Address, permissions, offset, device and inode; then the file.
		_, file, found := strings.Cut(lines.Text(), "/")
		if file = "/" + file; found && isLibrary(file, name) && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	return files
}
