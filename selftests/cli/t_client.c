// SPDX-License-Identifier: GPL-2.0-or-later
/* The client's framing against a server that says whatever a test wants. */
#include "../tap.h"
#include "base.h"
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/hf-client-XXXXXX";
static char conf[256];

struct script {
	const char *say;	/* | ends a send(); ! hangs up */
	size_t flood;		/* instead: that many bytes without a newline, then a reply */
	bool deaf;		/* answers before it reads, and never reads */
	char got[4096];
};

static int listener = -1;

static void *serve(void *arg)
{
	struct script *s = arg;
	int fd = accept(listener, NULL, NULL);
	ssize_t n = 0, r;

	while (!s->deaf && n < (ssize_t)sizeof(s->got) - 1 && !strchr(s->got, '\n')) {
		r = recv(fd, s->got + n, sizeof(s->got) - 1 - n, 0);
		if (r <= 0)
			break;
		n += r;
		s->got[n] = 0;
	}
	for (const char *p = s->say; p && *p && *p != '!'; ) {
		size_t len = strcspn(p, "|!");

		if (send(fd, p, len, MSG_NOSIGNAL) < 0)
			break;
		p += len;
		if (*p == '|') {
			p++;
			hf_sleep_ms(3);
		}
	}
	if (s->flood) {
		char *junk = malloc(s->flood);

		memset(junk, 'x', s->flood);
		for (size_t k = 0; k < s->flood; k += r) {
			r = send(fd, junk + k, s->flood - k, MSG_NOSIGNAL);
			if (r <= 0)
				break;
		}
		free(junk);
		send(fd, "\"}}\n", 4, MSG_NOSIGNAL);
	}
	close(fd);
	return NULL;
}

static int events, stop_at;
static int on_event(void *arg, const char *json)
{
	(void)arg;
	events += strstr(json, "\"event\"") != NULL;
	return stop_at && events >= stop_at;
}

static int talk(struct script *s, const char *args, char **result, struct hf_err *err)
{
	struct hf_conn *c = NULL;
	pthread_t t;
	int ret;

	*err = (struct hf_err){ 0 };
	events = 0;
	pthread_create(&t, NULL, serve, s);
	ret = hf_connect(conf, &c, err);
	if (ret) {
		printf("# no connection: %s\n", err->msg);
		exit(1);
	}
	ret = hf_call(c, "status", args, on_event, NULL, result, err);
	pthread_join(t, NULL);
	hf_disconnect(c);
	return ret;
}

static void framing(void)
{
	struct script s = { .say = "{\"exit\":0,\"result\":{\"a\":1}}\n" };
	struct hf_err err;
	char *r = NULL;

	is(talk(&s, "{\"x\":\"y\"}", &r, &err), 0, "a reply");
	ok(r && !strcmp(r, "{\"a\":1}"), "its result");
	ok(!strcmp(s.got, "{\"v\":1,\"verb\":\"status\",\"args\":{\"x\":\"y\"}}\n"), "the request is one line");
	free(r);

	s = (struct script){ .say = "{\"ev|ent\":\"pro|gress\"}\n{\"event\"|:\"x\"}|\n|{\"exit\":|0,\"result\":|{}}|\n" };
	ok(!talk(&s, NULL, &r, &err) && events == 2 && r && !strcmp(r, "{}"), "split lines, two events, then the reply");
	free(r);

	s = (struct script){ .say = "{\"event\":\"a\"}\n{\"event\":\"b\"}\n{\"exit\":0}\n" };
	ok(!talk(&s, NULL, &r, &err) && events == 2 && r, "all in one piece; no result is an empty one");
	free(r);

	s = (struct script){ .say = "{\"exit\":0,\"result\":{\"s\":\"", .flood = 5 << 20 };
	ok(!talk(&s, NULL, &r, &err) && r && strlen(r) == (5 << 20) + 8, "a reply of 5 MiB");
	free(r);
}

