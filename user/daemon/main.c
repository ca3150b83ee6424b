// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfastd: from the command line to the event loop, and back in mirror order. */
#include "account.h"
#include "memory.h"
#include "notice.h"
#include "resource.h"
#include "server.h"
#include "verbs.h"
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

struct hfd hfd;

/* JOURNAL_STREAM names the device and inode of what systemd connected to stderr. */
static bool on_journal(void)
{
	const char *v = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return v && sscanf(v, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == dev && st.st_ino == ino;
}

static int usage(FILE *f, int code)
{
	fprintf(f, "usage: holdfastd [-c FILE] [-d] [-V] [-s RESOURCE]\n"
		   "Runs in the foreground; see holdfastd(8).\n");
	return code;
}

static int lock_fd = -1;	/* of state_dir/lock, for as long as the process lives */

static int take_lock(struct hf_err *err)
{
	char *path = hf_strf("%s/lock", hfd.conf->state_dir);
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1, ret = 0;

	if (fd < 0)
		ret = hf_fail(err, HF_FAILED, -errno, "cannot open %s: %s", path ? path : "the lock",
			      strerror(errno));
	else if (flock(fd, LOCK_EX | LOCK_NB))
		ret = hf_fail(err, HF_REFUSED, -EBUSY,
			      "another holdfastd runs on %s; stop it, or give this one a state_dir of its own",
			      hfd.conf->state_dir);
	free(path);
	lock_fd = fd;
	return ret;
}

static int make_dirs(struct hf_err *err)
{
	int ret;

	hfd.journal_dir = hf_strf("%s/resources", hfd.conf->state_dir);
	hfd.displaced_dir = hf_strf("%s/displaced", hfd.conf->state_dir);
	hfd.socket_path = hf_conf_socket(hfd.conf);
	if (!hfd.journal_dir || !hfd.displaced_dir || !hfd.socket_path)
		return hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
	ret = hf_mkdirs(hfd.journal_dir, 0700);
	if (!ret)
		ret = hf_mkdirs(hfd.displaced_dir, 0700);
	return ret ? hf_fail(err, HF_FAILED, ret, "cannot make %s: %s", hfd.journal_dir, strerror(-ret)) : 0;
}

/* What a daemon that cannot be started would have done; needs neither key nor store. */
static int stop_one(const char *conf, const char *name, struct hf_err *err)
{
	int ret = hf_conf_load(conf, &hfd.conf, err);

	if (!ret && !hfd.conf->exists)
		ret = hf_fail(err, HF_USAGE, -EINVAL, "there is no configuration %s", hfd.conf->path);
	if (!ret)
		ret = take_lock(err);
	if (!ret)
		ret = make_dirs(err);
	return ret ? ret : halt(name, err);
}

static int load(const char *conf, struct hf_err *err)
{
	int ret = hf_conf_load(conf, &hfd.conf, err);

	if (ret)
		return ret;
	if (!hfd.conf->exists)
		return hf_fail(err, HF_USAGE, -EINVAL,
			       "there is no configuration %s; `holdfast init DEV --name CLUSTER` makes a cluster, `holdfast join DEV` joins one",
			       hfd.conf->path);
	if (!hfd.conf->url)
		return hf_fail(err, HF_USAGE, -EINVAL,
			       "%s names no store ([store] url); `holdfast init DEV --name CLUSTER` makes a cluster, `holdfast join DEV` joins one",
			       hfd.conf->path);
	if (gethostname(hfd.host, sizeof(hfd.host) - 1))
		hfd.host[0] = '\0';
	ret = caps_keep(err);
	if (!ret)
		ret = hf_crypto_init() ? hf_fail(err, HF_FAILED, -EIO, "libsodium does not start") : 0;
	if (!ret && !hf_crypto_fast())
		hf_logf(HF_LOG_NOTE, "libcrypto has no BLAKE2 or no ChaCha20; libsodium does its work, which takes longer");
	if (!ret)
		ret = hf_keys_load(hfd.conf->key_file, &hfd.keys, err);
	if (!ret)
		ret = hf_identity_load(hfd.conf->state_dir, &hfd.id, err);
	if (!ret)
		ret = take_lock(err);
	if (!ret)
		ret = make_dirs(err);
	return ret;
}

static int open_store(struct hf_err *err)
{
	struct hf_store_params p = { .keys = hfd.keys, .id = &hfd.id, .lock_fd = &lock_fd };
	struct hf_node_info *n;
	uint8_t uuid[16];
	unsigned rows, nodes;
	int ret = hf_store_open(hfd.conf->url, &p, &hfd.store, err), count;

	if (!ret)
		ret = memory_open(err);
	if (!ret)
		ret = hfd.store->ops->join(hfd.store, err);
	if (ret)
		return ret;
	hfd.store->ops->info(hfd.store, hfd.cluster, uuid, &hfd.lease_ms, &hfd.beat_ms, &rows, &nodes);
	if (hfd.beat_ms < 50)
		hfd.beat_ms = 50;
	n = calloc(HF_MAX_NODES, sizeof(*n));
	count = n ? hfd.store->ops->nodes(hfd.store, n, HF_MAX_NODES) : 0;
	for (int i = 0; i < count; i++)
		if (n[i].slot == hfd.id.slot)
			hf_uuid_str(n[i].incarnation, hfd.incarnation);
	free(n);
	return 0;
}

static void resume_one(const char *name)
{
	struct resource *r = resource_get(name);
	struct journal was;
	struct job *j;

	/* of what was deleted meanwhile nobody asks whose trees were whole */
	if (!r && !journal_read(name, &was) && was.state == JR_NONE && !was.has_unconfirmed && !was.has_left &&
	    !was.half) {
		journal_remove(name);
		return;
	}
	if (!r)
		r = resource_make(name);
	if (!r)
		return;
	if (r->j.state == JR_NONE) {
		resource_put(r);
		return;
	}
	if (r->j.state == JR_ONLINE || r->j.state == JR_CLAIMING || r->j.state == JR_RESTORING)
		resource_event(r, EV_BEGIN, "resumed");
	j = job_new(job_resume);
	if (j)
		job_post(r, j, NULL);
	resource_put(r);
}

static void settle_pending(struct resource *r, void *arg)
{
	bool gone;

	/* a journal whose resource could not be resumed leaves no "pending" behind */
	pthread_mutex_lock(&r->lock);
	gone = r->gone && !r->jobs && r->state == RS_ONLINE_PENDING;
	pthread_mutex_unlock(&r->lock);
	if (gone)
		resource_event(r, EV_REFUSED, "it is not registered any more");
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	hf_logf(HF_LOG_NOTE, "stopping (signal %u)", si->ssi_signo);
	sd_event_exit(hfd.event, 0);
	return 0;
}

static int loop_init(struct hf_err *err)
{
	sigset_t set;
	int ret;

	/* before any thread is made, so that all of them inherit it */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	ret = sd_event_default(&hfd.event);
	if (ret >= 0)
		ret = sd_event_add_signal(hfd.event, NULL, SIGTERM, on_signal, NULL);
	if (ret >= 0)
		ret = sd_event_add_signal(hfd.event, NULL, SIGINT, on_signal, NULL);
	if (ret >= 0)
		ret = sd_event_set_watchdog(hfd.event, true);
	if (ret >= 0)
		ret = post_init(hfd.event);
	return ret < 0 ? hf_fail(err, HF_FAILED, ret, "cannot start the event loop: %s", strerror(-ret)) : 0;
}

static int start(struct hf_err *err)
{
	char consumer[37];
	int ret = open_store(err);

	if (ret)
		return ret;
	ret = loop_init(err);
	if (!ret)
		ret = regs_reload(err);
	hf_uuid_str(hfd.id.uuid, consumer);
	if (!ret)
		ret = hf_track_open(hfd.conf->require_kernel ? "kernel" : hfd.conf->track_source, consumer,
				    &hfd.track, err);
	if (!ret)
		ret = memory_start(err);
	if (!ret)
		ret = beat_start(err);
	if (!ret)
		ret = follow_start(err);
	if (!ret)
		ret = tracker_start(err);
	if (!ret)
		ret = alarm_start(err);
	if (!ret)
		node_remove_resume();
	if (!ret)
		ret = server_start(err);
	return ret;
}

static void *leave(void *arg)
{
	if (hfd.store->ops->leave(hfd.store))
		hf_logf(HF_LOG_WARN, "could not say that this node leaves; others wait for its lease");
	return NULL;
}

/* Bounded, as everything at the end: a store that hangs is left to itself. */
static void leave_bounded(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, leave, NULL))
		return;
	thread_ends(t, 2000);
}

