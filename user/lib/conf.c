// SPDX-License-Identifier: LGPL-2.1-or-later
/* The configuration of this node: one INI file and its drop-ins (libinih). */
#include "conf.h"
#include "names.h"
#include <assert.h>
#include <dirent.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_MAX (1u << 20)
#define LINE_MAX_BYTES 4096
#define SUN_MAX 107		/* sun_path without its NUL */

struct parser {
	struct hf_conf *c;
	const char *file;
	const char *next;	/* what is left of the file's text */
	int line;
	uint64_t seen;		/* keys set by this file, by index into keys[] */
	struct hf_err *err;
	int ret;		/* the first error; what follows it is not looked at */
};

struct key {
	const char *section, *key;
	int (*set)(struct parser *p, const struct key *k, const char *value);
	size_t off;
};

static int bad(struct parser *p, const struct key *k, const char *value, const char *want)
{
	char *v = hf_printable(value, strnlen(value, 80));

	p->ret = hf_fail(p->err, HF_USAGE, -EINVAL, "%s:%d: [%s] %s: '%s' %s", p->file, p->line,
			 k->section, k->key, v ? v : "", want);
	free(v);
	return p->ret;
}

static int set_str(struct parser *p, char **slot, const char *value)
{
	char *s = strdup(value);

	if (!s)
		return p->ret = hf_fail(p->err, HF_OK, -ENOMEM, "%s: out of memory", p->file);
	free(*slot);
	*slot = s;
	return 0;
}

static char **slot_of(struct parser *p, const struct key *k)
{
	return (char **)((char *)p->c + k->off);
}

static int set_name(struct parser *p, const struct key *k, const char *value)
{
	struct hf_err e = { 0 };

	if (hf_name_check(value, "a name", &e))
		return bad(p, k, value, "is not a name; write 1 to 63 of A-Z a-z 0-9 . _ @ : + -, "
			   "beginning with neither . nor -");
	return set_str(p, slot_of(p, k), value);
}

/* "/" stays, other directories lose their trailing slashes */
static int set_path(struct parser *p, const struct key *k, const char *value)
{
	char buf[PATH_MAX];
	size_t n = strlen(value);

	if (value[0] != '/')
		return bad(p, k, value, "is not an absolute path; write one that begins with /");
	if (n >= sizeof(buf))
		return bad(p, k, value, "is too long for a path");
	memcpy(buf, value, n + 1);
	while (n > 1 && buf[n - 1] == '/')
		buf[--n] = 0;
	return set_str(p, slot_of(p, k), buf);
}

static int set_group(struct parser *p, const struct key *k, const char *value)
{
	char **slot = slot_of(p, k);

	if (!*value) {
		free(*slot);
		*slot = NULL;
		return 0;
	}
	if (hf_name_check(value, "a group", NULL))
		return bad(p, k, value, "is not the name of a group");
	return set_str(p, slot, value);
}

static int set_url(struct parser *p, const struct key *k, const char *value)
{
	static const char *const schemes[] = { "disk:", "dir:", "odbc:", "redis:", "s3:", "none:" };
	bool known = value[0] == '/';

	if (!strncmp(value, "disk:", 5) && value[5] != '/')
		return bad(p, k, value, "names no disk; write disk:/dev/disk/by-id/… or disk:/a/file");
	if (!strncmp(value, "dir:", 4) && value[4] != '/')
		return bad(p, k, value, "names no directory; write dir:/a/shared/one, or dir:/srv/one:/srv/two");
	for (size_t i = 0; i < HF_ARRAY(schemes); i++)
		known |= !strncmp(value, schemes[i], strlen(schemes[i]));
	if (!known)
		return bad(p, k, value, "is not the URL of a store; write disk:/dev/disk/by-id/…");
	return set_str(p, slot_of(p, k), value);
}

static int set_source(struct parser *p, const struct key *k, const char *value)
{
	if (strcmp(value, "auto") && strcmp(value, "kernel") && strcmp(value, "fanotify"))
		return bad(p, k, value, "is not a source; write auto, kernel or fanotify");
	return set_str(p, slot_of(p, k), value);
}

