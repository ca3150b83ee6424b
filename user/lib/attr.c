// SPDX-License-Identifier: LGPL-2.1-or-later
/* Attributes: their encoding, and what makes two the same. */
#include "tree_int.h"
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>

/*
 * The encoding: version, then atime at a fixed place (it is the one thing that
 * does not count when two are compared), then the rest.
 */
#define ATTR_VERSION 1

void hf_attr_free(struct hf_attr *a)
{
	free(a->user);
	free(a->group);
	free(a->target);
	for (uint32_t i = 0; i < a->nxattr; i++) {
		free(a->xattr[i].name);
		/* a value may be a secret of a crypto checkpoint */
		if (a->xattr[i].value)
			sodium_memzero(a->xattr[i].value, a->xattr[i].len);
		free(a->xattr[i].value);
	}
	free(a->xattr);
	for (uint32_t i = 0; i < a->nacl; i++)
		free(a->acl[i].name);
	free(a->acl);
	memset(a, 0, sizeof(*a));
}

int hf_attr_encode(const struct hf_attr *a, struct hf_buf *b)
{
	const char *user = a->user ? a->user : "", *group = a->group ? a->group : "";

	hf_buf_u8(b, ATTR_VERSION);
	hf_buf_u64(b, a->atime_s);
	hf_buf_u32(b, a->atime_ns);
	hf_buf_u32(b, a->mode);
	hf_buf_u32(b, a->uid);
	hf_buf_u32(b, a->gid);
	hf_buf_u64(b, a->mtime_s);
	hf_buf_u32(b, a->mtime_ns);
	hf_buf_u32(b, a->rdev_major);
	hf_buf_u32(b, a->rdev_minor);
	hf_buf_u64(b, a->size);
	hf_buf_u64(b, a->link);
	hf_buf_blob(b, user, strlen(user));
	hf_buf_blob(b, group, strlen(group));
	hf_buf_blob(b, a->target, a->target ? strlen(a->target) : 0);
	hf_buf_u32(b, a->nxattr);
	for (uint32_t i = 0; i < a->nxattr; i++) {
		hf_buf_blob(b, a->xattr[i].name, strlen(a->xattr[i].name));
		hf_buf_blob(b, a->xattr[i].value, a->xattr[i].len);
	}
	hf_buf_u32(b, a->nacl);
	for (uint32_t i = 0; i < a->nacl; i++) {
		hf_buf_u8(b, a->acl[i].group);
		hf_buf_u32(b, a->acl[i].id);
		hf_buf_blob(b, a->acl[i].name, strlen(a->acl[i].name));
	}
	return b->bad ? -ENOMEM : 0;
}

static char *rd_text(struct hf_rd *r, uint32_t max)
{
	uint32_t n;
	const uint8_t *p = hf_rd_blob(r, &n);

	if (!p || n > max || memchr(p, 0, n)) {
		r->bad = true;
		return NULL;
	}
	return strndup((const char *)p, n);
}

static int decode_xattrs(struct hf_rd *r, struct hf_attr *a)
{
	uint32_t n = hf_rd_u32(r);

	/* each takes at least 9 bytes: bounds what a hostile count can allocate */
	if (r->bad || n > (size_t)(r->end - r->p) / 9)
		return -EBADMSG;
	if (!n)
		return 0;
	a->xattr = hf_alloc(n * sizeof(*a->xattr));
	if (!a->xattr)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct hf_xattr *x = &a->xattr[i];
		const uint8_t *v;

		a->nxattr = i + 1;
		x->name = rd_text(r, XATTR_NAME_MAX);
		if (r->bad)
			return -EBADMSG;
		if (!x->name)
			return -ENOMEM;
		if (!*x->name || (i && strcmp(a->xattr[i - 1].name, x->name) >= 0))
			return -EBADMSG;
		v = hf_rd_blob(r, &x->len);
		if (!v || x->len > XATTR_MAX) {
			x->len = 0;
			return -EBADMSG;
		}
		x->value = malloc(x->len ? x->len : 1);
		if (!x->value)
			return -ENOMEM;
		memcpy(x->value, v, x->len);
	}
	return 0;
}

static int decode_acl_names(struct hf_rd *r, struct hf_attr *a)
{
	uint32_t n = hf_rd_u32(r);

	if (r->bad || n > (size_t)(r->end - r->p) / 10)
		return -EBADMSG;
	if (!n)
		return 0;
	a->acl = hf_alloc(n * sizeof(*a->acl));
	if (!a->acl)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct hf_acl_name *e = &a->acl[i];
		uint8_t group = hf_rd_u8(r);

		a->nacl = i + 1;
		e->group = group;
		e->id = hf_rd_u32(r);
		e->name = rd_text(r, LOGIN_NAME_MAX);
		if (r->bad || group > 1)
			return -EBADMSG;
		if (!e->name)
			return -ENOMEM;
		if (!*e->name || (i && (e[-1].group > e->group || (e[-1].group == e->group && e[-1].id >= e->id))))
			return -EBADMSG;
	}
	return 0;
}

static bool sane(const struct hf_attr *a)
{
	mode_t type = a->mode & S_IFMT;

	if (a->mode & ~(uint32_t)(S_IFMT | 07777))
		return false;
	if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK && type != S_IFIFO &&
	    type != S_IFCHR && type != S_IFBLK && type != S_IFSOCK)
		return false;
	if (a->mtime_ns >= 1000000000 || a->atime_ns >= 1000000000)
		return false;
	if (a->size && type != S_IFREG)
		return false;
	if (a->size > INT64_MAX || (a->link && type == S_IFDIR))
		return false;
	if ((a->rdev_major || a->rdev_minor) && type != S_IFCHR && type != S_IFBLK)
		return false;
	if (a->uid == UINT32_MAX || a->gid == UINT32_MAX)
		return false;
	return true;
}