/* Stop accepting, give the changes their last chance, leave if nothing depends on us. */
static void stop(int code)
{
	bool any;

	sd_notify(0, "STOPPING=1");
	server_stop_accepting();
	follow_stop();
	any = resources_any_live();
	resources_stop(5000, code != HF_STALE);
	tracker_stop();
	hooks_stop(1000);
	beat_stop();
	memory_stop();
	if (!any && code != HF_STALE)
		leave_bounded();
	server_exit();
}

int main(int argc, char **argv)
{
	static const struct option longer[] = { { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 } };
	const char *conf = NULL, *halted = NULL;
	struct hf_err err = { 0 };
	bool debug = false;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "c:ds:Vh", longer, NULL)) != -1) {
		switch (opt) {
		case 'c':
			conf = optarg;
			break;
		case 'd':
			debug = true;
			break;
		case 's':
			halted = optarg;
			break;
		case 'V':
			printf("holdfastd %s\n", HF_VERSION);
			return 0;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, HF_USAGE);
		}
	}
	if (optind != argc)
		return usage(stderr, HF_USAGE);
	notice_init(on_journal(), debug);
	hooks_init();
	hf_seam_init(getenv("HOLDFAST_SEAM"));
	umask(0077);
	srandom(hf_now_ns() ^ getpid());
	if (halted) {
		ret = stop_one(conf, halted, &err);
		if (ret)
			hf_logf(HF_LOG_ERR, "%s", err.msg[0] ? err.msg : strerror(-ret));
		return !ret ? 0 : err.exit ? err.exit : hf_exit_of(ret);
	}
	ret = load(conf, &err);
	if (!ret)
		ret = start(&err);
	if (ret) {
		hf_logf(HF_LOG_ERR, "%s", err.msg[0] ? err.msg : strerror(-ret));
		server_exit();
		/* a thread may still be in the store: no teardown under it */
		_exit(err.exit ? err.exit : hf_exit_of(ret));
	}
	notice(N_STARTED, HF_LOG_NOTE, NULL, "node %s of cluster %s is up (%s tracking)", hfd.id.name, hfd.cluster,
	       hf_track_source(hfd.track));
	if (hf_track_why(hfd.track)[0])
		notice(N_NO_MODULE, HF_LOG_NOTE, NULL, "without the module: %s", hf_track_why(hfd.track));
	journal_each(resume_one);
	resources_each(settle_pending, NULL);
	tracker_reap();
	sd_notify(0, "READY=1");
	ret = sd_event_loop(hfd.event);
	stop(ret);
	notice(N_STOPPED, HF_LOG_NOTE, NULL, "stopped");
	fflush(NULL);
	/* what hangs in a dead store must not keep the process; keys go with its locked pages */
	_exit(ret < 0 ? 1 : ret);
}
