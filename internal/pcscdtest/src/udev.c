/*
 * The part of libudev that pcscd uses, with USB devices that a test plugs in and pulls out. pcscd loads it before the
 * real one. PCSCDTEST_UDEV in its environment is the number of a socket, from which events are read, and the devices
 * that are there from the beginning: bits, the lowest for device 0.
 *
 * Device N is a smart card reader with vendor and product 1209:N. An event is two bytes: 'a' for added or 'r' for
 * removed, and N.
 *
 * Real devices are not seen. Nothing is ever freed, since everything lies in static memory.
 */

#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef DEVICES
#define DEVICES 16
#endif

struct udev_list_entry {
	struct udev_list_entry *next;
	char syspath[32];
};

struct udev_device {
	struct udev_list_entry entry;
	const char *action;
	char sysname[16], devnode[32], product[8];
};

struct udev {
	int events;
	unsigned present;
};

struct udev_enumerate {
	struct udev_list_entry *first;
};

struct udev_monitor {
	struct udev *udev;
};

static struct udev the_udev = {.events = -1};
static struct udev_enumerate the_enumerate;
static struct udev_monitor the_monitor;
static struct udev_device devices[DEVICES];

struct udev *udev_new(void)
{
	const char *env = getenv("PCSCDTEST_UDEV");

	if (!env || sscanf(env, "%d %x", &the_udev.events, &the_udev.present) != 2)
		return NULL;
	for (unsigned i = 0; i < DEVICES; i++) {
		struct udev_device *d = &devices[i];

		snprintf(d->sysname, sizeof d->sysname, "1-%u:1.0", i + 1);
		snprintf(d->entry.syspath, sizeof d->entry.syspath, "/sys/pcscdtest/%s", d->sysname);
		snprintf(d->devnode, sizeof d->devnode, "/dev/bus/usb/001/%03u", i + 1);
		snprintf(d->product, sizeof d->product, "%04x", i);
	}
	return &the_udev;
}

struct udev *udev_unref(struct udev *udev)
{
	(void)udev;
	return NULL;
}

struct udev_enumerate *udev_enumerate_new(struct udev *udev)
{
	(void)udev;
	return &the_enumerate;
}

struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *e)
{
	(void)e;
	return NULL;
}

int udev_enumerate_add_match_subsystem(struct udev_enumerate *e, const char *subsystem)
{
	(void)e;
	(void)subsystem;
	return 0;
}

int udev_enumerate_scan_devices(struct udev_enumerate *e)
{
	struct udev_list_entry **end = &e->first;

	for (unsigned i = 0; i < DEVICES; i++)
		if (the_udev.present >> i & 1) {
			*end = &devices[i].entry;
			end = &devices[i].entry.next;
		}
	*end = NULL;
	return 0;
}

struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *e)
{
	return e->first;
}

struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry)
{
	return entry->next;
}

const char *udev_list_entry_get_name(struct udev_list_entry *entry)
{
	return entry->syspath;
}

struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *syspath)
{
	(void)udev;
	for (unsigned i = 0; i < DEVICES; i++)
		if (strcmp(devices[i].entry.syspath, syspath) == 0)
			return &devices[i];
	return NULL;
}

/* Interface and device are one here. */
struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *d, const char *subsystem,
	const char *devtype)
{
	(void)subsystem;
	(void)devtype;
	return d;
}

const char *udev_device_get_action(struct udev_device *d)
{
	return d->action;
}

const char *udev_device_get_devnode(struct udev_device *d)
{
	return d->devnode;
}

const char *udev_device_get_sysname(struct udev_device *d)
{
	return d->sysname;
}

const char *udev_device_get_sysattr_value(struct udev_device *d, const char *name)
{
	if (strcmp(name, "idVendor") == 0)
		return "1209";
	if (strcmp(name, "idProduct") == 0)
		return d->product;
	if (strcmp(name, "bInterfaceNumber") == 0)
		return "00";
	return NULL;
}

struct udev_device *udev_device_unref(struct udev_device *d)
{
	(void)d;
	return NULL;
}

struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name)
{
	(void)name;
	the_monitor.udev = udev;
	return &the_monitor;
}

int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *m, const char *subsystem, const char *devtype)
{
	(void)m;
	(void)subsystem;
	(void)devtype;
	return 0;
}

int udev_monitor_enable_receiving(struct udev_monitor *m)
{
	(void)m;
	return 0;
}

int udev_monitor_get_fd(struct udev_monitor *m)
{
	return m->udev->events;
}

struct udev_device *udev_monitor_receive_device(struct udev_monitor *m)
{
	unsigned char event[2];

	if (read(m->udev->events, event, sizeof event) != sizeof event || event[1] >= DEVICES)
		return NULL;
	struct udev_device *d = &devices[event[1]];

	if (event[0] == 'a') {
		d->action = "add";
		m->udev->present |= 1u << event[1];
	} else {
		d->action = "remove";
		m->udev->present &= ~(1u << event[1]);
	}
	return d;
}