static int set_require(struct parser *p, const struct key *k, const char *value)
{
	bool kernel = !strcmp(value, "kernel");

	if (!kernel && strcmp(value, "any"))
		return bad(p, k, value, "is not known; write any or kernel");
	p->c->require_kernel = kernel;
	return 0;
}

static int set_scrub(struct parser *p, const struct key *k, const char *value)
{
	uint64_t ms;

	if (hf_parse_duration(value, &ms))
		return bad(p, k, value, "is not a duration; write 30s, 2m, 1h, or 0 for never");
	if ((ms && ms < 1000) || ms / 1000 > UINT_MAX)
		return bad(p, k, value, "is out of range; write 1s or more, or 0 for never");
	p->c->scrub_s = ms / 1000;
	return 0;
}

static int set_hooks_timeout(struct parser *p, const struct key *k, const char *value)
{
	uint64_t ms;

	if (hf_parse_duration(value, &ms))
		return bad(p, k, value, "is not a duration; write 30s or 2m");
	if (ms < 100 || ms > 3600000)
		return bad(p, k, value, "is out of range; write 100ms to 1h");
	p->c->hooks_timeout_ms = ms;
	return 0;
}

static int set_keep(struct parser *p, const struct key *k, const char *value)
{
	uint64_t ms;

	if (hf_parse_duration(value, &ms))
		return bad(p, k, value, "is not a duration; write 12h or 30d");
	if (ms && ms < 1000)
		return bad(p, k, value, "is too short; write 1s or more");
	p->c->displaced_keep_s = ms / 1000;
	return 0;
}

static int set_size(struct parser *p, const struct key *k, const char *value)
{
	if (hf_parse_size(value, (uint64_t *)slot_of(p, k)))
		return bad(p, k, value, "is not a size; write 512MiB or 1GiB");
	return 0;
}

static int set_rate(struct parser *p, const struct key *k, const char *value)
{
	uint64_t bytes;

	if (hf_parse_size(value, &bytes) || bytes < 64u << 10)
		return bad(p, k, value, "is not a rate; write 2MiB, for so much in a second, at least 64KiB");
	p->c->standby_rate = bytes;
	return 0;
}

#define AT(f) offsetof(struct hf_conf, f)
static const struct key keys[] = {
	{ "node", "name", set_name, AT(node_name) },
	{ "node", "root", set_path, AT(root) },
	{ "node", "state_dir", set_path, AT(state_dir) },
	{ "node", "runtime_dir", set_path, AT(runtime_dir) },
	{ "node", "key_file", set_path, AT(key_file) },
	{ "node", "hooks_dir", set_path, AT(hooks_dir) },
	{ "node", "hooks_timeout", set_hooks_timeout, 0 },
	{ "store", "url", set_url, AT(url) },
	{ "track", "source", set_source, AT(track_source) },
	{ "track", "require", set_require, 0 },
	{ "track", "scrub", set_scrub, 0 },
	{ "access", "read_group", set_group, AT(read_group) },
	{ "access", "job_group", set_group, AT(job_group) },
	{ "displaced", "keep", set_keep, 0 },
	{ "displaced", "size", set_size, AT(displaced_bytes) },
	{ "standby", "memory", set_size, AT(standby_bytes) },
	{ "standby", "rate", set_rate, 0 },
};
static_assert(HF_ARRAY(keys) <= 64, "struct parser.seen has a bit for each");

