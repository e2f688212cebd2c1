package main

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// A machine in a folder.
func testHost(t *testing.T, files map[string]string) host {
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		if target, isLink := cutLink(content); isLink {
			require.NoError(t, os.Symlink(target, file))
			continue
		}
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	return host{root: root, getenv: func(string) string { return "" }}
}

func cutLink(content string) (string, bool) {
	const mark = "-> "
	if len(content) > len(mark) && content[:len(mark)] == mark {
		return content[len(mark):], true
	}
	return "", false
}

func TestDoctorSandbox(t *testing.T) {
	require.Empty(t, testHost(t, nil).sandbox())
	require.Equal(t, "flatpak", testHost(t, map[string]string{".flatpak-info": ""}).sandbox())
	require.Equal(t, "container", testHost(t, map[string]string{".dockerenv": ""}).sandbox())
	require.Equal(t, "container", testHost(t, map[string]string{"run/.containerenv": ""}).sandbox())
	h := testHost(t, nil)
	h.getenv = func(name string) string { return map[string]string{"SNAP": "/snap/x"}[name] }
	require.Equal(t, "snap", h.sandbox())
	h.getenv = func(name string) string { return map[string]string{"container": "lxc"}[name] }
	require.Equal(t, "container", h.sandbox())
}

func TestDoctorSocket(t *testing.T) {
	h := testHost(t, map[string]string{"run/pcscd/x": ""})
	require.Equal(t, h.path("run/pcscd/pcscd.comm"), h.socket())
	h = testHost(t, map[string]string{"var/run/pcscd/x": ""})
	require.Equal(t, h.path("var/run/pcscd/pcscd.comm"), h.socket())
	h.getenv = func(name string) string { return map[string]string{"PCSCLITE_CSOCK_NAME": "/a/b"}[name] }
	require.Equal(t, "/a/b", h.socket())
}

func TestDoctorNoDaemon(t *testing.T) {
	pcscd := map[string]string{"usr/sbin/pcscd": ""}
	for _, test := range []struct {
		files map[string]string
		box   string
		todo  string
	}{
		{nil, "", "not installed. Install pcscd"},
		{pcscd, "", "does not run. Start it"},
		{pcscd, "container", "/run/pcscd:/run/pcscd"},
		{nil, "flatpak", "--socket=pcsc"},
		{nil, "snap", "snap connect"},
	} {
		d := testHost(t, test.files).daemon(t.Context(), test.box)
		require.Equal(t, verdictProblem, d.Verdict)
		require.Equal(t, exitNoService, d.exit)
		require.Contains(t, d.What, "there is no socket at /")
		require.Contains(t, d.Todo, test.todo)
		require.False(t, d.answers)
	}
	h := testHost(t, nil)
	h.getenv = func(name string) string { return map[string]string{socketVariable: h.path("none")}[name] }
	for _, box := range []string{"", "container"} {
		require.Contains(t, h.daemon(t.Context(), box).Todo, "Unset it to use the system's service")
	}
	h = testHost(t, nil)
	// A context that has ended.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, verdictProblem, h.daemon(ctx, "").Verdict)
}

// impostor listens where a service would. answer gets what is read and returns what is sent, nil to hang up.
func impostor(t *testing.T, socket string, answer func(request []byte) []byte) {
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 20)
			if _, err := io.ReadFull(conn, request); err == nil {
				_, _ = conn.Write(answer(request))
			}
			conn.Close()
		}
	}()
}

// ofVersion is a service that takes only its own version.
func ofVersion(minor uint32) func([]byte) []byte {
	return func(request []byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, 4)
		b = binary.NativeEndian.AppendUint32(b, minor)
		rc := uint32(pcsc.ErrServiceStopped)
		if binary.NativeEndian.Uint32(request[12:]) == minor {
			rc = 0
		}
		return binary.NativeEndian.AppendUint32(b, rc)
	}
}

func TestDoctorDaemon(t *testing.T) {
	h := testHost(t, map[string]string{"run/pcscd/x": ""})
	impostor(t, h.socket(), ofVersion(5))
	d := h.daemon(t.Context(), "")
	require.Equal(t, verdictOK, d.Verdict, d.What)
	require.True(t, d.answers)
	require.Equal(t, protocolVersion{4, 5}, d.version)

	h = testHost(t, map[string]string{"run/pcscd/x": ""})
	impostor(t, h.socket(), func([]byte) []byte { return nil })
	d = h.daemon(t.Context(), "")
	require.Equal(t, verdictProblem, d.Verdict)
	require.False(t, d.answers)
	require.Contains(t, d.What, "does not answer as pcscd does: EOF")
}

func TestDoctorUSB(t *testing.T) {
	usb := func(more map[string]string) host {
		files := map[string]string{
			"sys/bus/usb/devices/1-1/idVendor":                   "072f\n",
			"sys/bus/usb/devices/1-1/idProduct":                  "2200\n",
			"sys/bus/usb/devices/1-1/manufacturer":               "ACS\n",
			"sys/bus/usb/devices/1-1/product":                    "ACR122U\n",
			"sys/bus/usb/devices/1-1:1.0/bInterfaceClass":        "0b\n",
			"sys/bus/usb/devices/1-2:1.0/bInterfaceClass":        "03\n",
			"usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/some": "",
		}
		for name, content := range more {
			files[name] = content
		}
		return testHost(t, files)
	}
	const driver = "sys/bus/usb/devices/1-1:1.0/driver"
	for _, test := range []struct {
		more map[string]string
		todo string
	}{
		{nil, "may not open it"},
		{map[string]string{driver: "-> ../../drivers/pn533_usb"}, "modprobe -r pn533_usb"},
		{map[string]string{driver: "-> ../../drivers/usbfs"}, "lsof"},
		{map[string]string{driver: "-> ../../drivers/usbfs", "proc/17/comm": "scdaemon\n"}, "disable-ccid"},
	} {
		findings := usb(test.more).unusedReaders()
		require.Len(t, findings, 1)
		require.Equal(t, "ACS ACR122U (072f:2200) is a reader that the service does not have", findings[0].What)
		require.Contains(t, findings[0].Todo, test.todo)
		require.Equal(t, exitNoReader, findings[0].exit)
	}
	h := usb(nil)
	require.NoError(t, os.RemoveAll(h.path("usr/lib/pcsc")))
	require.Contains(t, h.unusedReaders()[0].Todo, "apt install libccid")
	require.Empty(t, testHost(t, nil).unusedReaders())
}

