//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A result is one row of the matrix: a suite on a platform with a backend.
type result struct {
	Platform string  `json:"platform"`
	Backend  string  `json:"backend"`
	Suite    string  `json:"suite"`
	How      string  `json:"how"`              // what it ran on
	Built    bool    `json:"built"`            // the program was made
	Outcome  string  `json:"outcome"`          // passed, failed or not run
	Reason   string  `json:"reason,omitempty"` // of the two last
	Passed   int     `json:"passed"`
	Failed   int     `json:"failed"`
	Skipped  int     `json:"skipped"`
	LeftOut  int     `json:"left_out"` // subtests that the platform's library can't pass, by a list with reasons
	Seconds  float64 `json:"seconds"`
}

const (
	passed = "passed"
	failed = "failed"
	notRun = "not run"
)

// add adds a result, with what the tests printed where that is of interest.
func (s *session) add(r result, output ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, r)
	name := fmt.Sprintf("%s/%s %s", r.Platform, r.Backend, r.Suite)
	switch r.Outcome {
	case passed:
		fmt.Printf("ok       %s: %d tests, %.1fs\n", name, r.Passed, r.Seconds)
	default:
		fmt.Printf("%-8s %s: %s\n", r.Outcome, name, r.Reason)
	}
	for _, out := range output {
		fmt.Printf("%s\n", out)
	}
}

// addError adds a result of what could not be run.
func (s *session) addError(r result, err error) {
	r.Outcome, r.Reason = failed, firstLine([]byte(err.Error()))
	if errors.Is(err, errAbsent) {
		r.Outcome = notRun
	}
	s.add(r, []byte(err.Error()))
}

// patience is for one test program that hangs. The longest take two or three minutes.
const patience = 15 * time.Minute

// tests are those that a program is to run.
type tests struct {
	names []string // none means all it has
	short bool     // as emulation is slow
}

// args are a test program's arguments.
func (t tests) args() []string {
	args := []string{"-test.v", fmt.Sprintf("-test.short=%t", t.short)}
	if len(t.names) > 0 {
		args = append(args, "-test.run=^("+strings.Join(t.names, "|")+")$")
	}
	return args
}

// test runs a test program, which was made to print as go test -v does, and adds its result. Each of the tests has to be
// there.
func (s *session) test(ctx context.Context, r result, tests tests, make func(context.Context) *exec.Cmd) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not done after %v", patience))
	defer cancel()
	var out bytes.Buffer
	cmd := make(ctx)
	cmd.Stdout = &out
	if s.verbose {
		cmd.Stdout = io.MultiWriter(&out, os.Stdout)
	}
	cmd.Stderr = cmd.Stdout
	cmd.WaitDelay = 5 * time.Second
	start := time.Now()
	err := cmd.Run()
	r.Built, r.Seconds = true, time.Since(start).Seconds()
	missing := r.count(out.Bytes(), tests.names)
	switch {
	case ctx.Err() != nil:
		r.Outcome, r.Reason = failed, context.Cause(ctx).Error()
	case err != nil:
		r.Outcome, r.Reason = failed, fmt.Sprintf("%d tests failed, %v", r.Failed, err)
	case r.Passed == 0:
		r.Outcome, r.Reason = failed, "ran no test"
	case len(missing) > 0:
		r.Outcome, r.Reason = failed, "did not run "+strings.Join(missing, ", ")
	case r.Failed > 0 || r.Skipped > 0:
		r.Outcome, r.Reason = failed, fmt.Sprintf("%d tests failed and %d were skipped", r.Failed, r.Skipped)
	default:
		r.Outcome = passed
	}
	if r.Outcome == failed && !s.verbose {
		s.add(r, telling(daemonLine.ReplaceAll(out.Bytes(), nil)))
		return
	}
	s.add(r)
}

var (
	resultLine  = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	daemonLine  = regexp.MustCompile(`(?m)^\s*\d{8} .*\n`) // of pcscd, which says more than it helps; -v shows it
	leftOutLine = regexp.MustCompile(`^\s+\w+\.go:\d+: left out: `)
)

