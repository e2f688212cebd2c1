/*
 * An IFD handler whose readers have a PIN pad, for tests of PC/SC part 10. It is loaded by pcscd. Each reader has a
 * card that is always there. What the readers answer, and what they expect in the structures they get, is set through
 * control codes of their own; package ifdtest says how.
 *
 * The structures are those of the system's reader.h, read with this compiler's layout and byte order: an encoder that
 * agrees with them agrees with every driver.
 */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ifdhandler.h>
#include <reader.h>

/* Numbers of the control codes; the same as in ifdtest.go. */
#define CODE_COMMAND SCARD_CTL_CODE(3600)
#define CODE_FAILURES SCARD_CTL_CODE(3601)
#define CODE_CALLS SCARD_CTL_CODE(3602)
#define CODE_FEATURE SCARD_CTL_CODE(3700) /* plus the tag */

#define READERS 16
#define TAGS 256
#define QUEUE 32
#define ANSWER 512
#define FAILURES 4096
#define CALLS 1024
#define EXPECTED 2048
#define ATTRIBUTES 64
#define ATTRIBUTE 264 /* MAX_BUFFER_SIZE, which is the most that libpcsclite takes */

/* An answer to one call of a feature. Tag 0 is the question for the features. */
struct answer {
	long rc;       /* of the driver: IFD_SUCCESS or an error */
	long delay;    /* in milliseconds, before the answer */
	size_t length; /* in bytes */
	unsigned char bytes[ANSWER];
};

/* An attribute that the test has set. */
struct attribute {
	DWORD tag;
	long rc;
	size_t length;
	unsigned char bytes[ATTRIBUTE];
};

struct reader {
	struct answer *queue[TAGS][QUEUE]; /* the last one stays */
	size_t queued[TAGS];
	char expected[2][EXPECTED]; /* of PIN_VERIFY_STRUCTURE and PIN_MODIFY_STRUCTURE */
	char failures[FAILURES];
	unsigned char calls[CALLS]; /* tags */
	size_t called;
	struct attribute attributes[ATTRIBUTES];
	size_t attribute_count;
	long power; /* what supplying the card with power ends with */
	int verified;
	int aborted;
};

