#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Speed and memory, against what bounds or rivals them in the same run:
# Documentation/performance.md says how, and what came out.
#
#   GOALS=1   exit 1 where a goal is missed
#   COUNT=200 changes to time, ROUNDS=5 restores, SEED=1
#   KEEP=1    keep the work directory
#
# shellcheck disable=SC2016	# single quotes hold perl
set -u -o pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")/../.." && pwd)
build=${HF_BUILD:-$here/build}
COUNT=${COUNT:-200}
ROUNDS=${ROUNDS:-5}
SEED=${SEED:-1}
W=
declare -A daemon=()
missed=0

die() { echo "bench: $*" >&2; exit 1; }
now_us() { echo "${EPOCHREALTIME/./}"; }
note() { [ ! -t 2 ] || printf '\r\e[K%s' "$*" >&2; }

clean_up() {
	local p
	trap - EXIT INT TERM
	note ''
	for p in "${daemon[@]}"; do
		kill -KILL "$p" 2>/dev/null
		while kill -0 "$p" 2>/dev/null; do sleep 0.01; done
	done
	[ -n "$W" ] || return
	! mountpoint -q "$W/fs" || umount "$W/fs" || return
	if [ -n "${KEEP:-}" ]; then echo "kept: $W"; else rm -rf "$W"; fi
}

on() {		# on NODE holdfast-arguments...
	local n=$1
	shift
	HOLDFAST_CONF=$W/$n/holdfast.conf "$build/holdfast" "$@"
}

must() { on "$@" >"$W/out" 2>&1 || die "$*: $(cat "$W/out")"; }

start_daemon() {
	local i
	(cd "$W" && exec "$build/holdfastd" -c "$W/$1/holdfast.conf" >>"$W/$1/log" 2>&1) &
	daemon[$1]=$!
	disown
	for ((i = 0; i < 200; i++)); do
		on "$1" node list >/dev/null 2>&1 && return
		kill -0 "${daemon[$1]}" 2>/dev/null || break
		sleep 0.05
	done
	die "$1's daemon: $(tail -n 3 "$W/$1/log")"
}

memory() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/${daemon[$1]}/status"; }
field() { awk -v k="$1" -v c="$2" '$1 == k { print $c }' "$3"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ms() { awk -v u="$1" 'BEGIN { printf "%.2f", u / 1000 }'; }

goal() {	# goal TEXT A OP B: say whether it holds
	if awk -v a="$2" -v b="$4" "BEGIN { exit !(a $3 b) }"; then
		printf '  %-58s met\n' "$1"
	else
		printf '  %-58s MISSED\n' "$1"
		missed=$((missed + 1))
	fi
}

[ "$(id -u)" = 0 ] || die "run it as root"
for p in rsync mkfs.ext4 losetup; do
	command -v $p >/dev/null || die "$p is missing; scripts/deps.sh installs it"
done
if [ ! -x "$build/holdfastd" ] || [ ! -x "$build/holdfast" ]; then
	make -s -C "$here" all || die "the build failed"
fi
trap clean_up EXIT
trap 'exit 130' INT TERM
for d in "${TMPDIR:-/tmp}" /tmp /var/tmp "$here"; do
	case $(stat -f -c %T "$d" 2>/dev/null) in
	ext2/ext3|xfs|btrfs) W=$(mktemp -d "$d/hf-XXXXXX") || exit 1; break ;;
	esac
