// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stores: what processes store to files that they have mapped (X2).
 *
 *	stores NAME=DIR[,mapped|,unseen][,big=MB][,rounds=N]...
 *
 * For each NAME, below DIR: a store into a page that was cleaned is noted, under
 * the names that the file has in the tree, and a captured file is captured again.
 *
 *	mapped		no store can be seen there (tmpfs): a file is dirty for as
 *			long as it is mapped
 *	unseen		the module was told to do without its tracepoint
 *	big=MB		also a file of this size
 *	rounds=N	of {store, barrier, look}
 */
#include <sys/stat.h>
#include <time.h>
#include "consumer.h"
#include "mapper.h"

#define MAPPED (HOLDFAST_STATE_OPEN | HOLDFAST_STATE_MAPPED)

static const char *name;	/* of the filesystem, for what is printed */
static unsigned int value;

/* Everything that is noted is captured, and acknowledged with the number it was noted with. */
static void settle(struct consumer *c)
{
	char path[PATH_MAX];
	struct stat st;

	look(c);
	for (unsigned int i = 0; i < c->n; i++) {
		snprintf(path, sizeof(path), "%s/%s", c->dir, c->e[i].path);
		if (!stat(path, &st) && S_ISREG(st.st_mode))
			clean_and_read(path, 0);
	}
	ack_dumped(c);
}

static void begin(struct consumer *c, const char *file)
{
	if (mkdir("tree", 0755))
		die("tree", errno);
	if (file) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "tree/%s", file);
		make(path, 4 * PAGE);
		clean_and_read(path, 0);
	}
	add_tree(c, "tree", NULL);
}

static void end(struct consumer *c)
{
	del_tree(c);
	if (system("rm -rf tree"))
		die("tree", 0);
}

static bool is_alone(const struct consumer *c, const char *path, uint32_t state)
{
	const struct entry *e = find(c, path);
	bool good = c->n == 1 && e && (e->ops & HOLDFAST_OP_MODIFY) && e->state == state;

	if (!good)
		show_dump(c);
	return good;
}

static bool is_clean(const struct consumer *c)
{
	if (c->n)
		show_dump(c);
	return !c->n;
}

static void one_writer(int how)
{
	const char *space = how & MAP_OWN_PIDS ? ", from a pid namespace" : "";
	struct consumer c;
	struct mapper m;
	uint64_t seq;

	begin(&c, "f");
	m = mapper_start("tree/f", 4 * PAGE, how);
	settle(&c);
	look(&c);
	ok(is_clean(&c), "%s: to map a file%s is no change", name, space);
	store(&m, PAGE, ++value);
	look(&c);
	ok(is_alone(&c, "f", HOLDFAST_STATE_OPEN), "%s: X2: a store is noted%s", name, space);
	ok(c.n && (pid_t)c.e[0].pid == m.pid && !strcmp(c.e[0].comm, "mapper") && !c.e[0].uid,
	   "%s: and who stored%s", name, space);
	seq = c.n ? c.e[0].seq : 0;
	ok(clean_and_read("tree/f", PAGE) == value, "%s: what was stored is read", name);
	ack_dumped(&c);
	look(&c);
	ok(is_clean(&c), "%s: P2: and acknowledged", name);
	store(&m, PAGE, ++value);
	look(&c);
	ok(is_alone(&c, "f", HOLDFAST_STATE_OPEN) && c.e[0].seq > seq,
	   "%s: X2: a store into the same page after that is noted, by a newer number", name);
	settle(&c);
	mapper_ends(&m);
	look(&c);
	ok(c.n <= 1 && (!c.n || !(c.e[0].state & HOLDFAST_STATE_OPEN)),
	   "%s: when the process ends the file is no longer open", name);
	end(&c);
}

/*
 * Where the kernel writes a page back meanwhile, which it may at any moment, the next
 * store is news again; so what needs it not to is tried a few times.
 */
#define QUIET_TRIES 4

static bool dirty_already(struct consumer *c, struct mapper *m)
{
	bool read = true, clean = false;

	for (int i = 0; i < QUIET_TRIES && !clean; i++) {
		settle(c);
		store(m, 0, ++value);
		look(c);
		store(m, 0, ++value);
		read &= clean_and_read("tree/f", 0) == value;
		ack_dumped(c);
		look(c);
		clean = is_clean(c);
	}
	return read && clean;
}

