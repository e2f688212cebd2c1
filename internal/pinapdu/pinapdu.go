// Package pinapdu knows which APDUs may hold a PIN, for all that writes APDUs down: traces, recordings, test failures.
package pinapdu

// Secret reports whether a command may hold a PIN, or belongs to one that does; after says that the one before it does.
// Of what has no header it is not known, so it may. The class does not matter, unless it is that of commands to the
// reader: chaining, channels and secure messaging leave the instruction as it is.
func Secret(apdu []byte, after bool) bool {
	if len(apdu) < 4 {
		return true
	}
	ins := apdu[1]
	if apdu[0] == 0xFF {
		return ins != 0xCA && ins != 0xB0 // GET DATA, READ BINARY
	}
	switch ins &^ 1 { // odd ones have the same data in another form
	case 0x20, // VERIFY
		0x24, // CHANGE REFERENCE DATA
		0x26, // DISABLE VERIFICATION REQUIREMENT
		0x28, // ENABLE VERIFICATION REQUIREMENT
		0x2C, // RESET RETRY COUNTER
		0xC2: // ENVELOPE
		return true
	case 0xC0: // GET RESPONSE
		return after
	}
	return false
}

// Shown returns what may be shown of a secret command and its response: the header and the status word; of what has no
// header, nothing.
func Shown(command, response []byte) (header, status []byte) {
	if len(command) < 4 {
		return nil, nil
	}
	return command[:4], response[max(len(response)-2, 0):]
}
