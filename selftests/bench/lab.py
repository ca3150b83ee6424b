# SPDX-License-Identifier: GPL-2.0-or-later
"""What the parts of the benchmark stand on: a place to work, daemons, a stopwatch."""
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get('HF_BUILD', TOP + '/build')
BIN = BUILD + '/selftests/bench/'
MIB = 1 << 20


class Failed(Exception):
    pass


def note(text):
    if sys.stderr.isatty():
        sys.stderr.write('\r\x1b[K' + text)
        sys.stderr.flush()


def run(*argv, **kw):
    """Runs a command that must succeed; what it said."""
    kw.setdefault('stdin', subprocess.DEVNULL)
    p = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, errors='replace', check=False, **kw)
    if p.returncode:
        raise Failed(f"{' '.join(map(str, argv))}: {(p.stderr or p.stdout).strip()[-400:]}")
    return p.stdout


def shell(script, **kw):
    return run('bash', '-c', 'set -e -o pipefail; ' + script, **kw)


def timed(what, *args, **kw):
    """Milliseconds that @what(*args) takes, and what it returned."""
    t = time.perf_counter_ns()
    ret = what(*args, **kw)
    return (time.perf_counter_ns() - t) / 1e6, ret


def middle(values):
    return statistics.median(values) if values else None


