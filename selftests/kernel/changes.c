// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * changes: each operation that changes a tree, done once, and what the dirty set
 * says of it.
 *
 *	changes FILESYSTEM=DIR...	ext4, xfs, btrfs, tmpfs; mounted at DIR, empty
 *	changes -l			the table of what is expected (changes_table.h)
 *
 * What is expected is all that is noted, neither more nor less. Of a gap it is
 * that nothing is noted: where that changes the table is to change.
 */
#include <sys/utsname.h>
#include <time.h>
#include "../tap.h"
#include "changes_table.h"

static const char *const fs_name[FILESYSTEMS] = { "ext4", "xfs", "btrfs", "tmpfs" };

/*
 * The table, in the words of the documentation.
 */

static const char *cell(const char *on)
{
	static const struct {
		const char *on, *word;
	} words[] = {
		{ "yy", "yes" }, { "-y", "yes" }, { "nn", "no" }, { "-n", "no" }, { "ny", "6.12" },
		{ "yn", "6.1" }, { "ww", "tree" }, { "--", "" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(on, words[i].on))
			return words[i].word;
	return "?";
}

#define WHAT 40
#define NOTED 30

static void line(const char *what, int len, const char *noted_as, const char *const *words)
{
	char text[200];
	int end = sprintf(text, "%-*s  %-*.*s", WHAT, what, NOTED, len, noted_as);

	for (int i = 0; i < FILESYSTEMS; i++)
		end += sprintf(text + end, "  %-5s", words ? words[i] : "");
	while (text[end - 1] == ' ')
		end--;
	printf("%.*s\n", end, text);
}

static void rule(void)
{
	static const char text[] = "==================================================";

	printf("%.*s  %.*s  %.5s  %.5s  %.5s  %.5s\n", WHAT, text, NOTED, text, text, text, text, text);
}

/* Each name has a line of its own. */
static void list(void)
{
	rule();
	line("operation", NOTED, "noted", fs_name);
	rule();
	for (size_t i = 0; i < ROWS; i++) {
		const char *words[FILESYSTEMS], *n = *rows[i].noted ? rows[i].noted : "nothing", *end;

		for (int k = 0; k < FILESYSTEMS; k++)
			words[k] = cell(rows[i].on[k]);
		end = strchrnul(n, ';');
		line(rows[i].what, end - n + !!*end, n, words);
		while (*end) {
			n = end + 2;
			end = strchrnul(n, ';');
			line("", end - n + !!*end, n, NULL);
		}
	}
	rule();
}

/*
 * One operation.
 */

static bool is_unsupported(int error)
{
	return error == EOPNOTSUPP || error == EINVAL || error == ENOTTY || error == ENOSYS;
}

static bool is_whole(void)
{
	return nnoted == 1 && !*noted[0].path && noted[0].state & HOLDFAST_STATE_SUBTREE;
}

static bool by_us(void)
{
	for (size_t i = 0; i < nnoted; i++)
		if (noted[i].pid != (uint32_t)getpid())
			return false;
	return true;
}

static void judge(const char *fs, const struct row *r, char expected, int error, const char *dir)
{
	const char *got = in_words(dir);
	bool good;

	switch (expected) {
	case '-':
		ok(is_unsupported(error), "%s: %s: there is no such operation", fs, r->what);
		if (!is_unsupported(error))
			printf("# %s\n", strerror(error));
		return;
	case 'n':
		good = ok(!error && !nnoted, "%s: %s: a gap", fs, r->what);
		break;
	case 'w':
		good = ok(!error && is_whole(), "P2: %s: %s: the tree as a whole", fs, r->what);
		break;
	default:
		good = ok(!error && !strcmp(got, r->noted) && (r->others || by_us()), "P2: %s: %s: %s",
			  fs, r->what, *r->noted ? r->noted : "nothing");
		break;
	}
	if (!good && error)
		printf("# %s\n", strerror(error));
	if (!good)
		printf("# noted: %s\n", got);
}

static void one(const char *fs, const struct row *r, char expected)
{
	char dir[24], in[PATH_MAX + 64];
	int error;

	if (r->needs && access(r->needs, F_OK)) {
		printf("ok %d - %s: %s # SKIP there is no %s\n", ++tap_count, fs, r->what, r->needs);
		return;
	}
	snprintf(dir, sizeof(dir), "%d", ++number);
	snprintf(in, sizeof(in), "%s/tree/%s", mounted, dir);
	snprintf(base, sizeof(base), "%s/out/%s", mounted, dir);
	must(mkdir(in, 0755), in);
	must(mkdir(base, 0755), base);
	must(chdir(in), in);
	if (r->before)
		r->before();
	settle(watched);
	error = r->run();
	dump(watched);
	judge(fs, r, expected, error, dir);
	was_open = false;
	for (size_t i = 0; i < sizeof(fd) / sizeof(*fd); i++) {
		was_open |= fd[i] >= 0;
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
	if (r->after)
		r->after();
}

/*
 * A subtree of thousands of directories moves in.
 */

#define WIDE 42
#define DEEP 50

static void make_small(const char *path)
{
	int f = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	must(f, path);
	must(write(f, path, 1), path);
	close(f);
}

static void many(const char *top, bool files)
{
	char path[PATH_MAX];

	for (int i = 0; i < WIDE; i++) {
		int len = snprintf(path, sizeof(path), "%s/%d", top, i);

		for (int k = 0; k < DEEP; k++) {
			if (files) {
				strcpy(path + len, "/f");
				make_small(path);
			} else {
				path[len] = '\0';
				must(mkdir(path, 0755), path);
			}
			len += sprintf(path + len, "/%d", k);
		}
	}
}

static bool all_created(void)
{
	for (size_t i = 0; i < nnoted; i++)
		if (noted[i].ops != (HOLDFAST_OP_CREATE | HOLDFAST_OP_MODIFY | HOLDFAST_OP_CLOSE_WRITE))
			return false;
	return nnoted == WIDE * DEEP;
}

static void big_move(const char *fs)
{
	uint64_t marks;

	must(chdir(mounted), mounted);
	must(mkdir("out/big", 0755), "big");
	many("out/big", false);
	settle(&tree);
	marks = tree.marks;
	must(rename("out/big", "tree/big"), "rename");
	dump(&tree);
	ok(!strcmp(in_words("."), "/big moved-to subtree"), "P2: %s: %d directories move in", fs,
	   WIDE * DEEP + 1);
	settle(&tree);
	ok(tree.marks == marks + WIDE * DEEP + 1, "%s: all are marked (%llu)", fs,
	   (unsigned long long)(tree.marks - marks));
	many("tree/big", true);
	dump(&tree);
	ok(all_created(), "P2: %s: a change in each of them is noted (%zu)", fs, nnoted);
	settle(&tree);
}

static void qualities(const char *fs)
{
	must(chdir(mounted), mounted);
	look(&tree);
	ok(tree.quality == HOLDFAST_QUALITY_EVENTS, "%s: the quality of a tree is events", fs);
	snprintf(base, sizeof(base), "%s/out", mounted);
	a_tree_on_overlay();
	look(&other);
	ok(other.quality == HOLDFAST_QUALITY_SCAN, "%s: that of one on an overlay is scan", fs);
	unmount();
	if (!nfs_mounted)
		return;
	watch_other(nfs(""));
	look(&other);
	ok(other.quality == HOLDFAST_QUALITY_SCAN, "%s: that of one of an NFS client is scan", fs);
	no_other();
}

static void filesystem(int fs, const char *dir, int kernel)
{
	const char *name = fs_name[fs];
	time_t start;

	if (!realpath(dir, mounted) || chdir(mounted) || mkdir("tree", 0755) || mkdir("out", 0755))
		die(dir, errno);
	tree = watch("tree");
	start = time(NULL);
	for (size_t i = 0; i < ROWS; i++)
		one(name, &rows[i], rows[i].on[fs][kernel]);
	big_move(name);
	qualities(name);
	must(chdir(mounted), mounted);
	nfs_unmount();
	must(chdir("/"), "/");
	forget(&tree);
	printf("# %s: %ld s\n", name, (long)(time(NULL) - start));
}

/* which letter of a row counts */
static int kernel_column(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	if (uname(&u) || sscanf(u.release, "%d.%d", &major, &minor) != 2)
		die("uname", EINVAL);
	return major > 6 || minor >= 12;
}

int main(int argc, char **argv)
{
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct hf_err err;

	if (argc == 2 && !strcmp(argv[1], "-l")) {
		list();
		return 0;
	}
	umask(022);
	if (hf_nl_open(&nl, &err)) {
		printf("Bail out! %s\n", err.msg);
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		char *dir = strchr(argv[i], '=');
		int fs = FILESYSTEMS;

		must(fchdir(back), "fchdir");
		if (dir) {
			*dir++ = '\0';
			for (fs = 0; fs < FILESYSTEMS && strcmp(fs_name[fs], argv[i]);)
				fs++;
		}
		if (fs == FILESYSTEMS)
			die(argv[i], EINVAL);
		filesystem(fs, dir, kernel_column());
	}
	hf_nl_close(&nl);
	return tap_done();
}
