package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

const about = `pcsc talks to smart card readers and to the cards in them.

Exit codes:
  0  all is well
  1  an error that is none of those below
  2  wrong use of a command
  3  no PC/SC service or no PC/SC library
  4  no reader, or no such reader
  5  no card, or a card that was removed or does not answer
  6  interrupted (watch: 0), or out of time (--timeout)
  7  apdu: a card answered with a status word other than 9000 or 61xx

With --virtual no reader, no card and no service is needed: each command uses a reader inside this program, with a
demo card in it or what --card says. What a command leaves on that card is gone when it ends. pcsc serve has such
readers for all programs.

With --json, where a command has it, standard output is one JSON object, whatever happens; with watch it is one for each
event, on a line of its own, and one more for an error. If there was an error, the object has a member "error":
  {"exit": 5, "message": "...", "hint": "...", "reader": "...", "function": "SCardConnect",
   "code": "SCARD_E_NO_SMARTCARD", "value": "0x8010000C"}
exit and message are always there.`

// env is what a program's surroundings are to it.
type env struct {
	interactive bool          // a person sits at standard input
	options     []pcsc.Option // for the contexts that are established: in tests, a backend
}

// app is one run of the program. Each command lies in a file of its own and adds itself in newRoot.
type app struct {
	env            env
	stdin          io.Reader
	stdout, stderr *writer

	// Flags of all commands, and of those that can write JSON.
	library string
	timeout time.Duration
	virtual bool
	cards   []string
	faults  []string
	json    bool

	started bool   // a command's own code has begun: further errors are not about its usage
	report  report // what a command has to say in JSON
	lines   bool   // it says so in JSON objects of one line each
}

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env env) int {
	a := &app{env: env, stdin: stdin, stdout: &writer{w: stdout}, stderr: &writer{w: stderr}}
	root := a.newRoot()
	root.SetArgs(append([]string{}, args...)) // not nil, which would stand for os.Args
	cmd, err := root.ExecuteContextC(ctx)
	a.lines = cmd.Name() == watchName
	if err != nil && !a.started {
		if f := (*failure)(nil); !errors.As(err, &f) {
			err = &failure{exit: exitUsage, what: err.Error(), todo: "see pcsc help"}
		}
		a.json = a.json || wantsJSON(args) // flags after the wrong one have not been looked at
	}
	var f *failure
	if err != nil {
		f = explain(err)
	}
	switch {
	case a.json && (f != nil || a.report != nil): // else the help was asked for
		a.writeJSON(f)
	case f != nil:
		f.print(a.stderr)
	}
	switch {
	case f != nil:
		return f.exit
	case a.stdout.err != nil:
		fmt.Fprintf(a.stderr, "pcsc: writing the output: %v\n", a.stdout.err)
		return exitError
	}
	return exitOK
}

// newRoot makes the command pcsc with all its subcommands.
func (a *app) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "pcsc",
		Short:         "Talk to smart card readers and to the cards in them",
		Long:          about,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&a.library, "library", "", "PC/SC library to load, in place of the system's: an absolute `path`\n"+
		"(for programs built without cgo; so does the variable PCSC_LIBRARY)")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this `duration`, such as 500ms or 10s")
	a.virtualFlags(root)
	root.AddCommand(a.versionCommand(), a.listCommand(), a.statusCommand(), a.atrCommand(), a.attrCommand(),
		a.featureCommand(), a.watchCommand(), a.apduCommand(), a.doctorCommand(),
		a.serveCommand(), a.demoCommand())
	return root
}

// jsonFlag gives a command the flag --json.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "write one JSON object")
}

// runE makes a command of f, which gets a context that ends with --timeout.
func (a *app) runE(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.timeout < 0 {
			return errors.New("--timeout is less than nothing")
		}
		if err := a.goVirtual(cmd); err != nil {
			return err
		}
		a.started = true
		ctx := cmd.Context()
		if a.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, a.timeout, fmt.Errorf("--timeout %s is over", a.timeout))
			defer cancel()
		}
		return f(ctx, args)
	}
}

// establish connects to the service. Whoever calls it must call release with the context's Close.
func (a *app) establish(ctx context.Context) (*pcsc.Context, error) {
	options := append([]pcsc.Option{pcsc.WithContext(ctx), pcsc.WithLibrary(a.library)}, a.env.options...)
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, options...)
	return pc, a.established(err)
}

// established makes a wrong --library, which is what the error of an EstablishContext may be about, wrong use.
func (a *app) established(err error) error {
	if a.library != "" && errors.Is(err, pcsc.ErrInvalidParameter) {
		f := explain(err)
		f.exit = exitUsage
		return f
	}
	return err
}

// releasePatience is how long the program's end waits for what it can't interrupt.
const releasePatience = 500 * time.Millisecond

// release calls f, which gives something back. A card that is busy, or another program's transaction, can make that
// last; once ctx has ended it is left to the service, which cleans up after programs that are gone.
func release(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(releasePatience)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return ctx.Err()
	}
}

// report is a command's JSON object.
type report interface{ setError(*jsonError) }

// outcome is what all reports have in common. It is the last of their members.
type outcome struct {
	Error *jsonError `json:"error,omitempty"`
}

func (o *outcome) setError(e *jsonError) { o.Error = e }

func (a *app) writeJSON(f *failure) {
	if a.report == nil {
		a.report = &outcome{}
	}
	if f != nil {
		a.report.setError(f.json())
	}
	a.encode(a.report)
}

func (a *app) encode(v any) {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	if !a.lines {
		e.SetIndent("", "  ")
	}
	if err := e.Encode(v); err != nil && a.stdout.err == nil {
		a.stdout.err = err
	}
}

// wantsJSON says whether --json is among the arguments.
func wantsJSON(args []string) bool {
	for _, arg := range args {
		switch value, found := strings.CutPrefix(arg, "--json"); {
		case arg == "--":
			return false
		case found && (value == "" || value == "=true"):
			return true
		}
	}
	return false
}

// writer remembers that writing has failed.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}