/* Where a store may fall between the steps of a capture. */
static void while_captured(void)
{
	struct consumer c;
	struct mapper m;
	uint64_t seen;

	begin(&c, "f");
	m = mapper_start("tree/f", 4 * PAGE, 0);
	ok(dirty_already(&c, &m),
	   "%s: P2: a store into a page that is dirty already is read by who captures it", name);
	store(&m, 0, ++value);
	look(&c);
	seen = clean_and_read("tree/f", 0);
	store(&m, 0, ++value);
	ack_dumped(&c);
	look(&c);
	ok(seen == value - 1 && is_alone(&c, "f", HOLDFAST_STATE_OPEN),
	   "%s: P2: a store after the file was read survives the acknowledgement", name);
	/* pages may have become dirty together: not before it is clean is the next one news */
	clean_and_read("tree/f", 0);
	store(&m, PAGE, ++value);
	seen = c.n ? c.e[0].seq : 0;
	look(&c);
	ok(is_alone(&c, "f", HOLDFAST_STATE_OPEN) && c.e[0].seq > seen,
	   "%s: a store into another page gives the entry a newer number", name);
	mapper_ends(&m);
	end(&c);
}

static void written_first(void)
{
	bool read = true, clean = false;
	struct consumer c;
	struct mapper m;
	int fd;

	begin(&c, "f");
	for (int i = 0; i < QUIET_TRIES && !clean; i++) {
		if (i)
			mapper_ends(&m);
		settle(&c);
		m = mapper_start("tree/f", 4 * PAGE, MAP_WROTE);
		look(&c);
		store(&m, 8, ++value);
		read &= is_alone(&c, "f", HOLDFAST_STATE_OPEN) && clean_and_read("tree/f", 8) == value;
		ack_dumped(&c);
		look(&c);
		clean = is_clean(&c);
	}
	ok(read, "%s: X2: a store into a page that write() made dirty is read", name);
	ok(clean, "%s: and acknowledged with the number of the write", name);
	store(&m, 8, ++value);
	look(&c);
	ok(is_alone(&c, "f", HOLDFAST_STATE_OPEN), "%s: X2: the next one is noted", name);
	settle(&c);
	fd = open("tree/f", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, "w", 1, 0) != 1)
		die("tree/f", errno);
	look(&c);
	clean_and_read("tree/f", 0);
	store(&m, 8, ++value);
	ack_dumped(&c);
	look(&c);
	ok(is_alone(&c, "f", HOLDFAST_STATE_OPEN), "%s: X2: and one that follows a write", name);
	close(fd);
	mapper_ends(&m);
	end(&c);
}

/* One file, however many of its pages. */
static void many_pages(unsigned long mb)
{
	struct consumer c;
	struct mapper m;

	begin(&c, NULL);
	make("tree/big", mb << 20);
	settle(&c);
	m = mapper_start("tree/big", mb << 20, 0);
	fill(&m, ++value);
	look(&c);
	ok(is_alone(&c, "big", HOLDFAST_STATE_OPEN), "%s: %lu pages of one file are one entry", name,
	   (mb << 20) / PAGE);
	settle(&c);
	look(&c);
	ok(is_clean(&c), "%s: which is acknowledged", name);
	store(&m, (mb << 20) - PAGE, ++value);
	look(&c);
	ok(is_alone(&c, "big", HOLDFAST_STATE_OPEN), "%s: X2: a store into its last page is noted", name);
	mapper_ends(&m);
	end(&c);
}

static void not_ours(void)
{
	struct consumer c;
	struct mapper m[3];

	make("outside", 4 * PAGE);
	clean_and_read("outside", 0);
	begin(&c, "f");
	settle(&c);
	m[0] = mapper_start("outside", 4 * PAGE, 0);
	m[1] = mapper_start("tree/f", 4 * PAGE, MAP_COPY);
	m[2] = mapper_start("tree/f", 4 * PAGE, MAP_LOOK);
	fill(&m[0], ++value);
	fill(&m[1], ++value);
	look(&c);
	ok(is_clean(&c), "%s: a private mapping, one to be read, and a file outside are no changes", name);
	for (int i = 0; i < 3; i++)
		mapper_ends(&m[i]);
	end(&c);
	unlink("outside");
}

