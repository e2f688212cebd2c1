package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// host is the machine around the program, as far as the doctor looks at it. In tests it is a folder.
type host struct {
	root    string // in place of /
	getenv  func(string) string
	program string // this one; empty if that is not known
}

func systemHost() host {
	program, _ := os.Executable()
	return host{root: "/", getenv: os.Getenv, program: program}
}

// hasDaemon says whether the system's PC/SC is pcsc-lite.
func hasDaemon(goos string) bool {
	return !slices.Contains([]string{"windows", "darwin", "ios", "plan9", "js", "wasip1", "aix"}, goos)
}

func (h host) path(elem ...string) string { return filepath.Join(append([]string{h.root}, elem...)...) }

func (h host) exists(elem ...string) bool {
	_, err := os.Stat(h.path(elem...))
	return err == nil
}

// sandbox is what keeps the program from the rest of the machine, or nothing.
func (h host) sandbox() string {
	switch {
	case h.exists(".flatpak-info"):
		return "flatpak"
	case h.getenv("SNAP") != "":
		return "snap"
	case h.exists(".dockerenv"), h.exists("run/.containerenv"), h.getenv("container") != "":
		return "container"
	}
	return ""
}

// protocolVersion is a version of the protocol between libpcsclite and pcscd.
type protocolVersion struct{ major, minor int32 }

func (v protocolVersion) String() string { return fmt.Sprintf("%d:%d", v.major, v.minor) }

func (v protocolVersion) less(w protocolVersion) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

// daemon is what was found of the service.
type daemon struct {
	finding
	answers bool
	version protocolVersion
}

// socketVariable is the variable with which a program is given another socket.
const socketVariable = "PCSCLITE_CSOCK_NAME"

// socket is where libpcsclite looks for the service.
func (h host) socket() string {
	if path := h.getenv(socketVariable); path != "" {
		return path
	}
	if !h.exists("run/pcscd") && h.exists("var/run/pcscd") { // BSD
		return h.path("var/run/pcscd/pcscd.comm")
	}
	return h.path("run/pcscd/pcscd.comm")
}

// daemon asks the service for its version.
func (h host) daemon(ctx context.Context, box string) (d daemon) {
	socket := h.socket()
	d.finding = finding{Check: "service", Verdict: verdictProblem, exit: exitNoService}
	conn, err := (&net.Dialer{Timeout: doctorPatience}).DialContext(ctx, "unix", socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.What = "there is no socket at " + socket
		d.Todo = h.missing(box)
		return d
	case errors.Is(err, fs.ErrPermission):
		d.What = "this user may not use the socket " + socket
		d.Todo = "Its rights are those that the service's configuration gives it: ask the administrator, or try it as root."
		return d
	case err != nil:
		d.What = fmt.Sprintf("nobody listens at %s: %v", socket, errors.Unwrap(err))
		d.Todo = "The service has ended and left its socket. Start it again, such as with: systemctl restart pcscd.socket pcscd"
		if h.getenv(socketVariable) != "" {
			d.Todo = variableTodo
		}
		return d
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(doctorPatience))
	if d.version, err = askVersion(conn); err != nil {
		d.What = fmt.Sprintf("what listens at %s does not answer as pcscd does: %v", socket, err)
		d.Todo = "It may refuse this user. " + polkitTodo + "\nOr it hangs: look at its log, such as with: journalctl -u pcscd"
		return d
	}
	d.answers = true
	d.Verdict, d.What = verdictOK, "pcscd answers at "+socket
	return d
}

// variableTodo is what to do where the variable names a socket that nobody listens at.
const variableTodo = "The variable " + socketVariable + " names that socket. Unset it to use the system's service, or start again what\n" +
	"it was set for, such as: pcsc serve"

// missing is what to do where there is no socket.
func (h host) missing(box string) string {
	if h.getenv(socketVariable) != "" {
		return variableTodo
	}
	switch box {
	case "flatpak":
		return "Give the flatpak access: flatpak override --user --socket=pcsc APPLICATION"
	case "snap":
		return "Connect the snap's interface: snap connect APPLICATION:pcscd"
	case "container":
		return "Start the service in the container, or mount the machine's folder /run/pcscd into it\n" +
			"(docker run -v /run/pcscd:/run/pcscd ...)."
	}
	for _, dir := range []string{"usr/sbin", "usr/local/sbin", "usr/pkg/sbin", "sbin", "usr/bin"} {
		if h.exists(dir, "pcscd") {
			return "The service is installed and does not run. Start it, such as with: systemctl enable --now pcscd.socket"
		}
	}
	return "The service is not installed. Install pcscd, on Debian and Ubuntu with: apt install pcscd"
}