int hf_attr_decode(const void *p, size_t n, struct hf_attr *a)
{
	struct hf_rd r;
	int ret;

	memset(a, 0, sizeof(*a));
	hf_rd_init(&r, p, n);
	if (hf_rd_u8(&r) != ATTR_VERSION)
		return -EBADMSG;
	a->atime_s = hf_rd_u64(&r);
	a->atime_ns = hf_rd_u32(&r);
	a->mode = hf_rd_u32(&r);
	a->uid = hf_rd_u32(&r);
	a->gid = hf_rd_u32(&r);
	a->mtime_s = hf_rd_u64(&r);
	a->mtime_ns = hf_rd_u32(&r);
	a->rdev_major = hf_rd_u32(&r);
	a->rdev_minor = hf_rd_u32(&r);
	a->size = hf_rd_u64(&r);
	a->link = hf_rd_u64(&r);
	if (r.bad || !sane(a))
		return -EBADMSG;
	a->user = rd_text(&r, LOGIN_NAME_MAX);
	a->group = rd_text(&r, LOGIN_NAME_MAX);
	a->target = rd_text(&r, PATH_MAX - 1);
	if (r.bad)
		ret = -EBADMSG;
	else if (!a->user || !a->group || !a->target)
		ret = -ENOMEM;
	else if (S_ISLNK(a->mode) != (*a->target != 0))
		ret = -EBADMSG;
	else
		ret = decode_xattrs(&r, a);
	if (!ret)
		ret = decode_acl_names(&r, a);
	if (!ret && r.p != r.end)
		ret = -EBADMSG;
	if (ret) {
		hf_attr_free(a);
		return ret;
	}
	if (!S_ISLNK(a->mode)) {
		free(a->target);
		a->target = NULL;
	}
	return 0;
}

/* the mode of an encoding, without the rest; 0 if it is none */
uint32_t hf_attr_mode(const void *p, size_t n)
{
	struct hf_rd r;

	hf_rd_init(&r, p, n);
	if (hf_rd_u8(&r) != ATTR_VERSION || !hf_rd_bytes(&r, 12))
		return 0;
	return hf_rd_u32(&r);
}

/* which file it is a name of; 0: of none with several, or no encoding */
uint64_t hf_attr_link(const void *p, size_t n)
{
	struct hf_rd r;

	hf_rd_init(&r, p, n);
	if (hf_rd_u8(&r) != ATTR_VERSION || !hf_rd_bytes(&r, 52))
		return 0;
	return hf_rd_u64(&r);
}

bool hf_attr_glance(const void *p, size_t n, struct hf_attr_glance *g)
{
	uint32_t len, count;
	struct hf_rd r;

	hf_rd_init(&r, p, n);
	if (hf_rd_u8(&r) != ATTR_VERSION || !hf_rd_bytes(&r, 12))
		return false;
	g->mode = hf_rd_u32(&r);
	g->uid = hf_rd_u32(&r);
	g->gid = hf_rd_u32(&r);
	if (!hf_rd_bytes(&r, 28))
		return false;
	g->link = hf_rd_u64(&r);
	g->user = (const char *)hf_rd_blob(&r, &g->nuser);
	g->group = (const char *)hf_rd_blob(&r, &g->ngroup);
	hf_rd_blob(&r, &len);
	count = hf_rd_u32(&r);
	for (uint32_t i = 0; i < count && !r.bad; i++) {
		hf_rd_blob(&r, &len);
		hf_rd_blob(&r, &len);
	}
	g->acl = hf_rd_u32(&r);
	return !r.bad && g->user && g->group;
}

bool hf_xattr_given(const char *name)
{
	return !strncmp(name, "security.", 9) && strcmp(name, "security.capability");
}

bool hf_xattrs_equal(const struct hf_attr *have, const struct hf_attr *want)
{
	uint32_t i = 0, j = 0;

	while (i < have->nxattr || j < want->nxattr) {
		int c = i == have->nxattr ? 1 : j == want->nxattr ? -1 :
			strcmp(have->xattr[i].name, want->xattr[j].name);

		if (c < 0 && hf_xattr_given(have->xattr[i].name)) {
			i++;
			continue;
		}
		if (c || have->xattr[i].len != want->xattr[j].len ||
		    memcmp(have->xattr[i].value, want->xattr[j].value, want->xattr[j].len))
			return false;
		i++;
		j++;
	}
	return true;
}

static bool acls_equal(const struct hf_attr *a, const struct hf_attr *b)
{
	for (uint32_t i = 0; i < a->nacl && a->nacl == b->nacl; i++)
		if (a->acl[i].group != b->acl[i].group || a->acl[i].id != b->acl[i].id ||
		    strcmp(a->acl[i].name, b->acl[i].name))
			return false;
	return a->nacl == b->nacl;
}

static bool texts_equal(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

bool hf_attr_same(const struct hf_attr *a, const struct hf_attr *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       texts_equal(a->user, b->user) && texts_equal(a->group, b->group) &&
	       a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns &&
	       a->rdev_major == b->rdev_major && a->rdev_minor == b->rdev_minor &&
	       a->size == b->size && a->link == b->link && texts_equal(a->target, b->target) &&
	       a->nxattr == b->nxattr && hf_xattrs_equal(a, b) && hf_xattrs_equal(b, a) &&
	       acls_equal(a, b);
}