/* A store is noted under the names that the file has then. */
static void names(uint32_t state)
{
	struct consumer c;
	struct mapper m;

	begin(&c, "f");
	if (mkdir("tree/d", 0755) || mkdir("out", 0755))
		die("mkdir", errno);
	mark_dir(&c, "d");
	settle(&c);
	m = mapper_start("tree/f", 4 * PAGE, 0);
	if (rename("tree/f", "tree/d/g"))
		die("rename", errno);
	settle(&c);
	clean_and_read("tree/d/g", 0);
	store(&m, 0, ++value);
	look(&c);
	ok(is_alone(&c, "d/g", state), "%s: X2: a file that was renamed since it was mapped", name);
	if (rename("tree/d", "tree/e"))
		die("rename", errno);
	settle(&c);
	clean_and_read("tree/e/g", 0);
	store(&m, 0, ++value);
	look(&c);
	ok(is_alone(&c, "e/g", state), "%s: X2: and one whose directory was", name);
	if (rename("tree/e/g", "out/g"))
		die("rename", errno);
	settle(&c);
	clean_and_read("out/g", 0);
	store(&m, 0, ++value);
	look(&c);
	ok(is_clean(&c), "%s: moved out of the tree it is nothing to it", name);
	if (rename("out/g", "tree/h"))
		die("rename", errno);
	settle(&c);
	clean_and_read("tree/h", 0);
	store(&m, 0, ++value);
	look(&c);
	ok(is_alone(&c, "h", state), "%s: X2: and moved in again it is", name);
	mapper_ends(&m);
	rmdir("out");
	end(&c);
}

static void links(uint32_t state)
{
	struct consumer c;
	struct mapper m;

	begin(&c, "f");
	if (link("tree/f", "tree/g"))
		die("link", errno);
	settle(&c);
	m = mapper_start("tree/g", 4 * PAGE, 0);
	settle(&c);
	store(&m, 0, ++value);
	look(&c);
	ok(c.n <= 2 && find(&c, "g") && find(&c, "g")->state == state,
	   "%s: X2: a file of two names, by the one that it was mapped by", name);
	settle(&c);
	if (unlink("tree/g"))
		die("unlink", errno);
	settle(&c);
	clean_and_read("tree/f", 0);
	store(&m, 0, ++value);
	look(&c);
	ok(covered(&c, "f"), "%s: X2: by the one that is left when that was removed", name);
	settle(&c);
	clean_and_read("tree/f", 0);
	if (unlink("tree/f"))
		die("unlink", errno);
	settle(&c);
	store(&m, PAGE, ++value);
	look(&c);
	ok(is_clean(&c), "%s: and by none when that is gone too", name);
	mapper_ends(&m);
	settle(&c);

	m = mapper_start("tree", 4 * PAGE, MAP_NO_NAME);
	fill(&m, ++value);
	look(&c);
	ok(is_clean(&c), "%s: a file that never had a name is no change", name);
	mapper_does(&m, &(struct order){ .what = 'l', .name = "tree/late" });
	settle(&c);
	clean_and_read("tree/late", 0);
	store(&m, 0, ++value);
	look(&c);
	ok(covered(&c, "late"), "%s: X2: until it is linked into the tree", name);
	mapper_ends(&m);
	end(&c);
}

