// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon keeps the capabilities it needs and can never gain another. */
#include "daemon.h"
#include <sys/capability.h>
#include <sys/prctl.h>

static const struct {
	cap_value_t cap;
	bool must;
	const char *why;
} want[] = {
	{ CAP_SYS_ADMIN, true, "track changes and restore trusted attributes" },
	{ CAP_DAC_OVERRIDE, true, "write files of other users" },
	{ CAP_DAC_READ_SEARCH, true, "read files of other users" },
	{ CAP_CHOWN, true, "restore owners" },
	{ CAP_FOWNER, true, "restore modes and times" },
	{ CAP_FSETID, true, "restore set-group-ID bits" },
	{ CAP_SETFCAP, false, "restore file capabilities" },
	{ CAP_MKNOD, false, "restore device nodes" },
	{ CAP_IPC_LOCK, false, "keep keys out of swap" },
	{ CAP_NET_ADMIN, false, "track with the kernel module" },
};

int caps_keep(struct hf_err *err)
{
	cap_value_t keep[HF_ARRAY(want)];
	cap_t have, next;
	int n = 0, ret = 0;

	have = cap_get_proc();
	next = cap_init();
	if (!have || !next) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory while reading capabilities");
		goto out;
	}
	for (unsigned i = 0; i < HF_ARRAY(want); i++) {
		cap_flag_value_t v = CAP_CLEAR;
		char *name;

		if (want[i].cap == CAP_NET_ADMIN && !hfd.conf->require_kernel &&
		    !strcmp(hfd.conf->track_source, "fanotify"))
			continue;
		cap_get_flag(have, want[i].cap, CAP_PERMITTED, &v);
		if (v == CAP_SET) {
			keep[n++] = want[i].cap;
			continue;
		}
		name = cap_to_name(want[i].cap);
		if (want[i].must) {
			ret = hf_fail(err, HF_PERM, -EPERM,
				      "holdfastd lacks %s, which it needs to %s; run it as root, or give the unit that capability",
				      name ? name : "a capability", want[i].why);
			cap_free(name);
			goto out;
		}
		hf_logf(HF_LOG_NOTE, "without %s this daemon cannot %s", name ? name : "a capability",
			want[i].why);
		cap_free(name);
	}
	/* the bounding set goes first: dropping from it needs CAP_SETPCAP, which goes too */
	for (int c = 0; c <= CAP_LAST_CAP; c++) {
		bool kept = false;

		for (int k = 0; k < n; k++)
			kept |= keep[k] == c;
		if (!kept)
			cap_drop_bound(c);
	}
	if (cap_set_flag(next, CAP_PERMITTED, n, keep, CAP_SET) ||
	    cap_set_flag(next, CAP_EFFECTIVE, n, keep, CAP_SET) || cap_set_proc(next)) {
		ret = hf_fail(err, HF_PERM, -errno, "cannot drop capabilities: %s", strerror(errno));
		goto out;
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
out:
	cap_free(next);
	cap_free(have);
	return ret;
}
