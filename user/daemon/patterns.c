// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which patterns a checkpoint's newest generation was captured with stands in the log
 * beside its entries. When the registration says otherwise, the next commit takes out what
 * is excluded now, captures the whole tree, and says so; a base follows it.
 *
 * A restore leaves alone what was excluded when the generation was captured, too: that it is not in it does
 * not mean that it is to go. What is in it all the same, as a scan took it in that then failed, is restored.
 *
 * Runs in the worker, but for what says that it does not.
 */
#include "replicator.h"
#include "treedb.h"
#include <stdlib.h>

/* One to a line; patterns hold no control characters. */
static char *text_of(char *const *list, unsigned n)
{
	struct hf_buf b = HF_BUF_INIT;

	for (unsigned i = 0; i < n; i++) {
		hf_buf_put(&b, list[i], strlen(list[i]));
		hf_buf_u8(&b, '\n');
	}
	hf_buf_u8(&b, 0);
	if (!b.bad)
		return (char *)b.p;
	hf_buf_free(&b);
	return NULL;
}

/* What @log says of @id; "" where it says nothing. NULL when out of memory. */
static char *noted_in(struct hf_log *log, uint32_t id)
{
	struct hf_item it;

	if (!treedb_marked(log, id, TREEDB_PATTERNS, &it))
		return strdup("");
	return strndup(it.attr, it.attrlen);
}

/* 1: other than in @log, 0: the same, or -ENOMEM */
static int differ(struct hf_log *log, const struct ckpt *c)
{
	char *now = text_of(c->exclude, c->nexclude), *was = noted_in(log, c->id);
	int ret = now && was ? !!strcmp(now, was) : -ENOMEM;

	free(now);
	free(was);
	return ret;
}

bool patterns_changed(struct resource *r)
{
	for (unsigned i = 0; i < r->ncp; i++)
		if (differ(r->log, r->cp[i]) == 1)
			return true;
	return false;
}

/* Any thread that @c belongs to. */
int patterns_heed(struct ckpt *c, struct hf_log *log)
{
	char *text, *save = NULL;
	const char **v;
	unsigned n = 0;
	int ret = -ENOMEM;

	if (!c->tree || differ(log, c) == 0)
		return 0;
	text = noted_in(log, c->id);
	v = text ? calloc(strlen(text) + 1, sizeof(*v)) : NULL;
	for (char *p = v ? strtok_r(text, "\n", &save) : NULL; p; p = strtok_r(NULL, "\n", &save))
		v[n++] = p;
	if (v)
		ret = hf_tree_patterns_too(c->tree, v, n);
	free(v);
	free(text);
	return ret;
}

void patterns_heed_no_more(struct ckpt *c)
{
	if (c->tree)
		hf_tree_patterns_too(c->tree, NULL, 0);
}

int patterns_replace(struct resource *r, struct ckpt *c, const struct hf_checkpoint *cp)
{
	char *now = text_of(c->exclude, c->nexclude), *new = text_of(cp->exclude, cp->nexclude);
	char **v = calloc(cp->nexclude + 1, sizeof(*v)), **old = c->exclude;
	unsigned n = 0, nold = c->nexclude;
	int ret = -ENOMEM;

	if (!now || !new || !v)
		goto out;
	ret = 0;
	if (!strcmp(now, new))
		goto out;
	ret = -ENOMEM;
	for (; n < cp->nexclude; n++) {
		v[n] = strdup(cp->exclude[n]);
		if (!v[n])
			goto out;
	}
	if (c->tree && hf_tree_patterns(c->tree, (const char *const *)v, n))
		goto out;
	hf_logf(HF_LOG_NOTE, "%s: what is excluded from %s has changed", r->name, c->path);
	c->exclude = v;
	c->nexclude = n;
	v = old;
	n = nold;
	ret = 1;
out:
	while (n)
		free(v[--n]);
	free(v);
	free(new);
	free(now);
	return ret;
}

struct taking_out {
	struct hf_log *log;
	struct ckpt *c;
	uint64_t n;
};

static int take_out(void *ctx, const struct hf_item *it)
{
	struct taking_out *t = ctx;
	char *rel = strndup((const char *)it->key + TREEDB_PREFIX, it->keylen - TREEDB_PREFIX);
	bool out;

	if (!rel)
		return -ENOMEM;
	out = hf_tree_excludes(t->c->tree, rel, hf_attr_mode(it->attr, it->attrlen));
	free(rel);
	if (!out)
		return 0;
	t->n++;
	return hf_log_del(t->log, it->key, it->keylen);
}

int patterns_begin(struct resource *r, struct hf_err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < r->ncp && ret >= 0; i++) {
		struct taking_out t = { .log = r->log, .c = r->cp[i] };
		char prefix[TREEDB_PREFIX + 1];

		r->cp[i]->taken_out = 0;
		if (r->cp[i]->lost || !r->cp[i]->tree)
			continue;
		ret = differ(r->log, r->cp[i]);
		if (ret <= 0)
			continue;
		r->need_scan = true;
		treedb_prefix(r->cp[i]->id, prefix);
		ret = hf_log_each(r->log, prefix, TREEDB_PREFIX, take_out, &t);
		r->cp[i]->taken_out = t.n;
	}
	return ret < 0 ? hf_fail(err, HF_FAILED, ret, "%s: what is excluded cannot be taken out: %s", r->name,
				 strerror(-ret)) : 0;
}

int patterns_note(struct resource *r, bool *noted, struct hf_err *err)
{
	int ret = 0;

	*noted = false;
	for (unsigned i = 0; i < r->ncp && ret >= 0; i++) {
		struct ckpt *c = r->cp[i];
		char *text;

		/* Said with the commit that has what they let in, as a restore would leave that alone else: whatever
		 * is wrong besides, with a file that never holds still or with another tree. */
		if (!c->scanned || c->lost)
			continue;
		ret = differ(r->log, c);
		if (ret <= 0)
			continue;
		text = text_of(c->exclude, c->nexclude);
		if (!text)
			ret = -ENOMEM;
		else if (*text)
			ret = treedb_mark(r->log, c->id, TREEDB_PATTERNS, text, err);
		else
			ret = treedb_unmark(r->log, c->id, TREEDB_PATTERNS);
		free(text);
		*noted |= !ret;
	}
	return ret < 0 ? ret : 0;
}

/* Any thread. */
bool patterns_are(struct hf_log *log, const struct hf_checkpoint *cp)
{
	char *now = text_of(cp->exclude, cp->nexclude), *was = noted_in(log, cp->id);
	bool same = now && was && !strcmp(now, was);

	free(now);
	free(was);
	return same;
}
