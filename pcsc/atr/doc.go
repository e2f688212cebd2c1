// Package atr reads answers to reset: the bytes with which a smart card says, when it is powered, how it wants to be
// talked to and what it is (ISO/IEC 7816-3, clause 8; the historical bytes in it are from ISO/IEC 7816-4).
//
//	a, err := atr.Parse(card)
//	if err != nil {
//		return err // atr: byte 7: TD2 announces TA3, but the answer to reset ends after 7 bytes
//	}
//	a.Protocols()                 // [T=1]
//	a.Rate()                      // Fi=372, Di=4, fmax 5 MHz
//	a.T1Parameters().IFSC         // 254 bytes
//	a.Historical().Capabilities() // extended length, command chaining, ...
//	fmt.Print(a.Explain())        // all of it, byte by byte
//
// # Real cards
//
// Many cards break a rule that nobody depends on: a check byte is missing, or there without need. [Parse] fails only
// where the rest can't be read, and then still returns what came before; everything else that the standards don't
// allow is in [ATR.Warnings]. [ParseStrict] makes errors of them.
//
// # Units
//
// Frequencies are a [Frequency] in hertz, times a time.Duration. Many parameters count elementary time units (ETU),
// the duration of one bit; methods that answer in ETU have it in their name, and those that answer in time ask for the
// clock frequency. A parameter that the card leaves out has the standard's default.
//
// # Contactless cards
//
// A contactless card has no answer to reset. The reader makes one up, as PC/SC Part 3 says: [ATR.Contactless] tells,
// and [ATR.StorageCard] names the memory cards.
package atr
