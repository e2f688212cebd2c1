/*
 * The time from the start of a process to its first list of readers.
 *
 *	first PROGRAM [ARGUMENT...]
 *	first
 *
 * The first form puts the time into the environment, as BENCH_STARTED, and
 * becomes PROGRAM: what the parent needs to make a process is not counted. The
 * second form is such a program. It prints "first" and nanoseconds.
 */

#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <winscard.h>

/* The clock that Go's time.Now().UnixNano() reads. */
static long long now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		char text[32];
		snprintf(text, sizeof text, "%lld", now_ns());
		setenv("BENCH_STARTED", text, 1);
		execv(argv[1], argv + 1);
		perror(argv[1]);
		return 1;
	}

	const char *started = getenv("BENCH_STARTED");
	SCARDCONTEXT context;
	static char list[16 * MAX_READERNAME + 1];
	DWORD n = sizeof list;
	LONG rc = SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context);
	if (rc == SCARD_S_SUCCESS)
		rc = SCardListReaders(context, NULL, list, &n);
	if (started == NULL || rc != SCARD_S_SUCCESS) {
		fprintf(stderr, "first: no BENCH_STARTED, or 0x%08lX\n", (unsigned long)rc & 0xFFFFFFFFul);
		return 1;
	}
	printf("first %lld\n", now_ns() - atoll(started));
	return 0;
}
