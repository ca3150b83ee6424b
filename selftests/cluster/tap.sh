# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tests with a whole cluster (lib.sh, sourced before) have in common: their
# plan, their directory $run, what is told when one fails, and the end of all.
#
# KEEP=1 keeps the run's directory. HF_NO_CLUSTER=1 leaves these tests out.
# HF_INST: what to test, below it as if it were /, instead of `make install`.

skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}
[ -z "${HF_NO_CLUSTER-}" ] || skip_all "HF_NO_CLUSTER is set"
why=$(cluster_skip_reason)
[ -z "$why" ] || skip_all "$why"

count=0 failed=0
ok() { # ok RC WHAT
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count - $2"
	else
		failed=$((failed + 1))
		echo "not ok $count - $2"
	fi
	return "$1"
}

run=$(mktemp -d /var/tmp/hftest.XXXXXX) || exit 1
begin=$EPOCHREALTIME
t() { awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }
note() { echo "# $(t) s: $*"; }

diagnose() {
	local n f
	for n in $NODES; do
		for f in console.log up/var/log/holdfastd.log up/var/log/pacemakerd.out; do
			[ -s "$run/$n/$f" ] || continue
			echo "# --- $n: $f"
			tail -n 15 "$run/$n/$f" | cut -c 1-300 | sed 's/^/#   /'
		done
		[ ! -s "$run/$n/up/var/log/pacemaker.log" ] || {
			echo "# --- $n: pacemaker.log"
			grep -E 'error|warning|ocf-exit-reason|tree\(' "$run/$n/up/var/log/pacemaker.log" |
				tail -n 20 | cut -c 1-300 | sed 's/^/#   /'
		}
		node_x "$n" crm_mon -1 2>/dev/null | sed "s/^/# $n: /"
	done
	[ ! -e "$run/bmc/log" ] || sed 's/^/# bmc: /' "$run/bmc/log"
}

plan() { echo "1..$count"; }

finish() {
	trap - EXIT
	[ "$failed" = 0 ] || diagnose >&2
	cluster_down
	! declare -F cleanup >/dev/null || cleanup
	if [ -n "${KEEP-}" ]; then echo "# kept: $run"; else rm -rf "$run"; fi
	plan
	[ "$failed" = 0 ]
	exit $?
}
trap finish EXIT
trap 'failed=1; exit 1' INT TERM HUP

# must WHAT COMMAND...: a step without which the rest makes no sense
must() {
	local what=$1
	shift
	"$@" >"$run/out" 2>&1
	ok $? "$what" && return 0
	sed 's/^/# /' "$run/out" | tail -n 15 >&2
	exit 1
}

online() { # online NODE...: as the first one sees it
	node_x "$1" crm_mon -1 2>/dev/null | grep -q "Online: \[ $(printf '%s\n' "$@" | sort | paste -sd ' ') \]"
}
# runs NODE COUNT IDS: so many resources of those names do, on that node, as it sees it
runs() {
	local out
	out=$(node_x "$1" crm_mon -1 --output-as=xml 2>/dev/null) || return 1
	# two lines for each resource: itself and its node
	[ "$(grep -A1 -E "<resource id=\"($3)\" .* role=\"Started\".* failed=\"false\"" <<<"$out" |
		grep -c "<node name=\"$1\"")" = "$2" ]
}
fenced() { grep -q " off $1$" "$run/bmc/log"; }
answers() { node_x "$1" holdfast status; }
differ() { rsync -aHAXc --delete --dry-run --itemize-changes "$1/" "$2/" 2>&1; }
same() { # same DIR DIR: looked at from outside
	local out
	out=$(differ "$1" "$2")
	[ -z "$out" ] || { echo "$out"; return 1; }
}

# A root file system, and in $run/inst what is to be tested.
prepare() {
	root=$(selftests/cluster/rootfs.sh 2>"$run/rootfs.err")
	ok $? "a root file system for the nodes" || { sed 's/^/# /' "$run/rootfs.err"; exit 1; }
	begin=$EPOCHREALTIME
	truncate -s 64M "$run/qdisk"
	if [ -n "${HF_INST-}" ]; then
		must "a copy of $HF_INST" cp -a "$HF_INST" "$run/inst"
	else
		must "make install" make -s DEPS=0 B="${HF_BUILD#"$PWD"/}" DESTDIR="$run/inst" PREFIX=/usr install
	fi
	must "network and power controller" cluster_up "$run" "$root"
}
