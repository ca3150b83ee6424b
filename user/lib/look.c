// SPDX-License-Identifier: LGPL-2.1-or-later
/* A single entry of a tree as it is now, for who wants to show it. */
#include "tree_int.h"
#include <stdlib.h>
#include <unistd.h>

/* @rel's parent stays open in @cur, and what it is itself if it is a file or directory in *@fd */
static int find(struct hf_tree *t, const char *rel, struct hf_dircur *cur, int *fd, const char **name,
		struct statx *stx)
{
	int dir, ret;

	*fd = -1;
	if (!hf_tree_mine(t, rel))
		return -ENOENT;
	dir = hf_dircur_parent(cur, rel, name);
	if (dir < 0)
		return dir;
	ret = **name ? hf_tree_statx(dir, *name, stx) : hf_fd_statx(dir, stx);
	if (ret)
		return ret;
	if (S_ISREG(stx->stx_mode))
		*fd = hf_open_regular(dir, *name);
	else if (S_ISDIR(stx->stx_mode))
		*fd = hf_open_dir(dir, *name);
	else
		return dir;
	if (*fd < 0)
		return *fd;
	ret = hf_fd_statx(*fd, stx);
	if (!ret)
		return dir;
	close(*fd);
	*fd = -1;
	return ret;
}

int hf_tree_look(struct hf_tree *t, const char *rel, struct hf_attr *a)
{
	struct hf_dircur cur;
	struct statx stx;
	const char *name;
	int fd, ret = hf_dircur_init(&cur, t);

	memset(a, 0, sizeof(*a));
	if (ret)
		return ret;
	hf_ids_begin(t, false);
	ret = find(t, rel, &cur, &fd, &name, &stx);
	if (ret >= 0)
		ret = hf_attr_read(t, fd, ret, name, &stx, a);
	if (fd >= 0)
		close(fd);
	hf_dircur_free(&cur);
	return ret;
}

int hf_tree_content(struct hf_tree *t, const char *rel, size_t max, struct hf_buf *out)
{
	struct hf_dircur cur;
	struct statx stx;
	const char *name;
	uint8_t *buf;
	ssize_t n;
	int fd = -1, ret = hf_dircur_init(&cur, t);

	if (ret)
		return ret;
	buf = malloc(max + 1);
	ret = buf ? find(t, rel, &cur, &fd, &name, &stx) : -ENOMEM;
	if (ret >= 0 && fd < 0)
		ret = -ESTALE;
	if (ret >= 0 && !S_ISREG(stx.stx_mode))
		ret = -ESTALE;
	if (ret >= 0) {
		n = hf_read_small(fd, buf, max + 1, SIZE_MAX);
		ret = n < 0 ? (int)n : (size_t)n > max ? -EFBIG : 0;
		if (!ret)
			hf_buf_put(out, buf, n);
	}
	if (fd >= 0)
		close(fd);
	hf_scratch_free(t, buf, max + 1);
	hf_dircur_free(&cur);
	return ret ? ret : out->bad ? -ENOMEM : 0;
}