/* Trees of single files, and trees in trees. */
static void trees(uint32_t state)
{
	struct consumer c, file, inner;
	struct mapper m[2];

	begin(&c, "only");
	make("tree/other", 4 * PAGE);
	if (mkdir("tree/in", 0755))
		die("tree/in", errno);
	make("tree/in/f", 4 * PAGE);
	mark_dir(&c, "in");
	settle(&c);
	add_tree(&file, "tree", "only");
	add_tree(&inner, "tree/in", NULL);
	clean_and_read("tree/only", 0);
	clean_and_read("tree/other", 0);
	clean_and_read("tree/in/f", 0);
	m[0] = mapper_start("tree/other", 4 * PAGE, 0);
	m[1] = mapper_start("tree/in/f", 4 * PAGE, 0);
	settle(&c);
	store(&m[0], 0, ++value);
	store(&m[1], 0, ++value);
	look(&file);
	ok(is_clean(&file), "%s: beside a single file nothing counts", name);
	look(&inner);
	ok(is_alone(&inner, "f", state), "%s: X2: a tree has it", name);
	look(&c);
	ok(c.n == 2 && find(&c, "other") && find(&c, "in/f"), "%s: X2: and the one around it, too", name);
	mapper_ends(&m[0]);
	m[0] = mapper_start("tree/only", 4 * PAGE, 0);
	store(&m[0], 0, ++value);
	look(&file);
	ok(is_alone(&file, "only", state), "%s: X2: the single file itself does", name);
	mapper_ends(&m[0]);
	mapper_ends(&m[1]);
	del_tree(&inner);
	del_tree(&file);
	end(&c);
}

/* Another process stores and says so: the barrier that follows has it, always. */
static void barriers(unsigned int rounds)
{
	const unsigned int pages = 64;
	struct consumer c;
	struct mapper m;
	unsigned int missed = 0;
	uint64_t seq = 0;

	begin(&c, NULL);
	make("tree/f", pages * PAGE);
	settle(&c);
	m = mapper_start("tree/f", pages * PAGE, 0);
	for (unsigned int i = 0; i < rounds; i++) {
		clean_and_read("tree/f", 0);
		store(&m, i % pages * PAGE, i);
		look(&c);
		if (c.n != 1 || c.e[0].seq <= seq)
			missed++;
		else
			seq = c.e[0].seq;
		ack_dumped(&c);
	}
	if (!ok(!missed, "%s: P2: after a store, a message and a barrier it is there, %u times", name, rounds))
		printf("# missed %u times\n", missed);
	mapper_ends(&m);
	end(&c);
}

static unsigned int told_of;
static bool marker_told;

static int on_told(void *ctx, const struct hf_nlchange *ch)
{
	told_of += ch->len == 1 && *ch->path == 'f';
	marker_told |= ch->len == 6 && !memcmp(ch->path, "marker", 6);
	return 0;
}

static bool read_events(int flags)
{
	int len = recv(mnl_socket_get_fd(nl.events), nl.buf, HF_NL_BUF, flags);
	const struct nlmsghdr *h = (void *)nl.buf;
	struct hf_nlmsg m;

	if (len < 0 && errno != ENOBUFS && errno != EAGAIN)
		die("events", errno);
	for (; hf_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len))
		hf_nlmsg_parse(h, &m, on_told, NULL);
	return len >= 0 || errno != EAGAIN;
}

/* How often events told of "f", up to one that is caused now. */
static unsigned int events_of_f(void)
{
	told_of = 0;
	marker_told = false;
	while (read_events(MSG_DONTWAIT))
		;
	make("tree/marker", 1);
	while (!marker_told)
		read_events(0);
	unlink("tree/marker");
	return told_of;
}

