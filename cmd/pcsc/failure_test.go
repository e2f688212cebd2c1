package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		err  error
		exit int
		what string
	}{
		{errors.New("x"), exitError, "x"},
		{context.Canceled, exitTimeout, "interrupted"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), exitTimeout, "out of time"},
		{noReader(), exitNoReader, "there is no reader"},
		{&pcsc.Error{Op: "SCardTransmit", Reader: "R", Code: pcsc.ErrRemovedCard}, exitNoCard,
			`sending an APDU, reader "R": the card was removed (SCARD_W_REMOVED_CARD)`},
		{&pcsc.Error{Op: "SCardConnect", Code: pcsc.ErrNoSmartcard}, exitNoCard,
			"connecting to the card: there is no card in the reader (SCARD_E_NO_SMARTCARD)"},
		{&pcsc.Error{Op: "SCardEstablishContext", Code: pcsc.ErrNoService}, exitNoService, ""},
		{&pcsc.Error{Op: "SCardEstablishContext", Code: pcsc.ErrWinServiceNotActive}, exitNoService, ""},
		{&pcsc.Error{Op: "SCardEstablishContext", Code: pcsc.ErrUnavailable}, exitNoService, ""},
		{&pcsc.Error{Op: "SCardConnect", Code: pcsc.ErrUnknownReader}, exitNoReader, ""},
		{&pcsc.Error{Op: "SCardTransmit", Code: pcsc.ErrWinDeviceRemoved}, exitNoReader, ""},
		{&pcsc.Error{Op: "SCardConnect", Code: pcsc.ErrUnpoweredCard}, exitNoCard, ""},
		{&pcsc.Error{Op: "SCardGetStatusChange", Code: pcsc.ErrTimeout}, exitTimeout,
			"asking for the state of the readers: out of time"},
		{&pcsc.Error{Op: "SCardNew", Code: 0xDEADBEEF}, exitError, "SCardNew: unknown PC/SC error 0xDEADBEEF"},
		{&pcsc.Error{}, exitError, ": success (SCARD_S_SUCCESS)"},
	} {
		f := explain(test.err)
		require.Equal(t, test.exit, f.exit, "%v", test.err)
		if test.what != "" {
			require.Equal(t, test.what, f.what)
		}
		require.Equal(t, f.what, f.json().Message)
	}
}

func TestExplainHint(t *testing.T) {
	require.Equal(t, "insert a card", explain(&pcsc.Error{Code: pcsc.ErrNoSmartcard}).todo)
	require.Equal(t, pcsc.ErrSharingViolation.Hint(), explain(&pcsc.Error{Code: pcsc.ErrSharingViolation}).todo)
	require.Equal(t, "why", explain(&pcsc.Error{Code: pcsc.ErrNoSmartcard, Detail: "why"}).todo)
}
