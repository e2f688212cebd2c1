// Package part10 has the structures of PC/SC part 10 as they are on the wire between a program and a reader's driver:
// package pcsc is at the one end, the PIN pad of package virtual at the other.
package part10
