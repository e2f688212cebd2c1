package virtual

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A Fault is something that goes wrong, and when: what, from a constructor such as [PullCard], and the conditions,
// from [Fault.When] or [Reader.Inject]. It is a value, comparable with ==, and has a text form for scripts, see
// [ParseFault]. The zero Fault does nothing.
//
// Without a condition a fault strikes the next Transmit, once. There, and in Control, it strikes between the command
// and the answer: the card or the driver carries out the command, and the client does not get to know. That is the
// worst case, for the client must not simply send it again. With the condition [Before] the command is not carried out.
type Fault struct {
	kind kind
	code winscard.Code
	wait time.Duration
	data string
	size int
	when when
}

// kind is what goes wrong.
type kind uint8

const (
	doesNothing kind = iota
	doesPullCard
	doesUnplugReader
	doesStopService
	doesRestartService
	doesResetCard
	doesMuteCard
	doesDelay
	doesFail
	doesLose
	doesAnswer
	doesOversize
)

// kinds are their names in scripts, and what each has for an argument.
var kinds = []struct {
	name string
	arg  string
}{
	doesNothing:        {"nothing", ""},
	doesPullCard:       {"pull-card", ""},
	doesUnplugReader:   {"unplug-reader", ""},
	doesStopService:    {"stop-service", ""},
	doesRestartService: {"restart-service", "time"},
	doesResetCard:      {"reset-card", ""},
	doesMuteCard:       {"mute-card", ""},
	doesDelay:          {"delay", "time"},
	doesFail:           {"fail", "code"},
	doesLose:           {"lose", "code"},
	doesAnswer:         {"answer", "data"},
	doesOversize:       {"oversize", "size"},
}

// PullCard pulls the card, as [Reader.Remove] does. A Transmit that is under way returns ErrNotTransacted, later calls
// ErrRemovedCard.
func PullCard() Fault { return Fault{kind: doesPullCard} }

// UnplugReader unplugs the reader, as [Service.RemoveReader] does. A Transmit that is under way returns
// ErrNotTransacted, a GetStatusChange that waits reports the reader as unknown.
func UnplugReader() Fault { return Fault{kind: doesUnplugReader} }

// StopService stops the service, as [Service.Stop] does: calls that are under way return ErrCommError or ErrNoService.
// [Service.Start] lets it run again.
func StopService() Fault { return Fault{kind: doesStopService} }

// RestartService stops the service and starts it again after a while; 0 or less is at once. Contexts and connections
// from before are dead, as after a crash of pcscd that systemd makes up for.
func RestartService(after time.Duration) Fault {
	return Fault{kind: doesRestartService, wait: max(after, 0)}
}

// ResetCard resets the card, as another program does that shares it: the call and later ones of all connections return
// ErrResetCard until they reconnect, and what the card had in volatile memory, such as a verified PIN, is gone. In
// Transmit and Control too it strikes before the command.
func ResetCard() Fault { return Fault{kind: doesResetCard} }

// MuteCard makes the card fall silent: Transmit returns ErrNotTransacted, now and later, until the card is reset or
// powered up anew. With [On] and [OpPowerUp] the card has no answer to reset: its reader's state has StateMute, and
// Connect returns ErrUnpoweredCard.
//
// Real readers wait some time for a mute card: inject a [Delay], too.
func MuteCard() Fault { return Fault{kind: doesMuteCard} }

// Delay makes the card slow: the call takes that much longer. In a testing/synctest bubble that takes no time.
func Delay(by time.Duration) Fault { return Fault{kind: doesDelay, wait: max(by, 0)} }

// Fail makes the call return a code and do nothing.
func Fail(code winscard.Code) Fault { return Fault{kind: doesFail, code: code} }

// SharingViolation is Fail(ErrSharingViolation), and strikes Connect unless [On] says otherwise: another program uses
// the card exclusively.
func SharingViolation() Fault { return Fail(winscard.ErrSharingViolation).When(On(OpConnect)) }

// ServerTooBusy is Fail(ErrServerTooBusy), and strikes the next call, whichever it is, unless [On] says otherwise: the
// service has too much to do.
func ServerTooBusy() Fault { return Fail(winscard.ErrServerTooBusy).When(OnAny()) }

// Lose makes Transmit and Control return a code although the command was carried out; the answer is lost. Elsewhere it
// is [Fail].
func Lose(code winscard.Code) Fault { return Fault{kind: doesLose, code: code} }

// CommError is Lose(ErrCommError): the line between the client and the service breaks in the middle of a call.
func CommError() Fault { return Lose(winscard.ErrCommError) }

// Answer makes the card, or in Control the driver, answer something else: any bytes, none, or half a status word. With
// [On] and [OpPowerUp] it is the answer to reset.
func Answer(response ...byte) Fault { return Fault{kind: doesAnswer, data: string(response)} }

// Oversize makes the answer that long, by zeros before its last two bytes: longer than Le allows, than the client's
// buffer (Transmit returns ErrInsufficientBuffer), or, over 65548 bytes, than the service can carry (ErrNotTransacted).
// A longer answer stays as it is. In an answer to reset, with [On] and [OpPowerUp], over 33 bytes are too long.
func Oversize(size int) Fault { return Fault{kind: doesOversize, size: max(size, 0)} }

// When adds conditions to a fault. Of two of the same sort the last one counts.
func (f Fault) When(conditions ...When) Fault {
	for _, c := range conditions {
		if c != nil {
			c(&f.when)
		}
	}
	return f
}

// String is the fault as [ParseFault] reads it.
func (f Fault) String() string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if int(f.kind) >= len(kinds) {
		return "nothing"
	}
	add("%s", kinds[f.kind].name)
	switch kinds[f.kind].arg {
	case "time":
		if f.kind == doesDelay || f.wait != 0 {
			add("%v", f.wait)
		}
	case "code":
		if code, err := winscard.ParseCode(f.code.String()); err == nil && code == f.code {
			add("%s", f.code.String())
		} else {
			add("0x%08X", uint32(f.code))
		}
	case "data":
		if f.data != "" {
			add("%X", f.data)
		} else {
			add("none")
		}
	case "size":
		add("%d", f.size)
	}
	return strings.Join(append(words, f.when.words()...), " ")
}

// respond is what becomes of an answer under a fault that changes it.
func (f Fault) respond(response []byte) []byte {
	switch f.kind {
	case doesAnswer:
		return []byte(f.data)
	case doesOversize:
		if missing := f.size - len(response); missing > 0 {
			at := max(len(response)-2, 0)
			return slices.Concat(response[:at], make([]byte, missing), response[at:])
		}
	}
	return response
}
