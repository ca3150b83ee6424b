# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Explores a model with spin and reports in TAP. Set `here` to this directory first.
#
# holds WHAT MODEL [-D...]	all states are visited, no error is found
# seeks WHAT MODEL [-D...]	as many states as there is time for (bitstate), no error
# wins WHAT MODEL [-D...]	liveness under weak fairness, all states
# fails WHAT MODEL [-D...]	an error is found

t=$(mktemp -d "${TMPDIR:-/tmp}/hf-model-XXXXXX") || exit 1
: "${here:?}"
trap 'rm -rf "$t"' EXIT
trap 'exit 1' INT TERM HUP
count=0
failed=0
unset prune

tap() {
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count - $2"
		return
	fi
	failed=1
	echo "not ok $count - $2"
	sed 's/^/# /' "$t/log" | tail -n 40
}

# pan CFLAGS MODEL [-D...]
pan() {
	pan_flags=$1
	pan_model=$here/$2.pml
	shift 2
	# shellcheck disable=SC2086
	(cd "$t" && rm -f ./*.trail && spin -a "$@" "$pan_model" && gcc -w $pan_flags -o pan pan.c) >"$t/log" 2>&1
}

# What pan says at its end, as a comment: it must have seen all there is to see.
said() {
	sed -n 's/^ *\([0-9.e+]*\) states, stored.*/# \1 states/p; s/^pan: elapsed time/# in/p' "$t/log" | tr '\n' ' '
	echo
}
explore() {
	(cd "$t" && nice -n 19 ./pan -m100000 "$@") >"$t/log" 2>&1
}
sound() {
	grep -q 'errors: 0$' "$t/log" && ! grep -q -e 'Search not completed' -e 'max search depth' -e 'reached: out of memory' "$t/log"
}

holds() {
	holds_what=$1
	shift
	rc=1
	pan '-O2 -DSAFETY -DNOFAIR -DCOLLAPSE -DMEMLIM=2800' "$@" && explore -w24 && sound && rc=0
	said
	tap $rc "$holds_what"
}

wins() {
	wins_what=$1
	shift
	rc=1
	# fairness and partial order reduction do not go together with these loops
	pan '-O2 -DNOREDUCE -DCOLLAPSE -DMEMLIM=2800' "$@" && explore -w22 -a -f && sound && rc=0
	said
	tap $rc "$wins_what"
}

# BITS: memory is 2^BITS bits; SECONDS_EACH: then it ends, with what it has seen
seeks() {
	seeks_what=$1
	shift
	rc=1
	pan '-O2 -DSAFETY -DNOFAIR -DBITSTATE -DMEMLIM=2800' "$@" &&
		(cd "$t" && nice -n 19 timeout -s INT "${SECONDS_EACH:-60}" ./pan -m100000 -w"${BITS:-30}" -k3) >"$t/log" 2>&1
	# interrupted it has not failed
	grep -q 'errors: 0$' "$t/log" && rc=0
	said
	tap $rc "$seeks_what"
}

fails() {
	fails_what=$1
	shift
	rc=1
	case " $* " in *" -DLIVENESS "*) set -- '-O0 -DNOREDUCE' "$@"; live='-a -f' ;; *) set -- '-O0 -DSAFETY -DNOFAIR' "$@"; live= ;; esac
	# shellcheck disable=SC2086
	pan "$@" && explore -w20 $live
	grep -q -e 'assertion violated' -e 'acceptance cycle' "$t/log" && rc=0
	tap $rc "without it an error is found: $fails_what"
}

finish() {
	echo "1..$count"
	exit $failed
}
