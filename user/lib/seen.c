// SPDX-License-Identifier: LGPL-2.1-or-later
/* state_dir/seen: what the store showed before, so that an older state of it is noticed. */
#include "seen.h"
#include "names.h"
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SEEN_MAX (16u << 20)
#define ODD_MAX 3	/* one reading may meet a slot that cannot be decided just then */

struct mark { uint64_t epoch, noted; };		/* highest accepted; confirmed, as its row tells */

struct log_seen {
	uint8_t uuid[16];
	uint32_t row;
	char name[HF_NAME_MAX + 1];
	struct mark is, next;	/* remembered; as last looked at */
	uint64_t confirmed;	/* by this node */
	unsigned odd;		/* how often in a row it was behind */
};

struct node_seen { uint8_t uuid[16]; uint64_t is, next; };

/* Which file it is. An inode's number alone is used again at once: by the second of two writers. */
struct stamp { ino_t ino; struct timespec time; };

struct hf_seen {
	pthread_mutex_t mu;	/* a leaf: all but path, disk and file */
	char *path;
	uint8_t disk[16];
	struct log_seen *log;
	size_t nlog;
	struct node_seen node[HF_MAX_NODES];
	size_t nnode;
	size_t at;		/* where the next one is looked for first */
	bool grew;
	struct stamp file;	/* as it was read or written; of who calls hf_seen_sync() */
};

static uint64_t u64_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_int) ?
	       json_object_get_uint64(v) : 0;
}

static const char *str_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ?
	       json_object_get_string(v) : "";
}

static void add_uuid(struct json_object *o, const char *key, const uint8_t u[16])
{
	char s[37];

	hf_uuid_str(u, s);
	json_object_object_add(o, key, json_object_new_string(s));
}

static struct log_seen *log_of(struct hf_seen *s, const uint8_t uuid[16], bool add)
{
	struct log_seen *p;

	for (size_t i = 0; i < s->nlog; i++) {
		p = &s->log[(s->at + i) % s->nlog];
		if (!memcmp(p->uuid, uuid, 16)) {
			s->at = p - s->log + 1;
			return p;
		}
	}
	p = add ? realloc(s->log, (s->nlog + 1) * sizeof(*p)) : NULL;
	if (!p)
		return NULL;
	s->log = p;
	p += s->nlog++;
	memset(p, 0, sizeof(*p));
	memcpy(p->uuid, uuid, 16);
	return p;
}

static struct node_seen *node_of(struct hf_seen *s, const uint8_t uuid[16], bool add)
{
	for (size_t i = 0; i < s->nnode; i++)
		if (!memcmp(s->node[i].uuid, uuid, 16))
			return &s->node[i];
	if (!add)
		return NULL;
	if (s->nnode == HF_MAX_NODES)	/* those that are gone make room */
		memmove(s->node, s->node + 1, --s->nnode * sizeof(s->node[0]));
	s->node[s->nnode] = (struct node_seen){ 0 };
	memcpy(s->node[s->nnode].uuid, uuid, 16);
	return &s->node[s->nnode++];
}

static int parse(struct hf_seen *s, const char *text)
{
	struct json_object *o = json_tokener_parse(text), *a;
	uint8_t u[16];
	int ret = -EBADMSG;

	s->nlog = s->nnode = 0;
	if (u64_of(o, "v") != 1 || hf_uuid_parse(str_of(o, "disk"), u))
		goto out;
	ret = 0;
	if (memcmp(u, s->disk, 16))
		goto out;
	json_object_object_get_ex(o, "nodes", &a);
	for (size_t i = 0; json_object_is_type(a, json_type_array) && i < json_object_array_length(a); i++) {
		struct json_object *e = json_object_array_get_idx(a, i);

		if (hf_uuid_parse(str_of(e, "uuid"), u))
			ret = -EBADMSG;
		else
			node_of(s, u, true)->is = u64_of(e, "beats");
	}
	json_object_object_get_ex(o, "logs", &a);
	for (size_t i = 0; json_object_is_type(a, json_type_array) && i < json_object_array_length(a); i++) {
		struct json_object *e = json_object_array_get_idx(a, i);
		struct log_seen *l = hf_uuid_parse(str_of(e, "uuid"), u) ? NULL : log_of(s, u, true);

		if (!l) {
			ret = -EBADMSG;
			continue;
		}
		l->row = u64_of(e, "row");
		snprintf(l->name, sizeof(l->name), "%s", str_of(e, "name"));
		l->is = (struct mark){ u64_of(e, "epoch"), u64_of(e, "noted") };
		l->confirmed = u64_of(e, "confirmed");
	}
out:
	json_object_put(o);
	return ret;
}

