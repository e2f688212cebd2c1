// Package iso7816 speaks ISO/IEC 7816-4 to a card: command and response APDUs, status words, and the exchanges that
// take more than one APDU.
//
//	err := card.Transact(ctx, func(tx *pcsc.Transaction) error {
//		t := iso7816.NewTransport(tx)
//		sel, err := iso7816.SelectAID(aid)
//		if err != nil {
//			return err
//		}
//		if _, err := t.Do(ctx, sel); err != nil {
//			return err // errors.Is(err, iso7816.ErrFileNotFound) if there is no such application
//		}
//		...
//	})
//
// A [Command] is what a program wants from the card. It becomes an APDU by itself ([Command.Bytes], for
// pcsc.Card.Transmit) or in a [Transport], which also fetches the rest of long responses, corrects a wrong Le and cuts
// long commands into chains. Constructors such as [SelectAID], [ReadBinary] and [Verify] make the common ones; their
// class byte is 00, which is the basic channel without secure messaging, and may be changed. Data objects are the
// matter of package tlv.
//
// # Status words
//
// A [StatusWord] is an error with an English text. errors.Is knows the status words of the standard, and what they
// have in common:
//
//	errors.Is(err, iso7816.ErrSecurityStatusNotSatisfied) // 6982
//	errors.Is(err, iso7816.ErrCommandNotAllowed)          // any 69XX
//	errors.Is(err, iso7816.ErrWrongLength)                // 6700, 6701, 6702, 6CXX
//	errors.Is(err, iso7816.ErrCounter)                    // 63C0 to 63CF
//
//	var sw iso7816.StatusWord
//	if errors.As(err, &sw) {
//		tries, ok := sw.TriesLeft()
//		...
//	}
//
// # Security
//
// A command that may have run is never sent again; [Transport] has the details. Commands and responses may hold a PIN
// or a key: printing one, with whatever verb of package fmt or as an attribute of log/slog, shows its header and
// lengths, never its data, and no error holds data. Constructors do not copy their data, so that a caller can clear
// it; a Transport clears the APDUs that it makes.
package iso7816
