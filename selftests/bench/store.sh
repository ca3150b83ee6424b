#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Speed of the quorum disk against what bounds it in the same run:
# Documentation/performance.md says how, and what came out.
#
#   GOALS=1   exit 1 where a goal is missed
#   COUNT=4000 commits to time, ROUNDS=7 of the others, RESOURCES=1000, ENTRIES=100000
#   KEEP=1    keep the work directory
#
set -u -o pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")/../.." && pwd)
bin=${HF_BUILD:-$here/build}/selftests/bench
COUNT=${COUNT:-4000}
ROUNDS=${ROUNDS:-7}
RESOURCES=${RESOURCES:-1000}
ENTRIES=${ENTRIES:-100000}
W=
S=
loop=
missed=0

die() { echo "bench-store: $*" >&2; exit 1; }
note() { [ ! -t 2 ] || printf '\r\e[K%s' "$*" >&2; }

clean_up() {
	trap - EXIT INT TERM
	note ''
	[ -z "$loop" ] || losetup -d "$loop"
	[ -z "$S" ] || rm -rf "$S"
	[ -n "$W" ] || return
	if [ -n "${KEEP:-}" ]; then echo "kept: $W"; else rm -rf "$W"; fi
}

field() { awk -v k="$1" -v c="$2" '$1 == k { print $c }' "$3"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }

goal() {	# goal TEXT A OP B: say whether it holds
	if awk "BEGIN { exit !($2 $3 $4) }"; then
		printf '  %-68s met\n' "$1"
	else
		printf '  %-68s MISSED\n' "$1"
		missed=$((missed + 1))
	fi
}

[ "$(id -u)" = 0 ] || die "run it as root"
[ -x "$bin/bench_store_commit" ] || die "$bin holds no programs; make bench-store builds them"
trap clean_up EXIT
trap 'exit 130' INT TERM
for d in "${TMPDIR:-/tmp}" /tmp /var/tmp "$here"; do
	case $(stat -f -c %T "$d" 2>/dev/null) in
	ext2/ext3|xfs|btrfs) W=$(mktemp -d "$d/hf-XXXXXX") || exit 1; break ;;
	esac
done
[ -n "$W" ] || die "no ext4, xfs or btrfs under /tmp or /var/tmp; set TMPDIR to a directory on one"

# A file with all its blocks written behaves as a device does: no allocation,
# and so no journal of the filesystem, behind a durable write.
blank() { dd if=/dev/zero of="$W/$1" bs=1M count="$2" status=none conv=fsync || die "no space in $W"; }
run() {		# run OUTPUT PROGRAM ARGUMENTS...
	local out=$1 program=$2
	shift 2
	"$bin/$program" "$@" >"$W/$out" || die "$program $* failed"
}

note 'preparing'
blank file 3072
blank other 3072
blank dev 3072
# what is made only to be read is made in memory, where there is room
if [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -gt 4194304 ] 2>/dev/null; then
	S=$(mktemp -d /dev/shm/hf-XXXXXX) || exit 1
else
	S=$W/scratch
	mkdir "$S"
fi
scratch() { rm -f "$S/disk"; truncate -s "$1" "$S/disk" || exit 1; }
loop=$(losetup --find --show --direct-io=on "$W/dev") || die "no loop device; this needs one"
note 'commits to a file'
run commit-file bench_store_commit "$W/file" "$W" "$COUNT" "$ROUNDS" 500
note 'commits to a loop device'
run commit-loop bench_store_commit "$loop" "$W" "$COUNT" "$ROUNDS" 500
note 'what is written'
run writes bench_store_writes "$loop" "$W"
note 'replay'
scratch 3G
run replay bench_store_replay "$W/file" "$S/disk" "$W" "$ENTRIES" 1300 2 "$ROUNDS"
note 'bases'
scratch 3G
run base bench_store_base "$W/file" "$S/disk" "$W" "$ENTRIES" 300 "$ROUNDS"
note "$RESOURCES resources"
scratch 3G
run open bench_store_open "$W/file" "$W/other" "$S/disk" "$W" "$RESOURCES" "$ENTRIES"
note ''

