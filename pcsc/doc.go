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
// # Blocking, contexts and goroutines
//
// Every method that can block takes a context.Context, which must not be nil. When the context ends, the method
// returns with an error that wraps the context's, and with no further delay; a wait for a state change is really
// ended. No other native call can be: it goes on in the background on memory of this package, a card that it
// concerns stays busy until it is over, and what it still achieves is undone: a connection is disconnected, a
// transaction ended. A command that the card has been sent can't be taken back. With a context that can't end, such
// as context.Background(), calls are made directly, without a goroutine and without copying the input; waits for a
// state change are the exception, as they can be ended in other ways too.
//
// All types are safe for use by many goroutines, and every method of a nil or zero value returns an error. Closing
// waits for native calls under way.
//
// # Readers, cards and transactions
//
// [Context.ListReaders] names the readers, [Context.GetStatusChange] waits for one change of their states, and [Watch]
// tells every change for as long as a loop runs, also across a restart of the service. [Context.WaitCard] and
// [Context.WaitRemoved] wait for one thing.
//
// A card can be shared with other programs ([ShareShared]) or not ([ShareExclusive]); [ShareDirect] connects to the
// reader alone, for control codes. Commands of several programs on a shared card mix, unless they are made in a
// transaction: [Card.Transact] runs a function in one and ends it whatever happens. Windows resets a card to which
// nothing is sent for five seconds in a transaction. When another program has reset the card, calls fail with
// [ErrResetCard] until [Card.Reconnect]; what was verified and selected is gone then.
//
// [Card.Attributes] has what the driver tells of reader and card, [Card.Features] and [Card.VerifyPINDirect] are for
// readers with a PIN pad. What lies in APDUs and answers to reset is the matter of the packages iso7816 and atr below
// this one; package virtual there is a service for tests without a reader.
//
// # Platform differences
//
// Constants have the platform's own values: [ProtocolRaw], [MaxBufferSizeExtended] and [ErrUnsupportedFeature] differ
// on Windows. Card states are the same flags everywhere. Event counters come from pcsc-lite and Windows. Reader groups
// exist on Windows. A function that a platform does not have gives an error that is errors.ErrUnsupported. Codes of the
// Windows system, which its library passes on, are found by errors.Is as the PC/SC codes that mean the same.
//
// # Strings
//
// Reader names are UTF-8 on all platforms. A name with a NUL in it is refused with [ErrInvalidParameter].
//
// # Errors
//
// Every error is an [*Error] with the name of the C function, the reader and the code; text is English and the same
// everywhere. Test for codes with errors.Is. No reader is not an error but an empty list.
//
// # Security
//
// Nothing is logged, and no error holds bytes of an APDU. [WithTracer] tells of every native call, without them. Copies
// of commands and responses in this package's memory are cleared after use. [Card.Close] resets the card, so that a
// verified PIN does not outlive the connection. An APDU or control code is never sent twice, unless a program asks for
// it with [RetryAfterReset]. The library is loaded from the system's folders or an absolute path, never from the current
// directory.
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
