package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/cstub"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// defaultTime is how long one measurement takes. The processes take turns, so
// that short ones are the better.
const defaultTime = 100 * time.Millisecond

// aims are what the figures should be, by place and operation. They are printed
// and never asserted.
var aims = map[string]string{
	"instant Backend.Transmit":          "cgo <= 30 ns, purego <= 70 ns",
	"service Backend.Transmit":          "<= 1.1 x C",
	"service Backend.Transmit/Yielding": "<= 1.1 x C",
	"service Backend.Session":           "<= 1.1 x C",
	"service TransmitAppend":            "<= 1.1 x C",
	"service Transmit":                  "<= 1.1 x C",
}

// TestTable prints the table, with -bench-table. Without, it makes sure that it
// could.
func TestTable(t *testing.T) {
	cstub.Build(t)
	workers, err := buildWorkers()
	require.NoError(t, err)
	c := &worker{name: "C", program: cstub.BuildBench(t), c: true}
	r := &runner{workers: append([]*worker{c}, workers...), rounds: *flagRounds, time: *flagTime, out: os.Stdout, lines: io.Discard}
	if !*flagTable {
		r.rounds, r.time, r.out = 1, time.Millisecond, io.Discard
	}
	if *flagLines != "" {
		f, err := os.Create(*flagLines)
		require.NoError(t, err)
		lines := bufio.NewWriter(f)
		defer func() {
			require.NoError(t, lines.Flush())
			require.NoError(t, f.Close())
		}()
		r.lines = lines
		fmt.Fprintf(r.lines, "goos: %s\ngoarch: %s\npkg: github.com/gopcsc/gopcsc/internal/bench\n", runtime.GOOS, runtime.GOARCH)
	}

	t.Run("Instant", func(t *testing.T) {
		instant := place{name: "instant", library: cstub.BuildInstant(t), unit: time.Nanosecond}
		results, err := r.measure(instant, operations(instant))
		require.NoError(t, err)
		require.NoError(t, r.print("On a library that returns at once, nanoseconds", instant, results))
	})
	t.Run("Stub", func(t *testing.T) {
		stub := place{name: "stub", library: cstub.Build(t), unit: time.Nanosecond}
		results, err := r.measure(stub, operations(stub))
		require.NoError(t, err)
		require.NoError(t, r.print("On the stub library, which checks its arguments, nanoseconds", stub, results))
	})
	t.Run("Service", func(t *testing.T) {
		service := pcscdtest.Start(t)
		service.Insert(0, pcscdtest.NewCard(nil, func([]byte) []byte { return []byte{0x90, 0x00} }))
		there := place{name: "service", unit: time.Microsecond}
		results, err := r.measure(there, operations(there))
		require.NoError(t, err)
		first, err := r.measureFirst(there, compileFirst(t))
		require.NoError(t, err)
		require.NoError(t, r.print("On pcscd with a virtual card, microseconds", there, append(results, first)))
	})
	t.Run("Socket", func(t *testing.T) { socket(t, *r) })
}

// runner measures and prints.
type runner struct {
	workers []*worker // the first is C
	rounds  int
	time    time.Duration
	out     io.Writer
	lines   io.Writer
}

// A result is a row of the table.
type result struct {
	op      Operation
	medians []Measurement // by worker
}

// operations are those that are measured in a place.
func operations(where place) (ops []Operation) {
	for _, op := range Operations() {
		if !op.StubOnly && (op.Instant || where.name != "instant") {
			ops = append(ops, op)
		}
	}
	return ops
}

// measure lets the workers do all operations, in turns.
func (r *runner) measure(where place, ops []Operation) ([]result, error) {
	// How often makes the wanted time? C does each mode once for all operations that are compared with it.
	type task struct {
		*worker
		name string
	}
	key := func(w *worker, op Operation) task {
		if w.c {
			return task{w, op.CMode}
		}
		return task{w, op.Name}
	}
	times := map[task]int{}
	samples := map[task][]Measurement{}
	for _, op := range ops {
		for _, w := range r.workers {
			const few = 200
			m, err := w.measure(where, op, few)
			if err != nil {
				return nil, err
			}
			// Few calls are slow calls: that is right for a first estimate only.
			n := max(few, int(float64(r.time)/m.Nanoseconds))
			if m, err = w.measure(where, op, n/10+1); err != nil {
				return nil, err
			}
			times[key(w, op)] = max(few, int(float64(r.time)/m.Nanoseconds))
		}
	}
	for round := range r.rounds {
		for _, op := range ops {
			for _, w := range r.workers {
				k := key(w, op)
				if len(samples[k]) > round {
					continue
				}
				m, err := w.measure(where, op, times[k])
				if err != nil {
					return nil, err
				}
				samples[k] = append(samples[k], m)
			}
		}
	}
	var results []result
	for _, op := range ops {
		row := result{op: op}
		for _, w := range r.workers {
			k := key(w, op)
			row.medians = append(row.medians, median(samples[k]))
			r.write(where, op, w, times[k], samples[k])
		}
		results = append(results, row)
	}
	return results, nil
}

