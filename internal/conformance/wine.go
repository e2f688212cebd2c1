package conformance

import "github.com/gopcsc/gopcsc/generated/winscard"

// wine makes an environment of one whose library is the winscard.dll of wine, which hands calls on to libpcsclite
// almost as they are. So it shows what the backend makes of calls, not what Windows answers to them: codes and values
// are pcsc-lite's.
func (e *Environment) wine() {
	const pcscliteUnsupported = winscard.Code(0x8010001F)
	q := &e.Quirks
	q.HandlesAreAddresses = true
	q.NamesEndLate = true
	q.Unsupported, q.Control, q.Eject = pcscliteUnsupported, pcscliteUnsupported, pcscliteUnsupported
	q.Attributes[winscard.AttrATRString] = pcscliteUnsupported
	q.Undecodable = winscard.ErrInvalidParameter // by the backend: it has no form in UTF-16
	q.Raw = 4
	q.LibraryMax = 65548
	// 2 is "present" on Windows.
	q.Absent = winscard.CardPresent
	q.UTF16 = true
	q.NeededLost = true
	// wine asks libpcsclite for the length with one that it has not set: what an earlier call of the thread has left on its
	// stack. -1 there stands for SCARD_AUTOALLOCATE. libpcsclite then sets it.
	q.ListsAtRandom = true

	const (
		noBelief = "wine's SCardGetStatusChange does not hand dwCurrentState on, so every reader is news and it never waits"
		noWait   = "needs a wait, and wine's SCardGetStatusChange never waits, as it does not hand dwCurrentState on"
		handles  = "wine's handles are addresses: it reads the memory at whatever it gets, and the process dies"
		code     = "wine hands on pcsc-lite's code for an unsupported feature, which is SCARD_E_UNEXPECTED on Windows"
	)
	e.MissingAPI = map[string]string{
		"Basics/Attributes":         code,
		"Attributes/Table":          code,
		"Wait/CancelledBefore":      noWait,
		"Wait/CancelledDuring":      noWait,
		"Wait/CancelledAfter":       noWait,
		"Wait/Deadline":             noWait,
		"Wait/Timeout":              noWait,
		"Wait/Cancel":               noWait,
		"Wait/WaitsDoNotDisturb":    noWait,
		"Wait/InsertAndRemove":      noWait,
		"Wait/Close":                noWait,
		"Wait/Storm":                noWait,
		"Cancel/MemoryIsTheCallers": noWait,
		"Close/Forgotten":           noWait,
		"Outage/Killed":             noWait,
		"Outage/Stopped":            noWait,
	}
	e.Missing = map[string]string{
		"AllReadersAtOnce":                   noBelief,
		"Context/CancelIdle":                 noWait,
		"Handles/Contexts":                   handles,
		"Handles/Cards":                      handles,
		"Status/Buffers":                     "wine's SCardStatus takes the name for a multi-string and counts the memory behind it",
		"StatusChange/TimesOut":              noWait,
		"StatusChange/Ignore":                noBelief,
		"StatusChange/WrongBelief":           noBelief,
		"StatusChange/OneOfSeveral":          noBelief,
		"StatusChange/CancelBefore":          noWait,
		"StatusChange/CancelDuring":          noWait,
		"StatusChange/CancelAfter":           noWait,
		"StatusChange/WaitsWhileOthersWork":  noWait,
		"StatusChange/InsertAndRemove":       noWait,
		"Concurrency/ManyWaitersOnOneReader": noWait,
		"Concurrency/CancelStorm":            noWait,
		"Outage/KilledDuringWait":            noWait,
		"Outage/StoppedDuringWait":           noWait,
	}
}
