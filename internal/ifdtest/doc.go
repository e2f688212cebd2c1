// Package ifdtest has readers with a PIN pad and attributes, for tests of PC/SC part 10 and of what vpcd can't do: a
// driver in C that pcscd loads, and the same in Go for the virtual service.
//
//	svc := pcscdtest.Start(t, pcscdtest.WithReaders(0), pcscdtest.WithDriver(ifdtest.Build(t), "PIN Pad"))
//	...
//	pad := ifdtest.New(t, func(code uint32, in []byte) ([]byte, error) { return card.Control(ctx, code, in) })
//	pad.ExpectVerify("bTimerOut=30 bTimerOut2=0 ...")
//	pad.Answer(ifdtest.VerifyPINDirect, ifdtest.OK, 0, 0x63, 0xC2)
//	...
//	require.Empty(t, pad.Failures())
//
// vpcd passes no control codes, and has no attributes.
//
// # What the readers do
//
// A reader has a card that is always there and knows one command: 80 50 00 00 is answered with a byte that is 1 if the
// PIN is verified, and 9000. That it is after a verification that the reader answered 9000, until the card is reset or
// loses its power.
//
// Until told otherwise, a reader has the features VERIFY_PIN_DIRECT, MODIFY_PIN_DIRECT, IFD_PIN_PROPERTIES,
// GET_TLV_PROPERTIES, CCID_ESC_COMMAND, EXECUTE_PACE, GET_KEY_PRESSED and ABORT. The PIN is right at once, no key is
// pressed, an escape is answered with its bytes in reverse, and PACE with its input.
//
// The reader has attributes of every kind, integers in the widths that drivers use, and takes any that is set. A test
// can change them, and what happens when the card is to get power.
//
// Structures are checked member by member: in C with reader.h's own types, in Go from a list of names and sizes.
// Neither shares code with what is tested.
//
// # Readers in Go
//
// [BuildRemote] is a driver for pcscd whose readers are implemented in the test's process: cards come and go at once,
// and pcscd looks at them when the test says so.
package ifdtest
