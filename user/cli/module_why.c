// SPDX-License-Identifier: GPL-2.0-or-later
/* Why holdfast.ko could not be loaded, or was not, and what to do. */
#include "module.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OLDEST_MAJOR 6
#define OLDEST_MINOR 1
#define STORES_TRACEPOINT "writeback_dirty_folio"	/* what the module takes by itself */
#define FOUND_LATER "until then sync, offline and the scrub find what such stores change"
#define FANOTIFY "set source = fanotify in holdfast.conf, which notices less (see holdfast.conf(5))"

static void say_why(struct verdict *v, const char *reason, enum hf_exit exit, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void say_why(struct verdict *v, const char *reason, enum hf_exit exit, const char *fmt, ...)
{
	va_list ap;

	v->reason = reason;
	v->exit = exit;
	va_start(ap, fmt);
	vsnprintf(v->why, sizeof(v->why), fmt, ap);
	va_end(ap);
}

static void say_what(struct verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say_what(struct verdict *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->what, sizeof(v->what), fmt, ap);
	va_end(ap);
}

/* the steps to a module for the running kernel */
static void say_build(const struct module_facts *f, struct verdict *v)
{
	char headers[160] = "";

	if (!f->headers)
		snprintf(headers, sizeof(headers), "install the headers (apt install linux-headers-%s), then ",
			 f->uts.release);
	if (f->dkms)
		say_what(v, "%srun dkms autoinstall -k %s, or " FANOTIFY, headers, f->uts.release);
	else
		say_what(v, "%srun make module-install in Holdfast's source, or " FANOTIFY, headers);
}

static bool too_old(const struct module_facts *f)
{
	unsigned major, minor;

	return sscanf(f->uts.release, "%u.%u", &major, &minor) == 2 &&
		(major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR));
}

static bool enforced(const struct module_facts *f)
{
	return f->sig_enforce == YES || (*f->lockdown && strcmp(f->lockdown, "none"));
}

/* who demands signatures */
static const char *by_whom(const struct module_facts *f)
{
	if (f->secure_boot == YES)
		return "Secure Boot is on, so this kernel";
	if (*f->lockdown && strcmp(f->lockdown, "none"))
		return "the kernel is locked down (lockdown), so it";
	return "this kernel (module.sig_enforce)";
}

static void not_signed(const struct module_facts *f, struct verdict *v, const char *reason, const char *fault)
{
	say_why(v, reason, HF_PERM, "%s takes only modules that are signed with a key it trusts, and %s %s", by_whom(f),
		f->file, fault);
	say_what(v, "sign it with a key that is enrolled as MOK (DKMS does when one is: mokutil --import "
		 "/var/lib/dkms/mok.pub, then boot), or " FANOTIFY);
}

static void not_permitted(const struct module_facts *f, struct verdict *v)
{
	if (f->in_container)
		say_why(v, "container", HF_PERM, "a container may not load modules (no CAP_SYS_MODULE outside of its user "
			"namespace)");
	else
		say_why(v, "not-permitted", HF_PERM, "this user may not load modules (no CAP_SYS_MODULE)");
	if (f->in_container)
		say_what(v, "run holdfast module load on the host, or " FANOTIFY);
	else
		say_what(v, "run it as root");
}

static void other_kernel(const struct module_facts *f, struct verdict *v)
{
	say_why(v, "vermagic", HF_FAILED, "%s was built for another kernel: '%s', and %s runs", f->file, f->vermagic,
		f->uts.release);
	say_build(f, v);
}

/* the words of a version magic are ended by spaces */
static bool fits(const struct module_facts *f)
{
	size_t n = strlen(f->uts.release);

	return !*f->vermagic || (!strncmp(f->vermagic, f->uts.release, n) && (!f->vermagic[n] || f->vermagic[n] == ' '));
}

