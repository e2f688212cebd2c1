/*
 * Libraries for tests of loading: every symbol of PC/SC, and no call that
 * works. A symbol is left out with -DWITHOUT_<symbol>; with -DNOT_PCSC there is
 * nothing of PC/SC at all.
 *
 * The header is not included, so that a function needs no parameter list: each
 * ignores its arguments and returns SCARD_E_NO_SERVICE.
 */

#define STUB_API __attribute__((visibility("default")))
#define NO_SERVICE 0x8010001DL

STUB_API int stub_minimal(void);
STUB_API int stub_minimal(void) { return 1; }

#ifndef NOT_PCSC

#define FUNCTION(name) \
	STUB_API long name(void); \
	STUB_API long name(void) { return NO_SERVICE; }

/* SCARD_IO_REQUEST: dwProtocol, cbPciLength. */
#define PCI(name, protocol) \
	STUB_API extern const unsigned long name[2]; \
	const unsigned long name[2] = {protocol, sizeof(unsigned long[2])};

#ifndef WITHOUT_SCardEstablishContext
FUNCTION(SCardEstablishContext)
#endif
#ifndef WITHOUT_SCardReleaseContext
FUNCTION(SCardReleaseContext)
#endif
#ifndef WITHOUT_SCardIsValidContext
FUNCTION(SCardIsValidContext)
#endif
#ifndef WITHOUT_SCardConnect
FUNCTION(SCardConnect)
#endif
#ifndef WITHOUT_SCardReconnect
FUNCTION(SCardReconnect)
#endif
#ifndef WITHOUT_SCardDisconnect
FUNCTION(SCardDisconnect)
#endif
#ifndef WITHOUT_SCardBeginTransaction
FUNCTION(SCardBeginTransaction)
#endif
#ifndef WITHOUT_SCardEndTransaction
FUNCTION(SCardEndTransaction)
#endif
#ifndef WITHOUT_SCardStatus
FUNCTION(SCardStatus)
#endif
#ifndef WITHOUT_SCardGetStatusChange
FUNCTION(SCardGetStatusChange)
#endif
#ifndef WITHOUT_SCardControl
FUNCTION(SCardControl)
#endif
#ifndef WITHOUT_SCardTransmit
FUNCTION(SCardTransmit)
#endif
#ifndef WITHOUT_SCardListReaderGroups
FUNCTION(SCardListReaderGroups)
#endif
#ifndef WITHOUT_SCardListReaders
FUNCTION(SCardListReaders)
#endif
#ifndef WITHOUT_SCardFreeMemory
FUNCTION(SCardFreeMemory)
#endif
#ifndef WITHOUT_SCardCancel
FUNCTION(SCardCancel)
#endif
#ifndef WITHOUT_SCardGetAttrib
FUNCTION(SCardGetAttrib)
#endif
#ifndef WITHOUT_SCardSetAttrib
FUNCTION(SCardSetAttrib)
#endif
#ifndef WITHOUT_pcsc_stringify_error
STUB_API const char *pcsc_stringify_error(long code);
STUB_API const char *pcsc_stringify_error(long code)
{
	(void)code;
	return "minimal";
}
#endif
#ifndef WITHOUT_g_rgSCardT0Pci
PCI(g_rgSCardT0Pci, 1)
#endif
#ifndef WITHOUT_g_rgSCardT1Pci
PCI(g_rgSCardT1Pci, 2)
#endif
#ifndef WITHOUT_g_rgSCardRawPci
PCI(g_rgSCardRawPci, 4)
#endif

#endif
