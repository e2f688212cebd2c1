package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out why readers and cards can't be used",
		Long: `Find out why readers and cards can't be used: look at this program, the PC/SC library, the service and whether library
and service fit together, the readers, and the cards in them. For each problem it says what to do about it. Nothing is
changed: no card is connected to, reset or powered.

On systems with pcsc-lite it also looks at the service's socket, asks service and library for the version of the
protocol that they speak, and on Linux compares the readers with the USB devices that are readers. To learn the
library's version this program starts itself once more, with a socket of its own in a private folder.

The exit code is that of the first problem: 3 for the library and the service, 4 for the readers, 5 for the cards. A
reader without a card is no problem.

With --json:
  {"checks": [{"check": "service", "verdict": "problem", "what": "...", "todo": "..."}]}
check is program, library, service, protocol, context, reader, card or usb, and more may come; verdict is ok, note or problem.`,
		Args: cobra.NoArgs,
		RunE: a.runE(func(ctx context.Context, _ []string) error { return a.doctor(ctx) }),
	}
	a.jsonFlag(cmd)
	return cmd
}

// Verdicts on a check.
const (
	verdictOK      = "ok"
	verdictNote    = "note"
	verdictProblem = "problem"
)

// finding is what a check has found.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	What    string `json:"what"`
	Todo    string `json:"todo,omitempty"`

	exit int
}

type doctorReport struct {
	Checks []finding `json:"checks"`
	outcome
}

// doctorPatience is how long a question to a service that may hang is waited for.
const doctorPatience = 5 * time.Second

func (a *app) doctor(ctx context.Context) error {
	report := &doctorReport{Checks: []finding{}}
	a.report = report
	problems, exit := 0, exitOK
	tell := func(findings ...finding) {
		for _, f := range findings {
			report.Checks = append(report.Checks, f)
			if f.Verdict == verdictProblem {
				if problems++; problems == 1 {
					exit = f.exit
				}
			}
			if a.json {
				continue
			}
			fmt.Fprintf(a.stdout, "%-8s %-9s %s\n", f.Verdict, f.Check, f.What)
			for line := range strings.SplitSeq(f.Todo, "\n") {
				if line != "" {
					fmt.Fprintf(a.stdout, "%18s %s\n", "", line)
				}
			}
		}
	}
	if err := a.examine(ctx, tell); err != nil {
		return err
	}
	switch problems {
	case 0:
		return nil
	case 1:
		return &failure{exit: exit, what: "there is a problem"}
	}
	return &failure{exit: exit, what: fmt.Sprintf("there are %d problems; the first may be the cause of the others", problems)}
}

// examine makes the checks, as far as they make sense after those before. Its error is that of a check that could not
// be made because the program has to end, or that is wrong use.
func (a *app) examine(ctx context.Context, tell func(...finding)) error {
	host := systemHost()
	version, _ := moduleVersion()
	about := fmt.Sprintf("version %s, backend %s, %s/%s", orUnknown(version), pcsc.BackendName(), runtime.GOOS, runtime.GOARCH)
	box := host.sandbox()
	if box != "" {
		about += ", in a " + box
	}
	tell(finding{Check: "program", Verdict: verdictOK, What: about})

	// What is established is not the system's own service in tests, nor with a virtual one.
	daemon := len(a.env.options) == 0 && hasDaemon(runtime.GOOS)
	begin, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	pc, err := a.establish(begin)
	if err == nil {
		defer release(ctx, pc.Close)
	}
	var wrong *failure
	if errors.As(err, &wrong) || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, pcsc.ErrUnavailable) {
		tell(problem("library", err))
		return nil
	}
	if daemon {
		tell(a.libraryFound())
		d := host.daemon(ctx, box)
		tell(d.finding)
		if d.answers {
			tell(a.protocol(ctx, host, d, err))
		}
		if err != nil && d.Verdict == verdictProblem {
			return ctx.Err() // that is why
		}
	}
	if err != nil {
		tell(contextProblem(err))
		return ctx.Err()
	}
	tell(finding{Check: "context", Verdict: verdictOK, What: "the service lets this program in"})
	states, err := readerStates(ctx, pc)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		tell(problem("reader", err))
		return nil
	}
	tell(readersFound(states)...)
	if daemon && len(states) == 0 {
		tell(host.unusedReaders()...)
	}
	return nil
}

// problem is an error as a finding.
func problem(check string, err error) finding {
	f := explain(err)
	return finding{Check: check, Verdict: verdictProblem, What: f.what, Todo: f.todo, exit: max(f.exit, exitError)}
}

