#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P6: what one node commits and another restores is the same by the word of others' programs:
# rsync, bsdtar, getfattr, getfacl. Owners and ACLs by name where the nodes' numbers differ.
# BIG: size of the largest file.
. "$(dirname "$0")/../failover/lib.sh"
BIG=${BIG:-40M}
A=$tmp/a/root/srv/r Bd=$tmp/b/root/srv/r
export SIZE=256MiB

# passwd NODE UID1 UID2 GID1 GID2: the node's own databases
passwd() {
	{ cat /etc/passwd; echo "hfone:x:$2:1::/:"; echo "hftwo:x:$3:1::/:"; } >"$tmp/passwd.$1"
	{ cat /etc/group; echo "hfgone:x:$4:"; echo "hfgtwo:x:$5:"; } >"$tmp/group.$1"
	[ "$1" = b ] || echo "hfonlya:x:47555:1::/:" >>"$tmp/passwd.$1"
}
# upns NODE: up, with these
upns() {
	up "$1" unshare -m --propagation private sh -c \
		"mount --bind $tmp/passwd.$1 /etc/passwd && mount --bind $tmp/group.$1 /etc/group && exec \"\$0\" \"\$@\""
}
move() {	# FROM TO
	hf "$1" sync r >/dev/null && hf "$1" offline r >/dev/null && hf "$2" online r >"$tmp/out" 2>"$tmp/err"
}
mtree() {
	bsdtar -cf - --format=mtree --options='mtree:!all,type,mode,uid,gid,size,time,link,device,nlink,sha256' -C "$1" . 2>&1 |
		grep -v '^#' | sort
}
# judge NAME: each of them
judge() {
	why=$(rsync -aHAXSc --numeric-ids --delete --itemize-changes --dry-run --exclude /deep "$A/" "$Bd/" 2>&1)
	[ -z "$why" ]; ok $? "P6: rsync finds no difference: $1"
	why=$(diff <(mtree "$A") <(mtree "$Bd") | head -20)
	[ -z "$why" ]; ok $? "P6: bsdtar's mtree finds no difference: $1"
	why=$(diff <(cd "$A" && getfattr -RhP -d -m - -e hex . 2>&1) <(cd "$Bd" && getfattr -RhP -d -m - -e hex . 2>&1) | head -20)
	[ -z "$why" ]; ok $? "P6: getfattr finds no difference: $1"
	why=$(diff <(cd "$A" && getfacl -RPn . 2>&1) <(cd "$Bd" && getfacl -RPn . 2>&1) | head -20)
	[ -z "$why" ]; ok $? "P6: getfacl finds no difference: $1"
	why=$(diff <(cd "$A" && deep) <(cd "$Bd" && deep))
	[ -z "$why" ]; ok $? "P6: paths longer than PATH_MAX: $1"
}
# what lies deeper than a path can name
deep() {
	$PY - <<'PY'
import os
def go(fd, depth):
    for n in sorted(os.listdir(fd)):
        s = os.lstat(n, dir_fd=fd)
        print(depth, len(n), oct(s.st_mode), s.st_uid, s.st_mtime_ns, s.st_size)
        if os.path.stat.S_ISDIR(s.st_mode):
            d = os.open(n, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
            go(d, depth + 1)
            os.close(d)
go(os.open('deep', os.O_RDONLY), 0)
PY
}
make() {	# TYPE NAME
	case $1 in
	f) echo f >"$2" ;;
	d) mkdir -p "$2/x"; echo f >"$2/x/f" ;;
	l) ln -s x "$2" ;;
	p) mkfifo "$2" ;;
	s) $PY -c "import socket; socket.socket(1).bind('$2')" ;;
	c) mknod "$2" c 1 5 ;;
	esac
}
holes_kept() { [ "$(du -k "$1" | cut -f1)" -le 200 ]; }

