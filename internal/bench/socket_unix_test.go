//go:build unix

package bench

import (
	"context"
	"fmt"
	"os/exec"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/cstub"
	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// socket measures the virtual service: the C program, and so libpcsclite, talks to it on its socket, and to pcscd. It
// makes sure that both answer the same.
//
// What a call costs on pcscd is also up to the driver. vpcd's asks the card over TCP, that is, in a third process, which
// is this one. So there is a second reader, whose driver is the card.
func socket(t *testing.T, r runner) {
	const first, second = "Virtual Reader A", "PIN Pad"
	program := cstub.BuildBench(t)

	var asked [2]atomic.Int64 // commands that got to the card, by service
	card := func(n *atomic.Int64) func([]byte) []byte {
		return func([]byte) []byte { n.Add(1); return []byte{0x90, 0x00} }
	}
	pcscd := pcscdtest.Start(t, pcscdtest.WithNames(first), pcscdtest.WithDriver(ifdtest.Build(t), second))
	pcscd.Insert(0, pcscdtest.NewCard(nil, card(&asked[0])))

	service := virtual.New()
	for _, name := range []string{first, second} {
		service.AddReader(name).Insert(virtual.NewCard(pcscdtest.DefaultATR(), card(&asked[1])))
	}
	l, err := virtual.Listen("")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- service.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-served, context.Canceled)
	})

	names := pcscd.Readers()
	require.Len(t, names, 2)
	vpcd := &worker{name: "pcscd+vpcd", program: program, c: true, reader: names[0]}
	driver := &worker{name: "pcscd+driver", program: program, c: true, reader: names[1]}
	ours := &worker{name: "virtual", program: program, c: true, reader: names[0], env: []string{l.Env()}}

	answers := func(w *worker) string {
		t.Helper()
		cmd := exec.Command(w.program, "answers", "1", w.reader)
		cmd.Env = environment(w.env...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", w.name, out)
		return string(out)
	}
	want := fmt.Sprintf("transmit 9000\nstatus %s, state 0x34, protocol 2\nATR %[2]X\ngetstatuschange 0x122\nATR %[2]X\n",
		names[0], pcscdtest.DefaultATR())
	require.Equal(t, want, answers(vpcd))
	require.Equal(t, want, answers(ours))
	require.Contains(t, answers(driver), "transmit 6D00\n")
	require.EqualValues(t, 1, asked[0].Load())
	require.EqualValues(t, 1, asked[1].Load())

	r.workers = []*worker{vpcd, driver, ours}
	results, err := r.measure(place{name: "socket", unit: time.Microsecond}, []Operation{
		{Name: "Transmit", CMode: "transmit"},
		{Name: "Status", CMode: "status"},
		{Name: "GetStatusChange", CMode: "getstatuschange"},
		{Name: "Session", CMode: "session"},
	})
	require.NoError(t, err)
	require.NoError(t, r.printSocket(results))
	// As many for the first estimate, at least.
	require.Greater(t, asked[0].Load(), int64(200))
	require.Greater(t, asked[1].Load(), int64(200))
	require.Equal(t, want, answers(vpcd))
	require.Equal(t, want, answers(ours))
}

// printSocket writes the table of the services; the last worker's is the virtual one.
func (r *runner) printSocket(results []result) error {
	others := r.workers[:len(r.workers)-1]
	fmt.Fprintf(r.out, "\nOn the virtual service's socket and on pcscd's, for a C program, microseconds; medians of %d rounds;\n"+
		"x is the ratio of the virtual service to this one; Transmit alone gets to the card\n\n", r.rounds)
	tab := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tab, "call           \tvirtual\tper second\t")
	for _, w := range others {
		fmt.Fprintf(tab, "%s\tper second\tx\t", w.name)
	}
	fmt.Fprintln(tab)
	for _, row := range results {
		ours := row.medians[len(others)].Nanoseconds
		fmt.Fprintf(tab, "%-15s\t%.1f\t%.0f\t", row.op.Name, ours/1e3, 1e9/ours)
		for i := range others {
			theirs := row.medians[i].Nanoseconds
			fmt.Fprintf(tab, "%.1f\t%.0f\t%.2f\t", theirs/1e3, 1e9/theirs, ours/theirs)
		}
		fmt.Fprintln(tab)
	}
	return tab.Flush()
}
