/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The claim protocol of one log (Documentation/claims.rst): N nodes, one row of
 * claims, an area for each node. printf() names the steps as the code's seams do. -DM_...
 * does a step wrongly, or leaves it out: then pan must find an error.
 *
 * A node's slot of the row is one register here: who reads it while it is written
 * gets the old value or the new one, whichever, each time anew; with ATOMIC the new one
 * stays once somebody got it. slots.pml shows that two sectors in turn, some torn, make such
 * a register. Space that is free may hold what it held or not, whoever reads it.
 */
#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 2	/* ballots: ROUNDS * N at most */
#endif
#ifndef CLAIMS
#define CLAIMS 3	/* claims begun, of all nodes */
#endif
#ifndef RECORDS
#define RECORDS 1	/* commits of an epoch */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef TRIMS
#define TRIMS 0		/* bases made, of all nodes */
#endif
#ifndef COLLECTS
#define COLLECTS 0	/* times that somebody looks for space */
#endif
#ifndef RELEASES
#define RELEASES 0
#endif
#ifndef DAMAGES
#define DAMAGES 0	/* slots of the row lost in both copies */
#endif

#define EP (ROUNDS * N)
#define ALL ((1 << N) - 1)

/* what a slot of the row holds, so that the newer value is the greater */
#define VAL(b, a, s, r) (((b) << 9) | ((a) << 5) | ((s) << 1) | (r))
#define BAL(v) ((v) >> 9)		/* ballot */
#define ACC(v) (((v) >> 5) & 15)	/* accepted epoch */
#define BSD(v) (((v) >> 1) & 15)	/* newest epoch known to have a confirmed base */
#define REL(v) ((v) & 1)		/* the accepted epoch was released */
#define LOST (-1)

/* the row */
short cur[N];			/* the last value whose write returned */
short mine[N];			/* what is being written */
bit busy[N];

/* the areas: a segment for each epoch, in the area of its owner */
bit sealed[EP + 1];
byte below[EP + 1], upto[EP + 1];	/* what the seal tells: epoch, records of it */
bit told[EP + 1];			/* and whether that epoch has a base */
byte recs[EP + 1];			/* records that are durable, without the seal */
byte base[EP + 1], bye[EP + 1];		/* which of them is the base, the release (set as it begins) */
byte space[EP + 1];			/* of the segment: */
#define HELD 0
#define FRONT 1				/* what is before the base is free */
#define FREE 2
byte appending[N];			/* 1: a record is being written; 2: it is there already */
byte late[N];				/* the epoch of a record that a dead incarnation was writing */

/* memory of the nodes */
byte live[N];				/* the epoch of the claim that is open, from its seal on */
#if COLLECTS || TRIMS
byte knows[N];				/* the newest epoch that it came to own */
#define know(a) knows[me] = a
#define known(a) (knows[me] == a)
#else
#define know(a) skip
#define known(a) 0
#endif
byte pin[EP + 1];

/* ghosts: what was promised to whom */
byte confirmed[EP + 1];
bit owned[EP + 1];
#ifdef M_NOWAIT
short fly[N];
#endif
#ifdef M_APPEND_ON
byte at[N];
#endif
bit won;

byte claims, crashes, trims, collects, releases, damages;

#define owner(e) (((e) - 1) % N)

inline see(j)
{
	if
	:: v = cur[j]
	:: busy[j] && cur[j] != LOST -> v = mine[j]
#ifdef ATOMIC
		; cur[j] = v
#endif
	fi
}

/* What a reading takes in of one slot: is there a higher ballot? */
inline take(j)
{
	if
#ifdef M_UNDECIDED
	:: v == LOST -> v = 0
#else
	:: v == LOST -> v = 0; bad = 1
#endif
	:: BAL(v) > ep && ep -> bad = 1
	:: else
	fi;
	rd = rd | (1 << j)
}

