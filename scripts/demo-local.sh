#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Three nodes on this machine, one quorum disk, a real configuration, real
# programs that change it, and a power cut in the middle of it.
#
# KEEP=1 keeps the work directory. Exits 1 when anything that it shows is not so.

# shellcheck disable=SC2016	# single quotes hold perl
set -u -o pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")/.." && pwd)
build=${HF_BUILD:-$here/build}
lease_ms=2000
oracle_files=0
failed=0
checks=0
W=
declare -A daemon=()
declare -a storm=()

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' cyan=$'\e[36m' off=$'\e[0m'
else
	bold='' dim='' green='' red='' cyan='' off=''
fi

die() { echo "demo: $*" >&2; exit 1; }
now_ms() { local t=$EPOCHREALTIME; echo $((${t/./} / 1000)); }
say() { echo "   $*"; }
scene_no=0
scene() { echo; echo "$bold$((++scene_no))  $*$off"; }

check() {	# check TEXT COMMAND...: COMMAND must succeed
	local text=$1
	shift
	checks=$((checks + 1))
	if "$@"; then
		echo "   ${green}ok$off  $text"
	else
		failed=$((failed + 1))
		echo "   ${red}FAILED$off  $text"
	fi
}

# What a node's prompt would do: in its root, with its configuration.
node_sh() {
	(cd "$W/$1/root" && HOLDFAST_CONF=$W/$1/holdfast.conf PATH=$build:$PATH \
		GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 \
		PG_CLUSTER_CONF_ROOT=$W/$1/root/etc/postgresql \
		PGSYSCONFDIR=$W/$1/root/etc/postgresql-common bash -c "$2")
}

at() {		# at NODE 'COMMAND': show it as typed, run it, show what it says
	local rc
	echo "   $cyan$1:/#$off $2"
	node_sh "$1" "$2" >"$W/out" 2>&1
	rc=$?
	sed "s/^/      $dim/; s/\$/$off/" "$W/out"
	return $rc
}

must() { at "$@" || { say "${red}that should have worked (exit $?)$off"; exit 1; }; }

expect() {	# expect CODE NODE 'COMMAND': it must be refused just so
	local want=$1 rc
	shift
	at "$@"
	rc=$?
	check "exit $rc, as documented" [ "$rc" -eq "$want" ]
}

json() {	# json EXPRESSION: of the JSON on stdin, held in $j
	perl -MJSON::PP -e 'my $j = decode_json(do { local $/; <STDIN> }); my $v = eval $ARGV[0];
		print $v // "", "\n"' "$1"
}

start_daemon() {
	(cd "$W/$1" && exec env HOLDFAST_CONF="$W/$1/holdfast.conf" "$build/holdfastd" \
		-c "$W/$1/holdfast.conf" >>"$W/$1/daemon.log" 2>&1) &
	daemon[$1]=$!
	disown	# bash tells nobody how it died
}

wait_daemon() {
	local until=$(($(now_ms) + 15000))
	until node_sh "$1" 'holdfast node list' >/dev/null 2>&1; do
		kill -0 "${daemon[$1]}" 2>/dev/null ||
			die "$1's daemon ended: $(tail -n 3 "$W/$1/daemon.log")"
		[ "$(now_ms)" -lt $until ] ||
			die "$1's daemon does not answer: $(tail -n 3 "$W/$1/daemon.log")"
		sleep 0.05
	done
}

# Only what this script started: a name of a process is never good enough.
slay() {
	kill -KILL "$@" 2>/dev/null
	while kill -0 "$@" 2>/dev/null; do sleep 0.002; done
}

clean_up() {
	local p
	trap - EXIT INT TERM
	for p in "${storm[@]}"; do slay -- "-$p"; done
	for p in "${daemon[@]}"; do slay "$p"; done
	[ -n "$W" ] || return
	if [ -n "${KEEP:-}" ]; then
		echo "   kept: $W"
	else
		rm -rf "$W"
	fi
}

# --- writers -----------------------------------------------------------------

# Each leaves traces that tell later whether a state is one that existed:
# a file is in one place, a counter is whole, a new file never changes again.
write_storm() {
	cat >"$W/storm.pl" <<'STORM'
use strict; use warnings; use Time::HiRes 'usleep';
my ($mode, $dir, $count) = @ARGV;
srand(20 + length $mode);
my $n = 0;
sub tick {
	return if ++$n % 5;
	open my $f, '>', "$count.new" or die; print $f $n; close $f; rename "$count.new", $count;
}
if ($mode eq 'names') {		# files and directories that never keep a name
	my @dir = map { "d$_" } 0 .. 5;
	my @file = map { [$_ % 6, "f$_"] } 1 .. 60;
	for (my $k = 1;; $k++) {
		if ($k % 25 == 0) {
			my $d = int rand 6;
			rename "$dir/$dir[$d]", "$dir/d$d.$k" or die "$dir[$d]: $!";
			$dir[$d] = "d$d.$k";
		} else {
			my $i = int rand 60;
			my ($d, $name) = @{$file[$i]};
			my $to = int rand 6;
			my $new = 'f' . ($i + 1) . ".$k";
			rename "$dir/$dir[$d]/$name", "$dir/$dir[$to]/$new" or die "$name: $!";
			$file[$i] = [$to, $new];
		}
		tick(); usleep(1500);
	}
} elsif ($mode eq 'counters') {	# written anew beside, then renamed over
	for (my $k = 1;; $k++) {
		my $c = 'c' . $k % 8;
		open my $f, '>', "$dir/.$c.new" or die; print $f "$k\n" x (1 + $k % 900); print $f "end $k\n";
		close $f; rename "$dir/.$c.new", "$dir/$c" or die;
		tick(); usleep(4000);
	}
} else {			# new files, each written once
	for (my $k = 1;; $k++) {
		my $d = sprintf '%s/%03d', $dir, $k / 50;
		mkdir $d, 0750;
		open my $f, '>', "$dir/.part" or die;
		print $f join(' ', $k, map { int rand 1e9 } 1 .. rand 400), "\n"; close $f;
		rename "$dir/.part", sprintf('%s/%05d', $d, $k) or die;
		tick(); usleep(6000);
	}
}
STORM
	mkdir -p "$1"/names/d{0,1,2,3,4,5} "$1/counters" "$1/new"
	local i
	for i in {1..60}; do echo "id $i" >"$1/names/d$((i % 6))/f$i"; done
}

start_storm() {
	local m
	for m in names counters new; do
		setsid perl "$W/storm.pl" $m "$1/$m" "$W/count.$m" 2>>"$W/storm.err" &
		storm+=($!)
		disown
	done
}

storm_signal() {
	local p
	for p in "${storm[@]}"; do kill "-$1" -- "-$p" 2>/dev/null; done
	[ "$1" != STOP ] && return
	for p in "${storm[@]}"; do	# a signal is not an arrival
		until [[ $(cut -d' ' -f3 "/proc/$p/stat" 2>/dev/null) != [RSD] ]]; do sleep 0.002; done
	done
}

storm_count() { cat "$W/count.$1" 2>/dev/null || echo 0; }
storm_alive() { local p; for p in "${storm[@]}"; do kill -0 "$p" 2>/dev/null || return 1; done; }

# --- the oracle --------------------------------------------------------------

trees=(etc/postgresql srv/etc)

take_oracle() {
	local t
	rm -rf "$W/oracle"
	for t in "${trees[@]}"; do
		mkdir -p "$W/oracle/$(dirname "$t")"
		cp -a "$W/alpha/root/$t" "$W/oracle/$t" || exit 1
	done
	oracle_files=$(find "$W/oracle" -mindepth 1 | wc -l)
}

# The names in which two roots differ: contents, type, mode, owner, times,
# ACLs, xattrs, links, holes, and what is in one of them only.
differing() {
	local t
	for t in "${trees[@]}"; do
		{ rsync -aHAXSc --itemize-changes --dry-run --delete "$1/$t/" "$2/$t/" ||
			echo "- (rsync failed)"; } | sed "s|^[^ ]* *||; s|^|$t/|"
	done | sort
}

# What differs from both the oracle and from alpha's last state has never been.
# The storm's own directories are left to storm_check.
never_was() {
	comm -12 <(differing "$W/oracle" "$1") <(differing "$W/alpha/root" "$1") |
		grep -v -e '^srv/etc/storm/names/' -e '^srv/etc/storm/counters/' \
			-e '^srv/etc/storm/new/\([0-9]*/\)\?$' -e '^srv/etc/storm/new/[.]part$'
}
nothing_else() { ! never_was "$1" | tee "$W/never_was" | sed 's/^/      /' | grep .; }

names_check() {		# every file of the rename storm is in one place, once
	perl -MFile::Find -e 'my %n; find(sub { return unless -f $_; open my $f, "<", $_ or die;
		my $c = do { local $/; <$f> }; $c =~ /^id (\d+)\n\z/ or print("      torn: $_\n"), $bad++;
		$n{$1 // 0}++; }, $ARGV[0]);
		for (1 .. 60) { next if ($n{$_} // 0) == 1;
			print "      id $_: ", $n{$_} // 0, " times\n"; $bad++ }
		exit !!$bad' "$1/srv/etc/storm/names"
}

counters_check() {	# whole, and between the last sync and the end
	perl -e 'my ($o, $b, $a) = @ARGV; my $bad = 0;
		sub n { open my $f, "<", $_[0] or return -1; my @l = <$f>; my $e = pop @l // "";
			$e =~ /^end (\d+)$/ or return -2; my $k = $1;
			@l == 1 + $k % 900 or return -2; $_ eq "$k\n" or return -2 for @l; $k }
		for (map { "c$_" } 0 .. 7) { my ($lo, $is, $hi) = (n("$o/$_"), n("$b/$_"), n("$a/$_"));
			next if $lo <= $is && $is <= $hi && $is > 0;
			print "      $_: synced $lo, on beta $is, last $hi\n"; $bad = 1 }
		exit $bad' "$W"/{oracle,"$1"/root,alpha/root}/srv/etc/storm/counters
}

same_trees() {		# same_trees A B: both ways
	local d
	d=$(differing "$1" "$2"; differing "$2" "$1")
	[ -z "$d" ] || { echo "$d" | head -n 10 | sed 's/^/      /'; return 1; }
}

empty_diff() { local o; o=$(node_sh "$1" 'holdfast diff pg') && [ -z "$o" ]; }

# --- what is needed ------------------------------------------------------------

[ "$(id -u)" = 0 ] || die "run it as root: it gives files their owners back"
for p in rsync git ed perl setfacl setfattr pg_conftool; do
	command -v $p >/dev/null || die "$p is missing; scripts/deps.sh installs what the demonstration needs"
done
if [ ! -x "$build/holdfastd" ] || [ ! -x "$build/holdfast" ]; then
	make -s -C "$here" all || die "the build failed"
fi

trap clean_up EXIT
trap 'exit 130' INT TERM
for d in "${TMPDIR:-/tmp}" /tmp /var/tmp "$here"; do
	case $(stat -f -c %T "$d" 2>/dev/null) in
	ext2/ext3|xfs|btrfs)
		W=$(mktemp -d "$d/hf-XXXXXX") || exit 1
		break ;;
	esac
done
[ -n "$W" ] || die "no ext4, xfs or btrfs under /tmp or /var/tmp; set TMPDIR to a directory on one"
chmod 0711 "$W"

copy_configuration() {	# copy_configuration ROOT: what the machine has, as it has it
	mkdir -p "$1/srv" "$1/etc"
	cp -a /etc "$1/srv/etc"
	cp -a /etc/postgresql-common "$1/etc/" 2>/dev/null
	if compgen -G '/etc/postgresql/*/main/postgresql.conf' >/dev/null; then
		cp -a /etc/postgresql "$1/etc/"
		return
	fi
	# The package makes a cluster when it is installed. Where it is not there, let it
	# make one in places that only this command sees.
	mkdir -p "$1/etc/postgresql" "$W/pgdata" "$W/pglog"
	chown postgres:postgres "$1/etc/postgresql" "$W/pgdata" "$W/pglog"
	unshare -m --propagation private sh -c "mount --bind '$1/etc/postgresql' /etc/postgresql &&
		mount --bind '$W/pgdata' /var/lib/postgresql && mount --bind '$W/pglog' /var/log/postgresql &&
		pg_createcluster --start-conf manual '$(cd /usr/lib/postgresql && printf '%s\n' * | sort -n | tail -n 1)' main" \
		>/dev/null || die "pg_createcluster failed"
}

began=$(now_ms)
echo "${bold}Holdfast: a service's configuration follows it to the node that takes over$off"
say "three nodes on this machine, below $W, each with its own root"

# --- 1 -------------------------------------------------------------------------

scene "A quorum disk and three nodes"
for n in alpha beta gamma; do
	mkdir -p "$W/$n"/{root,state,run}
	cat >"$W/$n/holdfast.conf" <<-CONF
		[node]
		name = $n
		root = $W/$n/root
		state_dir = $W/$n/state
		runtime_dir = $W/$n/run
		key_file = $W/$n/key
		hooks_dir = $W/$n/hooks.d
		[store]
		url = disk:$W/quorum.img
	CONF
done
copy_configuration "$W/alpha/root"
pgver=$(basename "$(dirname "$(dirname "$(compgen -G "$W/alpha/root/etc/postgresql/*/main/postgresql.conf" | tail -n 1)")")")
pg=etc/postgresql/$pgver/main
must alpha "holdfast init $W/quorum.img --name demo --size 256MiB --nodes 4 --lease $((lease_ms / 1000))s"
for n in beta gamma; do
	cp "$W/alpha/key" "$W/$n/key"	# an administrator would use scp
	must $n "holdfast join $W/quorum.img"
done
for n in alpha beta gamma; do start_daemon $n; done
for n in alpha beta gamma; do wait_daemon $n; done
must alpha 'holdfast node list'

# --- 2 -------------------------------------------------------------------------

scene "A resource with two trees, online on alpha"
# beta has the package too, and somebody has already tried something there
mkdir -p "$W/beta/root/etc" "$W/gamma/root/etc" "$W/beta/root/srv" "$W/gamma/root/srv"
cp -a "$W/alpha/root/etc/postgresql" "$W/beta/root/etc/"
must alpha 'holdfast resource add pg --type ocf:heartbeat:pgsql'
must alpha 'holdfast checkpoint add pg /etc/postgresql'
must alpha 'holdfast checkpoint add pg /srv/etc'
say "/srv/etc is a copy of this machine's /etc: $(find "$W/alpha/root/srv/etc" | wc -l) names, $(du -sm "$W/alpha/root/srv/etc" | cut -f1) MB"
must alpha 'holdfast online pg'
expect 5 gamma 'holdfast online pg'
say "meanwhile somebody tries something on beta, where pg is not online:"
must beta "echo \"work_mem = '1GB'  # just trying\" >>$pg/postgresql.conf"
must beta "echo 'host all all 0.0.0.0/0 trust' >>$pg/pg_hba.conf"

# --- 3 -------------------------------------------------------------------------

scene "Real programs change it on alpha"
must alpha "pg_conftool $pgver main set shared_buffers 512MB"
must alpha "pg_conftool $pgver main set listen_addresses '10.0.0.5'"
must alpha "sed -i 's/^local  *all  *all  *peer/local all all scram-sha-256/' $pg/pg_hba.conf"
must alpha "printf '%s\n' '1i' '# kept by Holdfast' '.' w q | ed -s srv/etc/hosts"
must alpha "cp -a srv/etc/ssl srv/etc/ssl.2026 && rm -rf srv/etc/ssl"
must alpha "setfacl -m u:postgres:r srv/etc/shadow && setfattr -n user.ticket -v 4711 srv/etc/hosts"
must alpha "git -C srv/etc init -q . && git -C srv/etc add -A &&
          git -C srv/etc -c gc.auto=0 -c user.name=root -c user.email=root@alpha commit -qm 'as found'"
must alpha 'holdfast sync pg'
take_oracle
say "copied aside with cp -a as the oracle: $oracle_files names"
check "nothing differs between alpha and the newest generation" empty_diff alpha

# --- 4 -------------------------------------------------------------------------

scene "A storm: renames, rewrites and new files, all at once"
write_storm "$W/alpha/root/srv/etc/storm"
start_storm "$W/alpha/root/srv/etc/storm"
say "while it blows, one line at a time into a ledger, each followed by sync:"
for i in {1..8}; do
	sleep 0.25
	t0=$(now_ms)
	node_sh alpha "echo 'entry $i' >>srv/etc/ledger; holdfast sync pg" >"$W/out" 2>&1 ||
		{ cat "$W/out"; die "sync failed in the storm"; }
	[ "$i" = 8 ] && at alpha "tail -n 1 srv/etc/ledger; holdfast sync pg"
	took[i]=$(($(now_ms) - t0))
done
say "milliseconds for each sync: ${took[*]}"
say "the writers hold their breath; sync; the oracle; and on it goes"
storm_signal STOP
must alpha 'holdfast sync pg'
take_oracle
synced=$(storm_count names)
storm_signal CONT
say "oracle: $oracle_files names, after $synced renames, $(storm_count counters) rewrites, $(storm_count new) new files"
sleep 0.6
must alpha "pg_conftool $pgver main set max_connections 200"
sleep 0.6
check "the writers are still at it" storm_alive

# --- 5 -------------------------------------------------------------------------

scene "Power cut: alpha's daemon is killed in the middle of it, then its writers"
slay "${daemon[alpha]}"
killed=$(now_ms)
say "kill -9 holdfastd of alpha, at rename $(storm_count names)"
must alpha "sed -i '\$a 10.0.0.9 standby' srv/etc/hosts"
say "which nobody can have confirmed any more"
for p in "${storm[@]}"; do slay -- "-$p"; done
unset 'daemon[alpha]'
storm=()
say "kill -9 of every writer, at rename $(storm_count names)"

# --- 6 -------------------------------------------------------------------------

scene "Beta takes over"
expect 5 beta 'holdfast online pg'
say "no one has said that alpha was fenced: wait for its lease of ${lease_ms} ms"
until=$((killed + lease_ms * 4))
while :; do
	t0=$(now_ms)
	node_sh beta 'holdfast online pg' >"$W/out" 2>&1
	rc=$?
	t1=$(now_ms)
	if [ "$rc" -ne 5 ] || [ "$t1" -gt $until ]; then break; fi
	sleep 0.1
done
echo "   ${cyan}beta:/#$off holdfast online pg"
sed "s/^/      $dim/; s/\$/$off/" "$W/out"
[ "$rc" -eq 0 ] || { say "${red}beta cannot take over (exit $rc)$off"; exit 1; }
say "${bold}took over in $((t1 - t0)) ms$off, $((t1 - killed)) ms after the power cut"
at beta 'holdfast diff pg'
check "diff is empty: beta's trees are the newest generation" empty_diff beta

# --- 7 -------------------------------------------------------------------------

scene "Is everything there that sync had confirmed?"
say "every name: contents, type, mode, owner, times, ACLs, xattrs (rsync -aHAXSc, both ways)"
beta=$W/beta/root
at_sync=$(comm -12 <(cd "$W/oracle" && find "${trees[@]}" | sort) <(cd "$beta" && find "${trees[@]}" | sort) | wc -l)
say "$at_sync of the oracle's names are where they were; what moved since is checked by what it is"
check "each name is as sync confirmed it, or as it was later on alpha; none is missing" nothing_else "$beta"
check "the ledger has all 8 confirmed entries" \
	cmp -s "$W/oracle/srv/etc/ledger" "$beta/srv/etc/ledger"
check "rename storm: each of the 60 files is there, in one place" names_check "$beta"
check "rewrites: each counter is whole, and not older than its last sync" counters_check beta
check "git finds its repository sound" git -c safe.directory='*' -C "$beta/srv/etc" fsck --no-dangling --no-progress
check "pg_conftool on beta reads shared_buffers = 512MB" \
	[ "$(node_sh beta "pg_conftool -s $pgver main show shared_buffers")" = 512MB ]

# --- 8 -------------------------------------------------------------------------

scene "What beta had of its own was kept aside, not lost"
must beta 'holdfast displaced list pg'
displaced_beta=$(node_sh beta 'holdfast displaced list pg --json')
check "both files that somebody had tried something with are in it" [ "$(echo "$displaced_beta" |
	json 'scalar grep { $_->{rel} =~ /main\/(postgresql|pg_hba).conf$/ } map { @{$_->{entries}} } @{$j->{sets}}')" -ge 2 ]

# --- 9 -------------------------------------------------------------------------

scene "Alpha comes back"
start_daemon alpha
wait_daemon alpha
until=$(($(now_ms) + 5000))
until [ "$(node_sh alpha 'holdfast status pg --json' 2>/dev/null |
	json '$j->{resources}[0]{unconfirmed}{count} // 0')" -ge 1 ] || [ "$(now_ms)" -gt $until ]; do
	sleep 0.1
done
at alpha 'holdfast status pg'
st=$(node_sh alpha 'holdfast status pg --json')
check "it knows that beta is the owner" [ "$(echo "$st" | json '$j->{resources}[0]{owner}')" = beta ]
check "it says what it held that was never confirmed: $(echo "$st" |
	json '$j->{resources}[0]{unconfirmed}{count} // 0') names" \
	[ "$(echo "$st" | json '$j->{resources}[0]{unconfirmed}{count} // 0')" -ge 1 ]
at alpha 'holdfast displaced list pg | head -n 6; echo ...'
unconfirmed=$(node_sh alpha 'holdfast displaced list pg --json')
check "hosts with the line for 10.0.0.9, never confirmed, is kept aside" [ "$(echo "$unconfirmed" |
	json 'scalar grep { $_->{rel} eq "hosts" } map { @{$_->{entries}} } @{$j->{sets}}')" = 1 ]
at alpha 'holdfast sync pg'
rc=$?
check "alpha cannot confirm anything (exit $rc)" [ $rc -eq 5 -o $rc -eq 6 ]

# --- 10 ------------------------------------------------------------------------

scene "An orderly move, to gamma, which never had any of it"
must beta 'holdfast offline pg'
must gamma 'holdfast online pg'
check "gamma's trees equal beta's, byte for byte, both ways" same_trees "$W/beta/root" "$W/gamma/root"
at gamma 'holdfast history pg | tail -n 5'
at gamma 'holdfast node list'

took_ms=$(($(now_ms) - began))
echo
if [ $failed -gt 0 ]; then
	echo "${red}$failed of $checks checks failed$off, $((took_ms / 1000)) s"
	exit 1
fi
echo "${green}all $checks checks held$off, $((took_ms / 1000)).$((took_ms % 1000 / 100)) s"
