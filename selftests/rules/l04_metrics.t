#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L4: metrics can be read as OpenMetrics and as Prometheus' text format, and tell the truth.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
om() { hf "$1" metrics >"$tmp/out" 2>"$tmp/err"; $PY "$top/selftests/rules/openmetrics.py" "${@:2}" <"$tmp/out"; }
metric() { local want=$1; shift; until_true 5 eval "[ \"\$(om $* 2>&1)\" = '$want' ]"; is "$(om "$@" 2>&1)" "$want" "${*:2} on $1"; }
clean() {
	why=$(om "$1" 2>&1); [ -z "$why" ]; ok $? "$2"
	why=$(promtool check metrics <"$tmp/out" 2>&1); ok $? "promtool accepts it"
}
LEASE=2s
command -v promtool >/dev/null; ok $? "promtool is here (Debian's package prometheus; scripts/deps.sh check)"
cluster a b
run 10 "without a daemon: exit 10" a metrics
is "$(cat "$tmp/out")" "# TYPE holdfast_up gauge
# HELP holdfast_up Whether the daemon of this node answers.
holdfast_up 0
# EOF" "and one sample, that it is not there"
clean a "which is well-formed"
up a
up b
clean a "without a resource it is well-formed"
mkdir -p "$tmp/a/root/srv/r" "$tmp/b/root/srv/r"
echo 1 >"$tmp/a/root/srv/r/f"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null
hf a resource add never >/dev/null
printf '#!/bin/sh\n[ $1 = online ] && exit 1\nexit 0\n' >"$tmp/a/hooks/h"; chmod 755 "$tmp/a/hooks/h"
clean b "with resources that were never online too"
run 0 "online" a online r
for i in 1 2 3; do echo "$i" >"$tmp/a/root/srv/r/g$i"; hf a sync r >/dev/null; done
clean a "L4: metrics are OpenMetrics, and Prometheus' text format"
tail -1 "$tmp/out" | grep -qx '# EOF'; ok $? "with the end that OpenMetrics wants"
metric 1 a holdfast_up
metric 1 a holdfast_store_ok
metric 1 a holdfast_node_up node=b
metric 1 a holdfast_resource_owned resource=r
metric 0 b holdfast_resource_owned resource=r
metric 1 a holdfast_resource_state resource=r state=online
metric 0 a holdfast_resource_state resource=r state=offline
metric 1 b holdfast_resource_state resource=r state=online
metric 1 b holdfast_resource_state resource=never state=offline
metric 0 a holdfast_resource_dirty_entries resource=r
metric 0 a holdfast_resource_unconfirmed_seconds resource=r
metric 1 a holdfast_resource_checkpoints resource=r
metric "$(field a r generation)" a holdfast_resource_generation resource=r
metric "$(field a r confirmed)" a holdfast_resource_confirmed_generation resource=r
metric 1 a holdfast_takeover_duration_seconds_count resource=r
metric 0 a holdfast_commit_failure_duration_seconds_count resource=r
is "$(om a holdfast_commit_lag_seconds_bucket resource=r le=+Inf)" "$(om a holdfast_commit_duration_seconds_count resource=r)" \
	"every commit is in the histogram of lags"
[ "$(om a holdfast_commit_duration_seconds_count resource=r)" -ge 4 ]; ok $? "all of them"
is "$(om a holdfast_resource_rpo_seconds resource=r)" none "no rpo where none is set"
hf a resource set r rpo=1500ms >/dev/null
metric 1.5 a holdfast_resource_rpo_seconds resource=r
now=$(date +%s) t=$(hf a metrics | sed -n 's/^holdfast_resource_generation_timestamp_seconds{resource="r"} \([0-9]*\).*/\1/p')
why="$t at $now"; [ "$t" -le "$now" ] && [ "$t" -gt $((now - 300)) ]; ok $? "when the newest generation was made"
metric 1 a holdfast_hooks_failed
[ "$(om a holdfast_hook_duration_seconds_count)" -ge 2 ]; ok $? "hooks are counted"
is "$(hf a --json metrics | $PY -c 'import json,sys; print(json.load(sys.stdin)["node"])')" a "the same as JSON"

# what fails is seen
down a
up a HOLDFAST_SEAM=commit.captured:2+:eio
until_true 10 field_is a r state online
hf a resource set r tolerate=1 >/dev/null
for i in 1 2 3; do echo "$i" >"$tmp/a/root/srv/r/fails"; sleep 0.3; done
metric 1 a holdfast_resource_degraded resource=r
until_true 5 eval '[ "$(om a holdfast_commit_failure_duration_seconds_count resource=r)" -ge 2 ]'; ok $? "failures are counted"
[ "$(om a holdfast_resource_dirty_entries resource=r)" -ge 1 ]; ok $? "what is not confirmed is told"
v=$(hf a metrics | sed -n 's/^holdfast_resource_unconfirmed_seconds{resource="r"} //p')
why="$v"; $PY -c "import sys; sys.exit(not float('$v') > 0)"; ok $? "C50: and for how long it waits"
[ "$(om a holdfast_resource_warnings resource=r)" -ge 1 ]; ok $? "and that status warns"
clean a "well-formed all the same"
crash a
sleep 2.5
metric 0 b holdfast_node_up node=a
metric 1 b holdfast_resource_state resource=r state=owner-lost
plan
