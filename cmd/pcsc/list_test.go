package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestList(t *testing.T) {
	service, reader, _ := withDemoCard()
	service.AddReader("Mute").Insert(virtual.NewCard([]byte{}, nil))
	r := start(t.Context(), on(service), "", "list")
	require.Equal(t, result{exitOK, `0: Empty Reader 00 00
   no card
1: Demo Reader 01 00
   card
   ATR 3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22
2: Mute 02 00
   card that does not answer
`, ""}, r)

	ctx, rc := service.EstablishContext(0)
	require.Equal(t, winscard.Success, rc)
	_, _, rc = service.Connect(ctx, reader.Name(), uint32(winscard.ShareExclusive), uint32(winscard.ProtocolAny))
	require.Equal(t, winscard.Success, rc)
	r = start(t.Context(), on(service), "", "list", "--json")
	require.Equal(t, exitOK, r.exit)
	var got listReport
	r.decode(t, &got)
	require.Equal(t, []jsonReader{
		{0, "Empty Reader 00 00", []string{"empty"}, false, 0, ""},
		{1, "Demo Reader 01 00", []string{"present", "exclusive"}, true, 1, "3B8B8001676F706373632064656D6F22"},
		{2, "Mute 02 00", []string{"present", "mute"}, true, 1, ""},
	}, got.Readers)
	require.Nil(t, got.Error)
}

func TestListMany(t *testing.T) {
	service := virtual.New()
	for range 16 {
		service.AddReader("R")
	}
	r := start(t.Context(), on(service), "", "list", "--json")
	require.Equal(t, exitOK, r.exit)
	var got listReport
	r.decode(t, &got)
	require.Len(t, got.Readers, 16)
	require.Equal(t, 15, got.Readers[15].Index)
	require.Equal(t, "R 0F 00", got.Readers[15].Name)
}

func TestListNothing(t *testing.T) {
	service := virtual.New()
	r := start(t.Context(), on(service), "", "list")
	require.Equal(t, exitNoReader, r.exit)
	require.Empty(t, r.stdout)
	require.Contains(t, r.stderr, "pcsc: there is no reader\n  plug in a reader")

	r = start(t.Context(), on(service), "", "list", "--json")
	require.Equal(t, exitNoReader, r.exit)
	var got listReport
	r.decode(t, &got)
	require.Equal(t, []jsonReader{}, got.Readers)
	require.Equal(t, exitNoReader, got.Error.Exit)

	service.Stop()
	r = start(t.Context(), on(service), "", "list")
	require.Equal(t, exitNoService, r.exit)
	require.Contains(t, r.stderr, "the smart card service is not running (SCARD_E_NO_SERVICE)\n  start it: ")
	r = start(t.Context(), on(service), "", "list", "--json")
	got = listReport{}
	r.decode(t, &got)
	require.Equal(t, exitNoService, got.Error.Exit)
	require.Equal(t, "SCardEstablishContext", got.Error.Function)
	require.Equal(t, "SCARD_E_NO_SERVICE", got.Error.Code)
	require.Equal(t, "0x8010001D", got.Error.Value)
}

// hanging is a service that does not answer.
type hanging struct {
	winscard.Unimplemented
	end chan struct{}
}

func (h *hanging) EstablishContext(uint32) (winscard.Context, winscard.Code) {
	<-h.end
	return 0, winscard.ErrNoService
}

func TestHangingService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &hanging{end: make(chan struct{})}
		defer close(service.end)
		env := env{options: []pcsc.Option{pcsc.WithBackend(service)}}
		began := time.Now()
		r := start(t.Context(), env, "", "list", "--timeout", "3s")
		require.Equal(t, result{exitTimeout, "", "pcsc: contacting the smart card service: out of time\n"}, r)
		require.Equal(t, 3*time.Second, time.Since(began))

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		r = start(ctx, env, "", "list")
		require.Equal(t, result{exitTimeout, "", "pcsc: contacting the smart card service: interrupted\n"}, r)

		r = start(t.Context(), env, "", "version")
		require.Equal(t, exitOK, r.exit)
	})
}
