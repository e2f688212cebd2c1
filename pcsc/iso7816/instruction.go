package iso7816

// Instruction bytes of the commands that this package makes (ISO/IEC 7816-4, instruction byte).
const (
	InsVerify               byte = 0x20
	InsChangeReferenceData  byte = 0x24
	InsResetRetryCounter    byte = 0x2C
	InsExternalAuthenticate byte = 0x82
	InsGetChallenge         byte = 0x84
	InsInternalAuthenticate byte = 0x88
	InsSelect               byte = 0xA4
	InsReadBinary           byte = 0xB0
	InsReadRecord           byte = 0xB2
	InsGetResponse          byte = 0xC0
	InsGetData              byte = 0xCA
	InsUpdateBinary         byte = 0xD6
)

var instructionNames = [256]string{
	InsVerify:               "VERIFY",
	InsChangeReferenceData:  "CHANGE REFERENCE DATA",
	InsResetRetryCounter:    "RESET RETRY COUNTER",
	InsExternalAuthenticate: "EXTERNAL AUTHENTICATE",
	InsGetChallenge:         "GET CHALLENGE",
	InsInternalAuthenticate: "INTERNAL AUTHENTICATE",
	InsSelect:               "SELECT",
	InsReadBinary:           "READ BINARY",
	InsReadRecord:           "READ RECORD",
	InsGetResponse:          "GET RESPONSE",
	InsGetData:              "GET DATA",
	InsUpdateBinary:         "UPDATE BINARY",
}