static struct reader readers[READERS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static const unsigned char atr[] = {0x3B, 0x86, 0x80, 0x01, 'p', 'i', 'n', 'p', 'a', 'd', 0x05};

static struct reader *reader_of(DWORD lun)
{
	return &readers[(lun >> 16) % READERS];
}

__attribute__((format(printf, 2, 3))) static void fail(struct reader *r, const char *format, ...)
{
	size_t at = strlen(r->failures);
	va_list args;

	va_start(args, format);
	vsnprintf(r->failures + at, sizeof r->failures - at, format, args);
	va_end(args);
	at = strlen(r->failures);
	if (at + 1 < sizeof r->failures)
		memcpy(r->failures + at, "\n", 2);
}

static void forget(struct reader *r)
{
	for (size_t tag = 0; tag < TAGS; tag++)
		for (size_t i = 0; i < r->queued[tag]; i++)
			free(r->queue[tag][i]);
	memset(r, 0, sizeof *r);
}

/* Reads bytes in hexadecimal up to a blank or the end, and returns how many, or -1. */
static long unhex(const char *text, unsigned char *out, size_t room)
{
	size_t n = 0;

	while (*text && *text != ' ' && *text != '\n') {
		char pair[3] = {text[0], text[1], 0};
		char *end;

		if (n == room)
			return -1;
		out[n++] = (unsigned char)strtoul(pair, &end, 16);
		if (end != pair + 2)
			return -1;
		text += 2;
	}
	return (long)n;
}

/* The structures, member by member. */
struct member {
	const char *name;
	size_t offset, size; /* size 0: the rest */
};

#define MEMBER(type, name) {#name, offsetof(type, name), sizeof(((type *)0)->name)}

static const struct member verify_members[] = {
	MEMBER(PIN_VERIFY_STRUCTURE, bTimerOut),
	MEMBER(PIN_VERIFY_STRUCTURE, bTimerOut2),
	MEMBER(PIN_VERIFY_STRUCTURE, bmFormatString),
	MEMBER(PIN_VERIFY_STRUCTURE, bmPINBlockString),
	MEMBER(PIN_VERIFY_STRUCTURE, bmPINLengthFormat),
	MEMBER(PIN_VERIFY_STRUCTURE, wPINMaxExtraDigit),
	MEMBER(PIN_VERIFY_STRUCTURE, bEntryValidationCondition),
	MEMBER(PIN_VERIFY_STRUCTURE, bNumberMessage),
	MEMBER(PIN_VERIFY_STRUCTURE, wLangId),
	MEMBER(PIN_VERIFY_STRUCTURE, bMsgIndex),
	MEMBER(PIN_VERIFY_STRUCTURE, bTeoPrologue),
	MEMBER(PIN_VERIFY_STRUCTURE, ulDataLength),
	{"abData", offsetof(PIN_VERIFY_STRUCTURE, abData), 0},
	{NULL, 0, 0},
};

static const struct member modify_members[] = {
	MEMBER(PIN_MODIFY_STRUCTURE, bTimerOut),
	MEMBER(PIN_MODIFY_STRUCTURE, bTimerOut2),
	MEMBER(PIN_MODIFY_STRUCTURE, bmFormatString),
	MEMBER(PIN_MODIFY_STRUCTURE, bmPINBlockString),
	MEMBER(PIN_MODIFY_STRUCTURE, bmPINLengthFormat),
	MEMBER(PIN_MODIFY_STRUCTURE, bInsertionOffsetOld),
	MEMBER(PIN_MODIFY_STRUCTURE, bInsertionOffsetNew),
	MEMBER(PIN_MODIFY_STRUCTURE, wPINMaxExtraDigit),
	MEMBER(PIN_MODIFY_STRUCTURE, bConfirmPIN),
	MEMBER(PIN_MODIFY_STRUCTURE, bEntryValidationCondition),
	MEMBER(PIN_MODIFY_STRUCTURE, bNumberMessage),
	MEMBER(PIN_MODIFY_STRUCTURE, wLangId),
	MEMBER(PIN_MODIFY_STRUCTURE, bMsgIndex1),
	MEMBER(PIN_MODIFY_STRUCTURE, bMsgIndex2),
	MEMBER(PIN_MODIFY_STRUCTURE, bMsgIndex3),
	MEMBER(PIN_MODIFY_STRUCTURE, bTeoPrologue),
	MEMBER(PIN_MODIFY_STRUCTURE, ulDataLength),
	{"abData", offsetof(PIN_MODIFY_STRUCTURE, abData), 0},
	{NULL, 0, 0},
};

/* Finds the value of a name in "name=value name=value", or NULL. */
static const char *value_of(const char *text, const char *name)
{
	size_t n = strlen(name);

	while (*text) {
		if (strncmp(text, name, n) == 0 && text[n] == '=')
			return text + n + 1;
		text += strcspn(text, " \n");
		text += strspn(text, " \n");
	}
	return NULL;
}

/* Compares a structure with what is expected of it. */
static void check(struct reader *r, const struct member *members, const char *expected, const unsigned char *in,
	size_t length)
{
	size_t known = 0;
	uint32_t data_length = 0;

	for (const struct member *m = members; m->name; m++) {
		const char *want = value_of(expected, m->name);
		size_t size = m->size ? m->size : length - m->offset;

		if (length < m->offset + m->size) {
			fail(r, "%s: the structure ends before it, after %zu bytes", m->name, length);
			return;
		}
		if (strcmp(m->name, "ulDataLength") == 0)
			memcpy(&data_length, in + m->offset, sizeof data_length);
		if (m->size == 0 && data_length != size)
			fail(r, "ulDataLength: %u, but %zu bytes follow", (unsigned)data_length, size);
		if (!want) {
			if (*expected)
				fail(r, "%s: nothing is expected of it", m->name);
			continue;
		}
		known++;
		if (size == 3 || m->size == 0) {
			unsigned char bytes[ANSWER];
			long n = unhex(want, bytes, sizeof bytes);

			if (n < 0 || (size_t)n != size || memcmp(bytes, in + m->offset, size) != 0)
				fail(r, "%s: not as expected", m->name);
			continue;
		}
		uint8_t u8;
		uint16_t u16;
		uint32_t got = 0;

		switch (size) {
		case 1:
			memcpy(&u8, in + m->offset, size);
			got = u8;
			break;
		case 2:
			memcpy(&u16, in + m->offset, size);
			got = u16;
			break;
		case 4:
			memcpy(&got, in + m->offset, size);
			break;
		default:
			fail(r, "%s: %zu bytes", m->name, size);
		}
		if (got != strtoul(want, NULL, 0))
			fail(r, "%s: 0x%X, expected %.10s", m->name, (unsigned)got, want);
	}
	size_t names = 0;

	for (const char *p = expected; *p; p++)
		names += *p == '=';
	if (names != known)
		fail(r, "%zu members are expected, %zu of them exist", names, known);
}

static RESPONSECODE set_attribute(struct reader *r, const struct attribute *a)
{
	size_t i = 0;

	while (i < r->attribute_count && r->attributes[i].tag != a->tag)
		i++;
	if (i == ATTRIBUTES)
		return IFD_ERROR_SET_FAILURE;
	r->attributes[i] = *a;
	if (i == r->attribute_count)
		r->attribute_count++;
	return IFD_SUCCESS;
}

/*
 * Commands of the test:
 *
 *   reset                      forget all that was set and recorded
 *   answer TAG RC DELAY HEX    answer to the feature, in place of the usual one
 *   then TAG RC DELAY HEX      answer after the ones before
 *   verify NAME=VALUE...       what to expect in PIN_VERIFY_STRUCTURE
 *   modify NAME=VALUE...       what to expect in PIN_MODIFY_STRUCTURE
 *   attribute TAG RC HEX       answer to the attribute, in place of the usual one
 *   power RC                   end of every further attempt to supply the card with power or to reset it
 */
static RESPONSECODE command(struct reader *r, const unsigned char *in, size_t length)
{
	char text[EXPECTED];
	unsigned tag;
	int at = 0;
	struct answer a = {0};

	if (length >= sizeof text)
		return IFD_COMMUNICATION_ERROR;
	memcpy(text, in, length);
	text[length] = 0;
	if (strcmp(text, "reset") == 0) {
		forget(r);
		return IFD_SUCCESS;
	}
	if (strncmp(text, "verify ", 7) == 0 || strncmp(text, "modify ", 7) == 0) {
		strcpy(r->expected[text[0] == 'm'], text + 7);
		return IFD_SUCCESS;
	}
	if (strncmp(text, "attribute ", 10) == 0) {
		struct attribute attribute = {0};

		if (sscanf(text + 10, "%lx %ld %n", &attribute.tag, &attribute.rc, &at) != 2 || at == 0)
			return IFD_COMMUNICATION_ERROR;
		long length = unhex(text + 10 + at, attribute.bytes, sizeof attribute.bytes);

		if (length < 0)
			return IFD_COMMUNICATION_ERROR;
		attribute.length = (size_t)length;
		return set_attribute(r, &attribute);
	}
	if (sscanf(text, "power %ld", &a.rc) == 1) {
		r->power = a.rc;
		return IFD_SUCCESS;
	}
	int first = strncmp(text, "answer ", 7) == 0;

	if (!first && strncmp(text, "then ", 5) != 0)
		return IFD_COMMUNICATION_ERROR;
	if (sscanf(strchr(text, ' '), " %x %ld %ld %n", &tag, &a.rc, &a.delay, &at) != 3 || at == 0 || tag >= TAGS)
		return IFD_COMMUNICATION_ERROR;
	long n = unhex(strchr(text, ' ') + at, a.bytes, sizeof a.bytes);

	if (n < 0)
		return IFD_COMMUNICATION_ERROR;
	a.length = (size_t)n;
	if (first) {
		for (size_t i = 0; i < r->queued[tag]; i++)
			free(r->queue[tag][i]);
		r->queued[tag] = 0;
	}
	if (r->queued[tag] == QUEUE)
		return IFD_COMMUNICATION_ERROR;
	struct answer *kept = malloc(sizeof *kept);

	if (!kept)
		return IFD_COMMUNICATION_ERROR;
	*kept = a;
	r->queue[tag][r->queued[tag]++] = kept;
	return IFD_SUCCESS;
}

static void feature(struct answer *a, unsigned tag)
{
	DWORD code = CODE_FEATURE + tag;
	unsigned char *p = a->bytes + a->length;

	*p++ = (unsigned char)tag;
	*p++ = 4;
	for (int shift = 24; shift >= 0; shift -= 8)
		*p++ = (unsigned char)(code >> shift);
	a->length += 6;
}

/* The usual answer. */
static void usual(struct answer *a, unsigned tag, const unsigned char *in, size_t length)
{
	static const unsigned char properties[] = {
		1, 2, 0x10, 0x02,
		2, 1, 0x07,
		3, 1, 0x01,
		4, 2, 0x10, 0x00,
		5, 2, 0x02, 0x00,
		6, 1, 4,
		7, 1, 12,
		8, 9, 'P', 'i', 'n', 'p', 'a', 'd', ' ', '1', 0,
		9, 1, 0x00,
		10, 4, 0x00, 0x01, 0x01, 0x00,
		11, 2, 0x34, 0x12,
		12, 2, 0x78, 0x56,
	};
	static const unsigned tags[] = {
		FEATURE_VERIFY_PIN_DIRECT, FEATURE_MODIFY_PIN_DIRECT, FEATURE_IFD_PIN_PROPERTIES, FEATURE_GET_TLV_PROPERTIES,
		FEATURE_CCID_ESC_COMMAND, FEATURE_EXECUTE_PACE, FEATURE_GET_KEY_PRESSED, FEATURE_ABORT,
	};
	PIN_PROPERTIES_STRUCTURE pin = {.wLcdLayout = 0x0210, .bEntryValidationCondition = 0x07, .bTimeOut2 = 0x01};

	switch (tag) {
	case 0:
		for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
			feature(a, tags[i]);
		break;
	case FEATURE_GET_TLV_PROPERTIES:
		memcpy(a->bytes, properties, sizeof properties);
		a->length = sizeof properties;
		break;
	case FEATURE_IFD_PIN_PROPERTIES:
		memcpy(a->bytes, &pin, sizeof pin);
		a->length = sizeof pin;
		break;
	case FEATURE_VERIFY_PIN_DIRECT:
	case FEATURE_MODIFY_PIN_DIRECT:
	case FEATURE_VERIFY_PIN_FINISH:
	case FEATURE_MODIFY_PIN_FINISH:
		memcpy(a->bytes, "\x90\x00", 2);
		a->length = 2;
		break;
	case FEATURE_VERIFY_PIN_START:
	case FEATURE_MODIFY_PIN_START:
	case FEATURE_ABORT:
		break;
	case FEATURE_GET_KEY_PRESSED:
		a->bytes[0] = 0;
		a->length = 1;
		break;
	case FEATURE_CCID_ESC_COMMAND: /* the command backwards */
		for (; a->length < length && a->length < sizeof a->bytes; a->length++)
			a->bytes[a->length] = in[length - 1 - a->length];
		break;
	case FEATURE_EXECUTE_PACE: /* the input is the output */
		if (length < 3 || length - 3 != (size_t)(in[1] | in[2] << 8) || length + 3 > sizeof a->bytes) {
			a->rc = IFD_COMMUNICATION_ERROR;
			break;
		}
		a->bytes[4] = in[1];
		a->bytes[5] = in[2];
		memcpy(a->bytes + 6, in + 3, length - 3);
		a->length = length + 3;
		break;
	default:
		a->rc = IFD_NOT_SUPPORTED;
	}
}

/* Calls a feature. The lock is given up while it waits, so that an abort could come in if pcscd let it. */
static RESPONSECODE call(struct reader *r, unsigned tag, const unsigned char *in, size_t length, unsigned char *out,
	size_t room, DWORD *returned)
{
	struct answer a = {0};
	int entry = tag == FEATURE_VERIFY_PIN_DIRECT || tag == FEATURE_MODIFY_PIN_DIRECT;

	if (r->called < CALLS)
		r->calls[r->called++] = (unsigned char)tag;
	if (tag == FEATURE_VERIFY_PIN_DIRECT || tag == FEATURE_VERIFY_PIN_START)
		check(r, verify_members, r->expected[0], in, length);
	else if (tag == FEATURE_MODIFY_PIN_DIRECT || tag == FEATURE_MODIFY_PIN_START)
		check(r, modify_members, r->expected[1], in, length);
	else if (tag != FEATURE_CCID_ESC_COMMAND && tag != FEATURE_EXECUTE_PACE && length != 0)
		fail(r, "feature 0x%02X: %zu bytes of input", tag, length);
	if (r->queued[tag] > 0) {
		a = *r->queue[tag][0];
		if (r->queued[tag] > 1) {
			free(r->queue[tag][0]);
			r->queued[tag]--;
			memmove(r->queue[tag], r->queue[tag] + 1, r->queued[tag] * sizeof r->queue[tag][0]);
		}
	} else {
		usual(&a, tag, in, length);
	}
	if (tag == FEATURE_ABORT)
		r->aborted = 1;
	else if (entry)
		r->aborted = 0;
	for (; a.delay > 0; a.delay -= 10) {
		struct timespec tick = {0, 10 * 1000 * 1000};

		if (entry && r->aborted) {
			memcpy(a.bytes, "\x64\x01", 2);
			a.length = 2;
			break;
		}
		pthread_mutex_unlock(&mutex);
		nanosleep(&tick, NULL);
		pthread_mutex_lock(&mutex);
	}
	if (a.rc != IFD_SUCCESS)
		return a.rc;
	if ((tag == FEATURE_VERIFY_PIN_DIRECT || tag == FEATURE_VERIFY_PIN_FINISH) && a.length >= 2)
		r->verified = memcmp(a.bytes + a.length - 2, "\x90\x00", 2) == 0;
	if (a.length > room)
		return IFD_ERROR_INSUFFICIENT_BUFFER;
	memcpy(out, a.bytes, a.length);
	*returned = a.length;
	return IFD_SUCCESS;
}

RESPONSECODE IFDHControl(DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
	DWORD RxLength, LPDWORD pdwBytesReturned)
{
	struct reader *r = reader_of(Lun);
	RESPONSECODE rc = IFD_SUCCESS;

	*pdwBytesReturned = 0;
	pthread_mutex_lock(&mutex);
	switch (dwControlCode) {
	case CODE_COMMAND:
		rc = command(r, TxBuffer, TxLength);
		break;
	case CODE_FAILURES:
		*pdwBytesReturned = strnlen(r->failures, RxLength);
		memcpy(RxBuffer, r->failures, *pdwBytesReturned);
		r->failures[0] = 0;
		break;
	case CODE_CALLS:
		*pdwBytesReturned = r->called < RxLength ? r->called : RxLength;
		memcpy(RxBuffer, r->calls, *pdwBytesReturned);
		r->called = 0;
		break;
	case CM_IOCTL_GET_FEATURE_REQUEST:
		rc = call(r, 0, TxBuffer, TxLength, RxBuffer, RxLength, pdwBytesReturned);
		break;
	default:
		if (dwControlCode > CODE_FEATURE && dwControlCode < CODE_FEATURE + TAGS)
			rc = call(r, (unsigned)(dwControlCode - CODE_FEATURE), TxBuffer, TxLength, RxBuffer, RxLength, pdwBytesReturned);
		else
			rc = IFD_NOT_SUPPORTED;
	}
	pthread_mutex_unlock(&mutex);
	return rc;
}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
	(void)DeviceName;
	pthread_mutex_lock(&mutex);
	forget(reader_of(Lun));
	pthread_mutex_unlock(&mutex);
	return IFD_SUCCESS;
}

RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel)
{
	(void)Channel;
	return IFDHCreateChannelByName(Lun, NULL);
}

RESPONSECODE IFDHCloseChannel(DWORD Lun)
{
	return IFDHCreateChannelByName(Lun, NULL);
}

static RESPONSECODE give(const void *value, size_t length, PDWORD Length, PUCHAR Value)
{
	if (*Length < length)
		return IFD_ERROR_INSUFFICIENT_BUFFER;
	memcpy(Value, value, length);
	*Length = length;
	return IFD_SUCCESS;
}

/*
 * The usual attributes. Drivers do not agree on the width of an integer, so here they have the widths that drivers use:
 * a byte, 32 bits, and pcsc-lite's DWORD. Nor do they agree on whether a NUL belongs to a text.
 */
static RESPONSECODE usual_attribute(DWORD tag, PDWORD length, PUCHAR value)
{
	static const char vendor[] = "gopcsc", type[] = "PIN Pad", serial[] = "S/N 0042";
	static const uint32_t version = 0x01020304, protocols = SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, clock = 4000,
			      rate = 10753, ifsd = 254, input = 65544, none = 0;
	static const DWORD channel = 0x00200104, max_clock = 20000, max_rate = 344086, protocol = SCARD_PROTOCOL_T1;
	static const unsigned char present = 2, active = 1, io_state[] = {0xA5, 0x00, 0x5A};

	switch (tag) {
	case SCARD_ATTR_VENDOR_NAME:
		return give(vendor, sizeof vendor, length, value);
	case SCARD_ATTR_VENDOR_IFD_TYPE:
		return give(type, sizeof type - 1, length, value);
	case SCARD_ATTR_VENDOR_IFD_SERIAL_NO:
		return give(serial, sizeof serial, length, value);
	case SCARD_ATTR_VENDOR_IFD_VERSION:
		return give(&version, sizeof version, length, value);
	case SCARD_ATTR_CHANNEL_ID:
		return give(&channel, sizeof channel, length, value);
	case SCARD_ATTR_ASYNC_PROTOCOL_TYPES:
		return give(&protocols, sizeof protocols, length, value);
	case SCARD_ATTR_CURRENT_PROTOCOL_TYPE:
		return give(&protocol, sizeof protocol, length, value);
	case SCARD_ATTR_DEFAULT_CLK:
		return give(&clock, sizeof clock, length, value);
	case SCARD_ATTR_MAX_CLK:
		return give(&max_clock, sizeof max_clock, length, value);
	case SCARD_ATTR_DEFAULT_DATA_RATE:
		return give(&rate, sizeof rate, length, value);
	case SCARD_ATTR_MAX_DATA_RATE:
		return give(&max_rate, sizeof max_rate, length, value);
	case SCARD_ATTR_MAX_IFSD:
		return give(&ifsd, sizeof ifsd, length, value);
	case SCARD_ATTR_MAXINPUT:
		return give(&input, sizeof input, length, value);
	case SCARD_ATTR_POWER_MGMT_SUPPORT:
	case SCARD_ATTR_CHARACTERISTICS:
		return give(&none, sizeof none, length, value);
	case SCARD_ATTR_ICC_PRESENCE:
		return give(&present, sizeof present, length, value);
	case SCARD_ATTR_ICC_INTERFACE_STATUS:
		return give(&active, sizeof active, length, value);
	case SCARD_ATTR_CURRENT_IO_STATE:
		return give(io_state, sizeof io_state, length, value);
	case SCARD_ATTR_ATR_STRING:
		return give(atr, sizeof atr, length, value);
	}
	return IFD_ERROR_TAG;
}

RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value)
{
	static const unsigned char one = 1, many = READERS;
	struct reader *r = reader_of(Lun);
	RESPONSECODE rc = IFD_ERROR_TAG;
	size_t i = 0;

	switch (Tag) {
	case TAG_IFD_ATR:
		return give(atr, sizeof atr, Length, Value);
	case TAG_IFD_SIMULTANEOUS_ACCESS:
		return give(&many, 1, Length, Value);
	case TAG_IFD_SLOTS_NUMBER:
	case TAG_IFD_THREAD_SAFE:
		return give(&one, 1, Length, Value);
	}
	pthread_mutex_lock(&mutex);
	while (i < r->attribute_count && r->attributes[i].tag != Tag)
		i++;
	if (i == r->attribute_count)
		rc = usual_attribute(Tag, Length, Value);
	else if (r->attributes[i].rc != IFD_SUCCESS)
		rc = r->attributes[i].rc;
	else
		rc = give(r->attributes[i].bytes, r->attributes[i].length, Length, Value);
	pthread_mutex_unlock(&mutex);
	return rc;
}

/* Every attribute can be set. */
RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value)
{
	struct attribute a = {.tag = Tag, .length = Length};
	RESPONSECODE rc;

	if (Length > sizeof a.bytes)
		return IFD_ERROR_SET_FAILURE;
	memcpy(a.bytes, Value, Length);
	pthread_mutex_lock(&mutex);
	rc = set_attribute(reader_of(Lun), &a);
	pthread_mutex_unlock(&mutex);
	return rc;
}

RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1, UCHAR PTS2, UCHAR PTS3)
{
	(void)Lun;
	(void)Protocol;
	(void)Flags;
	(void)PTS1;
	(void)PTS2;
	(void)PTS3;
	return IFD_SUCCESS;
}

RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength)
{
	struct reader *r = reader_of(Lun);
	RESPONSECODE rc;

	pthread_mutex_lock(&mutex);
	r->verified = 0;
	rc = Action == IFD_POWER_DOWN ? IFD_SUCCESS : r->power;
	pthread_mutex_unlock(&mutex);
	if (Action == IFD_POWER_DOWN || rc != IFD_SUCCESS) {
		*AtrLength = 0;
		return rc;
	}
	memcpy(Atr, atr, sizeof atr);
	*AtrLength = sizeof atr;
	return IFD_SUCCESS;
}

/* The card knows one command, 80 50 00 00: it answers whether the PIN is verified. */
RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
	PDWORD RxLength, PSCARD_IO_HEADER RecvPci)
{
	struct reader *r = reader_of(Lun);

	(void)SendPci;
	(void)RecvPci;
	if (*RxLength < 3)
		return IFD_COMMUNICATION_ERROR;
	if (TxLength < 4 || memcmp(TxBuffer, "\x80\x50\x00\x00", 4) != 0) {
		memcpy(RxBuffer, "\x6D\x00", 2);
		*RxLength = 2;
		return IFD_SUCCESS;
	}
	pthread_mutex_lock(&mutex);
	RxBuffer[0] = (unsigned char)r->verified;
	pthread_mutex_unlock(&mutex);
	memcpy(RxBuffer + 1, "\x90\x00", 2);
	*RxLength = 3;
	return IFD_SUCCESS;
}

RESPONSECODE IFDHICCPresence(DWORD Lun)
{
	(void)Lun;
	return IFD_ICC_PRESENT;
}
