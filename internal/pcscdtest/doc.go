// Package pcscdtest runs a private, real pcscd for tests and puts virtual
// cards, written in Go, into its readers.
//
//	func TestMain(m *testing.M) { pcscdtest.Main(m) }
//
//	func TestTransmit(t *testing.T) {
//		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
//		card := pcscdtest.NewEchoCard(nil)
//		svc.Insert(0, card)
//		// libpcsclite, called from this process, now finds svc.Readers().
//	}
//
// # Isolation
//
// The service lives in a mount and a network namespace of its own: /run is an
// empty tmpfs, the driver directory for USB readers is empty, and only lo is
// there. It neither sees the machine's readers nor another test's, so any
// number of test processes may run at once; in one process one service is
// active at a time, because libpcsclite knows one socket per process. The
// kernel ends the service when the test process ends, however it ends, and
// nothing is left in the file system.
//
// # Finding the service
//
// libpcsclite reads PCSCLITE_CSOCK_NAME from the C environment, once. [os.Setenv]
// does not reach that in a program without cgo, so [Main] executes the test
// binary anew (same process, same descriptors) with the variable set to
// /proc/PID/fd/N/pcscd.comm. Descriptor N is the directory of the running
// service's socket, or an empty directory while there is none. The path
// therefore stays the same while services come and go, and it is valid in
// child processes too. A test can never reach the machine's own pcscd by
// accident.
//
// # Readers
//
// The readers are those of vpcd (package vsmartcard-vpcd). Its driver has two
// slots per reader and keeps them in static variables. To get the exact number
// asked for, each reader is served by a private copy of the driver in which the
// question for the number of slots goes unanswered, which pcscd takes for one.
// This is known to work on 386 and amd64; elsewhere the slots are used in pairs
// and named "A 00 00", "A 00 01", "C 00 00", and an odd number is skipped.
//
// pcscd can't add or remove such readers while it runs: built with libudev, as
// everywhere on Linux, it ignores the SIGUSR1 that once made it read its
// configuration again. [Service.Restart] takes options, so a service can
// come back with other readers.
//
// [WithHotPlug] makes USB readers of them, which pcscd finds by itself: it is
// started with a libudev of ours, in which a USB device appears and disappears
// when a test calls [Service.AddReader] and [Service.RemoveReader], and with a
// driver for it that opens vpcd's. From there on everything is real.
//
// # Where it cannot run
//
// Tests are skipped where a service cannot exist: not Linux, not root, not
// installed. With PCSC_MUST_RUN=1 in the environment they fail instead.
package pcscdtest