// measureFirst measures the time from the start of a process to its first list
// of readers.
func (r *runner) measureFirst(where place, start string) (result, error) {
	// A start is a matter of a millisecond.
	perRound := max(1, int(r.time/(5*time.Millisecond)))
	row := result{op: Operation{Name: "Start and list"}}
	samples := make([][]Measurement, len(r.workers))
	for range perRound * r.rounds {
		for i, w := range r.workers {
			arguments := []string{w.program, "-first"}
			if w.c {
				arguments = []string{start}
			}
			m, err := measurement("first", environment(), start, arguments...)
			if err != nil {
				return row, err
			}
			samples[i] = append(samples[i], m)
		}
	}
	for i, w := range r.workers {
		row.medians = append(row.medians, median(samples[i]))
		r.write(where, row.op, w, 1, samples[i])
	}
	return row, nil
}

func median(samples []Measurement) Measurement {
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b Measurement) int {
		switch {
		case a.Nanoseconds < b.Nanoseconds:
			return -1
		case a.Nanoseconds > b.Nanoseconds:
			return 1
		}
		return 0
	})
	return sorted[len(sorted)/2]
}

// write writes measurements as Go's benchmarks do. Those of C are there once for
// each operation that is compared with it, under the operation's name.
func (r *runner) write(where place, op Operation, w *worker, n int, samples []Measurement) {
	title := strings.ToUpper(where.name[:1]) + where.name[1:]
	name := strings.NewReplacer("/", "-", " ", "-").Replace(op.Name)
	for _, m := range samples {
		fmt.Fprintf(r.lines, "Benchmark%s/op=%s/impl=%s\t%d\t%.1f ns/op", title, name, w.name, n, m.Nanoseconds)
		if !w.c {
			fmt.Fprintf(r.lines, "\t%d B/op\t%d allocs/op", m.Bytes, m.Allocations)
		}
		fmt.Fprintln(r.lines)
	}
}

// print writes the table of one place.
func (r *runner) print(title string, where place, results []result) error {
	fmt.Fprintf(r.out, "\n%s; medians of %d rounds; x is the ratio to C\n\n", title, r.rounds)
	// Numbers are aligned to the right, and so is all else: the names bring their own padding.
	width := len("operation")
	for _, row := range results {
		width = max(width, len(row.op.Name))
	}
	tab := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tab, "%-*s\t", width, "operation")
	for _, w := range r.workers {
		fmt.Fprintf(tab, "%s\t", w.name)
		if !w.c {
			fmt.Fprint(tab, "x\tallocs\tbytes\t")
		}
	}
	fmt.Fprintln(tab, "  aim")
	for _, row := range results {
		fmt.Fprintf(tab, "%-*s\t", width, row.op.Name)
		c := row.medians[0].Nanoseconds
		for i, w := range r.workers {
			m := row.medians[i]
			fmt.Fprintf(tab, "%.1f\t", m.Nanoseconds/float64(where.unit))
			if !w.c {
				fmt.Fprintf(tab, "%.2f\t%d\t%d\t", m.Nanoseconds/c, m.Allocations, m.Bytes)
			}
		}
		fmt.Fprintf(tab, "  %s\n", aims[where.name+" "+row.op.Name])
	}
	return tab.Flush()
}

// compileFirst compiles the C program that measures the start of processes. It
// is linked against the stub library, which is there for sure, and will find the
// standard one when it runs.
func compileFirst(t *testing.T) string {
	t.Helper()
	cc := strings.Fields(os.Getenv("CC"))
	if len(cc) == 0 {
		cc = []string{"gcc"}
		if runtime.GOARCH == "386" {
			cc = append(cc, "-m32")
		}
	}
	include := []string{"-I/usr/include/PCSC"}
	if out, err := exec.Command("pkg-config", "--cflags", "libpcsclite").Output(); err == nil {
		include = strings.Fields(string(out))
	}
	program := filepath.Join(t.TempDir(), "first")
	arguments := slices.Concat(cc[1:], include, []string{"-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program,
		filepath.Join("testdata", "first.c"), "-L" + filepath.Dir(cstub.Build(t)), "-lpcsclite"})
	out, err := exec.Command(cc[0], arguments...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}
