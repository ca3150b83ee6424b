// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * join and node replace are killed at each of their writes to the disk, and before they keep what they were given:
 * run again they finish, with one slot taken, P1: nothing that was confirmed is gone, P4: the node that was
 * replaced does not come back.
 */
#include "store_test.h"
#include "ondisk.h"

#define SIZE (6u << 20)

static struct hf_logid id = LOGID(1, 2);
static struct node a;
static uint8_t image[SIZE];

static void disk_image(bool in)
{
	int fd = open(dev, (in ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	must(fd < 0 ? -errno : in ? hf_pread_full(fd, image, SIZE, 0) : hf_pwrite_full(fd, image, SIZE, 0));
	close(fd);
}

/* the configuration of a node, with an empty state_dir */
static const char *conf_of(const char *name)
{
	static char path[500];
	char cmd[1200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(cmd, sizeof(cmd), "rm -rf %s && mkdir %s", path, path);
	must(system(cmd));
	snprintf(path, sizeof(path), "%s/%s.conf", dir, name);
	f = fopen(path, "w");
	fprintf(f, "[node]\nname = %s\nkey_file = %s/key\nstate_dir = %s/%s\nruntime_dir = %s\n[store]\nurl = disk:%s\n",
		name, dir, dir, name, dir, dev);
	fclose(f);
	return path;
}

static int run(const char *c, const char *old)
{
	err = (struct hf_err){ 0 };
	return old ? hf_node_replace(c, dev, old, NULL, &err) : hf_node_join(c, dev, NULL, &err);
}

static unsigned nodes(struct hf_node_info *n)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	int count;

	must(hf_store_open(dev, &p, &st, &err));
	count = st->ops->nodes(st, n, 4);
	st->ops->close(st);
	must(count < 0 ? count : 0);
	return count;
}

/* who it was made is the one in its row, and what was confirmed is there for it */
static bool good(const char *old)
{
	struct hf_node_info n[4];
	struct node x = { 0 };
	struct hf_log *l;
	char state[400];
	bool fine;

	snprintf(state, sizeof(state), "%s/gamma", dir);
	if (hf_identity_load(state, &x.id, &err) || nodes(n) != (old ? 2 : 3))
		return false;
	fine = false;
	for (unsigned i = 0; i < (old ? 2 : 3); i++)
		fine |= n[i].slot == x.id.slot && !memcmp(n[i].uuid, x.id.uuid, 16) && !strcmp(n[i].name, "gamma");
	fine &= x.id.slot == (old ? a.id.slot : 2);
	node_open(&x);
	must(hf_log_claim(x.st, &id, HF_CLAIM_FENCED, &l, &err));
	fine &= holds(l, "k", "confirmed", 9);
	hf_log_close(l);
	node_close(&x);
	if (old) {
		struct hf_store_params p = { .keys = keys, .id = &a.id };

		must(hf_store_open(dev, &p, &x.st, &err));
		fine &= x.st->ops->join(x.st, &err) == -EBUSY;
		x.st->ops->close(x.st);
	}
	return fine;
}

/* true: it was cut off there */
static bool cut(const char *old, const char *seam, const char *then_old, int want)
{
	const char *c = conf_of("gamma");
	int status, ret, again;
	bool fine;
	pid_t pid;

	disk_image(false);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		hf_seam_init(seam);
		_exit(run(c, old) ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status)) {
		is(WEXITSTATUS(status), 0, "it ends");
		return false;
	}
	ret = run(c, then_old);
	if (ret != want)
		printf("# %s\n", err.msg);
	again = run(c, then_old);
	fine = good(old);
	ok(ret == want && again == -EEXIST && fine, "%s, killed at %s: run again it is done (%d, %d, %d)",
	   old ? "P1 P4: node replace" : "join", seam, ret, again, fine);
	return true;
}

int main(void)
{
	struct node b = { 0 };
	struct hf_log *l;
	uint64_t gen;
	char seam[40];

	must(hf_crypto_init());
	setup(3, SIZE, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "k", "confirmed", 9));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
	hf_log_close(l);
	node_close(&a);
	node_close(&b);
	disk_image(true);
	for (int i = 0; i < 2; i++) {
		const char *old = i ? NULL : "alpha";
		int n = 0;

		do {
			snprintf(seam, sizeof(seam), "disk.write:%d:kill", ++n);
		} while (cut(old, seam, old, 0));
		ok(n > 1, "it was cut off at each of its %d writes", n - 1);
		ok(cut(old, "join.taken:1:kill", old, 0), "and behind them");
	}
	/* when it is another thing that is wanted by then, it says what has become of the first */
	cut("alpha", "join.taken:1:kill", NULL, -EEXIST);
	hf_keys_free(keys);
	cleanup();
	return tap_done();
}
