#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# check.sh [-l] [NAME...]: run the checks of the source by name, all if none is
# given. Each is a function check_NAME that prints what is wrong and fails.
# -l lists them. HF_BUILD: build directory.

set -u
cd "$(dirname "$0")/.." || exit 1
B=${HF_BUILD:-$PWD/build}
A=$B
B=${B#"$PWD"/} # as make itself names it
export LC_ALL=C.UTF-8
unset MAKEFLAGS MFLAGS MAKELEVEL

# all files that are or will be in the repository
files() {
	if git -c safe.directory='*' rev-parse -q --git-dir >/dev/null 2>&1; then
		git -c safe.directory='*' ls-files -co --exclude-standard | sort -u |
			while IFS= read -r f; do [ ! -f "$f" ] || printf '%s\n' "$f"; done
	else
		find . -type f ! -path './build*' ! -path './.git/*' | sed 's|^\./||' | sort
	fi
}

scripts() {
	local f line
	files | while IFS= read -r f; do
		IFS= read -r line <"$f" 2>/dev/null
		case $f in *.sh) line='#!/bin/sh' ;; esac
		case $line in '#!'*/sh | '#!'*/bash | '#!'*/sh\ * | '#!'*/bash\ *) printf '%s\n' "$f" ;; esac
	done
}

mk() {
	make --no-print-directory -j2 V=s DEPS=0 "$@"
}

# quiet COMMAND...: its output is shown only when it fails
quiet() {
	local out rc
	out=$("$@" 2>&1)
	rc=$?
	[ $rc = 0 ] || printf '%s\n' "$out"
	return $rc
}

#: gcc: builds without a warning
check_gcc() {
	quiet mk B="$B/werror-gcc" CC=gcc CFLAGS='-O2 -g -Werror' tests bench-programs
}

#: clang: builds without a warning
check_clang() {
	if ! command -v clang >/dev/null; then
		echo "skip: no clang here (scripts/deps.sh lint)"
		return 0
	fi
	quiet mk B="$B/werror-clang" CC=clang CFLAGS='-O1 -Werror' tests bench-programs
}

