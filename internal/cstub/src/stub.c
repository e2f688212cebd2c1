/*
 * A look-alike of libpcsclite.so.1 for tests and benchmarks.
 *
 * It has no service behind it: every call returns at once, so that what a
 * benchmark measures is the caller's overhead. And it checks every argument on
 * the C side, because a pointer into a moved Go stack, or a name that the
 * garbage collector freed too early, shows nowhere else.
 *
 * A failed check does not abort. It is recorded, the call returns an error, and
 * the record is read with SCardGetAttrib (see ATTR_FAILURES). The protocol of
 * names, buffers and attribute ids is documented in cstub.go, which must agree
 * with this file.
 */

#if defined(_WIN32)

#define STUB_WINDOWS
#define WIN32_LEAN_AND_MEAN
#define UNICODE /* the functions without a suffix are those for UTF-16 */
#define WINSCARDAPI __declspec(dllexport)
#define WINSCARDDATA __declspec(dllexport)
#include <windows.h>
#include <winscard.h>

#define STUB_API /* the header's declarations carry it */
#define STUB_EXPORT __declspec(dllexport) /* for those whose declaration does not */
#define STUB_CALL WINAPI

typedef SRWLOCK stub_lock;
typedef CONDITION_VARIABLE stub_cond;
#define STUB_LOCK_INIT SRWLOCK_INIT
#define STUB_COND_INIT CONDITION_VARIABLE_INIT
#define lock(l) AcquireSRWLockExclusive(l)
#define unlock(l) ReleaseSRWLockExclusive(l)
#define cond_wake(c) WakeAllConditionVariable(c)
#define cond_wait_ms(c, l, ms) ((void)SleepConditionVariableSRW((c), (l), (DWORD)(ms), 0))
#define sleep_ms(ms) Sleep((DWORD)(ms))
#define now_ms() ((uint64_t)GetTickCount64())

#else

#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <time.h>
#if defined(STUB_WINDOWS) /* the layouts and functions of Windows, for tests that run elsewhere */
#include "zwinscard.h"
#else
#include <winscard.h>
#endif

#define STUB_API __attribute__((visibility("default")))
#define STUB_EXPORT STUB_API
#define STUB_CALL

typedef pthread_mutex_t stub_lock;
typedef pthread_cond_t stub_cond;
#define STUB_LOCK_INIT PTHREAD_MUTEX_INITIALIZER
#define STUB_COND_INIT PTHREAD_COND_INITIALIZER
#define lock(l) pthread_mutex_lock(l)
#define unlock(l) pthread_mutex_unlock(l)
#define cond_wake(c) pthread_cond_broadcast(c)

#endif

#if defined(STUB_WINDOWS)

#define STUB_HAS_STRINGIFY 0

/* What the library calls characters, and counts: units of UTF-16. */
typedef WCHAR stub_char;
#define T(literal) L##literal

#ifndef MAX_READERNAME
#define MAX_READERNAME 128
#endif
#ifndef SCARD_PROTOCOL_T15
#define SCARD_PROTOCOL_T15 0
#endif
/* SCardStatus gives one of the enumerated states there, not a set of flags. */
#define STUB_STATUS(number) SCARD_NEGOTIABLE
#define STUB_CTL_CODE(code) (0x00310000u | ((code) << 2))

/* Without them it is a library of an old Windows. */
#if !defined(STUB_OLD_WINDOWS)
#define STUB_FUNCTIONS
#define STUB_LIST
#include "zfunctions.h"
#undef STUB_LIST
#else
#define WINDOWS_FUNCTIONS(X)
#endif

#else

#define STUB_HAS_STRINGIFY 1

typedef char stub_char;
#define T(literal) literal

#define STUB_STATUS(number) \
	(SCARD_PRESENT | SCARD_POWERED | SCARD_NEGOTIABLE | (DWORD)((number) + 1) << 16)
#define STUB_CTL_CODE(code) (0x42000000u + (code))

#define WINDOWS_FUNCTIONS(X)

#endif

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
static void sleep_ms(uint64_t ms)
{
	struct timespec ts = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	while (nanosleep(&ts, &ts) != 0 && errno == EINTR) {
	}
}

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The condition's clock is CLOCK_REALTIME, the only one a static initialiser
 * offers; callers compare with now_ms and wait again, so a jump does no harm. */
static void cond_wait_ms(stub_cond *c, stub_lock *l, uint64_t ms)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	uint64_t ns = (uint64_t)ts.tv_nsec + ms % 1000 * 1000000;
	ts.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	pthread_cond_timedwait(c, l, &ts);
}
#endif

/* ---- Functions, their counters and what a test can ask of them ---- */

/* X(name in counters and configuration, C name, names of the scalars that
 * ATTR_LAST gives back). The order is part of the protocol with cstub.go. */
#define FUNCTIONS(X) \
	X(establishcontext, "SCardEstablishContext", "dwScope") \
	X(releasecontext, "SCardReleaseContext", "hContext") \
	X(isvalidcontext, "SCardIsValidContext", "hContext") \
	X(connect, "SCardConnect", "dwShareMode dwPreferredProtocols") \
	X(reconnect, "SCardReconnect", "dwShareMode dwPreferredProtocols dwInitialization") \
	X(disconnect, "SCardDisconnect", "dwDisposition") \
	X(begintransaction, "SCardBeginTransaction", "hCard") \
	X(endtransaction, "SCardEndTransaction", "dwDisposition") \
	X(status, "SCardStatus", "hCard") \
	X(getstatuschange, "SCardGetStatusChange", "dwTimeout cReaders") \
	X(control, "SCardControl", "dwControlCode cbSendLength cbRecvLength") \
	X(transmit, "SCardTransmit", "dwProtocol cbSendLength cbRecvLength") \
	X(listreadergroups, "SCardListReaderGroups", "hContext") \
	X(listreaders, "SCardListReaders", "hContext") \
	X(freememory, "SCardFreeMemory", "hContext") \
	X(cancel, "SCardCancel", "hContext") \
	X(getattrib, "SCardGetAttrib", "dwAttrId") \
	X(setattrib, "SCardSetAttrib", "dwAttrId cbAttrLen") \
	X(stringifyerror, "pcsc_stringify_error", "pcscError") \
	WINDOWS_FUNCTIONS(X)

enum fn {
#define X(name, symbol, args) FN_##name,
	FUNCTIONS(X)
#undef X
	FN_COUNT
};

static const char *const fn_name[FN_COUNT] = {
#define X(name, symbol, args) #name,
	FUNCTIONS(X)
#undef X
};

static const char *const fn_symbol[FN_COUNT] = {
#define X(name, symbol, args) symbol,
	FUNCTIONS(X)
#undef X
};

static const char *const fn_args[FN_COUNT] = {
#define X(name, symbol, args) args,
	FUNCTIONS(X)
#undef X
};

/* Vendor attributes. They are answered for any handle, connected or not, and
 * are neither counted nor delayed. */
#define ATTR_FAILURES 0x0007F000u
#define ATTR_COUNTERS 0x0007F001u
#define ATTR_RESET 0x0007F002u
#define ATTR_FAILURE_COUNT 0x0007F003u
#define ATTR_READERS 0x0007F010u
#define ATTR_NEXT 0x0007F011u
#define ATTR_DELAY 0x0007F012u
#define ATTR_FILL 0x0007F013u
#define ATTR_ANSWER 0x0007F014u
#define ATTR_LAST 0x0007F100u /* + number of the function */
#define ATTR_VENDOR_LAST 0x0007F1FFu

/* Ordinary attributes: 0x0007E000 + N is a pattern of N bytes. */
#define ATTR_PATTERN 0x0007E000u
#define ATTR_PATTERN_LAST 0x0007EFFFu
#define ATTR_VENDOR_NAME 0x00010100u
#define ATTR_VENDOR_IFD_VERSION 0x00010102u
#define ATTR_ATR_STRING 0x00090303u
#define ATTR_FRIENDLY_NAME 0x7FFF0003u

#define TIMEOUT_WAIT 0x5EE9u
#define DEFAULT_READERS 2
#define MAX_READERS 100
#define MAX_STATES 128
#define MAX_ATR 33
#define MAX_CAPACITY (64u << 20)
#define FILLER 0xEE

static atomic_ulong counters[FN_COUNT];
static _Atomic uint64_t last[FN_COUNT][3];

static _Atomic uint64_t armed; /* bit per function: it has a delay or a planned code */
static _Atomic uint64_t delay_of[FN_COUNT];
static _Atomic uint32_t next_code[FN_COUNT];
static atomic_int next_times[FN_COUNT];
static atomic_int readers = DEFAULT_READERS;
static atomic_bool foreign_readers; /* the listed names are foreign */
static atomic_bool fill_capacity;

static stub_lock big = STUB_LOCK_INIT; /* handles, cards, waiters, allocations */
static stub_cond changed = STUB_COND_INIT;
static unsigned waiting;

/* ---- Failures ---- */

#define FAILURES_KEPT 16
#define FAILURE_SIZE 240

static stub_lock failure_lock = STUB_LOCK_INIT;
static atomic_ulong failure_count;
static char failure_text[FAILURES_KEPT][FAILURE_SIZE];

static void failed(enum fn f, const char *arg, const char *format, ...)
#if defined(__GNUC__)
	__attribute__((format(printf, 3, 4)))
#endif
	;

static void failed(enum fn f, const char *arg, const char *format, ...)
{
	lock(&failure_lock);
	unsigned long n = atomic_fetch_add(&failure_count, 1);
	if (n < FAILURES_KEPT) {
		char *text = failure_text[n];
		int k = snprintf(text, FAILURE_SIZE, "%s: %s: ", fn_symbol[f], arg);
		va_list ap;
		va_start(ap, format);
		vsnprintf(text + k, FAILURE_SIZE - (size_t)k, format, ap);
		va_end(ap);
	}
	unlock(&failure_lock);
}

#define FAIL(f, arg, ...) \
	do { \
		failed(f, arg, __VA_ARGS__); \
		return SCARD_E_INVALID_PARAMETER; \
	} while (0)

/* ---- Checks of scalars and pointers ---- */

#define U64(v) ((unsigned long long)(v))

static bool pointer_ok(enum fn f, const char *arg, const void *p, size_t align)
{
	if (p == NULL) {
		failed(f, arg, "NULL");
		return false;
	}
	if ((uintptr_t)p % align != 0) {
		failed(f, arg, "misaligned: %p is not a multiple of %u", p, (unsigned)align);
		return false;
	}
	return true;
}

/* A DWORD has 64 bits on LP64 but its values have 32: more means that the
 * caller extended a sign or passed 32 bits beside garbage. */
