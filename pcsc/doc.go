// Package pcsc talks to smart cards through PC/SC: pcsc-lite on Linux and the BSDs, PCSC.framework on macOS,
// WinSCard on Windows.
//
//	ctx := context.Background()
//	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem)
//	if err != nil {
//		return err
//	}
//	defer pc.Close()
//	readers, err := pc.ListReaders(ctx)
//	...
//	card, err := pc.Connect(ctx, readers[0], pcsc.ShareShared, pcsc.ProtocolAny)
//	if err != nil {
//		return err
//	}
//	defer card.Close()
//	response, err := card.Transmit(ctx, []byte{0x00, 0xA4, 0x04, 0x00})
//
// Methods are named after the C functions without SCard. Each says which function it is the equivalent of; the
// manuals are those of [pcsc-lite] and of [Windows].
//
// # Contexts
//
// A [Context] is a program's connection to the smart card service, and is not a [context.Context], which says how long
// a call may take. One is enough for a program, however many readers and goroutines it has: nothing that is done with
// it holds up anything else. It outlives a restart of the service; its cards do not.
//
// # Readers
//
// A reader is known by its name, and names change with the order in which readers are plugged in.
// [Context.ListReaders] has all names, [Context.ListReadersWithCard] those with a card in them. [Watch] tells every
// change for as long as a loop runs, also across a restart of the service; [Context.WaitCard] and [Context.WaitRemoved]
// wait for one thing. [Context.GetStatusChange] is what they are made of.
//
// # Cards and transactions
//
// A [Card] is a connection to a card. It can be shared with other programs ([ShareShared]) or not ([ShareExclusive]);
// with [ShareDirect] it is a connection to the reader alone, for control codes. What goes to a card is a command APDU,
// and what comes back is a response that ends with a status word of two bytes: what they mean is the matter of package
// iso7816 below this one, and that of answers to reset of package atr.
//
// Commands of several programs on a shared card mix, unless they are made in a transaction: [Card.Transact] runs a
// function in one and ends it whatever happens. Other programs are kept from the card meanwhile, so nothing should wait
// in it, least of all for a person. When another program has reset the card, calls fail with [ErrResetCard] until
// [Card.Reconnect]; what was verified and selected is gone then.
//
// [Card.Attributes] has what the driver tells of reader and card. [Card.Features] and [Card.VerifyPINDirect] are for
// readers with a PIN pad.
//
// # Blocking, goroutines and threads
//
// Every method that can block takes a context.Context, which must not be nil. When the context ends, the method
// returns with an error that wraps the context's, and with no further delay.
//
// Only a wait for a state change is really ended then. Nothing else can be aborted on every platform, and so nothing
// else is: not connecting, nor beginning a transaction, nor a command to a card or a reader. Such a call goes on in the
// background on memory of this package, the card that it concerns stays busy until it is over, and what it still
// achieves is undone: a connection is disconnected, a transaction ended. A command that the card has been sent can't be
// taken back. Closing waits for native calls under way, [Card.CloseContext] and [Context.CloseContext] no longer than
// their context.
//
// With a context that can't end, such as context.Background(), calls are made directly, without a goroutine and
// without copying the input; waits for a state change are the exception, as they can be ended in other ways too.
//
// All types are safe for use by many goroutines, and every method of a nil or zero value returns an error. Calls on one
// card follow one another; different cards do not wait for each other. Nothing depends on the thread that a goroutine
// is on. A native call takes up a thread while it lasts, also when its method has returned.
//
// # What else Windows has
//
// Windows keeps a database of readers and of kinds of cards. A program that brings the software for a card enters the
// card's answer to reset, interfaces and providers there ([Context.IntroduceCardType],
// [Context.SetCardTypeProviderName]), and one that finds a card asks what it is and which software there is for it
// ([Context.ListCards], [Context.GetCardTypeProviderName], [Context.LocateCards]). Readers can have other names and
// groups in it ([Context.IntroduceReader], [Context.AddReaderToGroup]). The service also keeps what programs have read
// from cards, so that others need not read it again ([Context.ReadCache], [Context.WriteCache]).
//
// Cards, interfaces and providers are named by a [GUID]. It has the fields of GUID in golang.org/x/sys/windows: each
// converts to the other, as windows.GUID(id) and pcsc.GUID(id), and on Windows WindowsGUID and GUIDFromWindows do the
// same. [ParseGUID] reads its text.
//
// [WaitStarted] waits until the service runs, which Windows starts with the first reader.
//
// Elsewhere the methods and WaitStarted return errors.ErrUnsupported; a list is at the end.
//
// # Strings
//
// Reader names are UTF-8 on all platforms. A name with a NUL in it is refused with [ErrInvalidParameter].
//
// # Errors
//
// Every error is an [*Error] with the name of the C function, the reader and the code; text is English and the same
// everywhere. Test for codes with errors.Is; what the platform, the reader or the card can't do is
// errors.ErrUnsupported. No reader is not an error but an empty list. A status word is not an error here: a card that
// refuses a command has answered it.
//
// # Security
//
// Nothing is logged, and no error holds bytes of an APDU. [WithTracer] tells of every native call, without them. Copies
// of commands and responses in this package's memory are cleared after use. An APDU or control code is never sent
// twice, unless a program asks for it with [RetryAfterReset]. The library is loaded from the system's folders or an
// absolute path, never from the current directory.
//
// A verified PIN holds for the card, not for the program: every program that shares the card can use what it opens.
// [Card.Close] resets the card, so that the PIN has to be verified again after the connection; until then
// [ShareExclusive] or a transaction keeps others out. With a PIN pad the PIN never comes to the program at all.
//
// # Backends
//
// With cgo the library is linked; without it, or with the build tag purego or pcsc_purego, it is loaded at first use
// and building needs no C compiler. [BackendName] says which it is. [WithBackend] plugs in another one, such as the
// virtual service for tests.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/
package pcsc
