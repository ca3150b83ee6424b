// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who made the changes of a commit, in words for history: user, who that was when he logged in,
 * command, process, and what was changed first:
 *
 *	root (login bob): vim[4711] /etc/samba/smb.conf +2; www: cp[99] /etc/samba/x
 *
 * As much of it as fits. Runs in workers; names of users are remembered for a while, under a
 * lock that is held over no more than a look into the table.
 */
#include "replicator.h"
#include <pwd.h>
#include <stdlib.h>

#define NOTE_MAX 127		/* bytes of a note in the log */
#define NAMES 32
#define NAMES_MS 60000
#define ACTORS 8

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static struct { uid_t uid; uint64_t at_ms; char name[33]; } names[NAMES];

static void user_name(uid_t uid, char out[33])
{
	unsigned at = uid % NAMES;
	uint64_t now = hf_now_ms();
	struct passwd pw, *found = NULL;
	char buf[4096];
	bool have;

	if (!uid) {
		strcpy(out, "root");
		return;
	}
	pthread_mutex_lock(&names_lock);
	have = names[at].at_ms && names[at].uid == uid && now - names[at].at_ms < NAMES_MS;
	if (have)
		strcpy(out, names[at].name);
	pthread_mutex_unlock(&names_lock);
	if (have)
		return;
	if (!getpwuid_r(uid, &pw, buf, sizeof(buf), &found) && found && strlen(found->pw_name) < 33)
		strcpy(out, found->pw_name);
	else
		snprintf(out, 33, "%u", uid);
	pthread_mutex_lock(&names_lock);
	names[at].uid = uid;
	names[at].at_ms = now;
	strcpy(names[at].name, out);
	pthread_mutex_unlock(&names_lock);
}

struct actor {
	const struct noted *first;
	unsigned changes;
};

static bool same_actor(const struct noted *a, const struct noted *b)
{
	return a->pid == b->pid && a->uid == b->uid && a->login == b->login && !strcmp(a->comm, b->comm);
}

static int by_seq(const void *a, const void *b)
{
	const struct noted *x = ((const struct actor *)a)->first, *y = ((const struct actor *)b)->first;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* @told: who made this process write is told already */
static unsigned gather(const struct cut *c, bool told, struct actor v[ACTORS], bool *more)
{
	unsigned n = 0, k;

	*more = false;
	for (size_t i = 0; i < c->n; i++) {
		const struct noted *e = &c->v[i];

		if (!e->pid || !e->comm[0] || (told && e->pid == getpid()))
			continue;
		for (k = 0; k < n && !same_actor(v[k].first, e); k++)
			;
		if (k == ACTORS) {
			*more = true;
			continue;
		}
		if (k == n)
			v[n++] = (struct actor){ .first = e };
		else if (e->seq < v[k].first->seq)
			v[k].first = e;
		v[k].changes++;
	}
	if (n)
		qsort(v, n, sizeof(*v), by_seq);
	return n;
}

/* Anybody who may change something chooses a name: what is in it must not look like another entry. */
static char *in_note(const char *name)
{
	char *text = hf_printable(name, strlen(name));

	for (char *p = text; p && (p = strchr(p, ';')); )
		*p = ',';
	return text;
}

/* A name inside a crypto checkpoint is not told. */
static char *path_of(const struct resource *r, const struct noted *e)
{
	const struct ckpt *c = r->cp[e->cp];
	bool below = !c->crypto && !c->file && *e->rel;
	char *path = hf_strf("%s%s%s", c->path, below ? "/" : "", below ? e->rel : ""), *text;

	text = path ? in_note(path) : NULL;
	free(path);
	return text;
}

void who_name(uid_t uid, uid_t login, pid_t pid, const char *comm, char out[128])
{
	char user[33], as[33], *text = in_note(comm);

	user_name(uid, user);
	if (uid == (uid_t)-1)
		strcpy(user, "?");
	if (login != (uid_t)-1 && login != uid) {
		user_name(login, as);
		snprintf(out, 128, "%s (login %s): %s[%d]", user, as, text ? text : "?", (int)pid);
	} else {
		snprintf(out, 128, "%s: %s[%d]", user, text ? text : "?", (int)pid);
	}
	free(text);
}

static size_t put_actor(const struct resource *r, const struct actor *a, char *out, size_t room)
{
	const struct noted *e = a->first;
	char who[128], more[16] = "", *path = path_of(r, e);
	size_t n = 0;

	who_name(e->uid, e->login, e->pid, e->comm, who);
	if (a->changes > 1)
		snprintf(more, sizeof(more), " +%u", a->changes - 1);
	if (path && strlen(who) + 1 + strlen(path) + strlen(more) <= room)
		n = snprintf(out, room + 1, "%s %s%s", who, path, more);
	else if (strlen(who) + strlen(more) <= room)
		n = snprintf(out, room + 1, "%s%s", who, more);
	free(path);
	return n;
}

void who_note(const struct resource *r, const struct cut *c, const char *why, char out[128])
{
	struct actor v[ACTORS];
	bool more;
	unsigned n = gather(c, why, v, &more);
	size_t len = snprintf(out, 128, "%.110s", why ? why : "");

	for (unsigned i = 0; i < n; i++) {
		const char *sep = !len ? "" : !i ? ", " : "; ";
		size_t room = NOTE_MAX - len, got;

		if (room < strlen(sep) + 5)
			break;
		got = put_actor(r, &v[i], out + len + strlen(sep), room - strlen(sep) - 5);
		if (!got) {
			more = true;
			break;
		}
		memcpy(out + len, sep, strlen(sep));
		len += strlen(sep) + got;
	}
	out[len] = '\0';
	if (more && len && len + 5 <= NOTE_MAX)
		strcpy(out + len, "; ...");
}