// askVersion asks a service for the version of its protocol, by way of one that none has: then it says its own.
func askVersion(conn io.ReadWriter) (v protocolVersion, err error) {
	b := binary.NativeEndian.AppendUint32(nil, 12)
	b = binary.NativeEndian.AppendUint32(b, 0x11)
	b = binary.NativeEndian.AppendUint32(b, 4)
	b = binary.NativeEndian.AppendUint32(b, 9999)
	b = binary.NativeEndian.AppendUint32(b, 0)
	if _, err := conn.Write(b); err != nil {
		return v, err
	}
	return readVersion(conn)
}

func readVersion(r io.Reader) (v protocolVersion, err error) {
	var b [12]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return v, err
	}
	v.major = int32(binary.NativeEndian.Uint32(b[0:]))
	v.minor = int32(binary.NativeEndian.Uint32(b[4:]))
	return v, nil
}

// libraryVersion finds out what the library speaks: a copy of this program connects to a socket of ours, and the first
// thing that a library says is its version. It needs a program of its own because a library keeps the first socket.
func (h host) libraryVersion(ctx context.Context, library string) (v protocolVersion, err error) {
	if h.program == "" {
		return v, errors.New("the file of this program is not known")
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	dir, err := os.MkdirTemp("", "pcsc") // private
	if err != nil {
		return v, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "socket")
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return v, err
	}
	defer l.Close()
	context.AfterFunc(ctx, func() { l.Close() })
	cmd := exec.CommandContext(ctx, h.program, "version", "--json", "--library", library)
	cmd.Env = append(os.Environ(), "PCSCLITE_CSOCK_NAME="+socket)
	if err := cmd.Start(); err != nil {
		return v, err
	}
	go func() {
		_ = cmd.Wait()
		cancel() // if it has not connected by now, it won't
	}()
	conn, err := l.Accept()
	if err != nil {
		return v, errors.New("it did not connect")
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(doctorPatience))
	var header [8]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return v, err
	}
	if binary.NativeEndian.Uint32(header[4:]) != 0x11 {
		return v, errors.New("it does not begin with its version")
	}
	return readVersion(conn)
}

// unusedReaders is about the USB devices that are readers, where the service has none. It finds some on Linux only.
func (h host) unusedReaders() (findings []finding) {
	interfaces, _ := filepath.Glob(h.path("sys/bus/usb/devices/*/bInterfaceClass"))
	read := func(elem ...string) string {
		b, _ := os.ReadFile(filepath.Join(elem...))
		return strings.TrimSpace(string(b))
	}
	for _, file := range interfaces {
		if read(file) != "0b" { // smart card
			continue
		}
		dir := filepath.Dir(file)
		device := filepath.Join(filepath.Dir(dir), strings.Split(filepath.Base(dir), ":")[0])
		f := finding{Check: "usb", Verdict: verdictProblem, exit: exitNoReader}
		f.What = fmt.Sprintf("%s (%s:%s) is a reader that the service does not have",
			printable(strings.TrimSpace(read(device, "manufacturer")+" "+read(device, "product"))),
			read(device, "idVendor"), read(device, "idProduct"))
		driver, _ := os.Readlink(filepath.Join(dir, "driver"))
		switch driver = filepath.Base(driver); {
		case driver != "." && driver != "usbfs":
			f.Todo = fmt.Sprintf("The kernel's driver %s has taken it. Unload it: modprobe -r %s\n"+
				"and keep it from coming back with a line in /etc/modprobe.d: blacklist %s", driver, driver, driver)
		case driver == "usbfs" && h.runs("scdaemon"):
			f.Todo = "GnuPG's scdaemon has taken it. Let GnuPG use the service, too: write disable-ccid into ~/.gnupg/scdaemon.conf,\n" +
				"then gpgconf --kill scdaemon"
		case driver == "usbfs":
			f.Todo = "Another program has taken it; lsof /dev/bus/usb/*/* says which."
		case !h.exists("usr/lib/pcsc/drivers/ifd-ccid.bundle") && !h.exists("usr/lib64/pcsc/drivers/ifd-ccid.bundle"):
			f.Todo = "The driver for USB readers is not installed. Install ccid, on Debian and Ubuntu with: apt install libccid"
		default:
			f.Todo = "Its driver does not know it, or may not open it. Look at the service's log, such as with: journalctl -u pcscd"
		}
		findings = append(findings, f)
	}
	return findings
}

// runs says whether a program of that name runs. It sees those of other users, too.
func (h host) runs(name string) bool {
	files, _ := filepath.Glob(h.path("proc/[0-9]*/comm"))
	return slices.ContainsFunc(files, func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.TrimSpace(string(b)) == name
	})
}
