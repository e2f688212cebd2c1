package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// resets counts the resets of a demo card.
type resets struct {
	*virtual.DemoCard
	n int
}

func (r *resets) Reset() { r.n++; r.DemoCard.Reset() }

func (r *resets) PowerOn()  {}
func (r *resets) PowerOff() {}

func TestStatus(t *testing.T) {
	service, reader, _ := withDemoCard()
	r := start(t.Context(), on(service), "", "status", "demo")
	require.Equal(t, result{exitOK, `reader    Demo Reader 01 00
state     present, powered, negotiable
protocol  T1
ATR       3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22: direct convention, T=0 T=1, Fi=372, Di=1, fmax 5 MHz, IFSC 32, "gopcsc demo"
events    1
`, ""}, r)

	var got statusReport
	r = start(t.Context(), on(service), "", "status", "--json", "1")
	require.Equal(t, exitOK, r.exit)
	r.decode(t, &got)
	require.Equal(t, statusReport{Readers: []string{reader.Name()}, State: []string{"present", "powered", "negotiable"},
		Card: true, Protocol: "T1", ATR: demoATR, Events: 1}, got)

	r = start(t.Context(), on(service), "", "status", "0")
	require.Equal(t, result{exitOK, "reader    Empty Reader 00 00\nstate     absent\nprotocol  undefined\nATR       none\nevents    0\n", ""}, r)
	got = statusReport{}
	start(t.Context(), on(service), "", "status", "--json", "0").decode(t, &got)
	require.Equal(t, statusReport{Readers: []string{"Empty Reader 00 00"}, State: []string{"absent"}, Protocol: "undefined"}, got)

	reader.Insert(virtual.NewCard([]byte{}, nil))
	r = start(t.Context(), on(service), "", "status", "1")
	require.Equal(t, exitOK, r.exit)
	require.Contains(t, r.stdout, "\nstate     present, swallowed\n")
}

func TestStatusErrors(t *testing.T) {
	service, reader, _ := withDemoCard()
	ctx, rc := service.EstablishContext(0)
	require.Equal(t, winscard.Success, rc)
	_, _, rc = service.Connect(ctx, reader.Name(), uint32(winscard.ShareExclusive), uint32(winscard.ProtocolAny))
	require.Equal(t, winscard.Success, rc)
	for _, test := range []struct {
		reader, want string
		exit         int
	}{
		{"1", "connecting to the card, reader \"Demo Reader 01 00\": " + pcsc.ErrSharingViolation.Error(), exitError},
		{"2", "no reader has the index 2; the highest is 1", exitNoReader},
		{"reader", `"reader" fits 2 readers`, exitNoReader},
		{"", "the reader's name is empty", exitUsage},
	} {
		for _, command := range []string{"status", "attr", "feature"} {
			r := start(t.Context(), on(service), "", command, test.reader)
			require.Equal(t, test.exit, r.exit, r.stderr)
			require.Empty(t, r.stdout)
			require.Contains(t, r.stderr, test.want)
			r = start(t.Context(), on(service), "", command, "--json", test.reader)
			require.Equal(t, test.exit, r.exit)
			require.Contains(t, r.stdout, `"error": {`)
		}
	}
	service.Stop()
	for _, command := range []string{"status", "attr", "feature"} {
		require.Equal(t, exitNoService, start(t.Context(), on(service), "", command, "0").exit)
	}
}

