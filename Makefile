# SPDX-License-Identifier: GPL-2.0-or-later
# Every task a person has; `make help` lists them.

PREFIX ?= /usr
SYSCONFDIR ?= /etc
LIBDIR ?= $(PREFIX)/lib
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/holdfast
# where Pacemaker and systemd look; both follow PREFIX, override for another root
OCFDIR ?= $(PREFIX)/lib/ocf
UNITDIR ?= $(PREFIX)/lib/systemd/system
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
DESTDIR ?=
B ?= build
CC ?= gcc
CFLAGS ?= -O2 -g
DEPS ?= 1
JOBS ?= 2
V ?= 0
# for which kernel the module is built; and for which ones it is tested
KDIR ?= /lib/modules/$(shell uname -r)/build
KERNELS ?= 6.1 6.12
DEMO_KERNEL ?= 6.12

PKGS = libsodium libzstd inih json-c libcap libsystemd blkid libmnl libcrypto
HF_CFLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -pthread \
	-Wall -Wextra -Wno-unused-parameter -Wmissing-prototypes -Wshadow -Wvla -Wformat=2 \
	-fstack-protector-strong -fvisibility=hidden -fPIC -MMD -MP
# as needed: the command and the library have nothing of libcrypto
HF_LIBS = -Wl,--as-needed $(shell pkg-config --libs $(PKGS)) -pthread
# the command alone speaks these
CLI_PKGS = libnl-3.0 libnl-genl-3.0
# libkmod is loaded when it is needed
CLI_CFLAGS = $(shell pkg-config --cflags $(CLI_PKGS) libkmod)
CLI_LIBS = $(shell pkg-config --libs $(CLI_PKGS))

LIB_SRC = $(wildcard user/lib/*.c)
LIB_OBJ = $(LIB_SRC:%.c=$(B)/%.o)
DAEMON_OBJ = $(patsubst %.c,$(B)/%.o,$(wildcard user/daemon/*.c))
CLI_OBJ = $(patsubst %.c,$(B)/%.o,$(wildcard user/cli/*.c))
UNITS = holdfastd.service holdfast@.service
MAN = $(wildcard Documentation/man/*.[1-8])
VERSION = $(shell sed -n 's/^.define HF_VERSION "\(.*\)"/\1/p' include/holdfast.h)
SONAME = libholdfast.so.0

# V=1 shows the commands, V=s nothing
Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 0,$(V)),@printf '  %-4s %s\n' $(1) '$(subst $(CURDIR)/,,$@)')

# t_*.c are the tests, bench_*.c the benchmark, the others help the scripts
TEST_SRC = $(wildcard selftests/*/t_*.c)
BENCH_SRC = $(wildcard selftests/bench/*.c)
# hf_*.c of selftests/kernel are modules, preload_*.c what is loaded into a daemon
PRELOAD_SRC = $(wildcard selftests/*/preload_*.c)
HELPER_SRC = $(filter-out $(TEST_SRC) $(BENCH_SRC) $(PRELOAD_SRC) selftests/kernel/hf_%,$(wildcard selftests/*/*.c))
TEST_BIN = $(TEST_SRC:%.c=$(B)/%)
BENCH_BIN = $(BENCH_SRC:%.c=$(B)/%)
HELPER_BIN = $(HELPER_SRC:%.c=$(B)/%) $(PRELOAD_SRC:%.c=$(B)/%.so)

# What the tests are told: where the build is. prove ends with the one summary.
# The cluster test goes first, because it waits more than it works; that on machines
# works for minutes, and is `check-cluster`'s alone.
export HF_BUILD = $(abspath $(B))
PROVE = selftests/all.sh 900 $(JOBS)
T_LONG = selftests/cluster/machines.t
T_FIRST = $(filter-out $(T_LONG),$(wildcard selftests/cluster/*.t))
T_SCRIPTS = $(filter-out $(T_FIRST) $(T_LONG),$(wildcard selftests/*/*.t))
SUITES = checks cli model store tree track failover rules cluster vm
# a make that was given -j hands its own job server on
SUBMAKE = +@$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: all
all: $(B)/holdfastd $(B)/holdfast $(B)/$(SONAME)  ## build daemon, command and library

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(HF_CFLAGS) $(CFLAGS) -Iuser/lib -c -o $@ $<

