#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# module and tree without the module: why it is not loaded, and what to do. The
# kernel, its files and its modules are made up, in a mount namespace of their own.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

release=$(uname -r)
if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
	echo "1..0 # SKIP this needs root and a mount namespace"
	exit 0
fi
if [ -d /sys/module/holdfast ]; then
	echo "1..0 # SKIP holdfast.ko is loaded here"
	exit 0
fi

# --- without a module, on whatever kernel this is
run 3 "status: not loaded" module status
says out "not loaded" "it says so"
says out "what to do: " "and what to do"
run 3 "the same for programs" module status --json
is "$(python3 -c '
import json, sys
o = json.load(open(sys.argv[1]))
print(o["loaded"], all(o[k] for k in ("reason", "why", "what")), o["kernel"]["release"])' "$tmp/out")" \
	"False True $release" "a whole object"
for verb in "tree list" "tree list pg" "tree dirty" "tree dirty pg" "tree events" "tree events pg --count 1 --timeout 5s" \
	"tree delete 1" "tree delete 1 --yes"; do
	# shellcheck disable=SC2086
	run 3 "$verb: not loaded" $verb
	says err "holdfast.ko is not loaded; load it with holdfast module load" "$verb: says what to do"
done
run 0 "unload: nothing to do" module unload
says out "is not loaded" "it says so"
run 0 "the same for programs" module unload --json
is "$(cat "$tmp/out")" '{"loaded":false,"already":true}' "it was so already"

# --- libkmod, which other commands do not wait for
ldd "$HF" >"$tmp/ldd" 2>/dev/null
why=$(grep -E 'libkmod|libcrypto' "$tmp/ldd")
[ -z "$why" ]; ok $? "libkmod, and what it needs, is not loaded at the start"
mkdir "$tmp/lib"
: >"$tmp/lib/libkmod.so.2"
export LD_LIBRARY_PATH="$tmp/lib"
run 1 "a libkmod that is none: status" module status
says err "libkmod cannot be used: " "it says so"
says err "libkmod.so.2" "and which"
run 1 "a libkmod that is none: load" module load
says err "libkmod cannot be used: " "it says so"
run 0 "a libkmod that is none: other verbs" version
unset LD_LIBRARY_PATH

# --- a made-up kernel: $fake/{proc,sys,modules} lie over the real ones
fake=$tmp/fake
kernel() {
	rm -rf "$fake"
	mkdir -p "$fake/proc/self" "$fake/proc/sys/kernel" "$fake/sys/kernel/security" \
		"$fake/sys/module/module/parameters" "$fake/modules/$release/extra"
	: >"$fake/proc/modules"
	echo "0 0 4294967295" >"$fake/proc/self/uid_map"
	echo 0 >"$fake/proc/sys/kernel/modules_disabled"
	echo 4097 >"$fake/proc/sys/kernel/tainted"
	echo "[none] integrity confidentiality" >"$fake/sys/kernel/security/lockdown"
	echo N >"$fake/sys/module/module/parameters/sig_enforce"
}
# ko DIR RELEASE: a file that says of itself what a module does, for RELEASE
ko() {
	printf 'asm(".section .modinfo,\\"a\\"\\n.asciz \\"version=9.8\\"\\n.asciz \\"srcversion=ABC\\"\\n%s");\n' \
		".asciz \\\"vermagic=$2 SMP preempt mod_unload \\\"\\n.asciz \\\"name=holdfast\\\"" |
		${CC:-gcc} -c -x c -o "$1/holdfast.ko" -
	if command -v depmod >/dev/null; then
		mkdir "$tmp/dep" "$tmp/dep/lib"
		ln -s "$fake/modules" "$tmp/dep/lib/modules"
		depmod -b "$tmp/dep" "$release" 2>/dev/null
		rm -r "$tmp/dep"
	fi
}
# faked WANT NAME ARG...: in that namespace
faked() {
	want=$1
	name=$2
	shift 2
	# shellcheck disable=SC2016
	unshare -m sh -c 'fake=$1; shift
		mount --make-rprivate / && mkdir -p /lib/modules &&
		mount --bind "$fake/modules" /lib/modules && mount --bind "$fake/sys" /sys &&
		mount --bind "$fake/proc" /proc && exec "$@"' sh "$fake" $wrap "$HF" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	code=$?
	is "$code" "$want" "$name"
}
wrap=
# reason WORD WHAT NAME: of the state as it is; and load must say the same
reason() {
	faked 3 "$3: status" module status --json
	says out "\"reason\":\"$1\"" "$3: the reason"
	says out "$2" "$3: what to do"
}

