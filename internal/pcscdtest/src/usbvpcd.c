/*
 * An IFD handler that makes a USB reader of vpcd's: pcscd names such a device by its product, and vpcd wants a port.
 * Everything else is passed on to vpcd's handler, which lies beside this one in a file of its own, as its readers are
 * in static variables.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <ifdhandler.h>

/* The handler, of which this file has the path but for the last letters: X.so and X.vpcd. */
static void *vpcd;

__attribute__((constructor)) static void load(void)
{
	char path[4096];
	Dl_info self;
	size_t n;

	if (!dladdr((void *)&vpcd, &self) || (n = strlen(self.dli_fname)) + 3 > sizeof path || n < 3)
		return;
	snprintf(path, sizeof path, "%.*s.vpcd", (int)(n - 3), self.dli_fname);
	vpcd = dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

__attribute__((destructor)) static void unload(void)
{
	if (vpcd)
		dlclose(vpcd);
}

/* Calls vpcd's function. */
#define CALL(name, parameters, ...) \
	RESPONSECODE(*to) parameters = NULL; \
\
	if (vpcd) \
		*(void **)&to = dlsym(vpcd, #name); \
	return to ? to(__VA_ARGS__) : IFD_COMMUNICATION_ERROR

#define PASS(name, parameters, ...) \
	RESPONSECODE name parameters \
	{ \
		CALL(name, parameters, __VA_ARGS__); \
	}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
	unsigned product;
	char name[32];

	if (sscanf(DeviceName, "usb:%*x/%x:", &product) != 1)
		return IFD_NO_SUCH_DEVICE;
	snprintf(name, sizeof name, "/dev/null:%u", PORT + product);
	CALL(IFDHCreateChannelByName, (DWORD Lun, LPSTR DeviceName), Lun, name);
}

PASS(IFDHCreateChannel, (DWORD Lun, DWORD Channel), Lun, Channel)
PASS(IFDHCloseChannel, (DWORD Lun), Lun)
PASS(IFDHGetCapabilities, (DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value), Lun, Tag, Length, Value)
PASS(IFDHSetCapabilities, (DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value), Lun, Tag, Length, Value)
PASS(IFDHSetProtocolParameters, (DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1, UCHAR PTS2, UCHAR PTS3), Lun,
	Protocol, Flags, PTS1, PTS2, PTS3)
PASS(IFDHPowerICC, (DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength), Lun, Action, Atr, AtrLength)
PASS(IFDHTransmitToICC, (DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
	PDWORD RxLength, PSCARD_IO_HEADER RecvPci), Lun, SendPci, TxBuffer, TxLength, RxBuffer, RxLength, RecvPci)
PASS(IFDHICCPresence, (DWORD Lun), Lun)
PASS(IFDHControl, (DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer, DWORD RxLength,
	LPDWORD pdwBytesReturned), Lun, dwControlCode, TxBuffer, TxLength, RxBuffer, RxLength, pdwBytesReturned)