passwd a 47001 47002 47101 47102
passwd b 48002 47001 47102 48102
cluster a b
mkdir -p "$A"
cd "$A" || exit 1
mkdir -p empty/in/empty d perm acl odd deep types "$(printf '%0255d' 7)"
$PY - <<'PY'
import os, socket, random
b = b'odd/'
for i in range(1, 256):
    if i != 47:
        with open(b + bytes([i]) + (b'x' if i == 46 else b''), 'wb') as f:
            f.write(bytes([i]))
open(b + b'\xff\xfe\n\t"\\', 'w').close()
fd = os.open('deep', os.O_RDONLY)
for i in range(30):
    n = 'n' * 200 + str(i)
    os.mkdir(n, 0o751, dir_fd=fd)
    f = os.open(n, os.O_RDONLY, dir_fd=fd)
    os.close(fd)
    fd = f
    g = os.open('file', os.O_WRONLY | os.O_CREAT, 0o604, dir_fd=fd)
    os.write(g, b'deep %d' % i)
    os.close(g)
for s in (0, 1, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 262143, 262144, 262145, 1 << 20):
    with open('d/size%d' % s, 'wb') as f:
        f.write(random.randbytes(s))
os.link('d/size0', 'd/hard0')
s = socket.socket(socket.AF_UNIX)
os.chdir('types')
s.bind('socket')
PY
truncate -s "$BIG" d/sparse && echo end >>d/sparse && echo middle | dd of=d/sparse bs=1 seek=3000001 conv=notrunc 2>/dev/null
for m in 0000 0400 0644 0755 1777 2755 4755 6711 7777; do echo $m >perm/f$m; chmod $m perm/f$m; mkdir perm/d$m; chmod $m perm/d$m; done
mkfifo -m 606 types/fifo; mknod -m 660 types/null c 1 3; mknod types/block b 259 1048575
ln -s ../../../../../../etc/passwd types/out; ln -s "$(printf 'x%.0s' $(seq 4000))" types/longlink 2>/dev/null || ln -s "$(printf 'x%.0s' $(seq 1000))" types/longlink
ln -s "$(printf 'n\nl \377')" types/oddlink
ln types/fifo types/fifo2; ln types/out types/out2; ln d/size4097 types/hard; ln d/size4097 empty/hard; chown 54321:54322 types/hard
setfattr -n user.k -v v d/size1; setfattr -n user.empty d; setfattr -n trusted.t -v 0x00ff d/size512; setfattr -h -n trusted.l -v 1 types/out
setfattr -n security.foreign -v label d/size511
setfattr -n user.large -v 0x"$(head -c 3000 /dev/urandom | od -An -tx1 | tr -d ' \n')" acl
setcap cap_net_raw,cap_chown+eip d/size65536
touch acl/f acl/g; setfacl -m u:1:rwx,g:12:r,m:rx acl/f; setfacl -m u:2:-,u:1:x acl/g; setfacl -d -m u:1:rwx,g:5:r acl; setfacl -m o:- acl
chmod 2710 acl; chown -h 1:12 types/out
touch -h -d '2001-02-03 04:05:06.789012345' types/out; touch -d '1969-12-31 12:00:00.000000001' d/size1
touch -d '2099-06-01 01:02:03.999999999' perm/f0644; touch -d '1999-01-01' empty/in/empty perm .
cd / || exit 1

upns a && upns b; ok $? "two nodes whose passwd files differ"
hf a resource add r >/dev/null; hf a resource set r sockets=keep >/dev/null; hf a checkpoint add r /srv/r --force >"$tmp/out" 2>"$tmp/err"; ok $? "registered"
# the names of one are numbers of the other
hf a online r >"$tmp/out" 2>"$tmp/err"; ok $? "online on a"
move a b; ok $? "and on b"
judge "into an empty directory"
holes_kept "$Bd/d/sparse"; ok $? "P6: holes stay holes"
why=$(hf b diff r 2>&1); [ -z "$why" ]; ok $? "the restored tree equals the generation"
before=$(cd "$Bd" && find . -printf '%p %i %C@ %T@\n' | sort)
hf b offline r >/dev/null; hf b online r >/dev/null
why=$(diff <(echo "$before") <(cd "$Bd" && find . -printf '%p %i %C@ %T@\n' | sort) | head); [ -z "$why" ]; ok $? "P6: a second restore touches nothing"
hf b offline r >/dev/null; hf a online r >/dev/null

