package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	// The workers are built from these. Imported, they make go test run again when they have changed.
	_ "github.com/gopcsc/gopcsc/backend_cgo"
	_ "github.com/gopcsc/gopcsc/backend_purego"
	"github.com/gopcsc/gopcsc/internal/cstub"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

var (
	flagTable  = flag.Bool("bench-table", false, "measure for real and print the table")
	flagRounds = flag.Int("bench-rounds", 7, "rounds of the table")
	flagTime   = flag.Duration("bench-time", defaultTime, "how long each measurement of the table takes")
	flagLines  = flag.String("bench-lines", "", "write every measurement of the table to this `file` as a line of Go benchmarks")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if *flagTable {
		// Both this and what follows hold for the program that Prepare executes too. The thread that is pinned has to
		// be the one that does that.
		runtime.LockOSThread()
		if err := pin(); err != nil {
			fmt.Fprintf(os.Stderr, "The figures are of little use, as the processes are not pinned to one CPU: %v\n", err)
		}
	}
	stub := benchmarkStub()
	pcscdtest.Prepare()
	runtime.UnlockOSThread()
	if stub != "" {
		defer os.RemoveAll(stub)
	}
	defer func() {
		if workersDir != "" {
			_ = os.RemoveAll(workersDir)
		}
	}()
	return cstub.Main(m)
}

// stubEnv says where the stub library for the benchmarks is, and which process
// has made it: children inherit the variable, the folder is not theirs.
const stubEnv = "BENCH_STUB"

// benchmarkStub makes a program that is linked with the PC/SC library find the
// stub library instead, for its benchmarks. The loader looks only once, when the
// program starts, so this is to be called before [pcscdtest.Prepare] starts it
// again. It returns the stub's folder.
func benchmarkStub() string {
	f := flag.Lookup("test.bench")
	if BackendName != "cgo" || f == nil || f.Value.String() == "" {
		return ""
	}
	mark := fmt.Sprintf("%d:", os.Getpid())
	if dir, ok := strings.CutPrefix(os.Getenv(stubEnv), mark); ok {
		return dir
	}
	dir, err := os.MkdirTemp("", "bench-stub-")
	if err == nil {
		_, err = cstub.Compile(dir)
	}
	if err == nil {
		err = os.Setenv("LD_LIBRARY_PATH", dir)
	}
	if err == nil {
		err = os.Setenv(stubEnv, mark+dir)
	}
	if err != nil {
		// The benchmarks will see that they have the wrong library.
		fmt.Fprintf(os.Stderr, "no stub library: %v\n", err)
	}
	return dir
}

// workersDir is where [buildWorkers] put them.
var workersDir string

// buildWorkers builds the worker for both backends; where go builds without cgo,
// for purego alone.
var buildWorkers = sync.OnceValues(func() (workers []*worker, err error) {
	if workersDir, err = os.MkdirTemp("", "bench-workers-"); err != nil {
		return nil, err
	}
	enabled, err := exec.Command("go", "env", "CGO_ENABLED").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	for _, w := range []struct{ name, cgo, tags string }{
		{name: "cgo", cgo: "1"},
		// Without cgo, as that is what this backend is there for.
		{name: "purego", cgo: "0", tags: "pcsc_purego"},
	} {
		if w.cgo == "1" && strings.TrimSpace(string(enabled)) != "1" {
			continue
		}
		program := filepath.Join(workersDir, w.name)
		build := exec.Command("go", "build", "-o", program, "-tags="+w.tags, "-race=false", "-buildvcs=false", "./worker")
		build.Env = environment("CGO_ENABLED=" + w.cgo)
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building the worker for %s: %w\n%s", w.name, err, out)
		}
		workers = append(workers, &worker{name: w.name, program: program, dlopen: w.name == "purego"})
	}
	return workers, nil
})

// environment is this process's, without what decides about the library, and
// with the variables given.
func environment(variables ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "LD_LIBRARY_PATH", "PCSC_LIBRARY", stubEnv:
		default:
			env = append(env, kv)
		}
	}
	return append(env, variables...)
}
