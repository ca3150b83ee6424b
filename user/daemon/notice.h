/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages that an administrator acts on: each kind has an id by which the journal finds it
 * (journalctl MESSAGE_ID=...) and explains it (journalctl -x, scripts/hooks/systemd/holdfast.catalog).
 * An id is never used for anything else. Other messages have none.
 */
#ifndef HFD_NOTICE_H
#define HFD_NOTICE_H

#include "base.h"

#define NOTICES(X) \
	X(N_STARTED, "836f91ebfc264fbdbff3908d9afd633a") \
	X(N_STOPPED, "6f4b6ede44974db5b579b3b692b09c0d") \
	X(N_IDENTITY, "d97d18cad4774f6db63fab4f45cff5af") \
	X(N_STATE, "dc9f135739274ca9a151e429498d05c8") \
	X(N_FAILED, "080e781d6e0644fda46e16e743c068c4") \
	X(N_TAKEN_OVER, "9d77c04092064292810bc0515a4c0b83") \
	X(N_STALE, "9723443ac49e4f649f5d71ca88e732ea") \
	X(N_UNCONFIRMED, "34cb5cfe48e74e07bfeb576b40c79486") \
	X(N_DEGRADED, "a193a4b59364451eb3e458c09efb1b84") \
	X(N_RECOVERED, "800f7372a63444f7b4c1907a9d0b5c40") \
	X(N_STORE_SILENT, "884bfe77cf5841259efd2d8e29341038") \
	X(N_STORE_BACK, "5acddbc72a1545bd9daa9be6536fc4f8") \
	X(N_LOST, "0cee898965f1463595e01dc0d0c95247") \
	X(N_GUARD, "996ae29e57664339885798771b0f6add") \
	X(N_KEPT_ASIDE, "63adbe77f41f430d9c928dfebbab0aed") \
	X(N_UNRELEASED, "ae203a485a6d47a1afe663183ea787bd") \
	X(N_FORCED, "c61b973d3efd429789ef62dd2a28dd39") \
	X(N_HOOK, "dea1d2108884447593495a18243cc986") \
	X(N_NO_MODULE, "3cad374a79a44d0bb863f325e9861567") \
	X(N_BEHIND, "0daf393a70f44a20a40c1b2ad52d876b") \
	X(N_RPO, "b9d0605630c368362c71697528f282a7") \
	X(N_RPO_KEPT, "e81b9406e91b7b2025d21f62ae515d26") \
	X(N_REBUILT, "3298e6df5d4f60031731fe7a787b852d")

#define X(name, id) name,
enum notice { NOTICES(X) };
#undef X

/* to the journal, else to standard error; before any other thread */
void notice_init(bool journal, bool debug);
/* @resource: whom it is about; NULL: the node. Never a name inside a crypto checkpoint. */
void notice(enum notice n, enum hf_level level, const char *resource, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
