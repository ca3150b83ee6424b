#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P11: whatever is on a disk, its parsers neither crash nor believe it: each fuzzer of user/fuzz, a
# bounded number of runs from the same seed, so that two runs do the same.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
if [ ! -x "$build/fuzz/seeds" ]; then
	echo "1..0 # SKIP no fuzzers (make fuzzers; needs clang, scripts/deps.sh fuzz)"
	exit 0
fi
cd "$tmp" || exit 1
for f in "$root"/user/fuzz/fuzz_*.c; do
	name=$(basename "$f" .c)
	name=${name#fuzz_}
	TMPDIR=$tmp "$root/user/fuzz/run.sh" -r 20000 -c "$tmp/corpus" "$name" >out 2>err
	ok $? "$(tail -n 1 out)"
done
is "$(find "$tmp" -name 'hf-fuzz-*')" '' "they leave nothing behind"

# and they can fail: a parser that reads one byte too far is found
sed 's/\(hf_attr_decode(p, n\), &a)/\1 + 1, \&a)/' "$root/user/fuzz/fuzz_attr.c" >fuzz_bad.c
is "$(cmp -s fuzz_bad.c "$root/user/fuzz/fuzz_attr.c"; echo $?)" 1 "a defect is put in"
if clang -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I"$root/include" -I"$root/user/lib" -I"$root/user/fuzz" -g -O1 \
	-fsanitize=fuzzer,address,undefined fuzz_bad.c "$build/fuzz/libfuzz.a" -lsodium -lzstd -ljson-c -linih -lblkid \
	-lcap -lsystemd -lmnl -o bad >out 2>err; then
	mkdir none
	./bad -runs=20000 -seed=1 none >out 2>err
	why="exit code $?"
	grep -q 'heap-buffer-overflow' err
	ok $? "and found"
else
	ok 1 "it builds"
fi
plan
