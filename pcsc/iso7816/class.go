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

// responseClass is the class byte of the GET RESPONSE that follows a command: that of the command, so that it reaches
// the same channel, but neither chained nor with secure messaging. What is fetched is part of a response that is
// secured as a whole, and GET RESPONSE itself has none of the data objects that the bits would announce.
func responseClass(cla byte, proprietary bool) byte {
	switch {
	case !structured(cla, proprietary):
		return cla
	case cla&classFurther != 0:
		return cla &^ (classChaining | classFurtherMessaging)
	}
	return cla &^ (classChaining | classFirstMessaging)
}