static void errors(void)
{
	struct script s = { .say = "{\"exit\":5,\"errno\":16,\"error\":\"pg is online on alpha\"}\n" };
	struct hf_err err;
	char *r = NULL;

	ok(talk(&s, NULL, &r, &err) == -EBUSY && err.exit == HF_REFUSED && !strcmp(err.msg, "pg is online on alpha") && !r,
	   "an error with its class and sentence");
	s = (struct script){ .say = "{\"exit\":77,\"errno\":-99999999}\n" };
	ok(talk(&s, NULL, &r, &err) == -EIO && err.exit == HF_FAILED && err.msg[0], "an error that makes no sense");
	s = (struct script){ .say = "{\"exit\":6,\"errno\":\"x\",\"error\":{}}\n" };
	ok(talk(&s, NULL, &r, &err) == -EIO && err.exit == HF_STALE && err.msg[0], "ill-typed members");

	static const char *const garbage[] = {
		"hello\n", "\n", "[]\n", "{}\n", "{\"exit\":\"0\"}\n", "{\"exit\":0\n", "null\n", "\xff\xfe\n", "42\n",
		"{\"event\":1}\nSSH-2.0\n",
		"{\"exit\":0,\"result\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
	};
	for (size_t i = 0; i < HF_ARRAY(garbage); i++) {
		s = (struct script){ .say = garbage[i] };
		ok(talk(&s, NULL, &r, &err) == -EPROTO && err.exit == HF_FAILED && strstr(err.msg, "not holdfastd") && !r,
		   "garbage %zu", i);
	}
	s = (struct script){ .say = "!" };
	ok(talk(&s, NULL, &r, &err) == -EPIPE && err.exit == HF_NODAEMON && err.msg[0], "an early end");
	s = (struct script){ .say = "{\"exit\":0,\"resu!" };
	ok(talk(&s, NULL, &r, &err) == -EPIPE && err.exit == HF_NODAEMON && !r, "an end within the reply");
	s = (struct script){ .say = "{\"exit\":9,\"errno\":1,\"error\":\"no\"}\n!", .deaf = true };
	ok(talk(&s, NULL, &r, &err) == -EPERM && err.exit == HF_PERM, "refused before the request was read");

	stop_at = 1;
	s = (struct script){ .say = "{\"event\":\"a\"}\n{\"event\":\"b\"}\n{\"exit\":0}\n" };
	ok(talk(&s, NULL, &r, &err) == -ECANCELED && events == 1 && !r, "the caller gives up at an event");
	stop_at = 0;
}

static void arguments(void)
{
	struct hf_conn *c = NULL;
	struct hf_err err = { 0 };
	struct script s = { .say = "!" };
	char *big = malloc(2 << 20);
	pthread_t t;

	pthread_create(&t, NULL, serve, &s);
	is(hf_connect(conf, &c, &err), 0, "connected");
	is(hf_call(c, "x", "[1]", NULL, NULL, NULL, &err), -EINVAL, "arguments that are no object");
	is(hf_call(c, "x", "{", NULL, NULL, NULL, &err), -EINVAL, "arguments that are no JSON");
	memset(big, 'x', 2 << 20);
	memcpy(big, "{\"a\":\"", 6);
	strcpy(big + (2 << 20) - 3, "\"}");
	ok(hf_call(c, "x", big, NULL, NULL, NULL, &err) == -EMSGSIZE && err.exit == HF_USAGE, "arguments of 2 MiB");
	ok(hf_call(c, "x", NULL, NULL, NULL, NULL, &err) == -EPIPE, "the connection ends");
	ok(hf_call(c, "x", NULL, NULL, NULL, NULL, &err) == -ENOTCONN && err.exit == HF_NODAEMON, "and stays so");
	pthread_join(t, NULL);
	hf_disconnect(c);
	hf_disconnect(NULL);
	free(big);
}

int main(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct hf_conn *c = NULL;
	struct hf_err err = { 0 };
	char cmd[300];
	FILE *f;

	if (!mkdtemp(dir))
		return 1;
	snprintf(conf, sizeof(conf), "%s/x.conf", dir);
	f = fopen(conf, "w");
	fprintf(f, "[node]\nname = n\nruntime_dir = %s\n", dir);
	fclose(f);
	ok(hf_connect(conf, &c, &err) == -ENOENT && !c && err.exit == HF_NODAEMON && strstr(err.msg, "start it"),
	   "no socket: no daemon, and what to do");
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/holdfastd.sock", dir);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)))
		return 1;
	ok(hf_connect(conf, &c, &err) == -ECONNREFUSED && err.exit == HF_NODAEMON, "nobody listens: no daemon");
	if (listen(listener, 4))
		return 1;
	framing();
	errors();
	arguments();
	close(listener);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		return 1;
	return tap_done();
}