# --- the table --------------------------------------------------------------------

us() { calc %.0f "$1 / 1000"; }
ms() { calc %.1f "$1 / 1000000"; }
two() { printf '%-50s %10s %10s\n' "$1" "$2" "$3"; }

two "a small file: put, committed, confirmed, us" p50 p99
for on in file loop; do
	f=$W/commit-$on
	two "on a $on" "$(us "$(field commit 2 "$f")")" "$(us "$(field commit 3 "$f")")"
	two "  4 KiB O_DIRECT|O_DSYNC write, read of a row" "$(us "$(field floor 2 "$f")")" "$(us "$(field floor 3 "$f")")"
	r=$(calc %.2f "$(field ratio 2 "$f") / 1000")
	two "  ratio, p50 of rounds of 50" "$r" "$(calc %.2f "$(field commit 3 "$f") / $(field floor 3 "$f")")"
	declare "commit_$on=$r"
done
printf '\n%-50s %10s %10s %10s\n' "confirmed commits in a second, median of $ROUNDS" one eight ratio
for on in file loop; do
	f=$W/commit-$on
	one=$(field rate 2 "$f" | median) eight=$(field rate 3 "$f" | median)
	r=$(awk '$1 == "rate" { print $3 / $2 }' "$f" | median)
	printf '%-50s %10s %10s %10.2f\n' "on a $on" "$one" "$eight" "$r"
	declare "group_$on=$(calc %.2f "$r")"
	c=4
	for bare in 'the bare write and read' 'the write alone' 'the read alone' 'the write, one flush for all'; do
		one=$(field rate $c "$f" | median) eight=$(field rate $((c + 1)) "$f" | median)
		r=$(awk -v c=$c '$1 == "rate" { print $(c + 1) / $c }' "$f" | median)
		printf '%-50s %10s %10s %10.2f\n' "  each: $bare" "$one" "$eight" "$r"
		c=$((c + 2))
	done
	printf '%-50s %10s %10s\n' '  rows, eight in each read' '' "$(field rate 12 "$f" | median)"
done

f=$W/open
echo
printf '%-50s %10s %10s\n' "$RESOURCES resources, $ENTRIES entries in all, ms" median most
two "opening the store" "$(ms "$(field open 2 "$f")")" "$(ms "$(field open 3 "$f")")"
two "  as a node that has nothing there" "$(ms "$(field open-other 2 "$f")")" "$(ms "$(field open-other 3 "$f")")"
printf '%-50s %10s %10s\n' "a claim, ms" p50 p99
two "  of one among $RESOURCES" "$(ms "$(field claim-among 2 "$f")")" "$(ms "$(field claim-among 3 "$f")")"
two "  of one alone, in turn" "$(ms "$(field claim-alone 2 "$f")")" "$(ms "$(field claim-alone 3 "$f")")"
claims=$(calc %.2f "$(field claim-ratio 2 "$f") / 1000")
mem() { awk -v n="$1" '$1 == "memory" && $2 == n { print $3 }' "$f"; }
printf '%-50s %10s %10s %10s\n' "memory, MiB, with so many of them open" 0 100 200
printf '%-50s %10s %10s %10s\n' "  of $(field each 2 "$f") entries each" "$(calc %.1f "$(mem 0) / 1024")" \
	"$(calc %.1f "$(mem 100) / 1024")" "$(calc %.1f "$(mem 200) / 1024")"
each100=$(calc %.0f "($(mem 100) - $(mem 0)) / 100") each200=$(calc %.0f "($(mem 200) - $(mem 100)) / 100")
printf '%-50s %10s %10s %10s\n' "  KiB for each that was added" "" "$each100" "$each200"
none=$(calc %.0f "100 * $(mem 0) / ($each200 * $RESOURCES)")

