// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What became of a group: each member's log is asked whether its generation is there and says that it is
 * of this group. A daemon that died between two members leaves one that is not whole, and says so
 * by that.
 */
#include "group_look.h"
#include <stdlib.h>

struct told { uint64_t gen; uint8_t id[16]; };	/* generation, and the group that it says it is of */

struct member_log {
	struct member_log *next;
	uint8_t uuid[16];
	bool registered;
	int ret;		/* of reading it */
	uint64_t first;		/* generation that can be read; 0 none */
	struct told *v;
	size_t n;
};

struct group_look {
	struct regs *regs;
	struct member_log *logs;
};

struct group_look *group_look_new(struct regs *regs)
{
	struct group_look *l = hf_alloc(sizeof(*l));

	if (l)
		l->regs = regs;
	return l;
}

void group_look_free(struct group_look *l)
{
	struct member_log *m;

	while (l && (m = l->logs)) {
		l->logs = m->next;
		free(m->v);
		free(m);
	}
	free(l);
}

static int told_cmp(const void *a, const void *b)
{
	const struct told *x = a, *y = b;

	return (x->gen > y->gen) - (x->gen < y->gen);
}

static int add(struct member_log *m, uint64_t gen, const struct hf_group *g)
{
	struct told *v = realloc(m->v, (m->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	m->v = v;
	v[m->n].gen = gen;
	memcpy(v[m->n++].id, g->id, sizeof(g->id));
	return 0;
}

static int each_gen(void *ctx, const struct hf_gen_info *i)
{
	struct member_log *m = ctx;

	if (!m->first)
		m->first = i->gen;
	return i->group ? add(m, i->gen, i->group) : 0;
}

struct pinned { struct member_log *m; struct hf_log *log; };

static int each_pin(void *ctx, const struct hf_pin_info *p)
{
	struct pinned *c = ctx;
	struct hf_group *g;
	int ret = hf_log_pin_group(c->log, p, &g);

	if (!ret && g)
		ret = add(c->m, p->gen, g);
	free(g);
	return ret;
}

static int read_log(struct member_log *m, const struct hf_logid *id)
{
	struct pinned c = { .m = m };
	struct hf_err e = { 0 };
	int ret = hf_log_history(hfd.store, id, each_gen, m, &e);

	if (!ret)
		ret = hf_log_read(hfd.store, id, 0, &c.log, &e);
	if (!ret)
		ret = hf_log_pins(c.log, each_pin, &c);
	hf_log_close(c.log);
	if (m->n)
		qsort(m->v, m->n, sizeof(*m->v), told_cmp);
	return ret == -ENOENT ? 0 : ret;
}

static struct member_log *log_of(struct group_look *l, const uint8_t uuid[16])
{
	const struct hf_reg *reg = l->regs ? l->regs->reg : NULL;
	struct member_log *m;

	for (m = l->logs; m; m = m->next)
		if (!memcmp(m->uuid, uuid, sizeof(m->uuid)))
			return m;
	m = hf_alloc(sizeof(*m));
	if (!m)
		return NULL;
	memcpy(m->uuid, uuid, sizeof(m->uuid));
	m->next = l->logs;
	l->logs = m;
	for (unsigned i = 0; reg && i < reg->nres; i++)
		if (!memcmp(reg->res[i].id.uuid, uuid, sizeof(m->uuid))) {
			m->registered = true;
			m->ret = read_log(m, &reg->res[i].id);
		}
	return m;
}

static const char *state_of(struct group_look *l, const struct hf_group *g, unsigned i)
{
	const struct hf_group_member *w = &g->m[i];
	const struct member_log *m = i == g->self ? NULL : log_of(l, w->log);
	const struct told key = { .gen = w->gen }, *is;

	if (i == g->self)
		return "there";		/* it told of the group */
	if (!m || m->ret)
		return "unknown";
	if (!m->registered)
		return "deleted";
	/* one that is pinned as well is there twice, and says the same */
	is = m->n ? bsearch(&key, m->v, m->n, sizeof(*m->v), told_cmp) : NULL;
	if (is && !memcmp(is->id, g->id, sizeof(g->id)))
		return "there";
	return w->gen < m->first ? "trimmed" : "missing";
}

struct json_object *group_json(struct group_look *l, const struct hf_group *g)
{
	struct json_object *o = jobj(), *arr = json_object_new_array(), *e;
	bool complete = true;
	char id[37];

	hf_uuid_str(g->id, id);
	jstr(o, "id", id);
	for (unsigned i = 0; i < g->n; i++) {
		const char *state = state_of(l, g, i);

		e = jobj();
		jstr(e, "resource", g->m[i].name);
		ju64(e, "generation", g->m[i].gen);
		jstr(e, "state", state);
		complete &= !strcmp(state, "there");
		json_object_array_add(arr, e);
	}
	jbool(o, "complete", complete);
	json_object_object_add(o, "members", arr);
	return o;
}

static const char *in_words(const char *state)
{
	return !strcmp(state, "there") ? "is there" : !strcmp(state, "trimmed") ? "is not kept any more" :
	       !strcmp(state, "deleted") ? "went with its resource" : !strcmp(state, "missing") ? "was not committed" :
	       "cannot be read";
}

char *group_note(struct regs *regs, struct hf_log *log)
{
	struct group_look *l;
	struct hf_group *g;
	char *text = NULL, *t, id[37];
	bool complete = true;

	if (hf_log_group(log, &g) || !g)
		return NULL;
	l = group_look_new(regs);
	for (unsigned i = 0; l && i < g->n; i++) {
		const char *state = i == g->self ? NULL : state_of(l, g, i);

		if (!state)
			continue;
		complete &= !strcmp(state, "there");
		t = hf_strf("%s%s%s generation %llu, which %s", text ? text : "", text ? "; " : "", g->m[i].name,
			    (unsigned long long)g->m[i].gen, in_words(state));
		free(text);
		text = t;
	}
	hf_uuid_str(g->id, id);
	t = !text ? NULL : hf_strf("generation %llu is of %s group, %.8s, with %s", (unsigned long long)hf_log_gen(log),
				   complete ? "a" : "an incomplete", id, text);
	free(text);
	group_look_free(l);
	free(g);
	return t;
}