#: sanitize: the tests that are programs pass under ASan and UBSan
check_sanitize() {
	local san='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
	quiet mk B="$B/sanitize" CFLAGS="-O1 -g $san" LDFLAGS="$san" tests || return 1
	local t=() f
	for f in selftests/*/t_*.c; do
		[ -e "$f" ] && t+=("$B/sanitize/${f%.c}")
	done
	[ ${#t[@]} -gt 0 ] || return 0
	HF_BUILD="$A/sanitize" quiet prove -e 'timeout -k 20 600' "${t[@]}"
}

#: threads: the daemon's threads, and the library's, race for nothing that ThreadSanitizer sees
check_threads() {
	local dir out rc t=(store/t_many store/t_log tree/t_ahead tree/t_restore tree/t_roundtrip track/t_fanotify)
	local s=(failover/{basic,grow,group,move,wakes,storm,steal,guard,returns,back}.t rules/{c45_group,l02_hooks,l04_status,c50_alarm}.t)
	quiet mk B="$B/threads" CFLAGS='-O1 -g -fsanitize=thread' LDFLAGS=-fsanitize=thread all tests || return 1
	dir=$(mktemp -d) || return 1
	# gcc 12's knows neither pthread_mutex_clocklock() nor pthread_clockjoin_np(), which a daemon that stops waits
	# with: a thread after that may have the name of one that ended
	export TSAN_OPTIONS="log_path=$dir/r exitcode=0 history_size=4 report_thread_leaks=0 report_mutex_bugs=0"
	HF_BUILD="$A/threads" quiet prove -j2 -e 'timeout -k 20 600' \
		"${t[@]/#/$B/threads/selftests/}" "${s[@]/#/selftests/}"
	rc=$?
	unset TSAN_OPTIONS
	out=$(cat "$dir"/r.* 2>/dev/null | grep -v 'dup thread with used id')
	rm -rf "$dir"
	[ -z "$out" ] || { printf '%s\n' "$out"; return 1; }
	return $rc
}

#: shellcheck: shell scripts
check_shellcheck() {
	local list
	mapfile -t list < <(scripts)
	[ ${#list[@]} -gt 0 ] || return 0
	# what a sourced lib.sh sets is seen only by -x and a directive (SC2154);
	# `a= b=` is what it looks like (SC1007)
	shellcheck -x -S warning -e SC2154,SC1007 "${list[@]}"
}

#: spdx: every file names its licence, and the one of its place
check_spdx() {
	local f id bad=0
	while IFS= read -r f; do
		case $f in LICENSES/* | */corpus/*) continue ;; esac
		[ -s "$f" ] || continue
		id=$(head -n 5 "$f" | grep -a -o -m 1 'SPDX-License-Identifier: [A-Za-z0-9.(-]*')
		case $f:${id#*: } in
		# made by the kernel's generator, which insists on its own two
		*/netlink/specs/*:'((GPL-2.0' | */netlink_gen.?:'((GPL-2.0' | include/uapi/*:'((GPL-2.0') ;;
		Kbuild:GPL-2.0 | kernel/*:GPL-2.0 | selftests/kernel/Kbuild:GPL-2.0 | \
			selftests/kernel/hf_*:GPL-2.0) ;;
		Kbuild:?* | kernel/*:?*)
			echo "$f: the module is GPL-2.0, not ${id#*: }"; bad=1 ;;
		*:) echo "$f: no SPDX-License-Identifier in its first lines"; bad=1 ;;
		user/lib/*:LGPL-2.1-or-later | include/holdfast.h:LGPL-2.1-or-later | \
			Documentation/example.c:LGPL-2.1-or-later) ;;
		user/lib/*:?* | include/holdfast.h:?*)
			echo "$f: the library is LGPL-2.1-or-later, not ${id#*: }"; bad=1 ;;
		*:GPL-2.0-or-later) ;;
		*) echo "$f: GPL-2.0-or-later is expected here, not ${id#*: }"; bad=1 ;;
		esac
	done < <(files)
	return $bad
}

#: ynl: the uapi header and the module's policy are what the specification makes
check_ynl() {
	scripts/linux-source.sh >/dev/null 2>&1 ||
		{ echo "skip: no kernel source here (scripts/deps.sh vm)"; return 0; }
	quiet scripts/ynl-regen.sh -c
}

#: module: the modules build without a warning, and sparse finds nothing (KERNELS)
check_module() {
	local out
	# what was compiled before would not warn again
	rm -rf "$B/module-check"
	out=$(mk W=1 C=2 CF=-Werror B="$B/module-check" modules 2>&1) &&
		! grep -i -E 'warning:|error:' <<<"$out" | grep -v 'pahole' && return 0
	printf '%s\n' "$out"
	return 1
}

# the code of the kernel's side
kernel_code() {
	files | grep -E '^(kernel/|include/uapi/|selftests/kernel/hf_).*\.[ch]$'
}

#: checkpatch: the kernel's style, with what .checkpatch.conf says
check_checkpatch() {
	local src code
	src=$(scripts/linux-source.sh 2>/dev/null) ||
		{ echo "skip: no kernel source here (scripts/deps.sh vm)"; return 0; }
	mapfile -t code < <(kernel_code)
	perl "$src/scripts/checkpatch.pl" -q -f "${code[@]}"
}

# semantic_patch FILE CODE...: run one; what it finds it prints
semantic_patch() {
	local out rc
	# shellcheck disable=SC2046
	out=$(timeout 120 spatch -D report --very-quiet --no-show-diff --cocci-file "$1" \
		$(sed -n 's|^// *Options: *||p' "$1") "${@:2}" 2>&1)
	rc=$?
	# of the semantic patch itself
	out=$(grep -v 'should .* be a metavariable' <<<"$out")
	[ $rc != 0 ] || [ -n "$out" ] || return 0
	printf '%s\n%s: %s\n' "$out" "$1" "$rc"
	return 1
}
export -f semantic_patch

#: coccinelle: the kernel's semantic patches and scripts/*.cocci find nothing
check_coccinelle() {
	local src code rules
	src=$(scripts/linux-source.sh 2>/dev/null) && command -v spatch >/dev/null ||
		{ echo "skip: no spatch or no kernel source here (scripts/deps.sh vm)"; return 0; }
	mapfile -t code < <(kernel_code)
	# what it cannot parse it leaves out, and says nothing
	spatch --parse-c "${code[@]}" 2>&1 | grep -q 'pbs = 0;' ||
		{ spatch --parse-c "${code[@]}" 2>&1 | grep -i 'bad'; return 1; }
	# those with OCaml in them need its compiler; sparse finds what they look for
	mapfile -t rules < <(cd "$src/scripts/coccinelle" &&
		grep -lr '^virtual report' api free iterators locks misc null tests |
		xargs grep -L ':ocaml' | sed "s|^|$src/scripts/coccinelle/|" | sort)
	[ ${#rules[@]} -gt 40 ] || { echo "only ${#rules[@]} semantic patches in $src"; return 1; }
	printf '%s\0' scripts/*.cocci "${rules[@]}" |
		xargs -0 -I RULE -P 2 bash -c 'semantic_patch "$@"' sh RULE "${code[@]}"
}

#: seen: what the documentation says is noted is what the test expects
check_seen() {
	quiet mk B="$B" "$B/selftests/kernel/changes" || return 1
	diff <(awk '
		/^What is seen$/ { here = 1 }
		here && /^=+  =+  =/ { rules++ }
		rules { print }
		rules == 3 { exit }' Documentation/module.rst) <("$A/selftests/kernel/changes" -l)
}

#: symbols: the shared library exports what the public header declares, no more
check_symbols() {
	quiet mk B="$B" all || return 1
	local want got
	want=$(sed -n 's/^HF_API .*[ *]\([a-z0-9_]*\)(.*/\1/p' include/holdfast.h | sort)
	got=$(nm -D --defined-only --format=posix "$B/libholdfast.so.0" |
		awk '$2 != "A" { sub(/@.*/, "", $1); print $1 }' | sort)
	if [ "$want" != "$got" ]; then
		echo "exported (>) is not what include/holdfast.h declares (<):"
		diff <(echo "$want") <(echo "$got")
		return 1
	fi
	got=$(echo "$got" | grep -v '^hf_')
	[ -z "$got" ] || { echo "exported without hf_: $got"; return 1; }
}