static struct stamp stamp_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? (struct stamp){ 0 } : (struct stamp){ st.st_ino, st.st_mtim };
}

static bool stamp_same(const struct stamp *a, const struct stamp *b)
{
	return a->ino == b->ino && a->time.tv_sec == b->time.tv_sec && a->time.tv_nsec == b->time.tv_nsec;
}

static int read_it(struct hf_seen *s)
{
	struct stamp now = stamp_of(s->path);
	char *text = NULL;
	int ret = hf_read_file(s->path, SEEN_MAX, &text, NULL);

	if (!ret) {
		pthread_mutex_lock(&s->mu);
		ret = parse(s, text);
		s->grew = false;
		pthread_mutex_unlock(&s->mu);
	}
	s->file = ret ? (struct stamp){ 0 } : now;
	free(text);
	return ret;
}

int hf_seen_new(const char *state_dir, const uint8_t disk[16], struct hf_seen **out)
{
	struct hf_seen *s = hf_alloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->mu, NULL);
	memcpy(s->disk, disk, 16);
	s->path = hf_strf("%s/seen", state_dir);
	if (!s->path) {
		hf_seen_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

int hf_seen_load(const char *state_dir, const uint8_t disk[16], struct hf_seen **out, struct hf_err *err)
{
	int ret = hf_seen_new(state_dir, disk, out);

	if (!ret)
		ret = read_it(*out);
	if (!ret || ret == -ENOENT)
		return 0;
	hf_fail(err, ret == -EBADMSG ? HF_DAMAGED : HF_OK, ret,
		"%s/seen: what this node remembers of the disk cannot be read: %s; `holdfast disk accept` begins anew, and believes what the disk has now",
		state_dir, strerror(-ret));
	hf_seen_free(*out);
	*out = NULL;
	return ret;
}

void hf_seen_free(struct hf_seen *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->mu);
	free(s->log);
	free(s->path);
	free(s);
}

static int behind(struct hf_err *err, const char *what, const char *unit, uint64_t has, uint64_t was)
{
	return hf_fail(err, HF_DAMAGED, -EBADMSG,
		       "the disk is older than what this node has seen of it, or damaged (holdfast disk check): %s has %s %llu, and had %llu; put the newest copy back, or if the older state was put there on purpose: holdfast disk accept",
		       what, unit, (unsigned long long)has, (unsigned long long)was);
}

static int compare(const struct log_seen *l, const struct hf_log_stat *st, struct hf_err *err)
{
	if (st->epoch < l->is.epoch)
		return behind(err, l->name, "epoch", st->epoch, l->is.epoch);
	if (st->gen < l->is.noted)
		return behind(err, l->name, "confirmed generation", st->gen, l->is.noted);
	return 0;
}

int hf_seen_stat(struct hf_seen *s, const struct hf_logid *id, const struct hf_log_stat *st, struct hf_err *err)
{
	const struct log_seen *l;
	int ret = 0;

	pthread_mutex_lock(&s->mu);
	l = log_of(s, id->uuid, false);
	if (l)
		ret = compare(l, st, err);
	pthread_mutex_unlock(&s->mu);
	return ret;
}

int hf_seen_log(struct hf_seen *s, const struct hf_logid *id, const struct hf_log_stat *st,
		uint64_t confirmed, struct hf_err *err)
{
	struct log_seen *l;
	int ret = 0;

	pthread_mutex_lock(&s->mu);
	l = log_of(s, id->uuid, true);
	if (!l)
		goto out;
	l->row = id->row;
	memcpy(l->name, id->name, sizeof(l->name));
	ret = compare(l, st, err);
	l->odd = ret ? l->odd + 1 : 0;
	if (ret) {
		if (l->odd < ODD_MAX)
			ret = 0;
		goto out;
	}
	if (memcmp(&l->next, &l->is, sizeof(l->is)) && l->next.epoch <= st->epoch && l->next.noted <= st->gen) {
		if (l->next.epoch > l->is.epoch)
			l->is.epoch = l->next.epoch;
		if (l->next.noted > l->is.noted)
			l->is.noted = l->next.noted;
		s->grew = true;
	}
	l->next = (struct mark){ st->epoch, st->gen };
	if (confirmed > l->confirmed) {
		l->confirmed = confirmed;
		s->grew = true;
	}
out:
	pthread_mutex_unlock(&s->mu);
	return ret;
}

uint64_t hf_seen_newest(struct hf_seen *s, const struct hf_logid *id)
{
	const struct log_seen *l;
	uint64_t was = 0;

	pthread_mutex_lock(&s->mu);
	l = log_of(s, id->uuid, false);
	if (l)
		was = l->confirmed > l->is.noted ? l->confirmed : l->is.noted;
	pthread_mutex_unlock(&s->mu);
	return was;
}

