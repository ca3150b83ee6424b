// SPDX-License-Identifier: GPL-2.0-or-later
/* C45: what a log tells of groups: read back by state, history, base and pin; in its generation alone; and not believed
 * when it cannot be one. */
#include "store_test.h"
#include "log_int.h"

static struct node a;
static struct hf_logid id = LOGID(1, 1);
static struct hf_log *l;
static uint64_t gen;

static struct hf_group *group(unsigned n, unsigned self, uint64_t own)
{
	struct hf_group *g = hf_alloc(sizeof(*g) + n * sizeof(g->m[0]));

	memset(g->id, 0x45, sizeof(g->id));
	g->n = n;
	g->self = self;
	for (unsigned i = 0; i < n; i++) {
		g->m[i].log[0] = i + 1;
		g->m[i].gen = i == self ? own : 100 + i;
		snprintf(g->m[i].name, sizeof(g->m[i].name), "res%u", i);
	}
	return g;
}

static bool same(const struct hf_group *x, const struct hf_group *y)
{
	return x && x->n == y->n && x->self == y->self && !memcmp(x->id, y->id, sizeof(x->id)) &&
	       !memcmp(x->m, y->m, x->n * sizeof(x->m[0]));
}

static void commit(const char *note)
{
	must(hf_log_commit(l, 0, note, &gen, &err));
	must(hf_log_confirm(l, &err));
}

struct seen { uint64_t gen; unsigned gens, groups; struct hf_group *want; bool right; uint64_t puts; };

static int look(void *ctx, const struct hf_gen_info *i)
{
	struct seen *s = ctx;

	s->gens++;
	if (!i->group)
		return 0;
	s->groups++;
	s->gen = i->gen;
	s->puts = i->puts;
	s->right = same(i->group, s->want);
	return 0;
}

static struct seen history(struct hf_group *want)
{
	struct seen s = { .want = want };

	must(hf_log_history(a.st, &id, look, &s, &err));
	return s;
}

/* of generation @at, as who restores it reads it */
static bool has(uint64_t at, const struct hf_group *want)
{
	struct hf_log *r;
	struct hf_group *g;
	bool ret;

	must(hf_log_read(a.st, &id, at, &r, &err));
	must(hf_log_group(r, &g));
	ret = want ? same(g, want) : !g;
	free(g);
	hf_log_close(r);
	return ret;
}

static int pin_is_of(void *ctx, const struct hf_pin_info *p)
{
	struct hf_group *g;

	must(hf_log_pin_group(l, p, &g));
	((struct seen *)ctx)->groups += g != NULL;
	((struct seen *)ctx)->right = same(g, ((struct seen *)ctx)->want);
	free(g);
	return 0;
}

/* attributes that are no group's, of generation 9: none of them may be read as one, or beyond */
static void damaged(void)
{
	struct hf_group *g = group(2, 1, 9), *out;
	struct hf_item it;
	uint8_t *b;
	unsigned read = 0, none = 0;

	must(hf_log_group_put(l, g, &err));
	must(!hf_log_get(l, "&", 1, &it));
	for (uint32_t n = 0; n < it.attrlen; n++) {
		b = malloc(n ? n : 1);	/* so that a sanitizer sees what is read beyond */
		memcpy(b, it.attr, n);
		read += !group_in(b, n, 9, &out) && out;
		free(b);
	}
	is(read, 0, "cut anywhere it is none");
	b = malloc(it.attrlen);
	memcpy(b, it.attr, it.attrlen);
	b[0] = 2;
	none += !group_in(b, it.attrlen, 9, &out) && !out;
	memcpy(b, it.attr, it.attrlen);
	none += !group_in(b, it.attrlen, 10, &out) && !out;
	is(none, 2, "of a later version, or of another generation: none, and no error");
	b[20] = HF_GROUP_MAX + 1;
	is(group_in(b, it.attrlen, 9, &out), -EBADMSG, "with too many members it is damaged");
	memcpy(b, it.attr, it.attrlen);
	b[24] = 2;
	is(group_in(b, it.attrlen, 9, &out), -EBADMSG, "as one that is none of its own");
	memcpy(b, it.attr, it.attrlen);
	b[it.attrlen - 1] = '/';
	is(group_in(b, it.attrlen, 9, &out), -EBADMSG, "and one of what cannot be a name");
	free(b);
	free(g);
	hf_log_abort(l);
}

int main(void)
{
	struct hf_group *g, *big;
	struct seen s;

	setup(1, 32u << 20, 500);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "00000001/f", "one", 3));
	commit("first");
	g = group(3, 1, 2);
	must(hf_log_group_put(l, g, &err));
	commit("group");
	is(gen, 2, "a group without other changes makes a generation");
	s = history(g);
	ok(s.gens == 2 && s.groups == 1 && s.gen == 2 && s.right && !s.puts, "history has it there, whole, and counts no entry");
	ok(has(2, g) && has(1, NULL), "so has the state then, and the one before has none");
	must(put(l, "00000001/f", "two", 3));
	commit("later");
	s = history(g);
	ok(s.gens == 3 && s.groups == 1 && s.gen == 2 && has(3, NULL), "the next generation belongs to none, though the state has it");
	must(hf_log_pin(l, 2, "keep", &err));
	commit("pin");
	big = group(HF_GROUP_MAX, HF_GROUP_MAX - 1, 5);
	must(put(l, "00000001/f", "three", 5));
	must(hf_log_group_put(l, big, &err));
	commit("group");
	ok(has(5, big) && has(2, g), "another one, as large as may be, takes its place");
	must(hf_log_base(l, 1, &err));
	s = history(big);
	ok(s.groups && s.gen == 5 && s.right, "a base of its generation tells of it");
	ok(has(2, g), "what was trimmed is read from its pin, group and all");
	s = (struct seen){ .want = g };
	must(hf_log_pins(l, pin_is_of, &s));
	ok(s.groups == 1 && s.right, "which is told with the pins");
	hf_log_close(l);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err));
	ok(has(5, big) && has(2, g), "a claim keeps them");
	damaged();
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
	free(g);
	free(big);
	node_close(&a);
	hf_keys_free(keys);
	return tap_done();
}
