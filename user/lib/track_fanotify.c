// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Tracking with fanotify: one group, a mark on each directory of each tree.
 *
 * An event tells a directory (by file handle), a name in it, and who. Where
 * that directory is comes from a table that track_marks.c keeps; the trees that
 * it belongs to are those whose roots lie on the way up. What can not be seen
 * here, and is found by comparing only: stores through shared mappings, libaio,
 * chattr, writes through a hard link from outside the tree, and, while a restore is
 * excluded, what others make in a directory that the restore has just made
 * before its event is read.
 *
 * Everything here runs with t->lock held, which may be held for as long as a tree does not answer. A status
 * is told what was learnt last meanwhile.
 */
#include "track_fan.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef FAN_EVENT_INFO_TYPE_OLD_DFID_NAME
#define FAN_EVENT_INFO_TYPE_OLD_DFID_NAME 10
#define FAN_EVENT_INFO_TYPE_NEW_DFID_NAME 12
#endif

#define NAMES (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_RENAME)
#define MASK (FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | \
	      FAN_ONDIR | FAN_EVENT_ON_CHILD)
#define RETRY_MAX_MS 300000
#define REWALKS 8

static uid_t login_of(pid_t pid)
{
	char path[40], text[16];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (uid_t)strtoul(text, NULL, 10) : (uid_t)-1;
}

/* ask /proc once for each process of a drain */
static const struct hf_who *who_is(struct fan *f, pid_t pid)
{
	struct hf_who *w;
	char path[40];
	struct stat st;
	unsigned int i;
	ssize_t n;
	int fd;

	if (pid <= 0)
		return NULL;
	for (i = 0; i < f->nwho; i++)
		if (f->who[i].pid == pid)
			return &f->who[i];
	w = &f->who[f->nwho < HF_ARRAY(f->who) ? f->nwho++ : (unsigned int)pid % HF_ARRAY(f->who)];
	memset(w, 0, sizeof(*w));
	w->pid = pid;
	w->uid = w->login = (uid_t)-1;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return w;
	if (!fstat(fd, &st))
		w->uid = st.st_uid;
	n = read(fd, w->comm, sizeof(w->comm) - 1);
	close(fd);
	if (n > 0 && w->comm[n - 1] == '\n')
		n--;
	memset(w->comm + (n > 0 ? n : 0), 0, sizeof(w->comm) - (n > 0 ? (size_t)n : 0));
	w->login = login_of(pid);
	return w;
}

struct change {
	unsigned int set, clear;
	pid_t pid;
	bool urgent;
};

static void taint(struct fan *f, struct fan_watch *w, const char *rel, const struct change *c)
{
	/* a directory that the restore made may hold what others put into it before it was
	 * marked: that has to be looked for all the same */
	if (w->exclude && c->pid == f->self && !(c->set & HF_DIRTY_SUBTREE))
		return;
	hf_watch_taint(&w->base, rel, c->set, c->clear, who_is(f, c->pid), c->urgent);
}

/* make room for @more bytes before f->path + @at, which end at the buffer's end */
static bool path_room(struct fan *f, size_t *at, size_t more)
{
	size_t used = f->path_cap - *at, cap = f->path_cap;
	char *p;

	if (*at >= more)
		return true;
	while (cap < used + more)
		cap *= 2;
	p = malloc(cap);
	if (!p)
		return false;
	memcpy(p + cap - used, f->path + *at, used);
	free(f->path);
	f->path = p;
	f->path_cap = cap;
	*at = cap - used;
	return true;
}

/* @name in @n, or @n itself, has changed: tell every tree on the way up */
static void soil(struct fan *f, struct hf_dnode *n, const char *name, const struct change *c)
{
	struct change all = *c;
	size_t at = f->path_cap, len;
	bool whole = false, self = !name;
	struct fan_watch *w;

	all.set |= HF_DIRTY_SUBTREE;
	f->path[--at] = '\0';
	for (;;) {
		if (name && !whole) {
			len = strlen(name);
			whole = !path_room(f, &at, len + 1);
			if (!whole) {
				if (f->path[at])
					f->path[--at] = '/';
				at -= len;
				memcpy(f->path + at, name, len);
			}
		}
		for (w = n->watches; w; w = w->node_next) {
			if (whole)
				taint(f, w, w->base.name ? w->base.name : "", &all);
			else if (!w->base.name)
				taint(f, w, f->path + at, c);
			else if (!self && !strcmp(f->path + at, w->base.name))
				taint(f, w, w->base.name, c);
		}
		if (!n->parent)
			return;
		name = n->name;
		n = n->parent;
	}
}

static void soil_watch(struct fan_watch *w)
{
	hf_watch_taint(&w->base, w->base.name ? w->base.name : "",
		       w->base.name ? 0 : HF_DIRTY_SUBTREE, 0, NULL, true);
}