static int set_view(struct parser *p, const char *name, const char *value)
{
	struct key k = { "view", name, NULL, 0 };
	struct hf_view *v;
	unsigned i;

	if (hf_name_check(name, "a view", NULL) || !strcmp(name, "native"))
		return bad(p, &k, name, "cannot name a view; native is the root itself, others are "
			   "1 to 63 of A-Z a-z 0-9 . _ @ : + -");
	for (i = 0; i < p->c->nview && strcmp(p->c->view[i].name, name); i++)
		;
	if (i == p->c->nview) {
		v = realloc(p->c->view, (i + 1) * sizeof(*v));
		if (!v)
			return p->ret = hf_fail(p->err, HF_OK, -ENOMEM, "%s: out of memory", p->file);
		p->c->view = v;
		v[i] = (struct hf_view){ 0 };
		p->c->nview++;
		if (set_str(p, &v[i].name, name))
			return p->ret;
	}
	size_t n = strlen(value);

	if (value[0] != '/' || strstr(value, "/../") || (n >= 3 && !strcmp(value + n - 3, "/..")) || n >= PATH_MAX)
		return bad(p, &k, value, "is not an absolute path; write one that begins with / and "
			   "is below root");
	return set_str(p, &p->c->view[i].root, value);
}

/* What there is instead: the keys of that section, or the sections. */
static int unknown(struct parser *p, const char *section, const char *name)
{
	char *s = hf_printable(section, strnlen(section, 80)), *n = hf_printable(name, strnlen(name, 80));
	char list[256] = "";
	bool known = false;

	for (size_t i = 0; i < HF_ARRAY(keys); i++) {
		if (strcmp(section, keys[i].section))
			continue;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", known ? ", " : "", keys[i].key);
		known = true;
	}
	for (size_t i = 0; !known && i < HF_ARRAY(keys); i++)
		if (!i || strcmp(keys[i].section, keys[i - 1].section))
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "[%s], ", keys[i].section);
	p->ret = hf_fail(p->err, HF_USAGE, -EINVAL, known ?
			 "%s:%d: [%s] %s: unknown key; [%s] has %s; see holdfast.conf(5)" :
			 "%s:%d: [%s] %s: unknown section '%s'; there are %s[view]; see holdfast.conf(5)",
			 p->file, p->line, s ? s : "", n ? n : "", s ? s : "", list);
	free(s);
	free(n);
	return 0;
}

static int handler(void *ctx, const char *section, const char *name, const char *value)
{
	struct parser *p = ctx;

	if (p->ret)
		return 0;
	if (!strcmp(section, "view"))
		return !set_view(p, name, value);
	for (size_t i = 0; i < HF_ARRAY(keys); i++) {
		const struct key *k = &keys[i];

		if (strcmp(section, k->section) || strcmp(name, k->key))
			continue;
		if (p->seen & (1ull << i))
			return bad(p, k, value, "sets it a second time in this file; keep one of them"), 0;
		p->seen |= 1ull << i;
		return !k->set(p, k, value);
	}
	return unknown(p, section, name);
}

/*
 * Hands libinih one line after the other and counts them: Debian's build does
 * not tell its handler where it is. Leading blanks go, so that an indented line
 * is a key of its own and not, as libinih has it, more of the value before.
 */
static char *reader(char *out, int num, void *ctx)
{
	struct parser *p = ctx;
	const char *end;
	size_t n;

	if (p->ret || !*p->next)
		return NULL;
	p->line++;
	end = strchrnul(p->next, '\n');
	n = end - p->next;
	if (n > LINE_MAX_BYTES || n + 3 > (size_t)num) {
		p->ret = hf_fail(p->err, HF_USAGE, -EINVAL, "%s:%d: the line is longer than %d bytes",
				 p->file, p->line, LINE_MAX_BYTES);
		return NULL;
	}
	while (n && (*p->next == ' ' || *p->next == '\t')) {
		p->next++;
		n--;
	}
	memcpy(out, p->next, n);
	out[n] = '\n';
	out[n + 1] = 0;
	p->next = *end ? end + 1 : end;
	return out;
}

