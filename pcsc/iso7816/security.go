package iso7816

// Specific marks a reference to a password or key (P2 of VERIFY and its like) that belongs to the current DF or
// application: Specific|1. Without it the reference is global, for the whole card; 0 leaves it to the card which.
const Specific byte = 0x80

// Verify compares data, such as a PIN, with the reference data. Encoding and padding are the card's business and so the
// caller's. The answer to a wrong PIN is 63CX, which [StatusWord.TriesLeft] reads, or 6300; to one that is blocked 6983.
//
// data is not copied. No data is an error, as the command would be [VerifyStatus].
func Verify(reference byte, data []byte) (Command, error) {
	if len(data) == 0 {
		return Command{}, invalidCommand("VERIFY: no data; VerifyStatus asks for the state of the verification")
	}
	return Command{INS: InsVerify, P2: reference, Data: data}, nil
}

// VerifyStatus asks whether the verification is needed, without trying one: the answer is 9000 if not, else 63CX with
// the number of tries left, or 6983. Not every card supports it.
func VerifyStatus(reference byte) Command { return Command{INS: InsVerify, P2: reference} }

// ChangeReferenceData replaces reference data, such as a PIN, by fresh data. Unless current is empty it is sent first,
// to be verified. They are joined in a new slice, which the caller may clear.
func ChangeReferenceData(reference byte, current, fresh []byte) (Command, error) {
	if len(fresh) == 0 {
		return Command{}, invalidCommand("CHANGE REFERENCE DATA: no new data")
	}
	c := Command{INS: InsChangeReferenceData, P2: reference, Data: joined(current, fresh)}
	if len(current) == 0 {
		c.P1 = 0x01
	}
	return c, nil
}

// ResetRetryCounter sets the retry counter of reference data back to its first value. code is the resetting code (often
// called PUK), fresh the new reference data; either or both may be empty. They are joined in a new slice, which the
// caller may clear.
func ResetRetryCounter(reference byte, code, fresh []byte) Command {
	c := Command{INS: InsResetRetryCounter, P2: reference, Data: joined(code, fresh)}
	if len(fresh) == 0 {
		c.P1 |= 0x01
	}
	if len(code) == 0 {
		c.P1 |= 0x02
	}
	return c
}

func joined(a, b []byte) []byte {
	if len(a)+len(b) == 0 {
		return nil
	}
	return append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
}

// GetChallenge asks for ne random bytes (1 to 65536), for an authentication that follows. A card may give fewer.
//
// More than 256 are asked for in the extended form always, as they cannot be fetched in pieces: every GET CHALLENGE
// makes a new challenge. A card that has no extended form answers with [ErrWrongLength]; by T=0 there is none either,
// and a [Transport] refuses the command.
func GetChallenge(ne int) (Command, error) {
	if err := checkNe("GET CHALLENGE", ne); err != nil {
		return Command{}, err
	}
	return Command{INS: InsGetChallenge, Ne: ne, Extended: ne > MaxShortNe}, nil
}

// InternalAuthenticate makes the card compute authentication data, up to ne bytes (1 to 65536), from a challenge.
// algorithm and reference may be 0: the card then knows them.
func InternalAuthenticate(algorithm, reference byte, challenge []byte, ne int) (Command, error) {
	if len(challenge) == 0 {
		return Command{}, invalidCommand("INTERNAL AUTHENTICATE: no challenge")
	}
	if err := checkNe("INTERNAL AUTHENTICATE", ne); err != nil {
		return Command{}, err
	}
	return Command{INS: InsInternalAuthenticate, P1: algorithm, P2: reference, Data: challenge, Ne: ne}, nil
}

// ExternalAuthenticate gives the card authentication data that was computed from its last challenge. algorithm and
// reference may be 0: the card then knows them.
func ExternalAuthenticate(algorithm, reference byte, data []byte) (Command, error) {
	if len(data) == 0 {
		return Command{}, invalidCommand("EXTERNAL AUTHENTICATE: no data")
	}
	return Command{INS: InsExternalAuthenticate, P1: algorithm, P2: reference, Data: data}, nil
}
