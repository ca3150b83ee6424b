// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Tracking with the holdfast module: it marks, notes, and keeps the dirty sets.
 *
 * The truth is pulled (track_pull.c). Change events are hints that it is time
 * to do so, and so need not be complete: where some are missing every watch is
 * told. The module says a change of a name once until its tree was pulled.
 */
#include "track_kern.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS 256		/* of the events' socket, for one drain */

static void kern_close(struct hf_track *t)
{
	struct kern *k = kern_of(t);

	hf_nl_close(&k->nl);
	if (k->mounts_fd >= 0)
		close(k->mounts_fd);
	free(k->buf);
	free(k);
}

static int kern_open(const char *consumer, unsigned int flags, struct hf_track **out, struct hf_err *err)
{
	struct kern *k = hf_alloc(sizeof(*k));
	int ret;

	if (!k)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	k->buf = malloc(HF_NL_BUF);
	k->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	snprintf(k->consumer, sizeof(k->consumer), "%s", consumer);
	ret = k->buf ? hf_nl_open(&k->nl, err) : hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	if (ret) {
		if (k->mounts_fd >= 0)
			close(k->mounts_fd);
		free(k->buf);
		free(k);
		return ret;
	}
	*out = &k->base;
	return 0;
}

static int kern_fd(const struct hf_track *t)
{
	return mnl_socket_get_fd(kern_of(t)->nl.events);
}

static void one_event(void *ctx, const struct hf_nlevent *e)
{
	struct hf_track *t = ctx;
	struct kern_watch *w;
	struct hf_watch *b;
	bool gap;

	for (b = t->watches; b; b = b->next) {
		w = kern_watch_of(b);
		if (w->id != e->tree)
			continue;
		gap = hf_nlevent_gap(&w->next, e);
		hf_watch_wake(b, e->urgent || gap);
	}
}

/* Events are missing, nobody knows of which tree. */
static void missed(struct hf_track *t)
{
	struct hf_watch *b;

	for (b = t->watches; b; b = b->next) {
		kern_watch_of(b)->next = 0;
		hf_watch_wake(b, true);
	}
}

