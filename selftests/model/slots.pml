/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node's slot of a row is two sectors that are written in turn (row.c). One writer
 * that dies now and then and starts again; one reader. While a sector is written it reads as
 * what was there, as what comes, or as neither: torn; and torn it may stay when its writer dies.
 *
 * Shown: a reading gets the last value whose write had returned when it began, or one whose
 * write began before it ended: claims.pml builds on that. So does a new incarnation. While nobody
 * writes, a reading is never undecided.
 */
#ifndef WRITES
#define WRITES 7
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define TRIES 2
#define TORN 255

byte sector[2];			/* number of the value; 0: never written */
byte coming[2];			/* what is being written there; 0: nothing */
byte begun, returned, deaths;
bit rests;

proctype Writer()
{
	byte w;			/* the sector that was written last */

write:
	do
	:: begun < WRITES ->
		d_step {
#ifdef M_ONE_SECTOR
			w = 1;
#else
			w = !w;
#endif
			begun++; coming[w] = begun
		}
		if
		:: d_step { true; sector[w] = coming[w]; coming[w] = 0; returned = begun }
#ifdef M_NOT_RETURNED
		:: returned = begun
#endif
		:: deaths < DEATHS -> goto died
		fi
	:: deaths < DEATHS -> goto died
	:: break
	od;
	rests = 1;
	goto end;
died:
	deaths++;
	/* what was under way lands whole, torn, or not at all, before a new incarnation goes on */
	w = 0;
	do
	:: atomic { w < 2 && coming[w] -> sector[w] = coming[w]; coming[w] = 0; w++ }
	:: atomic { w < 2 && coming[w] -> sector[w] = TORN; coming[w] = 0; w++ }
	:: atomic { w < 2 -> coming[w] = 0; w++ }
	:: w == 2 -> break
	od;
	atomic {
		assert(sector[0] != TORN || sector[1] != TORN);
		w = (sector[0] == TORN || (sector[1] != TORN && sector[1] > sector[0]));
		assert(sector[w] >= returned && sector[w] <= begun);
		returned = sector[w]
	}
	goto write;
end:
	skip
}

inline see(w, out)
{
	if
	:: out = sector[w]
	:: atomic { coming[w] -> out = coming[w] }
	:: atomic { coming[w] -> out = TORN }
	fi
}

proctype Reader()
{
	byte s0, s1, low, tries;
	bit quiet;

	do
	:: atomic { low = returned; quiet = rests };
		if
		:: see(0, s0); see(1, s1)
		:: see(1, s1); see(0, s0)
		fi;
#ifndef M_TORN_PAIR
		/* the torn one first, then the other */
		do
		:: s0 == TORN && tries < TRIES -> see(0, s0); see(1, s1); tries++;
			if :: s1 != TORN -> break :: else fi
		:: s0 != TORN && s1 == TORN && tries < TRIES -> see(1, s1); see(0, s0); tries++;
			if :: s0 != TORN -> break :: else fi
		:: else -> break
		od;
#endif
		atomic {
			if
			:: s0 == TORN && s1 == TORN -> assert(!quiet)
			:: else ->
				s0 = (s0 == TORN -> 0 : s0);
				s1 = (s1 == TORN -> 0 : s1);
				s0 = (s0 > s1 -> s0 : s1);
				assert(s0 >= low && s0 <= begun)
			fi;
			s0 = 0; s1 = 0; low = 0; tries = 0; quiet = 0
		}
	od
}

init { atomic { run Writer(); run Reader() } }