/* and what is accepted? */
inline take_more(j)
{
	take(j);
	if :: ACC(v) > ra -> ra = ACC(v); rrel = REL(v) :: else fi;
	if :: BSD(v) > rb -> rb = BSD(v) :: else fi
}

/* all there is */
inline take_all(j)
{
	take_more(j);
	racc[j] = ACC(v);
	if :: BAL(v) > rmax -> rmax = BAL(v) :: else fi
}

/* who starts passes over what is lost for good */
inline take_start(j)
{
	if :: v == LOST -> v = 0 :: else fi;
	take_all(j)
}

/* A reading of the row: slot by slot, in any order; the own one is known. The options of a loop. */
#define read_row(how) \
	:: atomic { !(rd & 1) && me != 0 && !bad -> see(0); how(0); v = 0 } \
	:: atomic { !(rd & 2) && me != 1 && !bad -> see(1); how(1); v = 0 } \
	:: atomic { N > 2 && !(rd & 4) && me != 2 && !bad -> see(N - 1); how(N - 1); v = 0 }
#define read_all	((rd | (1 << me)) == ALL)

inline forget()
{
	rd = 0; ra = 0; rb = 0; rrel = 0; bad = 0
}
inline forget_all()
{
	forget();
	rmax = 0; x = 0;
	do :: x < N -> racc[x] = 0; x++ :: else -> break od;
	x = 0
}

/* The daemon may die between any two accesses to the disk, and in the midst of a write; while it reads,
 * that makes no difference to anybody. */
#ifdef LIVENESS
#define may_die	:: atomic { crashes < CRASHES && me -> crashes++; goto dead }
#else
#define may_die	:: atomic { crashes < CRASHES -> crashes++; goto dead }
#endif

inline row_write(val)
{
	if
	:: d_step { true; mine[me] = val; busy[me] = 1 }
	may_die
	fi;
	if
	:: d_step {
		true;
		if :: cur[me] != LOST -> cur[me] = mine[me] :: else fi;
		busy[me] = 0; mine[me] = 0
	}
	may_die
	fi;
#ifdef M_NOWAIT
	if
	:: atomic { fly[me] -> cur[me] = fly[me]; fly[me] = 0 }
	:: true
	fi
#endif
}

/* had a newer ballot been written when the reading began? */
inline newer_now()
{
	newer = 0; x = 0;
	do
	:: x < N -> if :: x != me && cur[x] != LOST && BAL(cur[x]) > ep -> newer = 1 :: else fi; x++
	:: else -> break
	od;
	x = 0
}

/* is record k of epoch e in what epoch b stands on? */
inline must_hold(b, e, k)
{
	x = below[b]; y = upto[b];
	do
	:: x > e -> y = upto[x]; x = below[x]
	:: else -> break
	od;
	assert(x == e && y >= k);
	x = 0; y = 0
}

/* P1, P4: when epoch b is owned, all that was confirmed before is in it */
inline own_epoch(b)
{
	d_step {
		assert(!newer);
		owned[b] = 1;
		z = 1;
		do
		:: z < b -> if :: confirmed[z] -> must_hold(b, z, confirmed[z]) :: else fi; z++
		:: else -> break
		od;
		z = 0
	}
}

/* P1, P4: what is confirmed is in every newer epoch that is owned */
inline confirm(e, k)
{
	d_step {
		assert(!newer);
		confirmed[e] = (bye[e] == 1 -> 0 : k);	/* a release alone is left out */
		z = e + 1;
		do
		:: z <= EP -> if :: owned[z] && confirmed[e] -> must_hold(z, e, k) :: else fi; z++
		:: else -> break
		od;
		z = 0
	}
}

#ifdef LIVENESS	/* node 0 tries until it wins, the others leave off some time */
#define may_claim (!me || claims < CLAIMS)
#define counts (me > 0)
#else
#define may_claim (claims < CLAIMS)
#define counts 1
#endif

