#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a quorum disk from Documentation/ondisk.rst alone, and prints it as JSON.

decode.py DISK KEYFILE: what is said of the disk, and of each log its newest generation, with contents and
attributes. decode.py -a DISK KEYFILE: of each log all generations, with hashes of those. It shares nothing with
the library: what this and the library both understand is what the document says.
"""
import base64
import collections
import ctypes
import ctypes.util
import hashlib
import json
import sys
import uuid

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.exceptions import CryptoError

SECTOR, BLOCK = 4096, 65536


class Damaged(Exception):
    pass


def need(cond, what):
    if not cond:
        raise Damaged(what)


def num(b, at, n):
    return int.from_bytes(b[at:at + n], 'little')


def le(v, n):
    return v.to_bytes(n, 'little')


def text(b):
    need(b[-1] == 0, 'a name ends in zero')
    return b.rstrip(b'\0').decode()


def guid(b):
    return str(uuid.UUID(bytes=bytes(b)))


def sha(p):
    return hashlib.sha256(p).hexdigest() if p is not None else None


def blake(p, key=b''):
    return hashlib.blake2b(p, digest_size=32, key=key).digest()


def unzstd(p, n):
    lib = ctypes.CDLL(ctypes.util.find_library('zstd') or 'libzstd.so.1')
    lib.ZSTD_decompress.restype = ctypes.c_size_t
    lib.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    out = ctypes.create_string_buffer(n)
    need(lib.ZSTD_decompress(out, n, p, len(p)) == n, 'a zstd frame of the length that is told')
    return out.raw[:n]


class Reader:
    def __init__(self, b):
        self.b, self.at = b, 0

    def take(self, n):
        need(self.at + n <= len(self.b), 'a payload that is not short')
        self.at += n
        return self.b[self.at - n:self.at]

    def num(self, n):
        return num(self.take(n), 0, n)

    def blob(self):
        return self.take(self.num(4))

    def more(self):
        return self.at < len(self.b)


def position(b):
    return {'place': num(b, 0, 8), 'seg': num(b, 8, 8), 'len': num(b, 16, 4), 'seq': num(b, 24, 8),
            'gen': num(b, 32, 8), 'prev': b[40:56]}


def epoch(b):
    return {'epoch': num(b, 0, 8), 'slot': num(b, 8, 4), 'uuid': b[16:32], 'incarnation': b[32:48],
            'first': position(b[48:104]), 'base': position(b[104:160]), 'keep': num(b, 160, 8),
            'end_gen': num(b, 168, 8), 'end_seq': num(b, 176, 8), 'end_tag': b[184:200],
            'after': position(b[200:256])}


def attributes(b):
    """Of an entry of a tree."""
    rd = Reader(b)
    need(rd.num(1) == 1, 'a version of attributes')
    a = {k: rd.num(n) for k, n in (('atime', 8), ('atime_ns', 4), ('mode', 4), ('uid', 4), ('gid', 4), ('mtime', 8),
                                   ('mtime_ns', 4), ('major', 4), ('minor', 4), ('size', 8), ('link', 8))}
    for k in 'atime', 'mtime':
        a[k] = int.from_bytes(le(a[k], 8), 'little', signed=True)
    a.update({k: rd.blob().decode('latin-1') for k in ('user', 'group', 'target')})
    a['xattr'] = [[rd.blob().decode('latin-1'), base64.b64encode(rd.blob()).decode()] for _ in range(rd.num(4))]
    a['acl'] = [[rd.num(1), rd.num(4), rd.blob().decode('latin-1')] for _ in range(rd.num(4))]
    need(a['acl'] == sorted(a['acl']) and len({tuple(x[:2]) for x in a['acl']}) == len(a['acl']), 'names of ACLs in order')
    need(not rd.more() and [x[0] for x in a['xattr']] == sorted({x[0] for x in a['xattr']}), 'attributes in order')
    return a


class Disk:
    all = False

    def __init__(self, path, keyfile):
        self.f = open(path, 'rb')
        master = bytes.fromhex(open(keyfile).read().strip())
        need(len(master) == 32, 'a key of 32 bytes')
        key = {i: hashlib.blake2b(b'', digest_size=32, key=master, salt=le(i, 8) + bytes(8),
                                  person=b'holdfast' + bytes(8)).digest() for i in (1, 2, 3)}
        self.aead, self.mac, self.hash = key[1], key[2], key[3]
        self.seen, self.copies, sound = collections.Counter(), [], []
        for i in range(2):
            copy = {'copy': i + 1, 'offset': i * SECTOR, 'state': 'sound'}
            try:
                sound.append(self.superblock(self.read(i * SECTOR, SECTOR)))
                copy['sequence'] = sound[-1]['seq']
            except Damaged:
                copy['state'] = 'damaged'
            self.copies.append(copy)
        need(sound, 'a superblock of this key')
        self.sb = max(sound, key=lambda s: s['seq'])

    def read(self, off, n):
        self.f.seek(off)
        b = self.f.read(n)
        need(len(b) == n, 'a disk that is long enough')
        return b

    def superblock(self, b):
        need(b[:8] == b'HOLDFAST' and num(b, 8, 4) == 1 and num(b, 12, 4) == SECTOR, 'a superblock')
        need(b[4032:4064] == blake(b[:4032]), 'a superblock that is sound')
        need(b[4064:] == blake(b[:4032], self.mac), 'a superblock of this key')
        need(num(b, 192, 2) == num(b, 194, 2) == num(b, 196, 2) == 1 and num(b, 200, 4) == BLOCK, 'algorithms')
        need(num(b, 240, 4) <= 64 and not any(b[256 + 24 * num(b, 240, 4):4032]), 'zeros that are reserved')
        parts = [{'first': num(b, at, 4), 'count': num(b, at + 4, 4), 'off': num(b, at + 8, 8), 'size': num(b, at + 16, 8)}
                 for at in range(256, 256 + 24 * num(b, 240, 4), 24)]
        return {'compat': num(b, 16, 8), 'ro_compat': num(b, 24, 8), 'incompat': num(b, 32, 8),
                'cluster_uuid': b[40:56], 'disk_uuid': b[56:72], 'set_uuid': b[72:88],
                'set_epoch': num(b, 88, 8), 'cluster': text(b[96:160]), 'seq': num(b, 160, 8),
                'created': num(b, 168, 8), 'nodes': num(b, 176, 4), 'rows': num(b, 180, 4),
                'lease_ms': num(b, 184, 4), 'beat_ms': num(b, 188, 4), 'size': num(b, 208, 8),
                'node_off': num(b, 216, 8), 'row_off': num(b, 224, 8), 'row_stride': num(b, 232, 8),
                'slots': num(b, 204, 4), 'parts': parts}

    def area(self, slot):
        """Where the area of a slot lies: beginnings and lengths."""
        return [(p['off'] + (slot - p['first']) * p['size'], p['size']) for p in self.sb['parts']
                if p['first'] <= slot < p['first'] + p['count']]

    def unseal(self, body, tag, ad, nonce):
        return crypto_aead_xchacha20poly1305_ietf_decrypt(body + tag, ad, nonce, self.aead)

    def slot(self, off, what, magic, row, slot):
        """The sound one of a slot's two sectors with the higher sequence, or None."""
        best, torn = None, []
        for which in range(2):
            b = self.read(off + which * SECTOR, 512)
            if not any(b):
                continue
            ad = (what + b'\0' + self.sb['cluster_uuid'] + self.sb['disk_uuid'] +
                  le(row, 4) + le(slot, 4) + le(which, 4) + le(1, 4))
            need(len(ad) == 56, '56 bytes')
            try:
                need(b[:4] == magic and num(b, 4, 2) == 1 and num(b, 6, 2) == 448, 'a slot')
                body = self.unseal(b[64:512], b[32:48], ad, b[8:32])
            except (Damaged, CryptoError):
                torn.append(which)
                continue
            if best is None or num(body, 0, 8) > num(best, 0, 8):
                best = body
        need(best or 0 not in torn, 'a slot of which one sector can be read')
        return best

    def nodes(self, gone=False):
        out = []
        for i in range(self.sb['slots']):
            b = self.slot(self.sb['node_off'] + i * 2 * SECTOR, b'hf-node', b'HFN1', 0, i)
            if b and (gone or num(b, 232, 4) != 3):
                out.append({'slot': i, 'name': text(b[40:104]), 'host': text(b[104:168]), 'uuid': guid(b[8:24]),
                            'incarnation': guid(b[24:40]), 'beats': num(b, 200, 8), 'version': text(b[216:232]),
                            'area_size': sum(n for _, n in self.area(i)),
                            'state': 'left' if num(b, 232, 4) == 2 else 'unknown'})
        return out

    def claims(self, row):
        """By log, the claim that accepted the highest epoch."""
        best = {}
        for i in range(self.sb['slots']):
            b = self.slot(self.sb['row_off'] + row * self.sb['row_stride'] + i * 2 * SECTOR,
                          b'hf-clam', b'HFC1', row, i)
            if not b:
                continue
            c = {'log': b[8:24], 'uuid': b[24:40], 'ballot': num(b, 56, 8), 'flags': num(b, 64, 4),
                 'acc': epoch(b[72:328]), 'gen': num(b, 328, 8), 'gen_seq': num(b, 336, 8)}
            need(c['ballot'] % 64 == i, 'a ballot that is its own')
            if c['acc']['epoch'] and c['acc']['epoch'] > best.get(c['log'], {'acc': {'epoch': 0}})['acc']['epoch']:
                best[c['log']] = c
        return best

    def record(self, log, ep, pos):
        """The record at @pos; CryptoError or Damaged when there is none."""
        h = self.read(pos['place'], 64)
        need(num(h, 0, 4) == 0x43524648 and num(h, 4, 2) == 1 and num(h, 6, 2) % 512 == 0, 'a record')
        lead, sectors, tail = num(h, 6, 2), num(h, 8, 4), num(h, 12, 4)
        need(num(h, 16, 8) == pos['seq'], 'a sequence without a gap')
        need(pos['place'] + (sectors + tail) * SECTOR <= pos['seg'] + pos['len'], 'a record inside its segment')
        ad = (b'hf-rec\0\0' + self.sb['cluster_uuid'] + self.sb['disk_uuid'] + ep['uuid'] + ep['incarnation'] +
              log + le(ep['epoch'], 8) + le(ep['slot'], 4) + bytes(4) + pos['prev'] + h[:24])
        need(len(ad) == 144, '144 bytes')
        need(lead < SECTOR, 'a lead within a sector')
        b = self.unseal(self.read(pos['place'] + 64, sectors * SECTOR - lead - 64), h[48:64], ad, h[24:48])
        n = num(b, 4, 4)
        r = {'kind': num(b, 0, 2), 'flags': num(b, 2, 2), 'gen': num(b, 8, 8), 'when': num(b, 16, 8),
             'payload': b[56:56 + n], 'tail': pos['place'] + sectors * SECTOR - lead, 'seq': pos['seq'],
             'tag': h[48:64], 'end': pos['place'] + (sectors + tail) * SECTOR, 'slot': ep['slot']}
        need(not any(b[56 + n:]), 'zeros behind the payload')
        t = self.read(r['tail'], lead + tail * SECTOR)
        need(b[24:56] == (blake(t, self.mac) if t else bytes(32)), 'a tail that agrees')
        return r

    def epoch_records(self, log, ep, pos, bound):
        pos = dict(pos)
        while not bound or pos['seq'] <= ep['end_seq']:
            try:
                r = self.record(log, ep, pos)
            except (Damaged, CryptoError):
                if bound:
                    raise
                return
            if bound and r['seq'] == ep['end_seq']:
                need(r['tag'] == ep['end_tag'], 'the tag of the last record that counts')
            pos['place'], pos['prev'], pos['seq'] = r['end'], r['tag'], pos['seq'] + 1
            if r['kind'] == 5:
                pos['seg'], pos['len'] = num(r['payload'], 0, 8), num(r['payload'], 8, 4)
                pos['place'] = pos['seg']
            yield r

    def chain(self, c, back):
        """The epochs from the newest one on; @back: as far as seals can be read, else to the first base."""
        chain = [c['acc']]
        while back or not chain[-1]['base']['place']:
            if chain[-1]['first']['seq']:
                break               # trimmed up to a base
            try:
                seal = self.record(c['log'], chain[-1], chain[-1]['first'])
            except (Damaged, CryptoError):
                n = len(chain)
                while not chain[-1]['base']['place']:
                    need(len(chain) > 1, 'a seal, for want of a base')
                    chain.pop()
                return chain, n
            need(seal['kind'] == 1 and seal['seq'] == 0, 'a seal comes first')
            self.seen['seal'] += 1
            prev = epoch(seal['payload'])
            if not prev['epoch']:
                break
            need(prev['epoch'] < chain[-1]['epoch'], 'epochs that grow')
            chain.append(prev)
        return chain, 0

    def walk(self, c, chain, at_base, generation=None):
        items, gen, count, kinds, staged, self.when = {}, 0, 0, set(), [], {}
        for i, ep in reversed(list(enumerate(chain))):
            at_base = at_base and i == len(chain) - 1 and ep['base']['place']
            staged = []
            for r in self.epoch_records(c['log'], ep, ep['base'] if at_base else ep['first'], i > 0):
                count += 1
                kinds.add(r['kind'])
                self.seen['kind %d' % r['kind']] += 1
                if r['kind'] == 6:
                    need(len(r['payload']) % 8 == 0, 'runs of blocks')
                if r['kind'] not in (2, 3):
                    continue
                if r['flags'] & 8:
                    staged = []
                staged.append(r)
                if r['flags'] & 1:
                    self.seen['several records'] += 1
                    continue
                if r['kind'] == 3:
                    items = {}
                note, self.open = None, None
                for s in staged:
                    note = self.apply(s, items) or note
                need(not self.open, 'all chunks of what was put')
                staged, gen = [], r['gen']
                if generation:
                    generation(r, ep, note or '', items)
        return {'items': items, 'gen': gen, 'records': count, 'kinds': sorted(kinds), 'epochs': len(chain)}

    def log(self, c):
        """The newest generation of the claim's log."""
        chain, cut = self.chain(c, False)
        return self.walk(c, chain, True)

    def history(self, c):
        """All generations that can be read, oldest first."""
        chain, cut = self.chain(c, True)
        at_base = cut == len(chain)
        headless = cut and not at_base      # nothing counts until a base
        while True:
            out = []

            def generation(r, ep, note, items):
                if (r['gen'], r['kind']) < (c['acc']['keep'], 3):
                    return                              # trimmed, though it may be there still
                if headless and not out and r['kind'] != 3:
                    return
                g = {'gen': r['gen'], 'epoch': ep['epoch'], 'fuzzy': bool(r['flags'] & 2),
                     'when': self.when.get(r['gen'], r['when']) if r['kind'] == 3 else r['when'],
                     'note': note, 'items': {k.decode('latin-1'): [sha(a), sha(v)] for k, (a, v) in items.items()}}
                if out and out[-1]['gen'] == g['gen']:   # a base of a generation that its delta tells of
                    delta = out[-1]['items']
                    need(delta.keys() == g['items'].keys() and
                         all(v == g['items'][k] or None in v for k, v in delta.items()), 'a base that is its generation')
                    return
                out.append(g)
            try:
                self.walk(c, chain, at_base, generation)
                need(out or not headless, 'a base')
                return out
            except (Damaged, CryptoError):
                # older history may be gone: from the next base on
                at_base = not at_base and chain[-1]['base']['place']
                headless = not at_base
                if headless:
                    chain.pop()
                    while chain and not chain[-1]['base']['place']:
                        chain.pop()
                    if not chain:
                        raise

    def apply(self, r, items):
        """What the record puts and deletes; returns its note."""
        p = r['payload']
        if r['flags'] & 4:
            self.seen['zstd payload'] += 1
            p = unzstd(p[4:], num(p, 0, 4))
        self.seen['fuzzy'] += bool(r['flags'] & 2)
        rd = Reader(p)
        need(rd.num(2) == 1 and rd.num(2) == 0, 'a version')
        note = rd.blob().decode()
        while rd.more():
            op = rd.num(1)
            need(op in (1, 2, 3, 4) and (op == 4) == bool(self.open), 'an operation')
            if op == 4:
                self.seen['more chunks'] += 1
                self.contents(r, rd, items)
                continue
            if op == 3:
                need(r['kind'] == 3, 'a base that tells of generations')
                at, when = rd.num(8), rd.num(8)
                need(at <= r['gen'] and when and rd.num(1) in (0, 1), 'a generation')
                self.when[at] = when
                continue
            key = rd.blob()
            if op == 2:
                items.pop(key, None)
                self.seen['del'] += 1
                continue
            attr, size = rd.blob(), rd.num(8)
            if not size:
                items[key] = (attr, b'')
                continue
            self.open = {'key': key, 'attr': attr, 'size': size, 'whole': rd.take(32), 'left': size, 'data': []}
            self.contents(r, rd, items)
        return note

    def contents(self, r, rd, items):
        """Chunks of what was put last; with the last of them it counts."""
        e = self.open
        for _ in range(rd.num(4)):
            rel, zipped = rd.num(1), rd.num(1)
            self.seen['tail' if rel else 'pack'] += 1
            self.seen['zstd chunk' if zipped else 'plain chunk'] += 1
            need(rd.num(2) == 0, 'zero')
            plain, stored, off = rd.num(4), rd.num(4), rd.num(8)
            self.seen['several chunks'] += plain != e['size']
            want = rd.take(32) if plain != e['size'] else e['whole']
            e['left'] -= plain
            try:
                part = self.chunk(r['tail'] + off if rel else off, plain, stored, zipped, want, r['slot'])
                if e['data'] is not None:
                    e['data'].append(part)
            except (Damaged, CryptoError):
                need(self.all, 'contents')
                e['data'] = None     # of history: its space may have been used again
        need(e['left'] >= 0, 'no more contents than their size')
        if e['left']:
            return
        data = b''.join(e['data']) if e['data'] is not None else None
        need(data is None or blake(data, self.hash) == e['whole'], 'contents of their hash')
        items[e['key']] = (e['attr'], data)
        self.open = None

    def chunk(self, place, plain, stored, zipped, want, slot):
        need(any(at <= place and place + 40 + stored <= at + n for at, n in self.area(slot)), 'a chunk in the own area')
        b = self.read(place, 40 + stored)
        ad = b'hf-chunk' + self.sb['disk_uuid'] + want
        p = self.unseal(b[40:], b[24:40], ad, b[:24])
        if zipped:
            p = unzstd(p, plain)
        need(len(p) == plain and blake(p, self.hash) == want, 'a chunk of its hash')
        return p


