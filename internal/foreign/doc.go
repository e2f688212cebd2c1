// Package foreign has tests with programs that are not ours: they talk to the real pcscd and to the virtual service behind
// its socket, with an equal card, and must say the same.
package foreign