static int read_events(struct kern *k)
{
	int fd = mnl_socket_get_fd(k->nl.events), i;
	struct sockaddr_nl from;
	socklen_t len;
	ssize_t n;

	for (i = 0; i < READS; i++) {
		len = sizeof(from);
		n = recvfrom(fd, k->buf, HF_NL_BUF, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (n < 0 && errno != ENOBUFS)
			return -errno;
		if (n >= 0 && from.nl_pid)
			continue;	/* not from the kernel */
		if (n < 0 || n > HF_NL_BUF ||
		    hf_nlmsg_events(k->buf, n, k->nl.family.id, one_event, &k->base))
			missed(&k->base);
	}
	return 0;
}

/* What a mount covered may have come to light, what could not be marked may be marked now. */
static void look_again(struct kern *k)
{
	struct pollfd p = { .fd = k->mounts_fd, .events = POLLPRI };
	uint64_t now = hf_now_ms();
	struct kern_watch *w;
	struct hf_watch *b;
	bool mounts = p.fd >= 0 && poll(&p, 1, 0) > 0;

	for (b = k->base.watches; b; b = b->next) {
		w = kern_watch_of(b);
		pthread_mutex_lock(&b->lock);
		if (mounts && w->skipped) {
			w->skipped = false;
			w->rewalk = true;
			hf_kern_soil(w);
			hf_watch_wake(b, true);
		}
		if (w->retry_at && now >= w->retry_at) {
			w->retry_at = 0;
			w->rewalk |= w->unmarked;
			hf_watch_wake(b, true);
		}
		pthread_mutex_unlock(&b->lock);
	}
}

static int kern_drain(struct hf_track *t)
{
	struct kern *k = kern_of(t);
	int ret = read_events(k);

	if (ret)
		missed(t);
	look_again(k);
	return ret;
}

static int note_added(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg *m = ctx;

	return hf_nlmsg_parse(h, m, NULL, NULL) || !m->tree ? -EBADMSG : 0;
}

static int request_add(struct kern *k, struct kern_watch *w, struct hf_nlmsg *m)
{
	struct nlmsghdr *h = hf_nl_begin(&k->nl, HOLDFAST_CMD_TREE_ADD);

	mnl_attr_put_u32(h, HOLDFAST_A_ROOT_FD, (uint32_t)w->rootfd);
	if (w->base.name)
		mnl_attr_put(h, HOLDFAST_A_FILE, strlen(w->base.name), w->base.name);
	mnl_attr_put_strz(h, HOLDFAST_A_RESOURCE, w->resource);
	mnl_attr_put(h, HOLDFAST_A_PATH, strlen(w->path), w->path);
	mnl_attr_put_strz(h, HOLDFAST_A_CONSUMER, k->consumer);
	return hf_nl_call(&k->nl, false, note_added, m);
}

static bool same_tree(const struct kern_watch *a, const struct kern_watch *b)
{
	const char *x = a->base.name, *y = b->base.name;

	return a->id && a->st.st_dev == b->st.st_dev && a->st.st_ino == b->st.st_ino && !x == !y &&
	       (!x || !strcmp(x, y)) && !strcmp(a->resource, b->resource) && !strcmp(a->path, b->path);
}

/* The same directory under the same label, found by another way: the older watch is given up. */
static bool give_up_own(struct kern *k, const struct kern_watch *w)
{
	struct hf_watch *b;

	for (b = k->base.watches; b; b = b->next) {
		if (!same_tree(kern_watch_of(b), w))
			continue;
		hf_nl_tree(&k->nl, HOLDFAST_CMD_TREE_DEL, kern_watch_of(b)->id, NULL);
		kern_watch_of(b)->id = 0;
		return true;
	}
	return false;
}

static int explain(struct kern *k, int ret, struct hf_err *err)
{
	switch (ret) {
	case -EBUSY:
		return hf_fail(err, HF_OK, ret,
			       "another process tracks it for this node; end that one (`holdfast tree list`)");
	case -ENOSPC:
		return hf_fail(err, HF_FAILED, ret,
			       "the holdfast module may not mark more directories; raise /sys/module/holdfast/parameters/marks_max");
	case -ESTALE:
		return hf_fail(err, HF_NOTFOUND, ret, "its root was deleted");
	}
	return hf_fail(err, HF_OK, ret, "the holdfast module refuses it: %s%s%s", strerror(-ret),
		       k->nl.error.text[0] ? ": " : "", k->nl.error.text);
}

/*
 * A tree that a predecessor left is only believed if all of it is known to be
 * marked: the predecessor may have died while it marked. Else it is begun anew,
 * which forgets what was noted; the caller scans then.
 */
static int register_tree(struct kern *k, struct kern_watch *w, struct hf_err *err)
{
	struct hf_nlmsg m;
	int tries, ret = 0;

	for (tries = 0; tries < 4; tries++) {
		ret = request_add(k, w, &m);
		if (ret == -EBUSY && give_up_own(k, w))
			continue;
		if (ret == -ENOENT || ret == -EOPNOTSUPP) {
			/* it was loaded anew, and has another number now */
			ret = hf_nl_again(&k->nl, err);
			if (ret)
				return ret;
			continue;
		}
		if (ret)
			break;
		w->id = m.tree;
		w->now.flags = m.flags;
		w->resumed = (m.flags & HOLDFAST_TREE_FLAG_RESUMED) && m.tree <= w->known;
		w->next = w->resumed ? 0 : 1;
		if (w->resumed || !(m.flags & HOLDFAST_TREE_FLAG_RESUMED))
			return 0;
		ret = hf_nl_tree(&k->nl, HOLDFAST_CMD_TREE_DEL, m.tree, NULL);
		if (ret)
			break;
		ret = -EBUSY;
	}
	return explain(k, ret ? ret : -EBUSY, err);
}

static void free_watch(struct kern_watch *w)
{
	if (w->rootfd >= 0)
		close(w->rootfd);
	free(w->resource);
	free(w->path);
	free(w->walked);
	hf_watch_fini(&w->base);
}

static int kern_add(struct hf_track *t, int rootfd, const char *name, const struct hf_track_label *label,
		    struct hf_watch **out, struct hf_err *err)
{
	struct kern *k = kern_of(t);
	struct kern_watch *w = hf_alloc(sizeof(*w));
	struct hf_nlmsg m;
	int ret;

	if (!w || hf_watch_init(&w->base, t, name)) {
		free(w);
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	}
	w->resource = strndup(label->resource, 255);
	w->path = strndup(label->path, 4095);
	w->known = label->known;
	w->rootfd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->rootfd < 0 || fstat(w->rootfd, &w->st)) {
		ret = hf_fail(err, HF_OK, -errno, "cannot open the root of the tree: %s", strerror(errno));
		goto out;
	}
	ret = w->resource && w->path ? 0 : hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	if (ret)
		goto out;
	pthread_mutex_lock(&k->nl.lock);
	ret = register_tree(k, w, err);
	/* what a status asks for later may meet another request under way */
	if (!ret && !hf_nl_tree(&k->nl, HOLDFAST_CMD_TREE_GET, w->id, &m))
		w->now = m;
	pthread_mutex_unlock(&k->nl.lock);
	if (ret)
		goto out;
	/* what was noted in between may have been told to the predecessor alone */
	if (w->resumed)
		hf_watch_wake(&w->base, true);
	*out = &w->base;
	return 0;
out:
	free_watch(w);
	return ret;
}

static int kern_walk(struct hf_watch *b, struct hf_err *err)
{
	struct kern_watch *w = kern_watch_of(b);

	if (!w->resumed && !b->name)
		hf_kern_walk_root(w);
	return 0;
}

static void kern_del(struct hf_watch *b)
{
}

