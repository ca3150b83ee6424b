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
verb=$1
[ "$verb" != resource ] || verb=$1.$2
if [ -s "$dir/$verb.first" ]; then
	rc=$(head -n 1 "$dir/$verb.first")
	sed -i 1d "$dir/$verb.first"
	echo "first answer: $rc" >&2
	exit "$rc"
fi
[ ! -e "$dir/$verb.out" ] || cat "$dir/$verb.out"
exit "$(cat "$dir/$verb.rc" 2>/dev/null || echo 0)"
X
chmod 755 "$dir/bin/holdfast"
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
fresh() { rm -f "$dir"/calls "$dir"/*.rc "$dir"/*.out "$dir"/*.first; : >"$dir/calls"; }
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
res() { # res STATE OWNER OWNER_STATE [MORE]
	printf '{"node":"a","store":"ok","resources":[{"name":"pg","type":"","state":"%s","owner":%s,"owner_state":"%s","degraded":%s}]}' \
		"$1" "$2" "$3" "${4:-false}"
}

# --- monitor
fresh
for t in online:'"a"':up:0 online:'"b"':up:7 offline:null:none:7 owner-lost:'"b"':down:7 \
	failed:'"a"':up:1 online-pending:'"a"':up:1 offline-pending:'"a"':up:1 strange:null:none:1; do
	IFS=: read -r state owner os want <<<"$t"
	answer status 0 "$(res "$state" "$owner" "$os")"
	is "$(run monitor)" "$want" "monitor: $state, owner $owner: $want"
done
answer status 0 "$(res online '"a"' up true)"
is "$(run monitor)" 0 "monitor: degraded is running"
is "$(grep -c degraded "$dir/err")" 1 "  and is said"
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
fresh
answer status 10
is "$(run monitor OCF_RESKEY_config="$dir/hf.conf")" 1 "monitor: a dead daemon is not 'not running'"
is "$(run monitor OCF_RESKEY_config="$dir/hf.conf" OCF_RESKEY_CRM_meta_interval=0)" 7 \
	"probe: where no daemon ran since boot nothing runs"
: >"$dir/rt/holdfastd.sock"
is "$(run monitor OCF_RESKEY_config="$dir/hf.conf" OCF_RESKEY_CRM_meta_interval=0)" 1 \
	"probe: a daemon that died may have left it running"
fresh
answer status 0 "$(res online '"a"' up)"
echo 10 >"$dir/status.first"
is "$(run monitor)" 0 "monitor: a daemon that just restarts is waited for"

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
is "$(run start OCF_RESKEY_CRM_meta_timeout=3000)" 1 "start: no daemon"
is "$(grep -c '^online' "$dir/calls")" 0 "  nothing was asked of it"

# --- stop
fresh
answer status 0 "$(res online '"a"' up)"
for t in 0:0 3:0 6:0 1:1 5:1 7:1 9:4; do
	answer offline "${t%:*}"
	is "$(run stop)" "${t#*:}" "stop: offline exits ${t%:*}: ${t#*:}"
done
fresh
answer status 10
rm "$dir/rt/holdfastd.sock"
is "$(run stop OCF_RESKEY_CRM_meta_timeout=3000 OCF_RESKEY_config="$dir/hf.conf")" 0 \
	"stop: no daemon ran since boot: stopped"
: >"$dir/rt/holdfastd.sock"
is "$(run stop OCF_RESKEY_CRM_meta_timeout=3000 OCF_RESKEY_config="$dir/hf.conf")" 1 \
	"stop: a daemon died: only fencing can tell"

# --- parameters
fresh
is "$(run validate-all)" 0 "validate-all"
is "$(run validate-all OCF_RESKEY_resource=)" 6 "validate-all: no resource"
for r in '.x' '-x' 'a b' 'a/b' 'a;b' "$(printf 'a%.0s' {1..64})" $'a\nb' $'\xff'; do
	is "$(run start OCF_RESKEY_resource="$r")" 6 "start: a bad name: $(printf '%q' "${r:0:10}")"
done
is "$(run validate-all OCF_RESKEY_takeover=maybe)" 6 "validate-all: takeover=maybe"
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