static bool dword_ok(enum fn f, const char *arg, uint64_t v)
{
	if (v > 0xFFFFFFFFu) {
		failed(f, arg, "0x%llx has more than 32 bits", U64(v));
		return false;
	}
	return true;
}

static bool range_ok(enum fn f, const char *arg, uint64_t v, uint64_t low, uint64_t high)
{
	if (v < low || v > high) {
		failed(f, arg, "0x%llx is not in %llu..%llu", U64(v), U64(low), U64(high));
		return false;
	}
	return true;
}

static bool protocols_ok(enum fn f, uint64_t v)
{
	if (v & ~(uint64_t)(SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1 | SCARD_PROTOCOL_RAW | SCARD_PROTOCOL_T15)) {
		failed(f, "dwPreferredProtocols", "0x%llx has unknown bits", U64(v));
		return false;
	}
	return true;
}

#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
			return SCARD_E_INVALID_PARAMETER; \
	} while (0)

#define REQUIRE_OUT(f, p, type) REQUIRE(pointer_ok(f, #p, p, _Alignof(type)))
#define REQUIRE_DWORD(f, v) REQUIRE(dword_ok(f, #v, v))
#define REQUIRE_RANGE(f, v, low, high) REQUIRE(range_ok(f, #v, v, low, high))

static void remember(enum fn f, uint64_t a, uint64_t b, uint64_t c)
{
	atomic_store_explicit(&last[f][0], a, memory_order_relaxed);
	atomic_store_explicit(&last[f][1], b, memory_order_relaxed);
	atomic_store_explicit(&last[f][2], c, memory_order_relaxed);
}

static void count(enum fn f)
{
	atomic_fetch_add_explicit(&counters[f], 1, memory_order_relaxed);
}

static bool is_armed(enum fn f)
{
	return atomic_load_explicit(&armed, memory_order_relaxed) >> f & 1;
}

/* planned takes the code that a test wants this call to return. */
static bool planned(enum fn f, LONG *rc)
{
	if (!is_armed(f))
		return false;
	int n = atomic_load(&next_times[f]);
	while (n > 0) {
		if (atomic_compare_exchange_weak(&next_times[f], &n, n - 1)) {
			*rc = (LONG)atomic_load(&next_code[f]);
			return true;
		}
	}
	return false;
}

#define RETURN_PLANNED(f) \
	do { \
		LONG planned_rc; \
		if (planned(f, &planned_rc)) \
			return planned_rc; \
	} while (0)

/* ---- Handles ----
 *
 * A handle has bit 31 set and, where it has 64 bits, a tag in its upper half:
 * whoever stores it in 32 bits or extends their sign gives back another value,
 * and is told so. The low 12 bits are a slot, the 16 above count its uses, so a
 * handle that was closed is not mistaken for the next one.
 */

#define SLOT_BITS 12
#define SLOTS (1u << SLOT_BITS)
#define USE_BITS 16
#define NUMBER_MASK ((1u << (SLOT_BITS + USE_BITS)) - 1)

#define CONTEXT_LOW 0x90000000u
#define CARD_LOW 0xA0000000u
#define CONTEXT_HIGH 0x5CC0FFEEu
#define CARD_HIGH 0x5CCA4D1Eu

struct table {
	const char *arg;
	uint32_t high, low;
	unsigned hint, live;
	_Atomic uint64_t handle[SLOTS];
	uint32_t uses[SLOTS];
};

static struct table contexts = {.arg = "hContext", .high = CONTEXT_HIGH, .low = CONTEXT_LOW};
static struct table cards = {.arg = "hCard", .high = CARD_HIGH, .low = CARD_LOW};

struct context {
	uint64_t cancels;
};

struct card {
	uint64_t context;
	int number;
	_Atomic uint32_t protocol;
	atomic_int transactions;
	atomic_int busy; /* slow calls in progress */
	stub_char name[MAX_READERNAME];
};

static struct context context_of[SLOTS];
static struct card card_of[SLOTS];

static uint64_t handle_value(SCARDHANDLE h)
{
	return sizeof(h) == 8 ? (uint64_t)h : (uint64_t)h & 0xFFFFFFFFu;
}

_Static_assert(sizeof(SCARDHANDLE) == sizeof(SCARDCONTEXT), "one width for both handles");

/* With the lock held. Returns a slot, or -1 if all are taken. */
static int open_handle(struct table *t)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		unsigned slot = t->hint++ % SLOTS;
		if (atomic_load_explicit(&t->handle[slot], memory_order_relaxed) != 0)
			continue;
		t->uses[slot] = (t->uses[slot] + 1) & ((1u << USE_BITS) - 1);
		uint64_t v = t->low | t->uses[slot] << SLOT_BITS | slot;
		if (sizeof(SCARDHANDLE) == 8)
			v |= (uint64_t)t->high << 32;
		t->live++;
		atomic_store(&t->handle[slot], v);
		return (int)slot;
	}
	return -1;
}

/* With the lock held. */
static void close_handle(struct table *t, int slot)
{
	atomic_store(&t->handle[slot], 0);
	t->live--;
}

static int find_quietly(struct table *t, uint64_t v)
{
	unsigned slot = v & (SLOTS - 1);
	return v != 0 && atomic_load_explicit(&t->handle[slot], memory_order_acquire) == v ? (int)slot : -1;
}

/* Returns the slot, or -1. A handle that was closed is an ordinary mistake of a
 * program, which gets the ordinary code; one that was never given out can only
 * come from a binding that damaged it, and is recorded. */
static int find_handle(enum fn f, struct table *t, uint64_t v)
{
	int slot = find_quietly(t, v);
	if (slot >= 0)
		return slot;
	uint64_t base = t->low;
	if (sizeof(SCARDHANDLE) == 8)
		base |= (uint64_t)t->high << 32;
	if ((v & ~(uint64_t)NUMBER_MASK) == base)
		return -1;
	uint64_t real = atomic_load(&t->handle[v & (SLOTS - 1)]);
	if (real != 0 && (uint32_t)real == (uint32_t)v)
		failed(f, t->arg, "truncated or sign-extended: 0x%llx, want 0x%llx", U64(v), U64(real));
	else
		failed(f, t->arg, "0x%llx was never given out", U64(v));
	return -1;
}

#define REQUIRE_CONTEXT(f, slot) \
	int slot = find_handle(f, &contexts, handle_value(hContext)); \
	if (slot < 0) \
	return SCARD_E_INVALID_HANDLE

#define REQUIRE_CARD(f, slot) \
	int slot = find_handle(f, &cards, handle_value(hCard)); \
	if (slot < 0) \
	return SCARD_E_INVALID_HANDLE

/* hold delays a call when a test asked for it, before anything but its handle
 * is looked at: memory that the caller gives up during the delay is then seen
 * to be gone. The card counts as busy meanwhile. */
static void hold(enum fn f, struct card *c)
{
	if (!is_armed(f))
		return;
	uint64_t ms = atomic_load(&delay_of[f]);
	if (ms == 0)
		return;
	if (c != NULL)
		atomic_fetch_add(&c->busy, 1);
	sleep_ms(ms);
	if (c != NULL)
		atomic_fetch_sub(&c->busy, 1);
}

/* With the lock held. */
static void close_card(enum fn f, int slot)
{
	int busy = atomic_load(&card_of[slot].busy);
	if (busy != 0)
		failed(f, "hCard", "closed while %d call(s) use the card", busy);
	close_handle(&cards, slot);
}

/* ---- Reader names ----
 *
 *	Stub Reader NN
 *	Stub Reader NN *FOREIGN
 *	Stub Reader NN =XXXXXXXX
 *	Stub Reader NN =XXXXXXXX /HHHHHHHH
 *	Stub Reader NN #LLL#xyz...
 *	Stub Reader NN =XXXXXXXX #LLL#xyz...
 *
 * NN is the reader's number. XXXXXXXX is what dwCurrentState must be in
 * SCardGetStatusChange, and HHHHHHHH the hash of what else the caller passes,
 * see hash_of. LLL is the length of the whole name in bytes, and byte i of the
 * text after it is 'a' + (i + NN) % 26: such a name proves that it arrived
 * whole. FOREIGN may stand before a state, too.
 */

#define NAME_PREFIX T("Stub Reader ")
#define NAME_HEAD (sizeof NAME_PREFIX / sizeof(stub_char) - 1)
#define PNP_NAME T("\\\\?PnP?\\Notification")
/* " *" and this after the number of a reader is a name beyond ASCII, and beyond 16 bits. */
#define FOREIGN T("\u00dcn\u00efc\u00f6d\u00e9 \u8aad\u53d6 \U0001F600")
#define FOREIGN_LENGTH (sizeof FOREIGN / sizeof(stub_char) - 1)
#define PNP_LENGTH (sizeof PNP_NAME / sizeof(stub_char) - 1)

struct name {
	int number; /* -1: the plug-and-play pseudo reader */
	size_t length;
	bool checked; /* carries a pattern or a length: accepted without being listed */
	bool has_state, has_hash;
	uint32_t state, hash;
};

/* Escapes the head of a name for a failure's text. It stops at the first NUL,
 * so a name that begins with one shows as "". */
static const char *quoted(const char *s, size_t n, char *out, size_t size)
{
	size_t k = 0;
	for (size_t i = 0; i < n && s[i] != '\0' && k + 5 < size; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c >= 0x20 && c < 0x7F)
			out[k++] = (char)c;
		else
			k += (size_t)snprintf(out + k, size - k, "\\x%02x", c);
	}
	out[k] = '\0';
	return out;
}

/* The same for a text of the library's characters. */
static const char *shown(const stub_char *s, size_t n, char *out, size_t size)
{
	size_t k = 0;
	for (size_t i = 0; i < n && s[i] != 0 && k + 7 < size; i++) {
		unsigned c = sizeof *s == 1 ? (unsigned char)s[i] : (unsigned)s[i];
		if (c >= 0x20 && c < 0x7F)
			out[k++] = (char)c;
		else
			k += (size_t)snprintf(out + k, size - k, sizeof *s == 1 ? "\\x%02x" : "\\u%04x", c);
	}
	out[k] = '\0';
	return out;
}

static size_t text_length(const stub_char *s)
{
	size_t n = 0;
	while (s[n] != 0)
		n++;
	return n;
}

static int digits(const stub_char *s, size_t n)
{
	int v = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	return v;
}

