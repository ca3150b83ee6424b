/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel, its files and this process say about holdfast.ko; module_why.c judges it. */
#ifndef HF_CLI_MODULE_H
#define HF_CLI_MODULE_H

#include "cli.h"
#include <limits.h>
#include <sys/utsname.h>

enum yes { NO, YES, UNKNOWN };

struct module_facts {
	struct utsname uts;
	/* the file that would be loaded */
	char file[PATH_MAX];		/* empty: there is none in the index of this kernel's modules */
	char unindexed[PATH_MAX];	/* there is one, but not in the index */
	char version[64], srcversion[64], vermagic[160], signer[160];
	bool is_signed;
	char built_for[512];		/* other kernels that it is built for; empty: none */
	bool headers, dkms;		/* to build it with; DKMS knows it */
	/* the kernel */
	enum yes secure_boot, sig_enforce;
	char lockdown[32];		/* empty: not known */
	bool monolithic;		/* it has no modules at all */
	bool disabled;			/* no module can be loaded until the next boot */
	unsigned long long tainted;
	/* this process */
	bool capable, root, in_container;
};

struct verdict {
	const char *reason;		/* one word, an interface; "loadable" when nothing is known against it */
	enum hf_exit exit;
	char why[400], what[400];	/* sentences: why not, what to do */
};

/* module_why.c */
void module_judge(const struct module_facts *f, struct verdict *v);
/** module_judge_errno() - after loading has failed with @error */
void module_judge_errno(const struct module_facts *f, int error, struct verdict *v);
/** module_judge_stores() - why the module that is loaded cannot note stores to shared mappings
 *  @tracepoint: what its parameter stores_tracepoint names */
void module_judge_stores(const char *tracepoint, struct verdict *v);
/** module_taints() - words for the bits of a kernel's taint, and whose they are */
struct json_object *module_taints(unsigned long long tainted);

/* module_facts.c */
struct kmod_module;
void module_facts(struct kmod_module *mod, struct module_facts *f);
/** module_attr() - /sys/module/holdfast/NAME; empty when it is not there */
char *module_attr(const char *name, char *buf, size_t size);

#endif
