// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast.conf: what is right, and every kind of wrong with its file and line. */
#include "../tap.h"
#include "conf.h"
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/hf-conf-XXXXXX";
static char file[256];

static void put(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		exit(1);
}

static void good(void)
{
	struct hf_err err = { 0 };
	struct hf_conf *c = NULL;
	char *s;

	put("a.conf", "\xef\xbb\xbf; a comment\n# another\n"
	    "[node]\nname = alpha ; inline\n   root = /srv/root/\nstate_dir=/s\nruntime_dir = /r\n"
	    "key_file = /k\nhooks_dir = /h\n[store]\nurl = disk:/dev/disk/by-id/x\n"
	    "[track]\nsource = fanotify\nrequire = kernel\nscrub = 2m\n"
	    "[view]\n32bit = /srv/compat32\nodd = /\n[access]\nread_group = adm\njob_group =\n"
	    "[displaced]\nkeep = 12h\nsize = 64MiB\n[standby]\nmemory = 0\nrate = 1MiB");
	is(hf_conf_load(file, &c, &err), 0, "a complete file is read");
	if (!c) {
		printf("# %s\n", err.msg);
		return;
	}
	ok(c->exists && !strcmp(c->path, file), "it is there, under its name");
	ok(!strcmp(c->node_name, "alpha"), "an inline comment is no part of a value");
	ok(!strcmp(c->root, "/srv/root"), "an indented key is a key; a trailing slash goes");
	ok(!strcmp(c->state_dir, "/s") && !strcmp(c->key_file, "/k") && !strcmp(c->hooks_dir, "/h"), "places");
	ok(!strcmp(c->url, "disk:/dev/disk/by-id/x"), "url");
	ok(!strcmp(c->track_source, "fanotify") && c->require_kernel && c->scrub_s == 120, "track");
	ok(c->nview == 2 && !strcmp(hf_conf_view(c, "32bit"), "/srv/compat32") &&
	   !strcmp(hf_conf_view(c, "native"), "/") && !strcmp(hf_conf_view(c, "64bit"), "/") &&
	   !strcmp(hf_conf_view(c, "odd"), "/") && !hf_conf_view(c, "none"), "views: 64bit is the default one here");
	ok(c->read_group && !strcmp(c->read_group, "adm") && !c->job_group, "an empty group is none");
	ok(c->displaced_keep_s == 43200 && c->displaced_bytes == 64 << 20, "displaced");
	ok(c->standby_bytes == 0 && c->standby_rate == 1 << 20, "standby");
	s = hf_conf_socket(c);
	ok(s && !strcmp(s, "/r/holdfastd.sock"), "socket");
	free(s);
	hf_conf_free(c);
}

static void defaults(void)
{
	struct hf_err err = { 0 };
	struct hf_conf *c = NULL;
	char path[300];

	snprintf(path, sizeof(path), "%s/none.conf", dir);
	is(hf_conf_load(path, &c, &err), 0, "a missing file gives the defaults");
	if (c)
		ok(!c->exists && !c->url && !strcmp(c->root, "/") && c->node_name[0] && c->scrub_s == 60 &&
		   !strcmp(c->track_source, "auto") && c->displaced_keep_s == 30 * 86400 &&
		   c->displaced_bytes == 1 << 30, "and says that there is none");
	hf_conf_free(c);
	setenv("HOLDFAST_CONF", path, 1);
	is(hf_conf_load(NULL, &c, &err), 0, "HOLDFAST_CONF is the default");
	ok(c && !strcmp(c->path, path), "by its name");
	hf_conf_free(c);
	unsetenv("HOLDFAST_CONF");
}

static void dropins(void)
{
	struct hf_err err = { 0 };
	struct hf_conf *c = NULL;
	char d[300];

	put("a.conf", "[node]\nname = alpha\nroot = /one\n");
	snprintf(d, sizeof(d), "%s/a.conf.d", dir);
	mkdir(d, 0755);
	put("a.conf.d/20-b.conf", "[node]\nroot = /three\n");
	put("a.conf.d/10-a.conf", "[node]\nroot = /two\n[store]\nurl=disk:/x\n");
	put("a.conf.d/notes.txt", "nonsense");
	put("a.conf.d/.hidden.conf", "nonsense");
	is(hf_conf_load(file, &c, &err), 0, "drop-ins are read");
	ok(c && !strcmp(c->root, "/three") && c->url && !strcmp(c->node_name, "alpha"), "in order, the last one counts");
	hf_conf_free(c);
	put("a.conf.d/30-c.conf", "[node]\n\nrot = /x\n");
	is(hf_conf_load(file, &c, &err), -EINVAL, "an error in a drop-in is one");
	ok(strstr(err.msg, "a.conf.d/30-c.conf:3: [node] rot:"), "with its file and line");
	snprintf(d, sizeof(d), "rm -rf %s/a.conf.d", dir);
	if (system(d))
		exit(1);
}