/* step 1: a ballot above every one seen; nothing else of this reading is used */
inline choose_ballot()
{
	x = 0; y = 0;
	do
	:: x < N ->
		if :: cur[x] != LOST && BAL(cur[x]) > y -> y = BAL(cur[x]) :: else fi;
#ifdef LIVENESS
		if :: busy[x] && BAL(mine[x]) > y -> y = BAL(mine[x]) :: else fi;
#endif
		x++
	:: else -> break
	od;
#ifdef M_SAME_BALLOT
	if :: BAL(cur[me]) -> y = BAL(cur[me]) - me - 1 :: else fi;
#endif
	ep = ((y + N - 1) / N) * N + me + 1;
	x = 0; y = 0
}

/* From epoch x (y: a base of it is told of) down to a base: z 1 if something on the way may be
 * gone, 2 if it is. */
inline chain(a, b)
{
	x = a; y = (a == b); z = 0;
	do
	:: x == 0 -> break
	:: else ->
		if
		:: !sealed[x] -> z = 2; break
		:: else
		fi;
		if
		:: space[x] == FREE || (space[x] == FRONT && !y) -> z = 1
		:: else
		fi;
		if
		:: y -> break
		:: else -> y = told[x]; x = below[x]
		fi
	od;
	x = 0; y = 0
}

/* The newest state, as the row tells it now, does not stand on e. */
inline needless(e, all)
{
	x = 0; y = 0; z = 0;
	do
	:: x < N && cur[x] != LOST ->
		if :: ACC(cur[x]) > y -> y = ACC(cur[x]) :: else fi;
		if :: BSD(cur[x]) > z -> z = BSD(cur[x]) :: else fi;
		x++
	:: x < N && cur[x] == LOST -> y = 0; break	/* undecided: nobody can tell which it is */
	:: x == N -> break
	od;
	x = y; y = (y == z);
	do
	:: x == 0 -> break
	:: else ->
		assert(!(x == e && (all || !y)));
		if
		:: y -> break
		:: else -> y = told[x]; x = below[x]
		fi
	od;
	x = 0; y = 0; z = 0
}

inline set_free(e)
{
	if
	:: sealed[e] -> needless(e, 1); space[e] = FREE
	:: else
	fi;
	pin[e] = 0
}

/* What the chain from accepted epoch a stands on: marks in w. n: it cannot be read, the row has moved on. */
inline mark(a)
{
	x = a; y = (a && a == rb);
	do
	:: x == 0 || !sealed[x] -> break
	:: else ->
		w = w | (1 << x);
		if
		:: space[x] == FREE || (space[x] == FRONT && !y) -> n = 1; break
		:: else
		fi;
		if
		:: y -> break
		:: else -> y = told[x]; x = below[x]
		fi
	od;
	x = 0; y = 0
}

/* Was accepted epoch a ever owned? Its claimer knows; and only an owner appends anything to its seal, or has a base. */
#ifdef M_UNPROVEN
#define proven(a) (rmax <= a)
#else
#define proven(a) (recs[a] || rb == a || known(a))
#endif

/* A daemon that starts: what of the own area is in use? */
inline rebuild()
{
	d_step {
		z = 0;
		do
		:: z < N ->
			w = 0;
			if
#ifdef M_REBUILD_NEWEST
			:: racc[z] && racc[z] == ra -> mark(racc[z])
#else
			:: racc[z] && (racc[z] == ra || !proven(ra)) -> mark(racc[z])
#endif
			:: else
			fi;
			e = me + 1;
			do
			:: e > EP -> break
			:: else ->
				/* another's epoch stands on what was here before it */
				if
				:: (w >> e) & 1 && racc[z] - (z != me) > pin[e] -> pin[e] = racc[z] - (z != me)
				:: else
				fi;
				e = e + N
			od;
			z++
		:: else -> break
		od;
		w = 0; z = 0; e = me + 1;
		do
		:: e > EP || n -> break
		:: else ->
			if
			:: sealed[e] && !pin[e] && space[e] != FREE -> set_free(e)
			:: else
			fi;
			e = e + N
		od;
		e = 0
	}
}

