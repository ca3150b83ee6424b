# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user would pick instead."""
import os
import socket
import time
import lab as L

TAR = ('tar', '--acls', '--xattrs', '--xattrs-include=*', '--numeric-owner')


def archives(lab, tree, peers=True):
    """@tree in each peer's own form, beside it; paths by peer, those that are not here left out."""
    room = lab.fs('peers', 512)
    have = {'tar': room + '/tar'}
    L.run(*TAR, '-cf', have['tar'], '-C', tree, '.')
    for p in ('casync', 'restic', 'borg'):
        if not peers or not L.have(p):
            continue
        have[p] = f'{room}/{p}'
        os.makedirs(have[p])
        env = environment(have[p])
        if p == 'casync':
            L.run('casync', 'make', '--with=best', '--store=' + have[p] + '/store', have[p] + '/t.caidx', tree, env=env)
        elif p == 'restic':
            L.run('restic', 'init', '-q', env=env)
            L.run('restic', 'backup', '-q', '.', cwd=tree, env=env)
        else:
            L.run('borg', 'init', '-e', 'repokey', env=env)
            L.run('borg', 'create', '::t', '.', cwd=tree, env=env)
    return have


def environment(where):
    return dict(os.environ, HOME=where, RESTIC_REPOSITORY=where + '/repo', RESTIC_PASSWORD='bench',
                BORG_REPO=where + '/repo', BORG_PASSPHRASE='bench', BORG_BASE_DIR=where)


def restorers(have, tree):
    """How each puts it into a directory."""
    all_of = {
        'tar': lambda d: L.run(*TAR, '-xpf', have['tar'], '-C', d),
        'cp': lambda d: L.run('cp', '-a', tree + '/.', d),
        'rsync': lambda d: L.run('rsync', '-aHAXS', tree + '/', d + '/'),
        'casync': lambda d: L.run('casync', 'extract', '--with=best', '--store=' + have['casync'] + '/store',
                                  have['casync'] + '/t.caidx', d, env=environment(have['casync'])),
        'restic': lambda d: L.run('restic', 'restore', '-q', 'latest', '--target', d, env=environment(have['restic'])),
        'borg': lambda d: L.run('borg', 'extract', '--numeric-ids', '::t', cwd=d, env=environment(have['borg'])),
    }
    return {k: f for k, f in all_of.items() if k in have or k in ('cp', 'rsync')}


class Csync2:
    """Two of its hosts here, one for each tree: an own directory instead of /etc, addresses for names."""

    def __init__(self, lab, a, b):
        self.dir, self.b = lab.path('csync2'), b
        for d in ('conf', 'a', 'b'):
            os.makedirs(f'{self.dir}/{d}')
        L.run('csync2', '-k', self.dir + '/conf/key')
        with open(self.dir + '/conf/csync2.cfg', 'w', encoding='ascii') as f:
            f.write(f'nossl * *;\ngroup t {{\n host 127.0.0.1;\n host 127.0.0.2;\n key {self.dir}/conf/key;\n'
                    f' include %t%;\n auto first;\n}}\n'
                    f'prefix t {{\n on 127.0.0.1: {a};\n on 127.0.0.2: {b};\n}}\n')
        self.env = dict(os.environ, CSYNC2_SYSTEM_DIR=self.dir + '/conf')
        with socket.socket() as s:
            s.bind(('127.0.0.2', 0))
            self.port = s.getsockname()[1]
        with open(self.dir + '/log', 'ab') as log:
            self.server = lab.spawn('csync2', '-ii', '-N', '127.0.0.2', '-D', self.dir + '/b', '-p', self.port,
                                    env=self.env, stdout=log, stderr=log)
        time.sleep(0.5)

    def update(self):
        L.run('timeout', 120, 'csync2', '-xr', '-N', '127.0.0.1', '-D', self.dir + '/a', '-p', self.port, env=self.env)
        L.run('sync', '-f', self.b)
