/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkmod, loaded by the verbs that need it: with what it needs itself (libcrypto) it takes half of the
 * time in which a command starts, and most commands are for the daemon.
 */
#ifndef HF_CLI_KMOD_H
#define HF_CLI_KMOD_H

#include <libkmod.h>

#define KMOD_CALLS(X) \
	X(new) X(unref) X(set_log_fn) X(list_next) X(module_new_from_name) X(module_unref) \
	X(module_get_initstate) X(module_get_path) X(module_get_info) X(module_info_get_key) \
	X(module_info_get_value) X(module_info_free_list) X(module_probe_insert_module) X(module_remove_module)

/* kmod.new() is kmod_new(), and so on */
struct kmod_calls {
#define KMOD_CALL(name) __typeof__(&kmod_##name) name;
	KMOD_CALLS(KMOD_CALL)
#undef KMOD_CALL
};
extern struct kmod_calls kmod;

/** kmod_begin() - load it, and what it knows of holdfast.ko. NULL, and @why, where that fails
 *  kmod.module_unref() it, and kmod.unref() @ctx, each unless it is NULL */
struct kmod_module *kmod_begin(struct kmod_ctx **ctx, const char **why);

#endif