done
[ -n "$W" ] || die "no ext4, xfs or btrfs under /tmp or /var/tmp; set TMPDIR to a directory on one"
for p in bench_tree bench_commit; do
	${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -o "$W/$p" "$here/selftests/bench/$p.c" -lm ||
		die "$p does not compile"
done

# A file with all its blocks written behaves as a device does: no allocation,
# and so no journal of the filesystem, behind a durable write.
blank() { dd if=/dev/zero of="$W/$1" bs=1M count="$2" status=none conv=fsync || die "no space in $W"; }
note 'preparing'
blank quorum.img 768
blank floor.img 16
# The trees lie on an ext4 of their own: where somebody has deleted many files in the
# last minutes ext4 takes long to find an inode, which would be in the figures.
mkdir "$W/fs"
blank fs.img 2048
if ! { mkfs.ext4 -q "$W/fs.img" &&
	loop=$(losetup --find --show --direct-io=on "$W/fs.img") && mount "$loop" "$W/fs"; }; then
	echo "no loop device: the trees lie on $W itself, and what others delete there disturbs" >&2
fi
[ -z "${loop:-}" ] || losetup -d "$loop"	# goes when it is unmounted
for n in a b c; do
	mkdir -p "$W/$n"/{state,run}
	root=$W/fs/$n
	# what a loop device adds to each change is no part of the figures
	[ $n != c ] || root=$W/c/root
	mkdir -p "$root"
	cat >"$W/$n/holdfast.conf" <<-CONF
		[node]
		name = $n
		root = $root
		state_dir = $W/$n/state
		runtime_dir = $W/$n/run
		key_file = $W/$n/key
		[store]
		url = disk:$W/quorum.img
	CONF
done
must a init "$W/quorum.img" --name bench --lease 1s
for n in b c; do
	cp "$W/a/key" "$W/$n/key"
	must $n join "$W/quorum.img"
done
for n in a b c; do start_daemon $n; done
mkdir "$W/fs/a/big" "$W/c/root/small" "$W/floor"
bytes=$("$W/bench_tree" "$W/fs/a/big" 10000 8192 "$SEED") || exit 1
"$W/bench_tree" "$W/c/root/small" 1000 8192 "$SEED" >/dev/null || exit 1
must a resource add big
must a checkpoint add big /big
must a resource add small
must c checkpoint add small /small
sync -f "$W/fs"
sync -f "$W"

# --- memory: 10,000 files tracked, every tenth of them changed since ------------

note 'memory'
idle_kb=$(memory a VmRSS)
must a online big
rss_first=$(memory a VmRSS)
for f in "$W"/fs/a/big/*/f*[0].conf; do echo changed >>"$f"; done
must a sync big
sleep 1
rss_kb=$(memory a VmRSS)
peak_kb=$(memory a VmHWM)
most_kb=$((rss_first > rss_kb ? rss_first : rss_kb))

# --- sync with nothing to do: compares 10,000 files -----------------------------

for ((i = 0; i < 20; i++)); do
	t=$(now_us)
	must a sync big
	echo $(($(now_us) - t))
done | median >"$W/sync_us"
for ((i = 0; i < 20; i++)); do
	t=$(now_us)
	must a sync big --quick
	echo $(($(now_us) - t))
done | median >"$W/quick_us"

# --- restore: into an empty directory, on the other node each time --------------

owner=a other=b
for ((i = 1; i <= ROUNDS; i++)); do
	note "restore $i of $ROUNDS"
	must $owner offline big
	# away, not deleted: see above
	mkdir -p "$W/fs/old/$i"
	for what in "$W/fs/$other/big" "$W/fs/copy"; do
		[ ! -d "$what" ] || mv "$what" "$W/fs/old/$i/"
		mkdir "$what"
	done
	sync -f "$W/fs"
	# which of the two goes first alternates too
	for what in $([ $((i % 2)) = 0 ] && echo "rsync us" || echo "us rsync"); do
		t=$(now_us)
		if [ "$what" = us ]; then
			must $other online big --json
			echo $(($(now_us) - t)) >>"$W/online_us"
		else
			rsync -a "$W/fs/$owner/big/" "$W/fs/copy/" && sync -f "$W/fs/copy"
			echo $(($(now_us) - t)) >>"$W/rsync_us"
		fi
	done
	left=$(rsync -aHAXSc --itemize-changes --dry-run --delete "$W/fs/$owner/big/" "$W/fs/$other/big/") ||
		die "cannot compare"
	[ -z "$left" ] || die "restored something else: $(echo "$left" | head -n 3)"
	t=$owner owner=$other other=$t
done
must $owner offline big

# --- from close to confirmed -----------------------------------------------------

note "$COUNT changes in place"
must c online small
sleep 0.5
"$W/bench_commit" "$W/c/run/holdfastd.sock" small "$W/c/root/small" "$W/floor" \
	"$W/floor.img" "$COUNT" "$SEED" >"$W/in_place" || exit 1
note "$COUNT changes by rename"
"$W/bench_commit" "$W/c/run/holdfastd.sock" small "$W/c/root/small" "$W/floor" \
	"$W/floor.img" "$COUNT" $((SEED + 1)) rename >"$W/renamed" || exit 1
must c sync small
[ -z "$(on c diff small)" ] || die "the newest generation is not what was written"
note ''

# --- the table ---------------------------------------------------------------------

row() { printf '%-46s %10s %10s\n' "$@"; }
ratio=$(awk -v a="$(field confirmed 2 "$W/in_place")" -v b="$(field floor 2 "$W/in_place")" \
	'BEGIN { printf "%.2f", a / b }')
ratio_r=$(awk -v a="$(field confirmed 2 "$W/renamed")" -v b="$(field floor 2 "$W/renamed")" \
	'BEGIN { printf "%.2f", a / b }')
online_us=$(median <"$W/online_us")
rsync_us=$(median <"$W/rsync_us")
row "$COUNT changes among 1,000 files, 50 ms apart, ms" p50 p95
for k in confirmed floor event range write read; do
	case $k in
	confirmed) name='written in place: close to confirmed' ;;
	floor) name='  the floor, in the same run' ;;
	event) name='    fanotify event' ;;
	range) name='    sync_file_range of the file' ;;
	write) name='    4 KiB O_DIRECT|O_DSYNC write' ;;
	read) name='    96 KiB direct read (a row of claims)' ;;
	esac
	row "$name" "$(ms "$(field $k 2 "$W/in_place")")" "$(ms "$(field $k 3 "$W/in_place")")"
done
row '  ratio of the p50' "$ratio" ''
row 'temp + rename: rename to confirmed' "$(ms "$(field confirmed 2 "$W/renamed")")" "$(ms "$(field confirmed 3 "$W/renamed")")"
row '  the floor, in the same run' "$(ms "$(field floor 2 "$W/renamed")")" "$(ms "$(field floor 3 "$W/renamed")")"
row '  ratio of the p50' "$ratio_r" ''
echo
row "10,000 files, $((bytes / 1000000)) MB, into an empty directory, ms" median 'of'
row 'holdfast online (claim, restore, durable)' "$(ms "$online_us")" "$ROUNDS"
row 'rsync -a, sync -f' "$(ms "$rsync_us")" "$ROUNDS"
row 'holdfast sync, nothing changed' "$(ms "$(cat "$W/sync_us")")" 20
row 'holdfast sync --quick, nothing changed' "$(ms "$(cat "$W/quick_us")")" 20
echo
row 'memory of the daemon, MiB' VmRSS peak
row 'no tree' "$(awk -v k="$idle_kb" 'BEGIN { printf "%.1f", k / 1024 }')" ''
row '10,000 files, just seeded' "$(awk -v k="$rss_first" 'BEGIN { printf "%.1f", k / 1024 }')" ''
row '10,000 files, 1,000 of them changed' "$(awk -v k="$rss_kb" 'BEGIN { printf "%.1f", k / 1024 }')" \
	"$(awk -v k="$peak_kb" 'BEGIN { printf "%.1f", k / 1024 }')"
echo
echo 'goals'
goal "close to confirmed: p50 at most 2 times the floor ($ratio)" "$ratio" '<=' 2
goal "restore faster than rsync -a ($(ms "$online_us") ms, $(ms "$rsync_us") ms)" "$online_us" '<' "$rsync_us"
goal "below 32 MiB resident with 10,000 files ($((most_kb / 1024)) MiB)" "$most_kb" '<' 32768
[ -z "${GOALS:-}" ] || [ $missed = 0 ]