static int load_file(struct hf_conf *c, const char *file, struct hf_err *err)
{
	struct parser p = { .c = c, .file = file, .err = err };
	char *text;
	size_t n;
	int ret;

	ret = hf_read_file(file, CONF_MAX, &text, &n);
	if (ret == -ENOENT)
		return ret;
	if (ret)
		return hf_fail(err, ret == -EFBIG || ret == -EISDIR ? HF_USAGE : HF_OK, ret,
			       "%s: the configuration cannot be read: %s", file, strerror(-ret));
	if (strlen(text) != n) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s: holds NUL bytes; it is not a configuration file",
			      file);
		goto out;
	}
	p.next = text;
	ini_use_stack = false;
	ini_max_line = LINE_MAX_BYTES + 64;
	ini_initial_alloc = LINE_MAX_BYTES + 64;
	ini_allow_multiline = false;
	ini_stop_on_first_error = true;
	ret = ini_parse_stream(reader, &p, handler, &p);
	if (p.ret)
		ret = p.ret;
	else if (ret > 0)
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s:%d: neither [section] nor key = value", file, ret);
	else if (ret < 0)
		ret = hf_fail(err, HF_OK, -ENOMEM, "%s: out of memory", file);
out:
	free(text);
	return ret;
}

static int is_conf(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && !strcmp(d->d_name + n - 5, ".conf");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);	/* in every locale the same order */
}

static int load_dropins(struct hf_conf *c, struct hf_err *err)
{
	struct dirent **list = NULL;
	char *dir = hf_strf("%s.d", c->path), *file;
	int n, ret = 0;

	if (!dir)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	n = scandir(dir, &list, is_conf, by_bytes);
	if (n < 0 && errno != ENOENT && errno != ENOTDIR)
		ret = hf_fail(err, HF_OK, -errno, "%s: the drop-ins cannot be read: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		file = ret ? NULL : hf_strf("%s/%s", dir, list[i]->d_name);
		if (file) {
			ret = load_file(c, file, err);
			if (!ret)
				c->exists = true;
			else if (ret == -ENOENT)	/* removed meanwhile, or a dangling link */
				ret = 0;
		}
		free(file);
		free(list[i]);
	}
	free(list);
	free(dir);
	return ret;
}

static int set_defaults(struct hf_conf *c)
{
	c->root = strdup("/");
	c->state_dir = strdup("/var/lib/holdfast");
	c->runtime_dir = strdup("/run/holdfast");
	c->key_file = strdup("/etc/holdfast/key");
	c->hooks_dir = strdup("/etc/holdfast/hooks.d");
	c->track_source = strdup("auto");
	c->hooks_timeout_ms = 30000;
	c->scrub_s = 60;
	c->displaced_keep_s = 30 * 86400ull;
	c->displaced_bytes = 1ull << 30;
	c->standby_bytes = 64u << 20;
	c->standby_rate = 2u << 20;
	return c->root && c->state_dir && c->runtime_dir && c->key_file && c->hooks_dir &&
	       c->track_source ? 0 : -ENOMEM;
}

static int host_name(struct hf_conf *c, struct hf_err *err)
{
	char host[256] = "";

	if (gethostname(host, sizeof(host) - 1) || hf_name_check(host, "the host's name", NULL))
		return hf_fail(err, HF_USAGE, -EINVAL,
			       "%s: the name of this host cannot name a node; write name = … under [node]",
			       c->path);
	c->node_name = strdup(host);
	return c->node_name ? 0 : hf_fail(err, HF_OK, -ENOMEM, "out of memory");
}

const char *hf_conf_which(const char *path)
{
	const char *env = getenv("HOLDFAST_CONF");

	return path ? path : env && *env ? env : HF_CONF_DEFAULT;
}

int hf_conf_load(const char *path, struct hf_conf **out, struct hf_err *err)
{
	struct hf_conf *c = hf_alloc(sizeof(*c));
	int ret;

	*out = NULL;
	if (!c)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	c->path = strdup(hf_conf_which(path));
	ret = c->path ? set_defaults(c) : -ENOMEM;
	if (ret) {
		hf_fail(err, HF_OK, ret, "out of memory");
		goto err_free;
	}
	ret = load_file(c, c->path, err);
	if (!ret)
		c->exists = true;
	else if (ret != -ENOENT)
		goto err_free;
	ret = load_dropins(c, err);
	if (!ret && !c->node_name)
		ret = host_name(c, err);
	if (!ret && strlen(c->runtime_dir) + strlen("/holdfastd.sock") > SUN_MAX)
		ret = hf_fail(err, HF_USAGE, -EINVAL,
			      "%s: [node] runtime_dir: %zu bytes are too long for a socket; at most %zu",
			      c->path, strlen(c->runtime_dir), SUN_MAX - strlen("/holdfastd.sock"));
	if (ret)
		goto err_free;
	*out = c;
	return 0;

err_free:
	hf_conf_free(c);
	return ret;
}

