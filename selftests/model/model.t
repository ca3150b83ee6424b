#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The claim protocol's model, explored by spin within bounds that take some two minutes of one
# processor (Documentation/claims.rst has them), and every step left out or done wrongly
# once. model.soak goes further.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
# shellcheck source=selftests/model/lib.sh
. "$here/lib.sh"

# names of the steps of the model, and of the code's seams that are steps on the disk
names() {
	sed -n 's/.*printf("\([a-z]*\.[a-z]*\)\\n").*/\1/p' "$here/claims.pml" | grep -v '^space\.' | sort -u >"$t/model"
	# captured is before the disk, the reply after it
	grep -rhoE 'hf_seam\("(claim|commit|confirm|base|trim|release)\.[a-z]+"\)' "$here/../../user" |
		sed 's/.*"\(.*\)".*/\1/' | grep -v '^commit\.captured$' | sort -u >"$t/code"
	diff "$t/model" "$t/code" >"$t/log" && [ -s "$t/code" ]
	tap $? 'the steps have the same names in the model and in the code'
}
names

holds 'two sectors in turn are one register, whatever is torn' slots
holds '3 nodes, 3 claims, a crash: what was confirmed is in every later epoch' claims -DCLAIMS=3 -DCRASHES=1
holds '3 nodes, 3 claims, a base and a trim: nothing that is needed is used again' claims \
	-DCLAIMS=3 -DCRASHES=0 -DTRIMS=1 -DATOMIC
two='-DN=2 -DCLAIMS=3 -DCRASHES=1'
# shellcheck disable=SC2086
{
	holds '2 nodes, 3 claims, a crash, a base, a release' claims $two -DTRIMS=1 -DRELEASES=1 -DATOMIC
	holds '2 nodes, a slot that is lost in both copies: the log stands still, nothing else' claims -DN=2 -DCLAIMS=3 -DCRASHES=0 \
		-DDAMAGES=1 -DCOLLECTS=1
	wins '2 nodes, the other leaves off or dies: a claim is won' claims -DN=2 -DLIVENESS -DCLAIMS=2 -DCRASHES=1 -DROUNDS=6

	fails 'a slot is not written over the one that counts' slots -DM_ONE_SECTOR
	fails 'a slot is not used again before its last write returned' slots -DM_NOT_RETURNED
	fails 'beside a torn slot the other one is read after it' slots -DM_TORN_PAIR

	fails 'the ballot is written before the row is read' claims $two -DM_NO_BALLOT
	fails 'nothing but the ballot is used of the first reading' claims $two -DM_FIRST_READ
	fails 'the seal is durable before it is told of' claims $two -DM_SEAL_LATE
	fails 'accepted before anything is confirmed' claims $two -DM_ACCEPT_LATE
	fails 'the row is read after accepting' claims $two -DM_NO_CHECK
	fails 'the row is read before a confirmation' claims $two -DM_CONFIRM_EARLY
	fails 'the row is read after the append' claims $two -DM_READ_FIRST
	fails 'an undecided slot counts as newer' claims -DN=2 -DCLAIMS=3 -DCRASHES=0 -DDAMAGES=1 -DM_UNDECIDED
	fails 'a ballot is above every one seen' claims -DN=2 -DLIVENESS -DCLAIMS=1 -DCRASHES=0 -DROUNDS=3 -DM_SAME_BALLOT

	fails 'a new incarnation waits for what its predecessor wrote' claims $two -DM_NOWAIT
	fails 'a new incarnation carries on what its slot holds' claims $two -DM_FORGET
	fails 'a new incarnation appends to no segment of its predecessor' claims $two -DRECORDS=2 -DM_APPEND_ON

	fails 'the base is confirmed before space is free' claims $two -DTRIMS=1 -DATOMIC -DM_TRIM_UNCONFIRMED
	fails 'the row tells of the base before space is free' claims $two -DTRIMS=1 -DATOMIC -DM_TRIM_UNTOLD
	fails 'a seal tells of a base that the row does not tell of' claims $two -DTRIMS=1 -DATOMIC -DM_SEAL_NOBASE
	fails 'an epoch that holds its seal alone is left out' claims $two -DM_KEEP_EMPTY
	fails 'who starts keeps what any accepted epoch stands on while the newest may be in vain' claims $two -DM_REBUILD_NEWEST
	fails 'an epoch that may be in vain frees nothing' claims -DCLAIMS=3 -DCRASHES=1 -DATOMIC -DREREAD -DM_UNPROVEN

	fails 'the flag of a release is written after its record' claims $two -DRELEASES=1 -DM_RELEASE_EARLY
}
finish
