package iso7816

// The bits of the class byte (ISO/IEC 7816-4, class byte). The first interindustry classes are 000c ssnn for the
// channels 0 to 3, the further ones 01sc nnnn for the channels 4 to 19: c is command chaining, s secure messaging.
const (
	classProprietary = 0x80
	classFurther     = 0x40
	classReserved    = 0x20 // in what would be a first interindustry class
	classChaining    = 0x10

	classFirstMessaging   = 0x0C
	classFurtherMessaging = 0x20
)

// ChannelClass returns the interindustry class byte of a logical channel, 0 to 19, without secure messaging and
// chaining. The error is [ErrInvalidCommand].
func ChannelClass(channel int) (byte, error) {
	switch {
	case channel >= 0 && channel <= 3:
		return byte(channel), nil
	case channel >= 4 && channel <= 19:
		return classFurther | byte(channel-4), nil
	}
	return 0, invalidCommand("logical channel %d, there are 0 to 19", channel)
}

// structured says whether the bits of a class byte have the meaning above.
func structured(cla byte, proprietary bool) bool {
	switch {
	case cla == 0xFF: // no class of a card: readers take it for commands to themselves
		return false
	case cla&classProprietary != 0:
		return proprietary
	}
	return cla&(classFurther|classReserved) != classReserved
}

// responseClass is the class byte of the GET RESPONSE that follows a command. It keeps what says to whom the command
// went, above all the logical channel: a card waits for GET RESPONSE on the channel of the command. Two things are no
// property of the addressee but of the one command, and are taken out.
//
// The bit for chaining says that more commands of a chain follow, and GET RESPONSE is none of its links.
//
// The bits for secure messaging say that the data field holds data objects for it, and GET RESPONSE has no data field.
// What it fetches is a piece of one response that the card has secured as a whole before it said 61XX: a checksum over
// a piece would be one too many, and would put the counters of both sides out of step. A card that sees it otherwise
// needs WithGetResponseClass and a caller who secures GET RESPONSE by hand.
//
// A class whose bits may mean anything is preserved as it is.
func responseClass(cla byte, proprietary bool) byte {
	switch {
	case !structured(cla, proprietary):
		return cla
	case cla&classFurther != 0:
		return cla &^ (classChaining | classFurtherMessaging)
	}
	return cla &^ (classChaining | classFirstMessaging)
}