void hf_conf_free(struct hf_conf *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->nview; i++) {
		free(c->view[i].name);
		free(c->view[i].root);
	}
	free(c->view);
	free(c->path);
	free(c->node_name);
	free(c->root);
	free(c->state_dir);
	free(c->runtime_dir);
	free(c->key_file);
	free(c->hooks_dir);
	free(c->url);
	free(c->track_source);
	free(c->read_group);
	free(c->job_group);
	free(c);
}

char *hf_conf_socket(const struct hf_conf *c)
{
	return hf_strf("%s/holdfastd.sock", c->runtime_dir);
}

const char *hf_conf_view(const struct hf_conf *c, const char *view)
{
	if (!strcmp(view, "native"))
		return "/";
	for (unsigned i = 0; i < c->nview; i++)
		if (!strcmp(c->view[i].name, view))
			return c->view[i].root;
	/* where there is no alternate one, they are the default */
	return !strcmp(view, "32bit") || !strcmp(view, "64bit") ? "/" : NULL;
}

/* "disk:/x" and "/x" are the same store, and so are two names of one device */
bool hf_url_same(const char *a, const char *b)
{
	struct stat x, y;

	a += strncmp(a, "disk:", 5) ? 0 : 5;
	b += strncmp(b, "disk:", 5) ? 0 : 5;
	if (!strcmp(a, b))
		return true;
	if (a[0] != '/' || b[0] != '/' || stat(a, &x) || stat(b, &y))
		return false;
	if (S_ISBLK(x.st_mode) && S_ISBLK(y.st_mode))
		return x.st_rdev == y.st_rdev;
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int write_new(const char *path, const char *text, struct hf_err *err)
{
	char dir[PATH_MAX], *slash;
	int ret = 0;

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return hf_fail(err, HF_USAGE, -ENAMETOOLONG, "%s: the path is too long", path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = 0;
		ret = hf_mkdirs(dir, 0755);
	}
	if (!ret)
		ret = hf_write_file(path, text, strlen(text), 0644);
	return ret ? hf_fail(err, HF_OK, ret, "%s: the configuration cannot be written: %s", path,
			     strerror(-ret)) : 0;
}

int hf_conf_write(const char *path, const char *url, struct hf_err *err)
{
	struct hf_conf *c = NULL;
	char *text = NULL, *dropin = NULL;
	int ret;

	for (const char *s = url; *s; s++) {
		if ((unsigned char)*s < 0x20 || (*s == ';' && s != url && s[-1] == ' '))
			return hf_fail(err, HF_USAGE, -EINVAL,
				       "%s: a configuration file cannot hold this name; use another one, "
				       "for instance a link below /dev/disk/by-id", url);
	}
	ret = hf_conf_load(path, &c, err);
	if (ret)
		return ret;
	if (c->url && hf_url_same(c->url, url))
		goto out;
	if (c->url) {
		ret = hf_fail(err, HF_EXISTS, -EEXIST, "%s: names another store already: url = %s",
			      c->path, c->url);
		goto out;
	}
	text = hf_strf("# This node's part of Holdfast; see holdfast.conf(5).\n\n[store]\nurl = %s\n", url);
	dropin = hf_strf("%s.d/store.conf", c->path);
	if (!text || !dropin)
		ret = hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	else	/* what an administrator wrote is left as it is */
		ret = write_new(access(c->path, F_OK) ? c->path : dropin, text, err);
out:
	free(dropin);
	free(text);
	hf_conf_free(c);
	return ret;
}