int hf_seen_gen(struct hf_seen *s, const struct hf_logid *id, uint64_t gen, struct hf_err *err)
{
	uint64_t was = hf_seen_newest(s, id);

	return gen < was ? behind(err, id->name, "generation", gen, was) : 0;
}

/* One less than was seen is what a torn sector leaves. */
int hf_seen_node(struct hf_seen *s, const struct hf_node_info *n, struct hf_err *err)
{
	struct node_seen *p;
	int ret = 0;

	pthread_mutex_lock(&s->mu);
	p = node_of(s, n->uuid, true);
	if (n->counter + 1 < p->is) {
		char what[HF_NAME_MAX + 32];

		snprintf(what, sizeof(what), "node %s", n->name);
		ret = behind(err, what, "heartbeat", n->counter, p->is);
	} else {
		if (!p->is)
			s->grew = true;
		if (p->next > p->is)
			p->is = p->next;	/* not worth a write by itself */
		p->next = n->counter;
	}
	pthread_mutex_unlock(&s->mu);
	return ret;
}

void hf_seen_known(struct hf_seen *s, const uint8_t (*uuid)[16], size_t n)
{
	size_t kept = 0;

	pthread_mutex_lock(&s->mu);
	for (size_t i = 0; i < s->nlog; i++) {
		bool known = !s->log[i].row;

		for (size_t k = 0; k < n && !known; k++)
			known = !memcmp(s->log[i].uuid, uuid[k], 16);
		if (known)
			s->log[kept++] = s->log[i];
	}
	s->grew |= kept < s->nlog;
	s->nlog = kept;
	pthread_mutex_unlock(&s->mu);
}

static char *text_of(const struct hf_seen *s)
{
	struct json_object *o = json_object_new_object(), *a = json_object_new_array();
	const char *t;
	char *text = NULL;

	json_object_object_add(o, "v", json_object_new_int(1));
	add_uuid(o, "disk", s->disk);
	for (size_t i = 0; i < s->nnode; i++) {
		struct json_object *e = json_object_new_object();

		add_uuid(e, "uuid", s->node[i].uuid);
		json_object_object_add(e, "beats", json_object_new_uint64(s->node[i].is));
		json_object_array_add(a, e);
	}
	json_object_object_add(o, "nodes", a);
	a = json_object_new_array();
	for (size_t i = 0; i < s->nlog; i++) {
		const struct log_seen *l = &s->log[i];
		struct json_object *e = json_object_new_object();

		add_uuid(e, "uuid", l->uuid);
		json_object_object_add(e, "name", json_object_new_string(l->name));
		json_object_object_add(e, "row", json_object_new_uint64(l->row));
		json_object_object_add(e, "epoch", json_object_new_uint64(l->is.epoch));
		json_object_object_add(e, "noted", json_object_new_uint64(l->is.noted));
		json_object_object_add(e, "confirmed", json_object_new_uint64(l->confirmed));
		json_object_array_add(a, e);
	}
	json_object_object_add(o, "logs", a);
	t = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	if (t)
		text = strdup(t);
	json_object_put(o);
	return text;
}

/* The file is used without the lock: who looks must not wait for it. */
int hf_seen_sync(struct hf_seen *s, bool always)
{
	struct stamp now = stamp_of(s->path);
	char *text = NULL;
	int ret;

	if (s->file.ino && now.ino && !stamp_same(&now, &s->file))
		return read_it(s);
	pthread_mutex_lock(&s->mu);
	if (!s->grew && !always && s->file.ino) {
		pthread_mutex_unlock(&s->mu);
		return 0;
	}
	text = text_of(s);
	s->grew = false;
	pthread_mutex_unlock(&s->mu);
	ret = text ? hf_write_file(s->path, text, strlen(text), 0600) : -ENOMEM;
	free(text);
	if (ret) {
		pthread_mutex_lock(&s->mu);
		s->grew = true;
		pthread_mutex_unlock(&s->mu);
	} else {
		s->file = stamp_of(s->path);
	}
	return ret;
}

int hf_seen_each(struct hf_seen *s, int (*fn)(void *ctx, const struct hf_logid *id), void *ctx)
{
	int ret = 0;

	for (size_t i = 0; i < s->nlog && !ret; i++) {
		struct hf_logid id = { .row = s->log[i].row };

		memcpy(id.uuid, s->log[i].uuid, 16);
		memcpy(id.name, s->log[i].name, sizeof(id.name));
		ret = fn(ctx, &id);
	}
	return ret;
}
