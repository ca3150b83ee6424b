#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The library as a program gets it: installed, found with pkg-config, in C and in C++, the example
# of the documentation, the versions of its symbols, a comment for each function; and W2's list in
# the caller's buffer and every other verb, against a daemon.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
inst=$tmp/inst
make -s -C "$top" DEPS=0 B="$B" DESTDIR="$inst" PREFIX=/usr V=s install >"$tmp/out" 2>"$tmp/err"; ok $? "installed"
lib=$inst/usr/lib/libholdfast.so.0

# symbols: what the header declares, all of one version, and nothing else
sed -n 's/^HF_API .*[ *]\(hf_[a-z0-9_]*\)(.*/\1/p' "$top/include/holdfast.h" | sort >"$tmp/declared"
objdump -T "$lib" | awk '$2 ~ /g/ && $4 != "*UND*" && / hf_/ { print $NF, $(NF - 1) }' | sort >"$tmp/out"
is "$(cut -d' ' -f1 "$tmp/out" | tr '\n' ' ')" "$(tr '\n' ' ' <"$tmp/declared")" "exported is what is declared"
is "$(cut -d' ' -f2 "$tmp/out" | sort -u)" HOLDFAST_0 "each with its version"
is "$(objdump -p "$lib" | awk '/SONAME/ { print $2 }')" libholdfast.so.0 "under its name"

# a comment above each, which names it and says what it is
why=$($PY - "$top/include/holdfast.h" <<'P'
import re, sys
text = open(sys.argv[1]).read()
for m in re.finditer(r'^HF_API [^;]*?\b(hf_\w+)\(([^;]*)\);', text, re.M | re.S):
    head = text[:m.start()].rstrip()
    doc = head[head.rfind('/**'):] if head.endswith('*/') else ''
    if not re.search(r'\b%s\(\) - \w' % m.group(1), doc):
        print(m.group(1), 'has no comment')
    for p in re.findall(r'@(\w+)', doc):
        if not re.search(r'\b%s\b' % p, m.group(2)):
            print(m.group(1), 'has no argument', p)
    if ':' in doc and re.search(r'\n \* @\w+: ', doc):
        for a in re.split(r',', re.sub(r'\([^()]*\)\(.*?\)', lambda x: x.group(0).split(')')[0], m.group(2))):
            a = re.findall(r'\w+', a)
            if a and a[-1] != 'void' and '@' + a[-1] not in doc and a[-1] not in ('ctx',):
                print(m.group(1), 'says nothing of', a[-1])
P
)
[ -z "$why" ]; ok $? "kernel-doc for each function"

export PKG_CONFIG_PATH=$inst/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$inst LD_LIBRARY_PATH=$inst/usr/lib
flags=$(pkg-config --cflags --libs holdfast 2>"$tmp/err"); ok $? "pkg-config knows it"
is "$(pkg-config --modversion holdfast)" "$(sed -n 's/^.define HF_VERSION "\(.*\)"/\1/p' "$top/include/holdfast.h")" "with its version"
grep -q '^Requires.private: .*libsodium' "$inst/usr/lib/pkgconfig/holdfast.pc" && ! grep -q libcrypto "$inst/usr/lib/pkgconfig/holdfast.pc"
ok $? "and asks for nothing that only the daemon has"
! readelf -d "$inst/usr/lib/libholdfast.so" "$inst/usr/sbin/holdfast" | grep -q libcrypto; ok $? "nor do the library and the command"
ex=$inst/usr/share/doc/holdfast/example.c
# the flags are words
# shellcheck disable=SC2086
gcc -std=c99 -Wall -Wextra -pedantic -Werror -o "$tmp/ex-c" "$ex" $flags 2>"$tmp/err"; ok $? "the example compiles as C99"
# shellcheck disable=SC2086
gcc -std=c11 -Wall -Wextra -Wconversion -Werror -fsyntax-only "$ex" $flags 2>"$tmp/err"; ok $? "and as C11, with no doubts"
for s in 11 17; do
	# shellcheck disable=SC2086
	g++ -x c++ -std=c++$s -Wall -Wextra -pedantic -Werror -o "$tmp/ex-$s" "$ex" $flags 2>"$tmp/err"; ok $? "as C++$s"
done
objdump -p "$tmp/ex-c" | grep -q 'HOLDFAST_0'; ok $? "a program needs the version that it was built with"
gzip -dc "$inst/usr/share/man/man3/libholdfast.3.gz" >"$tmp/out"; ok $? "the page is installed"
why=$(while read -r f; do grep -q "$f" "$tmp/out" || echo "$f"; done <"$tmp/declared" | grep -v -e hf_version -e hf_disk_check_watched)
[ -z "$why" ]; ok $? "and has each function"

cluster a b
up a && up b; ok $? "two nodes"
mkdir -p "$tmp/a/root/srv/mine"; echo x >"$tmp/a/root/srv/mine/f"
for p in c 11; do
	HOLDFAST_CONF=$tmp/a/conf timeout 60 "$tmp/ex-$p" mine /srv/mine >"$tmp/out" 2>"$tmp/err"; ok $? "the example runs ($p)"
	says out '^keeps /srv/mine$' "lists"
	says out '^online on a, confirmed 1$' "and tells how it is"
done
HOLDFAST_CONF=$tmp/a/conf timeout 60 "$tmp/ex-c" ../x /srv/mine >"$tmp/out" 2>"$tmp/err"; is $? 2 "it fails as the command does"
hf a resource delete mine --yes >/dev/null; hf a resource delete ../x --yes >/dev/null 2>&1
timeout 120 "$B/selftests/rules/lib_walk" "$tmp/a/conf" "$tmp/a/root" "$tmp/b/conf" >"$tmp/walk" 2>"$tmp/err"; rc=$?
# its lines, numbered as ours
while IFS= read -r line; do
	case $line in
	ok\ * | not\ ok\ *)
		n=$((n + 1))
		[ "${line#not }" = "$line" ] || failed=$((failed + 1))
		printf '%s\n' "$line" | sed -E "s/ok [0-9]+/ok $n/" ;;
	1..*) ;;
	*) printf '%s\n' "$line" ;;
	esac
done <"$tmp/walk"
is "$rc" 0 "every verb does what the header says"
down a; down b
HOLDFAST_CONF=$tmp/a/conf timeout 60 "$tmp/ex-c" mine /srv/mine >"$tmp/out" 2>"$tmp/err"; is $? 10 "without a daemon it says so"
plan
