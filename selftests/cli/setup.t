#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# keygen, init, join, disk, cluster-state: without a daemon, on a disk that is a file.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# conf NODE: its configuration file
conf() {
	printf '[node]\nname = %s\nstate_dir = %s/%s/state\nruntime_dir = %s/%s/run\nkey_file = %s/key\n' \
		"$1" "$tmp" "$1" "$tmp" "$1" "$tmp" >"$1.conf"
}
everything() {
	find "$tmp" -not -name out -not -name err -printf '%P %s %m\n' | sort
	sha256sum "$tmp"/key "$tmp"/disk 2>/dev/null
}
# unchanged NAME: since the last `before=$(everything)`
unchanged() {
	is "$(everything)" "$before" "$1: nothing was changed"
}

# --- no daemon, nothing set up
conf alpha
for verb in status "node list" "resource list" "resource add pg" "resource delete pg" "resource show pg" \
	"resource set pg settle=5ms" "resource reset pg" "resource rebuild pg" "checkpoint add pg /x" "checkpoint delete pg /x" \
	"checkpoint list" "online pg" "offline pg" "sync pg" "sync --group pg cups" watch "history pg" "diff pg" \
	"displaced list" "status --watch"; do
	# shellcheck disable=SC2086
	run 10 "$verb: no daemon" -c alpha.conf $verb
	says err "no daemon answers at $tmp/alpha/run/holdfastd.sock.*start it with" "$verb: says where, and what to do"
done
run 2 "a configuration that is not there" -c alpah.conf status
says err "there is no configuration alpah.conf" "is not taken for the default one, whose daemon may be another"

# --- cluster-state
mkdir bin empty
cp "$HF" bin/holdfast
nostate() { # WANT STATE NAME: with the copy of the command that has no daemon beside it
	PATH=$4 bin/holdfast -c alpha.conf cluster-state --exit-code >out 2>err
	is $? "$1" "$3"
	says out "^$2" "$3: says $2"
}
if [ -x /usr/sbin/holdfastd ]; then
	echo "ok $((n += 1)) - # SKIP a holdfastd is installed in /usr/sbin"
else
	nostate 0 not-installed "no holdfastd anywhere" empty
fi
printf '#!/bin/sh\n' >bin/holdfastd
nostate 0 not-installed "a holdfastd that cannot be executed" empty
chmod +x bin/holdfastd
nostate 1 not-configured "one beside the command" empty
rm bin/holdfastd
mkdir sbin
printf '#!/bin/sh\n' >sbin/holdfastd
chmod +x sbin/holdfastd
nostate 1 not-configured "one in PATH" "$tmp/empty:$tmp/sbin"
PATH=$PATH:$tmp/sbin
export PATH
run 0 "without --exit-code it is a question that was answered" -c alpha.conf cluster-state
printf '[node]\nname\n' >bad.conf
run 1 "an unreadable configuration is none" -c bad.conf cluster-state --exit-code
says out "bad.conf:2" "and why"

# --- keys and configurations that are wrong
before=$(everything)
run 2 "a configuration with an error" -c bad.conf init disk --name web --size 64MiB
says err "bad.conf:2: neither" "names file and line"
run 1 "join without the key" -c alpha.conf join "$tmp/none"
says err "copy it from another node" "says what to do"
unchanged "refused"
run 0 "keygen" -c alpha.conf keygen
is "$(stat -c %a key)" 600 "the key is for root alone"
before=$(everything)
run 4 "keygen again" -c alpha.conf keygen
run 7 "a disk that is not there" -c alpha.conf join "$tmp/none"
unchanged "keygen again, a disk that is not there"

# --- init
run 0 "init" -c alpha.conf --json init disk --name web --nodes 2 --lease 500ms --size 64MiB
says out '"cluster":"web"' "tells the cluster"
is "$(stat -c %a alpha/state/identity)" 600 "the identity is for root alone"
run 3 "configured, not running" -c alpha.conf cluster-state --exit-code
says out "not-running  node alpha" "and which node"
before=$(everything)
run 5 "init again" -c alpha.conf init disk --name web
says err "quorum disk.*--force" "says what is there"
unchanged "init again"
run 4 "init of another disk" -c alpha.conf init other --name web --size 64MiB
says err "another store" "says why"
unchanged "init of another disk"
run 4 "join of the node itself" -c alpha.conf join disk
unchanged "join of the node itself"

# --- join
conf beta
run 0 "join" -c beta.conf join disk
says out "node beta of cluster web" "tells the cluster"
conf gamma
before=$(everything)
run 5 "no area is left" -c gamma.conf join disk
says err "all 2 areas" "says how many there are"
unchanged "no area is left"
sed "s,$tmp/beta,$tmp/twin," beta.conf >twin.conf
run 4 "nor may there be a second beta" -c twin.conf join disk

cp key key.good
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >key
echo >>key
before=$(everything)
run 8 "join with another key" -c gamma.conf join disk
run 8 "disk check with another key" -c alpha.conf disk check
unchanged "another key"
printf 'zz\n' >key
run 2 "a key that is none" -c alpha.conf disk check
cp key.good key
chmod 644 key
run 9 "a key that others may read" -c alpha.conf disk check
chmod 600 key

run 3 "a disk in a directory that is not there" -c alpha.conf disk format none/disk --name one --size 64MiB
says err "make the directory first" "says what to do"
run 0 "disk info" -c alpha.conf disk info
says out "authenticated *true" "is authenticated"
mv key key.away
run 0 "disk info without the key" -c alpha.conf disk info disk
says out "authenticated *false" "says that nothing of it is authenticated"
mv key.away key
run 0 "disk check" -c beta.conf disk check
run 0 "disk check of one that is named" -c beta.conf --json disk check "$tmp/disk"
says out '"findings":\[\]' "finds nothing"

# --- disks that are something else
truncate -s 64M ext4
if mkfs.ext4 -q ext4 2>/dev/null; then
	sum=$(sha256sum <ext4)
	conf delta
	run 5 "a filesystem" -c delta.conf init ext4 --name web
	says err "ext4.*--force" "says what it is"
	is "$(sha256sum <ext4)" "$sum" "a filesystem: not a byte was written"
	is "$(ls delta 2>/dev/null)" "" "nor anything else made"
	run 0 "with --force" -c delta.conf init ext4 --name web --lease 500ms --force
else
	echo "ok $((n += 1)) - # SKIP no mkfs.ext4"
fi
hf -c alpha.conf disk check /dev/zero
[ "$code" -ne 0 ] && [ "$code" -lt 11 ]
ok $? "/dev/zero is no quorum disk"
run 2 "a name that a configuration cannot hold" -c gamma.conf join "$tmp/a ;b"

# --- a state directory that cannot be one
conf epsilon
mkdir epsilon
: >epsilon/state
rm -f disk2
before=$(everything)
hf -c epsilon.conf init disk2 --name web --size 64MiB
[ "$code" -ne 0 ]
ok $? "a state_dir that is a file: refused"
unchanged "a state_dir that is a file"

# --- terminals are asked, others are not
if command -v script >/dev/null; then
	printf 'n\n' | script -qec "'$HF' -c alpha.conf disk format '$tmp/disk' --name web --force" /dev/null >out 2>&1
	is $? 1 "on a terminal --force asks, and no is no"
	says out "Overwrite whatever is on" "says what about"
	run 0 "and the disk is as it was" -c alpha.conf disk check
else
	echo "ok $((n += 1)) - # SKIP no script(1)"
fi
hf help >/dev/full
"$HF" help >/dev/full 2>/dev/null
is $? 1 "output that cannot be written is a failure"
plan
