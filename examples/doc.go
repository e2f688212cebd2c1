// Package examples holds small programs that show how to use package pcsc. Run one with, for example,
//
//	go run github.com/gopcsc/gopcsc/examples/list-readers
//
// They are:
//
//   - readme, the program of the README: connect, send an APDU, print the answer;
//   - list-readers, which lists the readers;
//   - connect, which uses a card in a transaction, with buffers of its own and all errors looked at;
//   - connect-owned, a type that owns a card with all that it needs, where the package allocates;
//   - cancel, which ends a wait from another goroutine;
//   - monitor, which watches readers and cards come and go.
//
// Package pinclient is a client with its tests, which need no card: docs/testing.md explains them. The folder cards has
// files that describe virtual cards.
package examples
