#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The history checker under a real Pacemaker: writers work where their service is started, while power, network, quorum disk and
# daemons fail, and administrators do it wrong. (P1, P4, P5; Documentation/reliability.md)
#
#   history.t [--seed N] [--seconds N] [--bags N] [--only TEXT] [--table FILE]
#
# NODES="n1 n2" for two nodes; SEED=N is --seed N.

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
: "${HF_BUILD:=$PWD/build}"
export HF_BUILD
: "${NODES:=n1 n2 n3}"
# a machine with much else to do lets nobody be taken for dead
TOKEN=2000
export NODES TOKEN
# shellcheck source=selftests/cluster/lib.sh
. selftests/cluster/lib.sh
# shellcheck source=selftests/cluster/tap.sh
. selftests/cluster/tap.sh

cib_resources() {
	echo "<resources>"
	cib_power
	echo "<group id=\"app\"><meta_attributes id=\"app-m\">$(nv app target-role Stopped)</meta_attributes>"
	EVERY=2s prim conf holdfast tree resource=h takeover=fenced
	EVERY=2s prim service hftest writers
	echo "</group></resources><constraints/>"
}

# The daemon of a node, whoever starts it, reaches the disk through preload_faults.c.
faulty() {
	local up=$run/$1/up
	mkdir -p "$up/usr/lib/faults"
	cp "$run/inst/usr/sbin/holdfastd" "$HF_BUILD/selftests/failover/preload_faults.so" "$up/usr/lib/faults/"
	install -m 755 /dev/stdin "$up/usr/sbin/holdfastd" <<-X
	#!/bin/sh
	export LD_PRELOAD=/usr/lib/faults/preload_faults.so HF_FAULTS=/shared/faults-$1 HF_FAULTS_DISK=/dev/qdisk
	exec /usr/lib/faults/holdfastd "\$@"
	X
	install -m 755 "$HERE/writers" "$up/usr/lib/ocf/resource.d/hftest/writers"
	# all works, and a thousandth of a second is one (struct control)
	{ head -c 12 /dev/zero; printf '\350\003'; head -c 18 /dev/zero; } >"$run/shared/faults-$1"
	mkdir -p "$run/$1/srv/app"
}

prepare
for n in $NODES; do
	node_new "$n"
	faulty "$n"
done
for w in w0 w1 w2; do
	mkdir "$run/n1/srv/app/$w"
	echo first >"$run/n1/srv/app/$w/first"
done
for n in $NODES; do must "$n boots" node_start "$n"; done
for n in $NODES; do must "$n: holdfastd answers" wait_for 60 answers "$n"; done
# shellcheck disable=SC2086
must "all nodes are in the cluster" wait_for 60 online $NODES
must "the resource is registered" node_x n1 holdfast resource add h
must "anything in it may be deleted" node_x n1 holdfast resource set h managed=yes delete-guard=0
must "its tree is registered" node_x n1 holdfast checkpoint add h /srv/conf/app
must "n1 has the first generation" node_x n1 holdfast online h
must "from here on it is Pacemaker's" node_x n1 holdfast offline h
note "formed"

HFT_DIR=$run HFT_CGROUP=$CG HFT_HUB=$HUB HFT_ROOTFS=$root \
	"$HERE/history.py" --first $count --tally "$run/tally" ${SEED:+--seed "$SEED"} "${@:---seconds=75}" ||
	failed=1
if [ -s "$run/tally" ]; then
	read -r count bad <"$run/tally"
	failed=$((failed + bad))
else
	ok 1 "the checker came to an end"
fi
note "done"
