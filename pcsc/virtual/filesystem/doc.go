// Package filesystem is a virtual card with a file system after ISO/IEC 7816-4: a master file, dedicated files,
// transparent files and records, data objects, PINs with retry counters, and conditions on what needs which PIN.
//
//	card, err := filesystem.New(filesystem.Config{
//		MF: filesystem.DF{
//			PINs: []filesystem.PIN{{Reference: 0x01, Value: []byte("1234")}},
//			EFs:  []filesystem.EF{{ID: 0x2F02, SFI: 2, Data: []byte("serial number")}},
//			DFs: []filesystem.DF{{
//				ID: 0x5000, Name: aid,
//				EFs: []filesystem.EF{{ID: 0x5001, Size: 128, Update: filesystem.Verified(0x01)}},
//			}},
//		},
//	})
//	...
//	reader.Insert(card)
//
// # Commands
//
// Class bytes are those of the basic channel without secure messaging, 00, and 10 for command chaining. Other channels
// are refused with 6881, secure messaging with 6882, other classes with 6E00 and other commands with 6D00.
//
//   - SELECT (A4): the master file, a file by identifier (in this order: the master file, children of the current DF,
//     the current DF, its parent, its siblings), a child DF, an EF, the parent, a DF by its name or the beginning of it
//     (first, last, next, previous), a path from the master file or from the current DF. The answer is an FCI, FCP or
//     FMD template, or none.
//   - READ BINARY and UPDATE BINARY (B0, D6): the current EF with an offset of 15 bits, or a short identifier and an
//     offset of 8 bits. In their odd form (B1, D7) with an offset data object (54) and a file identifier, a short
//     identifier or none in P1-P2.
//   - READ RECORD and UPDATE RECORD (B2, DC): the current EF or a short identifier; by number, or the first, last, next
//     and previous one, which for reading may be those with an identifier in their first byte; also all from or up to a
//     record. APPEND RECORD (E2).
//   - VERIFY (20), also without data and with P1 FF; CHANGE REFERENCE DATA (24) with the old and the new value or, once
//     it has been verified, with the new value alone; RESET RETRY COUNTER (2C) with the resetting code, and with or
//     without a new value, or with a new value alone where [PIN.Unblock] allows it.
//   - GET DATA (CA) with the tag in P1-P2, and in its odd form (CB 3F FF) with a tag list (5C), which gives whole data
//     objects. What the current DF does not have is looked for in its parents.
//   - GET CHALLENGE (84), GET RESPONSE (C0); MANAGE CHANNEL (70) is refused with 6881.
//
// # Lengths
//
// Commands may be of extended length, unless [Config.ShortOnly] forbids it, or be chained. Of a response that is longer
// than the command asked for there is the beginning and 61XX, and GET RESPONSE has the rest; but if the whole could
// have been asked for in short form it is 6CXX, and nothing has happened. Without an Le there are no data.
//
// With T=0, where a command can't have both data and Le, responses to commands with data are all for GET RESPONSE, and
// an Le that is not exact is answered with 6CXX. The service says which protocol there is, see [Card.SetProtocol].
//
// # State
//
// A reset selects the master file and forgets verified PINs, half a chain and what GET RESPONSE would have had. Contents
// and retry counters stay, as long as the Card lives. A PIN of a DF also counts as verified only until a file outside
// that DF is selected.
package filesystem
