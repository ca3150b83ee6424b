// SPDX-License-Identifier: LGPL-2.1-or-later
/* The client's side of the daemon's socket: one request, its events, its reply. */
#include "conf.h"
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX (1u << 20)
#define LINE_MAX_BYTES (256u << 20)	/* a diff of a whole tree is one line */
#define READ_STEP (64u << 10)

struct hf_conn {
	int fd;			/* -1 once the conversation is out of step */
	char *path;
	struct hf_buf in;
	size_t start;		/* of the first line that was not handed out */
	size_t looked;		/* how far behind it there is no newline */
};

static int no_daemon(struct hf_err *err, const char *path, int ret)
{
	return hf_fail(err, HF_NODAEMON, ret,
		       "no daemon answers at %s (%s); start it with: systemctl start holdfastd, or "
		       "holdfastd -c FILE", path, strerror(-ret));
}

int hf_connect(const char *conf, struct hf_conn **out, struct hf_err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct hf_conf *cf;
	struct hf_conn *c;
	int ret;

	*out = NULL;
	ret = hf_conf_load(conf, &cf, err);
	if (ret)
		return ret;
	/* with the defaults it would be another daemon that answers than the one that is meant */
	if (!cf->exists && strcmp(cf->path, HF_CONF_DEFAULT)) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "there is no configuration %s, which -c or HOLDFAST_CONF names", cf->path);
		hf_conf_free(cf);
		return ret;
	}
	c = hf_alloc(sizeof(*c));
	if (c) {
		c->fd = -1;
		c->path = hf_conf_socket(cf);
	}
	hf_conf_free(cf);
	if (!c || !c->path) {
		ret = hf_fail(err, HF_OK, -ENOMEM, "out of memory");
		goto err_free;
	}
	if (strlen(c->path) >= sizeof(sa.sun_path)) {
		ret = hf_fail(err, HF_USAGE, -ENAMETOOLONG, "%s: too long for a socket", c->path);
		goto err_free;
	}
	strcpy(sa.sun_path, c->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		ret = hf_fail(err, HF_FAILED, -errno, "no socket can be made: %s", strerror(errno));
		goto err_free;
	}
	while (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa))) {
		ret = -errno;
		if (ret == -EINTR)
			continue;
		if (ret == -EACCES || ret == -EPERM)
			hf_fail(err, HF_PERM, ret, "%s may not be opened: only root may, and members of "
				"read_group for reading ([access] in the configuration)", c->path);
		else
			no_daemon(err, c->path, ret);
		goto err_free;
	}
	*out = c;
	return 0;

err_free:
	hf_disconnect(c);
	return ret;
}

static void hang_up(struct hf_conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void hf_disconnect(struct hf_conn *c)
{
	if (!c)
		return;
	hang_up(c);
	hf_buf_free(&c->in);
	free(c->path);
	free(c);
}

static int request_text(const char *verb, const char *args, struct json_object **out, struct hf_err *err)
{
	struct json_object *o, *a;
	int ret = 0;

	a = args ? json_tokener_parse(args) : json_object_new_object();
	o = json_object_new_object();
	if (!a || !o || !json_object_is_type(a, json_type_object)) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s: the arguments are not a JSON object", verb);
		json_object_put(a);
		json_object_put(o);
		return ret;
	}
	json_object_object_add(o, "v", json_object_new_int(1));
	json_object_object_add(o, "verb", json_object_new_string(verb));
	json_object_object_add(o, "args", a);
	*out = o;
	return 0;
}

static int send_all(struct hf_conn *c, const char *p, size_t n)
{
	while (n) {
		ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		n -= r;
	}
	return 0;
}