func TestDoctorVirtual(t *testing.T) {
	service := virtual.New()
	doctor := func() (result, doctorReport) {
		var report doctorReport
		r := start(t.Context(), on(service), "", "doctor", "--json")
		r.decode(t, &report)
		require.Equal(t, exitOf(report.Error), r.exit)
		return r, report
	}
	last := func(report doctorReport) finding { return report.Checks[len(report.Checks)-1] }

	r, report := doctor()
	require.Equal(t, exitNoReader, r.exit)
	require.Equal(t, "the service has no reader", last(report).What)

	reader := service.AddReader("Reader\x1b[2J")
	r, report = doctor()
	require.Equal(t, exitOK, r.exit)
	require.Equal(t, finding{Check: "card", Verdict: verdictNote, What: "none"}, last(report))
	require.NotContains(t, r.stdout, "\x1b")

	reader.Insert(virtual.NewDemoCard())
	r, report = doctor()
	require.Equal(t, exitOK, r.exit)
	require.Contains(t, last(report).What, "ATR 3B ")
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	require.NoError(t, err)
	defer pc.Close()
	card, err := pc.Connect(t.Context(), reader.Name(), pcsc.ShareExclusive, pcsc.ProtocolAny)
	require.NoError(t, err)
	r, report = doctor()
	require.Equal(t, exitOK, r.exit)
	require.Equal(t, verdictNote, last(report).Verdict)
	require.Contains(t, last(report).What, "another program uses it alone")
	require.NoError(t, card.Close())

	text := start(t.Context(), on(service), "", "doctor")
	require.Equal(t, exitOK, text.exit)
	require.Regexp(t, `^ok       program   version .*\nok       context   .*\nok       reader    .*\nok       card      ATR .*\n$`, text.stdout)
}

func TestDoctorContextProblem(t *testing.T) {
	f := contextProblem(&pcsc.Error{Op: "SCardEstablishContext", Code: pcsc.ErrSecurityViolation})
	require.Equal(t, exitNoService, f.exit)
	require.Contains(t, f.Todo, "org.debian.pcsc-lite.access_pcsc")
	f = contextProblem(context.DeadlineExceeded)
	require.Equal(t, exitNoService, f.exit)
	require.Contains(t, f.What, "has not answered for 5s")
	require.Contains(t, contextProblem(&pcsc.Error{Code: pcsc.ErrNoService}).What, "SCARD_E_NO_SERVICE")
}

func exitOf(e *jsonError) int {
	if e == nil {
		return exitOK
	}
	return e.Exit
}

func TestDoctorTimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := start(ctx, on(virtual.New()), "", "doctor")
	require.Equal(t, exitTimeout, r.exit)
}

// The real program with the real library, and with services that do not fit.
func testDoctor(t *testing.T, p *program) {
	doctor := func(exit int) map[string]finding {
		t.Helper()
		var report doctorReport
		r := p.run("doctor", "--json")
		require.Equal(t, exit, r.exit, r.stdout)
		r.decode(t, &report)
		found := map[string]finding{}
		for _, f := range report.Checks {
			found[f.Check] = f
		}
		return found
	}
	svc := pcscdtest.Start(t)
	svc.Insert(0, pcscdtest.NewEchoCard(nil))
	found := doctor(exitOK)
	require.Regexp(t, `libpcsclite.*\.so\.1`, found["library"].What)
	require.Regexp(t, `^pcscd answers at /`, found["service"].What)
	require.Regexp(t, `^the service speaks 4:\d+, the library 4:\d+$`, found["protocol"].What)
	require.Equal(t, svc.Readers()[0], found["reader"].What)
	require.Equal(t, verdictOK, found["card"].Verdict)
	svc.Stop()
	found = doctor(exitNoService)
	require.Equal(t, verdictProblem, found["service"].Verdict)
	require.NotContains(t, found, "context")

	dir := t.TempDir()
	for name, test := range map[string]struct {
		answer  func([]byte) []byte
		check   string
		matches string
	}{
		"newer":   {ofVersion(77), "protocol", `^the service speaks 4:77, the library 4:\d+, and they do not understand each other$`},
		"older":   {ofVersion(1), "protocol", `^the service speaks 4:1, the library 4:\d+, and they do not understand each other$`},
		"refuses": {func([]byte) []byte { return nil }, "service", `does not answer as pcscd does: EOF$`},
	} {
		socket := filepath.Join(dir, name)
		impostor(t, socket, test.answer)
		t.Setenv("PCSCLITE_CSOCK_NAME", socket)
		found := doctor(exitNoService)
		require.Equal(t, verdictProblem, found[test.check].Verdict)
		require.Regexp(t, test.matches, found[test.check].What)
		require.NotEmpty(t, found[test.check].Todo)
	}
}