def percentile(values, p):
    v = sorted(values)
    return v[min(len(v) - 1, len(v) * p // 100)]


def have(program):
    return shutil.which(program) is not None


def until(what, seconds, text):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise Failed(f'{text}: not within {seconds} s')
        time.sleep(0.02)


class Lab:
    """A directory on ext4, xfs or btrfs; all that is made goes with close()."""

    def __init__(self, keep=False):
        self.keep, self.mounts, self.nodes, self.others = keep, [], {}, []
        self.dir = None
        for d in (os.environ.get('TMPDIR', '/tmp'), '/tmp', '/var/tmp', TOP):
            if os.path.isdir(d) and run('stat', '-f', '-c', '%T', d).strip() in ('ext2/ext3', 'xfs', 'btrfs'):
                self.dir = tempfile.mkdtemp(prefix='hf-', dir=d)
                return
        raise Failed('no ext4, xfs or btrfs under /tmp or /var/tmp; set TMPDIR to a directory on one')

    def path(self, *p):
        return os.path.join(self.dir, *p)

    def close(self):
        for n in list(self.nodes.values()):
            n.kill()
        for p in self.others:
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        for m in reversed(self.mounts):
            subprocess.run(['umount', m], check=False)
        self.nodes, self.others, self.mounts = {}, [], []
        if self.keep:
            print('kept:', self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def blank(self, name, mib):
        """A file with all its blocks written behaves as a device does: no allocation, and so
        no journal of the filesystem, behind a durable write."""
        path = self.path(name)
        run('dd', 'if=/dev/zero', f'of={path}', 'bs=1M', f'count={mib}', 'status=none', 'conv=fsync')
        return path

    def fs(self, name, mib):
        """An ext4 of its own on a loop device with direct I/O, not mounted yet."""
        self.blank(name + '.img', mib)
        os.makedirs(self.path(name), exist_ok=True)
        return self.fresh(name)

    def fresh(self, name):
        """Where somebody has deleted many files in the last minutes ext4 takes long to find an
        inode, which would be in the figures: so what is restored to is made anew each time."""
        where, img = self.path(name), self.path(name + '.img')
        if where in self.mounts:
            run('umount', where)
            self.mounts.remove(where)
        # a discard would take the image's blocks away, a lazy table be written while something is measured
        run('mkfs.ext4', '-q', '-F', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0', '-i', 8192, img)
        loop = run('losetup', '--find', '--show', '--direct-io=on', img).strip()
        try:
            run('mount', loop, where)
            self.mounts.append(where)
        finally:
            run('losetup', '-d', loop)      # goes when it is unmounted
        return where

    def spawn(self, *argv, **kw):
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, start_new_session=True, **kw)
        self.others.append(p)
        return p

    def end(self, p):
        os.killpg(p.pid, signal.SIGTERM)
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        self.others.remove(p)

    def tree(self, where, files, mean=8192, seed=1, per=100, mixed=False):
        os.makedirs(where, exist_ok=True)
        n = run(BIN + 'bench_tree', where, files, mean, seed, per, *(['mixed'] if mixed else []))
        run('sync', '-f', where)
        return int(n)

    def cluster(self, name, *nodes, mib=768, areas=8):
        """A quorum disk, formatted, and daemons that use it; lines below [standby] for each."""
        disk = self.blank(f'{name}.quorum', mib)
        made = []
        for n in nodes:
            node = Node(self, f'{name}-{n[0]}', disk, *n[1:])
            made.append(node)
            if len(made) == 1:
                node.hf('init', disk, '--name', 'bench', '--lease', '1s', '--nodes', areas)
            else:
                shutil.copy(made[0].key, node.key)
                node.hf('join', disk)
        for n in made:
            n.start()
        return made

    def end_cluster(self, nodes):
        for n in nodes:
            n.kill()
        os.unlink(nodes[0].disk)


class Node:
    def __init__(self, lab, name, disk, root=None, **standby):
        self.lab, self.name, self.disk = lab, name, disk
        self.dir = lab.path(name)
        self.root = root or self.dir + '/root'
        self.key = self.dir + '/key'
        self.sock = self.dir + '/run/holdfastd.sock'
        self.proc = None
        for d in ('state', 'run', 'hooks'):
            os.makedirs(f'{self.dir}/{d}')
        os.makedirs(self.root, exist_ok=True)
        with open(self.dir + '/holdfast.conf', 'w', encoding='ascii') as f:
            f.write(f'[node]\nname = {name}\nroot = {self.root}\nstate_dir = {self.dir}/state\n'
                    f'runtime_dir = {self.dir}/run\nkey_file = {self.key}\nhooks_dir = {self.dir}/hooks\n'
                    f'[store]\nurl = disk:{disk}\n[standby]\n')
            f.write(''.join(f'{k} = {v}\n' for k, v in standby.items()))
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ('NO_COLOR', 'CREDENTIALS_DIRECTORY', 'HOLDFAST_SEAM', 'JOURNAL_STREAM', 'NOTIFY_SOCKET')}
        self.env['HOLDFAST_CONF'] = self.dir + '/holdfast.conf'

    def hf(self, *args):
        return run(BUILD + '/holdfast', *args, env=self.env)

    def json(self, *args):
        return json.loads(self.hf('--json', *args))

    def timed(self, *args):
        """Milliseconds of a command, from before it is started until it has ended, and its answer."""
        t, out = timed(self.hf, '--json', *args)
        return t, json.loads(out) if out.strip() else {}

    def start(self):
        with open(self.dir + '/log', 'ab') as log:
            self.proc = subprocess.Popen([BUILD + '/holdfastd', '-c', self.dir + '/holdfast.conf'], cwd=self.dir,
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        self.lab.nodes[self.name] = self

        def up():
            if self.proc.poll() is not None:
                raise Failed(f'{self.name}: {self.log()}')
            return not subprocess.run([BUILD + '/holdfast', 'node', 'list'], env=self.env, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
        until(up, 30, f'start of {self.name}')

    def kill(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.lab.nodes.pop(self.name, None)

    def log(self):
        with open(self.dir + '/log', encoding='utf-8', errors='replace') as f:
            return f.read()[-400:]

    def status(self, resource):
        return self.json('status', resource)['resources'][0]

    def wait_warm(self, resource, gen, seconds=120):
        def warm():
            w = self.status(resource).get('warm') or {}
            return w.get('state') == 'warm' and w.get('generation') == gen
        until(warm, seconds, f'{self.name} standing by for {resource}')

    def wait_known(self, resource, seconds=30):
        def known():
            return any(r['name'] == resource for r in self.json('resource', 'list')['resources'])
        until(known, seconds, f'{self.name} hears of {resource}')

    def memory(self, key='VmRSS'):
        with open(f'/proc/{self.proc.pid}/status', encoding='ascii') as f:
            for line in f:
                if line.startswith(key + ':'):
                    return int(line.split()[1]) / 1024
        return 0

    def cpu_ms(self):
        total = 0
        for t in os.listdir(f'/proc/{self.proc.pid}/task'):
            try:
                with open(f'/proc/{self.proc.pid}/task/{t}/schedstat', encoding='ascii') as f:
                    total += int(f.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended meanwhile
        return total / 1e6


def differences(a, b):
    """What rsync finds to be different, at most three lines of it; nothing: they are the same."""
    out = run('rsync', '-aHAXSc', '--itemize-changes', '--dry-run', '--delete', a + '/', b + '/')
    return [x for x in out.splitlines() if not x.endswith(' ./')][:3]


def must_equal(a, b, what):
    left = differences(a, b)
    if left:
        raise Failed(f'{what}: {left}')


def shuffled(things, seed):
    things = list(things)
    random.Random(seed).shuffle(things)
    return things


def middle_of(d):
    return {k: middle(v) for k, v in d.items()}
