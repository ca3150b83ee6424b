#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [-t SECONDS | -r RUNS] [-c DIR] [NAME...]: run the fuzzers of this directory, all
# if none is named, from the corpus that seeds makes. With -r each run is as
# the one before. -c: where the corpus is kept and grows ($HF_BUILD/fuzz/corpus).
# What makes one fail is left in $HF_BUILD/fuzz/found/, and named.

set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
B=${HF_BUILD:-$root/build}/fuzz
corpus=$B/corpus
seconds=60 runs=
while getopts t:r:c: opt; do
	case $opt in
	t) seconds=$OPTARG ;;
	r) runs=$OPTARG ;;
	c) corpus=$OPTARG ;;
	*) sed -n 's/^# \{0,1\}//; 3,7p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
if [ $# -eq 0 ]; then
	# shellcheck disable=SC2046
	set -- $(cd "$root/user/fuzz" && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
fi
[ -x "$B/seeds" ] || { echo "run.sh: no fuzzers in $B; make fuzzers builds them (clang)" >&2; exit 1; }
mkdir -p "$B/found" "$corpus" && "$B/seeds" "$corpus" || exit 1

bad=0
for name; do
	if [ ! -x "$B/fuzz_$name" ]; then
		echo "run.sh: there is no fuzzer '$name'" >&2
		bad=2
		continue
	fi
	if [ -n "$runs" ]; then
		# what takes whole disks is a hundred times slower
		n=$runs
		case $name in
		disk | log) n=$((runs / 100)) ;;
		displaced) n=$((runs / 10)) ;;
		esac
		set -- -runs="$n" -seed=1
	else
		set -- -max_total_time="$seconds"
	fi
	mkdir -p "$corpus/$name"
	# no memory limit by itself is as small as what a set of 4,096 bytes can ask for
	if out=$("$B/fuzz_$name" "$@" -max_len=16384 -timeout=30 -rss_limit_mb=1024 -malloc_limit_mb=512 \
		-artifact_prefix="$B/found/$name-" -print_final_stats=1 "$corpus/$name" 2>&1); then
		echo "$name: $(printf '%s\n' "$out" | sed -n 's/^stat::number_of_executed_units: *//p') runs, $(
			printf '%s\n' "$out" | sed -n 's/.* cov: \([0-9]*\) .*/\1/p' | tail -n 1) edges"
	else
		printf '%s\n' "$out" | tail -n 60
		echo "$name: FAILED; run $B/fuzz_$name with the file that is named above"
		bad=1
	fi
done
exit $bad
