#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ocf:holdfast:tree against a command that answers what it is told: what each
# answer becomes for Pacemaker, and what the agent asks for.

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
agent=$PWD/scripts/hooks/ocf/tree
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"

# The command: notes its arguments; VERB.rc and VERB.out are what it answers.
# VERB.first says what it answers to the first calls, an exit code on each line.
cat >"$dir/bin/holdfast" <<'X'
#!/bin/bash
dir=$(cd "$(dirname "$0")/.." && pwd)
printf '%s\n' "$*" >>"$dir/calls"
[ "$1" != -c ] || shift 2
[ "$1" != -q ] || shift
verb=$1
case $verb in resource | disk) verb=$1.$2 ;; esac
if [ -e "$dir/$verb.hangs" ]; then
	sleep 100
fi
# one that is dead answers nothing
case $verb in
online | offline) [ "$(cat "$dir/status.rc" 2>/dev/null)" != 10 ] || exit 10 ;;
esac
if [ -s "$dir/$verb.first" ]; then
	rc=$(head -n 1 "$dir/$verb.first")
	sed -i 1d "$dir/$verb.first"
	echo "first answer: $rc" >&2
	exit "$rc"
fi
[ ! -e "$dir/$verb.out" ] || cat "$dir/$verb.out"
exit "$(cat "$dir/$verb.rc" 2>/dev/null || echo 0)"
X
# Both ways to start a daemon, which then answers, unless DAEMON.fails is there.
cat >"$dir/bin/holdfastd" <<'X'
#!/bin/bash
dir=$(cd "$(dirname "$0")/.." && pwd)
echo "holdfastd${*:+ $*}" >>"$dir/calls"
case " $* " in
*" -s "*)
	cat "$dir/halt.out" 2>/dev/null
	exit "$(cat "$dir/halt.rc" 2>/dev/null || echo 0)" ;;
esac
[ ! -e "$dir/holdfastd.fails" ] || exit 7
rm -f "$dir/status.rc"
X
cat >"$dir/bin/systemctl" <<'X'
#!/bin/bash
dir=$(cd "$(dirname "$0")/.." && pwd)
echo "systemctl $*" >>"$dir/calls"
case $1 in
show) cat "$dir/unit" 2>/dev/null ;;
start)
	[ ! -e "$dir/holdfastd.fails" ] || exit 1
	rm -f "$dir/status.rc" ;;
