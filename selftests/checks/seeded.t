#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The checks of the module's source find what they are there for: each is run over
# a copy that holds defects, one for each point.

cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0
bad=0

# check_sh NAME: over the copy; what it prints is in $out, and how it ended in $rc
check_sh() {
	out=$(cd "$dir" && HF_BUILD=$dir/build KERNELS=6.12 scripts/check.sh "$1" 2>&1)
	rc=$?
}

# found NAME PATTERN WHAT
found() {
	n=$((n + 1))
	case $out in
	*skip:*) echo "ok $n - $1: $3 # SKIP ${out#*skip: }" | head -n 1 ;;
	*)
		if [ $rc = 1 ] && grep -q -E -- "$2" <<<"$out"; then
			echo "ok $n - $1: $3"
		else
			echo "not ok $n - $1: $3"
			tail -n 40 <<<"$out" | sed 's/^/# /'
			bad=1
		fi ;;
	esac
}

mkdir "$dir/kernel" || exit 1
cp -r scripts .checkpatch.conf "$dir"
cat >"$dir/kernel/seeded.c" <<'X'
// SPDX-License-Identifier: GPL-2.0
static int use_after_free(struct hf_entry *e)
{
	kfree(e);
	return e->len;
}

static int null_pointer(struct hf_entry *e)
{
	if (!e)
		return e->len;
	return 0;
}

static int lock_kept(struct hf_tree *tree)
{
	spin_lock(&tree->lock);
	if (tree->lost)
		return -ESTALE;
	spin_unlock(&tree->lock);
	return 0;
}

static void sleeps_under_lock(struct hf_tree *tree, struct dentry *dentry)
{
	spin_lock(&tree->lock);
	while (tree->lost) {
		spin_unlock(&tree->lock);
		msleep(20);
		spin_lock(&tree->lock);
	}
	dput(dentry);
	spin_unlock(&tree->lock);
}

static struct hf_entry *allocates_under_lock(struct hf_tree *tree)
{
	lockdep_assert_held(&tree->lock);
	return hf_entry_alloc(3, HF_GFP);
}

static struct hf_dir *last_of_list(struct hf_tree *tree)
{
	struct hf_dir *dir;

	list_for_each_entry(dir, &tree->outside, outside) {
		if (dir->linked)
			break;
	}
	return dir;
}
X
check_sh coccinelle
found coccinelle 'kfree\.cocci' "use after kfree()"
found coccinelle 'deref_null\.cocci' "a null pointer is followed"
found coccinelle 'mini_lock\.cocci' "a return with the lock held"
found coccinelle 'use_after_iter\.cocci' "a list's cursor is used after its loop"
found coccinelle 'dput\(\) sleeps' "dput() under a spinlock"
found coccinelle 'hf_entry_alloc\(HF_GFP\) may sleep' "an allocation where lockdep_assert_held() is"
n=$((n + 1))
if grep -q 'msleep() sleeps' <<<"$out"; then
	echo "not ok $n - coccinelle: sleeping between unlock and lock is allowed"
	bad=1
else
	echo "ok $n - coccinelle: sleeping between unlock and lock is allowed"
fi

printf 'static int f(struct hf_entry *e) {\n        return e->len ;\n}\n' >"$dir/kernel/seeded.c"
check_sh checkpatch
found checkpatch 'ERROR:OPEN_BRACE' "the brace of a function"
found checkpatch 'ERROR:CODE_INDENT' "spaces instead of tabs"

rm "$dir/kernel/seeded.c"
cp -r Kbuild Makefile kernel include "$dir"
mkdir -p "$dir/selftests/kernel"
cp selftests/kernel/Kbuild selftests/kernel/hf_* "$dir/selftests/kernel"
cat >>"$dir/kernel/dir.c" <<'X'

static void __maybe_unused seeded(char __user *p)
{
	*p = 0;
}
X
check_sh module
found module 'noderef' "sparse: a pointer of user space is followed"
sed -i 's/ __maybe_unused seeded/ seeded/' "$dir/kernel/dir.c"
check_sh module
found module 'defined but not used' "a function that nobody calls"
echo "1..$n"
exit $bad