/* area_collect(): what of the dead claims' space is free by now? */
inline collect()
{
	d_step {
		e = me + 1; w = 0;
		do
		:: e > EP || bad -> break
		:: else ->
			if
			:: pin[e] && pin[e] < rb -> set_free(e)
			:: else
			fi;
			/* the newest epoch accounts for itself as long as its claim lives */
			if :: pin[e] && pin[e] >= ra -> w = 1 :: else fi;
			e = e + N
		od;
		if
		:: !bad && ra && proven(ra) ->
			mark(ra); e = me + 1;
			do
			:: e > EP || n -> break
			:: else ->
				if
				:: pin[e] && (w >> e) & 1 -> pin[e] = ra - !(w & 1)
				:: pin[e] -> set_free(e)
				:: else
				fi;
				e = e + N
			od
		:: else
		fi;
		e = 0; w = 0; z = 0; n = 0
	}
}

#define COMMIT 0
#define BASE 1
#define RELEASE 2

/* one record; durable when this is over */
inline append(kind)
{
	d_step { appending[me] = 1; if :: kind == RELEASE -> bye[ep] = recs[ep] + 1 :: else fi };
	if
	:: d_step {
		true;
		if :: appending[me] == 1 -> recs[ep]++ :: else fi;
		appending[me] = 0;
		if
		:: kind == BASE -> base[ep] = recs[ep]
		:: else
		fi
	}
	may_die
	fi
}

/* Read the row: what was appended before is confirmed, or somebody is newer. */
inline confirm_read()
{
	d_step { newer_now(); n = recs[ep] };
	do
	read_row(take)
	:: bad -> goto drop
	:: d_step { read_all && !bad; rd = 0; confirm(ep, n); newer = 0; n = 0 } break
	od
}

inline look_for_space()
{
	printf("space.collect\n");
	d_step { old = ep; ep = 0; v = cur[me]; take_all(me); v = 0 };
	do
	read_row(take_all)
	:: d_step { read_all || bad; collect(); forget_all(); ep = old; old = 0 } break
	od
}