// count counts tests that have no subtests. It returns those of the expected tests that have no outcome.
func (r *result) count(out []byte, expected []string) (missing []string) {
	outcomes := map[string]string{}
	parents := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if m := resultLine.FindStringSubmatch(lines.Text()); m != nil {
			outcomes[m[2]] = m[1]
			for name := m[2]; ; {
				i := strings.LastIndexByte(name, '/')
				if i < 0 {
					break
				}
				name = name[:i]
				parents[name] = true
			}
		}
		if leftOutLine.MatchString(lines.Text()) {
			r.LeftOut++
		}
	}
	for name, outcome := range outcomes {
		if parents[name] {
			continue
		}
		switch outcome {
		case "PASS":
			r.Passed++
		case "FAIL":
			r.Failed++
		case "SKIP":
			r.Skipped++
		}
	}
	return slices.DeleteFunc(slices.Clone(expected), func(name string) bool { return outcomes[name] != "" })
}

var (
	failLine   = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+) \(`)
	headLine   = regexp.MustCompile(`(?m)^=== (?:RUN|NAME|CONT|PAUSE) +(\S+)$`)
	crashStart = regexp.MustCompile(`(?m)^(?:panic: |fatal error: |SIG[A-Z]+: )`)
)

// telling returns what tells why a program failed: what the tests printed that did, what a crash printed, and the end.
func telling(out []byte) []byte {
	const enough = 32 << 10
	failed := map[string]bool{}
	for _, m := range failLine.FindAllSubmatch(out, -1) {
		failed[string(m[1])] = true
	}
	var told bytes.Buffer
	heads := headLine.FindAllSubmatchIndex(out, -1)
	for i, m := range heads {
		end := len(out)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		if failed[string(out[m[2]:m[3]])] {
			told.Write(start(out[m[0]:end], enough))
		}
	}
	if m := crashStart.FindIndex(out); m != nil {
		told.Write(start(out[m[0]:], enough))
	}
	if told.Len() < enough {
		told.WriteString("the end:\n")
		told.Write(tail(out, 4<<10))
	}
	return told.Bytes()
}

func start(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	return append(bytes.Clone(b[:n]), "\n...\n"...)
}

func tail(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	b = b[len(b)-n:]
	return b[bytes.IndexByte(b, '\n')+1:]
}

// report prints the matrix and reports whether nothing failed.
func (s *session) report(w io.Writer) (bool, error) {
	if len(s.results) == 0 {
		return false, errors.New("nothing was to be run")
	}
	slices.SortStableFunc(s.results, func(a, b result) int {
		return cmp.Or(strings.Compare(a.Platform, b.Platform), -strings.Compare(a.Backend, b.Backend))
	})
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "platform\tbackend\tsuite\ton\tbuilt\trun\ttests\tleft out\ttime")
	ok, fail, absent := 0, 0, 0
	for _, r := range s.results {
		built, run := "no", r.Outcome
		if r.Built {
			built = "yes"
		}
		if r.Reason != "" {
			run += ": " + r.Reason
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%.1fs\n",
			r.Platform, r.Backend, r.Suite, r.How, built, run, r.Passed, r.LeftOut, r.Seconds)
		ok += r.Passed
		fail += r.Failed
		if r.Outcome == failed && r.Failed == 0 {
			fail++
		}
		if r.Outcome == notRun {
			absent++
		}
	}
	table.Flush()
	if s.json != "" {
		text, err := json.MarshalIndent(s.results, "", "\t")
		if err != nil {
			return false, err
		}
		if err := os.WriteFile(s.json, append(text, '\n'), 0o644); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed; %d rows not run\n", ok, fail, absent)
	if ok+fail == 0 {
		return false, errors.New("nothing could be run")
	}
	if absent > 0 && os.Getenv("PCSC_MUST_RUN") == "1" {
		return false, errors.New("with PCSC_MUST_RUN=1 everything has to be run")
	}
	return fail == 0, nil
}

func decodeEnv(out []byte) (map[string]string, error) {
	env := map[string]string{}
	if err := json.Unmarshal(out, &env); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	return env, nil
}
