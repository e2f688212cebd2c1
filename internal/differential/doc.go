// Package differential has no code but a test: random sequences of calls run in step against the real pcscd and against
// the virtual service of package virtual, in process and on its socket, and every code, state, protocol and byte has to be
// the same.
//
// # What runs
//
// A sequence is made by several contexts with several cards in several readers, while cards come and go; see the
// generators in generate_test.go. It runs on three subjects: the virtual service in process, in a testing/synctest
// bubble; pcscd through libpcsclite; and another virtual service, in a bubble of its own, on a socket and through
// libpcsclite. Whether a call waits is asked of the first, which knows for sure; the others then have to wait too, and to
// return when it does.
//
// libpcsclite reads the socket's path once, but connects in SCardEstablishContext and in SCardCancel alone. So one
// process has contexts of both services: where the path leads is changed before these two calls.
//
// pcscd's readers have a driver whose other end is in this process ([ifdtest.Remote]), and the cards of both services
// are the same Go code. So there is no time to wait for: pcscd looks at a reader when the test says so. What a driver
// decides and not pcscd is decided here as package virtual documents it.
//
// # What is left out
//
// Calls whose outcome is a matter of time or chance in pcscd, or that it cannot make here:
//
//   - Two calls that wait for the same lock: which of them gets it is open. For the second, Control tells whether the
//     lock is held.
//   - Waits for changes while another call waits for a lock, and with cards that are mute: libpcsclite sleeps for
//     400 ms each time that it looks at one.
//   - What a Reconnect that waits to be the only connection does every 100 ms: resets meanwhile.
//   - Readers that come and go, and the end of the service. Package conformance has them.
//   - The protocol that Connect and Reconnect give with an error, and what is in a buffer beyond the length returned.
//
// # When it fails
//
// The sequence is made as short as possible and is told in words, with what each service answered to the last call.
// Either the virtual service is wrong, or the difference is wanted and belongs into the table in disagreements_test.go,
// with its exact condition and the reason. Each entry of the table has a sequence of its own that shows it, unless it
// occurs by chance: an entry that is no longer true fails the test as well.
//
//	go test ./internal/differential -differential.steps=1000000
//	go test ./internal/differential -run TestDifferential/sequences -rapid.seed=N
package differential