#: layers: who may know whom
check_layers() {
	local bad=0
	# the command: the public header only
	local f
	while IFS= read -r f; do
		[ "$f" = holdfast.h ] || [ -e "user/cli/$f" ] ||
			{ echo "user/cli includes $f, which is not the public header"; bad=1; }
	done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' user/cli/*.[ch] | sort -u)
	# trees and tracking know no stores, stores know no trees; log.c joins them
	for f in track dirty tree walk scout attr acl owner links capture compare restore displaced; do
		grep -n -E '#include "(store|log|reg|disk)\.h"' user/lib/$f*.[ch] 2>/dev/null && bad=1
	done
	for f in store disk area chain claim node row segment ondisk crypto; do
		grep -n -E '#include "(tree|track|log|reg)\.h"' user/lib/$f.[ch] 2>/dev/null && bad=1
	done
	grep -n -E '#include "tree\.h"' user/lib/track*.[ch] && bad=1
	grep -n -E '#include ".*daemon/' user/lib/*.[ch] && bad=1
	return $bad
}

#: binary: nothing in the repository that is not text
check_binary() {
	local f bad=0
	while IFS= read -r f; do
		case $f in */corpus/*) continue ;; esac
		if [ -s "$f" ] && ! grep -qI . "$f"; then
			echo "$f: a binary file"
			bad=1
		fi
	done < <(files)
	return $bad
}

#: untracked: building and testing left nothing outside of build/
check_untracked() {
	local out
	out=$(git -c safe.directory='*' ls-files -o --exclude-standard) || return 1
	[ -z "$out" ] || { echo "not in git, and not ignored:"; echo "$out"; return 1; }
}

#: length: a file near 1,000 lines holds a second object
check_length() {
	files | grep -E '\.(c|h|sh|t|py|pl)$' | while IFS= read -r f; do
		n=$(wc -l <"$f")
		[ "$n" -lt 1000 ] || echo "$f: $n lines; find the second object in it"
	done | { ! grep .; }
}

#: man: pages format without a warning, and apropos can read them
check_man() {
	local f out bad=0
	for f in Documentation/man/*.[1-8]; do
		[ -e "$f" ] || continue
		out=$(MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$f" 2>&1 >/dev/null)
		[ -z "$out" ] || { echo "$out"; bad=1; }
		lexgrog "$f" >/dev/null || { echo "$f: no NAME line that apropos can read"; bad=1; }
	done
	return $bad
}

#: ocf: the agent's metadata is well-formed and lists what it does
check_ocf() {
	local x
	x=$(scripts/hooks/ocf/tree meta-data) || return 1
	printf '%s' "$x" | python3 -c '
import sys, xml.etree.ElementTree as e
r = e.fromstring(sys.stdin.read())
assert r.tag == "resource-agent" and r.get("name") == "tree", r.attrib
acts = {a.get("name") for a in r.find("actions")}
need = {"start", "stop", "monitor", "meta-data", "validate-all"}
assert need <= acts, need - acts
for p in r.find("parameters"):
    assert p.find("longdesc").text and p.find("shortdesc").text and p.find("content").get("type"), p.get("name")
'
}

#: install: goes where it is told, can be compiled against, and goes away again
check_install() {
	local d rc=0
	d=$(mktemp -d) || return 1
	quiet mk B="$B" DESTDIR="$d" PREFIX=/opt/hf install || rc=1
	for f in sbin/holdfastd sbin/holdfast lib/libholdfast.so.0 include/holdfast.h \
		lib/pkgconfig/holdfast.pc lib/ocf/resource.d/holdfast/tree lib/holdfast/keepalived-notify \
		lib/systemd/system/holdfastd.service lib/systemd/system/holdfast@.service lib/systemd/catalog/holdfast.catalog; do
		[ -s "$d/opt/hf/$f" ] || { echo "not installed: $f"; rc=1; }
	done
	grep -r '@SBINDIR@' "$d" && rc=1
	cat >"$d/t.c" <<-'X'
	#include <holdfast.h>
	#include <stdlib.h>
	int main(int argc, char **argv)
	{
		struct hf_err e = { 0 };
		struct hf_conn *c;

		return hf_connect(argv[1], &c, &e) < 0 &&
			e.exit == HF_NODAEMON && e.msg[0] ? 0 : 1;
	}
	X
	# the flags are words
	# shellcheck disable=SC2046
	PKG_CONFIG_PATH=$d/opt/hf/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$d \
		gcc -o "$d/t" "$d/t.c" $(PKG_CONFIG_PATH=$d/opt/hf/lib/pkgconfig \
		PKG_CONFIG_SYSROOT_DIR=$d pkg-config --cflags --libs holdfast) || rc=1
	printf '[node]\nruntime_dir = %s\n' "$d" >"$d/conf"
	LD_LIBRARY_PATH=$d/opt/hf/lib "$d/t" "$d/conf" || { echo "a program with libholdfast.so failed"; rc=1; }
	rm -f "$d/t.c" "$d/t" "$d/conf"
	quiet mk B="$B" DESTDIR="$d" PREFIX=/opt/hf uninstall || rc=1
	find "$d" ! -type d | grep . && { echo "uninstall left these"; rc=1; }
	rm -rf "$d"
	return $rc
}

names() {
	sed -n 's/^check_\([a-z]*\)() {$/\1/p' scripts/check.sh
}

if [ "${1-}" = -l ]; then
	sed -n 's/^#: \([a-z]*\): \(.*\)/\1	\2/p' scripts/check.sh | expand -t 14
	exit 0
fi
if [ $# = 0 ]; then
	# shellcheck disable=SC2046
	set -- $(names)
fi
failed=
for name; do
	if ! names | grep -qx -- "$name"; then
		echo "check.sh: there is no check '$name'; check.sh -l lists them" >&2
		exit 2
	fi
	if "check_$name"; then
		echo "ok      $name"
	else
		echo "FAILED  $name"
		failed="$failed $name"
	fi
done
[ -z "$failed" ] || { echo "check.sh: failed:$failed" >&2; exit 1; }
