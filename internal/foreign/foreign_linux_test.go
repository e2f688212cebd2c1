package foreign

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

func TestMain(m *testing.M) { pcscdtest.Main(m) }

// python is a program on pyscard: what most tools in Python do, and how cards are watched there.
const python = `
import time
from smartcard.CardMonitoring import CardMonitor, CardObserver
from smartcard.System import readers
from smartcard.scard import *
from smartcard.util import toHexString

for reader in readers():
    print(reader)
    connection = reader.createConnection()
    connection.connect()
    print(toHexString(connection.getATR()), connection.getProtocol())
    for apdu in ([0, 0xA4, 4, 0, 8, 0xF0, 0x65, 0x78, 0x61, 0x6D, 0x70, 0x6C, 0x65],
                 [0, 0xB0, 0x81, 0, 0],
                 [0, 0x20, 0, 1, 4, 0x39, 0x39, 0x39, 0x39],
                 [0, 0xCA, 0, 0, 0]):
        data, sw1, sw2 = connection.transmit(apdu)
        print(toHexString(data), '%02X%02X' % (sw1, sw2))
    connection.disconnect()

class Observer(CardObserver):
    def update(self, observable, handlers):
        for card in handlers[0]:
            print('inserted', toHexString(card.atr))
        for card in handlers[1]:
            print('removed', toHexString(card.atr))

monitor = CardMonitor()
observer = Observer()
monitor.addObserver(observer)
time.sleep(1)
monitor.deleteObserver(observer)

rc, context = SCardEstablishContext(SCARD_SCOPE_USER)
print(rc, SCardIsValidContext(context), SCardListReaderGroups(context))
rc, names = SCardListReaders(context, [])
rc, card, protocol = SCardConnect(context, names[0], SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
print(rc, protocol, SCardStatus(card)[1:4])
print(SCardConnect(context, names[0], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1)[0] & 0xFFFFFFFF)
print(SCardBeginTransaction(card), SCardEndTransaction(card, SCARD_RESET_CARD))
print(SCardReconnect(card, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1, SCARD_LEAVE_CARD))
print(SCardGetStatusChange(context, 0, [(names[0], SCARD_STATE_UNAWARE)]))
print(SCardDisconnect(card, SCARD_UNPOWER_CARD), SCardReleaseContext(context))
`

// programs are run in turn on each service. What they print must be the same, but for what the pattern finds, such as the
// time of day.
var programs = []struct {
	name    string
	command []string
	differs *regexp.Regexp
	has     []string // of the output: that the program has done something
}{
	{"list", []string{"opensc-tool", "--list-readers"}, nil, []string{"Yes", "Virtual Reader"}},
	{"atr", []string{"opensc-tool", "--reader", "0", "--atr"}, nil, []string{"3b:"}},
	{"name", []string{"opensc-tool", "--reader", "0", "-n"}, nil, nil},
	{"apdu", []string{"opensc-tool", "--reader", "0", "-s", "00A4040008F06578616D706C65", "-s", "00B0810000"}, nil,
		[]string{"SW1=0x90, SW2=0x00", "hello"}},
	{"explorer", []string{"opensc-explorer", "--reader", "0", "walk"}, nil, nil},
	{"scan", []string{"pcsc_scan", "-n", "-c"}, regexp.MustCompile(`(?m)^.*\d\d:\d\d:\d\d.*$`), []string{"Virtual Reader"}},
	{"readers", []string{"pcsc_scan", "-r"}, nil, []string{"Virtual Reader"}},
	{"python", []string{"/usr/bin/python3", "-c", python}, nil, []string{"9000", "63C2", "inserted 3B"}},
}

// newCard makes a card that is the same each time.
func newCard(t *testing.T) *filesystem.Card {
	card, err := filesystem.New(filesystem.Config{
		ATR: pcscdtest.MakeATR("foreign"),
		MF: filesystem.DF{
			PINs: []filesystem.PIN{{Reference: 0x01, Value: []byte("1234")}},
			DFs: []filesystem.DF{{
				ID: 0x5000, Name: []byte("\xF0example"),
				EFs: []filesystem.EF{{ID: 0x5001, SFI: 1, Data: []byte("hello")}},
			}},
		},
	})
	require.NoError(t, err)
	return card
}

// resettable is a card for vpcd that is told of resets.
type resettable struct {
	pcscdtest.Card
	card *filesystem.Card
}

func (r resettable) Reset()   { r.card.Reset() }
func (r resettable) PowerOn() { r.card.Reset() }

func TestForeignPrograms(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "walk")
	require.NoError(t, os.WriteFile(script, []byte("ls\ncd 5000\nls\ncat 5001\ninfo 5001\nquit\n"), 0o600))
	for i := range programs {
		for j, arg := range programs[i].command {
			if arg == "walk" {
				programs[i].command[j] = script
			}
		}
		if _, err := exec.LookPath(programs[i].command[0]); err != nil {
			pcscdtest.Skip(t, "no %s: install opensc, pcsc-tools and python3-pyscard", programs[i].command[0])
		}
	}

	svc := pcscdtest.Start(t)
	real := newCard(t)
	svc.Insert(0, resettable{pcscdtest.NewCard(real.ATR(), func(apdu []byte) []byte {
		response, err := real.Transmit(apdu)
		if err != nil {
			return []byte{0x6F, 0x00}
		}
		return response
	}), real})
	name := strings.TrimSuffix(svc.Readers()[0], " 00 00") // the service adds it, as pcscd does
	want := runAll(t, "")

	service := virtual.New()
	service.AddReader(name).Insert(newCard(t))
	l, err := virtual.Listen("")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- service.Serve(ctx, l) }()
	defer func() {
		cancel()
		<-served
	}()
	got := runAll(t, l.Env())
	for i, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			for _, text := range p.has {
				require.Contains(t, want[i], text, "the program has not done what it should on pcscd")
			}
			require.Equal(t, want[i], got[i])
		})
	}
}

// runAll runs every program and returns what each prints, and how it ends.
func runAll(t *testing.T, socket string) (outputs []string) {
	for _, p := range programs {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "TERM=dumb")
		if socket != "" {
			cmd.Env = append(cmd.Env, socket)
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, ctx.Err(), "%v does not end", p.command)
		cancel()
		text := string(out)
		if err != nil {
			text += "\n" + err.Error()
		}
		if p.differs != nil {
			text = p.differs.ReplaceAllString(text, "…")
		}
		outputs = append(outputs, strings.TrimSpace(text))
	}
	return outputs
}
