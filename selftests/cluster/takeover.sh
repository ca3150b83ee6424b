#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# How long a takeover takes as Pacemaker sees it, from the end of a service's stop to its start on the other
# node, with Holdfast before it and without: Documentation/performance.md says how, and what came out.
#
#   ROUNDS=9    moves of each; CUTS=3 power cuts of each
#   FILES=1000  in the tree; CHANGED=10 of them between two takeovers
#   GOALS=1     exit 1 where a goal is missed

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
: "${HF_BUILD:=$PWD/build}" "${ROUNDS:=9}" "${CUTS:=3}" "${FILES:=1000}" "${CHANGED:=10}"
export HF_BUILD
NODES="n1 n2"
# shellcheck source=selftests/cluster/lib.sh
. selftests/cluster/lib.sh
# shellcheck source=selftests/cluster/tap.sh
. selftests/cluster/tap.sh
plan() { :; }
ok() {
	[ "$1" != 0 ] || return 0
	failed=1
	echo "takeover.sh: failed: $2" >&2
	return 1
}

KINDS="plain dummy tree"
cib_resources() {
	echo "<resources>"
	cib_power
	for g in $KINDS; do
		echo "<group id=\"$g\"><meta_attributes id=\"$g-m\">$(nv "$g" target-role Stopped)</meta_attributes>"
		case $g in
		dummy) prim dummy-before pacemaker Dummy ;;
		tree) prim tree-before holdfast tree resource=conf takeover=fenced ;;
		esac
		prim "$g-service" hftest mark name="$g"
		echo "</group>"
	done
	echo "</resources><constraints/>"
}

cleanup() { ! mountpoint -q "$run/fs" || umount -l "$run/fs"; }

prepare
# a file system that nobody else writes to, on blocks that are there
must "a file system" sh -c 'dd if=/dev/zero of=$0/fs.img bs=1M count=128 status=none && mke2fs -q -t ext4 $0/fs.img &&
	mkdir $0/fs && mount -o loop $0/fs.img $0/fs' "$run"
for n in $NODES; do
	node_new "$n"
	mkdir -p "$run/fs/$n/app"
	rmdir "$run/$n/srv" && ln -s "$run/fs/$n" "$run/$n/srv"
	install -m 755 selftests/cluster/mark "$run/$n/up/usr/lib/ocf/resource.d/hftest/mark"
done
awk -v n="$FILES" -v d="$run/fs/n1/app" 'BEGIN {
	srand(1)
	for (i = 0; i < n; i++) {
		if (i % 50 == 0)
			system("mkdir " d "/" i / 50)
		f = d "/" int(i / 50) "/" i ".conf"
		for (k = -log(1 - rand()) * 200; k > 0; k--)
			printf "option.%d = %d ; a line of about 40 B\n", k, rand() * 1e9 >f
		print "" >f
		close(f)
	}
}'
: >"$run/shared/marks"
for n in $NODES; do must "$n boots" node_start "$n"; done
for n in $NODES; do must "$n: holdfastd answers" wait_for 60 answers "$n"; done
must "both nodes are in the cluster" wait_for 60 online n1 n2
must "the resource is registered" node_x n1 holdfast resource add conf
must "its tree is registered" node_x n1 holdfast checkpoint add conf /srv/conf/app


declare -A at	# where the group is
marks() { grep -c " start $1 $2$" "$run/shared/marks"; }
began() { [ "$(marks "$1" "$2")" -gt "$3" ]; }
# from time $1, or from the end of its stop, to the last start of group $2, in ms
took() {
	awk -v t="$1" -v g="$2" '$3 == g { last[$2] = $1 }
		END { printf "%.1f\n", (last["start"] - (t ? t : last["stop"])) * 1000 }' "$run/shared/marks"
}
role() { node_x "$1" crm_resource --resource "$2" --meta --set-parameter target-role --parameter-value "$3"; }
settled() { node_x "$1" crm_resource --wait; }
put() { echo "$*" >>"$run/raw"; }
other() { if [ "$1" = n1 ]; then echo n2; else echo n1; fi; }

