// SPDX-License-Identifier: GPL-2.0-or-later
#include "kmod.h"
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#define LIBRARY "libkmod.so.2"

struct kmod_calls kmod;

/* It stays until the process ends. */
static const char *load(void)
{
	static void *lib;

	if (!lib)
		lib = dlopen(LIBRARY, RTLD_NOW);
	if (!lib)
		return dlerror();
#define KMOD_LOAD(name) \
	kmod.name = (__typeof__(kmod.name))dlsym(lib, "kmod_" #name); \
	if (!kmod.name) \
		return dlerror();
	KMOD_CALLS(KMOD_LOAD)
#undef KMOD_LOAD
	return NULL;
}

/* what it would print is said by who asks */
static void quiet(void *data, int priority, const char *file, int line, const char *fn, const char *format, va_list args)
{
}

struct kmod_module *kmod_begin(struct kmod_ctx **ctx, const char **why)
{
	struct kmod_module *mod = NULL;
	int ret;

	*ctx = NULL;
	*why = load();
	if (*why)
		return NULL;
	*ctx = kmod.new(NULL, NULL);
	if (!*ctx) {
		*why = strerror(errno);
		return NULL;
	}
	kmod.set_log_fn(*ctx, quiet, NULL);
	ret = kmod.module_new_from_name(*ctx, "holdfast", &mod);
	if (ret < 0)
		*why = strerror(-ret);
	return ret < 0 ? NULL : mod;
}