static bool hex8(const stub_char *s, uint32_t *v)
{
	*v = 0;
	for (int i = 0; i < 8; i++) {
		stub_char c = s[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return false;
		*v = *v << 4 | (uint32_t)d;
	}
	return true;
}

/* parse_name returns NULL, or what is wrong at byte *at. It reads no byte after
 * the first that is wrong. */
static const char *parse_name(const stub_char *s, struct name *out, size_t *at)
{
	*out = (struct name){0};
	size_t i = 0;
	if (s[0] == PNP_NAME[0]) {
		for (; i <= PNP_LENGTH; i++) {
			if (s[i] != PNP_NAME[i]) {
				*at = i;
				return "not a known name";
			}
		}
		out->number = -1;
		out->length = PNP_LENGTH;
		return NULL;
	}
	for (; i < NAME_HEAD; i++) {
		if (s[i] != NAME_PREFIX[i]) {
			*at = i;
			return s[i] == '\0' ? "ends too early" : "not a known name";
		}
	}
	for (; i < NAME_HEAD + 2; i++) {
		*at = i;
		if (s[i] < '0' || s[i] > '9')
			return "no number";
	}
	out->number = digits(s + NAME_HEAD, 2);
	if (s[i] == ' ' && s[i + 1] == '*') {
		i += 2;
		for (size_t k = 0; k < FOREIGN_LENGTH; k++, i++) {
			*at = i;
			if (s[i] != FOREIGN[k])
				return s[i] == 0 ? "ends too early" : "corrupted";
		}
		out->checked = true;
	}
	if (s[i] == ' ' && s[i + 1] == '=') {
		stub_char text[8];
		i += 2;
		for (int k = 0; k < 8; k++, i++) {
			*at = i;
			if (s[i] == '\0')
				return "state ends too early";
			text[k] = s[i];
		}
		if (!hex8(text, &out->state))
			return "state is not 8 upper-case hexadecimal digits";
		out->has_state = out->checked = true;
	}
	if (s[i] == ' ' && s[i + 1] == '/') {
		stub_char text[8];
		i += 2;
		for (int k = 0; k < 8; k++, i++) {
			*at = i;
			if (s[i] == '\0')
				return "hash ends too early";
			text[k] = s[i];
		}
		if (!hex8(text, &out->hash))
			return "hash is not 8 upper-case hexadecimal digits";
		out->has_hash = out->checked = true;
	}
	if (s[i] == ' ' && s[i + 1] == '#') {
		i += 2;
		for (size_t k = 0; k < 3; k++) {
			*at = i + k;
			if (s[i + k] < '0' || s[i + k] > '9')
				return "no length";
		}
		size_t length = (size_t)digits(s + i, 3);
		i += 3;
		*at = i;
		if (s[i] != '#')
			return "no '#' after the length";
		i++;
		if (length < i || length >= MAX_READERNAME)
			return "impossible length";
		for (; i < length; i++) {
			*at = i;
			if (s[i] != (stub_char)('a' + (i + (size_t)out->number) % 26))
				return s[i] == '\0' ? "ends too early" : "corrupted";
		}
		out->checked = true;
	}
	*at = i;
	if (s[i] != '\0')
		return "no NUL at its end";
	out->length = i;
	return NULL;
}

static bool name_ok(enum fn f, const char *arg, const stub_char *s, struct name *out)
{
	if (!pointer_ok(f, arg, s, _Alignof(stub_char)))
		return false;
	size_t at = 0;
	const char *fault = parse_name(s, out, &at);
	if (fault == NULL)
		return true;
	char text[96];
	/* Nothing after the faulty byte is shown: it may not be the caller's. */
	failed(f, arg, "%s at byte %u of \"%s\"", fault, (unsigned)at, shown(s, at + 1, text, sizeof text));
	return false;
}

static bool name_known(const struct name *n)
{
	return n->checked || n->number < atomic_load(&readers);
}

/* ---- What a reader's number decides ---- */

static bool has_card(int number)
{
	return number % 4 != 3;
}

static size_t atr_of(int number, unsigned char *atr)
{
	size_t n = 2 + (size_t)number % 32;
	atr[0] = 0x3B;
	for (size_t i = 1; i < n; i++)
		atr[i] = (unsigned char)(number * 7 + (int)i);
	return n;
}

static uint32_t event_of(const struct name *n)
{
	if (n->number < 0)
		return (uint32_t)atomic_load(&readers) << 16;
	return (uint32_t)(n->number + 1) << 16 | (has_card(n->number) ? SCARD_STATE_PRESENT : SCARD_STATE_EMPTY);
}

/* ---- Answers with a capacity ---- */

#define MAX_ALLOCATIONS 64
static void *allocations[MAX_ALLOCATIONS];

static void *allocate(size_t n)
{
	void *p = malloc(n ? n : 1);
	if (p == NULL)
		return NULL;
	lock(&big);
	for (int i = 0; i < MAX_ALLOCATIONS; i++) {
		if (allocations[i] == NULL) {
			allocations[i] = p;
			unlock(&big);
			return p;
		}
	}
	unlock(&big);
	free(p);
	return NULL;
}

static bool capacity_ok(enum fn f, const char *arg, uint64_t v)
{
	/* 0xFFFFFFFF here is SCARD_AUTOALLOCATE that was not widened. */
	if (v > MAX_CAPACITY) {
		failed(f, arg, "0x%llx is not a capacity", U64(v));
		return false;
	}
	return true;
}

/* give writes n bytes into a caller's buffer by the rules that all size queries
 * of PC/SC share. Not one byte is written past *capacity; with ATTR_FILL every
 * byte up to it is, to prove that the caller owns them. */
static LONG give_units(enum fn f, const char *arg_buffer, const char *arg_length, void *buffer, DWORD *capacity,
	const void *data, size_t n, size_t unit)
{
	if (!pointer_ok(f, arg_length, capacity, _Alignof(DWORD)))
		return SCARD_E_INVALID_PARAMETER;
	if (*capacity == SCARD_AUTOALLOCATE) {
		REQUIRE(pointer_ok(f, arg_buffer, buffer, _Alignof(void *)));
		void *p = allocate(n * unit);
		if (p == NULL)
			return SCARD_E_NO_MEMORY;
		memcpy(p, data, n * unit);
		memcpy(buffer, &p, sizeof p);
		*capacity = (DWORD)n;
		return SCARD_S_SUCCESS;
	}
	if (buffer == NULL) {
		*capacity = (DWORD)n;
		return SCARD_S_SUCCESS;
	}
	REQUIRE(capacity_ok(f, arg_length, *capacity));
	size_t align = unit < 4 ? unit : 4;
	if ((uintptr_t)buffer % align != 0) {
		failed(f, arg_buffer, "misaligned: %p is not a multiple of %u", buffer, (unsigned)align);
		return SCARD_E_INVALID_PARAMETER;
	}
	size_t room = *capacity;
	*capacity = (DWORD)n;
	if (atomic_load_explicit(&fill_capacity, memory_order_relaxed))
		memset(buffer, FILLER, room * unit);
	if (room < n)
		return SCARD_E_INSUFFICIENT_BUFFER;
	memcpy(buffer, data, n * unit);
	return SCARD_S_SUCCESS;
}

static LONG give(enum fn f, const char *arg_buffer, const char *arg_length, void *buffer, DWORD *capacity,
	const void *data, size_t n)
{
	return give_units(f, arg_buffer, arg_length, buffer, capacity, data, n, 1);
}

static LONG give_text(enum fn f, const char *arg_buffer, const char *arg_length, void *buffer, DWORD *capacity,
	const stub_char *data, size_t n)
{
	return give_units(f, arg_buffer, arg_length, buffer, capacity, data, n, sizeof(stub_char));
}

/* ---- Self-checking buffers ----
 *
 *	byte 0     what to do, one of COMMAND_*
 *	byte 1-3   length of the whole buffer, big-endian
 *	byte 4-7   argument, big-endian
 *	byte 8     seed
 *	byte 9-    pattern(i, seed)
 */

#define COMMAND_ECHO 0xC1      /* answers the whole buffer */
#define COMMAND_PATTERN 0xC2   /* answers argument bytes of the pattern */
#define COMMAND_FAIL 0xC3      /* returns the argument as the code */
#define COMMAND_SLEEP 0xC4     /* takes argument ms, then answers nothing */
#define COMMAND_OVERCLAIM 0xC5 /* says SUCCESS and argument bytes, writes none */
#define COMMAND_HEADER 9

static unsigned char pattern(size_t i, unsigned seed)
{
	return (unsigned char)(seed + i * 7 + (i >> 8) * 13);
}

static bool is_checked(const unsigned char *s, size_t n)
{
	return n > 0 && s[0] >= COMMAND_ECHO && s[0] <= COMMAND_OVERCLAIM;
}

static bool buffer_ok(enum fn f, const char *arg, const unsigned char *s, size_t n)
{
	if (n < COMMAND_HEADER) {
		failed(f, arg, "%u bytes are too few for a self-checking buffer", (unsigned)n);
		return false;
	}
	size_t length = (size_t)s[1] << 16 | (size_t)s[2] << 8 | s[3];
	if (length != n) {
		failed(f, arg, "wrong length: %llu bytes given, the buffer says %llu", U64(n), U64(length));
		return false;
	}
	for (size_t i = COMMAND_HEADER; i < n; i++) {
		if (s[i] != pattern(i, s[8])) {
			failed(f, arg, "corrupted at byte %llu of %llu: 0x%02x, want 0x%02x", U64(i), U64(n), s[i],
				pattern(i, s[8]));
			return false;
		}
	}
	return true;
}

static uint32_t argument(const unsigned char *s)
{
	return (uint32_t)s[4] << 24 | (uint32_t)s[5] << 16 | (uint32_t)s[6] << 8 | s[7];
}

/* run answers a command that buffer_ok accepted, followed by sw_length status
 * bytes 90 00. */
static LONG run(struct card *c, const unsigned char *s, size_t n, unsigned char *out, size_t room,
	DWORD *returned, size_t sw_length)
{
	static const unsigned char sw[2] = {0x90, 0x00};
	uint32_t arg = argument(s);
	unsigned char mode = s[0];
	unsigned seed = s[8];
	size_t length = 0;

	switch (mode) {
	case COMMAND_ECHO:
		length = n;
		break;
	case COMMAND_PATTERN:
		length = arg;
		break;
	case COMMAND_FAIL:
		*returned = 0;
		return (LONG)arg;
	case COMMAND_SLEEP:
		atomic_fetch_add(&c->busy, 1);
		sleep_ms(arg);
		atomic_fetch_sub(&c->busy, 1);
		break;
	case COMMAND_OVERCLAIM:
		*returned = arg;
		return SCARD_S_SUCCESS;
	}
	*returned = (DWORD)(length + sw_length);
	if (room < length + sw_length) {
		if (atomic_load_explicit(&fill_capacity, memory_order_relaxed))
			memset(out, FILLER, room);
		return SCARD_E_INSUFFICIENT_BUFFER;
	}
	/* The two buffers of a call may be one. */
	if (mode == COMMAND_ECHO)
		memmove(out, s, n);
	else
		for (size_t i = 0; i < length; i++)
			out[i] = pattern(i, seed);
	memcpy(out + length, sw, sw_length);
	if (atomic_load_explicit(&fill_capacity, memory_order_relaxed))
		memset(out + length + sw_length, FILLER, room - length - sw_length);
	return SCARD_S_SUCCESS;
}

/* ---- The functions ---- */

STUB_API const SCARD_IO_REQUEST g_rgSCardT0Pci = {SCARD_PROTOCOL_T0, sizeof(SCARD_IO_REQUEST)};
STUB_API const SCARD_IO_REQUEST g_rgSCardT1Pci = {SCARD_PROTOCOL_T1, sizeof(SCARD_IO_REQUEST)};
STUB_API const SCARD_IO_REQUEST g_rgSCardRawPci = {SCARD_PROTOCOL_RAW, sizeof(SCARD_IO_REQUEST)};

STUB_API LONG STUB_CALL SCardEstablishContext(DWORD dwScope, LPCVOID pvReserved1, LPCVOID pvReserved2,
	LPSCARDCONTEXT phContext)
{
	enum fn f = FN_establishcontext;
	count(f);
	remember(f, dwScope, 0, 0);
	hold(f, NULL);
	REQUIRE_RANGE(f, dwScope, SCARD_SCOPE_USER, 3);
	if (pvReserved1 != NULL)
		FAIL(f, "pvReserved1", "not NULL");
	if (pvReserved2 != NULL)
		FAIL(f, "pvReserved2", "not NULL");
	REQUIRE_OUT(f, phContext, SCARDCONTEXT);
	RETURN_PLANNED(f);
	lock(&big);
	int slot = open_handle(&contexts);
	if (slot >= 0)
		*phContext = (SCARDCONTEXT)atomic_load(&contexts.handle[slot]);
	unlock(&big);
	return slot < 0 ? SCARD_E_NO_MEMORY : SCARD_S_SUCCESS;
}

STUB_API LONG STUB_CALL SCardReleaseContext(SCARDCONTEXT hContext)
{
	enum fn f = FN_releasecontext;
	count(f);
	remember(f, handle_value(hContext), 0, 0);
	REQUIRE_CONTEXT(f, slot);
	hold(f, NULL);
	RETURN_PLANNED(f);
	uint64_t v = handle_value(hContext);
	lock(&big);
	if (find_quietly(&contexts, v) < 0) { /* another thread was first */
		unlock(&big);
		return SCARD_E_INVALID_HANDLE;
	}
	for (int i = 0; cards.live > 0 && i < (int)SLOTS; i++) {
		if (atomic_load(&cards.handle[i]) != 0 && card_of[i].context == v)
			close_card(f, i);
	}
	close_handle(&contexts, slot);
	context_of[slot].cancels++;
	cond_wake(&changed);
	unlock(&big);
	return SCARD_S_SUCCESS;
}

STUB_API LONG STUB_CALL SCardIsValidContext(SCARDCONTEXT hContext)
{
	enum fn f = FN_isvalidcontext;
	count(f);
	uint64_t v = handle_value(hContext);
	remember(f, v, 0, 0);
	hold(f, NULL);
	/* Asking is what the function is for: only a damaged live handle is a fault. */
	if (find_quietly(&contexts, v) < 0) {
		uint64_t real = atomic_load(&contexts.handle[v & (SLOTS - 1)]);
		if (real != 0 && (uint32_t)real == (uint32_t)v)
			find_handle(f, &contexts, v);
		return SCARD_E_INVALID_HANDLE;
	}
	RETURN_PLANNED(f);
	return SCARD_S_SUCCESS;
}

/* Readers with an even number prefer T=0, the others T=1. */
static LONG choose_protocol(int number, DWORD share, DWORD protocols, uint32_t *active)
{
	DWORD first = number % 2 == 0 ? SCARD_PROTOCOL_T0 : SCARD_PROTOCOL_T1;
	DWORD second = number % 2 == 0 ? SCARD_PROTOCOL_T1 : SCARD_PROTOCOL_T0;

	if (protocols & first)
		*active = (uint32_t)first;
	else if (protocols & second)
		*active = (uint32_t)second;
	else if (protocols & SCARD_PROTOCOL_RAW)
		*active = SCARD_PROTOCOL_RAW;
	else if (share == SCARD_SHARE_DIRECT && protocols == 0)
		*active = SCARD_PROTOCOL_UNDEFINED;
	else
		return SCARD_E_PROTO_MISMATCH;
	return SCARD_S_SUCCESS;
}

STUB_API LONG STUB_CALL SCardConnect(SCARDCONTEXT hContext, const stub_char *szReader, DWORD dwShareMode,
	DWORD dwPreferredProtocols, LPSCARDHANDLE phCard, LPDWORD pdwActiveProtocol)
{
	enum fn f = FN_connect;
	count(f);
	remember(f, dwShareMode, dwPreferredProtocols, 0);
	REQUIRE_CONTEXT(f, context);
	(void)context;
	hold(f, NULL);
	struct name name;
	REQUIRE(name_ok(f, "szReader", szReader, &name));
	if (name.number < 0)
		FAIL(f, "szReader", "the plug-and-play reader cannot be connected to");
	REQUIRE_RANGE(f, dwShareMode, SCARD_SHARE_EXCLUSIVE, SCARD_SHARE_DIRECT);
	REQUIRE(protocols_ok(f, dwPreferredProtocols));
	REQUIRE_OUT(f, phCard, SCARDHANDLE);
	REQUIRE_OUT(f, pdwActiveProtocol, DWORD);
	RETURN_PLANNED(f);
	if (!name_known(&name))
		return SCARD_E_UNKNOWN_READER;
	if (!has_card(name.number) && dwShareMode != SCARD_SHARE_DIRECT)
		return SCARD_E_NO_SMARTCARD;
	uint32_t active;
	LONG rc = choose_protocol(name.number, dwShareMode, dwPreferredProtocols, &active);
	if (rc != SCARD_S_SUCCESS)
		return rc;

	lock(&big);
	int slot = open_handle(&cards);
	if (slot < 0) {
		unlock(&big);
		return SCARD_E_NO_MEMORY;
	}
	struct card *c = &card_of[slot];
	c->context = handle_value(hContext);
	c->number = name.number;
	atomic_store(&c->protocol, active);
	atomic_store(&c->transactions, 0);
	atomic_store(&c->busy, 0);
	memcpy(c->name, szReader, (name.length + 1) * sizeof(stub_char));
	*phCard = (SCARDHANDLE)atomic_load(&cards.handle[slot]);
	*pdwActiveProtocol = active;
	unlock(&big);
	return SCARD_S_SUCCESS;
}

STUB_API LONG STUB_CALL SCardReconnect(SCARDHANDLE hCard, DWORD dwShareMode, DWORD dwPreferredProtocols,
	DWORD dwInitialization, LPDWORD pdwActiveProtocol)
{
	enum fn f = FN_reconnect;
	count(f);
	remember(f, dwShareMode, dwPreferredProtocols, dwInitialization);
	REQUIRE_CARD(f, slot);
	struct card *c = &card_of[slot];
	hold(f, c);
	REQUIRE_RANGE(f, dwShareMode, SCARD_SHARE_EXCLUSIVE, SCARD_SHARE_DIRECT);
	REQUIRE(protocols_ok(f, dwPreferredProtocols));
	REQUIRE_RANGE(f, dwInitialization, SCARD_LEAVE_CARD, SCARD_UNPOWER_CARD);
	REQUIRE_OUT(f, pdwActiveProtocol, DWORD);
	RETURN_PLANNED(f);
	uint32_t active;
	LONG rc = choose_protocol(c->number, dwShareMode, dwPreferredProtocols, &active);
	if (rc != SCARD_S_SUCCESS)
		return rc;
	atomic_store(&c->protocol, active);
	*pdwActiveProtocol = active;
	return SCARD_S_SUCCESS;
}

STUB_API LONG STUB_CALL SCardDisconnect(SCARDHANDLE hCard, DWORD dwDisposition)
{
	enum fn f = FN_disconnect;
	count(f);
	remember(f, dwDisposition, 0, 0);
	REQUIRE_CARD(f, slot);
	hold(f, NULL);
	REQUIRE_RANGE(f, dwDisposition, SCARD_LEAVE_CARD, SCARD_EJECT_CARD);
	RETURN_PLANNED(f);
	lock(&big);
	bool mine = find_quietly(&cards, handle_value(hCard)) >= 0;
	if (mine)
		close_card(f, slot);
	unlock(&big);
	return mine ? SCARD_S_SUCCESS : SCARD_E_INVALID_HANDLE;
}

STUB_API LONG STUB_CALL SCardBeginTransaction(SCARDHANDLE hCard)
{
	enum fn f = FN_begintransaction;
	count(f);
	remember(f, handle_value(hCard), 0, 0);
	REQUIRE_CARD(f, slot);
	hold(f, &card_of[slot]);
	RETURN_PLANNED(f);
	atomic_fetch_add(&card_of[slot].transactions, 1);
	return SCARD_S_SUCCESS;
}

STUB_API LONG STUB_CALL SCardEndTransaction(SCARDHANDLE hCard, DWORD dwDisposition)
{
	enum fn f = FN_endtransaction;
	count(f);
	remember(f, dwDisposition, 0, 0);
	REQUIRE_CARD(f, slot);
	hold(f, &card_of[slot]);
	REQUIRE_RANGE(f, dwDisposition, SCARD_LEAVE_CARD, SCARD_EJECT_CARD);
	RETURN_PLANNED(f);
	int depth = atomic_load(&card_of[slot].transactions);
	while (depth > 0) {
		if (atomic_compare_exchange_weak(&card_of[slot].transactions, &depth, depth - 1))
			return SCARD_S_SUCCESS;
	}
	return SCARD_E_NOT_TRANSACTED;
}

STUB_API LONG STUB_CALL SCardStatus(SCARDHANDLE hCard, stub_char *mszReaderName, LPDWORD pcchReaderLen,
	LPDWORD pdwState, LPDWORD pdwProtocol, LPBYTE pbAtr, LPDWORD pcbAtrLen)
{
	enum fn f = FN_status;
	count(f);
	remember(f, handle_value(hCard), 0, 0);
	REQUIRE_CARD(f, slot);
	struct card *c = &card_of[slot];
	hold(f, c);
	/* Every pointer may be NULL here, but not a length whose buffer is given. */
	if (pcchReaderLen != NULL || mszReaderName != NULL)
		REQUIRE_OUT(f, pcchReaderLen, DWORD);
	if (pdwState != NULL)
		REQUIRE_OUT(f, pdwState, DWORD);
	if (pdwProtocol != NULL)
		REQUIRE_OUT(f, pdwProtocol, DWORD);
	if (pcbAtrLen != NULL || pbAtr != NULL)
		REQUIRE_OUT(f, pcbAtrLen, DWORD);
	RETURN_PLANNED(f);

	stub_char name[MAX_READERNAME];
	lock(&big);
	memcpy(name, c->name, sizeof name);
	int number = c->number;
	unlock(&big);
	unsigned char atr[MAX_ATR];
	size_t atr_length = has_card(number) ? atr_of(number, atr) : 0;

	if (pdwState != NULL)
		*pdwState = has_card(number) ? STUB_STATUS(number) : SCARD_ABSENT;
	if (pdwProtocol != NULL)
		*pdwProtocol = atomic_load(&c->protocol);
	LONG rc = SCARD_S_SUCCESS;
	if (pcchReaderLen != NULL)
		rc = give_text(f, "mszReaderName", "pcchReaderLen", mszReaderName, pcchReaderLen, name, text_length(name) + 1);
	if (pcbAtrLen != NULL) {
		LONG rc2 = give(f, "pbAtr", "pcbAtrLen", pbAtr, pcbAtrLen, atr, atr_length);
		if (rc == SCARD_S_SUCCESS)
			rc = rc2;
	}
	return rc;
}

/* hash_of is the FNV-1a hash of what a caller passes in a state but for its pointers and dwCurrentState, in
 * little-endian. */
static uint32_t hash_of(const SCARD_READERSTATE *s)
{
	unsigned char head[8];
	for (int i = 0; i < 4; i++) {
		head[i] = (unsigned char)(s->dwEventState >> 8 * i);
		head[4 + i] = (unsigned char)(s->cbAtr >> 8 * i);
	}
	uint32_t hash = 0x811C9DC5u;
	for (size_t i = 0; i < sizeof head; i++)
		hash = (hash ^ head[i]) * 0x01000193u;
	for (size_t i = 0; i < sizeof s->rgbAtr; i++)
		hash = (hash ^ s->rgbAtr[i]) * 0x01000193u;
	return hash;
}

/* state_ok checks one reader state. It runs again after a wait, for names must
 * stay valid to its end. */
static bool state_ok(enum fn f, const SCARD_READERSTATE *s, unsigned i, struct name *name)
{
	/* The texts below are only worth their time when something is wrong. */
	size_t at;
	if (s->szReader != NULL && parse_name(s->szReader, name, &at) == NULL && s->pvUserData == NULL &&
		s->dwCurrentState <= 0xFFFFFFFFu && (!name->has_state || s->dwCurrentState == name->state) &&
		s->dwEventState <= 0xFFFFFFFFu && s->cbAtr <= sizeof s->rgbAtr && (!name->has_hash || hash_of(s) == name->hash))
		return true;

	char arg[48];
	snprintf(arg, sizeof arg, "rgReaderStates[%u].szReader", i);
	if (!name_ok(f, arg, s->szReader, name))
		return false;
	snprintf(arg, sizeof arg, "rgReaderStates[%u].dwCurrentState", i);
	if (!dword_ok(f, arg, s->dwCurrentState))
		return false;
	if (name->has_state && s->dwCurrentState != name->state) {
		failed(f, arg, "0x%llx, want 0x%llx", U64(s->dwCurrentState), U64(name->state));
		return false;
	}
	snprintf(arg, sizeof arg, "rgReaderStates[%u].pvUserData", i);
	if (s->pvUserData != NULL) {
		failed(f, arg, "not NULL");
		return false;
	}
	snprintf(arg, sizeof arg, "rgReaderStates[%u].dwEventState", i);
	if (!dword_ok(f, arg, s->dwEventState))
		return false;
	snprintf(arg, sizeof arg, "rgReaderStates[%u].cbAtr", i);
	if (!range_ok(f, arg, s->cbAtr, 0, sizeof s->rgbAtr))
		return false;
	snprintf(arg, sizeof arg, "rgReaderStates[%u]", i);
	failed(f, arg, "dwEventState 0x%llx, cbAtr %llu and rgbAtr have the hash 0x%08lx, want 0x%08lx", U64(s->dwEventState),
		U64(s->cbAtr), (unsigned long)hash_of(s), (unsigned long)name->hash);
	return false;
}

static bool state_changed(const SCARD_READERSTATE *s, const struct name *name)
{
	if (s->dwCurrentState & SCARD_STATE_IGNORE)
		return false;
	uint32_t before = (uint32_t)s->dwCurrentState & ~(uint32_t)SCARD_STATE_CHANGED;
	return before != event_of(name);
}

STUB_API LONG STUB_CALL SCardGetStatusChange(SCARDCONTEXT hContext, DWORD dwTimeout,
	SCARD_READERSTATE *rgReaderStates, DWORD cReaders)
{
	enum fn f = FN_getstatuschange;
	count(f);
	remember(f, dwTimeout, cReaders, 0);
	REQUIRE_CONTEXT(f, slot);
	hold(f, NULL);
	REQUIRE_DWORD(f, dwTimeout);
	REQUIRE_RANGE(f, cReaders, 0, MAX_STATES);
	struct name names[MAX_STATES];
	unsigned n = (unsigned)cReaders;
	if (n > 0)
		REQUIRE_OUT(f, rgReaderStates, SCARD_READERSTATE);
	for (unsigned i = 0; i < n; i++)
		REQUIRE(state_ok(f, &rgReaderStates[i], i, &names[i]));
	RETURN_PLANNED(f);
	for (unsigned i = 0; i < n; i++) {
		if (!name_known(&names[i]))
			return SCARD_E_UNKNOWN_READER;
	}
	if (n == 0 && dwTimeout != TIMEOUT_WAIT)
		return SCARD_S_SUCCESS;

	LONG rc = SCARD_S_SUCCESS;
	bool any = false;
	for (unsigned i = 0; i < n && dwTimeout != TIMEOUT_WAIT; i++)
		any = any || state_changed(&rgReaderStates[i], &names[i]);
	if (!any && dwTimeout == 0)
		rc = SCARD_E_TIMEOUT;
	else if (!any) {
		const stub_char *before[MAX_STATES];
		for (unsigned i = 0; i < n; i++)
			before[i] = rgReaderStates[i].szReader;
		uint64_t end = now_ms() + (uint64_t)dwTimeout;
		lock(&big);
		/* A cancel is lost unless somebody waits, as in the real library. */
		uint64_t cancels = context_of[slot].cancels;
		waiting++;
		for (;;) {
			uint64_t now = now_ms();
			for (unsigned i = 0; i < n && dwTimeout != TIMEOUT_WAIT; i++)
				any = any || state_changed(&rgReaderStates[i], &names[i]);
			if (any)
				break;
			if (context_of[slot].cancels != cancels) {
				rc = SCARD_E_CANCELLED;
				break;
			}
			if (dwTimeout != INFINITE && now >= end) {
				rc = SCARD_E_TIMEOUT;
				break;
			}
			cond_wait_ms(&changed, &big, dwTimeout == INFINITE ? 60000 : end - now);
		}
		waiting--;
		unlock(&big);
		for (unsigned i = 0; i < n; i++) {
			char arg[48];
			snprintf(arg, sizeof arg, "rgReaderStates[%u].szReader", i);
			if (rgReaderStates[i].szReader != before[i])
				FAIL(f, arg, "changed during the wait");
			struct name again;
			REQUIRE(state_ok(f, &rgReaderStates[i], i, &again));
		}
	}
	for (unsigned i = 0; i < n; i++) {
		SCARD_READERSTATE *s = &rgReaderStates[i];
		if (s->dwCurrentState & SCARD_STATE_IGNORE) {
			s->dwEventState = SCARD_STATE_IGNORE;
			continue;
		}
		bool differs = state_changed(s, &names[i]);
		s->dwEventState = event_of(&names[i]) | (differs ? SCARD_STATE_CHANGED : 0);
		memset(s->rgbAtr, FILLER, sizeof s->rgbAtr);
		s->cbAtr = 0;
		if (names[i].number >= 0 && has_card(names[i].number))
			s->cbAtr = (DWORD)atr_of(names[i].number, s->rgbAtr);
	}
	return rc;
}

STUB_API LONG STUB_CALL SCardControl(SCARDHANDLE hCard, DWORD dwControlCode, LPCVOID pbSendBuffer,
	DWORD cbSendLength, LPVOID pbRecvBuffer, DWORD cbRecvLength, LPDWORD lpBytesReturned)
{
	enum fn f = FN_control;
	count(f);
	remember(f, dwControlCode, cbSendLength, cbRecvLength);
	REQUIRE_CARD(f, slot);
	struct card *c = &card_of[slot];
	hold(f, c);
	REQUIRE_DWORD(f, dwControlCode);
	REQUIRE(capacity_ok(f, "cbSendLength", cbSendLength));
	REQUIRE(capacity_ok(f, "cbRecvLength", cbRecvLength));
	if (cbSendLength > 0)
		REQUIRE_OUT(f, pbSendBuffer, char);
	if (cbRecvLength > 0)
		REQUIRE_OUT(f, pbRecvBuffer, char);
	REQUIRE_OUT(f, lpBytesReturned, DWORD);
	const unsigned char *s = pbSendBuffer;
	unsigned char none;
	unsigned char *out = cbRecvLength > 0 ? pbRecvBuffer : &none;
	bool checked = is_checked(s, cbSendLength);
	if (checked)
		REQUIRE(buffer_ok(f, "pbSendBuffer", s, cbSendLength));
	RETURN_PLANNED(f);
	if (checked)
		return run(c, s, cbSendLength, out, cbRecvLength, lpBytesReturned, 0);

	/* CM_IOCTL_GET_FEATURE_REQUEST: tag, length, control code in big-endian. */
	static const unsigned char tags[] = {0x06, 0x07, 0x12};
	unsigned char answer[64];
	size_t n = 0;
	if (dwControlCode == STUB_CTL_CODE(3400)) {
		for (size_t i = 0; i < sizeof tags; i++) {
			uint32_t code = (uint32_t)STUB_CTL_CODE(3500 + (uint32_t)tags[i]);
			answer[n++] = tags[i];
			answer[n++] = 4;
			for (int shift = 24; shift >= 0; shift -= 8)
				answer[n++] = (unsigned char)(code >> shift);
		}
	} else if (dwControlCode == STUB_CTL_CODE(3500 + 0x12)) {
		/* dwMaxAPDUDataSize and wIdVendor, the values in little-endian. */
		static const unsigned char properties[] = {0x0A, 4, 0x00, 0x00, 0x01, 0x00, 0x0B, 2, 0x34, 0x12};
		memcpy(answer, properties, sizeof properties);
		n = sizeof properties;
	} else {
		/* Anything else: the code in big-endian, then the start of what was sent. */
		for (int shift = 24; shift >= 0; shift -= 8)
			answer[n++] = (unsigned char)(dwControlCode >> shift);
		size_t k = cbSendLength < sizeof answer - n ? cbSendLength : sizeof answer - n;
		if (k > 0)
			memcpy(answer + n, s, k);
		n += k;
	}
	DWORD length = cbRecvLength;
	LONG rc = give(f, "pbRecvBuffer", "cbRecvLength", out, &length, answer, n);
	*lpBytesReturned = length;
	return rc;
}

STUB_API LONG STUB_CALL SCardTransmit(SCARDHANDLE hCard, const SCARD_IO_REQUEST *pioSendPci, LPCBYTE pbSendBuffer,
	DWORD cbSendLength, SCARD_IO_REQUEST *pioRecvPci, LPBYTE pbRecvBuffer, LPDWORD pcbRecvLength)
{
	enum fn f = FN_transmit;
	count(f);
	REQUIRE_CARD(f, slot);
	struct card *c = &card_of[slot];
	hold(f, c);
	REQUIRE_OUT(f, pioSendPci, SCARD_IO_REQUEST);
	REQUIRE_OUT(f, pbSendBuffer, BYTE);
	REQUIRE_OUT(f, pbRecvBuffer, BYTE);
	REQUIRE_OUT(f, pcbRecvLength, DWORD);
	if (pioSendPci->cbPciLength != sizeof *pioSendPci)
		FAIL(f, "pioSendPci->cbPciLength", "%llu, want %u", U64(pioSendPci->cbPciLength),
			(unsigned)sizeof *pioSendPci);
	uint64_t protocol = pioSendPci->dwProtocol;
	if (protocol != SCARD_PROTOCOL_T0 && protocol != SCARD_PROTOCOL_T1 && protocol != SCARD_PROTOCOL_RAW)
		FAIL(f, "pioSendPci->dwProtocol", "0x%llx is not T=0, T=1 or raw", U64(protocol));
	if (pioRecvPci != NULL) {
		REQUIRE_OUT(f, pioRecvPci, SCARD_IO_REQUEST);
		if (pioRecvPci->cbPciLength != sizeof *pioRecvPci)
			FAIL(f, "pioRecvPci->cbPciLength", "%llu, want %u", U64(pioRecvPci->cbPciLength),
				(unsigned)sizeof *pioRecvPci);
	}
	REQUIRE(capacity_ok(f, "cbSendLength", cbSendLength));
	REQUIRE(capacity_ok(f, "*pcbRecvLength", *pcbRecvLength));
	if (cbSendLength == 0)
		FAIL(f, "cbSendLength", "0");
	size_t n = cbSendLength;
	size_t room = *pcbRecvLength;
	remember(f, protocol, n, room);
	bool checked = is_checked(pbSendBuffer, n);
	if (checked)
		REQUIRE(buffer_ok(f, "pbSendBuffer", pbSendBuffer, n));
	RETURN_PLANNED(f);
	uint32_t active = atomic_load_explicit(&c->protocol, memory_order_relaxed);
	if (protocol != active && active != SCARD_PROTOCOL_UNDEFINED && protocol != SCARD_PROTOCOL_RAW)
		return SCARD_E_PROTO_MISMATCH;
	if (pioRecvPci != NULL)
		pioRecvPci->dwProtocol = active;
	if (checked)
		return run(c, pbSendBuffer, n, pbRecvBuffer, room, pcbRecvLength, 2);

	/* The benchmarks' command is answered 90 00, what no mode claims with
	 * "instruction not supported". */
	static const unsigned char bench[5] = {0x00, 0xB0, 0x00, 0x00, 0x02};
	bool ok = n == sizeof bench && memcmp(pbSendBuffer, bench, sizeof bench) == 0;
	*pcbRecvLength = 2;
	if (atomic_load_explicit(&fill_capacity, memory_order_relaxed))
		memset(pbRecvBuffer, FILLER, room);
	if (room < 2)
		return SCARD_E_INSUFFICIENT_BUFFER;
	pbRecvBuffer[0] = ok ? 0x90 : 0x6D;
	pbRecvBuffer[1] = 0x00;
	return SCARD_S_SUCCESS;
}

static const stub_char groups[] = T("SCard$DefaultReaders\0Stub Group\0") FOREIGN T("\0"); /* and the literal's own NUL */

STUB_API LONG STUB_CALL SCardListReaderGroups(SCARDCONTEXT hContext, stub_char *mszGroups, LPDWORD pcchGroups)
{
	enum fn f = FN_listreadergroups;
	count(f);
	remember(f, handle_value(hContext), 0, 0);
	REQUIRE_CONTEXT(f, slot);
	(void)slot;
	hold(f, NULL);
	REQUIRE_OUT(f, pcchGroups, DWORD);
	RETURN_PLANNED(f);
	return give_text(f, "mszGroups", "pcchGroups", mszGroups, pcchGroups, groups, sizeof groups / sizeof groups[0]);
}

/* groups_ok accepts a multi-string of known groups: each with its NUL, and one
 * more at the end. */
static bool groups_ok(enum fn f, const stub_char *s)
{
	static const stub_char *const known[] = {T("SCard$DefaultReaders"), T("SCard$AllReaders"), T("Stub Group"), FOREIGN};
	if (s == NULL)
		return true;
	if (!pointer_ok(f, "mszGroups", s, _Alignof(stub_char)))
		return false;
	if (*s == 0)
		return true;
	for (unsigned groups_seen = 0; groups_seen < 16; groups_seen++) {
		size_t k = 0;
		for (size_t i = 0; k == 0 && i < sizeof known / sizeof known[0]; i++) {
			size_t n = text_length(known[i]) + 1, same = 0;
			while (same < n && s[same] == known[i][same])
				same++;
			if (same == n)
				k = n;
		}
		if (k == 0) {
			failed(f, "mszGroups", "entry %u is not a known group or lacks its NUL", groups_seen);
			return false;
		}
		s += k;
		if (*s == 0)
			return true;
	}
	failed(f, "mszGroups", "does not end");
	return false;
}

STUB_API LONG STUB_CALL SCardListReaders(SCARDCONTEXT hContext, const stub_char *mszGroups, stub_char *mszReaders,
	LPDWORD pcchReaders)
{
	enum fn f = FN_listreaders;
	count(f);
	remember(f, handle_value(hContext), 0, 0);
	REQUIRE_CONTEXT(f, slot);
	(void)slot;
	hold(f, NULL);
	REQUIRE(groups_ok(f, mszGroups));
	REQUIRE_OUT(f, pcchReaders, DWORD);
	RETURN_PLANNED(f);
	int number = atomic_load(&readers);
	if (number == 0) {
		*pcchReaders = 1;
		return SCARD_E_NO_READERS_AVAILABLE;
	}
	bool foreign = atomic_load(&foreign_readers);
	stub_char list[MAX_READERS * (NAME_HEAD + 5 + FOREIGN_LENGTH) + 1];
	size_t n = 0;
	for (int i = 0; i < number; i++) {
		memcpy(list + n, NAME_PREFIX, NAME_HEAD * sizeof(stub_char));
		n += NAME_HEAD;
		list[n++] = (stub_char)('0' + i / 10);
		list[n++] = (stub_char)('0' + i % 10);
		if (foreign) {
			list[n++] = ' ';
			list[n++] = '*';
			memcpy(list + n, FOREIGN, FOREIGN_LENGTH * sizeof(stub_char));
			n += FOREIGN_LENGTH;
		}
		list[n++] = 0;
	}
	list[n++] = 0;
	return give_text(f, "mszReaders", "pcchReaders", mszReaders, pcchReaders, list, n);
}

STUB_API LONG STUB_CALL SCardFreeMemory(SCARDCONTEXT hContext, LPCVOID pvMem)
{
	enum fn f = FN_freememory;
	count(f);
	remember(f, handle_value(hContext), 0, 0);
	REQUIRE_CONTEXT(f, slot);
	(void)slot;
	hold(f, NULL);
	REQUIRE_OUT(f, pvMem, char);
	RETURN_PLANNED(f);
	lock(&big);
	void *found = NULL;
	for (int i = 0; found == NULL && i < MAX_ALLOCATIONS; i++) {
		if (allocations[i] == pvMem) {
			found = allocations[i];
			allocations[i] = NULL;
		}
	}
	unlock(&big);
	if (found == NULL)
		FAIL(f, "pvMem", "%p is not memory of this library", pvMem);
	free(found);
	return SCARD_S_SUCCESS;
}

STUB_API LONG STUB_CALL SCardCancel(SCARDCONTEXT hContext)
{
	enum fn f = FN_cancel;
	count(f);
	remember(f, handle_value(hContext), 0, 0);
	REQUIRE_CONTEXT(f, slot);
	hold(f, NULL);
	RETURN_PLANNED(f);
	lock(&big);
	context_of[slot].cancels++;
	cond_wake(&changed);
	unlock(&big);
	return SCARD_S_SUCCESS;
}

/* ---- Attributes ---- */

#define TEXT_SIZE 8192

static size_t add(char *text, size_t n, const char *format, ...)
#if defined(__GNUC__)
	__attribute__((format(printf, 3, 4)))
#endif
	;

static size_t add(char *text, size_t n, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	int k = vsnprintf(text + n, TEXT_SIZE - n, format, ap);
	va_end(ap);
	if (k < 0)
		return n;
	return n + (size_t)k < TEXT_SIZE ? n + (size_t)k : TEXT_SIZE - 1;
}

static size_t failures_text(char *text)
{
	size_t n = 0;
	lock(&failure_lock);
	unsigned long all = atomic_load(&failure_count);
	for (unsigned long i = 0; i < all && i < FAILURES_KEPT; i++)
		n = add(text, n, "%s%s", i == 0 ? "" : "\n", failure_text[i]);
	if (all > FAILURES_KEPT)
		n = add(text, n, "\nand %lu more", all - FAILURES_KEPT);
	unlock(&failure_lock);
	return n;
}

#if defined(STUB_FUNCTIONS)
static const char *record_of(int f);
static void forget_answers(void);
static int events_held(void);
#else
static const char *record_of(int f)
{
	(void)f;
	return NULL;
}

static void forget_answers(void)
{
}

static int events_held(void)
{
	return 0;
}
#endif

static size_t counters_text(char *text)
{
	size_t n = 0;
	for (int i = 0; i < FN_COUNT; i++)
		n = add(text, n, "%s=%lu ", fn_name[i], atomic_load(&counters[i]));
	unsigned held = 0;
	lock(&big);
	for (int i = 0; i < MAX_ALLOCATIONS; i++)
		held += allocations[i] != NULL;
	n = add(text, n, "contexts=%u cards=%u waiting=%u allocations=%u events=%d failures=%lu", contexts.live, cards.live,
		waiting, held, events_held(), atomic_load(&failure_count));
	unlock(&big);
	return n;
}

static size_t last_text(char *text, int f)
{
	const char *record = record_of(f);
	if (record != NULL)
		return add(text, 0, "%s", record);
	size_t n = 0;
	const char *name = fn_args[f];
	for (int i = 0; i < 3 && *name != '\0'; i++) {
		int k = (int)strcspn(name, " ");
		n = add(text, n, "%s%.*s=0x%llx", i == 0 ? "" : " ", k, name, U64(atomic_load(&last[f][i])));
		name += k;
		name += *name == ' ';
	}
	return n;
}

static void rearm(int f)
{
	uint64_t bit = (uint64_t)1 << f;
	if (atomic_load(&delay_of[f]) != 0 || atomic_load(&next_times[f]) > 0)
		atomic_fetch_or(&armed, bit);
	else
		atomic_fetch_and(&armed, ~bit);
}

static void wake_waiters(void)
{
	lock(&big);
	cond_wake(&changed);
	unlock(&big);
}

/* Open handles and allocations stay: they are their owners'. */
static void reset(void)
{
	lock(&failure_lock);
	atomic_store(&failure_count, 0);
	memset(failure_text, 0, sizeof failure_text);
	unlock(&failure_lock);
	for (int f = 0; f < FN_COUNT; f++) {
		atomic_store(&counters[f], 0);
		atomic_store(&delay_of[f], 0);
		atomic_store(&next_times[f], 0);
		remember((enum fn)f, 0, 0, 0);
	}
	atomic_store(&armed, 0);
	atomic_store(&readers, DEFAULT_READERS);
	atomic_store(&foreign_readers, false);
	atomic_store(&fill_capacity, false);
	forget_answers();
	wake_waiters();
}

static int function_named(const char *name)
{
	for (int f = 0; f < FN_COUNT; f++) {
		if (strcmp(name, fn_name[f]) == 0)
			return f;
	}
	return -1;
}

static bool configure(uint64_t id, const char *text)
{
	char name[32];
	unsigned long long v;
	int n = 0, times = 1, f;

	switch (id) {
	case ATTR_RESET:
		reset();
		return true;
	case ATTR_READERS:
		if (sscanf(text, "%llu%n", &v, &n) != 1 || v > MAX_READERS)
			return false;
		if (text[n] != '\0' && strcmp(text + n, " *") != 0)
			return false;
		atomic_store(&readers, (int)v);
		atomic_store(&foreign_readers, text[n] != '\0');
		wake_waiters();
		return true;
	case ATTR_NEXT:
		if (sscanf(text, "%31s %llx%n %d%n", name, &v, &n, &times, &n) < 2 || text[n] != '\0' || v > 0xFFFFFFFFu)
			return false;
		f = function_named(name);
		if (f < 0)
			return false;
		atomic_store(&next_code[f], (uint32_t)v);
		atomic_store(&next_times[f], times);
		rearm(f);
		return true;
	case ATTR_DELAY:
		if (sscanf(text, "%31s %llu%n", name, &v, &n) != 2 || text[n] != '\0' || v > 60000)
			return false;
		f = function_named(name);
		if (f < 0)
			return false;
		atomic_store(&delay_of[f], v);
		rearm(f);
		return true;
	case ATTR_FILL:
		if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
			return false;
		atomic_store(&fill_capacity, text[0] == '1');
		return true;
	}
	return false;
}

static LONG vendor_get(uint64_t id, unsigned char *pbAttr, DWORD *pcbAttrLen)
{
	enum fn f = FN_getattrib;
	char text[TEXT_SIZE];
	size_t n = 0;

	REQUIRE_OUT(f, pcbAttrLen, DWORD);
	switch (id) {
	case ATTR_FAILURES:
		n = failures_text(text);
		break;
	case ATTR_COUNTERS:
		n = counters_text(text);
		break;
	case ATTR_RESET:
		reset();
		break;
	case ATTR_FAILURE_COUNT:
		n = add(text, 0, "%lu", atomic_load(&failure_count));
		break;
	default:
		if (id < ATTR_LAST || id >= ATTR_LAST + FN_COUNT)
			return SCARD_E_UNSUPPORTED_FEATURE;
		n = last_text(text, (int)(id - ATTR_LAST));
	}
	return give(f, "pbAttr", "pcbAttrLen", pbAttr, pcbAttrLen, text, n);
}

STUB_API LONG STUB_CALL SCardGetAttrib(SCARDHANDLE hCard, DWORD dwAttrId, LPBYTE pbAttr, LPDWORD pcbAttrLen)
{
	enum fn f = FN_getattrib;
	if (dwAttrId >= ATTR_FAILURES && dwAttrId <= ATTR_VENDOR_LAST)
		return vendor_get(dwAttrId, pbAttr, pcbAttrLen);
	count(f);
	remember(f, dwAttrId, 0, 0);
	REQUIRE_CARD(f, slot);
	struct card *c = &card_of[slot];
	hold(f, c);
	REQUIRE_DWORD(f, dwAttrId);
	REQUIRE_OUT(f, pcbAttrLen, DWORD);
	RETURN_PLANNED(f);

	unsigned char value[ATTR_PATTERN_LAST - ATTR_PATTERN];
	size_t n = 0;
	lock(&big);
	int number = c->number;
	if (dwAttrId == ATTR_FRIENDLY_NAME) {
		/* Of a foreign name, on Windows, it is not more than the lower bytes. */
		n = text_length(c->name) + 1;
		for (size_t i = 0; i < n; i++)
			value[i] = (unsigned char)c->name[i];
	}
	unlock(&big);
	switch (dwAttrId) {
	case ATTR_FRIENDLY_NAME:
		break;
	case ATTR_VENDOR_NAME:
		n = sizeof "Stub";
		memcpy(value, "Stub", n);
		break;
	case ATTR_VENDOR_IFD_VERSION: {
		/* 1.2.3 as 0xMMmmbbbb in the machine's byte order. */
		uint32_t version = 0x01020003;
		n = sizeof version;
		memcpy(value, &version, n);
		break;
	}
	case ATTR_ATR_STRING:
		n = has_card(number) ? atr_of(number, value) : 0;
		break;
	default:
		if (dwAttrId < ATTR_PATTERN || dwAttrId > ATTR_PATTERN_LAST)
			return SCARD_E_UNSUPPORTED_FEATURE;
		n = dwAttrId - ATTR_PATTERN;
		for (size_t i = 0; i < n; i++)
			value[i] = pattern(i, (unsigned)n & 0xFF);
	}
	return give(f, "pbAttr", "pcbAttrLen", pbAttr, pcbAttrLen, value, n);
}

#if defined(STUB_FUNCTIONS)
static LONG set_answer(const unsigned char *value, size_t n);
#endif

STUB_API LONG STUB_CALL SCardSetAttrib(SCARDHANDLE hCard, DWORD dwAttrId, LPCBYTE pbAttr, DWORD cbAttrLen)
{
	enum fn f = FN_setattrib;
#if defined(STUB_FUNCTIONS)
	if (dwAttrId == ATTR_ANSWER)
		return set_answer(pbAttr, cbAttrLen);
#endif
	if (dwAttrId >= ATTR_FAILURES && dwAttrId <= ATTR_VENDOR_LAST) {
		char text[64];
		REQUIRE_RANGE(f, cbAttrLen, 0, sizeof text - 1);
		if (cbAttrLen > 0) {
			REQUIRE_OUT(f, pbAttr, BYTE);
			memcpy(text, pbAttr, cbAttrLen);
		}
		text[cbAttrLen] = '\0';
		if (!configure(dwAttrId, text)) {
			char shown[128];
			FAIL(f, "pbAttr", "attribute 0x%llx does not take \"%s\"", U64(dwAttrId),
				quoted(text, sizeof text, shown, sizeof shown));
		}
		return SCARD_S_SUCCESS;
	}
	count(f);
	remember(f, dwAttrId, cbAttrLen, 0);
	REQUIRE_CARD(f, slot);
	hold(f, &card_of[slot]);
	REQUIRE_DWORD(f, dwAttrId);
	REQUIRE(capacity_ok(f, "cbAttrLen", cbAttrLen));
	REQUIRE_OUT(f, pbAttr, BYTE);
	if (is_checked(pbAttr, cbAttrLen))
		REQUIRE(buffer_ok(f, "pbAttr", pbAttr, cbAttrLen));
	RETURN_PLANNED(f);
	return dwAttrId >= ATTR_PATTERN && dwAttrId <= ATTR_PATTERN_LAST ? SCARD_S_SUCCESS : SCARD_E_UNSUPPORTED_FEATURE;
}

#if STUB_HAS_STRINGIFY
STUB_API const char *pcsc_stringify_error(const LONG pcscError)
{
	enum fn f = FN_stringifyerror;
	static _Thread_local char text[48];
	count(f);
	remember(f, (uint64_t)pcscError, 0, 0);
	/* Codes are positive where LONG has 64 bits. */
	if (sizeof pcscError == 8)
		dword_ok(f, "pcscError", (uint64_t)pcscError);
	snprintf(text, sizeof text, "Stub text of 0x%08lX", (unsigned long)pcscError & 0xFFFFFFFFul);
	return text;
}
#endif

#if defined(STUB_FUNCTIONS)

/* ---- What Windows alone has ----
 *
 * These functions check their arguments, note them as text for ATTR_LAST, and
 * answer what ATTR_ANSWER told them: the function, a space, the number of the
 * argument that is answered, a line break, and then the bytes as the caller
 * finds them.
 */

#define MAX_TEXT 32768
#define MAX_ARGS 9

static stub_lock record_lock = STUB_LOCK_INIT;
static char records[FN_COUNT][TEXT_SIZE];
static size_t record_end[FN_COUNT];

static struct {
	unsigned char *data;
	size_t n;
} answers[FN_COUNT][MAX_ARGS]; /* under record_lock */

static bool is_windows(int f)
{
	return f > FN_stringifyerror;
}

static const char *record_of(int f)
{
	return is_windows(f) ? records[f] : NULL;
}

/* With the lock held. */
static void record_begin(enum fn f)
{
	record_end[f] = 0;
	records[f][0] = '\0';
}

static void record_number(enum fn f, const char *arg, uint64_t v)
{
	record_end[f] = add(records[f], record_end[f], " %s=%llu", arg, U64(v));
}

/* What is long is noted by its length and a hash, FNV-1a. */
#define RECORD_WHOLE 96

static void record_data(enum fn f, const char *arg, const unsigned char *p, size_t n)
{
	size_t k = record_end[f];
	if (p == NULL)
		k = add(records[f], k, " %s=NULL", arg);
	else if (n > RECORD_WHOLE) {
		uint64_t hash = 0xcbf29ce484222325u;
		for (size_t i = 0; i < n; i++)
			hash = (hash ^ p[i]) * 0x100000001b3u;
		k = add(records[f], k, " %s=#%llu:%016llx", arg, U64(n), U64(hash));
	} else {
		k = add(records[f], k, " %s=", arg);
		for (size_t i = 0; i < n; i++)
			k = add(records[f], k, "%02x", p[i]);
	}
	record_end[f] = k;
}

static void record_bytes(enum fn f, const char *arg, const void *p, size_t n)
{
	record_data(f, arg, n == 0 ? NULL : p, n);
}

static void record_units(enum fn f, const char *arg, const stub_char *p, size_t n)
{
	record_data(f, arg, (const unsigned char *)p, n * sizeof *p);
}

/* text_ok checks that a text ends, and is UTF-16: no half of a pair. */
static bool text_ok(enum fn f, const char *arg, const stub_char *s)
{
	if (!pointer_ok(f, arg, s, _Alignof(stub_char)))
		return false;
	size_t i = 0;
	for (; i < MAX_TEXT && s[i] != 0; i++) {
		bool high = (s[i] & 0xFC00) == 0xD800, low = (s[i] & 0xFC00) == 0xDC00;
		if (low || (high && (s[i + 1] & 0xFC00) != 0xDC00)) {
			failed(f, arg, "unit %u, 0x%04x, is half of a pair", (unsigned)i, (unsigned)s[i]);
			return false;
		}
		i += high;
	}
	if (i >= MAX_TEXT)
		failed(f, arg, "does not end");
	return i < MAX_TEXT;
}

/* texts_ok does so for a list of them; none is NULL. */
static bool texts_ok(enum fn f, const char *arg, const stub_char *s)
{
	if (s == NULL)
		return true;
	const stub_char *start = s;
	do {
		if (!text_ok(f, arg, s))
			return false;
		if (*s == 0) {
			failed(f, arg, "not NULL, but it has no texts");
			return false;
		}
		s += text_length(s) + 1;
	} while (*s != 0 && s - start < MAX_TEXT);
	if (s - start >= MAX_TEXT)
		failed(f, arg, "does not end");
	return s - start < MAX_TEXT;
}

/* The length of a list with the NUL of its last text, but not the list's own. */
static size_t texts_length(const stub_char *s)
{
	size_t n = 0;
	while (s != NULL && s[n] != 0)
		n += text_length(s + n) + 1;
	return n;
}

/* array_ok checks an array of n elements; no element is NULL. */
static bool array_ok(enum fn f, const char *arg, const void *p, uint64_t n, size_t align)
{
	if (!capacity_ok(f, arg, n))
		return false;
	if (n == 0 && p != NULL) {
		failed(f, arg, "not NULL, but it has no elements");
		return false;
	}
	return n == 0 || pointer_ok(f, arg, p, align);
}

/* atr_ok checks an ATR, whose length only its own bytes tell; NULL is any card. */
static bool atr_ok(enum fn f, const char *arg, const BYTE *p)
{
	if (p == NULL || p[0] == 0x3B || p[0] == 0x3F)
		return true;
	failed(f, arg, "not an ATR: it begins 0x%02x", p[0]);
	return false;
}

static bool states_ok(enum fn f, const SCARD_READERSTATE *s, uint64_t n)
{
	if (!array_ok(f, "rgReaderStates", s, n, _Alignof(SCARD_READERSTATE)) || !range_ok(f, "cReaders", n, 0, MAX_STATES))
		return false;
	for (unsigned i = 0; i < n; i++) {
		char arg[48];
		snprintf(arg, sizeof arg, "rgReaderStates[%u].szReader", i);
		if (!text_ok(f, arg, s[i].szReader))
			return false;
		snprintf(arg, sizeof arg, "rgReaderStates[%u].cbAtr", i);
		if (!range_ok(f, arg, s[i].cbAtr, 0, sizeof s[i].rgbAtr))
			return false;
		snprintf(arg, sizeof arg, "rgReaderStates[%u].pvUserData", i);
		if (s[i].pvUserData != NULL) {
			failed(f, arg, "not NULL");
			return false;
		}
	}
	return true;
}

static void record_states(enum fn f, const SCARD_READERSTATE *s, uint64_t n)
{
	for (unsigned i = 0; i < n; i++) {
		record_units(f, "szReader", s[i].szReader, text_length(s[i].szReader));
		record_number(f, "dwCurrentState", s[i].dwCurrentState);
		record_number(f, "dwEventState", s[i].dwEventState);
		record_number(f, "cbAtr", s[i].cbAtr);
		record_bytes(f, "rgbAtr", s[i].rgbAtr, sizeof s[i].rgbAtr);
	}
}

/* ---- Their answers ---- */

static void forget_answers(void)
{
	lock(&record_lock);
	for (int f = 0; f < FN_COUNT; f++) {
		record_begin((enum fn)f);
		for (int i = 0; i < MAX_ARGS; i++) {
			free(answers[f][i].data);
			answers[f][i].data = NULL;
			answers[f][i].n = 0;
		}
	}
	unlock(&record_lock);
}

static LONG set_answer(const unsigned char *value, size_t n)
{
	char name[48];
	size_t k = 0;
	while (k < n && k < sizeof name - 1 && value[k] != '\n') {
		name[k] = (char)value[k];
		k++;
	}
	name[k] = '\0';
	char *number = strchr(name, ' ');
	if (k == n || value[k] != '\n' || number == NULL || number[1] < '0' || number[1] >= '0' + MAX_ARGS)
		FAIL(FN_setattrib, "pbAttr", "not an answer: it begins \"%s\"", name);
	*number = '\0';
	int f = function_named(name);
	if (f < 0 || !is_windows(f))
		FAIL(FN_setattrib, "pbAttr", "no function \"%s\" takes answers", name);
	size_t room = n - k - 1;
	unsigned char *data = malloc(room ? room : 1);
	if (data == NULL)
		return SCARD_E_NO_MEMORY;
	memcpy(data, value + k + 1, room);
	lock(&record_lock);
	int i = number[1] - '0';
	free(answers[f][i].data);
	answers[f][i].data = data;
	answers[f][i].n = room;
	unlock(&record_lock);
	return SCARD_S_SUCCESS;
}

/* answer_copy writes an answer of exactly n bytes; zeros if there is none. */
static void answer_copy(enum fn f, int i, void *p, size_t n)
{
	memset(p, 0, n);
	lock(&record_lock);
	if (answers[f][i].n > 0)
		memcpy(p, answers[f][i].data, answers[f][i].n < n ? answers[f][i].n : n);
	unlock(&record_lock);
}

static uint32_t answer_number(enum fn f, int i)
{
	uint32_t v;
	answer_copy(f, i, &v, sizeof v);
	return v;
}

/* answer gives an answer in a buffer, in elements of unit bytes. */
static LONG answer(enum fn f, int i, const char *arg_buffer, const char *arg_length, void *buffer, DWORD *capacity,
	size_t unit)
{
	lock(&record_lock);
	size_t n = answers[f][i].n;
	unsigned char *data = malloc(n ? n : 1);
	if (data != NULL && n > 0)
		memcpy(data, answers[f][i].data, n);
	unlock(&record_lock);
	if (data == NULL)
		return SCARD_E_NO_MEMORY;
	LONG rc = give_units(f, arg_buffer, arg_length, buffer, capacity, data, n / unit, unit);
	free(data);
	return rc;
}

/* answer_states writes the event state of each reader, of which the answer has four bytes each, and an ATR: i + 2 bytes
 * of the pattern of i. */
static void answer_states(enum fn f, int arg, SCARD_READERSTATE *s, uint64_t n)
{
	uint32_t events[MAX_STATES];
	answer_copy(f, arg, events, sizeof events);
	for (unsigned i = 0; i < n; i++) {
		s[i].dwEventState = events[i];
		memset(s[i].rgbAtr, FILLER, sizeof s[i].rgbAtr);
		s[i].cbAtr = (DWORD)(i % 32 + 2);
		for (unsigned k = 0; k < s[i].cbAtr; k++)
			s[i].rgbAtr[k] = pattern(k, i);
	}
}

/* ---- Events ----
 *
 * The answer to number 0 says how an event is: 0 not set, 1 set, 2 that there is
 * none, for the reason 5 (access denied). The handle that is given is noted.
 */

#define EVENT_NONE 2

static atomic_int events_given[FN_COUNT];

static int events_held(void)
{
	int n = 0;
	for (int f = 0; f < FN_COUNT; f++)
		n += atomic_load(&events_given[f]);
	return n;
}

#if defined(_WIN32)
static HANDLE event_handle[FN_COUNT]; /* under record_lock */
#endif

static HANDLE access_event(enum fn f)
{
	hold(f, NULL);
	uint32_t how = answer_number(f, 0);
#if defined(_WIN32)
	lock(&record_lock);
	if (event_handle[f] == NULL)
		event_handle[f] = CreateEventW(NULL, TRUE, FALSE, NULL);
	HANDLE event = event_handle[f];
	unlock(&record_lock);
	if (how == 1)
		SetEvent(event);
	else
		ResetEvent(event);
	if (how == EVENT_NONE)
		SetLastError(ERROR_ACCESS_DENIED);
#else
	static char event_memory[FN_COUNT];
	HANDLE event = &event_memory[f];
	if (how == EVENT_NONE)
		errno = 5;
#endif
	if (how == EVENT_NONE)
		return NULL;
	lock(&record_lock);
	record_begin(f);
	record_number(f, "event", (uintptr_t)event);
	unlock(&record_lock);
	atomic_fetch_add(&events_given[f], 1);
	return event;
}

static void release_event(enum fn f)
{
	hold(f, NULL);
	if (f == FN_releaseallevents) {
		atomic_store(&events_given[FN_accessstartedevent], 0);
		atomic_store(&events_given[FN_accessnewreaderevent], 0);
		return;
	}
	enum fn given = f == FN_releasestartedevent ? FN_accessstartedevent : FN_accessnewreaderevent;
	if (atomic_fetch_sub(&events_given[given], 1) <= 0) {
		atomic_fetch_add(&events_given[given], 1);
		failed(f, "the event", "it was given back more often than it was given");
	}
}

#include "zfunctions.h"

#endif
