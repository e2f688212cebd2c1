package iso7816_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

func TestStatusText(t *testing.T) {
	for sw, want := range map[iso7816.StatusWord]string{
		0x9000: "success (9000)",
		0x6110: "success, and at least 16 more bytes are available (6110)",
		0x6100: "success, and at least 256 more bytes are available (6100)",
		0x6200: "warning, non-volatile memory is unchanged (6200)",
		0x6201: "warning, non-volatile memory is unchanged (6201)",
		0x6202: "warning, the card wants to be asked (query of 2 bytes) (6202)",
		0x6280: "warning, the card wants to be asked (query of 128 bytes) (6280)",
		0x6281: "part of the returned data may be corrupted (6281)",
		0x63C0: "the counter is at 0 (63C0)",
		0x63C3: "the counter is at 3 (63C3)",
		0x6A82: "file or application not found (6A82)",
		0x6AFF: "wrong parameters (6AFF)",
		0x6C00: "wrong Le, 256 bytes are available (6C00)",
		0x6C1A: "wrong Le, 26 bytes are available (6C1A)",
		0x6F42: "status word that ISO/IEC 7816-4 does not define (6F42)",
		0x9100: "status word that ISO/IEC 7816-4 does not define (9100)",
		0x0000: "status word that ISO/IEC 7816-4 does not define (0000)",
	} {
		require.Equal(t, want, sw.Error())
	}
	require.Equal(t, "6A82", iso7816.ErrFileNotFound.String())
	require.Equal(t, "file or application not found", iso7816.ErrFileNotFound.Text())
	require.Equal(t, "6A82 6a82 27266", fmt.Sprintf("%04X %x %d", iso7816.ErrFileNotFound, iso7816.ErrFileNotFound, iso7816.ErrFileNotFound))
	require.Equal(t, `wrong length (6700) "wrong length (6700)"`, fmt.Sprintf("%v %q", iso7816.ErrWrongLength, iso7816.ErrWrongLength))
	require.Empty(t, iso7816.StatusWord(0x6042).Text())
	require.Equal(t, byte(0x6A), iso7816.ErrFileNotFound.SW1())
	require.Equal(t, byte(0x82), iso7816.ErrFileNotFound.SW2())
}

// Every status word has a text of one line, without what is left of a number.
func TestStatusTextOfAll(t *testing.T) {
	for v := range 0x10000 {
		sw := iso7816.StatusWord(v)
		text := sw.Error()
		require.False(t, strings.ContainsAny(text, "{}\n"), text)
		require.True(t, strings.HasSuffix(text, fmt.Sprintf(" (%04X)", v)), text)
		require.True(t, errors.Is(sw, sw))
		if sw.Text() == "" {
			require.Equal(t, iso7816.ClassUnknown, sw.Class())
			require.False(t, sw.IsSuccess())
		}
	}
}

func TestStatusClass(t *testing.T) {
	for sw, want := range map[iso7816.StatusWord]iso7816.StatusClass{
		0x9000: iso7816.ClassNormal, 0x61FF: iso7816.ClassNormal,
		0x6200: iso7816.ClassWarning, 0x6282: iso7816.ClassWarning, 0x63C1: iso7816.ClassWarning, 0x63FF: iso7816.ClassWarning,
		0x6400: iso7816.ClassExecution, 0x6581: iso7816.ClassExecution, 0x66AA: iso7816.ClassExecution,
		0x6700: iso7816.ClassChecking, 0x6982: iso7816.ClassChecking, 0x69FE: iso7816.ClassChecking, 0x6C10: iso7816.ClassChecking,
		0x6B00: iso7816.ClassChecking, 0x6D00: iso7816.ClassChecking, 0x6E00: iso7816.ClassChecking, 0x6F00: iso7816.ClassChecking,
		0x6799: iso7816.ClassUnknown, 0x6B01: iso7816.ClassUnknown, 0x9001: iso7816.ClassUnknown, 0x6000: iso7816.ClassUnknown,
	} {
		require.Equal(t, want, sw.Class(), "%v", sw)
		require.Equal(t, want == iso7816.ClassNormal, sw.IsSuccess(), "%v", sw)
		require.Equal(t, want == iso7816.ClassWarning, sw.IsWarning(), "%v", sw)
		require.Equal(t, want == iso7816.ClassExecution, sw.IsExecutionError(), "%v", sw)
		require.Equal(t, want == iso7816.ClassChecking, sw.IsCheckingError(), "%v", sw)
	}
	var names []string
	for c := iso7816.ClassUnknown; c <= iso7816.ClassChecking+1; c++ {
		names = append(names, c.String())
	}
	require.Equal(t, []string{"unknown", "normal", "warning", "execution error", "checking error", "unknown"}, names)
}

