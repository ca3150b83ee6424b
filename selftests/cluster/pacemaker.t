#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A real Pacemaker moves ocf:holdfast:tree between two nodes: a clean move there
# and back, a power cut with fencing, and the dead node's return. (P1, P4, P5)

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
: "${HF_BUILD:=$PWD/build}"
export HF_BUILD
# shellcheck source=selftests/cluster/lib.sh
. selftests/cluster/lib.sh

# shellcheck source=selftests/cluster/tap.sh
. selftests/cluster/tap.sh

started() { runs "$1" 3 'conf|service|dummy'; }
owned() { node_x "$1" holdfast status conf --json | grep -q '"state": *"online", *"owner": *"'"$1"'"'; }
tree() { echo "$run/$1/srv/app"; }
# What the service read when it was started there.
seen() { node_x "$1" cat /run/service.seen | grep -q "$2"; }

# Run in a node, changes in the ways that people and programs make them.
edit() { # edit NODE WORD
	local n=$1 w=$2
	# shellcheck disable=SC2016
	node_x "$n" sh -euc 'cd /srv/conf/app
		sed -i "s/^word = .*/word = $1/" main.conf
		printf "%s\n" "only in $1" >"parts/$1.conf"
		chmod 640 "parts/$1.conf"; chown 1:2 "parts/$1.conf"
		setfattr -n user.why -v "$1" main.conf
		ln -sfn "parts/$1.conf" current
		rm -f gone; : >"gone-$1"; mv "gone-$1" gone' edit "$w"
}

prepare
for n in $NODES; do node_new "$n"; done
mkdir -p "$run/n1/srv/app/parts" "$run/n2/srv/app"
printf 'word = first\nother = 1\n' >"$run/n1/srv/app/main.conf"
for i in 1 2 3; do echo "part $i" >"$run/n1/srv/app/parts/$i.conf"; done
: >"$run/n1/srv/app/gone"

for n in $NODES; do must "$n boots" node_start "$n"; done

for n in $NODES; do must "$n: holdfastd answers" wait_for 60 answers "$n"; done
must "both nodes are in the cluster" wait_for 60 online n1 n2
note "formed"

validate() {
	node_x n1 crm_resource --validate --class ocf --provider holdfast --agent tree --option resource="$1" --option takeover="$2"
}
must "the resource is registered" node_x n1 holdfast resource add conf
must "crm_resource --validate has nothing against it" validate conf fenced
! grep -q stonith-enabled "$run/out"
ok $? "nor against takeover=fenced, with fencing"
! validate conf maybe >"$run/out" 2>&1
ok $? "but against takeover=maybe"
! validate none lease >"$run/out" 2>&1
ok $? "and against a resource that is not registered"
must "its tree is registered" node_x n1 holdfast checkpoint add conf /srv/conf/app
must "the group is told to start" node_x n2 \
	crm_resource --resource app --meta --set-parameter target-role --parameter-value Started
must "it starts on n1" wait_for 60 started n1
note "started on n1"

# --- its daemon dies, which is nothing for Pacemaker to know
# shellcheck disable=SC2016
must "n1: holdfastd is killed" node_x n1 sh -c 'kill -KILL "$(pidof holdfastd)"'
must "n1: the agent starts it again" wait_for 60 answers n1
must "it is online there" wait_for 60 owned n1

# --- a clean move there and back
edit n1 alpha
must "sync on n1 returns 0" node_x n1 holdfast sync conf
out=$(node_x n2 holdfast online conf 2>&1)
[ $? = 5 ]
ok $? "P4: n2 may not bring it online beside Pacemaker (exit 5)" || echo "# $out"
# what no sync confirmed belongs to a clean move as well
node_x n1 sh -c 'echo late >/srv/conf/app/late'
cp -a "$(tree n1)" "$run/oracle"
must "Pacemaker is told to move it to n2" node_x n1 crm_resource --move --resource app --node n2
must "it moves to n2" wait_for 60 started n2
note "moved to n2"
must "n2 has n1's tree, all of it" same "$run/oracle" "$(tree n2)"
must "P5: the service read the restored configuration when it started" seen n2 'word = alpha'

edit n2 beta
must "Pacemaker is told to move it back" node_x n2 crm_resource --move --resource app --node n1
must "it moves back to n1" wait_for 60 started n1
note "moved back to n1"
must "n1 has n2's tree" same "$(tree n2)" "$(tree n1)"
must "P5: the service on n1 read what was written on n2" seen n1 'word = beta'
for n in n1 n2; do node_x "$n" crm_resource --clear --resource app >/dev/null 2>&1; done

# --- the power of its node fails
edit n1 gamma
must "P1: sync on n1 returns 0" node_x n1 holdfast sync conf
rm -rf "$run/oracle"
cp -a "$(tree n1)" "$run/oracle"
cut=$EPOCHREALTIME
must "n1 loses power" node_kill n1
must "n1 is fenced" wait_for 60 fenced n1
must "it starts on n2" wait_for 60 started n2
echo "# $(awk -v a="$cut" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }') s from power cut to service"
must "P1: everything that sync confirmed is on n2" same "$run/oracle" "$(tree n2)"
must "P5: the service read it when it started" seen n2 'word = gamma'

# --- the dead node comes back, with what it had on its disk
node_x n2 sh -c 'echo delta >/srv/conf/app/after'
must "n2 goes on keeping changes" node_x n2 holdfast sync conf
must "n1 boots again" node_start n1
must "n1 is back in the cluster" wait_for 60 online n2 n1
must "n1: holdfastd answers" wait_for 60 answers n1
must "it stays on n2" wait_for 60 started n2
note "n1 is back"
[ ! -e "$(tree n1)/after" ]
ok $? "P4: what came back did not touch n1's tree"
out=$(node_x n1 holdfast sync conf 2>&1)
rc=$?
[ $rc = 5 ] || [ $rc = 6 ]
ok $? "P4: sync on n1 is refused (5) or stale (6)" || echo "# exit $rc: $out"
must "Pacemaker is told to move it to n1" node_x n2 crm_resource --move --resource app --node n1
must "it moves to n1" wait_for 60 started n1
must "n1 has n2's tree" same "$(tree n2)" "$(tree n1)"
must "the service read it" seen n1 'delta'

node_x n1 crm_mon -1 --failcounts >"$run/out" 2>&1
! grep -q 'fail-count=' "$run/out"
ok $? "Pacemaker counted no failure" || sed 's/^/# /' "$run/out"
[ "$(grep -c . "$run/bmc/log")" = 1 ]
ok $? "nobody else was fenced" || sed 's/^/# /' "$run/bmc/log"
note "done"
