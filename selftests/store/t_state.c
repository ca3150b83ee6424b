// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of a log's items: order and counts that are kept are those that are made anew. */
#include "../tap.h"
#include "state.h"
#include <stdlib.h>

#define KEYS 600
#define STEPS 4000

static char keys[KEYS][24];
static struct ent *in[KEYS];

static int rel_cmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (*a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0) - (*b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0);
}

/* by hand: how many begin with @prefix, and whether @v is them, in order */
static bool is_right(struct ent **v, size_t n, const char *prefix, size_t count)
{
	size_t plen = strlen(prefix), want = 0;

	for (unsigned i = 0; i < KEYS; i++)
		want += in[i] && !strncmp(keys[i], prefix, plen);
	if (n != want || count != want)
		return false;
	for (size_t i = 0; i < n; i++) {
		char a[24] = "", b[24] = "";

		memcpy(a, ent_key(v[i]), v[i]->keylen);
		if (i)
			memcpy(b, ent_key(v[i - 1]), v[i - 1]->keylen);
		if (strncmp(a, prefix, plen) || (i && rel_cmp(b, a) >= 0))
			return false;
	}
	return true;
}

int main(void)
{
	static const char *const prefix[] = { "", "a", "b/", "a/b", "a/b/", "a!", "zz", "b/x", "/" };
	static const char letters[] = "ab/!x\xff";
	struct table t = { 0 };
	unsigned bad = 0, kept = 0;

	srandom(1);
	for (unsigned i = 0; i < KEYS; i++)
		for (unsigned k = 0; k < 2 + i % 12; k++)
			keys[i][k] = letters[random() % (sizeof(letters) - 1)];
	/* each key once */
	for (unsigned i = 0; i < KEYS; i++)
		for (unsigned k = 0; k < i; k++)
			if (!strcmp(keys[i], keys[k]))
				snprintf(keys[i], sizeof(keys[i]), "a/b/%u", i);
	for (unsigned s = 0; s < STEPS; s++) {
		unsigned i = random() % KEYS;
		const char *p = prefix[random() % HF_ARRAY(prefix)];
		struct ent **v;
		size_t n;

		if (in[i]) {
			table_del(&t, in[i]);
			in[i] = NULL;
		} else {
			in[i] = ent_new(keys[i], strlen(keys[i]), NULL, 0, 0);
			if (!in[i] || table_add(&t, in[i]))
				return 1;
		}
		if (random() % 3 == 0)
			table_order(&t);
		kept += t.order != NULL;
		if (table_sorted(&t, p, strlen(p), &v, &n))
			return 1;
		bad += !is_right(v, n, p, table_count(&t, p, strlen(p)));
		free(v);
	}
	ok(!bad, "what is listed and counted is what is there, in order (%u of %d not)", bad, STEPS);
	ok(kept > STEPS / 4 && kept < STEPS, "with an order that was kept, and without (%u)", kept);
	table_clear(&t);
	ok(!t.order && !t.count && !t.n, "cleared");
	return tap_done();
}
