/*
 * An IFD handler that decides nothing: it is loaded by pcscd and asks the test process, over a Unix socket, about every
 * call. REMOTE_SOCKET is the socket's path, set by who compiles this.
 *
 * Each reader has two connections, made when its channel is opened: one for calls, which pcscd makes one at a time for
 * each reader, and one for the thread in which pcscd waits for cards. That thread sleeps here, and not for a fixed time
 * in pcscd, so the test says when pcscd looks at a reader, and learns when it has looked.
 */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <ifdhandler.h>
#include <reader.h>

#define READERS 16

/* What is asked; the same as in remote.go. */
enum {
	OP_CALLS,
	OP_WAITS,
	OP_PRESENCE,
	OP_POWER,
	OP_TRANSMIT,
	OP_CONTROL,
	OP_GET,
	OP_SET,
	OP_PROTOCOL,
	OP_WAIT,
};

struct question {
	uint32_t op;
	uint32_t number; /* of a reader, an action, a protocol, a control code or a tag; a time in ms */
	uint32_t room;   /* for the answer's bytes */
	uint32_t length; /* of the bytes that follow */
};

struct answer {
	int32_t rc;
	uint32_t length; /* of the bytes that follow */
};

struct connection {
	int fd;
	pthread_mutex_t mutex;
};

static struct connection calls[READERS], waits[READERS];

static int number_of(DWORD lun)
{
	return (int)(lun >> 16) % READERS;
}

static int put(int fd, const void *from, size_t length)
{
	const char *p = from;

	while (length > 0) {
		ssize_t n = send(fd, p, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

static int get(int fd, void *to, size_t length)
{
	char *p = to;

	while (length > 0) {
		ssize_t n = recv(fd, p, length, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

/* Asks, and writes the answer's bytes to out; out and length may be NULL where none are expected. */
static RESPONSECODE ask(struct connection *c, uint32_t op, DWORD number, const void *in, DWORD in_length, void *out,
	DWORD *out_length)
{
	struct question q = {op, (uint32_t)number, out_length ? (uint32_t)*out_length : 0, (uint32_t)in_length};
	struct answer a = {IFD_COMMUNICATION_ERROR, 0};

	pthread_mutex_lock(&c->mutex);
	if (put(c->fd, &q, sizeof q) < 0 || put(c->fd, in, in_length) < 0 || get(c->fd, &a, sizeof a) < 0 ||
		a.length > q.room || get(c->fd, out, a.length) < 0) {
		a.rc = IFD_COMMUNICATION_ERROR;
		a.length = 0;
	}
	pthread_mutex_unlock(&c->mutex);
	if (out_length)
		*out_length = a.length;
	return a.rc;
}

static int dial(struct connection *c, uint32_t op, int number)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (sizeof REMOTE_SOCKET > sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, REMOTE_SOCKET, sizeof REMOTE_SOCKET);
	pthread_mutex_init(&c->mutex, NULL);
	c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (c->fd < 0)
		return -1;
	if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
		ask(c, op, (DWORD)number, NULL, 0, NULL, NULL) != IFD_SUCCESS) {
		close(c->fd);
		return -1;
	}
	return 0;
}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
	int n = number_of(Lun);

	(void)DeviceName;
	if (dial(&calls[n], OP_CALLS, n) < 0)
		return IFD_COMMUNICATION_ERROR;
	if (dial(&waits[n], OP_WAITS, n) < 0) {
		close(calls[n].fd);
		return IFD_COMMUNICATION_ERROR;
	}
	return IFD_SUCCESS;
}

RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel)
{
	(void)Channel;
	return IFDHCreateChannelByName(Lun, NULL);
}

RESPONSECODE IFDHCloseChannel(DWORD Lun)
{
	int n = number_of(Lun);

	close(calls[n].fd);
	close(waits[n].fd);
	return IFD_SUCCESS;
}

/* pcscd waits in here, and looks at the reader each time that this returns. */
static RESPONSECODE wait_for_card(DWORD Lun, int timeout)
{
	return ask(&waits[number_of(Lun)], OP_WAIT, (DWORD)timeout, NULL, 0, NULL, NULL);
}

static RESPONSECODE give(const void *value, size_t length, PDWORD Length, PUCHAR Value)
{
	if (*Length < length)
		return IFD_ERROR_INSUFFICIENT_BUFFER;
	memcpy(Value, value, length);
	*Length = length;
	return IFD_SUCCESS;
}

RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value)
{
	static const unsigned char one = 1, many = READERS;
	RESPONSECODE (*waiter)(DWORD, int) = wait_for_card;

	switch (Tag) {
	case TAG_IFD_SIMULTANEOUS_ACCESS:
		return give(&many, 1, Length, Value);
	case TAG_IFD_SLOTS_NUMBER:
	case TAG_IFD_THREAD_SAFE:
		return give(&one, 1, Length, Value);
	case TAG_IFD_POLLING_THREAD_WITH_TIMEOUT:
		return give(&waiter, sizeof waiter, Length, Value);
	case TAG_IFD_STOP_POLLING_THREAD:
	case TAG_IFD_POLLING_THREAD_KILLABLE:
		return IFD_ERROR_TAG;
	}
	DWORD length = *Length;
	RESPONSECODE rc = ask(&calls[number_of(Lun)], OP_GET, Tag, NULL, 0, Value, &length);

	/* pcscd takes the length for its room still when it answers in place of a driver that does not know the tag. */
	if (rc == IFD_SUCCESS)
		*Length = length;
	return rc;
}

RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value)
{
	return ask(&calls[number_of(Lun)], OP_SET, Tag, Value, Length, NULL, NULL);
}

RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1, UCHAR PTS2, UCHAR PTS3)
{
	(void)Flags;
	(void)PTS1;
	(void)PTS2;
	(void)PTS3;
	return ask(&calls[number_of(Lun)], OP_PROTOCOL, Protocol, NULL, 0, NULL, NULL);
}

RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength)
{
	*AtrLength = MAX_ATR_SIZE;
	return ask(&calls[number_of(Lun)], OP_POWER, Action, NULL, 0, Atr, AtrLength);
}

RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
	PDWORD RxLength, PSCARD_IO_HEADER RecvPci)
{
	(void)RecvPci;
	return ask(&calls[number_of(Lun)], OP_TRANSMIT, SendPci.Protocol, TxBuffer, TxLength, RxBuffer, RxLength);
}

RESPONSECODE IFDHControl(DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
	DWORD RxLength, LPDWORD pdwBytesReturned)
{
	*pdwBytesReturned = RxLength;
	return ask(&calls[number_of(Lun)], OP_CONTROL, dwControlCode, TxBuffer, TxLength, RxBuffer, pdwBytesReturned);
}

RESPONSECODE IFDHICCPresence(DWORD Lun)
{
	return ask(&calls[number_of(Lun)], OP_PRESENCE, 0, NULL, 0, NULL, NULL);
}
