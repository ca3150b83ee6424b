#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Three nodes with a quorum, and two services whose own tools write their configuration: PostgreSQL, with its
# data on a disk that moves with it, and CUPS. What was set on one node is asked of the services on another
# one after a power cut, and after a network cut; without a quorum nobody serves. (P1, P4, P5, X4)

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
: "${HF_BUILD:=$PWD/build}"
export HF_BUILD
NODES="n1 n2 n3"
# shellcheck source=selftests/cluster/lib.sh
. selftests/cluster/lib.sh
# shellcheck source=selftests/cluster/tap.sh
. selftests/cluster/tap.sh

losetup -f >/dev/null 2>&1 || skip_all "there are no loop devices, which stand for a disk that moves"
ip=$NET.50 main=/etc/postgresql/15/main

cib_resources() {
	echo "<resources>"
	cib_power
	echo "<group id=\"pg\"><meta_attributes id=\"pg-m\">$(nv pg target-role Stopped)</meta_attributes>"
	cib_pg $ip
	echo "</group><group id=\"cups\"><meta_attributes id=\"cups-m\">$(nv cups target-role Stopped)</meta_attributes>"
	prim cups-conf holdfast tree resource=cups takeover=fenced
	prim cups-d heartbeat anything binfile=/usr/sbin/cupsd cmdline_options=-f
	echo "</group></resources><constraints>"
	place pg 30 20 10
	place cups 30 10 20
	echo "</constraints>"
}
place() { # place GROUP SCORE...: how much each node is wanted
	local g=$1 i=1
	shift
	for s; do
		echo "<rsc_location id=\"$g-n$i\" rsc=\"$g\" node=\"n$i\" score=\"$s\"/>"
		i=$((i + 1))
	done
}

loop=
cleanup() { [ -z "$loop" ] || losetup -d "$loop"; }

prepare
must "a disk for the data" mke2fs -q -t ext4 -d "$root/var/lib/postgresql" "$run/data" 256M
loop=$(losetup -f --show "$run/data")
ok $? "as a device" || exit 1
printf '%s\n' "$loop dev/data" "postgresql etc/postgresql" "cups etc/cups" >"$run/binds"
for n in $NODES; do
	node_new "$n"
	cp -a "$root/etc/postgresql" "$root/etc/cups" "$run/$n"
done
# as its administrator has set it up. cupsd keeps changes to itself for half a minute otherwise.
echo "DirtyCleanInterval 0" >>"$run/n1/cups/cupsd.conf"
sed -i "s/^#listen_addresses.*/listen_addresses = '*'/" "$run/n1/postgresql/15/main/postgresql.conf"
for n in $NODES; do must "$n boots" node_start "$n"; done
for n in $NODES; do must "$n: holdfastd answers" wait_for 60 answers "$n"; done
must "three nodes are in the cluster" wait_for 60 online n1 n2 n3
note "formed"

pg_on() { runs "$1" 4 'pg-.*'; }
cups_on() { runs "$1" 2 'cups-.*'; }
asked() { node_x "$1" crm_resource --resource "$2" --meta --set-parameter target-role --parameter-value Started; }
# as its administrator, on the node that has it; and as somebody who may come by the network, or not
admin() { node_x "$1" runuser -u postgres -- psql -X -At -d postgres -c "$2"; }
guest() { PGCONNECT_TIMEOUT=5 node_x "$1" psql -X -At -h $ip -U report -d postgres -c "$2"; }
location() { node_x "$1" lpstat -l -p office | grep Location; }
is() { # is WANT WHAT COMMAND...: what it says
	local want=$1 what=$2 got
	shift 2
	got=$("$@" 2>&1)
	[ "$got" = "$want" ]
	ok $? "$what" || echo "# got '$got', want '$want'"
}

for r in pg:/etc/postgresql cups:/etc/cups; do
	must "${r%:*} is registered" node_x n1 holdfast resource add "${r%:*}"
	must "${r#*:} is its checkpoint" node_x n1 holdfast checkpoint add "${r%:*}" "${r#*:}"
	must "${r%:*} is told to start" asked n2 "${r%:*}"
done
must "PostgreSQL runs on n1" wait_for 60 pg_on n1
must "CUPS runs on n1" wait_for 60 cups_on n1
note "services run"

# --- what their tools write on n1
must "n1: a table and a role" admin n1 "create table t (x int); create role report login; grant select on t to report;
	insert into t select generate_series(1, 1000)"
