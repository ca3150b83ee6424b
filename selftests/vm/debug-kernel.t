#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/kernel.sh debug, with a compiler of our own: what is in the cache is
# whole, is built once for each configuration, and leaves no source behind.

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
# it reads the configuration from beside it
mkdir -p "$work/scripts" "$work/selftests/vm" "$work/bin" "$work/cache"
cp "$here/../../scripts/kernel.sh" "$here/../../scripts/debug-kernel.sh" "$work/scripts"
config=$work/selftests/vm/debug.config
printf '%s\n' '# words' CONFIG_A=y '# CONFIG_B is not set' >"$config"

if [ ! -r /usr/src/linux-source-6.12.tar.xz ]; then
	echo "1..0 # SKIP linux-source-6.12 is not installed; scripts/deps.sh debug installs it"
	exit 0
fi

n=0 failed=0
check() { # NAME COMMAND...
	name=$1
	shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$work/out" "$work/err"
		failed=1
	fi
}

for tool in flex bison bc xz depmod tar; do
	printf '#!/bin/sh\n' >"$work/bin/$tool"
done
printf '#!/bin/sh\necho 12\n' >"$work/bin/gcc"
cat >"$work/bin/make" <<'X'
#!/bin/sh
for a; do
	case $a in
	O=*) o=${a#O=} ;;
	INSTALL_MOD_PATH=*) mods=${a#*=} ;;
	KBUILD_RUN_COMMAND=*) headers=${a##* } ;;
	esac
done
case "$*" in
*allnoconfig*) [ "$FAIL" != config ] || KCONFIG_ALLCONFIG=/dev/null
	cat "$KCONFIG_ALLCONFIG" >"$o/.config" ;;
*kernelrelease*) echo 6.12.5-debug ;;
*bzImage*)
	echo built >>"$WORK/log"
	[ "$FAIL" != compile ] || { echo "x.c:1: error: no such thing"; exit 2; }
	mkdir -p "$o/arch/x86/boot" && echo kernel >"$o/arch/x86/boot/bzImage" ;;
*modules_install*) mkdir -p "$mods/lib/modules/6.12.5-debug" ;;
*run-command*) mkdir -p "$headers" && echo all: >"$headers/Makefile" ;;
esac
X
chmod +x "$work"/bin/*

export WORK="$work" FAIL=
kernel() {
	PATH=$work/bin:$PATH "$work/scripts/kernel.sh" -d "$work/cache" debug >"$work/out" 2>"$work/err"
}
built() {
	[ "$(wc -l <"$work/log")" = "$1" ]
}
kernels() { # only whole ones, and how many of them
	[ "$(find "$work/cache" -mindepth 1 -maxdepth 1 ! -name 'lock*' | grep -c .)" = "$1" ]
}

kernel
check "the kernel is built" [ $? = 0 ]
read -r version release kdir vmlinuz modules <"$work/out"
check "its line says what it is and where" [ "$version $release" = "debug 6.12.5-debug" \
	-a -s "$vmlinuz" -a -d "$modules" -a -f "$kdir/Makefile" -a -f "$modules/build/Makefile" ]
check "and its source is gone" kernels 1
kernel
check "a second time it is not built" [ $? = 0 -a "$(wc -l <"$work/log")" = 1 ]
mkdir "$work/cache/.debug.killed"
kernel
check "what a killed run left goes away" kernels 1

echo CONFIG_C=y >>"$config"
FAIL=compile
kernel
check "another configuration is another kernel" built 2
check "what cannot be built fails" [ ! -s "$work/out" ]
check "with the compiler's words" grep -q 'error: no such thing' "$work/err"
check "and leaves nothing that looks whole" kernels 1

FAIL=config
kernel
check "an option that cannot be had fails" grep -q 'not so in the configuration: CONFIG_A=y' "$work/err"

FAIL=
kernel &
one=$!
PATH=$work/bin:$PATH "$work/scripts/kernel.sh" -d "$work/cache" debug >"$work/out2" 2>&1
two=$?
wait $one
check "two at once both have it, by one build" [ $? = 0 -a $two = 0 -a "$(wc -l <"$work/log")" = 3 ]
echo "1..$n"
exit $failed
