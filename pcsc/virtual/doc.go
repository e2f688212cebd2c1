// Package virtual is for testing smart card code: a PC/SC resource manager in process, with readers, cards and whatever
// can go wrong with them, without hardware, without a daemon and without a C library.
//
// A [Service] is a [winscard.Backend]. Give it to the code under test in place of the system's PC/SC library, plug in
// readers and insert cards:
//
//	service := virtual.New()
//	reader := service.AddReader("Test Reader")
//	reader.Insert(virtual.NewCard(atr, func(apdu []byte) []byte {
//		return []byte{0x90, 0x00}
//	}))
//	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
//
// # Faults
//
// Programs for smart cards fail where cards and readers do. [Reader.Inject] and [Service.Inject] let a [Fault] lie in
// wait for a call, which it strikes always in the same way: the nth, a command with certain first bytes, an operation
// such as Connect. There is an example for each.
//
//	reader.Inject(virtual.PullCard(), virtual.APDU(0x00, 0x20)) // while it checks a PIN
//	reader.Inject(virtual.Delay(5*time.Second), virtual.Always())
//	service.Inject(virtual.ServerTooBusy(), virtual.On(virtual.OpConnect), virtual.Times(3))
//
// Between calls, a test can do the same by hand: [Reader.Remove], [Service.RemoveReader], [Service.Stop] and
// [Service.Start]. Another program that shares a card is played by a second context on the service.
//
// # Cards
//
// Anything with a method Transmit can be a [Card]. These are ready:
//
//   - [CardFunc] and [NewCard], a function that answers APDUs;
//   - [Script], which expects certain commands and fails the test on any other;
//   - [Recorder], which wraps any card, a real one too, and writes down what is said, and [NewPlayer], which replays it;
//   - [DemoCard], a small application with a PIN;
//   - package filesystem, a card with files, records and PINs after ISO/IEC 7816-4.
//
// # PIN pads
//
// [Reader.SetPINPad] gives a reader a keypad: it then serves PC/SC part 10, and the test plays the user who enters the
// PIN, cancels, or does not come. [Reader.SetController] takes any other driver.
//
// # Behaviour
//
// The service behaves as pcsc-lite (libpcsclite and pcscd 1.9.9), down to the return codes and to the order in which
// arguments are checked; where pcsc-lite differs from Windows, pcsc-lite wins, unless a program gets the view of the
// service that [Service.Windows] returns. In particular:
//
//   - ShareDirect is shared, not exclusive, and works without a card. Connect reports a sharing violation at once when
//     the reader is held exclusively, but waits for the end of another connection's transaction. Transmit, Status,
//     Reconnect and BeginTransaction wait too; Control, GetAttrib and SetAttrib do not.
//   - Reconnect to ShareExclusive waits until the other connections are gone. A connection that goes from exclusive to
//     shared keeps its lock as if it were in a transaction, until EndTransaction or Disconnect.
//   - After a reset every connection to the reader, the one that asked for it by EndTransaction included, gets
//     ErrResetCard until it reconnects; after a removal ErrRemovedCard.
//   - A context released while one of its connections holds a transaction resets the card; otherwise the card is left
//     as it is.
//   - EventState and the state of Status carry an event counter in the upper 16 bits, which counts insertions and
//     removals. A reset is no event.
//   - An unused card loses its power after a while, see [WithPowerOff], so what it had in volatile memory (a verified
//     PIN) is gone.
//   - Reconnect with LeaveCard gives a card that has lost its power none. The next APDU does; until all connections are
//     closed no new ones can be made if another connection unpowered the card (ErrUnpoweredCard).
//   - Names passed by the caller are compared byte by byte. Reader groups are ignored by ListReaders.
//
// In four points it is kinder than pcsc-lite. Calls on one context do not wait for each other, so a GetStatusChange
// that is under way does not block the context. ReleaseContext ends a GetStatusChange of its context, with
// ErrCancelled. A Reconnect that resets the card and waits for the other connections to go does so once when it
// begins and once when they are gone, and not every 100 ms. And a program of another process that waits for a lock of its
// own, as with Connect to a card that it has in a transaction, leaves the card free when it is ended: pcscd does not
// notice that it has gone, and keeps the lock. A test runs the service in step with pcscd, on random
// sequences of calls, and finds no other difference, but for two races in pcscd: a Reconnect that waits while the card is
// pulled may find no protocol there, and a Connect that waits while the context that holds the transaction is released
// may find the protocol forgotten.
//
// # Other programs
//
// [Service.Serve] has the service on a Unix socket in pcscd's protocol, so that every program that uses libpcsclite, in
// whatever language, finds its readers: no root, no daemon and no driver is needed. [Listen] makes the socket, and
// [Listener.Env] is what such a program needs in its environment: the variable PCSCLITE_CSOCK_NAME, which libpcsclite
// looks at for the path of pcscd's socket. The command pcsc serve does the same.
//
//	l, err := virtual.Listen("")
//	…
//	go service.Serve(ctx, l)
//	cmd := exec.Command("opensc-tool", "--list-readers")
//	cmd.Env = append(os.Environ(), l.Env())
//
// Clients may be of any version of libpcsclite from protocol 4:4, that of 1.9, to 4:6, that of 2.5; each is served in
// its own. The services of Windows and macOS have no such socket: there programs have to be given the service as a
// backend.
//
// The socket has the mode 0600 and, unless a path was given, lies in a new directory of mode 0700. Where the system tells
// who a client is, those of other users than the program's own and root are turned away too; [WithUsers] lets them in,
// when whoever wants that has also opened the modes. So nobody else can talk to a card that is behind the service, which
// may be a real one. A client that breaks the protocol is cut off, and no other one notices.
//
// # Time
//
// The service keeps no goroutine and uses package time for all waiting, so it works within a testing/synctest bubble,
// with package pcsc on top of it: create both inside. A wait of an hour, or a card that takes a minute for an answer,
// takes no time there, and always the same. (Which of several calls that wait for one lock gets it is open, as in pcscd.)
//
//	func TestGivesUp(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			service := virtual.New()
//			reader := service.AddReader("Test Reader")
//			reader.Insert(virtual.NewDemoCard())
//			reader.Inject(virtual.Delay(time.Hour))
//			begin := time.Now()
//			err := program(service) // gives up after a minute
//			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
//				t.Error(err, time.Since(begin))
//			}
//		})
//	}
//
// A bubble ends when all goroutines in it have: close what was opened on the service.
package virtual