static void kern_fini(struct hf_watch *b, bool keep)
{
	struct kern_watch *w = kern_watch_of(b);
	struct hf_nl *nl = &kern_of(b->t)->nl;

	if (keep)
		hf_kern_ack_flush(b);
	pthread_mutex_lock(&nl->lock);
	if (!keep && w->id)
		hf_nl_tree(nl, HOLDFAST_CMD_TREE_DEL, w->id, NULL);
	pthread_mutex_unlock(&nl->lock);
	free_watch(w);
}

static uint64_t kern_seq(struct hf_watch *b)
{
	static _Atomic uint64_t never = UINT64_MAX;
	struct kern_watch *w = kern_watch_of(b);
	uint64_t seq;

	/* what can not be told is not equal to anything */
	if (hf_kern_look(w, true))
		return atomic_fetch_sub(&never, 1);
	pthread_mutex_lock(&b->lock);
	seq = w->now.seq + w->own_seq;
	pthread_mutex_unlock(&b->lock);
	return seq;
}

static uint64_t kern_count(struct hf_watch *b)
{
	struct kern_watch *w = kern_watch_of(b);
	uint64_t n;

	hf_kern_look(w, false);
	pthread_mutex_lock(&b->lock);
	n = w->now.dirty + w->own_dirty;
	pthread_mutex_unlock(&b->lock);
	return n;
}

static uint64_t kern_oldest(struct hf_watch *b)
{
	struct kern_watch *w = kern_watch_of(b);
	uint64_t ns;

	hf_kern_look(w, false);
	pthread_mutex_lock(&b->lock);
	ns = w->now.since;
	if (w->own_dirty && (!ns || w->own_ns < ns))
		ns = w->own_ns;
	pthread_mutex_unlock(&b->lock);
	return ns;
}

static bool kern_lost(struct hf_watch *b)
{
	struct kern_watch *w = kern_watch_of(b);
	struct stat st;
	bool lost;

	/* the module learns that the root is gone when nobody holds it open any more: not we */
	if (fstat(w->rootfd, &st) || !st.st_nlink)
		return true;
	hf_kern_look(w, true);
	pthread_mutex_lock(&b->lock);
	lost = w->gone || (w->now.flags & HOLDFAST_TREE_FLAG_LOST);
	pthread_mutex_unlock(&b->lock);
	return lost;
}

static const char *kern_quality(struct hf_watch *b)
{
	struct kern_watch *w = kern_watch_of(b);
	bool scan;

	hf_kern_look(w, false);
	pthread_mutex_lock(&b->lock);
	scan = w->failed || w->unmarked || (w->now.flags & HOLDFAST_TREE_FLAG_COARSE) ||
	       w->now.quality != HOLDFAST_QUALITY_EVENTS;
	pthread_mutex_unlock(&b->lock);
	return scan ? "scan" : "events";
}

static uint64_t kern_dirs(struct hf_watch *b)
{
	struct hf_nl *nl = &kern_of(b->t)->nl;
	struct hf_nlmsg m;

	pthread_mutex_lock(&nl->lock);
	if (hf_nl_tree(nl, HOLDFAST_CMD_TREE_GET, kern_watch_of(b)->id, &m))
		m.marks = 0;
	pthread_mutex_unlock(&nl->lock);
	return m.marks;
}

static int kern_exclude(struct hf_watch *b, bool on)
{
	struct kern_watch *w = kern_watch_of(b);
	struct hf_nl *nl = &kern_of(b->t)->nl;
	struct nlmsghdr *h;
	int ret = 0;

	pthread_mutex_lock(&nl->lock);
	if (on ? !w->exclude : w->exclude == 1) {
		h = hf_nl_begin(nl, HOLDFAST_CMD_EXCLUDE);
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, w->id);
		mnl_attr_put_u32(h, HOLDFAST_A_EXCLUDE, on);
		ret = hf_nl_call(nl, false, NULL, NULL);
	}
	if (!ret || !on)
		w->exclude += on ? 1 : -1;
	pthread_mutex_unlock(&nl->lock);
	return ret;
}

static uint64_t kern_id(struct hf_watch *b)
{
	return kern_watch_of(b)->id;
}

static bool kern_resumed(struct hf_watch *b)
{
	return kern_watch_of(b)->resumed;
}

const struct hf_track_ops hf_track_kernel = {
	.name = "kernel",
	.open = kern_open,
	.close = kern_close,
	.fd = kern_fd,
	.drain = kern_drain,
	.add = kern_add,
	.walk = kern_walk,
	.del = kern_del,
	.fini = kern_fini,
	.seq = kern_seq,
	.count = kern_count,
	.oldest = kern_oldest,
	.snapshot = hf_kern_snapshot,
	.ack = hf_kern_ack,
	.ack_flush = hf_kern_ack_flush,
	.lost = kern_lost,
	.quality = kern_quality,
	.dirs = kern_dirs,
	.exclude = kern_exclude,
	.id = kern_id,
	.resumed = kern_resumed,
	.left = hf_kern_left,
	.reap = hf_kern_reap,
};