/* A directory that nobody knows was dropped, and is outside. Only where handles
 * may change under us (overlayfs copies up) it may be one of ours. */
static void unknown_dir(struct fan *f, const struct hf_fh *fh, const struct change *c)
{
	struct fan_watch *w;
	struct hf_watch *b;

	for (b = f->base.watches; b; b = b->next) {
		w = fan_watch_of(b);
		if (w->overlay && w->fsid == fh->fsid && !(w->exclude && c->pid == f->self))
			soil_watch(w);
	}
}

static void one_name(struct fan *f, const struct hf_fh *fh, const char *name, uint64_t mask,
		     pid_t pid)
{
	struct hf_dnode *n = hf_dirs_find(&f->dirs, fh);
	/* of a directory, and for the time alone of a file, setting mtime is a MODIFY */
	struct change c = { .pid = pid,
		.urgent = mask & (NAMES | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_ONDIR) };
	struct fan_watch *w;

	if (!n) {
		unknown_dir(f, fh, &c);
		return;
	}
	if (!*name || !strcmp(name, ".")) {
		for (w = n->watches; w && (mask & (FAN_DELETE_SELF | FAN_MOVE_SELF)); w = w->node_next) {
			w->moved = true;
			hf_watch_wake(&w->base, true);
		}
		if (mask & (FAN_ATTRIB | FAN_MODIFY))
			soil(f, n, NULL, &c);
		return;
	}
	if (hf_fan_is_temp(name))
		return;
	if (mask & (FAN_CLOSE_WRITE | FAN_DELETE | FAN_MOVED_FROM | FAN_RENAME))
		c.clear = HF_DIRTY_OPEN;
	else if ((mask & FAN_MODIFY) && !(mask & FAN_ONDIR))
		c.set = HF_DIRTY_OPEN;
	if ((mask & NAMES) && (mask & FAN_ONDIR)) {
		/* first the marks: what comes into it unmarked must lie below an
		 * entry whose number is taken afterwards */
		hf_fan_sync_child(f, n, name);
		c.set |= HF_DIRTY_SUBTREE;
	}
	soil(f, n, name, &c);
	if (mask & NAMES) {
		/* the directory has got new times */
		c.set = c.clear = 0;
		soil(f, n, NULL, &c);
	}
}

/* A directory and, where there is one, a name; nothing in it is taken on trust. */
static bool parse_end(const uint8_t *p, size_t len, struct hf_fh *fh, const char **name)
{
	struct fanotify_event_info_fid info;
	struct file_handle h;
	size_t at = sizeof(info) + sizeof(h);

	if (len < at)
		return false;
	memcpy(&info, p, sizeof(info));
	memcpy(&h, p + sizeof(info), sizeof(h));
	if (h.handle_bytes > sizeof(fh->bytes) || len - at < h.handle_bytes)
		return false;
	memcpy(&fh->fsid, &info.fsid, sizeof(fh->fsid));
	fh->type = h.handle_type;
	fh->len = h.handle_bytes;
	memcpy(fh->bytes, p + at, fh->len);
	at += fh->len;
	*name = "";
	if (info.hdr.info_type == FAN_EVENT_INFO_TYPE_DFID)
		return true;
	if (at >= len || !memchr(p + at, '\0', len - at))
		return false;
	*name = (const char *)p + at;
	return true;
}

static void one_event(struct fan *f, const struct fanotify_event_metadata *m, const uint8_t *p)
{
	const uint8_t *end = p + m->event_len;
	struct fanotify_event_info_header h;
	const char *name, *old_name = NULL;
	struct hf_fh fh, old;
	bool any = false;

	if (m->mask & FAN_Q_OVERFLOW) {
		f->lost_events = true;
		return;
	}
	for (p += m->metadata_len; p < end && (size_t)(end - p) >= sizeof(h); p += h.len) {
		memcpy(&h, p, sizeof(h));
		if (h.len < sizeof(h) || h.len > end - p)
			break;
		switch (h.info_type) {
		case FAN_EVENT_INFO_TYPE_OLD_DFID_NAME:
			any = parse_end(p, h.len, &old, &old_name);
			break;
		case FAN_EVENT_INFO_TYPE_DFID_NAME:
		case FAN_EVENT_INFO_TYPE_DFID:
		case FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
			any = parse_end(p, h.len, &fh, &name);
			if (any)
				one_name(f, &fh, name, m->mask, m->pid);
			break;
		}
	}
	/* the old end last: a directory that was found at its new one is only re-hung */
	if (old_name)
		one_name(f, &old, old_name, m->mask, m->pid);
	if (!any)
		f->lost_events = true;
}

