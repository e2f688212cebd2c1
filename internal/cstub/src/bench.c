/*
 * What PC/SC costs a C program, to compare the bindings with.
 *
 *	bench MODE N [READER]
 *
 * MODE is transmit, status, getstatuschange or session; N is how often. READER
 * is the first one listed unless named. One line of output: MODE and the
 * nanoseconds of one call (of one session of six calls), as "transmit 25.3".
 *
 *	bench answers 1 READER
 *
 * makes each call once and tells what came back, for a test that what is
 * measured is what it looks like.
 */

#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <winscard.h>

static void check(LONG rc, const char *what)
{
	if (rc != SCARD_S_SUCCESS) {
		fprintf(stderr, "bench: %s: 0x%08lX %s\n", what, (unsigned long)rc & 0xFFFFFFFFul, pcsc_stringify_error(rc));
		exit(1);
	}
}

static double now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static SCARDCONTEXT context;
static SCARDHANDLE card;
static DWORD protocol;
static const char *reader;
static char list[16 * MAX_READERNAME + 1];

static void list_readers(SCARDCONTEXT c, char *out)
{
	DWORD n = sizeof list;
	check(SCardListReaders(c, NULL, out, &n), "SCardListReaders");
}

static void connect(SCARDCONTEXT c)
{
	check(SCardConnect(c, reader, SCARD_SHARE_SHARED, SCARD_PROTOCOL_ANY, &card, &protocol), "SCardConnect");
}

/* The last answers. */
static unsigned char answer[258], atr[MAX_ATR_SIZE];
static char name[MAX_READERNAME];
static DWORD answer_length, name_length, state, active, atr_length;
static SCARD_READERSTATE states[2];

static void transmit(void)
{
	static const unsigned char command[5] = {0x00, 0xB0, 0x00, 0x00, 0x02};
	const SCARD_IO_REQUEST *pci = protocol == SCARD_PROTOCOL_T0 ? SCARD_PCI_T0 : SCARD_PCI_T1;
	answer_length = sizeof answer;
	check(SCardTransmit(card, pci, command, sizeof command, NULL, answer, &answer_length), "SCardTransmit");
}

static void status(void)
{
	name_length = sizeof name;
	atr_length = sizeof atr;
	check(SCardStatus(card, name, &name_length, &state, &active, atr, &atr_length), "SCardStatus");
}

static void getstatuschange(void)
{
	memset(states, 0, sizeof states);
	/* With one reader only, both states are its. */
	states[0].szReader = reader;
	states[1].szReader = list + strlen(list) + 1;
	if (*states[1].szReader == '\0')
		states[1].szReader = list;
	check(SCardGetStatusChange(context, 0, states, 2), "SCardGetStatusChange");
}

static void session(void)
{
	char found[sizeof list];
	SCARDCONTEXT c;
	check(SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &c), "SCardEstablishContext");
	list_readers(c, found);
	connect(c);
	status();
	check(SCardDisconnect(card, SCARD_LEAVE_CARD), "SCardDisconnect");
	check(SCardReleaseContext(c), "SCardReleaseContext");
}

static void print(const char *what, const unsigned char *bytes, size_t length)
{
	printf("%s ", what);
	for (size_t i = 0; i < length; i++)
		printf("%02X", bytes[i]);
	printf("\n");
}

static void answers(void)
{
	transmit();
	print("transmit", answer, answer_length);
	status();
	printf("status %s, state 0x%lX, protocol %lu\n", name, (unsigned long)state & 0xFFFF, (unsigned long)active);
	print("ATR", atr, atr_length);
	getstatuschange();
	printf("getstatuschange 0x%lX\n", (unsigned long)states[0].dwEventState & 0xFFFF);
	print("ATR", states[0].rgbAtr, states[0].cbAtr);
}

static const struct {
	const char *name;
	void (*call)(void);
	int connected;
} modes[] = {
	{"transmit", transmit, 1},
	{"status", status, 1},
	{"getstatuschange", getstatuschange, 0},
	{"session", session, 0},
	{"answers", answers, 1},
};

int main(int argc, char **argv)
{
	size_t m = 0;
	char *end = NULL;
	long n = argc >= 3 ? strtol(argv[2], &end, 10) : 0;

	while (m < sizeof modes / sizeof modes[0] && (argc < 3 || strcmp(argv[1], modes[m].name) != 0))
		m++;
	if (m == sizeof modes / sizeof modes[0] || argc > 4 || n <= 0 || *end != '\0') {
		fprintf(stderr, "usage: bench transmit|status|getstatuschange|session|answers N [READER]\n");
		return 2;
	}
	check(SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context), "SCardEstablishContext");
	list_readers(context, list);
	reader = argc == 4 ? argv[3] : list;
	if (modes[m].connected)
		connect(context);
	if (modes[m].call == answers) {
		answers();
		return 0;
	}

	/* The first calls bind symbols and fill caches. */
	for (long i = 0; i < n / 10 + 1; i++)
		modes[m].call();
	double start = now_ns();
	for (long i = 0; i < n; i++)
		modes[m].call();
	printf("%s %.1f\n", modes[m].name, (now_ns() - start) / (double)n);

	if (modes[m].connected)
		check(SCardDisconnect(card, SCARD_LEAVE_CARD), "SCardDisconnect");
	check(SCardReleaseContext(context), "SCardReleaseContext");
	return 0;
}