kernel
reason not-built "linux-headers-$release" "no module, no headers"
faked 3 "load: there is none" module load
says err "there is no holdfast.ko for this kernel.*make module-install" "load: says what to do"
mkdir -p "$fake/modules/$release/build" "$fake/modules/5.0.0-a/updates/dkms" "$fake/modules/6.6.6-b/extra"
: >"$fake/modules/$release/build/Makefile"
: >"$fake/modules/5.0.0-a/updates/dkms/holdfast.ko.xz"
: >"$fake/modules/6.6.6-b/extra/holdfast.ko"
reason not-built '"what":"run make module-install' "no module, but headers"
says out '"built_for":"\(5.0.0-a, 6.6.6-b\|6.6.6-b, 5.0.0-a\)"' "what it is built for"
: >"$fake/modules/$release/extra/holdfast.ko"
reason not-indexed "depmod -a" "not in the index"

rm "$fake/proc/modules"
reason no-modules "another kernel" "a kernel without modules"
kernel
wrap="setarch --uname-2.6"
reason kernel-too-old "newer kernel" "an old kernel"
wrap=

if ! command -v depmod >/dev/null; then
	skipped="depmod is not there (kmod)"
elif ! kernel || ! ko "$fake/modules/$release/extra" "$release"; then
	skipped="no made-up module can be compiled"
else
	skipped=
fi
if [ -n "$skipped" ]; then
	echo "ok $((n += 1)) - # SKIP $skipped"
	plan
fi
reason loadable "holdfast module load" "nothing against it"
says out '"version":"9.8","srcversion":"ABC"' "what the file says of itself"
says out '"signed":false,"signer":null' "and that it is not signed"
says out '"tainted":4097,"taints":\["P: .*not by Holdfast","O: .*harmless"\]' "whose the taint is"
faked 3 "status for people" module status
says out "/holdfast.ko$" "names the file"

echo 1 >"$fake/proc/sys/kernel/modules_disabled"
reason disabled "modules-load.d" "modules are disabled"
faked 9 "modules are disabled: load" module load
kernel
ko "$fake/modules/$release/extra" "$release"
echo "none [integrity] confidentiality" >"$fake/sys/kernel/security/lockdown"
reason unsigned "mokutil --import.*source = fanotify" "lockdown"
says out '"lockdown":"integrity"' "lockdown is named"
says out "is locked down" "lockdown is the reason"
faked 9 "lockdown: load" module load
mkdir -p "$fake/sys/firmware/efi/efivars"
printf '\6\0\0\0\1' >"$fake/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
reason unsigned "MOK" "Secure Boot"
says out '"secure_boot":true' "Secure Boot is on"
says out "Secure Boot is on, so" "Secure Boot is the reason"
printf '\6\0\0\0\0' >"$fake/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
echo "[none] integrity confidentiality" >"$fake/sys/kernel/security/lockdown"
reason loadable "module load" "Secure Boot off"
echo Y >"$fake/sys/module/module/parameters/sig_enforce"
reason unsigned "mokutil" "module.sig_enforce"
says out "module.sig_enforce" "it is named"
echo N >"$fake/sys/module/module/parameters/sig_enforce"

wrap="setpriv --bounding-set -sys_module --inh-caps -sys_module"
reason container "on the host" "root without CAP_SYS_MODULE"
faked 9 "root without CAP_SYS_MODULE: load" module load
wrap=
echo "0 100000 65536" >"$fake/proc/self/uid_map"
reason container "on the host" "a user namespace"
echo "0 0 4294967295" >"$fake/proc/self/uid_map"

kernel
ko "$fake/modules/$release/extra" 6.1.0-other
reason vermagic "linux-headers-$release" "built for another kernel"
says out "'6.1.0-other SMP preempt mod_unload '" "which one"
faked 1 "built for another kernel: load" module load
plan
