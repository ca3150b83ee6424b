/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that keeps its own configuration with the service it belongs to:
 *
 *	cc -o example example.c $(pkg-config --cflags --libs holdfast)
 *	example RESOURCE DIRECTORY
 *
 * registers DIRECTORY, takes the resource over, tells what it keeps, waits until what is there is
 * confirmed, and gives it back. C++ compilers take it as well.
 */
#include <holdfast.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what, const struct hf_err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->msg);
	return err->exit;
}

static int progress(void *arg, const char *json)
{
	(void)arg;
	fprintf(stderr, "%s\n", json);
	return 0;
}

/* The list fits, or the call says how much room it takes; others may add to it in between. */
static int list(struct hf_conn *c, const char *resource, struct hf_err *err)
{
	size_t size = 0, room;
	char *buf = NULL, *bigger;
	int ret;

	do {
		room = size;
		bigger = (char *)realloc(buf, room + 1);
		if (!bigger) {
			free(buf);
			return -ENOMEM;
		}
		buf = bigger;
		ret = hf_checkpoint_list(c, resource, buf, &size, err);
	} while (ret == -ERANGE);
	for (char *path = buf; !ret && *path; path += strlen(path) + 1)
		printf("keeps %s\n", path);
	free(buf);
	return ret;
}

int main(int argc, char **argv)
{
	struct hf_resource_state state;
	struct hf_err err;
	struct hf_conn *c;
	uint64_t generation = 0;
	int ret;

	memset(&err, 0, sizeof(err));
	if (argc != 3) {
		fprintf(stderr, "usage: %s RESOURCE DIRECTORY\n", argv[0]);
		return HF_USAGE;
	}
	if (hf_connect(NULL, &c, &err))
		return failed("connect", &err);

	ret = hf_resource_add(c, argv[1], "example", &err);
	if (ret && err.exit != HF_EXISTS)
		goto out;
	ret = hf_checkpoint_add(c, argv[1], argv[2], NULL, 0, NULL, 0, NULL, &err);
	if (ret && err.exit != HF_EXISTS)
		goto out;
	ret = hf_online(c, argv[1], 0, 60000, progress, NULL, &generation, &err);
	if (ret)
		goto out;
	printf("online with generation %llu\n", (unsigned long long)generation);

	ret = list(c, argv[1], &err);
	if (!ret)
		ret = hf_sync(c, (const char *const *)&argv[1], 1, 0, &generation, &err);
	if (!ret)
		ret = hf_resource_stat(c, argv[1], &state, sizeof(state), &err);
	if (!ret)
		printf("%s on %s, confirmed %llu\n", state.state, state.owner, (unsigned long long)state.confirmed);
	if (!ret)
		ret = hf_offline(c, argv[1], 0, &generation, NULL, &err);
out:
	hf_disconnect(c);
	return ret ? failed(argv[1], &err) : 0;
}
