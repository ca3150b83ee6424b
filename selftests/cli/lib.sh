# SPDX-License-Identifier: GPL-2.0-or-later
# TAP and a scratch directory for the tests of the command; sourced.
# shellcheck shell=sh
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${HF_BUILD:-$root/build}
HF=${HOLDFAST:-$build/holdfast}
# shellcheck disable=SC2034
HFD=${HOLDFASTD:-$build/holdfastd}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hf-cli-XXXXXX") || exit 1
pids=
cleanup() {
	for p in $pids; do
		kill -KILL "$p" 2>/dev/null
		wait "$p" 2>/dev/null
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
n=0
failed=0
unset HOLDFAST_CONF NO_COLOR CREDENTIALS_DIRECTORY

# ok STATUS NAME: STATUS 0 is good
ok() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=$((failed + 1))
		[ -s "$tmp/out" ] && sed 's/^/# out: /' "$tmp/out" | head -20
		[ -s "$tmp/err" ] && sed 's/^/# err: /' "$tmp/err" | head -20
		[ -n "$why" ] && echo "# $why"
	fi
	why=
	return 0
}

# is GOT WANT NAME
is() {
	why="got '$1', want '$2'"
	[ "$1" = "$2" ]
	ok $? "$3"
}

# hf ARG...: runs the command; its exit code in $code, its output in $tmp/out and $tmp/err
hf() {
	"$HF" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	code=$?
}

# run WANT NAME ARG...: the exit code must be WANT
run() {
	want=$1
	name=$2
	shift 2
	hf "$@"
	is "$code" "$want" "$name"
}

# says WHERE PATTERN NAME: out or err must match
says() {
	why="no '$2' in $1"
	grep -q -e "$2" "$tmp/$1"
	ok $? "$3"
}

plan() {
	echo "1..$n"
	[ "$failed" -eq 0 ]
	exit $?
}
