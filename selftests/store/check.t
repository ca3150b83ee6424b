#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W23, L7: `disk info` and `disk check` of any disk, without a daemon and beside one: what they say, with
# which exit code, and that they write nothing. t_check.c damages what is on a disk, piece by piece.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
cd "$tmp" || exit 1
printf '[node]\nname = alpha\nroot = %s/root\nstate_dir = %s/state\nruntime_dir = %s/run\nkey_file = %s/key\n' \
	"$tmp" "$tmp" "$tmp" "$tmp" >conf
printf '[node]\nkey_file = %s/none\n' "$tmp" >nokey
printf '[node]\nkey_file = %s/other\n' "$tmp" >otherkey
# both VERB WANT NAME DEV: exit code in words and in JSON, and a reason with the device's name
both() {
	run "$2" "$3: disk $1" -c conf disk "$1" "$4"
	cp err said
	run "$2" "$3: disk $1 --json" -c conf disk "$1" "$4" --json
	[ "$2" -eq 0 ] && return
	why="nothing about $4: $(cat said)"
	grep -q "$4" said
	ok $? "$3: disk $1 names it"
}
cat >ask.py <<'P'
import json, sys
try:
    o = json.load(open('out'))
except ValueError:
    sys.exit('no JSON: ' + open('out').read())
sys.exit(not eval(sys.argv[1]))
P
# ask EXPRESSION NAME: of the last JSON output, o
ask() {
	python3 ask.py "$1" 2>err
	ok $? "$2"
}

hf -c conf init disk --name web --nodes 3 --lease 500ms --size 24MiB
is "$code" 0 "a disk"