void module_judge(const struct module_facts *f, struct verdict *v)
{
	memset(v, 0, sizeof(*v));
	if (too_old(f)) {
		say_why(v, "kernel-too-old", HF_FAILED, "kernel %s is older than %d.%d, the oldest that holdfast.ko knows",
			f->uts.release, OLDEST_MAJOR, OLDEST_MINOR);
		say_what(v, "run a newer kernel, or " FANOTIFY);
	} else if (f->monolithic) {
		say_why(v, "no-modules", HF_FAILED, "kernel %s was built without support for modules", f->uts.release);
		say_what(v, "run another kernel, or " FANOTIFY);
	} else if (!*f->file && *f->unindexed) {
		say_why(v, "not-indexed", HF_NOTFOUND, "%s is not in the index of this kernel's modules", f->unindexed);
		say_what(v, "run depmod -a");
	} else if (!*f->file) {
		say_why(v, "not-built", HF_NOTFOUND, "there is no holdfast.ko for this kernel: none below /lib/modules/%s%s%.200s",
			f->uts.release, *f->built_for ? "; it is built for " : "", f->built_for);
		say_build(f, v);
	} else if (f->disabled) {
		say_why(v, "disabled", HF_PERM, "this kernel takes no more modules until it is booted again "
			"(kernel.modules_disabled is 1)");
		say_what(v, "have holdfast.ko loaded before that is set (a line holdfast in /etc/modules-load.d/holdfast.conf) "
			 "and boot, or " FANOTIFY);
	} else if (!fits(f)) {
		other_kernel(f, v);
	} else if (enforced(f) && !f->is_signed) {
		not_signed(f, v, "unsigned", "is not signed");
	} else if (!f->capable) {
		not_permitted(f, v);
	} else {
		say_why(v, "loadable", HF_OK, "nothing is known that stands against loading it");
		say_what(v, "run holdfast module load");
	}
}

void module_judge_errno(const struct module_facts *f, int error, struct verdict *v)
{
	module_judge(f, v);
	if (v->exit != HF_OK)
		return;		/* what was foreseen is the reason */
	switch (error) {
	case ENOKEY:
	case EKEYREJECTED:
	case EBADMSG:
	case ENOPKG:
		not_signed(f, v, "key", "is signed with another");
		break;
	case EPERM:
	case EACCES:
		say_why(v, "not-permitted", HF_PERM, "the kernel does not permit it (%s): lockdown, or a security module",
			strerror(error));
		say_what(v, "see dmesg, which tells who refused it, or " FANOTIFY);
		break;
	case ENOEXEC:
		other_kernel(f, v);
		break;
	case ENOENT:
		say_why(v, "symbols", HF_FAILED, "%s needs what this kernel does not have (unknown symbols; dmesg names them)",
			f->file);
		say_build(f, v);
		break;
	default:
		say_why(v, "failed", HF_FAILED, "the kernel did not take %s: %s", f->file, strerror(error));
		say_what(v, "see dmesg, which may tell more");
	}
}

void module_judge_stores(const char *tracepoint, struct verdict *v)
{
	memset(v, 0, sizeof(*v));
	if (!*tracepoint)
		say_why(v, "off", HF_OK, "the module's parameter stores_tracepoint is empty");
	else
		say_why(v, "no-tracepoint", HF_OK, "this kernel has no tracepoint %s", tracepoint);
	if (strcmp(tracepoint, STORES_TRACEPOINT))
		say_what(v, "take stores_tracepoint out of modprobe.d and off the kernel's command line, then run holdfast "
			 "module reload; " FOUND_LATER);
	else
		say_what(v, "run a kernel that is built with tracepoints; " FOUND_LATER);
}

struct json_object *module_taints(unsigned long long tainted)
{
	static const struct { unsigned bit; const char *text; } t[] = {
		{ 0, "P: a proprietary module was loaded; not by Holdfast" },
		{ 1, "F: a module was forced in" },
		{ 3, "R: a module was forced out" },
		{ 7, "D: the kernel has died once (oops); boot it" },
		{ 9, "W: the kernel has warned once; see dmesg" },
		{ 12, "O: a module from outside the kernel's tree was loaded; holdfast.ko is one, and this is harmless" },
		{ 13, "E: an unsigned module was loaded; holdfast.ko is one unless it was signed, and this is harmless" },
		{ 14, "L: a processor was stuck once" },
		{ 15, "K: the kernel was patched live" },
	};
	struct json_object *list = json_object_new_array();
	char other[64];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (tainted & (1ull << t[i].bit))
			json_object_array_add(list, json_object_new_string(t[i].text));
		tainted &= ~(1ull << t[i].bit);
	}
	if (tainted) {
		snprintf(other, sizeof(other), "0x%llx: other reasons; not by Holdfast", tainted);
		json_object_array_add(list, json_object_new_string(other));
	}
	return list;
}