/* The next line without its newline; valid until the next call. -EPIPE: the daemon hung up. */
static int next_line(struct hf_conn *c, char **line)
{
	for (;;) {
		size_t from = c->start + c->looked;
		char *nl = c->in.len > from ? memchr(c->in.p + from, '\n', c->in.len - from) : NULL;
		ssize_t r;

		if (nl) {
			*nl = 0;
			*line = (char *)c->in.p + c->start;
			c->start = (uint8_t *)nl + 1 - c->in.p;
			c->looked = 0;
			return 0;
		}
		if (c->start) {
			memmove(c->in.p, c->in.p + c->start, c->in.len - c->start);
			c->in.len -= c->start;
			c->start = 0;
		}
		c->looked = c->in.len;
		if (c->in.len > LINE_MAX_BYTES)
			return -EMSGSIZE;
		if (hf_buf_room(&c->in, READ_STEP))
			return -ENOMEM;
		r = recv(c->fd, c->in.p + c->in.len, READ_STEP, 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		if (!r)
			return -EPIPE;
		c->in.len += r;
	}
}

/* The error of a reply that says no. What it says of itself is checked: the
 * caller's exit code and errno come from here. */
static int reply_error(struct json_object *o, int exit, const char *verb, struct hf_err *err)
{
	struct json_object *v;
	const char *msg = "the daemon gave no reason";
	int ret = -EIO;

	if (json_object_object_get_ex(o, "errno", &v) && json_object_is_type(v, json_type_int)) {
		int e = json_object_get_int(v);

		e = e < 0 ? -e : e;
		if (e > 0 && e < 4096)
			ret = -e;
	}
	if (json_object_object_get_ex(o, "error", &v) && json_object_is_type(v, json_type_string) &&
	    *json_object_get_string(v))
		msg = json_object_get_string(v);
	else
		return hf_fail(err, exit, ret, "%s: %s", verb, msg);
	return hf_fail(err, exit, ret, "%s", msg);
}

/* 1: an event, go on; 0: the reply was good; negative: the end */
static int one_answer(struct hf_conn *c, const char *verb, const char *line, hf_event_fn event,
		      void *arg, char **result, struct hf_err *err)
{
	struct json_object *o = json_tokener_parse(line), *v;
	int ret, exit;

	if (json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, "event", NULL)) {
		ret = event ? event(arg, line) : 0;
		if (!ret) {
			ret = 1;
			goto out;
		}
		hang_up(c);
		ret = hf_fail(err, HF_FAILED, -ECANCELED, "%s: given up; what the daemon has begun goes on",
			      verb);
		goto out;
	}
	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, "exit", &v) ||
	    !json_object_is_type(v, json_type_int)) {
		hang_up(c);
		ret = hf_fail(err, HF_FAILED, -EPROTO, "%s: what answers at %s is not holdfastd", verb, c->path);
		goto out;
	}
	exit = json_object_get_int(v);
	if (exit) {
		ret = reply_error(o, exit > HF_OK && exit <= HF_NODAEMON ? exit : HF_FAILED, verb, err);
		goto out;
	}
	ret = 0;
	if (result) {
		if (!json_object_object_get_ex(o, "result", &v))
			v = NULL;
		*result = strdup(v ? json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN |
								       JSON_C_TO_STRING_NOSLASHESCAPE) : "{}");
		if (!*result)
			ret = hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	}
out:
	json_object_put(o);
	return ret;
}

int hf_call(struct hf_conn *c, const char *verb, const char *args, hf_event_fn event, void *arg,
	    char **result, struct hf_err *err)
{
	struct json_object *req = NULL;
	const char *text;
	char *line = NULL;
	size_t len;
	int ret, sent;

	if (result)
		*result = NULL;
	if (c->fd < 0)
		return hf_fail(err, HF_NODAEMON, -ENOTCONN, "%s: the connection has ended; connect again", verb);
	ret = request_text(verb, args, &req, err);
	if (ret)
		return ret;
	text = json_object_to_json_string_length(req, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
						 &len);
	if (!text || len + 1 > REQUEST_MAX) {
		ret = hf_fail(err, HF_USAGE, -EMSGSIZE, "%s: the arguments are longer than 1 MiB", verb);
		goto out;
	}
	sent = send_all(c, text, len);
	if (!sent)
		sent = send_all(c, "\n", 1);
	/* a daemon that refuses hangs up early; what it said before still tells why */
	do {
		ret = next_line(c, &line);
		if (!ret)
			ret = one_answer(c, verb, line, event, arg, result, err);
		else {
			hang_up(c);
			if (ret == -EPIPE)
				hf_fail(err, HF_NODAEMON, ret, "%s: the daemon at %s went away before it "
					"answered%s; see its journal (journalctl -u holdfastd)", verb, c->path,
					sent ? ", and did not read the request" : "");
			else
				hf_fail(err, HF_FAILED, ret, "%s: the answer from %s cannot be read: %s", verb,
					c->path, strerror(-ret));
		}
	} while (ret > 0);
out:
	json_object_put(req);
	return ret;
}