esac
X
# What the cluster's properties say of fencing.
cat >"$dir/bin/crm_attribute" <<'X'
#!/bin/bash
cat "$(dirname "$0")/../stonith" 2>/dev/null || exit 102
X
chmod 755 "$dir/bin"/*
export PATH=$dir/bin:$PATH OCF_ROOT=$dir/ocf

n=0 bad=0
is() { # is GOT WANT WHAT
	n=$((n + 1))
	if [ "$1" = "$2" ]; then
		echo "ok $n - $3"
	else
		bad=$((bad + 1))
		echo "not ok $n - $3"
		printf '%s\n' "got '$1', want '$2'" "$(cat "$dir/err")" | sed 's/^/# /'
	fi
}
fresh() {
	rm -f "$dir"/calls "$dir"/*.rc "$dir"/*.out "$dir"/*.first "$dir"/*.hangs "$dir"/*.fails "$dir"/unit
	: >"$dir/calls"
}
asked() { grep -c -e "$1" "$dir/calls"; }
said() { grep -c -e "$1" "$dir/err"; }
reason() { grep -c "^ocf-exit-reason:.*$1" "$dir/err"; }
answer() { # answer VERB RC [OUT]
	echo "$2" >"$dir/$1.rc"
	[ $# -lt 3 ] || printf '%s\n' "$3" >"$dir/$1.out"
}
# run ACTION [NAME=VALUE...]: its exit code
run() {
	local a=$1
	shift
	env OCF_RESKEY_resource=pg OCF_RESKEY_CRM_meta_interval=10000 \
		OCF_RESKEY_CRM_meta_timeout=8000 "$@" "$agent" "$a" >"$dir/out" 2>"$dir/err"
	echo $?
}
res() { # res STATE OWNER OWNER_STATE [DEGRADED [MEMBERS [SOURCE]]]
	printf '{"node":"a","cluster":"c","source":"%s","store":"ok","store_warnings":[],"resources":[{"name":"pg","type":"","state":"%s","owner":%s,"owner_state":"%s","degraded":%s%s}]}' \
		"${6:-kernel}" "$1" "$2" "$3" "${4:-false}" "${5-}"
}
short=OCF_RESKEY_CRM_meta_timeout=3000	# a second for what the agent asks

# --- monitor
fresh
for t in online:'"a"':up:0 online:'"b"':up:7 offline:null:none:7 owner-lost:'"b"':down:7 \
	failed:'"a"':up:1 online-pending:'"a"':up:1 offline-pending:'"a"':up:1 strange:null:none:1; do
	IFS=: read -r state owner os want <<<"$t"
	answer status 0 "$(res "$state" "$owner" "$os")"
	is "$(run monitor $short)" "$want" "monitor: $state, owner $owner: $want"
done
answer status 0 "$(res online '"a"' up true)"
is "$(run monitor)" 190 "monitor: degraded"
is "$(said 'ocf-exit-reason:pg is degraded: its changes do not reach')" 1 "  and is said"
is "$(run monitor OCF_RESKEY_CRM_meta_interval=0)" 190 "probe: degraded"
for w in 'without-store: nothing is committed' 'lost: /etc/pg is gone'; do
	answer status 0 "$(res online '"a"' up false ",\"warnings\":[\"x\",\"$w\"]")"
	is "$(run monitor)" 190 "monitor: ${w%%:*}"
	is "$(reason "degraded: $w")" 1 "  and is said"
done
answer status 0 "$(res online '"a"' up false ',"warnings":["stale: it was","x \"lost: y"]')"
is "$(run monitor)" 0 "monitor: other warnings are none of it"

# require: of the resource, else of the node's configuration
printf '[node]\nruntime_dir = %s ; here\n[track]\nrequire = kernel\n' "$dir/rt" >"$dir/req.conf"
for t in :kernel:0: any:fanotify:0: kernel:kernel:0: kernel:fanotify:190: :fanotify:190:req :kernel:0:req any:fanotify:0:req; do
	IFS=: read -r require source want conf <<<"$t"
	answer status 0 "$(res online '"a"' up false '' "$source")"
	is "$(run monitor OCF_RESKEY_require="$require" OCF_RESKEY_config="${conf:+$dir/$conf.conf}")" "$want" \
		"monitor: require '$require'${conf:+, kernel in the configuration}, source $source: $want"
done
mkdir "$dir/req.conf.d"
echo 'require = any' >"$dir/req.conf.d/any.conf"
answer status 0 "$(res online '"a"' up false '' fanotify)"
is "$(run monitor OCF_RESKEY_config="$dir/req.conf")" 0 "  a drop-in has the last word"

# depths
late=',"oldest_dirty_ms":2001,"rpo_ms":2000'
answer status 0 "$(res online '"a"' up false "$late")"
answer disk.check 8 "disk check: resource pg: record 3 is damaged"
is "$(run monitor)" 0 "monitor: the lag is not looked at"
is "$(run monitor OCF_CHECK_LEVEL=0)" 0 "  nor at depth 0"
is "$(run monitor OCF_CHECK_LEVEL=10)" 190 "monitor, depth 10: changes wait for longer than rpo"
is "$(reason 'wait for 2001 ms to be confirmed, and rpo allows 2000 ms')" 1 "  which is said"
for m in ',"oldest_dirty_ms":2000,"rpo_ms":2000' ',"oldest_dirty_ms":99999' ',"oldest_dirty_ms":0,"rpo_ms":2000'; do
	answer status 0 "$(res online '"a"' up false "$m")"
	is "$(run monitor OCF_CHECK_LEVEL=10)" 0 "monitor, depth 10: ${m#,}"
done
is "$(asked 'disk check')" 0 "  the log is not read"
is "$(run monitor OCF_CHECK_LEVEL=20)" 190 "monitor, depth 20: the log is damaged"
is "$(asked '^-q disk check --resource pg$')" 1 "  it asks for that one log"
is "$(reason 'record 3 is damaged')" 1 "  and says what is damaged"
for t in 0:0 7:190; do
	answer disk.check "${t%:*}"
	is "$(run monitor OCF_CHECK_LEVEL=20)" "${t#*:}" "monitor, depth 20: disk check exits ${t%:*}: ${t#*:}"
done
answer status 0 "$(res online '"a"' up false "$late")"
answer disk.check 0
is "$(run monitor OCF_CHECK_LEVEL=20)" 190 "monitor, depth 20: the lag too"
answer status 0 "$(res online '"a"' up)"
: >"$dir/disk.check.hangs"
is "$(run monitor OCF_CHECK_LEVEL=20 $short)" 190 "monitor, depth 20: not finished in time"
is "$(reason 'give this monitor a longer timeout')" 1 "  which is said"
answer status 0 "$(res offline null none)"
is "$(run monitor OCF_CHECK_LEVEL=20)" 7 "monitor, depth 20: what is not here has no depth"

fresh
answer status 0 "$(res online '"a"' up | python3 -m json.tool --indent 4)"
is "$(run monitor)" 0 "monitor: the same on many lines"
answer status 0 '{"warnings":["x \"state\": \"failed\", \"owner\":\"z\""],"node":"a","resources":[{"error":"\\","state":"online","owner":"a"}]}'
is "$(run monitor)" 0 "monitor: text in messages is no state"
for t in 3:7 1:1 2:2 7:1 8:1 9:4; do
	fresh
	answer status "${t%:*}"
	is "$(run monitor)" "${t#*:}" "monitor: status exits ${t%:*}: ${t#*:}"
done
printf '[node]\nruntime_dir = %s ; here\n' "$dir/rt" >"$dir/hf.conf"
mkdir "$dir/rt"
here=OCF_RESKEY_config=$dir/hf.conf
probe=OCF_RESKEY_CRM_meta_interval=0
fresh
answer status 10
is "$(run monitor "$here" $probe)" 7 "probe: where no daemon ran since boot nothing runs"
is "$(asked '^holdfastd')" 0 "  and none is started for that"
: >"$dir/holdfastd.fails"
is "$(run monitor "$here" $short)" 1 "monitor: a dead daemon is not 'not running'"
is "$(($(asked "^holdfastd -c $dir/hf.conf$") > 0))" 1 "  it is started"
is "$(said 'ocf-exit-reason:holdfastd does not answer on this node and cannot be started')" 1 "  and if it cannot be, that is said"
: >"$dir/rt/holdfastd.sock"
is "$(run monitor "$here" $probe $short)" 1 "probe: a daemon that died may have left it running"
for state in online:0 offline:7 failed:1; do
	fresh
	answer status 10 "$(res ${state%:*} '"a"' up)"
	is "$(run monitor "$here")" "${state#*:}" "monitor: a dead daemon is started, and says ${state%:*}"
done
fresh
answer status 10 "$(res online '"a"' up)"
echo loaded >"$dir/unit"
is "$(run monitor)" 0 "monitor: a dead daemon is started"
is "$(asked '^systemctl start holdfastd$'),$(asked '^holdfastd')" 1,0 "  by systemd, where it knows the service"
fresh
answer status 10
echo masked >"$dir/unit"
is "$(run monitor $short)" 1 "monitor: a dead daemon whose service is masked"
is "$(asked '^systemctl start'),$(asked '^holdfastd')" 0,0 "  is left alone"
fresh
answer status 0
: >"$dir/status.hangs"
is "$(run monitor $short)" 1 "monitor: a daemon that hangs: fails within the time-out"
is "$(reason 'did not answer in time')" 1 "  and says so"
fresh
answer status 0 "$(res online '"a"' up)"
echo 10 >"$dir/status.first"
is "$(run monitor)" 0 "monitor: a daemon that just restarts is waited for"
answer status 0 "$(res online-pending '"a"' up)"
(sleep 1 && res online '"a"' up >"$dir/next" && mv "$dir/next" "$dir/status.out") &
is "$(run monitor)" 0 "monitor: what it then takes up again, too"
wait $!

# --- start
fresh
answer status 0 "$(res offline null none)"
is "$(run start)" 0 "start"
is "$(grep -c '^online pg --timeout [1-6]s$' "$dir/calls")" 1 "  asks for it, within Pacemaker's time-out"
is "$(run start OCF_RESKEY_takeover=fenced OCF_RESKEY_config="$dir/hf.conf")" 0 "start with takeover=fenced, config"
is "$(grep -c "^-c $dir/hf.conf online pg --fenced --timeout" "$dir/calls")" 1 "  passes both on"
for t in 1:1 2:2 6:1 7:1 8:1 9:4; do
	answer online "${t%:*}" "why: it does not work"
	is "$(run start)" "${t#*:}" "start: online exits ${t%:*}: ${t#*:}"
done
is "$(grep -c 'ocf-exit-reason:why: it does not work' "$dir/err")" 1 "  and the reason is given"
answer online 3
answer resource.show 3
is "$(run start)" 6 "start: a resource that is registered nowhere: not configured"
answer resource.show 0
is "$(run start)" 5 "start: something is missing on this node: not installed"
answer online 5 "refused: overlap"
is "$(run start)" 1 "start: refused, and nobody else has it: fails"
is "$(grep -c '^online' "$dir/calls")" 10 "  at once"
answer status 0 "$(res online '"b"' up)"
answer online 0
printf '5\n5\n' >"$dir/online.first"
is "$(run start)" 0 "start: the lease of a fenced owner is waited for"
answer online 5 "pg is online on b"
is "$(run start OCF_RESKEY_CRM_meta_timeout=4000)" 1 "start: an owner that lives on: fails within the time-out"
fresh
answer status 10
: >"$dir/holdfastd.fails"
is "$(run start $short)" 1 "start: no daemon"
rm "$dir/holdfastd.fails"
is "$(run start "$here")" 0 "start: a dead daemon is started"
is "$(asked '^-c .* online pg')" 2 "  and asked again"
fresh
answer status 0 "$(res offline null none)"
echo 10 >"$dir/online.first"
is "$(run start)" 0 "start: a daemon that dies over it is asked again"
: >"$dir/online.hangs"
is "$(run start $short)" 1 "start: one that hangs: fails within the time-out"

# --- stop
fresh
answer status 0 "$(res online '"a"' up)"
for t in 0:0 3:0 6:0 1:1 5:1 7:1 9:4; do
	answer offline "${t%:*}"
	is "$(run stop)" "${t#*:}" "stop: offline exits ${t%:*}: ${t#*:}"
done
is "$(grep -c '^offline pg --timeout [1-6]s$' "$dir/calls")" 7 "  asks for it, within Pacemaker's time-out"
answer offline 0 "the store is out of reach: the last changes are kept on this node only"
is "$(run stop)" 0 "stop: without the store"
answer status 0 "$(res online '"b"' up)"
answer offline 6 "stale: pg is on b"
is "$(run stop)" 0 "stop: of a stale owner"
fresh
answer status 10
rm "$dir/rt/holdfastd.sock"
is "$(run stop $short "$here")" 0 "stop: no daemon ran since boot: stopped"
is "$(asked '^holdfastd')" 0 "  and none is started for that"
: >"$dir/rt/holdfastd.sock"
: >"$dir/holdfastd.fails"
is "$(run stop $short "$here")" 0 "stop: a daemon died, and cannot be started: that it is stopped is written down"
is "$(asked "^holdfastd -c $dir/hf.conf -s pg$")" 1 "  for the next one"
answer halt 5 "another holdfastd runs"
is "$(run stop $short "$here")" 1 "stop: and could not be: only fencing can tell"
is "$(reason 'cannot be started'),$(said 'another holdfastd runs')" 1,1 "  which is said, and why"
rm "$dir/holdfastd.fails"
: >"$dir/calls"
is "$(run stop "$here")" 0 "stop: a daemon that died is started"
is "$(asked ' offline pg')" 2 "  and asked again"
fresh
answer status 0 "$(res online '"a"' up)"
echo 10 >"$dir/offline.first"
is "$(run stop)" 0 "stop: a daemon that dies over it is asked again"
: >"$dir/offline.hangs"
is "$(run stop $short)" 1 "stop: one that hangs: fails within the time-out"

# --- parameters
fresh
is "$(run validate-all)" 0 "validate-all"
is "$(said .)" 0 "  has nothing to say"
for t in true:0 false:1 FALSE:1 no:1 off:1 0:1 1:0 :0; do
	echo "${t%:*}" >"$dir/stonith"
	is "$(run validate-all OCF_RESKEY_takeover=fenced)" 0 "validate-all: takeover=fenced, stonith-enabled='${t%:*}'"
	is "$(said 'takeover=fenced.*stonith-enabled')" "${t#*:}" "  warns: ${t#*:}"
done
echo false >"$dir/stonith"
is "$(run validate-all; said stonith)" "0
0" "validate-all: takeover=lease needs no fencing"
is "$(run validate-all OCF_RESKEY_takeover=fenced OCF_CHECK_LEVEL=0; said stonith)" "0
0" "validate-all, level 0: looks at nothing but the parameters"
rm "$dir/stonith"
is "$(run validate-all OCF_RESKEY_takeover=fenced; said stonith)" "0
0" "validate-all: no cluster to ask"
answer resource.show 3
is "$(run validate-all)" 6 "validate-all: not registered"
is "$(run validate-all OCF_CHECK_LEVEL=10)" 6 "  at level 10 too"
is "$(run validate-all OCF_CHECK_LEVEL=0)" 0 "  which level 0 does not ask"
mkdir "$dir/functions"
# what resource-agents has, as far as it matters
cat >"$dir/functions/ocf-shellfuncs" <<'X'
: ${OCF_CHECK_LEVEL:=0}
OCF_SUCCESS=0 OCF_ERR_GENERIC=1 OCF_ERR_ARGS=2 OCF_ERR_INSTALLED=5 OCF_ERR_CONFIGURED=6 OCF_NOT_RUNNING=7
ocf_log() { echo "$*" >&2; }
ocf_exit_reason() { echo "ocf-exit-reason:$*" >&2; }
ocf_is_probe() { false; }
X
is "$(run validate-all OCF_FUNCTIONS_DIR="$dir/functions")" 6 "  where functions set a level that was not given"
is "$(run validate-all OCF_FUNCTIONS_DIR="$dir/functions" OCF_CHECK_LEVEL=0)" 0 "  or it was"
answer resource.show 10
is "$(run validate-all)" 0 "validate-all: no daemon to ask"
is "$(run reload-agent)" 0 "reload-agent"
fresh
is "$(run validate-all OCF_RESKEY_resource=)" 6 "validate-all: no resource"
for r in '.x' '-x' 'a b' 'a/b' 'a;b' "$(printf 'a%.0s' {1..64})" $'a\nb' $'\xff'; do
	is "$(run start OCF_RESKEY_resource="$r")" 6 "start: a bad name: $(printf '%q' "${r:0:10}")"
done
is "$(run validate-all OCF_RESKEY_takeover=maybe)" 6 "validate-all: takeover=maybe"
is "$(run validate-all OCF_RESKEY_takeover=maybe OCF_CHECK_LEVEL=0)" 6 "  at level 0 too"
is "$(run monitor OCF_RESKEY_require=always)" 6 "monitor: require=always"
is "$(run validate-all OCF_RESKEY_config="$dir/none")" 5 "validate-all: config is not there"
is "$(cat "$dir/calls")" "" "  nothing of this reached the command"
is "$(run meta-data OCF_RESKEY_resource=)" 0 "meta-data needs no parameters"
is "$(run promote)" 3 "promote is not implemented"
mkdir "$dir/none" && mv "$dir/bin/holdfast" "$dir/none"
if ! command -v holdfast >/dev/null; then
	is "$(run start)" 5 "start: not installed"
	is "$(run monitor OCF_RESKEY_CRM_meta_interval=0)" 7 "probe: not installed: not running"
	is "$(run stop)" 0 "stop: not installed: stopped"
fi

echo "1..$n"
[ $bad = 0 ]
