/*
 * The libpcsclite that a wine of 32 bits is given. Wine's winscard takes every number and handle of libpcsclite for one of
 * 64 bits, which they aren't on a Linux of 32 bits; this hands its calls on to the real one.
 */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number, the state of a reader and the header of an APDU, as wine has them and as libpcsclite does. */
typedef uint64_t wine_t;
struct wine_state {
	wine_t reader, user, current, event, length;
	unsigned char atr[33];
} __attribute__((aligned(8)));
struct wine_pci {
	wine_t protocol, length;
};

typedef uint32_t lite_t;
struct lite_state {
	const char *reader;
	void *user;
	lite_t current, event, length;
	unsigned char atr[33];
};
struct lite_pci {
	lite_t protocol, length;
};

#define EXPORT __attribute__((visibility("default"))) int32_t

static void *real(const char *name)
{
	void *library = dlopen("/usr/lib/i386-linux-gnu/libpcsclite.so.1", RTLD_NOW);
	void *function = library ? dlsym(library, name) : NULL;
	if (!function) {
		fprintf(stderr, "bridge: %s\n", dlerror());
		abort();
	}
	return function;
}

static lite_t in(const wine_t *p) { return p ? (lite_t)*p : 0; }
static lite_t *where(const wine_t *p, lite_t *value) { return p ? value : NULL; }
static void out(wine_t *p, lite_t value)
{
	if (p)
		*p = value;
}

EXPORT SCardEstablishContext(wine_t scope, const void *r1, const void *r2, wine_t *context)
{
	int32_t (*f)(lite_t, const void *, const void *, lite_t *) = real(__func__);
	lite_t c = in(context);
	int32_t rc = f(scope, r1, r2, where(context, &c));
	out(context, c);
	return rc;
}

static int32_t one(const char *name, lite_t handle)
{
	int32_t (*f)(lite_t) = real(name);
	return f(handle);
}

EXPORT SCardReleaseContext(wine_t context) { return one(__func__, context); }
EXPORT SCardIsValidContext(wine_t context) { return one(__func__, context); }
EXPORT SCardCancel(wine_t context) { return one(__func__, context); }
EXPORT SCardBeginTransaction(wine_t card) { return one(__func__, card); }

static int32_t two(const char *name, lite_t handle, lite_t disposition)
{
	int32_t (*f)(lite_t, lite_t) = real(name);
	return f(handle, disposition);
}

EXPORT SCardDisconnect(wine_t card, wine_t disposition) { return two(__func__, card, disposition); }
EXPORT SCardEndTransaction(wine_t card, wine_t disposition) { return two(__func__, card, disposition); }

EXPORT SCardGetStatusChange(wine_t context, wine_t timeout, struct wine_state *states, wine_t n)
{
	int32_t (*f)(lite_t, lite_t, struct lite_state *, lite_t) = real(__func__);
	struct lite_state *s = calloc(n + 1, sizeof *s);
	if (!s)
		abort();
	for (lite_t i = 0; i < n; i++) {
		s[i].reader = (const char *)(uintptr_t)states[i].reader;
		s[i].current = states[i].current;
		s[i].event = states[i].event;
		s[i].length = states[i].length;
		memcpy(s[i].atr, states[i].atr, sizeof s[i].atr);
	}
	int32_t rc = f(context, timeout, states ? s : NULL, n);
	for (lite_t i = 0; i < n; i++) {
		states[i].event = s[i].event;
		states[i].length = s[i].length;
		memcpy(states[i].atr, s[i].atr, sizeof s[i].atr);
	}
	free(s);
	return rc;
}

EXPORT SCardListReaders(wine_t context, const char *groups, char *readers, wine_t *length)
{
	int32_t (*f)(lite_t, const char *, char *, lite_t *) = real(__func__);
	lite_t l = in(length);
	int32_t rc = f(context, groups, readers, where(length, &l));
	out(length, l);
	return rc;
}

EXPORT SCardListReaderGroups(wine_t context, char *groups, wine_t *length)
{
	int32_t (*f)(lite_t, char *, lite_t *) = real(__func__);
	lite_t l = in(length);
	int32_t rc = f(context, groups, where(length, &l));
	out(length, l);
	return rc;
}

EXPORT SCardConnect(wine_t context, const char *reader, wine_t share, wine_t protocols, wine_t *card, wine_t *protocol)
{
	int32_t (*f)(lite_t, const char *, lite_t, lite_t, lite_t *, lite_t *) = real(__func__);
	lite_t c = in(card), p = in(protocol);
	int32_t rc = f(context, reader, share, protocols, where(card, &c), where(protocol, &p));
	out(card, c);
	out(protocol, p);
	return rc;
}

EXPORT SCardReconnect(wine_t card, wine_t share, wine_t protocols, wine_t initialization, wine_t *protocol)
{
	int32_t (*f)(lite_t, lite_t, lite_t, lite_t, lite_t *) = real(__func__);
	lite_t p = in(protocol);
	int32_t rc = f(card, share, protocols, initialization, where(protocol, &p));
	out(protocol, p);
	return rc;
}

EXPORT SCardStatus(wine_t card, char *readers, wine_t *length, wine_t *state, wine_t *protocol, void *atr, wine_t *atr_length)
{
	int32_t (*f)(lite_t, char *, lite_t *, lite_t *, lite_t *, void *, lite_t *) = real(__func__);
	lite_t l = in(length), s = in(state), p = in(protocol), a = in(atr_length);
	int32_t rc = f(card, readers, where(length, &l), where(state, &s), where(protocol, &p), atr, where(atr_length, &a));
	out(length, l);
	out(state, s);
	out(protocol, p);
	out(atr_length, a);
	return rc;
}

EXPORT SCardTransmit(wine_t card, const struct wine_pci *send_pci, const void *send, wine_t send_length,
	struct wine_pci *recv_pci, void *recv, wine_t *recv_length)
{
	int32_t (*f)(lite_t, const struct lite_pci *, const void *, lite_t, struct lite_pci *, void *, lite_t *) = real(__func__);
	struct lite_pci s = {send_pci ? send_pci->protocol : 0, sizeof s}, r = {recv_pci ? recv_pci->protocol : 0, sizeof r};
	lite_t l = in(recv_length);
	int32_t rc = f(card, send_pci ? &s : NULL, send, send_length, recv_pci ? &r : NULL, recv, where(recv_length, &l));
	if (recv_pci)
		recv_pci->protocol = r.protocol;
	out(recv_length, l);
	return rc;
}

EXPORT SCardControl(wine_t card, wine_t code, const void *send, wine_t send_length, void *recv, wine_t room, wine_t *length)
{
	int32_t (*f)(lite_t, lite_t, const void *, lite_t, void *, lite_t, lite_t *) = real(__func__);
	lite_t l = in(length);
	int32_t rc = f(card, code, send, send_length, recv, room, where(length, &l));
	out(length, l);
	return rc;
}

EXPORT SCardGetAttrib(wine_t card, wine_t id, void *attribute, wine_t *length)
{
	int32_t (*f)(lite_t, lite_t, void *, lite_t *) = real(__func__);
	lite_t l = in(length);
	int32_t rc = f(card, id, attribute, where(length, &l));
	out(length, l);
	return rc;
}

EXPORT SCardSetAttrib(wine_t card, wine_t id, const void *attribute, wine_t length)
{
	int32_t (*f)(lite_t, lite_t, const void *, lite_t) = real(__func__);
	return f(card, id, attribute, length);
}
