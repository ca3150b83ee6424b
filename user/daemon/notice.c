// SPDX-License-Identifier: GPL-2.0-or-later
/* Where messages go: the journal, with fields to look for, or standard error. */
#include "daemon.h"
#include "notice.h"
#include <stdlib.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define X(name, id) [name] = "MESSAGE_ID=" id,
static const char *const fields[] = { NOTICES(X) };
#undef X

static bool to_journal, with_debug;

static void sink_stderr(enum hf_level level, const char *msg)
{
	if (level <= HF_LOG_INFO || with_debug)
		fprintf(stderr, "holdfastd: %s\n", msg);
}

static void sink_journal(enum hf_level level, const char *msg)
{
	if (level <= HF_LOG_INFO || with_debug)
		sd_journal_send("MESSAGE=%s", msg, "PRIORITY=%i", (int)level, NULL);
}

void notice_init(bool journal, bool debug)
{
	to_journal = journal;
	with_debug = debug;
	hf_log_sink = journal ? sink_journal : sink_stderr;
}

void notice(enum notice n, enum hf_level level, const char *resource, const char *fmt, ...)
{
	char msg[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (!to_journal)
		sink_stderr(level, msg);
	else
		sd_journal_send("MESSAGE=%s", msg, "PRIORITY=%i", (int)level, fields[n], "HOLDFAST_NODE=%s", hfd.id.name,
				resource ? "HOLDFAST_RESOURCE=%s" : NULL, resource, NULL);
}
