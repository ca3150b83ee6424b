#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/kernel.sh, against an apt of our own: what is in the cache is whole, is
# fetched once, and what cannot be had is said.

here=$(cd "$(dirname "$0")" && pwd)
script=$here/../../scripts/kernel.sh
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

n=0 failed=0
ok() { # STATUS NAME
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$work/out" "$work/err"
		failed=1
	fi
}

# check NAME COMMAND...
check() {
	name=$1
	shift
	"$@"
	ok $? "$name"
}

# The apt of this test: REL is the newest release, FAIL names what goes wrong.
mkdir "$work/bin"
for tool in sh bash cat cut dirname flock grep head id ln ls mkdir mktemp mv rm sed sleep sort tail; do
	ln -s "$(command -v $tool)" "$work/bin/$tool"
done
cat >"$work/bin/apt-cache" <<'X'
#!/bin/sh
[ "$FAIL" != lists ] || exit 100
case $1/$2 in
depends/linux-image-amd64) echo "  Depends: linux-image-$REL" ;;
depends/linux-headers-*) printf '  Depends: %s\n' "linux-headers-$REL-common" linux-kbuild-6.1 gcc-12 ;;
show/*) echo "Version: $REL-1" ;;
esac
X
cat >"$work/bin/apt-get" <<'X'
#!/bin/sh
echo "apt-get $*" >>"$WORK/log"
case "$*" in
*update*) [ "$FAIL" != stale ] || rm -f "$WORK/stale"; exit 0 ;;
esac
sleep 0.3
if [ "$FAIL" = network ] || [ -e "$WORK/stale" ]; then
	echo "E: Unable to fetch some archives"
	exit 100
fi
seen=
for p; do
	[ -z "$seen" ] || : >"$p.deb"
	[ "$p" != download ] || seen=1
done
X
cat >"$work/bin/dpkg-deb" <<'X'
#!/bin/sh
p=${2##*/} p=${p%.deb} root=$3
[ "$FAIL" != unpack ] || case $p in linux-kbuild*) exit 2 ;; esac
src=$root/usr/src/$p
case $p in
linux-image-*) mkdir -p "$root/boot" "$root/lib/modules/$REL/kernel" && echo x >"$root/boot/vmlinuz-$REL" ;;
linux-kbuild-*) mkdir -p "$root/usr/lib/$p/scripts" "$root/usr/lib/$p/tools" ;;
linux-headers-*)
	mkdir -p "$src"
	ln -s ../../lib/linux-kbuild-6.1/scripts ../../lib/linux-kbuild-6.1/tools "$src"
	case $p in
	*-common) echo 'all:; @echo built' >"$src/Makefile" ;;
	*) echo "include /usr/src/$p-common/Makefile" >"$src/Makefile" ;;
	esac ;;
esac
X
printf '#!/bin/sh\n' >"$work/bin/depmod"
chmod +x "$work"/bin/apt-* "$work/bin/dpkg-deb" "$work/bin/depmod"

cache=$work/cache
export WORK="$work" REL=6.1.0-5-amd64 FAIL=
kernel() {
	PATH=$work/bin "$script" -d "$cache" "${@:-6.1}" >"$work/out" 2>"$work/err"
}
says() {
	grep -q -e "$1" "$work/err"
}
downloads() {
	grep -c download "$work/log"
}
# only whole kernels, and how many of them
kernels() {
	[ "$(find "$cache" -mindepth 1 -maxdepth 1 ! -name lock | grep -c .)" = "$1" ]
}

kernel
check "a kernel is fetched" [ $? = 0 ]
read -r version release kdir vmlinuz modules <"$work/out"
check "its line says what it is and where" \
	[ "$version $release" = "6.1 $REL" -a -s "$vmlinuz" -a -d "$modules/kernel" ]
# the command's own words, not those of make
check "its headers lead to their common part" [ "$(make -s -C "$kdir" 2>&1)" = built ]
check "and so does build of its modules" [ "$(make -s -C "$modules/build" 2>&1)" = built ]

kernel
check "a second time nothing is downloaded" [ $? = 0 -a "$(downloads)" = 1 ]

mkdir "$cache/.new.killed"
kernel
check "what a killed run left goes away" kernels 1

export REL=6.1.0-6-amd64 FAIL=network
kernel
check "without network the one that is here is used" \
	[ $? = 0 -a "$(cut -d ' ' -f 2 "$work/out")" = 6.1.0-5-amd64 ]
check "and that is said" says 'using 6.1.0-5-amd64'

FAIL=stale
: >"$work/stale"
kernel
check "old lists are renewed" \
	[ $? = 0 -a "$(cut -d ' ' -f 2 "$work/out")" = 6.1.0-6-amd64 ]

cache=$work/empty FAIL=network
kernel
check "without network and cache it fails" [ $? = 1 ]
check "and says what was tried" says 'cannot fetch kernel 6.1 .*network'

FAIL=unpack
kernel
check "what cannot be unpacked fails" [ $? = 1 ]
check "and leaves nothing that looks whole" kernels 0

FAIL=lists
kernel
check "a package that apt does not know fails" [ $? = 1 ]
check "and is named" says 'linux-image-amd64'

FAIL=
: >"$work/log"
kernel &
one=$!
PATH=$work/bin "$script" -d "$cache" 6.1 >"$work/out2" 2>&1
two=$?
wait $one
check "two at once both have it, by one download" [ $? = 0 -a $two = 0 -a "$(downloads)" = 1 ]

rm "$work/bin/apt-get"
kernel
check "without apt the cache is used" [ $? = 0 ]
cache=$work/none
kernel
check "and without that too it says why" says 'not a Debian system'

kernel 5.10
check "a kernel that is none of ours is a usage error" [ $? = 2 ]

echo "1..$n"
exit $failed