# --- with work on it, and beside a daemon
if [ "$(id -u)" -eq 0 ] && [ -x "$HFD" ]; then
	mkdir -p root/etc/pg root/etc/web
	echo 1 | tee root/etc/pg/first >root/etc/web/first
	"$HFD" -c conf >log 2>&1 &
	pids=$!
	for _ in $(seq 100); do
		"$HF" -c conf cluster-state --exit-code >/dev/null 2>&1
		[ $? -eq 19 ] && break
		sleep 0.1
	done
	for c in 'resource add pg' 'checkpoint add pg /etc/pg' 'online pg' 'resource add web' 'checkpoint add web /etc/web' 'online web' \
		'resource add gone' 'resource delete gone --yes'; do
		# shellcheck disable=SC2086
		hf -c conf $c
		[ "$code" -eq 0 ] || { echo "Bail out! $c: $(cat err)"; exit 1; }
	done
	(
		i=0
		while [ -e root/etc/pg ] && [ ! -e stop ]; do
			head -c 20000 /dev/urandom >root/etc/pg/f$((i % 7))
			i=$((i + 1))
			"$HF" -c conf sync pg >/dev/null 2>&1
		done
	) &
	writer=$!
	pids="$pids $writer"
	bad=0
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
		"$HF" -c conf disk check >out 2>err || { bad=$((bad + 1)); cp err first; }
	done
	why=$(cat first 2>/dev/null)
	is "$bad" 0 "a disk that is written to all the while is sound"
	touch stop
	wait "$writer"
	both check 0 "beside a daemon" disk
	ask '[l for l in o["logs"] if l["resource"] == "pg"][0]["generations"] > 5' "generations are counted, by resource"
	ask 'o["space"][0]["node"] == "alpha" and o["space"][0]["live_bytes"] > 0 and sum(o["space"][0][k] for k in ("live_bytes", "history_bytes", "free_bytes")) == o["area_size"]' \
		"the use of space adds up"
	ask 'o["content_bytes"] > 20000 * [l for l in o["logs"] if l["resource"] == "pg"][0]["generations"] / 2' "contents of older generations are read as well"
	both info 0 "beside a daemon" disk
	ask 'o["authenticated"] and {"pg"} <= {l["resource"] for l in o["logs"]}' "info tells the resources"
	kill -TERM ${pids%% *}
	wait ${pids%% *}
	pids=
	run 0 "and without one" -c conf disk check disk
	says out 'all that is in use was read and is authentic' "says so"

	# one log alone: a record of it is damaged, whichever
	run 0 "--resource: the log of pg" -c conf disk check disk --resource pg --json
	ask '{l["resource"] for l in o["logs"]} <= {None, "pg"} and "space" not in o' "and no other"
	hit=
	for off in $(python3 -c 'd = open("disk", "rb").read()
print(*[o for o in range(len(d) - 4096, 0, -4096) if d[o:o + 4] == b"HFRC"][:200])'); do
		cp disk bad
		printf XXXX | dd of=bad bs=1 seek=$((off + 100)) conv=notrunc 2>/dev/null
		"$HF" -c conf disk check bad --json >out 2>err && continue
		python3 ask.py 'o["findings"] and all(f.get("resource") == "pg" for f in o["findings"])' 2>err && { hit=1; break; }
	done
	[ -n "$hit" ]; ok $? "a record of pg is damaged"
	run 8 "--resource: it is found in the log of pg" -c conf disk check bad --resource pg
	says err 'resource pg' "which is named"
	run 0 "--resource: and not in that of web" -c conf disk check bad --resource web
	says out 'all of its log was read and is authentic' "which is sound"
	run 3 "--resource: one that is not registered" -c conf disk check disk --resource gone
	run 2 "--resource: no name of one" -c conf disk check disk --resource ../pg
else
	echo "ok $((n += 1)) - # SKIP needs root and holdfastd: the disk stays empty"
fi

# --- nothing is written
sum=$(sha256sum <disk)
chmod 0444 disk
touch -d '2001-02-03 04:05:06' disk
before=$(stat -c '%Y %Z %s' disk)
both check 0 "a file that may only be read" disk
both info 0 "a file that may only be read" disk
is "$(sha256sum <disk)" "$sum" "not a byte was written"
is "$(stat -c '%Y %Z %s' disk)" "$before" "nor a time"
chmod 0600 disk
if dev=$(losetup -r -f --show disk 2>/dev/null); then
	is "$(blockdev --getro "$dev")" 1 "a block device that cannot be written"
	both check 0 "a read-only device" "$dev"
	both info 0 "a read-only device" "$dev"
	losetup -d "$dev"
else
	echo "ok $((n += 1)) - # SKIP no loop device here"
fi

# --- keys
run 0 "without a key: disk info" -c nokey disk info disk --json
ask 'o["cluster"] == "web" and not o["authenticated"] and "nodes" not in o' "what the superblock tells, and that nothing proves it"
run 0 "without a key: in words" -c nokey disk info disk
says out 'authenticated *false' "says so"
hf -c nokey disk check disk
[ "$code" -ne 0 ]
ok $? "without a key there is nothing to check"
says err 'none; copy it from another node' "says which file, and what to do"
hf -c otherkey keygen
run 8 "another key: disk info" -c otherkey disk info disk --json
ask 'o["cluster"] == "web" and not o["authenticated"] and o["superblocks"][0]["state"] == "other-key"' "tells the superblock all the same"
run 8 "another key: disk check" -c otherkey disk check disk
says err 'not the key of this disk' "says why"
chmod 644 other
run 9 "a key that others may read" -c otherkey disk check disk
is "$(id -u)" "$(stat -c %u other)" "(its owner is who runs this)"

# --- what is no quorum disk
both check 7 "a device that is not there" "$tmp/nothing"
both info 7 "a device that is not there" "$tmp/nothing"
: >empty
both check 8 "an empty file" empty
truncate -s 16M zeros
both check 8 "zeros" zeros
says err 'nothing known is on it' "says what is there"
both info 8 "zeros" zeros
truncate -s 16M ext4
if mkfs.ext4 -q ext4 2>/dev/null; then
	both check 8 "a filesystem" ext4
	says err 'carries ext4' "says what is there"
	both info 8 "a filesystem" ext4
else
	echo "ok $((n += 1)) - # SKIP no mkfs.ext4"
fi
truncate -s 16M sanlock
printf '\020\040\041\022' | dd of=sanlock conv=notrunc 2>/dev/null
both check 8 "a lockspace of sanlock" sanlock
says err 'sanlock lockspace' "says what is there"
both info 2 "a directory" "$tmp"
both check 2 "what has no end" /dev/zero
run 2 "no disk at all" -c nokey disk check
run 2 "two disks" -c conf disk check disk disk

# --- damaged
cp disk bad
printf x | dd of=bad bs=1 seek=120 conv=notrunc 2>/dev/null
both info 0 "a damaged copy of the superblock" bad
ask '[s["state"] for s in o["superblocks"]] == ["damaged", "sound"]' "info tells which"
run 0 "in words" -c conf disk info bad
says out 'copy 1 (offset 0) is damaged; the other one counts' "too"
both check 8 "a damaged copy of the superblock" bad
ask 'o["findings"][0]["kind"] == "superblock" and o["findings"][0]["offset"] == 0' "check finds it"
printf x | dd of=bad bs=1 seek=4216 conv=notrunc 2>/dev/null
both info 8 "both copies damaged" bad
both check 8 "both copies damaged" bad
says err 'in both copies' "says so"
cp disk bad
truncate -s 20M bad
both check 8 "a disk that was cut off" bad
says err 'smaller than when it was formatted' "says why"
both info 8 "a disk that was cut off" bad
"$HF" -c conf disk info bad --json >out 2>/dev/null
ask 'o["size"] == 24 << 20 and o["authenticated"]' "and tells its superblock"

# --- on a terminal, of a disk that takes its time
if command -v script >/dev/null; then
	cat >slow.c <<-'C'
	#include <dlfcn.h>
	#include <unistd.h>
	ssize_t pread64(int fd, void *p, size_t n, off64_t o)
	{
		ssize_t (*f)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");

		usleep(20000);
		return f(fd, p, n, o);
	}
	C
	${CC:-cc} -D_GNU_SOURCE -D_LARGEFILE64_SOURCE -shared -fPIC -o slow.so slow.c -ldl
	LD_PRELOAD=$tmp/slow.so ASAN_OPTIONS=verify_asan_link_order=0 TERM=linux \
		script -qec "'$HF' -c conf disk check disk" /dev/null >console 2>&1 </dev/null
	is $? 0 "on a terminal"
	grep -q 'all that is in use' console
	ok $? "with the same words"
	grep -q '[0-9] of [0-9]* rows, .* of contents' console
	ok $? "and how far it is"
	run 0 "elsewhere" -c conf disk check disk
	! grep -q 'rows, ' err
	ok $? "nothing of that"
else
	echo "ok $((n += 1)) - # SKIP no script(1)"
fi
plan
