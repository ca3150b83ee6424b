#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What no event reports is found by sync, by offline and by the scrub: writes by libaio, through a hard
# link from outside, with the size and the times of before, in the same tick of the clock.
. "$(dirname "$0")/../failover/lib.sh"
A=$tmp/a/root/srv/r Bd=$tmp/b/root/srv/r out=$tmp/a/root/outside
cluster a b
mkdir -p "$A/d" "$out"
for i in link aio both tick flags; do echo "before $i" >"$A/$i"; done
head -c 300000 /dev/zero | tr '\0' x >"$A/d/big"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null; hf a checkpoint add r /srv/r >/dev/null; hf a online r >/dev/null
for i in link both d/big; do ln "$A/$i" "$out/${i##*/}"; done
run 0 "sync" a sync r

# aio FILE TEXT: by io_submit, which no event tells of
aio() {
	$PY - "$1" "$2" <<'PY'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class iocb(ctypes.Structure):
    _fields_ = [('data', ctypes.c_uint64), ('key', ctypes.c_uint32), ('rw', ctypes.c_int), ('op', ctypes.c_uint16),
                ('prio', ctypes.c_int16), ('fd', ctypes.c_uint32), ('buf', ctypes.c_uint64), ('n', ctypes.c_uint64),
                ('off', ctypes.c_int64), ('r2', ctypes.c_uint64), ('flags', ctypes.c_uint32), ('resfd', ctypes.c_uint32)]
nr = {'x86_64': (206, 209, 208), 'aarch64': (0, 2, 4)}[os.uname().machine]
ctx = ctypes.c_ulong(0)
assert libc.syscall(nr[0], 1, ctypes.byref(ctx)) == 0
text = sys.argv[2].encode()
buf = ctypes.create_string_buffer(text)
cb = iocb(op=1, fd=os.open(sys.argv[1], os.O_RDWR), buf=ctypes.addressof(buf), n=len(text))
assert libc.syscall(nr[1], ctx, 1, ctypes.byref(ctypes.pointer(cb))) == 1
ev = ctypes.create_string_buffer(32)
assert libc.syscall(nr[2], ctx, 1, 1, ev, None) == 1
PY
}
# unseen N: changes of the same size, and with the times of before
unseen() {
	local f
	for f in link both; do
		touch -r "$out/$f" "$tmp/ref"
		printf "after%02d" "$1" | dd of="$out/$f" conv=notrunc 2>/dev/null
		touch -r "$tmp/ref" "$out/$f"
	done
	printf 'y%d' "$1" | dd of="$out/big" bs=1 seek=299000 conv=notrunc 2>/dev/null
	aio "$A/aio" "after$1 "
	chattr +d "$A/flags" 2>/dev/null
}
equal() {
	why=$(rsync -aHAXSc --numeric-ids --delete --itemize-changes --dry-run "$A/" "$Bd/" 2>&1)
	[ -z "$why" ]
}
take() { hf a offline r >/dev/null && hf b online r >/dev/null 2>"$tmp/err"; equal; ok $? "$1"; }
back() { hf b offline r >/dev/null && hf a online r >/dev/null 2>"$tmp/err"; for i in link both d/big; do ln -f "$A/$i" "$out/${i##*/}"; done; hf a sync r >/dev/null; }

# sync: the next owner has it, although this one says nothing any more
unseen 1
run 0 "sync" a sync r
crash a
run 0 "another node takes over" b online r --fenced
equal; ok $? "P1: sync found what no event told"
up a; until_true 10 field_is a r owner b
back
unseen 2
take "P1: offline finds it"
back
# quick says less, as is documented: what it finds is not asserted, but that the full one finds the rest
unseen 3
run 0 "sync --quick" a sync r --quick
run 0 "and sync" a sync r
take "P1: what --quick leaves a sync finds"
back
# in the tick of the clock in which it was captured, of the same size
bad=0
for i in 1 2 3 4 5 6 7 8; do
	printf 'round %d a' $i >"$A/tick"; hf a sync r >/dev/null
	printf 'round %d b' $i | dd of="$A/tick" conv=notrunc 2>/dev/null; hf a sync r >/dev/null
	hf a diff r >"$tmp/out" 2>&1; [ -s "$tmp/out" ] && bad=1
done
is $bad 0 "P1: neither the same size nor the same tick fools it"
take "nor the next owner"
back
# the scrub: nobody asks
hf a offline r >/dev/null; down a
sed -i 's/^scrub = .*/scrub = 1s/' "$tmp/a/conf"
up a; hf a online r >/dev/null
for i in link both d/big; do ln -f "$A/$i" "$out/${i##*/}"; done
hf a sync r >/dev/null
g=$(field a r generation)
unseen 4
scrubbed() { [ "$(field a r generation)" -gt "$g" ] && hf a diff r >"$tmp/out" 2>&1 && [ ! -s "$tmp/out" ]; }
until_true 30 scrubbed
ok $? "X11: the scrub finds it, nobody having asked"
crash a
run 0 "takeover" b online r --fenced
equal; ok $? "X11: and the next owner has it"
plan
