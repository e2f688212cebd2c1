/*
 * A library whose calls succeed and return at once: what a call costs beyond it
 * is what the binding costs. It checks nothing; stub.c does that.
 */

#include <string.h>
#include <winscard.h>

#define STUB_API __attribute__((visibility("default")))

STUB_API const SCARD_IO_REQUEST g_rgSCardT0Pci = {SCARD_PROTOCOL_T0, sizeof(SCARD_IO_REQUEST)};
STUB_API const SCARD_IO_REQUEST g_rgSCardT1Pci = {SCARD_PROTOCOL_T1, sizeof(SCARD_IO_REQUEST)};
STUB_API const SCARD_IO_REQUEST g_rgSCardRawPci = {SCARD_PROTOCOL_RAW, sizeof(SCARD_IO_REQUEST)};

#define ALWAYS(name, ...) \
	STUB_API LONG name(__VA_ARGS__) { return SCARD_S_SUCCESS; }

#pragma GCC diagnostic ignored "-Wunused-parameter"

STUB_API LONG SCardEstablishContext(DWORD scope, LPCVOID r1, LPCVOID r2, LPSCARDCONTEXT context)
{
	*context = 1;
	return SCARD_S_SUCCESS;
}

STUB_API LONG SCardConnect(SCARDCONTEXT context, LPCSTR reader, DWORD share, DWORD protocols, LPSCARDHANDLE card, LPDWORD protocol)
{
	*card = 1;
	*protocol = SCARD_PROTOCOL_T1;
	return SCARD_S_SUCCESS;
}

STUB_API LONG SCardListReaders(SCARDCONTEXT context, LPCSTR groups, LPSTR readers, LPDWORD length)
{
	static const char names[] = "Instant 00 00\0";
	if (readers != NULL && *length >= sizeof names)
		memcpy(readers, names, sizeof names);
	*length = sizeof names;
	return SCARD_S_SUCCESS;
}

STUB_API LONG SCardTransmit(SCARDHANDLE card, const SCARD_IO_REQUEST *pci, LPCBYTE send, DWORD send_length,
	SCARD_IO_REQUEST *recv_pci, LPBYTE recv, LPDWORD recv_length)
{
	recv[0] = 0x90;
	recv[1] = 0x00;
	*recv_length = 2;
	return SCARD_S_SUCCESS;
}

STUB_API const char *pcsc_stringify_error(LONG code)
{
	return "instant";
}

ALWAYS(SCardReleaseContext, SCARDCONTEXT context)
ALWAYS(SCardIsValidContext, SCARDCONTEXT context)
ALWAYS(SCardReconnect, SCARDHANDLE card, DWORD share, DWORD protocols, DWORD initialization, LPDWORD protocol)
ALWAYS(SCardDisconnect, SCARDHANDLE card, DWORD disposition)
ALWAYS(SCardBeginTransaction, SCARDHANDLE card)
ALWAYS(SCardEndTransaction, SCARDHANDLE card, DWORD disposition)
ALWAYS(SCardStatus, SCARDHANDLE card, LPSTR reader, LPDWORD reader_length, LPDWORD state, LPDWORD protocol, LPBYTE atr, LPDWORD atr_length)
ALWAYS(SCardGetStatusChange, SCARDCONTEXT context, DWORD timeout, SCARD_READERSTATE *states, DWORD count)
ALWAYS(SCardControl, SCARDHANDLE card, DWORD code, LPCVOID send, DWORD send_length, LPVOID recv, DWORD recv_length, LPDWORD returned)
ALWAYS(SCardListReaderGroups, SCARDCONTEXT context, LPSTR groups, LPDWORD length)
ALWAYS(SCardFreeMemory, SCARDCONTEXT context, LPCVOID memory)
ALWAYS(SCardCancel, SCARDCONTEXT context)
ALWAYS(SCardGetAttrib, SCARDHANDLE card, DWORD id, LPBYTE attr, LPDWORD length)
ALWAYS(SCardSetAttrib, SCARDHANDLE card, DWORD id, LPCBYTE attr, DWORD length)
