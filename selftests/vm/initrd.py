# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of a test machine: busybox, tools, what was just built, the
libraries that they need, modules of a stock kernel. Kept by the hash of what is
in it, below $HF_BUILD/vm."""

import contextlib
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("HF_BUILD") or os.path.join(REPO, "build"))
KEEP_IMAGES = 14

# loaded by init, in this order
BOOT_MODULES = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_net",
                "crc32c_generic", "ext4"]
# loaded by the kernel when something asks for them
MODULES = ["xfs", "btrfs", "overlay", "loop", "fuse", "dm_mod"]
# Busybox has the rest; these are not in it, or tests rely on what only they can.
# Its own shell prefers its applets to any program, so the shell is Debian's.
TOOLS = ["dash", "bash", "setfattr", "getfattr", "setfacl", "getfacl", "mke2fs", "mkfs.xfs",
         "mkfs.btrfs", "find", "cmp", "diff", "cp", "date", "dd", "ln", "ls", "mktemp", "mv", "rm",
         "sort", "stat", "sync", "tail", "timeout", "touch", "truncate"]
KMOD = ["modprobe", "rmmod", "insmod", "lsmod", "modinfo", "depmod"]

ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n"
              "user:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "group": "root:x:0:\ndaemon:x:1:\nuser:x:1000:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hosts": "127.0.0.1 localhost\n" + "".join(f"10.77.0.{i} n{i}\n" for i in range(1, 17)),
}


class VmError(Exception):
    pass


def is_elf(path):
    with open(path, "rb") as f:
        return f.read(4) == b"\x7fELF"


def libraries(path):
    """What the dynamic linker would load for a program."""
    if not is_elf(path):
        return []
    r = subprocess.run(["ldd", path], capture_output=True, text=True)
    libs = []
    for line in r.stdout.splitlines():
        if "=> not found" in line:
            raise VmError(f"{path} needs {line.split()[0]}, which is not on this machine")
        libs += [w for w in line.split() if w.startswith("/")][:1]
    return libs


def which(tool):
    path = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")
    if not path:
        raise VmError(f"the machines need {tool}, which is not here; "
                         "scripts/deps.sh vm installs it")
    return path


def module_files(kernel, names):
    """Paths of modules and of what they depend on, below lib/modules/RELEASE."""
    found = []
    for name in names:
        r = subprocess.run([which("modprobe"), "-S", kernel.release, "-d", kernel.root,
                            "--ignore-install", "--show-depends", name],
                           capture_output=True, text=True)
        if r.returncode:
            raise VmError(f"kernel {kernel.release} has no module {name}: {r.stderr.strip()}")
        for line in r.stdout.splitlines():
            if line.startswith("insmod "):
                path = os.path.relpath(os.path.realpath(line.split()[1]),
                                       os.path.realpath(kernel.modules))
                if path not in found:
                    found.append(path)
    return found


class Image:
    """Collects destination -> (source or bytes, mode); build() makes the file."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.entries = {}
        self.links = {}
        for d in ("bin", "sbin", "lib", "lib64"):
            self.links[d] = f"usr/{d}"

    @staticmethod
    def dest(path):
        path = path.lstrip("/")
        return f"usr/{path}" if path.split("/")[0] in ("bin", "sbin", "lib", "lib64") else path

    def data(self, dest, data, mode=0o644):
        self.entries[self.dest(dest)] = (data if isinstance(data, bytes) else data.encode(), mode)

    def file(self, src, dest=None):
        """A file, with the libraries that it needs if it is a program."""
        real = os.path.realpath(src)
        if not os.path.isfile(real):
            raise VmError(f"{src} is not there; was it built (make tests)?")
        self.entries[self.dest(dest or src)] = (real, os.stat(real).st_mode & 0o777)
        for lib in libraries(real):
            self.entries.setdefault(self.dest(lib), (os.path.realpath(lib), 0o755))

    def loaded(self, name):
        """A library that the command loads when it needs it: it lies where those are that it always needs."""
        always = os.path.join(BUILD, "holdfast")
        for lib in libraries(always) if os.path.exists(always) else []:
            path = os.path.join(os.path.dirname(lib), name)
            if os.path.exists(path):
                self.file(path)
                return

    def tool(self, name):
        path = which(name)
        self.file(path, path)

    def link(self, dest, target):
        self.links[self.dest(dest)] = target

    def busybox(self):
        path = which("busybox")
        if libraries(path):
            raise VmError(f"{path} is not static; scripts/deps.sh vm installs busybox-static")
        self.file(path, "/usr/bin/busybox")
        have = {os.path.basename(d) for d in list(self.entries) + list(self.links)
                if os.path.dirname(d) in ("usr/bin", "usr/sbin")}
        r = subprocess.run([path, "--list-full"], capture_output=True, text=True, check=True)
        for applet in r.stdout.split():
            name = os.path.basename(applet)
            if name not in have and name not in ("busybox", "linuxrc", "init"):
                self.links[f"usr/{'sbin' if 'sbin' in applet else 'bin'}/{name}"] = \
                    "/usr/bin/busybox"

    def modules(self, names):
        base = f"usr/lib/modules/{self.kernel.release}"
        for path in module_files(self.kernel, names):
            src = os.path.join(self.kernel.modules, path)
            if path.endswith(".xz"):
                self.data(f"{base}/{path[:-3]}", lzma.open(src).read())
            else:
                self.entries[f"{base}/{path}"] = (src, 0o644)
        for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            self.entries[f"{base}/{name}"] = (os.path.join(self.kernel.modules, name), 0o644)

    def hash(self):
        h = hashlib.sha256(self.kernel.release.encode())
        for dest, (src, mode) in sorted(self.entries.items()):
            h.update(f"\0{dest}\0{mode:o}\0".encode())
            if isinstance(src, bytes):
                h.update(hashlib.sha256(src).digest())
            else:
                with open(src, "rb") as f:
                    h.update(hashlib.file_digest(f, "sha256").digest())
        for dest, target in sorted(self.links.items()):
            h.update(f"\0{dest}\0{target}\0".encode())
        return h.hexdigest()[:20]

    def stage(self, root):
        for dest, target in self.links.items():
            path = os.path.join(root, dest)
            if target.startswith("usr/"):
                os.makedirs(os.path.join(root, target), exist_ok=True)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(target, path)
        for dest, (src, mode) in self.entries.items():
            path = os.path.join(root, dest)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if isinstance(src, bytes):
                with open(path, "wb") as f:
                    f.write(src)
            else:
                shutil.copyfile(src, path)
            os.chmod(path, mode)
        for d in ("proc", "sys", "dev", "run", "tmp", "root", "var", "mnt"):
            os.makedirs(os.path.join(root, d), exist_ok=True)
        subprocess.run([which("depmod"), "-b", root, self.kernel.release], check=True)

    def build(self):
        """Path of the image, made if it is not kept already."""
        cache = os.path.join(BUILD, "vm")
        os.makedirs(cache, exist_ok=True)
        path = os.path.join(cache, f"initrd-{self.hash()}")
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return path
        with tempfile.TemporaryDirectory(prefix="new.", dir=cache) as work:
            root = os.path.join(work, "root")
            os.mkdir(root)
            self.stage(root)
            names = []
            for d, dirs, files in os.walk(root):
                names += [os.path.relpath(os.path.join(d, n), root) for n in dirs + files]
            out = os.path.join(work, "image")
            # not compressed: the emulated processor is slower than the disk
            with open(out, "wb") as f:
                subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"],
                               input="\0".join(sorted(names)).encode(), stdout=f,
                               cwd=root, check=True)
            os.rename(out, path)
        self.prune(cache)
        return path

    @staticmethod
    def prune(cache):
        """Those in use are open, see Cluster."""
        old = []
        for e in os.scandir(cache):
            with contextlib.suppress(FileNotFoundError):
                if e.name.startswith("initrd-"):
                    old.append((e.stat().st_mtime, e.path))
        old.sort()
        for _, path in old[:-KEEP_IMAGES]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def machine_image(kernel, tools=(), modules=(), files=()):
    """The image of all test machines. files: (source, destination) pairs."""
    image = Image(kernel)
    image.file(os.path.join(HERE, "guest/init"), "/init")
    image.file(os.path.join(HERE, "guest/verdict"), "/hf/verdict")
    image.file(os.path.join(BUILD, "selftests/vm/agent"), "/hf/agent")
    image.data("/hf/modules", "".join(f"{m}\n" for m in BOOT_MODULES))
    for name, text in ETC.items():
        image.data(f"/etc/{name}", text)
    for tool in list(TOOLS) + list(tools):
        image.tool(tool)
    image.link("/usr/bin/sh", "dash")
    image.file(which("kmod"), "/usr/bin/kmod")
    for name in KMOD:
        image.link(f"/usr/sbin/{name}", "/usr/bin/kmod")
    for name in ("holdfast", "holdfastd"):
        if os.path.exists(os.path.join(BUILD, name)):
            image.file(os.path.join(BUILD, name), f"/usr/sbin/{name}")
            image.link(f"/hf/build/{name}", f"/usr/sbin/{name}")
    image.loaded("libkmod.so.2")
    image.modules(BOOT_MODULES + MODULES + list(modules))
    module = os.path.join(BUILD, "kernel", kernel.release, "holdfast.ko")
    if os.path.exists(module):
        image.data(f"/lib/modules/{kernel.release}/extra/holdfast.ko", open(module, "rb").read())
    for src, dest in files:
        image.file(src, dest)
    image.busybox()
    return image.build()
