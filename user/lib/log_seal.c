// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Contents of a large transaction are hashed, compressed and sealed by a thread of its own, in the
 * order in which they were put, while the next ones are read. They are handed over in blocks, so that
 * neither waking nor locking is paid for each of them. It has more to do than who reads small files: when it falls
 * behind, these are hashed there, and when that is not enough also sealed.
 *
 * Between the first seal_put() and the end of seal_wait() that thread alone uses l->ck, l->dedup, l->fresh,
 * l->tail, l->packed, the packs of the claim, and in entries that have ENT_LATE what tells of their
 * contents. Whoever wants any of it waits first. Everything else of the log stays its user's.
 *
 * Lock: mu, for what stands below it in struct sealer.
 */
#include "log_int.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BLOCK (128u << 10)
#define BLOCKS 8		/* that wait at most; with more than */
#define HASHES 2		/* of them who reads hashes, and with more than */
#define SEALS 5			/* seals */

/* @ref: what of it is known: nothing, its hash, or (clen) all but the place; then @p is sealed */
struct seal_job { struct ent *e; size_t n; bool hashed; struct hf_ref ref; uint8_t p[]; };

struct seal_block {
	struct seal_block *next;
	size_t len, cap;
	_Alignas(struct seal_job) uint8_t job[];
};

struct sealer {
	struct hf_log *l;
	pthread_t thread;
	struct seal_block *cur, *spare;	/* that is being filled; one to be filled again */
	struct chunker ck;		/* of who reads */
	pthread_mutex_t mu;
	pthread_cond_t more, less;
	struct seal_block *todo, **tail, *done;
	atomic_uint n;			/* in @todo, or worked on; changed under the lock */
	bool quit;
	int ret;			/* the first failure: what comes after it is thrown away */
	struct hf_err err;
};

static size_t job_size(size_t n)
{
	size_t a = _Alignof(struct seal_job);

	return (sizeof(struct seal_job) + n + a - 1) & ~(a - 1);
}

static size_t job_bytes(const struct seal_job *j) { return j->ref.clen ? chunk_stored(&j->ref) : j->n; }
static struct seal_job *job_at(struct seal_block *b, size_t at) { return (struct seal_job *)(b->job + at); }

static int seal_block(struct hf_log *l, struct seal_block *b, int ret, struct hf_err *err)
{
	for (size_t at = 0; at < b->len; at += job_size(job_bytes(job_at(b, at)))) {
		struct seal_job *j = job_at(b, at);

		if (!ret && j->ref.clen)
			ret = log_sealed(l, j->e, &j->ref, j->p, err);
		else if (!ret)
			ret = log_contents(l, j->e, NULL, j->p, j->hashed ? j->ref.hash : NULL, j->n, err);
		explicit_bzero(j->p, job_bytes(j));
	}
	return ret;
}

static void *run(void *arg)
{
	struct sealer *s = arg;
	struct seal_block *b;
	struct hf_err err;
	int ret = 0;

	pthread_mutex_lock(&s->mu);
	for (;;) {
		while (!s->todo && !s->quit)
			pthread_cond_wait(&s->more, &s->mu);
		b = s->todo;
		if (!b)
			break;
		s->todo = b->next;
		if (!s->todo)
			s->tail = &s->todo;
		pthread_mutex_unlock(&s->mu);
		memset(&err, 0, sizeof(err));
		ret = seal_block(s->l, b, ret, &err);
		pthread_mutex_lock(&s->mu);
		b->next = s->done;
		s->done = b;
		s->n--;
		if (ret && !s->ret) {
			s->ret = ret;
			s->err = err;
		}
		pthread_cond_signal(&s->less);
	}
	pthread_mutex_unlock(&s->mu);
	return NULL;
}

static struct sealer *sealer_new(struct hf_log *l)
{
	struct sealer *s = hf_alloc(sizeof(*s));

	if (!s)
		return NULL;
	ready_drop(l);
	s->l = l;
	s->tail = &s->todo;
	if (chunker_init(&s->ck, l->ck.keys, l->ck.disk)) {
		chunker_exit(&s->ck);
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->mu, NULL);
	pthread_cond_init(&s->more, NULL);
	pthread_cond_init(&s->less, NULL);
	if (!pthread_create(&s->thread, NULL, run, s))
		return s;
	pthread_cond_destroy(&s->less);
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->mu);
	chunker_exit(&s->ck);
	free(s);
	return NULL;
}