! guest n3 "show work_mem" >"$run/out" 2>&1
ok $? "n3: the role may not come by the network"
grep -q 'no pg_hba.conf entry' "$run/out"
ok $? "PostgreSQL's configuration says so" || sed 's/^/# /' "$run/out"
must "n1: pg_conftool sets work_mem" node_x n1 pg_conftool 15 main set work_mem 7MB
# shellcheck disable=SC2016
must "n1: pg_hba.conf is edited" node_x n1 sh -c 'echo "host postgres report $1/24 trust" >>$2/pg_hba.conf' sh "$NET.0" $main
must "P1: sync returns 0" node_x n1 holdfast sync pg
must "n1: lpadmin makes a printer" node_x n1 lpadmin -p office -E -v ipp://$NET.99/ipp/print -L "second floor"
must "n1: it is the default" node_x n1 lpadmin -d office
must "P1: sync returns 0" node_x n1 holdfast sync cups
must "cupsd has written it" grep -q '^<DefaultPrinter office>' "$run/n1/cups/printers.conf"
cp -a "$run/n1/postgresql" "$run/oracle"

cut=$EPOCHREALTIME
must "n1 loses power" node_kill n1
must "n1 is fenced" wait_for 60 fenced n1
must "PostgreSQL runs on n2" wait_for 60 pg_on n2
must "CUPS runs on n3" wait_for 60 cups_on n3
echo "# $(awk -v a="$cut" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }') s from power cut to both services"
is 7MB "P1: it serves with what pg_conftool had set" guest n3 "show work_mem"
is 1000 "P1: pg_hba.conf lets the role in, and the data are there" guest n3 "select count(*) from t"
is "device for office: ipp://$NET.99/ipp/print" "P1: CUPS has the printer" node_x n3 lpstat -v
is "system default destination: office" "P1: it is the default" node_x n3 lpstat -d
is "	Location: second floor" "P1: with its place" location n3
must "n2 has all of n1's tree" same "$run/oracle" "$run/n2/postgresql"

# --- n1 comes back, and the network of the new owner is cut
must "n1 boots again" node_start n1
must "n1 is back in the cluster" wait_for 60 online n2 n1 n3
must "n1: holdfastd answers" wait_for 60 answers n1
must "PostgreSQL stays on n2" wait_for 60 pg_on n2
must "n2: pg_conftool sets maintenance_work_mem" node_x n2 pg_conftool 15 main set maintenance_work_mem 77MB
must "P1: sync returns 0" node_x n2 holdfast sync pg
note "n1 is back"
cut=$EPOCHREALTIME
must "n2's network is cut" node_cut n2
must "the other two fence it" wait_for 60 fenced n2
must "PostgreSQL runs on n1" wait_for 60 pg_on n1
echo "# $(awk -v a="$cut" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }') s from network cut to service"
is "77MB" "P1: n1 serves with what was set on n2" guest n3 "show maintenance_work_mem"
is "7MB" "P1: and before on itself" guest n3 "show work_mem"
must "CUPS stays on n3" wait_for 60 cups_on n3

# --- two of three are left; alone neither may serve
stopped() { [ "$(node_x "$1" holdfast status "$2" --json | grep -o '"state": *"offline"' | wc -l)" = 1 ]; }
no_answer() { ! admin n1 "select 1"; }
must "the network between n1 and n3 is cut" node_cut n3
must "without a quorum PostgreSQL is stopped" wait_for 60 no_answer
must "its tree is released" wait_for 60 stopped n1 pg
must "CUPS' too" wait_for 60 stopped n3 cups
must "the network is mended" node_mend n3
must "PostgreSQL runs again" wait_for 60 pg_on n1
must "CUPS too" wait_for 60 cups_on n1
is "device for office: ipp://$NET.99/ipp/print" "P1: with its printer" node_x n1 lpstat -v
is "77MB" "it serves as before" guest n3 "show maintenance_work_mem"

for n in n1 n3; do
	node_x $n crm_mon -1 --failcounts >"$run/out" 2>&1
	! grep -q 'fail-count=' "$run/out"
	ok $? "$n: Pacemaker counted no failure" || sed 's/^/# /' "$run/out"
done
[ "$(grep -c . "$run/bmc/log")" = 2 ]
ok $? "nobody else was fenced" || sed 's/^/# /' "$run/bmc/log"
note "done"
