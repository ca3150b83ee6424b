// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The record of this node, for `report`: one line of JSON for each thing that happened, in
 * state_dir/record. When a file is full it is renamed to record.1, that one to record.2, and
 * so on; the last one goes.
 *
 * Lock: record_lock, a leaf but for the local disk, which is written and read under it.
 */
#include "account.h"
#include "notice.h"
#include "replicator.h"
#include "verbs.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (4u << 20)
#define FILES 4
#define LINE_MAX_BYTES 8192

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;

static char *file_of(unsigned i)
{
	return i ? hf_strf("%s/record.%u", hfd.conf->state_dir, i) : hf_strf("%s/record", hfd.conf->state_dir);
}

static void rotate(void)
{
	for (unsigned i = FILES - 1; i > 0; i--) {
		char *from = file_of(i - 1), *to = file_of(i);

		if (from && to && rename(from, to) && errno != ENOENT)
			hf_logf(HF_LOG_WARN, "%s cannot be renamed: %s", from, strerror(errno));
		free(from);
		free(to);
	}
}

/* A line that was cut off by a crash ends here, and is no line. */
static int append(const char *text, size_t n)
{
	char *path = file_of(0), last = '\n';
	struct stat st;
	int fd = -1, ret = -ENOMEM;

	if (!path)
		return ret;
	for (unsigned again = 0; again < 2; again++) {
		fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 || fstat(fd, &st) || st.st_size < FILE_MAX || again)
			break;
		close(fd);
		rotate();
	}
	ret = fd < 0 ? -errno : 0;
	if (!ret && st.st_size && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n')
		ret = write(fd, "\n", 1) == 1 ? 0 : -errno;
	if (!ret && write(fd, text, n) != (ssize_t)n)
		ret = errno ? -errno : -EIO;
	if (fd >= 0)
		close(fd);
	free(path);
	return ret;
}

void record_line(struct json_object *o)
{
	static bool told;
	const char *text;
	char *line;
	int ret;

	if (!o)
		return;
	ju64(o, "when_ms", hf_wall_ns() / 1000000);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	line = text && strlen(text) < LINE_MAX_BYTES - 1 ? hf_strf("%s\n", text) : NULL;
	pthread_mutex_lock(&record_lock);
	ret = line ? append(line, strlen(line)) : -EMSGSIZE;
	if (ret && !told)
		hf_logf(HF_LOG_WARN, "%s/record cannot be written: %s; `holdfast report` lacks what happens now",
			hfd.conf->state_dir, strerror(-ret));
	told = ret;
	pthread_mutex_unlock(&record_lock);
	free(line);
	json_object_put(o);
}

void record_state(const char *resource, const char *from, const char *to, const char *why)
{
	struct json_object *o = jobj();

	jstr(o, "kind", "state");
	jstr(o, "resource", resource);
	jstr(o, "from", from);
	jstr(o, "to", to);
	if (why)
		jstr(o, "why", why);
	record_line(o);
}

void record_unconfirmed(const char *resource, uint64_t gen, uint64_t count)
{
	struct json_object *o = jobj();

	jstr(o, "kind", "unconfirmed");
	jstr(o, "resource", resource);
	ju64(o, "generation", gen);
	ju64(o, "count", count);
	record_line(o);
}

/* What is refused without them, and verbs that take away what others may count on. */
static const char *const flags[] = { "fenced", "keep_local", "allow_empty", "without_store", "allow_delete", "force" };
static const char *const verbs[] = {
	"rollback", "resource.delete", "resource.reset", "resource.rebuild", "resource.force", "checkpoint.delete",
	"node.remove", "history.unpin", "displaced.restore",
};

static uint64_t number_in(const char *path)
{
	char *text = NULL;
	uint64_t n = UINT64_MAX;

	if (!hf_read_file(path, 64, &text, NULL))
		n = strtoull(text, NULL, 10);
	free(text);
	return n;
}

/* Whoever asks may end before it is done. */
static void whose(const struct req *q, char out[128])
{
	char path[64], *comm = NULL;
	uint64_t login;

	snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)q->pid);
	login = number_in(path);
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)q->pid);
	if (!hf_read_file(path, 64, &comm, NULL))
		comm[strcspn(comm, "\n")] = '\0';
	who_name(q->uid, login < (uid_t)-1 ? (uid_t)login : (uid_t)-1, q->pid, comm ? comm : "?", out);
	free(comm);
}