# How long Pacemaker's operation of a resource ran, as it has noted
ran() { # ran NODE RESOURCE OPERATION
	node_x "$1" cibadmin --query --xpath "//node_state[@uname='$1']//lrm_resource[@id='$2']/lrm_rsc_op[@operation='$3']" |
		sed -n 's/.* exec-time="\([0-9]*\)".*/\1/p' | tail -n 1
}

warm() { # the node $2 stands by with what $1 has
	local g
	g=$(node_x "$1" holdfast status conf --json | tr -d ' \n' | sed 's/.*"generation":\([0-9]*\).*/\1/')
	node_x "$2" holdfast status conf --json | tr -d ' \n' | grep -q '"warm":{[^}]*"generation":'"$g"'[,}]'
}

change() { # change OWNER STANDBY
	# shellcheck disable=SC2016
	must "changes on $1" node_x "$1" sh -euc 'cd /srv/conf/app
		for i in $(seq "$1"); do f=$((i * $3 / $1 - 1)); echo "# $2" >>$((f / 50))/$f.conf; done
		holdfast sync conf' sh "$CHANGED" "$EPOCHREALTIME" "$FILES"
	must "$2 stands by" wait_for 60 warm "$1" "$2"
}

# What the daemon says of its last takeover, and Pacemaker of the start around it
parts() { # parts NODE KIND
	put "$2 start $(ran "$1" tree-before start)"
	sed -n 's/.*conf: taken over in \([0-9]*\) ms.*/total \1/p
		s/.*conf: claimed in \([0-9]*\) ms (\([0-9.]*\) of .* tracked in \([0-9]*\), compared in \([0-9.]*\), kept aside in \([0-9.]*\), written in \([0-9.]*\), synced in \([0-9.]*\)/claim \1\nread \2\ntrack \3\ncompare \4\nkeep \5\nwrite \6\nsync \7/p' \
		"$run/$1/up/var/log/holdfastd.log" | tail -n 8 | sed "s/^/$2 /" >>"$run/raw"
}

turned() { # the kinds, in another order in each round
	local -a k
	local i
	read -ra k <<<"$KINDS"
	for i in 0 1 2; do echo "${k[($1 + i) % 3]}"; done
}

moved() { # moved KIND
	local g=$1 from=${at[$1]} to n
	to=$(other "$from")
	[ "$g" != tree ] || change "$from" "$to"
	must "Pacemaker is idle" settled n1
	n=$(marks "$g" "$to")
	must "$g is to move" node_x n1 crm_resource --move --resource "$g" --node "$to"
	must "$g moves to $to" wait_for 60 began "$g" "$to" "$n"
	must "Pacemaker is idle" settled n1
	at[$g]=$to
	put "move $g $(took 0 "$g")"
	[ "$g" != tree ] || { put "parts stop $(ran "$from" tree-before stop)"; parts "$to" parts; }
}

lose() { # lose KIND: the others do not run meanwhile
	local g=$1 from to n k
	for k in $KINDS; do
		must "$k" role n1 "$k" "$([ "$k" = "$g" ] && echo Started || echo Stopped)"
	done
	must "Pacemaker is idle" settled n1
	from=$(awk -v g="$g" '$2 == "start" && $3 == g { n = $4 } END { print n }' "$run/shared/marks")
	to=$(other "$from")
	[ "$g" != tree ] || change "$from" "$to"
	n=$(marks "$g" "$to")
	must "power cut" node_kill "$from"
	must "$g runs on $to" wait_for 60 began "$g" "$to" "$n"
	put "cut $g $(took "$(awk -v n="$from" '$3 == n { t = $1 } END { print t }' "$run/bmc/log")" "$g")"
	must "Pacemaker is idle" settled "$to"
	[ "$g" != tree ] || parts "$to" lost
	must "$from boots" node_start "$from"
	must "$from is back" wait_for 60 online "$to" "$from"
	must "$from: holdfastd answers" wait_for 60 answers "$from"
}

load=$(cut -d ' ' -f 1 /proc/loadavg)
for g in $KINDS; do
	must "$g belongs to n1" node_x n1 crm_resource --move --resource "$g" --node n1
	must "$g is to start" role n1 "$g" Started
	must "$g runs" wait_for 60 began "$g" n1 0
	at[$g]=n1
done
# once there and back: both nodes then have had the tree
for r in $(seq -1 "$ROUNDS"); do
	for g in $(turned "$((r + 1))"); do moved "$g"; done
	[ "$r" -gt 0 ] || : >"$run/raw"
done
for g in $KINDS; do must "$g may be anywhere" node_x n1 crm_resource --clear --resource "$g"; done
for r in $(seq "$CUTS"); do
	for g in $(turned "$r"); do lose "$g"; done
done

of() { grep "^$1 $2 " "$run/raw" | cut -d ' ' -f 3 | sort -g | awk '{ v[NR] = $1 } END { if (NR) print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[1] }'; }
row() { # row TEXT KIND WHAT
	read -r med least <<<"$(of "$2" "$3")"
	printf '    %-68s %8.1f %8.1f\n' "$1" "$med" "$least"
}
med() { of "$1" "$2" | cut -d ' ' -f 1; }
minus() { awk "BEGIN { printf \"%.1f\", $1$(printf -- ' - %s' "${@:2}") }"; }
line() { printf '    %-68s %8.1f\n' "$1" "$2"; }

echo "    $FILES files, $CHANGED of them changed since, $(date '+%Y-%m-%d %H:%M'), load $load before, $(cut -d ' ' -f 1 /proc/loadavg) after"
echo
printf '    %-68s %8s %8s\n' "moved: from the end of the service's stop to its start, ms" median least
row "the service alone" move plain
row "behind a resource that does nothing (ocf:pacemaker:Dummy)" move dummy
row "behind ocf:holdfast:tree" move tree
adds=$(minus "$(med move tree)" "$(med move plain)")
line "Holdfast adds" "$adds"
line "  to a resource that does nothing" "$(minus "$(med move tree)" "$(med move dummy)")"
echo
if [ "$CUTS" -gt 0 ]; then
	printf '    %-68s %8s %8s\n' "power cut: from the end of fencing to the service's start, ms" median least
	row "the service alone" cut plain
	row "behind a resource that does nothing" cut dummy
	row "behind ocf:holdfast:tree" cut tree
	line "Holdfast adds" "$(minus "$(med cut tree)" "$(med cut plain)")"
	echo
fi
split() { # split KIND
	row "start, as Pacemaker has noted" "$1" start
	line "  agent and command" "$(minus "$(med "$1" start)" "$(med "$1" total)")"
	row "  claim" "$1" claim
	row "    reading the log" "$1" read
	row "  track" "$1" track
	row "  compare" "$1" compare
	row "  keep aside" "$1" keep
	row "  write" "$1" write
	row "  sync" "$1" sync
	line "  journal, marks, confirm" "$(minus "$(med "$1" total)" "$(med "$1" claim)" "$(med "$1" track)" \
		"$(med "$1" compare)" "$(med "$1" keep)" "$(med "$1" write)" "$(med "$1" sync)")"
}
printf '    %-68s %8s %8s\n' "where the time of the tree goes when it is moved, ms" median least
row "stop, as Pacemaker has noted" parts stop
split parts
line "Pacemaker, between the four" "$(minus "$(med move tree)" "$(med parts stop)" "$(med parts start)")"
if [ "$CUTS" -gt 0 ]; then
	echo
	printf '    %-68s %8s %8s\n' "after a power cut, ms" median least
	split lost
fi
echo
if awk "BEGIN { exit !($adds <= 100) }"; then
	printf '      %-74s met\n' "Holdfast adds to a move of the service, ms ($adds, <= 100)"
else
	printf '      %-74s MISSED\n' "Holdfast adds to a move of the service, ms ($adds, <= 100)"
	[ "${GOALS:-0}" != 1 ] || failed=1
fi