proctype Node(byte me)
{
	short v;
	byte rd, ra, rb, rmax, racc[N];		/* a reading of the row */
	bit rrel, bad, newer;
#ifdef M_FORGET
	bit fresh;
#endif
	byte ep;				/* the epoch of the claim that is open */
	byte old, end, n, seen;
	bit ob;
	byte x, y, z, e;
	short w;

end_idle:
	do
	:: d_step {
			cur[me] != LOST && may_claim;
			claims = claims + counts; choose_ballot()
		}
		break
#if COLLECTS
	:: collects < COLLECTS ->
		collects++;
		look_for_space()
#endif
	may_die
	od;

	if
	:: ep > EP -> ep = 0; goto end_idle	/* beyond the bounds */
	:: else
	fi;
#ifdef M_FIRST_READ
	do
	read_row(take_more)
	:: read_all || bad -> break
	od;
	atomic { v = cur[me]; take_more(me); old = ra; seen = rb; forget(); v = 0 }
#endif

#ifndef M_NO_BALLOT
	printf("claim.ballot\n");
#ifdef M_FORGET
	if
	:: fresh -> fresh = 0; row_write(VAL(ep, 0, 0, 0))
	:: else ->
#endif
	row_write(VAL(ep, ACC(cur[me]), BSD(cur[me]), REL(cur[me])));
#ifdef M_FORGET
	fi;
#endif
#endif

	/* steps 3 and 4 */
again:
	printf("claim.read\n");
	d_step { v = cur[me]; take_more(me); v = 0 };
	do
	read_row(take_more)
	:: bad -> goto drop
	:: read_all && !bad -> break
	od;
	atomic {
#ifdef M_FIRST_READ
		ra = old; rb = seen; seen = 0;
#endif
		rd = 0;
		d_step { chain(ra, rb); n = z; z = 0 }
		if
		:: n < 2 -> n = 0
		:: n > 0 ->
			/* unreadable: the row must have moved on meanwhile */
			assert(seen != (ra << 1 | (rb == ra)));
			seen = (ra << 1 | (rb == ra));
			n = 0;
			forget();
			goto again
		fi;
		seen = 0;
		/* a record that is being written is there, or not yet */
		if
		:: ra && appending[owner(ra)] == 1 && live[owner(ra)] == ra -> recs[ra]++; appending[owner(ra)] = 2
		:: ra && late[owner(ra)] == ra ->
#ifdef M_APPEND_ON
			assert(confirmed[ra] < at[owner(ra)]);	/* overwritten */
#endif
			recs[ra]++; late[owner(ra)] = 0
		:: true
		fi;
		d_step {
			end = recs[ra];
			/* who sees that an epoch was released finds the end of it in its log */
			assert(!rrel || (bye[ra] && bye[ra] <= end));
			if
#ifndef M_KEEP_EMPTY
			/* its seal alone, or that and its release */
			:: ra && (end == 0 || bye[ra] == 1) -> old = below[ra]; end = upto[ra]; ob = told[ra]
#endif
			:: else -> old = ra; ob = (base[ra] && base[ra] <= end) || (ra && rb == ra)
			fi;
#ifdef M_SEAL_NOBASE
			ob = 0;
#endif
			seen = rb;
			forget()
		}
	}

#ifdef REREAD
	/* who is overtaken gives up */
	do
	read_row(take)
	:: bad -> goto drop
	:: read_all && !bad -> rd = 0; break
	od;
#endif

#ifdef M_SEAL_LATE
	printf("claim.accept\n");
	row_write(VAL(ep, ep, seen, 0));
#endif
	printf("claim.seal\n");
	if
	:: d_step {
		true;
		sealed[ep] = 1; below[ep] = old; upto[ep] = end; told[ep] = ob; live[me] = ep;
		old = 0; end = 0; ob = 0
	}
	may_die
	fi;
	printf("claim.accept\n");
#if !defined(M_SEAL_LATE) && !defined(M_ACCEPT_LATE)
	row_write(VAL(ep, ep, seen, 0));
#endif

	printf("claim.check\n");
	d_step { seen = 0; newer_now() };
	do
#ifndef M_NO_CHECK
	read_row(take)
	:: bad -> goto drop
	:: d_step { read_all && !bad; rd = 0; own_epoch(ep); know(ep); newer = 0 } break
#else
	:: d_step { true; own_epoch(ep); know(ep); newer = 0 } break
#endif
	od;
#ifdef LIVENESS
	if :: !me -> won = 1; goto end_won :: else fi;
#endif

own:
	do
	:: recs[ep] - (base[ep] > 0) < RECORDS ->
#ifdef M_READ_FIRST
		d_step { newer_now(); n = recs[ep] + 1 };
		do
		read_row(take)
		:: bad -> goto drop
		:: read_all && !bad -> rd = 0; break
		od;
#endif
		printf("commit.append\n");
		append(COMMIT);
		printf("commit.durable\n");
		printf("confirm.read\n");
#ifdef M_CONFIRM_EARLY
		d_step { newer_now(); confirm(ep, recs[ep]); newer = 0 }
#elif defined(M_READ_FIRST)
		d_step { confirm(ep, n); n = 0; newer = 0 }
#else
		confirm_read();
#endif
		printf("confirm.done\n");
#ifdef M_ACCEPT_LATE
		row_write(VAL(ep, ep, BSD(cur[me]), 0))
#endif
#if TRIMS
	:: trims < TRIMS && !base[ep] ->
		trims++;
		printf("base.append\n");
		append(BASE);
#ifdef M_TRIM_UNTOLD
		d_step { needless(ep, 0); space[ep] = FRONT };
#endif
		printf("trim.confirm\n");
#ifndef M_TRIM_UNCONFIRMED
		confirm_read();
#endif
		printf("trim.row\n");
		row_write(VAL(ep, ep, ep, 0));
		d_step { needless(ep, 0); space[ep] = FRONT };
		look_for_space()
#endif
#if COLLECTS
	:: collects < COLLECTS ->
		collects++;
		look_for_space()
#endif
#if RELEASES
	:: releases < RELEASES ->
		releases++;
		printf("release.append\n");
#ifndef M_RELEASE_EARLY
		append(RELEASE);
		confirm_read();
#endif
		printf("release.row\n");
		row_write(VAL(ep, ep, BSD(cur[me]), 1));
#ifdef M_RELEASE_EARLY
		append(RELEASE);
#endif
		goto drop
#endif
	:: goto drop
	may_die
	od;

	/* Given up, fenced out, or over. Nobody can come upon a seal that was never told of; what was
	 * told of is kept. */
drop:
	atomic {
		if :: live[me] -> pin[live[me]] = ep :: else fi;
		live[me] = 0; ep = 0; newer = 0; n = 0; seen = 0; old = 0; end = 0; ob = 0;
		forget()
	}
	goto end_idle;

	/* what it was writing may still be under way */
dead:
	atomic {
		newer = 0; n = 0; seen = 0; old = 0; end = 0; ob = 0;
		forget();
		if :: appending[me] == 1 -> late[me] = ep :: else fi;
#ifdef M_APPEND_ON
		if :: appending[me] == 1 -> at[me] = recs[ep] + 1 :: else fi;
#endif
#ifdef M_FORGET
		fresh = 1;
#endif
		appending[me] = 0; live[me] = 0; know(0); ep = 0;
		e = me + 1;
		do :: e <= EP -> pin[e] = 0; e = e + N :: else -> break od;
		e = 0
	}
#ifdef LIVENESS
	if :: goto end_won :: true fi;
#endif
	/* a new incarnation: the row was held for longer than any write can be under way */
	if
#ifdef M_NOWAIT
	:: d_step { busy[me]; fly[me] = mine[me]; busy[me] = 0; mine[me] = 0 }
#endif
	:: d_step { busy[me] && cur[me] != LOST; cur[me] = mine[me]; busy[me] = 0; mine[me] = 0 }
	:: d_step { busy[me]; busy[me] = 0; mine[me] = 0 }
#ifdef M_APPEND_ON
	:: !busy[me]
#else
	:: d_step { late[me]; recs[late[me]]++; late[me] = 0 }
	:: d_step { late[me]; late[me] = 0 }
	:: !busy[me] && !late[me]
#endif
	fi;
	printf("space.rebuild\n");
	do
	read_row(take_start)
	:: d_step {
			read_all;
			v = cur[me]; take_start(me); v = 0;
			rebuild(); forget_all(); rd = n; n = 0
		}
		if
		:: rd -> rd = 0	/* read it again */
		:: else -> break
		fi
	od;
#ifdef M_APPEND_ON
	if
	:: ACC(cur[me]) && owned[ACC(cur[me])] -> ep = ACC(cur[me]); live[me] = ep; goto own
	:: else
	fi;
#endif
	goto end_idle;
end_won:
	false
}

#ifdef LIVENESS
ltl claimed { <> won }
#endif

#if DAMAGES
proctype Damage()
{
	if
	:: cur[0] = LOST
	:: cur[1] = LOST
	fi
}
#endif

init {
	atomic {
		byte i = 0;
		do :: i < N -> run Node(i); i++ :: else -> break od;
		i = 0;
#if DAMAGES
		run Damage();
#endif
	}
}
