// SPDX-License-Identifier: GPL-2.0-or-later
/* Gathers what there is to know about holdfast.ko and about who may load it. */
#include "kmod.h"
#include "module.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#define MODULES "/lib/modules"

/* the first line of a small file; empty when it cannot be read */
static char *line_of(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return buf;
}

char *module_attr(const char *name, char *buf, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/holdfast/%s", name);
	return line_of(path, buf, size);
}

static void info(struct kmod_module *mod, struct module_facts *f)
{
	struct kmod_list *list = NULL, *at;

	if (kmod.module_get_info(mod, &list) < 0)
		return;
	for (at = list; at; at = kmod.list_next(list, at)) {
		const char *key = kmod.module_info_get_key(at), *value = kmod.module_info_get_value(at);

		if (!strcmp(key, "version"))
			snprintf(f->version, sizeof(f->version), "%s", value);
		else if (!strcmp(key, "srcversion"))
			snprintf(f->srcversion, sizeof(f->srcversion), "%s", value);
		else if (!strcmp(key, "vermagic"))
			snprintf(f->vermagic, sizeof(f->vermagic), "%s", value);
		else if (!strcmp(key, "signer"))
			snprintf(f->signer, sizeof(f->signer), "%s", value);
		else if (!strcmp(key, "sig_id"))
			f->is_signed = true;
	}
	kmod.module_info_free_list(list);
}

static char found[PATH_MAX];	/* nftw() hands nothing on */

static int is_ours(const char *path, const struct stat *st, int type, struct FTW *at)
{
	static const char *const name[] = { "holdfast.ko", "holdfast.ko.xz", "holdfast.ko.zst", "holdfast.ko.gz" };

	for (size_t i = 0; type == FTW_F && i < sizeof(name) / sizeof(name[0]); i++) {
		if (strcmp(path + at->base, name[i]))
			continue;
		snprintf(found, sizeof(found), "%s", path);
		return 1;
	}
	return 0;
}

/* looks below every kernel's modules: slow, so only when this kernel's index has none */
static void search(struct module_facts *f)
{
	DIR *d = opendir(MODULES);
	struct dirent *e;
	char path[PATH_MAX];

	while (d && (e = readdir(d))) {
		size_t n = strlen(f->built_for);

		snprintf(path, sizeof(path), MODULES "/%s", e->d_name);
		if (e->d_name[0] == '.' || nftw(path, is_ours, 16, FTW_PHYS) != 1)
			continue;
		if (!strcmp(e->d_name, f->uts.release))
			snprintf(f->unindexed, sizeof(f->unindexed), "%s", found);
		else if (n + strlen(e->d_name) + 3 < sizeof(f->built_for))
			sprintf(f->built_for + n, "%s%s", n ? ", " : "", e->d_name);
	}
	if (d)
		closedir(d);
}

static enum yes secure_boot(void)
{
	static const char var[] =
		"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
	unsigned char b[8];
	int fd;
	ssize_t n;

	if (access("/sys/kernel", F_OK))
		return UNKNOWN;
	if (access("/sys/firmware/efi", F_OK))
		return NO;	/* not started by EFI */
	fd = open(var, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, b, sizeof(b));
	if (fd >= 0)
		close(fd);
	/* four bytes of attributes come first */
	return n == 5 ? (b[4] ? YES : NO) : UNKNOWN;
}

static void kernel(struct module_facts *f)
{
	char b[128], *p;

	f->secure_boot = secure_boot();
	line_of("/sys/module/module/parameters/sig_enforce", b, sizeof(b));
	f->sig_enforce = *b == 'Y' ? YES : *b == 'N' ? NO : UNKNOWN;
	/* none [integrity] confidentiality */
	line_of("/sys/kernel/security/lockdown", b, sizeof(b));
	p = strchr(b, '[');
	if (p)
		snprintf(f->lockdown, sizeof(f->lockdown), "%.*s", (int)strcspn(p + 1, "]"), p + 1);
	f->monolithic = !access("/proc/self", F_OK) && access("/proc/modules", F_OK);
	f->disabled = *line_of("/proc/sys/kernel/modules_disabled", b, sizeof(b)) == '1';
	f->tainted = strtoull(line_of("/proc/sys/kernel/tainted", b, sizeof(b)), NULL, 10);
}

static void process(struct module_facts *f)
{
	cap_flag_value_t set = CAP_CLEAR;
	cap_t caps = cap_get_proc();
	unsigned inside, outside, count;
	char b[128];

	if (caps)
		cap_get_flag(caps, CAP_SYS_MODULE, CAP_EFFECTIVE, &set);
	cap_free(caps);
	f->capable = set == CAP_SET;
	f->root = geteuid() == 0;
	line_of("/proc/self/uid_map", b, sizeof(b));
	if (sscanf(b, "%u %u %u", &inside, &outside, &count) == 3 && count != UINT_MAX) {
		/* what one may do in a user namespace says nothing about the kernel */
		f->in_container = true;
		f->capable = false;
	} else {
		f->in_container = f->root && !f->capable;
	}
}

void module_facts(struct kmod_module *mod, struct module_facts *f)
{
	char path[PATH_MAX];
	const char *file = mod ? kmod.module_get_path(mod) : NULL;

	memset(f, 0, sizeof(*f));
	uname(&f->uts);
	if (file && !access(file, F_OK)) {
		snprintf(f->file, sizeof(f->file), "%s", file);
		info(mod, f);
	} else {
		search(f);
	}
	snprintf(path, sizeof(path), MODULES "/%s/build/Makefile", f->uts.release);
	f->headers = !access(path, F_OK);
	f->dkms = !access("/var/lib/dkms/holdfast", F_OK);
	kernel(f);
	process(f);
}