/* That a root was moved may be among the events that were lost. */
static void look_for_root(struct fan_watch *w)
{
	char *now = w->where ? hf_fan_where(w->rootfd) : NULL;

	if (now && strcmp(now, w->where))
		w->moved = true;
	free(now);
}

static void start_again(struct fan *f)
{
	struct hf_watch *b;
	int tries;

	for (tries = 0; (f->lost_events || f->rewalk) && tries < REWALKS; tries++) {
		for (b = f->base.watches; b && f->lost_events; b = b->next)
			look_for_root(fan_watch_of(b));
		f->lost_events = f->rewalk = false;
		for (b = f->base.watches; b; b = b->next)
			if (!b->name && fan_watch_of(b)->node)
				hf_fan_walk(f, fan_watch_of(b)->node);
		for (b = f->base.watches; b; b = b->next)
			soil_watch(fan_watch_of(b));
	}
}

static void retry_incomplete(struct fan *f)
{
	struct hf_watch *b;
	struct fan_watch *w;
	uint64_t ms = f->retry_ms;
	bool still = false;

	if (!f->retry_at || hf_now_ms() < f->retry_at)
		return;
	f->retry_at = 0;
	for (b = f->base.watches; b; b = b->next) {
		w = fan_watch_of(b);
		if (!w->incomplete || !w->node)
			continue;
		w->incomplete = false;
		hf_fan_walk(f, w->node);
		soil_watch(w);
		still |= w->incomplete;
	}
	if (still) {
		f->retry_ms = ms * 2 < RETRY_MAX_MS ? ms * 2 : RETRY_MAX_MS;
		f->retry_at = hf_now_ms() + f->retry_ms;
	}
}

/*
 * The queue is first in, first out, and an event is only ever merged into one
 * that is still in it. So those that it holds now are all that must be read;
 * reading on while others write might never end.
 */
static int fan_drain(struct hf_track *t)
{
	struct fan *f = fan_of(t);
	struct fanotify_event_metadata m;
	int pending = 0, ret = 0;
	struct hf_watch *b;
	ssize_t n, at;

	f->nwho = 0;
	if (ioctl(f->fd, FIONREAD, &pending))
		return -errno;
	pending /= (int)sizeof(m);
	while (pending > 0) {
		n = read(f->fd, f->buf, sizeof(f->buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			/* an event that could not be handed out is gone */
			ret = -errno;
			f->lost_events = true;
		}
		if (n <= 0)
			break;
		for (at = 0; n - at >= (ssize_t)sizeof(m); at += m.event_len) {
			memcpy(&m, f->buf + at, sizeof(m));	/* only the first is aligned */
			if (m.vers != FANOTIFY_METADATA_VERSION || m.event_len < sizeof(m) ||
			    m.event_len > n - at || m.metadata_len > m.event_len) {
				f->lost_events = true;
				break;
			}
			one_event(f, &m, (const uint8_t *)f->buf + at);
			if (m.fd >= 0)
				close(m.fd);
			pending--;
		}
	}
	for (b = t->watches; b; b = b->next) {
		if (fan_watch_of(b)->skipped) {
			hf_fan_mounts(f);
			break;
		}
	}
	retry_incomplete(f);
	start_again(f);
	hf_fan_reap(f, NULL);
	return ret;
}

static void fan_close(struct hf_track *t)
{
	struct fan *f = fan_of(t);

	if (f->fd >= 0)
		close(f->fd);
	if (f->mounts_fd >= 0)
		close(f->mounts_fd);
	hf_dirs_fini(&f->dirs);
	free(f->stack);
	free(f->path);
	free(f);
}

static int fan_open(const char *consumer, unsigned int flags, struct hf_track **out, struct hf_err *err)
{
	unsigned int how = FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_NONBLOCK | FAN_CLOEXEC;
	unsigned int queue = flags & HF_TRACK_BOUNDED ? 0 : FAN_UNLIMITED_QUEUE;
	struct fan *f = hf_alloc(sizeof(*f));
	int ret;

	if (!f)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	f->flags = flags;
	f->mask = MASK;
	if (flags & HF_TRACK_NO_RENAME)
		f->mask = (MASK & ~(uint64_t)FAN_RENAME) | FAN_MOVED_FROM | FAN_MOVED_TO;
	f->fd = f->mounts_fd = -1;
	f->self = getpid();
	f->path_cap = 2 * PATH_MAX;
	f->path = malloc(f->path_cap);
	ret = f->path ? hf_dirs_init(&f->dirs) : -ENOMEM;
	if (ret) {
		hf_fail(err, HF_OK, ret, "out of memory");
		goto out;
	}
	f->fd = fanotify_init(how | queue | FAN_UNLIMITED_MARKS, O_RDONLY | O_CLOEXEC | O_LARGEFILE);
	if (f->fd < 0 && errno == EPERM)
		f->fd = fanotify_init(how, O_RDONLY | O_CLOEXEC | O_LARGEFILE);
	if (f->fd < 0) {
		ret = -errno;
		if (ret == -ENOSYS || ret == -EINVAL)
			hf_fail(err, HF_OK, -ENODEV, "this kernel cannot report changes by directory and name; "
				"Linux 5.9 or later with CONFIG_FANOTIFY is needed");
		else
			hf_fail(err, HF_OK, ret, "cannot start fanotify: %s; %s", strerror(-ret),
				ret == -EMFILE ? "raise fs.fanotify.max_user_groups" :
				"the daemon needs CAP_SYS_ADMIN");
		goto out;
	}
	f->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	*out = &f->base;
	return 0;
out:
	fan_close(&f->base);
	return ret == -ENOSYS || ret == -EINVAL ? -ENODEV : ret;
}

static int fan_fd(const struct hf_track *t)
{
	return fan_of(t)->fd;
}

static void look_at_quality(struct fan_watch *w)
{
	w->scan = !w->node || w->incomplete || w->overlay;
}

static int fan_add(struct hf_track *t, int rootfd, const char *name, const struct hf_track_label *label,
		   struct hf_watch **out, struct hf_err *err)
{
	struct fan_watch *w = hf_alloc(sizeof(*w));
	int ret;

	if (!w)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	ret = hf_local_init(&w->base, t, name);
	if (ret) {
		free(w);
		return hf_fail(err, HF_OK, ret, "out of memory");
	}
	w->rootfd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->rootfd < 0) {
		ret = hf_fail(err, HF_OK, -errno, "cannot open the root of the tree: %s", strerror(errno));
		goto out;
	}
	ret = hf_fan_watch_root(fan_of(t), w, err);
	if (ret)
		goto out;
	look_at_quality(w);
	*out = &w->base;
	return 0;
out:
	if (w->rootfd >= 0)
		close(w->rootfd);
	free(w->where);
	hf_local_fini(&w->base);
	return ret;
}