void record_forced_begin(struct req *q)
{
	struct hf_buf b = HF_BUF_INIT;
	bool is = false;
	const char *v = q->verb->name, *what[] = { "resource", "name", "path", "id" };
	struct json_object *list;

	if (jget_bool(q->args, "dry_run"))
		return;
	for (unsigned i = 0; i < HF_ARRAY(verbs); i++)
		is |= !strcmp(v, verbs[i]);
	/* that one leaves all as it is: it is to look at */
	if (!strcmp(v, "displaced.restore") && jget_str(q->args, "to"))
		is = false;
	for (const char *p = v; *p; p++)
		hf_buf_u8(&b, *p == '.' ? ' ' : *p);
	for (unsigned i = 0; i < HF_ARRAY(what); i++)
		if (jget_str(q->args, what[i])) {
			char *text = hf_printable(jget_str(q->args, what[i]), strnlen(jget_str(q->args, what[i]), 256));

			hf_buf_put(&b, " ", 1);
			hf_buf_put(&b, text ? text : "", text ? strlen(text) : 0);
			free(text);
		}
	if (!strcmp(v, "rollback") && jget_u64(q->args, "to")) {
		char to[40];

		hf_buf_put(&b, to, snprintf(to, sizeof(to), " --to %llu", (unsigned long long)jget_u64(q->args, "to")));
	}
	if (q->args && json_object_object_get_ex(q->args, "resources", &list))
		for (size_t i = 0; i < json_object_array_length(list) && i < 8; i++) {
			const char *s = json_object_get_string(json_object_array_get_idx(list, i));
			char *text = hf_printable(s, strnlen(s, HF_NAME_MAX));

			hf_buf_put(&b, " ", 1);
			hf_buf_put(&b, text ? text : "", text ? strlen(text) : 0);
			free(text);
		}
	for (unsigned i = 0; i < HF_ARRAY(flags); i++) {
		if (!jget_bool(q->args, flags[i]))
			continue;
		is = true;
		hf_buf_put(&b, " --", 3);
		for (const char *p = flags[i]; *p; p++)
			hf_buf_u8(&b, *p == '_' ? '-' : *p);
	}
	hf_buf_u8(&b, 0);
	if (is && !b.bad) {
		q->forced = strdup((char *)b.p);
		whose(q, q->who);
		notice(N_FORCED, HF_LOG_WARN, jget_str(q->args, strncmp(v, "resource.", 9) ? "resource" : "name"), "AUDIT: %s, by %s", q->forced ? q->forced : v,
		       q->who);
	}
	hf_buf_free(&b);
}

void record_forced_end(struct req *q)
{
	struct json_object *o;

	if (!q->forced)
		return;
	o = jobj();
	jstr(o, "kind", "forced");
	jstr(o, "resource", jget_str(q->args, strncmp(q->verb->name, "resource.", 9) ? "resource" : "name"));
	jstr(o, "what", q->forced);
	jbytes(o, "who", q->who);
	ju64(o, "exit", q->ret ? (q->err.exit ? q->err.exit : hf_exit_of(q->ret)) : 0);
	if (q->ret)
		jbytes(o, "why", q->err.msg);
	record_line(o);
	free(q->forced);
	q->forced = NULL;
}

static int each_of(FILE *f, uint64_t from, uint64_t to, int (*fn)(void *ctx, struct json_object *o), void *ctx)
{
	char line[LINE_MAX_BYTES];
	int ret = 0;

	while (!ret && fgets(line, sizeof(line), f)) {
		struct json_object *o = strchr(line, '\n') ? json_tokener_parse(line) : NULL;
		uint64_t when = jget_u64(o, "when_ms");

		if (json_object_is_type(o, json_type_object) && when >= from && when <= to)
			ret = fn(ctx, o);
		json_object_put(o);
	}
	return ret;
}

int record_each(uint64_t from, uint64_t to, int (*fn)(void *ctx, struct json_object *o), void *ctx)
{
	FILE *f[FILES];
	int ret = 0;

	/* opened together, so that a rotation meanwhile neither shows a line twice nor hides it */
	pthread_mutex_lock(&record_lock);
	for (unsigned i = 0; i < FILES; i++) {
		char *path = file_of(i);

		f[i] = path ? fopen(path, "re") : NULL;
		free(path);
	}
	pthread_mutex_unlock(&record_lock);
	for (unsigned i = FILES; i-- > 0;) {
		if (f[i] && !ret)
			ret = each_of(f[i], from, to, fn, ctx);
		if (f[i])
			fclose(f[i]);
	}
	return ret;
}
