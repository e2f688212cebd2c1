package bench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A worker is a program that measures one operation.
type worker struct {
	name    string
	program string
	dlopen  bool     // is told the library by name; others find it in LD_LIBRARY_PATH
	c       bool     // is the C program
	env     []string // in addition
	reader  string   // for the C program; by default it takes the first
}

// A place is where operations are measured.
type place struct {
	name string
	// library is the library to use, "" for the standard one.
	library string
	unit    time.Duration
}

// measure does the operation n times in a process of its own.
func (w *worker) measure(where place, op Operation, n int) (Measurement, error) {
	env := environment()
	var arguments []string
	switch {
	case where.library == "":
	case w.dlopen:
		arguments = append(arguments, "-library", where.library)
	default:
		env = append(env, "LD_LIBRARY_PATH="+filepath.Dir(where.library))
	}
	name := op.Name
	if w.c {
		name = op.CMode
	}
	arguments = append(arguments, name, strconv.Itoa(n))
	if w.reader != "" {
		arguments = append(arguments, w.reader)
	}
	return measurement(name, append(env, w.env...), w.program, arguments...)
}

// patience is for a process that hangs.
const patience = time.Minute

// measurement runs a program that prints what the operation name costs.
func measurement(name string, env []string, program string, arguments ...string) (m Measurement, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Env = env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return m, fmt.Errorf("%s: %w\n%s", cmd, err, &stderr)
	}
	fields := strings.Fields(stdout.String())
	if len(fields) != 2 && len(fields) != 4 || fields[0] != name {
		return m, fmt.Errorf("%s: unexpected output %q", cmd, &stdout)
	}
	if m.Nanoseconds, err = strconv.ParseFloat(fields[1], 64); err != nil || len(fields) == 2 {
		return m, err
	}
	if m.Allocations, err = strconv.Atoi(fields[2]); err != nil {
		return m, err
	}
	m.Bytes, err = strconv.Atoi(fields[3])
	return m, err
}