# without -Iuser/lib: the command knows the public header only
$(B)/user/cli/%.o: user/cli/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(HF_CFLAGS) $(CLI_CFLAGS) $(CFLAGS) -c -o $@ $<

$(B)/libholdfast.a: $(LIB_OBJ)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# the public header says what is exported
$(B)/libholdfast.map: include/holdfast.h Makefile
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q){ echo 'HOLDFAST_0 {'; echo 'global:'; \
	  sed -n 's/^HF_API .*[ *]\(hf_[a-z0-9_]*\)(.*/	\1;/p' $<; \
	  echo 'local:'; echo '	*;'; echo '};'; } >$@.tmp && \
	mv $@.tmp $@

$(B)/$(SONAME): $(LIB_OBJ) $(B)/libholdfast.map
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$(B)/libholdfast.map \
		-Wl,-z,relro,-z,now -o $@ $(filter-out %/crypto_ssl.o,$(LIB_OBJ)) $(HF_LIBS)

$(B)/holdfastd: $(DAEMON_OBJ) $(B)/libholdfast.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(HF_LIBS)

$(B)/holdfast: $(CLI_OBJ) $(B)/libholdfast.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(HF_LIBS) $(CLI_LIBS)

$(BENCH_BIN): private LDLIBS = -lm
$(B)/selftests/%: $(B)/selftests/%.o $(B)/libholdfast.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(HF_LIBS) $(LDLIBS)

# not sanitized with the rest: it is loaded before the sanitizers are there
$(B)/selftests/%.so: selftests/%.c
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(filter-out -MMD -MP,$(HF_CFLAGS)) -O2 -g -shared -o $@ $<

# Fuzzers: clang's, with the library in them, sanitized. The corpus is cut out of a disk
# that the library writes.
FUZZ_CC ?= clang
FUZZ_FLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Iuser/lib -pthread -g -O1 -MMD -MP \
	-fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-Wall -Wextra -Wno-unused-parameter
FUZZERS = $(patsubst user/fuzz/fuzz_%.c,%,$(wildcard user/fuzz/fuzz_*.c))
FUZZ_BIN = $(FUZZERS:%=$(B)/fuzz/fuzz_%)
FUZZ_LIB = $(patsubst user/lib/%.c,$(B)/fuzz/lib/%.o,$(filter-out user/lib/track%,$(LIB_SRC)))

$(B)/fuzz/lib/%.o: user/lib/%.c
	@mkdir -p $(@D)
	$(call say,FUZZ)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

$(B)/fuzz/%.o: user/fuzz/%.c
	@mkdir -p $(@D)
	$(call say,FUZZ)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

$(B)/fuzz/libfuzz.a: $(FUZZ_LIB) $(B)/fuzz/image.o
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/fuzz/fuzz_%: $(B)/fuzz/fuzz_%.o $(B)/fuzz/libfuzz.a
	$(call say,LD)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(HF_LIBS)

$(B)/fuzz/seeds: $(B)/fuzz/seeds.o $(B)/fuzz/libfuzz.a
	$(call say,LD)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -o $@ $^ $(HF_LIBS)

.PHONY: fuzzers fuzz
fuzzers: $(FUZZ_BIN) $(B)/fuzz/seeds
# built for the tests where they can be; fuzz.t says so where not
IF_FUZZERS = $(if $(shell command -v $(FUZZ_CC)),fuzzers)

TIME ?= 60
fuzz:  ## run each fuzzer of user/fuzz for TIME seconds (60); ONLY='disk log' for some
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build fuzz
	$(SUBMAKE) fuzzers
	@user/fuzz/run.sh -t $(TIME) $(ONLY)

# objects of tests are not made again for every run
.SECONDARY:

.PHONY: tests
tests: all $(TEST_BIN) $(HELPER_BIN) $(BENCH_BIN)  ## build the programs of the tests

.PHONY: deps
deps:  ## install what is missing (Debian, root); DEPS=0 leaves that to you
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build check cluster vm fuzz

.PHONY: check
check: deps  ## run every test and check (under 45 minutes on two cores)
	$(SUBMAKE) tests modules $(IF_FUZZERS)
	@$(PROVE) $(T_FIRST) $(TEST_BIN) $(T_SCRIPTS)