static void fan_del(struct hf_watch *b)
{
	struct fan_watch *w = fan_watch_of(b);

	if (w->node)
		hf_fan_unwatch(fan_of(b->t), w);
	close(w->rootfd);
	w->rootfd = -1;
	free(w->where);
	w->where = NULL;
}

static void fan_fini(struct hf_watch *b, bool keep)
{
	hf_local_fini(b);
}

static bool fan_lost(struct hf_watch *b)
{
	struct fan_watch *w = fan_watch_of(b);
	struct stat st;
	bool lost;

	pthread_mutex_lock(&b->t->lock);
	hf_fan_mounts(fan_of(b->t));
	lost = w->moved || w->unmounted || fstat(w->rootfd, &st) || !st.st_nlink;
	hf_track_unlock(b->t);
	return lost;
}

static const char *fan_quality(struct hf_watch *b)
{
	struct fan_watch *w = fan_watch_of(b);

	if (!pthread_mutex_trylock(&b->t->lock)) {
		look_at_quality(w);
		pthread_mutex_unlock(&b->t->lock);
	}
	return w->scan ? "scan" : "events";
}

static uint64_t fan_dirs(struct hf_watch *b)
{
	struct hf_dnode *root, *n;
	uint64_t count = 0;

	pthread_mutex_lock(&b->t->lock);
	root = fan_watch_of(b)->node;
	for (n = root; n && !b->name; n = hf_dirs_next(root, n))
		count += n->scanned;
	if (root && b->name)
		count = 1;
	pthread_mutex_unlock(&b->t->lock);
	return count;
}

static int fan_exclude(struct hf_watch *b, bool on)
{
	struct hf_track *t = b->t;
	int ret;

	pthread_mutex_lock(&t->lock);
	/* What is in the queue happened before. Should it not be readable at the
	 * end, what is left in it is reported: more, not less. */
	ret = fan_drain(t);
	if (!ret || !on)
		fan_watch_of(b)->exclude += on ? 1 : -1;
	hf_track_unlock(t);
	return ret;
}

const struct hf_track_ops hf_track_fanotify = {
	.name = "fanotify",
	.open = fan_open,
	.close = fan_close,
	.fd = fan_fd,
	.drain = fan_drain,
	.add = fan_add,
	.del = fan_del,
	.fini = fan_fini,
	.seq = hf_local_seq,
	.count = hf_local_count,
	.oldest = hf_local_oldest,
	.snapshot = hf_local_snapshot,
	.ack = hf_local_ack,
	.lost = fan_lost,
	.quality = fan_quality,
	.dirs = fan_dirs,
	.exclude = fan_exclude,
};