f=$W/base
echo
two "a commit waits for a base of $ENTRIES entries, ms" median most
two "  for one of $(field part 2 "$f") parts of contents, after a takeover" "$(ms "$(field part 3 "$f")")" "$(ms "$(field part 4 "$f")")"
two "  for one of $((($(field made 2 "$f") + ROUNDS / 2) / ROUNDS)) parts of its records" "$(ms "$(field made 3 "$f")")" "$(ms "$(field made 4 "$f")")"
two "  for what is left of them in the end, and writing them" "$(ms "$(field base 3 "$f")")" "$(ms "$(field base 4 "$f")")"
two "a commit alone" "$(ms "$(field alone 3 "$f")")" "$(ms "$(field alone 4 "$f")")"

f=$W/replay
bytes=$(field bytes 2 "$f") sealed=$(field bytes 3 "$f")
row() {		# row TEXT FIELD BYTES
	local t
	t=$(field replay "$2" "$f" | median)
	two "$1" "$(ms "$t")" "$(calc %.0f "$3 / $t * 1000")"
}
# each figure in bytes a second; of each round the slower bound
ratios=$(awk -v b="$bytes" -v s="$sealed" '$1 == "replay" {
	disk = b / $4; aead = s / $5; replay = b / $2
	printf "%.2f %.2f %.2f\n", replay / (disk < aead ? disk : aead), replay / disk, replay / aead }' "$f")
replay=$(awk '{ print $1 }' <<<"$ratios" | median)
echo
two "replay: $(field bytes 4 "$f") commits of 2 files, $(calc %.0f "$bytes / 1000000") MB" ms MB/s
row "all of the log, until the state is there" 2 "$bytes"
row "  a direct read of as much, in order, by 1 MiB" 4 "$bytes"
row "  the AEAD alone on what of it is sealed records" 5 "$sealed"
two "  ratio to the disk, to the AEAD" "$(awk '{ print $2 }' <<<"$ratios" | median)" "$(awk '{ print $3 }' <<<"$ratios" | median)"
row "all contents then, file by file" 3 "$((ENTRIES * 1300))"

echo
printf '%-50s %10s %10s %10s\n' "written for a byte of contents that changes" bytes "requests" "KiB each"
while read -r name text; do
	awk -v n="$name" -v t="$text" '$1 == n {
		printf "%-50s %10.2f %10.2f %10.1f\n", t, $3 / $2, $4 / $5, $3 / $5 / 1024 }' "$W/writes"
done <<-'LIST'
	one-small one file of 2 KiB
	ten-small ten files of 2 KiB
	one-large one file of 1 MiB
	thousand 1000 files of 8 KiB
	one-small-bases one file of 2 KiB in 1000, with bases
LIST
echo "(requests and KiB are those of one commit; a flush counts as one)"

printf '\ngoals\n'
for on in file loop; do
	n=commit_$on
	goal "a commit on a $on: p50 at most 1.2 times the bare parts (${!n})" "${!n}" '<=' 1.2
done
for on in file loop; do
	n=group_$on
	goal "eight at once on a $on: at least 4 times one (${!n})" "${!n}" '>=' 4
done
o=$(field open 2 "$W/open") p=$(field open-other 2 "$W/open")
goal "opening the store: below 1 s ($(ms "$o"), $(ms "$p") ms)" "$((o > p ? o : p))" '<' 1000000000
goal "memory grows with what is open ($each100, $each200 KiB each)" "$each200" '<=' "$(calc %.0f "$each100 * 1.5 + 64")"
goal "with none open it is a quarter of what all would take ($none %)" "$none" '<=' 25
goal "a claim among $RESOURCES costs what it does alone ($claims)" "$claims" '<=' 1.2
goal "replay: at least 0.8 of the slower of disk and AEAD ($replay)" "$replay" '>=' 0.8
[ $missed = 0 ] || [ -z "${GOALS:-}" ] || exit 1
