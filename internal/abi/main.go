// Command abi proves what the spec says of C: it compiles the C files that are generated from the spec, which assert
// every size, offset, sign, constant and prototype, with the compiler and the headers of each target; it compares the
// names that headers define, and the symbols that libraries export, with those of the spec; and it says of each target
// how far it is proved. Where neither headers nor library can be had, a table stands for them, from which headers are made.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/spec"
)

func main() {
	packages := flag.Bool("packages", false, "print the Debian packages that have the compilers, and do nothing")
	include := flag.String("include", "", "a `folder` with headers, in place of the system's")
	flag.Parse()
	s, err := spec.LoadDir("spec")
	if err == nil {
		err = spec.Validate(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *packages {
		fmt.Println(strings.Join(compilerPackages(s), " "))
		return
	}
	m, err := gen.Resolve(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	results := prove(s, m, *include)
	failed := report(os.Stdout, results, os.Getenv("PCSC_MUST_RUN") == "1")
	if failed {
		os.Exit(1)
	}
}

// compilerPackages are the Debian packages of all compilers, each once.
func compilerPackages(s *spec.Spec) (packages []string) {
	for _, p := range s.Platforms {
		for _, proof := range p.Proofs {
			packages = append(packages, proof.Packages...)
		}
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// outcome is how a proof went.
type outcome string

const (
	passed outcome = "passed"
	failed outcome = "FAILED"
	notRun outcome = "not run"
)

// result is a proof of one target, or of what is the same for all of a platform's.
type result struct {
	target  string
	what    string
	outcome outcome
	detail  string // what is wrong, or why it was not run
	took    time.Duration
}

func prove(s *spec.Spec, m *gen.Model, include string) (results []result) {
	for _, p := range s.Platforms {
		var headers bool // whether a compiler has had them
		for _, proof := range p.Proofs {
			if proof.Headers == "table" {
				continue
			}
			begin := time.Now()
			compiler, err := newCompiler(p, proof, include)
			r := result{target: proofName(proof), what: "sizes, offsets, signs, constants, prototypes, by " + compiler.command[0]}
			if proof.Headers == "stand_in" {
				r.what += ", with headers that stand in"
			}
			if err == nil {
				err = compiler.check("generated/abi/" + p.Name + ".c")
			}
			r.set(err)
			r.took = time.Since(begin)
			results = append(results, r)
			if !headers && r.outcome != notRun {
				headers = true
				r := result{target: p.Name, what: "names that the headers define"}
				r.set(checkNames(s, m, p, compiler))
				results = append(results, r)
			}
		}
		if tables[p.Name] != "" {
			results = append(results, proveByTable(s, m, p)...)
		}
		if undeclared[p.Name] != "" {
			r := result{target: p.Name, what: "prototypes that no header declares, by table: " + undeclared[p.Name]}
			r.set(checkUndeclared(m, p))
			results = append(results, r)
		}
	}
	return append(results, checkSymbols(m)...)
}

// proveByTable compares the spec with the table of a platform, and compiles what is generated from the spec with headers
// that are made from the table.
func proveByTable(s *spec.Spec, m *gen.Model, p *spec.Platform) []result {
	r := result{target: p.Name, what: "constants, types, prototypes and symbols, by table: " + tables[p.Name]}
	r.set(checkTable(s, m, p))
	results := []result{r, {target: p.Name, what: "layouts, by table: go test ./gen -run TestLayouts"}}
	backend := "backend_cgo/zbackend_" + p.Name + ".go"
	source, failure := os.ReadFile(backend)
	dir, err := os.MkdirTemp("", "gopcsc-abi-")
	if err == nil {
		defer os.RemoveAll(dir)
		var t table
		if t, err = readTable(tables[p.Name]); err == nil {
			err = t.writeHeaders(dir, s, p)
		}
	}
	failure = errors.Join(failure, err)
	for _, proof := range p.Proofs {
		if proof.Headers != "table" {
			continue
		}
		prove := func(what string, check func(compiler) error) {
			begin := time.Now()
			compiler, err := newCompiler(p, proof, dir)
			if failure != nil {
				err = failure
			}
			if err == nil {
				err = check(compiler)
			}
			r := result{target: proofName(proof), what: what + ", by table, compiled by " + compiler.command[0]}
			r.set(err)
			r.took = time.Since(begin)
			results = append(results, r)
		}
		prove("sizes, offsets, signs, constants, prototypes", func(c compiler) error { return c.check("generated/abi/" + p.Name + ".c") })
		prove("cgo backend", func(c compiler) error { return checkCgo(backend, source, proof.Target, c) })
	}
	return results
}

// proofName is the target of a proof, and the C library if it is not the usual one.
func proofName(proof *spec.Proof) string {
	if proof.Libc != "" {
		return proof.Target + " (" + proof.Libc + ")"
	}
	return proof.Target
}

// set makes an outcome of an error.
func (r *result) set(err error) {
	switch e := err.(type) {
	case nil:
		r.outcome = passed
	case missing:
		r.outcome, r.detail = notRun, e.Error()
	default:
		r.outcome, r.detail = failed, err.Error()
	}
}

// missing is an error that says what a proof lacks.
type missing struct{ what string }

func (m missing) Error() string { return m.what }

// report prints the results and says whether there is a failure; with must, what was not run is one.
func report(w *os.File, results []result, must bool) (bad bool) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	counts := map[outcome]int{}
	for _, r := range results {
		if r.outcome != "" {
			counts[r.outcome]++
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.target, orDash(string(r.outcome)), seconds(r.took), r.what)
	}
	t.Flush()
	for _, r := range results {
		if r.detail != "" {
			fmt.Fprintf(w, "\n%s, %s: %s\n%s\n", r.target, r.what, r.outcome, strings.TrimSpace(r.detail))
		}
	}
	fmt.Fprintf(w, "\nabi: %d passed, %d failed, %d not run\n", counts[passed], counts[failed], counts[notRun])
	return counts[failed] > 0 || must && counts[notRun] > 0
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// compiler is a C compiler with the flags that find the headers of PC/SC.
type compiler struct {
	command []string
}

func newCompiler(p *spec.Platform, proof *spec.Proof, include string) (c compiler, err error) {
	c.command = strings.Fields(proof.Compiler)
	if _, err := exec.LookPath(c.command[0]); err != nil {
		return c, missing{fmt.Sprintf("there is no %s: install %s", c.command[0], strings.Join(proof.Packages, " "))}
	}
	c.command = append(c.command, "-std=gnu11", "-Wall", "-Wextra", "-Werror")
	switch {
	case include != "":
		c.command = append(c.command, "-I"+include)
	case p.Cgo.PkgConfig != "":
		flags, err := exec.Command("pkg-config", "--cflags", p.Cgo.PkgConfig).Output()
		if err != nil {
			return c, missing{"pkg-config does not know " + p.Cgo.PkgConfig}
		}
		c.command = append(c.command, strings.Fields(string(flags))...)
	}
	return c, nil
}

// run runs the compiler and returns what it prints.
func (c compiler) run(stdin string, args ...string) (string, error) {
	cmd := exec.Command(c.command[0], append(slices.Clone(c.command[1:]), args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", c.command[0], err, stderr.String())
	}
	return string(out), nil
}

// check compiles a file, and throws the result away.
func (c compiler) check(file string) error {
	_, err := c.run("", "-fsyntax-only", file)
	return err
}