static void wrong(void)
{
	static const struct { const char *text, *where; } t[] = {
		{ "[node]\nnaem = x\n", ":2: [node] naem: unknown key" },
		{ "[nod]\nname = x\n", ":2: [nod] name: unknown section" },
		{ "name = x\n", ":1: [] name: unknown section" },
		{ "[node]\nname = x\n\n\nname\n", ":5: neither" },
		{ "[node\nname = x\n", ":1: neither" },
		{ "[node]\nname = a/b\n", ":2: [node] name: 'a/b' is not a name" },
		{ "[node]\nname =\n", ":2: [node] name:" },
		{ "[node]\nname = a\nname = b\n", ":3: [node] name:" },
		{ "[node]\nroot = srv\n", ":2: [node] root: 'srv' is not an absolute path" },
		{ "[store]\n\nurl = disk:x\n", ":3: [store] url:" },
		{ "[store]\nurl = ftp://x\n", ":2: [store] url:" },
		{ "[store]\nurl =\n", ":2: [store] url:" },
		{ "[track]\nsource = inotify\n", ":2: [track] source: 'inotify' is not a source" },
		{ "[track]\nrequire = yes\n", ":2: [track] require:" },
		{ "[track]\nscrub = 60\n", ":2: [track] scrub: '60' is not a duration" },
		{ "[track]\nscrub = 5ms\n", ":2: [track] scrub: '5ms' is out of range" },
		{ "[track]\nscrub = 99999999999999999999d\n", ":2: [track] scrub:" },
		{ "[view]\nnative = /x\n", ":2: [view] native:" },
		{ "[view]\n32bit = x\n", ":2: [view] 32bit:" },
		{ "[view]\n32bit = /x/../y\n", ":2: [view] 32bit:" },
		{ "[access]\nread_group = a b\n", ":2: [access] read_group:" },
		{ "[displaced]\nkeep = forever\n", ":2: [displaced] keep: 'forever' is not a duration" },
		{ "[displaced]\nsize = 1 GiB\n", ":2: [displaced] size:" },
		{ "[displaced]\nsize = -1\n", ":2: [displaced] size:" },
		{ "[standby]\nmemory = much\n", ":2: [standby] memory:" },
		{ "[standby]\nrate = 1kB\n", ":2: [standby] rate:" },
		{ "[node]\nname = \x01\xff\n", ":2: [node] name: '\\x01\\xff'" },
	};
	struct hf_conf *c;

	for (size_t i = 0; i < HF_ARRAY(t); i++) {
		struct hf_err err = { 0 };
		char want[400];

		put("a.conf", t[i].text);
		snprintf(want, sizeof(want), "%s%s", file, t[i].where);
		if (!ok(hf_conf_load(file, &c, &err) == -EINVAL && !c && err.exit == HF_USAGE &&
			!strncmp(err.msg, want, strlen(want)), "refused%s", t[i].where))
			printf("# %s\n", err.msg);
		hf_conf_free(c);
	}
}

static void hostile(void)
{
	struct hf_err err = { 0 };
	struct hf_conf *c;
	static char big[3 << 20];
	char path[300];
	int fd;

	memset(big, 'x', 5000);
	put("a.conf", big);
	ok(hf_conf_load(file, &c, &err) == -EINVAL && strstr(err.msg, ":1: the line is longer"), "an endless line");
	memset(big, 'x', sizeof(big) - 1);
	put("a.conf", big);
	ok(hf_conf_load(file, &c, &err) && err.exit == HF_USAGE, "an endless file");
	fd = open(file, O_WRONLY | O_TRUNC);
	ok(write(fd, "[node]\n\0name = x\n", 17) == 17 && hf_conf_load(file, &c, &err) == -EINVAL, "NUL bytes");
	close(fd);
	is(hf_conf_load(dir, &c, &err), -EISDIR, "a directory");
	snprintf(path, sizeof(path), "[node]\nruntime_dir = /%0150d\n", 0);
	put("a.conf", path);
	ok(hf_conf_load(file, &c, &err) == -EINVAL && strstr(err.msg, "too long for a socket"), "no room in a socket's name");
	srand(1);
	for (int i = 0; i < 2000; i++) {
		static const char alphabet[] = "[]=;: \n\n\t#nodestorviewkeyurl/0123ms\x01\xc3\xa4\xff";
		char text[200];
		int n = rand() % 199;

		for (int k = 0; k < n; k++)
			text[k] = alphabet[rand() % (sizeof(alphabet) - 1)];
		text[n] = 0;
		put("a.conf", text);
		if (!hf_conf_load(file, &c, &err))
			hf_conf_free(c);
	}
	ok(1, "2000 files of noise");
}

static void writing(void)
{
	struct hf_err err = { 0 };
	struct hf_conf *c = NULL;
	char path[300];

	snprintf(path, sizeof(path), "%s/new/dir/x.conf", dir);
	is(hf_conf_write(path, "disk:/dev/x", &err), 0, "a new file is written");
	ok(!hf_conf_load(path, &c, &err) && c->exists && !strcmp(c->url, "disk:/dev/x"), "and names the store");
	hf_conf_free(c);
	is(hf_conf_write(path, "/dev/x", &err), 0, "the same store again is no change");
	ok(hf_conf_write(path, "disk:/dev/y", &err) == -EEXIST && err.exit == HF_EXISTS, "another one is refused");
	put("a.conf", "[node]\nname = alpha\n");
	is(hf_conf_write(file, "disk:/dev/x", &err), 0, "a file without a store gets a drop-in");
	ok(!hf_conf_load(file, &c, &err) && c->url && !strcmp(c->node_name, "alpha"), "and keeps what was in it");
	hf_conf_free(c);
	is(hf_conf_write(file, "disk:/dev/x\n[node]", &err), -EINVAL, "a name that would be more than one line is refused");
}

int main(void)
{
	char cmd[300];

	if (!mkdtemp(dir))
		return 1;
	snprintf(file, sizeof(file), "%s/a.conf", dir);
	good();
	defaults();
	dropins();
	wrong();
	hostile();
	writing();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		return 1;
	return tap_done();
}