// A card that others share is left as it is, with its PIN verified.
func TestLeavesCard(t *testing.T) {
	service, reader, _ := withDemoCard()
	card := &resets{DemoCard: virtual.NewDemoCard()}
	reader.Insert(card)
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	require.NoError(t, err)
	defer pc.Close()
	other, err := pc.Connect(t.Context(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolT0)
	require.NoError(t, err)
	defer other.Close()
	aid := virtual.DemoAID()
	_, err = other.Transmit(t.Context(), append([]byte{0, 0xA4, 4, 0, byte(len(aid))}, aid...))
	require.NoError(t, err)
	before := card.n
	for _, args := range [][]string{{"status", "1"}, {"attr", "1"}, {"attr", "1", "vendor-name"}, {"feature", "1"}, {"atr", "1"}} {
		r := start(t.Context(), on(service), "", args...)
		require.Equal(t, exitOK, r.exit, r.stderr)
		response, err := other.Transmit(t.Context(), []byte{0, 0xCA, 0x5F, 0x20, 0})
		require.NoError(t, err, args)
		_, sw := split(response)
		require.True(t, succeeded(sw), "the selection is gone after %v", args)
	}
	require.Equal(t, before, card.n)
	r := start(t.Context(), on(service), "", "status", "1")
	require.Contains(t, r.stdout, "protocol  T0\n")
}

// A program whose time is over while another holds a transaction does not reset the card either.
func TestLeavesCardAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, reader, _ := withDemoCard()
		card := &resets{DemoCard: virtual.NewDemoCard()}
		reader.Insert(card)
		ctx, rc := service.EstablishContext(0)
		require.Equal(t, winscard.Success, rc)
		other, _, rc := service.Connect(ctx, reader.Name(), uint32(winscard.ShareShared), uint32(winscard.ProtocolAny))
		require.Equal(t, winscard.Success, rc)
		before := card.n

		busy := &statusHook{Backend: service, before: func() {
			require.Equal(t, winscard.Success, service.BeginTransaction(other))
		}}
		time.AfterFunc(3600*time.Millisecond, func() { service.EndTransaction(other, uint32(winscard.LeaveCard)) })
		r := start(t.Context(), env{options: []pcsc.Option{pcsc.WithBackend(busy)}}, "", "status", "--timeout", "3s", "1")
		require.Equal(t, exitTimeout, r.exit)
		require.Contains(t, r.stderr, ": out of time\n")
		time.Sleep(time.Minute)
		require.Equal(t, before, card.n)
		require.Equal(t, winscard.Success, service.ReleaseContext(ctx))
	})
}

// statusHook is a service where something happens before the first call of Status.
type statusHook struct {
	winscard.Backend
	before func()
	calls  int
}

func (s *statusHook) Status(card winscard.Card, readers, atr []byte) (int, uint32, uint32, int, winscard.Code) {
	if s.calls++; s.calls == 1 {
		s.before()
	}
	return s.Backend.Status(card, readers, atr)
}

// A card that is reset, removed or swapped in between is looked at again.
func TestStatusAgain(t *testing.T) {
	for name, happens := range map[string]func(*virtual.Service, *virtual.Reader){
		"removed": func(_ *virtual.Service, r *virtual.Reader) { r.Remove() },
		"swapped": func(_ *virtual.Service, r *virtual.Reader) { r.Insert(virtual.NewDemoCard()) },
		"reset": func(s *virtual.Service, r *virtual.Reader) {
			ctx, _ := s.EstablishContext(0)
			card, _, _ := s.Connect(ctx, r.Name(), uint32(winscard.ShareShared), uint32(winscard.ProtocolAny))
			s.Disconnect(card, uint32(winscard.ResetCard))
			s.ReleaseContext(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			service, reader, _ := withDemoCard()
			hook := &statusHook{Backend: service, before: func() { happens(service, reader) }}
			var got statusReport
			r := start(t.Context(), env{options: []pcsc.Option{pcsc.WithBackend(hook)}}, "", "status", "--json", "1")
			require.Equal(t, exitOK, r.exit, r.stdout)
			r.decode(t, &got)
			require.Equal(t, name != "removed", got.Card)
			require.Equal(t, 2, hook.calls)
		})
	}
}

func TestLasting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	require.True(t, lasting(ctx, &pcsc.Error{Code: pcsc.ErrNotTransacted}))
	require.True(t, lasting(ctx, &pcsc.Error{Code: pcsc.ErrUnsupportedFeature}))
	for _, code := range []pcsc.Code{pcsc.ErrResetCard, pcsc.ErrRemovedCard, pcsc.ErrNoService, pcsc.ErrTimeout, pcsc.ErrReaderUnavailable} {
		require.False(t, lasting(ctx, &pcsc.Error{Code: code}))
	}
	cancel()
	require.False(t, lasting(ctx, &pcsc.Error{Code: pcsc.ErrNotTransacted}))
	require.Equal(t, "x", answered(errors.New("x")))
	require.Equal(t, "y", answered(&pcsc.Error{Detail: "y"}))
	require.Equal(t, "unknown PC/SC error 0xDEADBEEF", answered(&pcsc.Error{Code: 0xDEADBEEF}))
}