def all_generations(d):
    logs, d.all = {}, True
    for row in range(d.sb['rows']):
        for c in d.claims(row).values():
            logs[row] = d.history(c)
    json.dump({'logs': logs, 'seen': d.seen}, sys.stdout)


def main():
    args = [a for a in sys.argv[1:] if a != '-a']
    d = Disk(args[0], args[1])
    if len(args) + 1 < len(sys.argv):
        all_generations(d)
        return
    sb = d.sb
    nodes = d.nodes()
    names = {n['slot']: n['name'] for n in d.nodes(gone=True)}
    out = {'cluster': sb['cluster'], 'cluster_uuid': guid(sb['cluster_uuid']), 'disk_uuid': guid(sb['disk_uuid']),
           'set_uuid': guid(sb['set_uuid']), 'set_epoch': sb['set_epoch'], 'version': 1, 'compat': sb['compat'],
           'ro_compat': sb['ro_compat'], 'incompat': sb['incompat'], 'size': sb['size'],
           'nodes_max': sb['nodes'], 'resources_max': sb['rows'] - 1, 'lease_ms': sb['lease_ms'],
           'beat_ms': sb['beat_ms'], 'area_size': sum(n for _, n in d.area(0)),
           'slots_free': [s for s in range(sb['nodes']) if s not in [n['slot'] for n in nodes]],
           'nodes_possible': sb['slots'], 'created_ms': sb['created'] // 1000000,
           'authenticated': True, 'superblocks': d.copies, 'nodes': nodes, 'logs': []}
    more, registered = [], {}
    for row in range(sb['rows']):
        for log, c in d.claims(row).items():
            acc = c['acc']
            w = d.log(c)
            need(w['gen'] >= c['gen'], 'what was noted as confirmed')
            if not row:
                registered = {json.loads(a)['uuid']: k[2:].decode() for k, (a, _) in w['items'].items() if k[:2] == b'r/'}
            name = registered.get(guid(log))
            out['logs'].append({'row': row, 'log': guid(log), 'epoch': acc['epoch'], 'owner': names[acc['slot']],
                                'released': bool(c['flags'] & 1), 'confirmed': c['gen'], 'base': acc['base']['gen'],
                                'resource': name, 'orphan': bool(row) and not name})
            w['row'], items = row, []
            for k, (a, v) in sorted(w['items'].items()):
                items.append({'key': k.decode('latin-1'), 'attr': base64.b64encode(a).decode(),
                              'data': base64.b64encode(v).decode()})
                if row and b'/' in k:
                    items[-1]['is'] = attributes(a)
            w['items'] = items
            more.append(w)
    json.dump({'info': out, 'walked': more}, sys.stdout)


if __name__ == "__main__":
    main()