static void take_back(struct sealer *s, struct seal_block *b)
{
	while (b) {
		struct seal_block *next = b->next;

		for (size_t at = 0; at < b->len; at += job_size(job_bytes(job_at(b, at)))) {
			struct ent *e = job_at(b, at)->e;

			e->flags &= ~ENT_LATE;
			ent_put(e);
		}
		b->len = 0;
		free(s->spare);
		s->spare = b;
		b = next;
	}
}

/* what was filled, and wait until no more than @left are under way; the first failure so far */
static int hand_over(struct sealer *s, unsigned left, struct hf_err *err)
{
	struct seal_block *b = s->cur, *done;
	int ret;

	s->cur = NULL;
	pthread_mutex_lock(&s->mu);
	if (b) {
		b->next = NULL;
		*s->tail = b;
		s->tail = &b->next;
		s->n++;
		pthread_cond_signal(&s->more);
	}
	while (s->n > left)
		pthread_cond_wait(&s->less, &s->mu);
	done = s->done;
	s->done = NULL;
	ret = s->ret;
	if (ret && err)
		*err = s->err;
	pthread_mutex_unlock(&s->mu);
	take_back(s, done);
	return ret;
}

/* room for a job of @n bytes in s->cur */
static int make_room(struct sealer *s, size_t n, struct hf_err *err)
{
	size_t need = job_size(n), cap = need > BLOCK ? need : BLOCK;
	int ret;

	if (s->cur && s->cur->cap - s->cur->len >= need)
		return 0;
	ret = hand_over(s, BLOCKS, err);
	if (ret)
		return ret;
	if (s->spare && s->spare->cap >= need) {
		s->cur = s->spare;
		s->spare = NULL;
		return 0;
	}
	s->cur = malloc(sizeof(*s->cur) + cap);
	if (!s->cur)
		return hf_fail(err, HF_OK, -ENOMEM, "%s: out of memory", s->l->id.name);
	s->cur->len = 0;
	s->cur->cap = cap;
	return 0;
}

static void help(struct sealer *s, struct seal_job *j)
{
	unsigned behind = atomic_load(&s->n);
	uint8_t hash[HF_HASH];

	memset(&j->ref, 0, sizeof(j->ref));
	j->hashed = behind > HASHES && j->n && j->n <= HF_CHUNK_MAX;
	if (!j->hashed)
		return;
	log_hash(s->l, j->p, j->n, hash);
	memcpy(j->ref.hash, hash, HF_HASH);
	if (behind <= SEALS)
		return;
	if (chunk_seal(&s->ck, j->p, j->n, hash, true, &j->ref)) {
		j->ref.clen = 0;	/* its own memory may do */
		return;
	}
	explicit_bzero(j->p, j->n);
	memcpy(j->p, s->ck.buf, chunk_stored(&j->ref));
}

int seal_put(struct hf_log *l, struct ent *e, const struct hf_source *src, struct hf_err *err)
{
	struct seal_job *j;
	int ret;

	if (!l->sealer)
		l->sealer = sealer_new(l);
	if (!l->sealer)		/* then it takes longer, but nothing waits for a thread to be had */
		return log_contents(l, e, src, NULL, NULL, src->size, err);
	ret = make_room(l->sealer, src->size + HFD_CHUNK_HDR, err);
	if (ret)
		return ret;
	j = job_at(l->sealer->cur, l->sealer->cur->len);
	ret = log_source(src, j->p, 0, src->size, &j->n);
	if (ret) {
		explicit_bzero(j->p, src->size);
		return ret;
	}
	j->e = e;
	help(l->sealer, j);
	e->users++;
	e->flags |= ENT_LATE;
	l->sealer->cur->len += job_size(job_bytes(j));
	return 0;
}

int seal_wait(struct hf_log *l, struct hf_err *err) { return l->sealer ? hand_over(l->sealer, 0, err) : 0; }

void seal_end(struct hf_log *l)
{
	struct sealer *s = l->sealer;

	if (!s)
		return;
	seal_wait(l, NULL);
	pthread_mutex_lock(&s->mu);
	s->quit = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->mu);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->less);
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->mu);
	chunker_exit(&s->ck);
	free(s->spare);
	free(s);
	l->sealer = NULL;
}
