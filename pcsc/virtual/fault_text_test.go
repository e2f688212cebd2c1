package virtual_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// faultTexts are faults and their text, each as String has it.
var faultTexts = map[string]virtual.Fault{
	"nothing":                 {},
	"pull-card":               virtual.PullCard(),
	"unplug-reader":           virtual.UnplugReader(),
	"stop-service":            virtual.StopService(),
	"restart-service":         virtual.RestartService(-1),
	"restart-service 2s":      virtual.RestartService(2 * time.Second),
	"reset-card":              virtual.ResetCard(),
	"mute-card":               virtual.MuteCard(),
	"delay 1m30s":             virtual.Delay(90 * time.Second),
	"delay 0s":                virtual.Delay(-1),
	"fail SCARD_E_NO_SERVICE": virtual.Fail(winscard.ErrNoService),
	"fail 0x12345678":         virtual.Fail(0x12345678),
	"lose SCARD_F_COMM_ERROR": virtual.CommError(),
	"answer 6F00":             virtual.Answer(0x6F, 0x00),
	"answer none":             virtual.Answer(),
	"oversize 70000":          virtual.Oversize(70000),
	"fail SCARD_E_SHARING_VIOLATION on Connect": virtual.SharingViolation(),
	"fail SCARD_E_SERVER_TOO_BUSY on any":       virtual.ServerTooBusy(),
	"pull-card before nth 3":                    virtual.PullCard().When(virtual.Before(), virtual.Nth(3)),
	"delay 5s apdu 00B0 always":                 virtual.Delay(5*time.Second).When(virtual.Always(), virtual.APDU(0, 0xB0)),
	"mute-card on PowerUp times 2":              virtual.MuteCard().When(virtual.Times(2), virtual.On(virtual.OpPowerUp)),
	"nothing on Connect,Transmit before":        virtual.Fault{}.When(virtual.On(virtual.OpTransmit, virtual.OpConnect), virtual.Before()),
	"stop-service on GetStatusChange nth 2 times 5": virtual.StopService().When(virtual.Times(1), virtual.Times(5), virtual.Nth(2),
		virtual.On(virtual.OpGetStatusChange)),
	"reset-card nth 1 times 1": virtual.ResetCard().When(virtual.Nth(-1), virtual.Times(0), nil),
}

func TestFaultText(t *testing.T) {
	for text, fault := range faultTexts {
		got, err := virtual.ParseFault(text)
		require.NoError(t, err, text)
		require.Equal(t, fault, got, text)
		again, err := virtual.ParseFault(fault.String())
		require.NoError(t, err, text)
		require.True(t, fault == again, "%s becomes %s", text, fault)
		loud, err := virtual.ParseFault("\t" + strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(text, "0x", "0X"), " ", "  ")) + " ")
		if !strings.HasPrefix(text, "delay") && !strings.HasPrefix(text, "restart") { // times have lower case
			require.NoError(t, err, text)
			require.Equal(t, fault, loud, text)
		}
	}
	require.Equal(t, "answer 6F00 before on Connect,Transmit apdu 00A4 nth 2 times 3",
		virtual.Answer(0x6F, 0).When(virtual.Nth(2), virtual.Times(3), virtual.APDU(0, 0xA4), virtual.Before(),
			virtual.On(virtual.OpTransmit, virtual.OpConnect)).String())
	for _, abbreviation := range []string{"sharing-violation", "server-too-busy", "comm-error"} {
		fault, err := virtual.ParseFault(abbreviation + " on Status")
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(fault.String(), " on Status"), fault)
	}
	// Unknown operations are none.
	require.Equal(t, virtual.PullCard(), virtual.PullCard().When(virtual.On("Nonsense")))
}

