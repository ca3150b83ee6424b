#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# deps.sh GROUP...: install the Debian packages that a group needs and this
# machine lacks. Says nothing when nothing is missing.

set -u
export LC_ALL=C

packages() {
	case $1 in
	build)
		echo gcc libc6-dev make pkg-config libsodium-dev libssl-dev libzstd-dev libinih-dev \
			libjson-c-dev libcap-dev libsystemd-dev libblkid-dev \
			libmnl-dev libkmod-dev libnl-3-dev libnl-genl-3-dev ;;
	check)
		echo perl git rsync attr acl libarchive-tools python3 python3-nacl python3-tdb python3-prometheus-client sqlite3 libcap2-bin procps patch \
			softhsm2 opensc openssh-client gnupg openssl gdb g++ prometheus \
			e2fsprogs mount util-linux shellcheck coccinelle man-db spin ;;
	cluster)
		echo mmdebstrap mount e2fsprogs ca-certificates iproute2 util-linux procps python3 resource-agents libxml2-utils keepalived systemd strace ;;
	bench)
		echo python3 rsync tar zstd e2fsprogs mount lsyncd casync restic borgbackup csync2 ;;
	demo)
		echo perl rsync git ed acl attr procps mount postgresql-common postgresql-15 ;;
	vm)
		echo gcc make qemu-system-x86 busybox-static cpio kmod e2fsprogs xfsprogs btrfs-progs \
			attr acl util-linux python3 pahole libelf1 gcc-12 sparse dkms linux-source-6.12 sqlite3 python3-yaml python3-jsonschema \
			inotify-tools dmsetup python3-nacl python3-tdb ;;
	debug)
		echo linux-source-6.12 gcc make flex bison bc xz-utils libelf-dev kmod cpio ;;
	newest)
		echo mmdebstrap debian-archive-keyring ca-certificates mount util-linux ;;
	fuzz)
		echo clang libclang-rt-14-dev ;;
	lint)
		echo clang libclang-rt-14-dev ;;
	*)
		echo "deps.sh: there is no group '$1'; groups: build check cluster bench demo vm fuzz debug newest lint" >&2
		return 1 ;;
	esac
}

[ $# -gt 0 ] || set -- build check cluster bench demo fuzz
want=
for group; do
	list=$(packages "$group") || exit 2
	want="$want $list"
done

# one look at the package database, whatever is asked
if command -v dpkg-query >/dev/null 2>&1; then
	# shellcheck disable=SC2086
	have=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' $want 2>/dev/null)"
else
	have=
fi
missing=
for p in $want; do
	case "$have$missing " in
	*" installed=$p "* | *" $p "*) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

refuse() {
	echo "deps.sh: $1. Needed, by the names that Debian 12 gives them:" >&2
	echo "  $missing" >&2
	echo "Install them, or what stands for them, and then set DEPS=0." >&2
	exit 1
}
if [ -z "$have" ] || ! command -v apt-get >/dev/null 2>&1; then
	refuse "this is not a Debian system"
fi
[ "$(id -u)" = 0 ] || refuse "only root can install packages"

echo "deps.sh: installing$missing"
export DEBIAN_FRONTEND=noninteractive

# A database server that comes with the demonstration must not be started: a
# machine that has no policy of its own gets one for as long as this takes.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1
fi
trap '[ -z "$made" ] || rm -f $policy' EXIT
trap 'exit 1' INT TERM HUP

install() {
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 \
		-o DPkg::Lock::Timeout=120 $missing
}
# Old lists name packages that the mirror no longer has, so a failure is
# tried once more with fresh ones.
log=$(mktemp) || exit 1
if ! install >"$log" 2>&1; then
	echo "deps.sh: apt-get update"
	if ! apt-get update -q >"$log" 2>&1 || ! install >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
# only its promtool is wanted: nor is the server to be started when the machine boots
case "$missing " in
*" prometheus "*) ! command -v systemctl >/dev/null 2>&1 || systemctl --quiet disable prometheus.service 2>/dev/null || : ;;
esac
		refuse "apt-get failed (above)"
	fi
fi
rm -f "$log"
# only its promtool is wanted: nor is the server to be started when the machine boots
case "$missing " in
*" prometheus "*) ! command -v systemctl >/dev/null 2>&1 || systemctl --quiet disable prometheus.service 2>/dev/null || : ;;
esac
