package pcscdtest

import (
	"debug/elf"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gopcsc/gopcsc/generated/protocol"
)

var (
	//go:embed src/udev.c
	udevSource []byte
	//go:embed src/usbvpcd.c
	usbSource []byte
)

// hotPlug is what USB readers need: libudev for pcscd, and the driver.
type hotPlug struct{ udev, driver []byte }

var errNoHotPlug = errors.New("no hot plug for a pcscd that something else runs: the libraries would be for the wrong processor")

var findHotPlug = sync.OnceValues(func() (*hotPlug, error) {
	inst, err := findInstallation()
	if err != nil {
		return nil, err
	}
	if len(inst.command) > 1 {
		return nil, errNoHotPlug
	}
	dir, err := os.MkdirTemp("", "pcscdtest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	h := &hotPlug{}
	for _, part := range []struct {
		source []byte
		flag   string
		into   *[]byte
	}{
		{udevSource, "-DDEVICES=" + fmt.Sprint(MaxReaders), &h.udev},
		{usbSource, "-DPORT=" + fmt.Sprint(basePort), &h.driver},
	} {
		path := filepath.Join(dir, "library.so")
		if err := Compile(path, part.source, part.flag); err != nil {
			return nil, err
		}
		if *part.into, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return h, usesOnly(inst.command[0], filepath.Join(dir, "udev.so"), h.udev)
})

// usesOnly makes sure that pcscd takes nothing from the real libudev, which could make nothing of our devices.
func usesOnly(pcscd, path string, library []byte) error {
	if err := os.WriteFile(path, library, 0o600); err != nil {
		return err
	}
	program, err := elf.Open(pcscd)
	if err != nil {
		return err
	}
	defer program.Close()
	udev, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer udev.Close()
	used, err := program.ImportedSymbols()
	if err != nil {
		return err
	}
	symbols, err := udev.DynamicSymbols()
	if err != nil {
		return err
	}
	usesUdev := false
	for _, u := range used {
		if !strings.HasPrefix(u.Name, "udev_") {
			continue
		}
		usesUdev = true
		if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == u.Name && s.Section != elf.SHN_UNDEF }) {
			return fmt.Errorf("this pcscd needs %s, which src/udev.c lacks", u.Name)
		}
	}
	if !usesUdev {
		return errors.New("this pcscd does not use libudev")
	}
	return nil
}

// plug prepares pcscd's command for USB readers. It runs in the service's thread.
func (s *Service) plug(p *process, cfg *config) error {
	h, err := findHotPlug()
	if err != nil {
		return fmt.Errorf("hot plug: %w", err)
	}
	library := filepath.Join(filesDir, "udev.so")
	if err := os.WriteFile(library, h.udev, 0o755); err != nil {
		return err
	}
	for i := range MaxReaders {
		// pcscd reads the bundles once, so there is one for every reader that may come.
		contents := filepath.Join(s.inst.driverDir, fmt.Sprintf("usb%02d.bundle", i), "Contents")
		if err := os.MkdirAll(filepath.Join(contents, "Linux"), 0o755); err != nil {
			return err
		}
		for name, content := range map[string][]byte{
			"Info.plist":     infoPlist(i, cfg.name(i)),
			"Linux/usb.so":   h.driver,
			"Linux/usb.vpcd": s.inst.driver,
		} {
			if err := os.WriteFile(filepath.Join(contents, name), content, 0o755); err != nil {
				return err
			}
		}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	p.usb = os.NewFile(uintptr(pair[0]), "usb")
	p.cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "usb")}
	p.cmd.Env = append(p.cmd.Env, "LD_PRELOAD="+library, fmt.Sprintf("PCSCDTEST_UDEV=3 %x", 1<<cfg.readers-1))
	return nil
}

// infoPlist describes the driver of device i.
func infoPlist(i int, name string) []byte {
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(name)
	var b strings.Builder
	b.WriteString("<plist version=\"1.0\">\n<dict>\n")
	fmt.Fprintf(&b, "\t<key>CFBundleExecutable</key>\n\t<string>usb.so</string>\n")
	for _, kv := range [][2]string{
		{"ifdVendorID", "0x1209"}, {"ifdProductID", fmt.Sprintf("0x%04X", i)}, {"ifdFriendlyName", escaped},
	} {
		fmt.Fprintf(&b, "\t<key>%s</key>\n\t<array>\n\t\t<string>%s</string>\n\t</array>\n", kv[0], kv[1])
	}
	b.WriteString("</dict>\n</plist>\n")
	return []byte(b.String())
}

// AddReader plugs in one more reader, after those that are there, and returns when pcscd has it. It needs
// [WithHotPlug].
func (s *Service) AddReader() {
	s.tb.Helper()
	if err := s.addReader(); err != nil {
		s.fail("AddReader", err)
	}
}

func (s *Service) addReader() error {
	p, i, err := s.plugged(0)
	if err != nil {
		return err
	}
	if i == MaxReaders {
		return fmt.Errorf("there are %d readers already", i)
	}
	if _, err := p.usb.Write([]byte{'a', byte(i)}); err != nil {
		return err
	}
	err = s.await(p, "wait for the reader", func(states []protocol.ReaderState) bool { return states[i].State != 0 })
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.readers++
	return nil
}

// RemoveReader pulls out the last reader, with the card that is in it, and returns when pcscd has noticed.
func (s *Service) RemoveReader() {
	s.tb.Helper()
	if err := s.removeReader(); err != nil {
		s.fail("RemoveReader", err)
	}
}

func (s *Service) removeReader() error {
	p, i, err := s.plugged(-1)
	if err != nil {
		return err
	}
	if i < 0 {
		return errors.New("there is no reader")
	}
	if _, err := p.usb.Write([]byte{'r', byte(i)}); err != nil {
		return err
	}
	err = s.await(p, "wait for the reader's end", func(states []protocol.ReaderState) bool { return states[i].State == 0 })
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cfg.readers--
	l := s.slots[i].link
	s.slots[i] = slot{}
	s.mu.Unlock()
	if l != nil {
		l.pull()
	}
	return nil
}

// plugged returns the process, if it has USB readers, and the number of the reader after the last one, plus offset.
func (s *Service) plugged(offset int) (*process, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.proc == nil:
		return nil, 0, errors.New("the service is down")
	case s.proc.usb == nil:
		return nil, 0, errors.New("the service was started without WithHotPlug")
	}
	return s.proc, s.cfg.readers + offset, nil
}