func TestFaultTextErrors(t *testing.T) {
	for text, message := range map[string]string{
		"":                           "it is empty: begin with one of answer, comm-error, delay",
		"explode":                    `"explode" is none of answer, comm-error, delay`,
		"pull-card now":              `"now" is no condition: before, on, apdu, nth, times and always are`,
		"pull-card 3":                `"3" is no condition`,
		"delay":                      "delay needs a time such as 5s",
		"delay soon":                 `delay: "soon" is no time such as 5s`,
		"delay -5s":                  `delay: "-5s" is no time`,
		"restart-service 5":          `restart-service: "5" is no time`,
		"fail":                       "fail needs a code such as SCARD_E_TIMEOUT",
		"fail SCARD_E_NONSENSE":      `"SCARD_E_NONSENSE" is neither the name of a code`,
		"lose 0x100000000":           "is neither the name of a code",
		"answer":                     `answer needs bytes in hexadecimal, or "none"`,
		"answer 6F0":                 `answer: "6F0" is not made of bytes in hexadecimal, without spaces`,
		"oversize":                   "oversize needs a number",
		"oversize -1":                `oversize: "-1" is no number from 0 on`,
		"pull-card on":               "on needs an operation such as Connect",
		"pull-card on Teatime":       `on: "Teatime" is no operation; any and EstablishContext`,
		"pull-card on Connect,":      `on: "" is no operation`,
		"pull-card apdu":             "apdu needs the first bytes of a command in hexadecimal",
		"pull-card apdu 0":           `apdu: "0" is not made of bytes`,
		"pull-card nth 0":            `nth: "0" is no number from 1 on`,
		"pull-card times x":          `times: "x" is no number from 1 on`,
		"pull-card times 2 always 3": `"3" is no condition`,
	} {
		f, err := virtual.ParseFault(text)
		require.ErrorContains(t, err, message, text)
		require.Zero(t, f)
	}
}

func TestFaultScript(t *testing.T) {
	faults, err := virtual.ParseFaults(strings.NewReader("# a bad day\n\ndelay 1s always # slow\n  pull-card nth 3"))
	require.NoError(t, err)
	require.Equal(t, []virtual.Fault{
		virtual.Delay(time.Second).When(virtual.Always()), virtual.PullCard().When(virtual.Nth(3)),
	}, faults)
	_, err = virtual.ParseFaults(strings.NewReader("delay 1s\n\ndelay\n"))
	require.EqualError(t, err, `virtual: line 3, fault "delay": delay needs a time such as 5s`)
	_, err = virtual.ParseFaults(strings.NewReader(strings.Repeat("x", 1<<20)))
	require.ErrorContains(t, err, "virtual: reading faults: ")
	faults, err = virtual.ParseFaults(strings.NewReader(""))
	require.NoError(t, err)
	require.Empty(t, faults)
}

// What ParseFault takes, String gives back, and nothing makes it panic.
func FuzzParseFault(f *testing.F) {
	for text := range faultTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := virtual.ParseFault(text)
		if err != nil {
			return
		}
		again, err := virtual.ParseFault(fault.String())
		require.NoError(t, err, "%q becomes %q", text, fault)
		require.True(t, fault == again, "%q becomes %q", text, fault)
	})
}

func TestParseCode(t *testing.T) {
	for text, code := range map[string]winscard.Code{
		"SCARD_S_SUCCESS":             winscard.Success,
		"scard_e_timeout":             winscard.ErrTimeout,
		"SCARD_E_UNSUPPORTED_FEATURE": winscard.ErrUnsupportedFeature, // has another value on Windows
		"ERROR_INVALID_PARAMETER":     winscard.ErrWinInvalidParameter,
		"0x80100022":                  0x80100022,
		"6":                           6,
	} {
		got, err := winscard.ParseCode(text)
		require.NoError(t, err, text)
		require.Equal(t, uint32(code), uint32(got), text)
	}
	for _, text := range []string{"", "SCARD_E", "-1", "0x180100022"} {
		_, err := winscard.ParseCode(text)
		require.Error(t, err, text)
	}
	for _, code := range []winscard.Code{winscard.ErrUnsupportedFeature, 0x80100022, 0x8010001F, 0} {
		f := virtual.Fail(code)
		got, err := virtual.ParseFault(f.String())
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
}