func TestStatusIs(t *testing.T) {
	for _, c := range []struct {
		sw   iso7816.StatusWord
		is   []error
		isnt []error
	}{
		{0x6982, []error{iso7816.ErrSecurityStatusNotSatisfied, iso7816.ErrCommandNotAllowed},
			[]error{iso7816.ErrAuthenticationBlocked, iso7816.ErrWrongParameters, errors.ErrUnsupported}},
		{0x6700, []error{iso7816.ErrWrongLength}, []error{iso7816.ErrWrongLe}},
		{0x6702, []error{iso7816.ErrWrongLength, iso7816.ErrUnexpectedLc}, []error{iso7816.ErrWrongFormat}},
		{0x6C10, []error{iso7816.ErrWrongLength, iso7816.ErrWrongLe}, []error{iso7816.ErrUnexpectedLc}},
		{0x6A82, []error{iso7816.ErrFileNotFound, iso7816.ErrWrongParameters}, []error{iso7816.ErrRecordNotFound}},
		{0x6B00, []error{iso7816.ErrWrongP1P2, iso7816.ErrWrongParameters}, []error{iso7816.ErrIncorrectP1P2}},
		{0x63C2, []error{iso7816.ErrCounter, iso7816.ErrWarningChanged}, []error{iso7816.StatusWord(0x63C1), iso7816.ErrFileFilled}},
		{0x6250, []error{iso7816.ErrWarningTriggered, iso7816.ErrWarningUnchanged}, []error{iso7816.ErrEndOfFile}},
		{0x6A00, []error{iso7816.ErrWrongParameters}, []error{iso7816.ErrFileNotFound}},
		{0x6D00, []error{iso7816.ErrInstructionNotSupported, errors.ErrUnsupported}, nil},
		{0x6883, []error{iso7816.ErrLastCommandExpected, iso7816.ErrClassFunctionNotSupported}, []error{errors.ErrUnsupported}},
		{0x6884, []error{iso7816.ErrChainingNotSupported, iso7816.ErrClassFunctionNotSupported, errors.ErrUnsupported}, nil},
		{0x6F42, []error{iso7816.StatusWord(0x6F42)}, []error{iso7816.ErrNoDiagnosis}},
	} {
		wrapped := fmt.Errorf("wrapped: %w", &iso7816.Error{Err: c.sw})
		for _, target := range c.is {
			require.ErrorIs(t, wrapped, target, "%v", c.sw)
		}
		for _, target := range c.isnt {
			require.NotErrorIs(t, wrapped, target, "%v", c.sw)
		}
		var sw iso7816.StatusWord
		require.ErrorAs(t, wrapped, &sw)
		require.Equal(t, c.sw, sw)
	}
}

func TestTriesLeft(t *testing.T) {
	for sw, want := range map[iso7816.StatusWord]int{
		0x63C0: 0, 0x63C3: 3, 0x63CF: 15, 0x6983: 0, 0x6300: -1, 0x63D0: -1, 0x6982: -1, 0x9000: -1,
	} {
		n, ok := sw.TriesLeft()
		require.Equal(t, want >= 0, ok, "%v", sw)
		require.Equal(t, max(want, 0), n, "%v", sw)
	}
}

func TestAvailable(t *testing.T) {
	for sw, want := range map[iso7816.StatusWord]int{0x6101: 1, 0x6100: 256, 0x6C00: 256, 0x6CFF: 255, 0x9000: 0, 0x6A10: 0} {
		n, ok := sw.Available()
		require.Equal(t, want > 0, ok, "%v", sw)
		require.Equal(t, want, n, "%v", sw)
	}
}
