package pcscdtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// An installation is what the machine has of pcscd and vpcd.
type installation struct {
	pcscd     string   // path of the program
	args      []string // arguments that this version needs
	driverDir string   // where it looks for drivers of USB readers
	driver    []byte   // vpcd's driver
	slots     int      // slots of one reader with that driver: 1 or 2
}

var findInstallation = sync.OnceValues(func() (*installation, error) {
	inst := &installation{}
	for _, name := range []string{"pcscd", "/usr/sbin/pcscd", "/usr/local/sbin/pcscd"} {
		if path, err := exec.LookPath(name); err == nil {
			inst.pcscd = path
			break
		}
	}
	if inst.pcscd == "" {
		return nil, errors.New("pcscd is not installed (Debian: pcscd)")
	}
	version, err := exec.Command(inst.pcscd, "--version").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", inst.pcscd, err)
	}
	m := regexp.MustCompile(`usbdropdir=(\S+)`).FindSubmatch(version)
	if m == nil {
		return nil, fmt.Errorf("%s --version names no usbdropdir", inst.pcscd)
	}
	inst.driverDir = string(m[1])
	if strings.Contains(string(version), "polkit") {
		// There is no D-Bus in the namespace to ask for permission.
		inst.args = append(inst.args, "--disable-polkit")
	}
	path := filepath.Join(inst.driverDir, "serial", "libifdvpcd.so")
	if inst.driver, err = os.ReadFile(path); err != nil {
		return nil, fmt.Errorf("vpcd is not installed (Debian: vsmartcard-vpcd): %w", err)
	}
	inst.slots = 2
	if oneSlot(inst.driver) {
		inst.slots = 1
	}
	return inst, nil
})

// oneSlot changes the driver, in place, to one whose readers have a single
// slot. It reports whether it could. The driver compares the tag that pcscd
// asks for with TAG_IFD_SLOTS_NUMBER, a constant in the machine code; with
// another constant there it answers "unknown tag", which pcscd takes for one
// slot. Nothing else changes.
func oneSlot(driver []byte) bool {
	const (
		tagSlotsNumber = 0x0FAE
		tagNobodyUses  = 0xFFFF
	)
	f, err := elf.NewFile(bytes.NewReader(driver))
	if err != nil || f.Machine != elf.EM_X86_64 && f.Machine != elf.EM_386 {
		return false
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return false
	}
	for _, sym := range symbols {
		if sym.Name != "IFDHGetCapabilities" || int(sym.Section) >= len(f.Sections) {
			continue
		}
		section := f.Sections[sym.Section]
		start := sym.Value - section.Addr + section.Offset
		if start+sym.Size > uint64(len(driver)) {
			return false
		}
		code := driver[start : start+sym.Size]
		tag := binary.LittleEndian.AppendUint32(nil, tagSlotsNumber)
		if bytes.Count(code, tag) != 1 {
			return false
		}
		binary.LittleEndian.PutUint32(code[bytes.Index(code, tag):], tagNobodyUses)
		return true
	}
	return false
}
