// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * holdfastd -s R: R is stopped on this node, where no daemon can be started, because
 * the store is out of reach or the configuration is broken. That is written where the
 * next daemon reads it, which commits what was held back and releases R, as after
 * any stop without the store.
 */
#include "daemon.h"
#include "journal.h"
#include "notice.h"
#include <unistd.h>

static int stopped(const char *name, struct journal *j, struct hf_err *err)
{
	int ret;

	/* policies are in the store, but this one */
	if (j->strict_stop)
		return hf_fail(err, HF_UNAVAIL, -EIO, "%s: not stopped, because strict-stop is set, and no daemon can commit its last changes",
			       name);
	/* what was not written back is gone; this boot's journal would not tell */
	j->torn = j->rebooted;
	/* the trees are the spool, and are there after a power cut, before the journal says so */
	sync();
	j->synced = true;
	j->state = JR_UNRELEASED;
	ret = journal_write(name, j);
	if (ret)
		return hf_fail(err, HF_FAILED, ret, "%s: its journal cannot be written: %s", name, strerror(-ret));
	hf_logf(HF_LOG_WARN, "%s: stopped without a daemon; its last changes are committed when one runs again, and the store answers",
		name);
	return 0;
}

int halt(const char *name, struct hf_err *err)
{
	struct journal j;
	int ret;

	if (hf_name_check(name, "resource", err))
		return -EINVAL;
	ret = journal_read(name, &j);
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return hf_fail(err, ret == -EBADMSG ? HF_DAMAGED : HF_FAILED, ret,
			       "%s: its journal in %s cannot be read: %s", name, hfd.journal_dir, strerror(-ret));
	switch (j.state) {
	case JR_NONE:
	case JR_UNRELEASED:
	case JR_STALE:
		return 0;
	case JR_CLAIMING:
	case JR_RESTORING:
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s: not stopped: a takeover was interrupted here, and the next daemon finishes it",
			       name);
	case JR_ONLINE:
		break;
	}
	return stopped(name, &j, err);
}