# files that change type, each way, while online
cd "$A/types" || exit 1
for k in f d l p s c; do for to in f d l p s c; do
	make $k t$k$to
done; done
cd / || exit 1
move a b; ok $? "a tree of files"
cd "$Bd/types" || exit 1
for k in f d l p s c; do for to in f d l p s c; do
	[ $k = $to ] || { rm -r t$k$to; make $to t$k$to; }
done; done
cd / || exit 1
chmod u+s "$Bd/d/size4095"; setfattr -x user.k "$Bd/d/size1"; setfacl -b "$Bd/acl/f"; setfacl -k "$Bd/acl"; setcap -r "$Bd/d/size65536"
rm "$Bd/empty/hard"; ln -f "$Bd/d/size511" "$Bd/types/hard"; rm -r "$Bd/empty/in"
move b a; ok $? "that change their types"
judge "changes of everything, back over what was there"

# owners and ACLs by name
hf a sync r >/dev/null
chown 47001:47101 "$A/d/size1"; chown -h 47002:47102 "$A/types/out"; setfacl -m u:47001:rw,u:47002:r,g:47101:x,g:47102:- "$A/acl/f"
setfacl -d -m u:47002:rwx "$A/acl"; chown 47002 "$A/empty"
move a b; ok $? "owners whose numbers differ"
is "$(stat -c %u:%g "$Bd/d/size1" "$Bd/types/out" "$Bd/empty" | tr '\n' ' ')" "48002:47102 47001:48102 47001:$(stat -c %g "$A/empty") " \
	"P6: owners by name"
facl() { getfacl -nc "$1" 2>/dev/null | grep "4[78]" | sort | tr '\n' ' '; }
is "$(facl "$Bd/acl/f")" "group:47102:--x group:48102:--- user:47001:r-- user:48002:rw- " "P6: ACLs by name"
is "$(facl "$Bd/acl")" "default:user:47001:rwx " "P6: default ACLs by name"
puts=$(field b r generation)
hf b sync r >/dev/null
is "$(field b r generation)" "$puts" "the other numbers are no change"
move b a; ok $? "and back"
is "$(stat -c %u:%g "$A/d/size1" "$A/types/out" | tr '\n' ' ')" "47001:47101 47002:47102 " "P6: they are what they were"
is "$(facl "$A/acl/f")" "group:47101:--x group:47102:--- user:47001:rw- user:47002:r-- " "P6: ACLs too"
setfacl -m u:47555:r "$A/acl/g"
move a b
why=$(cat "$tmp/err"); grep -q "hfonlya.*acl/g\|acl/g.*hfonlya" "$tmp/err"; ok $? "P6: a name in an ACL that is missing here is an error that names it"
hf b online r --dry-run >"$tmp/out" 2>"$tmp/err"; why="exit $?"; [ "$why" = "exit 1" ] && grep -q hfonlya "$tmp/err"; ok $? "which a dry run finds too"
mv "$Bd" "$Bd.away"; hf b online r --dry-run >"$tmp/out" 2>"$tmp/err"; why="exit $?"; [ "$why" = "exit 1" ] && grep -q hfonlya "$tmp/err"; ok $? "where nothing is there yet as well"
mv "$Bd.away" "$Bd"
hf a online r >"$tmp/out" 2>"$tmp/err"; hf a resource set r owners=number >/dev/null
move a b; ok $? "owners = number"
judge "by numbers"

# what leads outside is named
ln "$Bd/d/size4096" "$tmp/b/root/outside"
hf b sync r >/dev/null
why=$(tail -3 "$tmp/b/log"); grep -q "d/size4096 has 2 names, 1 of them outside" "$tmp/b/log"; ok $? "P6: a hard link that leads outside is named"
plan
