/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the family have in common: a tree of their own, and its consumer. */
#ifndef HF_NLTREE_H
#define HF_NLTREE_H
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../tap.h"
#include "track_nl.h"

__attribute__((unused))
static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}
#define must(x) do { if ((x) < 0) die(#x); } while (0)

__attribute__((unused))
static void begin_module(struct hf_nl *nl)
{
	struct hf_err err = { 0 };

	printf("TAP version 13\n");
	fflush(stdout);
	if (system("modprobe holdfast") || hf_nl_open(nl, &err)) {
		printf("Bail out! the module: %s\n", err.msg);
		exit(1);
	}
}

__attribute__((unused))
static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, "x", 1) != 1 || close(fd))
		die(path);
}

static int note_id(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	*(uint32_t *)ctx = m.tree;
	return ret;
}

__attribute__((unused))
static void put_spec(struct nlmsghdr *h, int rootfd, const char *path, const char *consumer)
{
	mnl_attr_put_u32(h, HOLDFAST_A_ROOT_FD, rootfd);
	mnl_attr_put_strz(h, HOLDFAST_A_RESOURCE, "test");
	mnl_attr_put(h, HOLDFAST_A_PATH, strlen(path), path);
	mnl_attr_put_strz(h, HOLDFAST_A_CONSUMER, consumer);
}

/* Registers the directory @path, or takes it over; nothing below it is marked. */
__attribute__((unused))
static uint32_t tree_add(struct hf_nl *nl, const char *path, const char *consumer)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	uint32_t id = 0;

	must(fd);
	put_spec(hf_nl_begin(nl, HOLDFAST_CMD_TREE_ADD), fd, path, consumer);
	ret = hf_nl_call(nl, false, note_id, &id);
	close(fd);
	errno = -ret;
	must(ret);
	return id;
}

/* The same with all that is below it. */
__attribute__((unused))
static uint32_t tree_add_all(struct hf_nl *nl, const char *path, const char *consumer)
{
	uint32_t id = tree_add(nl, path, consumer);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	bool skipped = false;

	must(fd);
	/* somebody who makes a name in it may be kept from the processor */
	do
		ret = hf_nl_walk(nl, id, fd, "", &skipped);
	while (ret == -EAGAIN);
	close(fd);
	errno = -ret;
	must(ret);
	return id;
}
#endif
