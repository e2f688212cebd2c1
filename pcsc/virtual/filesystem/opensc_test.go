package filesystem_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

func TestMain(m *testing.M) { pcscdtest.Main(m) }

// inVpcd is the card as vpcd wants it.
type inVpcd struct{ *filesystem.Card }

func (c inVpcd) PowerOn() { c.Reset() }
func (inVpcd) PowerOff()  {}
func (c inVpcd) Transmit(apdu []byte) []byte {
	response, _ := c.Card.Transmit(apdu)
	return response
}

// A client that is not ours finds its way around the card.
func TestOpenSC(t *testing.T) {
	for _, program := range []string{"opensc-tool", "opensc-explorer"} {
		if _, err := exec.LookPath(program); err != nil {
			pcscdtest.Skip(t, "%s is not installed", program)
		}
	}
	svc := pcscdtest.Start(t)
	card := newCard(t)
	svc.Insert(0, inVpcd{card})
	run := func(stdin string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	// No driver is for this card, so the default one has to be asked for by name.
	require.Contains(t, run("", "opensc-tool", "-n"), "Unsupported card")
	require.Contains(t, run("", "opensc-tool", "-c", "default", "-s", "00A4000002500000"), "6F 13 82 01 38 83 02 50 00 84 07 F0 67 6F 70 63")

	out := run(`cd 5000
info 5001
info 5002
cat 5001
cat 5003
verify CHV1 30:30:30:30
verify CHV1 31:32:33:34
cat 5002
update_binary 5001 5 21:21
update_record 5003 2 0 EE:EE
cd 5100
cat 5101
cd ..
cd aid:F06F74686572
random 8
quit
`, "opensc-explorer", "-c", "default")
	for _, want := range []string{
		"Working Elementary File  ID 5001",
		"File size:               16 bytes",
		"EF structure:            Transparent",
		"EF structure:            Linear fixed",
		"Number of records:       3",
		"Max. record size:        2 bytes",
		"68 65 6C 6C 6F 00 00 00 00 00 00 00 00 00 00 00 hello",
		"Record 2:\n00000000: 02 02",
		"Incorrect code, 2 tries left.",
		"Code correct.",
		"Record 3:\n00000000: 01 CC",
		"OpenSC [3F00/5000/5100]> cat 5101\n00000000: 64 65 65 70 deep",
		"OpenSC [F06F/7468/6572]> random 8\n00000000: 00 00 00 00 00 00 00 00",
	} {
		require.Contains(t, out, want)
	}
	contents, _ := card.Contents(0x5000, 0x5001)
	require.Equal(t, "hello!!", strings.TrimRight(string(contents[0]), "\x00"))
	contents, _ = card.Contents(0x5000, 0x5003)
	require.Equal(t, [][]byte{{1}, {0xEE, 0xEE}}, contents)
}
