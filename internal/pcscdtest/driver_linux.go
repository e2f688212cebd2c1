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
	command   []string // the program, and what runs it where the machine doesn't
	args      []string // arguments that this version needs
	driverDir string   // where it looks for drivers of USB readers
	driver    []byte   // vpcd's driver
	slots     int      // slots of one reader with that driver: 1 or 2
}

// With RootEnv in the environment pcscd and vpcd are those under another root, which may be of another processor. The
// words in RunnerEnv then are what runs them, such as an emulator or that root's loader, with its arguments.
const (
	RootEnv   = "PCSCDTEST_ROOT"
	RunnerEnv = "PCSCDTEST_RUNNER"
)

var findInstallation = sync.OnceValues(func() (*installation, error) {
	inst := &installation{}
	root := os.Getenv(RootEnv)
	runner := strings.Fields(os.Getenv(RunnerEnv))
	var pcscd string
	for _, name := range []string{"pcscd", "/usr/sbin/pcscd", "/usr/local/sbin/pcscd"} {
		if root != "" {
			name = filepath.Join(root, "usr/sbin/pcscd")
		}
		if path, err := exec.LookPath(name); err == nil {
			pcscd = path
			break
		}
	}
	if pcscd == "" {
		return nil, errors.New("pcscd is not installed (Debian: pcscd)")
	}
	inst.command = append(runner, pcscd)
	version, err := exec.Command(inst.command[0], append(inst.command[1:], "--version")...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", pcscd, err)
	}
	m := regexp.MustCompile(`usbdropdir=(\S+)`).FindSubmatch(version)
	if m == nil {
		return nil, fmt.Errorf("%s --version names no usbdropdir", pcscd)
	}
	inst.driverDir = string(m[1])
	if strings.Contains(string(version), "polkit") {
		// There is no D-Bus in the namespace to ask for permission.
		inst.args = append(inst.args, "--disable-polkit")
	}
	path := filepath.Join(root, inst.driverDir, "serial", "libifdvpcd.so")
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
		// As a signed number of 16 bits it must be positive.
		tagNobodyUses16 = 0x7FFF
	)
	f, err := elf.NewFile(bytes.NewReader(driver))
	if err != nil {
		return false
	}
	var tag, nobodys []byte
	switch f.Machine {
	case elf.EM_X86_64, elf.EM_386: // an immediate of 32 bits
		tag = binary.LittleEndian.AppendUint32(nil, tagSlotsNumber)
		nobodys = binary.LittleEndian.AppendUint32(nil, tagNobodyUses)
	case elf.EM_S390: // one of 16 bits
		tag = binary.BigEndian.AppendUint16(nil, tagSlotsNumber)
		nobodys = binary.BigEndian.AppendUint16(nil, tagNobodyUses16)
	default:
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
		if bytes.Count(code, tag) != 1 {
			return false
		}
		copy(code[bytes.Index(code, tag):], nobodys)
		return true
	}
	return false
}