// polkitTodo is for a user whom the service refuses.
const polkitTodo = `That is mostly polkit's doing: it lets in those who sit at the machine, not those who come by
ssh or as a service. Allow the actions org.debian.pcsc-lite.access_pcsc and org.debian.pcsc-lite.access_card to this
user in a file in /etc/polkit-1/rules.d, or try it as root to be sure.`

func contextProblem(err error) finding {
	f := problem("context", err)
	f.exit = exitNoService
	switch {
	case errors.Is(err, pcsc.ErrSecurityViolation):
		f.Todo = "The service refuses this user. " + polkitTodo
	case errors.Is(err, context.DeadlineExceeded):
		f.What = fmt.Sprintf("the service has not answered for %s", doctorPatience)
		f.Todo = "Restart it: a reader's driver may hang. Unplug the reader if that does not help."
	}
	return f
}

// libraryFound is about the library, which has been loaded.
func (a *app) libraryFound() finding {
	f := finding{Check: "library", Verdict: verdictOK, What: strings.Join(a.libraryFiles(), ", ")}
	switch {
	case f.What != "":
	case runtime.GOOS == "linux" && pcsc.BackendName() == "cgo":
		f.Verdict, f.What = verdictNote, "linked statically into this program"
		f.Todo = "It can't change with the service of the machine. Build with -tags pcsc_purego, or link libpcsclite.so."
	default:
		f.What = "loaded"
	}
	return f
}

// protocol compares what library and service speak. established is the error of the library's own attempt.
func (a *app) protocol(ctx context.Context, host host, d daemon, established error) finding {
	f := finding{Check: "protocol", Verdict: verdictOK, What: fmt.Sprintf("the service speaks %s", d.version)}
	library, err := host.libraryVersion(ctx, a.library)
	if err != nil {
		f.What += "; what the library speaks could not be found out: " + err.Error()
		f.Verdict = verdictNote
		return f
	}
	f.What += fmt.Sprintf(", the library %s", library)
	fits := established == nil || library == d.version
	if fits {
		return f
	}
	f.Verdict, f.exit = verdictProblem, exitNoService
	f.What += ", and they do not understand each other"
	older := "service"
	if library.less(d.version) {
		older = "library"
	}
	f.Todo = fmt.Sprintf("Library and service must come from releases of pcsc-lite that fit: the %s is the older one. Update it.", older)
	if box := host.sandbox(); box != "" {
		f.Todo += fmt.Sprintf("\nIn a %s the library is the %s's, and the service the machine's. Give the %s the machine's libpcsclite.so.1,\n"+
			"for programs built without cgo by way of PCSC_LIBRARY.", box, box, box)
	}
	return f
}

// readersFound is about the readers and the cards in them.
func readersFound(states []pcsc.ReaderState) (findings []finding) {
	if len(states) == 0 {
		return []finding{{Check: "reader", Verdict: verdictProblem, What: "the service has no reader", exit: exitNoReader,
			Todo: "Plug in a reader."}}
	}
	for i := range states {
		r := &states[i]
		flags := r.Flags()
		findings = append(findings, finding{Check: "reader", Verdict: verdictOK, What: printable(r.Reader)})
		card := finding{Check: "card", Verdict: verdictOK, What: fmt.Sprintf("ATR % X", r.ATR())}
		switch {
		case flags&(pcsc.StateUnavailable|pcsc.StateUnknown) != 0:
			card.Check, card.Verdict, card.What, card.exit = "reader", verdictProblem, "it can't be used now", exitNoReader
			card.Todo = "Unplug the reader and plug it in again."
		case flags&pcsc.StatePresent == 0:
			card.Verdict, card.What = verdictNote, "none"
		case flags&pcsc.StateMute != 0:
			card.Verdict, card.What, card.exit = verdictProblem, "it does not answer", exitNoCard
			card.Todo = "Put it in the right way round, with the chip at the contacts. If it still does not answer, try another card:\n" +
				"it is broken, or it is no smart card."
		case flags&pcsc.StateExclusive != 0:
			card.Verdict = verdictNote
			card.What += "; another program uses it alone"
			card.Todo = "Nobody else can connect to it until that program ends or disconnects. GnuPG's scdaemon is often the one:\n" +
				"gpgconf --kill scdaemon"
		}
		findings = append(findings, card)
	}
	return slices.Clip(findings)
}