/* Where stores can not be seen. */
static void always_dirty(void)
{
	struct consumer c;
	struct mapper m[3];
	unsigned int told_before;
	bool good = true;

	begin(&c, "f");
	make("tree/g", PAGE);
	make("tree/h", PAGE);
	make("outside", PAGE);
	settle(&c);
	m[1] = mapper_start("tree/g", PAGE, MAP_COPY);
	m[2] = mapper_start("outside", PAGE, 0);
	look(&c);
	ok(is_clean(&c), "%s: a private mapping and a file outside are no changes", name);
	m[0] = mapper_start("tree/f", 4 * PAGE, 0);
	look(&c);
	ok(is_alone(&c, "f", MAPPED), "%s: X2: a file that is mapped counts as changed", name);
	told_before = events_of_f();
	settle(&c);
	look(&c);
	ok(find(&c, "f") && events_of_f() == 0, "%s: but nobody is told so (%u)", name, told_before);
	settle(&c);
	look(&c);
	for (int i = 0; i < 50; i++) {
		uint64_t seq = c.n ? c.e[0].seq : 0;

		store(&m[0], 0, ++value);
		good &= clean_and_read("tree/f", 0) == value;
		ack_dumped(&c);
		look(&c);
		good &= is_alone(&c, "f", MAPPED) && c.e[0].seq > seq;
		seq = c.n ? c.e[0].seq : 0;
		look(&c);
		good &= is_alone(&c, "f", MAPPED) && c.e[0].seq == seq;
	}
	ok(good, "%s: X2: after each acknowledgement it is dirty again, and noted once", name);
	if (rename("tree/f", "tree/h"))
		die("rename", errno);
	settle(&c);
	look(&c);
	ok(is_alone(&c, "h", MAPPED), "%s: X2: by the name that it has now", name);
	mapper_ends(&m[0]);
	look(&c);
	ok(c.n == 1 && !strcmp(c.e[0].path, "h") && !(c.e[0].state & HOLDFAST_STATE_OPEN),
	   "%s: P2: that it is mapped no longer is a change", name);
	ack_dumped(&c);
	look(&c);
	ok(is_clean(&c), "%s: the last one", name);
	mapper_ends(&m[1]);
	mapper_ends(&m[2]);
	end(&c);
	unlink("outside");
}

/* What the module does not see it does not pretend to. */
static void unseen(void)
{
	struct consumer c;
	struct mapper m;

	begin(&c, "f");
	settle(&c);
	ok(!(told(c.tree, HOLDFAST_A_TREE_FLAGS) & HOLDFAST_TREE_FLAG_STORES),
	   "%s: without the tracepoint a tree does not say that stores are noted", name);
	m = mapper_start("tree/f", 4 * PAGE, 0);
	store(&m, 0, ++value);
	look(&c);
	ok(is_clean(&c), "%s: and they are not", name);
	mapper_ends(&m);
	look(&c);
	ok(c.n == 1 && (c.e[0].ops & HOLDFAST_OP_CLOSE_WRITE), "%s: before the file is closed", name);
	make("tree/g", 1);
	look(&c);
	ok(find(&c, "g"), "%s: P2: everything else is", name);
	end(&c);
}

static void one(char *arg)
{
	unsigned long big = 0, rounds = 200;
	char *dir = strchr(arg, '='), *option;
	bool mapped = false, blind = false;
	time_t start = time(NULL);
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!dir)
		die(arg, EINVAL);
	*dir++ = '\0';
	name = arg;
	strtok(dir, ",");
	while ((option = strtok(NULL, ","))) {
		if (!strcmp(option, "mapped"))
			mapped = true;
		else if (!strcmp(option, "unseen"))
			blind = true;
		else if (sscanf(option, "big=%lu", &big) != 1 && sscanf(option, "rounds=%lu", &rounds) != 1)
			die(option, EINVAL);
	}
	if (chdir(dir) || mkdir("stores", 0755) || chdir("stores"))
		die(dir, errno);
	is(told(0, HOLDFAST_A_STORES), !blind, "the module says whether it can note stores");
	if (!blind || mapped) {
		struct consumer c;

		begin(&c, NULL);
		ok(told(c.tree, HOLDFAST_A_TREE_FLAGS) & HOLDFAST_TREE_FLAG_STORES,
		   "%s: the tree says that stores are noted", name);
		end(&c);
	}
	if (mapped) {
		always_dirty();
		names(MAPPED);
	} else if (blind) {
		unseen();
	} else {
		one_writer(0);
		one_writer(MAP_OWN_PIDS);
		while_captured();
		written_first();
		not_ours();
		names(HOLDFAST_STATE_OPEN);
		links(HOLDFAST_STATE_OPEN);
		trees(HOLDFAST_STATE_OPEN);
		if (big)
			many_pages(big);
	}
	if (!blind)
		barriers(rounds);
	printf("# %s: %ld s\n", name, (long)(time(NULL) - start));
	if (chdir("..") || rmdir("stores") || fchdir(back))
		die("stores", errno);
	close(back);
}

int main(int argc, char **argv)
{
	umask(022);
	setvbuf(stdout, NULL, _IOLBF, 0);
	open_netlink();
	for (int i = 1; i < argc; i++)
		one(argv[i]);
	hf_nl_close(&nl);
	return tap_done();
}