# what takes longer than `check` may: each is bounded by SOAK_MINUTES, all together too
SOAK_MINUTES ?= 30
export SOAK_MINUTES
SOAKS = $(wildcard selftests/*/*.soak)
.PHONY: soak
soak: deps  ## run the long tests, for SOAK_MINUTES (30) in all; SOAKS='selftests/…' for some
	$(SUBMAKE) tests modules $(IF_FUZZERS)
	@selftests/soak.sh $(SOAKS)

check-checks:  ## run the checks of the source that `check` runs
check-cli:  ## test the command, the configuration, the client library
check-model:  ## explore the claim protocol's model with spin (model.soak goes further)
check-store:  ## test crypto, disk, claims, log
check-tree:  ## test capture, compare, restore
check-track:  ## test how changes are noticed
check-failover:  ## test takeovers between daemons on this machine
check-rules:  ## test the rules of FEATURES.md, row by row
check-cluster:  ## test under a real Pacemaker and keepalived, in namespaces and on machines
check-vm:  ## test in machines, with the module, on stock kernels

.PHONY: $(SUITES:%=check-%)
$(SUITES:%=check-%): check-%: deps
	$(SUBMAKE) tests $(if $(filter cluster vm,$*),modules) $(if $(filter store,$*),$(IF_FUZZERS))
	@$(PROVE) $(filter $(B)/selftests/$*/%,$(TEST_BIN)) $(wildcard selftests/$*/*.t)

.PHONY: check-kernel
check-kernel: deps  ## test the module alone, on the kernels in KERNELS
	$(SUBMAKE) tests modules
	@$(PROVE) $(foreach t,changes storms inside netlink,$(KERNELS:%=selftests/vm/$t-%.t))

# minutes for each, and the kernel is built first: not for every day
PROVE_DEBUG = selftests/all.sh 7200 $(JOBS)
.PHONY: check-debug
check-debug:  ## test the module on a kernel that finds bugs (KASAN, lockdep, …; hours)
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build check vm debug
	$(SUBMAKE) tests
	+@$(MAKE) --no-print-directory modules KERNELS=debug
	@$(PROVE_DEBUG) selftests/vm/debug/*.t

.PHONY: lint
lint:  ## run all checks of the source (scripts/check.sh NAME… for some)
	scripts/check.sh

.PHONY: demo demo-local
demo:  ## show power cuts and failovers between two machines (DEMO_KERNEL=6.1|6.12)
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build vm
	$(SUBMAKE) all $(B)/selftests/vm/agent
	+@kernel=$$(scripts/kernel.sh $(DEMO_KERNEL)) && set -- $$kernel && \
		$(MODULE) build "$$3" '$(abspath $(B))/kernel'
	@DEMO_KERNEL=$(DEMO_KERNEL) scripts/demo

demo-local:  ## the same between daemons on this machine, without the module
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build demo
	$(SUBMAKE) all
	scripts/demo-local.sh

.PHONY: bench bench-store bench-kernel bench-cluster bench-programs
bench-programs: all $(BENCH_BIN)
bench:  ## measure against what rivals it; PARTS='commit restore' only these; GOALS=1 fails where a goal is missed
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build bench
	$(SUBMAKE) bench-programs
	selftests/bench/run.py

bench-store:  ## measure the quorum disk against the bare device; GOALS=1 as above
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build bench
	$(SUBMAKE) bench-programs
	selftests/bench/store.sh

bench-kernel:  ## measure the module in instructions, on the kernels in KERNELS; GOALS=1 as above
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build vm
	$(SUBMAKE) bench-programs modules $(B)/selftests/kernel/hfnl $(B)/selftests/vm/agent
	selftests/bench/kernel.py $(KERNELS)

bench-cluster:  ## measure a takeover as Pacemaker sees it, with Holdfast and without; GOALS=1 as above
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh build check cluster
	$(SUBMAKE) tests
	selftests/cluster/takeover.sh

# W=1 C=1 and the like are kbuild's
MODULE = HF_MAKE='$(MAKE) $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))' V=$(V) \
	scripts/module.sh
.PHONY: module modules module-newest module-install module-uninstall
module:  ## build holdfast.ko; KDIR=… for another kernel than the running one
	+@$(MODULE) build '$(KDIR)' '$(abspath $(B))/kernel'

modules:  ## build holdfast.ko and its test modules for the kernels of the tests
	+@list=$$(scripts/kernel.sh $(KERNELS)) || exit 1; \
	echo "$$list" | while read -r _ _ kdir _; do \
		$(MODULE) tests "$$kdir" '$(abspath $(B))/kernel' || exit 1; done

module-newest:  ## build them for the newest kernel of Debian (sid), in a chroot
	@[ "$(DEPS)" = 0 ] || scripts/deps.sh newest
	@scripts/newest.sh

module-install:  ## install the module with DKMS (root); with DESTDIR its source only
	@scripts/module.sh install '$(DESTDIR)'

module-uninstall:  ## remove what module-install put there
	@scripts/module.sh uninstall '$(DESTDIR)'

I = $(DESTDIR)
.PHONY: install
install: all  ## install below DESTDIR and PREFIX (default /usr)
	install -d -m 0755 $(I)$(SBINDIR) $(I)$(LIBDIR)/pkgconfig $(I)$(PREFIX)/include \
		$(I)$(OCFDIR)/resource.d/holdfast $(I)$(UNITDIR) $(I)$(CATALOGDIR) $(I)$(LIBDIR)/holdfast
	install -d -m 0750 $(I)$(SYSCONFDIR)/holdfast
	install -m 0755 $(B)/holdfastd $(B)/holdfast $(I)$(SBINDIR)
	install -m 0755 $(B)/$(SONAME) $(I)$(LIBDIR)
	ln -sf $(SONAME) $(I)$(LIBDIR)/libholdfast.so
	install -m 0644 include/holdfast.h $(I)$(PREFIX)/include
	install -d -m 0755 $(I)$(DOCDIR)
	install -m 0644 Documentation/example.c $(I)$(DOCDIR)
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$(PREFIX)/include' '' \
		'Name: holdfast' 'Description: configuration that fails over with its service' \
		'Version: $(VERSION)' 'Requires.private: $(filter-out libcrypto,$(PKGS))' 'Libs: -L$${libdir} -lholdfast' \
		'Cflags: -I$${includedir}' >$(I)$(LIBDIR)/pkgconfig/holdfast.pc
	chmod 0644 $(I)$(LIBDIR)/pkgconfig/holdfast.pc
	install -m 0755 scripts/hooks/ocf/tree $(I)$(OCFDIR)/resource.d/holdfast/tree
	install -m 0755 scripts/hooks/keepalived/notify $(I)$(LIBDIR)/holdfast/keepalived-notify
	set -e; for u in $(UNITS); do sed 's|@SBINDIR@|$(SBINDIR)|g' scripts/hooks/systemd/$$u \
		>$(I)$(UNITDIR)/$$u; chmod 0644 $(I)$(UNITDIR)/$$u; done
	install -m 0644 scripts/hooks/systemd/holdfast.catalog $(I)$(CATALOGDIR)
	set -e; for m in $(MAN); do d=$(I)$(MANDIR)/man$${m##*.}; install -d -m 0755 $$d; \
		gzip -9nc $$m >$$d/$${m##*/}.gz; chmod 0644 $$d/$${m##*/}.gz; done

.PHONY: uninstall
uninstall:  ## remove what install put there; configuration and state stay
	rm -f $(I)$(SBINDIR)/holdfastd $(I)$(SBINDIR)/holdfast $(I)$(LIBDIR)/$(SONAME) \
		$(I)$(LIBDIR)/libholdfast.so $(I)$(PREFIX)/include/holdfast.h \
		$(I)$(LIBDIR)/pkgconfig/holdfast.pc $(I)$(OCFDIR)/resource.d/holdfast/tree \
		$(I)$(LIBDIR)/holdfast/keepalived-notify \
		$(UNITS:%=$(I)$(UNITDIR)/%) $(I)$(CATALOGDIR)/holdfast.catalog $(I)$(DOCDIR)/example.c
	for m in $(MAN); do rm -f $(I)$(MANDIR)/man$${m##*.}/$${m##*/}.gz; done
	-rmdir $(I)$(OCFDIR)/resource.d/holdfast $(I)$(LIBDIR)/holdfast $(I)$(DOCDIR) $(I)$(SYSCONFDIR)/holdfast 2>/dev/null

.PHONY: clean
clean:  ## remove the build directory
	rm -rf $(B)

.PHONY: help
help:  ## list these targets
	@sed -n 's/^\([a-z][a-z-]*\):.*  ## \(.*\)/  \1	\2/p' Makefile | expand -t 20

-include $(shell find $(B)/user $(B)/selftests $(B)/fuzz -type f -name '*.d' 2>/dev/null)
