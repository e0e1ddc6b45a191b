# SPDX-License-Identifier: Apache-2.0
# Builds libhysgd, the command hysgd, tests, examples and benchmarks into build/$(BUILD).
#   make                 the command and the libraries
#   make check           build and run every test program
#   make install         to PREFIX (/usr/local), below DESTDIR: command, libraries, header, manual, completion
#   make BUILD=asan ...  address and undefined-behaviour sanitizers; also tsan, plain (without oneDNN)
#   make MPI=mpich ...   with MPICH into build/$(BUILD)-mpich; also openmpi, and none; by default what is found, in this order
BUILD ?= release
MPI ?= auto
PREFIX ?= /usr/local
B := build/$(BUILD)$(if $(filter-out auto,$(MPI)),-$(MPI))

CC := gcc
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
	-Wwrite-strings -Wundef -Wvla -Wunused-result -Werror=implicit-function-declaration
CFLAGS_release := -O3 -g
CFLAGS_plain := -O3 -g
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DHYSGD_SANITIZE
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -DHYSGD_SANITIZE
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
	-DHYSGD_SANITIZE -Wno-unknown-pragmas
ifeq ($(BUILD),fuzz)
CC := clang
endif

CPPFLAGS += -Iinclude -Isrc -D_GNU_SOURCE
CFLAGS += -std=c17 $(WARN) -fvisibility=hidden -fPIC -ffp-contract=off -fno-math-errno -pthread $(CFLAGS_$(BUILD))
LDLIBS += -ljansson -lz -lm -pthread

ifneq ($(BUILD),plain)
ifneq ($(wildcard /usr/include/oneapi/dnnl/dnnl.h /usr/include/dnnl.h),)
CPPFLAGS += -DHYSGD_HAVE_ONEDNN
LDLIBS += -ldnnl -lgomp
HAVE_ONEDNN := yes
endif
endif

# The report's chart library (package libjs-dygraphs); without it reports have tables and timelines, but no charts.
DYGRAPHS := $(wildcard /usr/share/javascript/dygraphs/dygraph.min.js)
ifeq ($(DYGRAPHS),)
$(warning libjs-dygraphs is not installed: reports will have no charts)
endif
CPPFLAGS += -DHYSGD_DYGRAPHS='"$(DYGRAPHS)"'

# Event files for TensorBoard (packages libprotobuf-c-dev, protobuf-c-compiler, libisal-dev); without them it is refused.
PROTOC := $(shell command -v protoc-c)
ifneq ($(and $(PROTOC),$(wildcard /usr/include/protobuf-c/protobuf-c.h),$(wildcard /usr/include/isa-l/crc.h)),)
HAVE_TENSORBOARD := yes
CPPFLAGS += -I$(B)/src -DHYSGD_HAVE_TENSORBOARD
LDLIBS += -lprotobuf-c -lisal
endif

# The live view (package libmicrohttpd-dev); without it --serve is refused.
ifneq ($(wildcard /usr/include/microhttpd.h),)
HAVE_SERVE := yes
LDLIBS += -lmicrohttpd
endif

# Processes that work together (package libopenmpi-dev or mpich); without it a run stays in one process.
MPI_COMPILERS := $(if $(filter none,$(MPI)),,$(if $(filter auto,$(MPI)),mpicc.openmpi mpicc.mpich mpicc,mpicc.$(MPI)))
MPICC ?= $(firstword $(foreach compiler,$(MPI_COMPILERS),$(shell command -v $(compiler))))
MPI_SHOW := $(if $(MPICC),$(shell $(MPICC) -show 2>/dev/null))
ifeq ($(MPI_SHOW)$(filter auto none,$(MPI)),)
$(error MPI=$(MPI): there is no mpicc.$(MPI); install it, or name a compiler with MPICC=)
endif
MPI_CPPFLAGS := $(patsubst -I%,-isystem %,$(filter -I%,$(MPI_SHOW)))
LDLIBS += $(filter -L% -l%,$(MPI_SHOW))
MPIRUN := $(patsubst mpicc%,mpirun%,$(notdir $(MPICC)))

# Files in xz format (package liblzma-dev); without it they are refused.
ifneq ($(wildcard /usr/include/lzma.h),)
HAVE_XZ := yes
LDLIBS += -llzma
endif

LEFT_OUT := src/cli/% $(if $(HAVE_ONEDNN),,src/linalg/onednn%) \
	$(if $(HAVE_TENSORBOARD),src/record/tensorboard_absent.c,src/record/tensorboard.c) \
	$(if $(HAVE_SERVE),src/record/serve_absent.c,src/record/serve.c) \
	$(if $(HAVE_XZ),src/data/xz_absent.c,src/data/xz.c) \
	$(if $(MPI_SHOW),src/runtime/comm_absent.c,src/runtime/comm_mpi.c src/runtime/comm_mpi_admit.c)
SOURCES := $(filter-out $(LEFT_OUT),$(wildcard src/*/*.c)) $(wildcard src/*/*.S)
CLI_SOURCES := $(wildcard src/cli/*.c)
OBJECTS := $(patsubst src/%,$(B)/src/%.o,$(SOURCES)) $(if $(HAVE_TENSORBOARD),$(B)/src/record/tensorboard.pb-c.o)
CLI_OBJECTS := $(patsubst src/%,$(B)/src/%.o,$(CLI_SOURCES))
TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/*/test_*.c))
EXAMPLES := $(patsubst %.c,$(B)/%,$(wildcard examples/*.c))
BENCHES := $(patsubst %.c,$(B)/%,$(wildcard bench/bench_*.c)) $(if $(MPICC),$(B)/bench/mpi/allreduce)
FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all tests check examples benches fuzzers install clean
all: $(B)/hysgd $(B)/libhysgd.so
tests: $(TESTS) $(B)/tests/hosts/delay
examples: $(EXAMPLES)
benches: $(BENCHES)
fuzzers: $(FUZZERS)

check: all tests examples
	tests/run-programs $(B)

$(B)/libhysgd.a: $(OBJECTS)
	@rm -f $@
	ar rcs $@ $^

$(B)/libhysgd.so.0: $(OBJECTS)
	$(CC) $(CFLAGS) -shared -Wl,-soname,libhysgd.so.0 -o $@ $^ $(LDFLAGS) $(LDLIBS)

$(B)/libhysgd.so: $(B)/libhysgd.so.0
	ln -sf libhysgd.so.0 $@

$(B)/hysgd: $(CLI_OBJECTS) $(B)/libhysgd.a
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)

# Chosen at run time, so only these files may use the instructions.
ifeq ($(shell uname -m),x86_64)
$(B)/src/lowrank/kernel_avx2.c.o: CFLAGS += -mavx2 -mfma
$(B)/src/lowrank/kernel_avx512.c.o: CFLAGS += -mavx2 -mfma -mavx512f -mavx512dq -mavx512vl
# No fuzzer reaches them, and their checks take minutes to compile; the address sanitizer's build has them.
ifeq ($(BUILD),fuzz)
$(B)/src/lowrank/kernel_avx2.c.o $(B)/src/lowrank/kernel_avx512.c.o: CFLAGS += -fno-sanitize=all
endif
endif

$(B)/src/%.c.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/src/runtime/comm_mpi.c.o $(B)/src/runtime/comm_mpi_admit.c.o: CPPFLAGS += $(MPI_CPPFLAGS)

$(B)/src/%.S.o: src/%.S
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -MMD -MP -c -o $@ $<

$(B)/src/record/tensorboard.pb-c.c $(B)/src/record/tensorboard.pb-c.h &: src/record/tensorboard.proto
	@mkdir -p $(@D)
	$(PROTOC) --proto_path=src/record --c_out=$(B)/src/record $<

$(B)/src/record/tensorboard.pb-c.o: $(B)/src/record/tensorboard.pb-c.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -w -c -o $@ $<

$(B)/src/record/tensorboard.c.o: $(B)/src/record/tensorboard.pb-c.h

$(B)/src/record/assets.S.o: $(wildcard src/record/report*.html src/record/report*.js) $(DYGRAPHS)

$(B)/tests/runtime/test_comm_mpi: CPPFLAGS += -DHYSGD_MPIRUN='"$(MPIRUN)"'

$(B)/tests/%: tests/%.c $(B)/libhysgd.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(B)/libhysgd.a $(LDFLAGS) -lcmocka $(LDLIBS)

# The long lines between the hosts of tests/hosts.
$(B)/tests/hosts/delay: tests/hosts/delay.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LDFLAGS) -lm

$(B)/tests/fuzz/%: tests/fuzz/%.c $(B)/libhysgd.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -fsanitize=fuzzer -MMD -MP -MF $@.d -o $@ $< $(B)/libhysgd.a $(LDFLAGS) $(LDLIBS)

# Examples see the public header and the shared library's interface only.
$(B)/examples/%: examples/%.c $(B)/libhysgd.so
	@mkdir -p $(@D)
	$(CC) -Iinclude $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< -L$(B) -Wl,-rpath,'$$ORIGIN/..' -lhysgd $(LDFLAGS) -lm

$(B)/bench/%: bench/%.c $(B)/libhysgd.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(B)/libhysgd.a $(LDFLAGS) $(LDLIBS)

$(B)/bench/mpi/%: bench/mpi/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(MPI_CPPFLAGS) $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LDFLAGS) $(LDLIBS)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include \
		$(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install $(B)/hysgd $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(B)/libhysgd.a $(B)/libhysgd.so.0 $(DESTDIR)$(PREFIX)/lib
	ln -sf libhysgd.so.0 $(DESTDIR)$(PREFIX)/lib/libhysgd.so
	install -m 644 include/hysgd.h $(DESTDIR)$(PREFIX)/include
	$(B)/hysgd list --man >$(DESTDIR)$(PREFIX)/share/man/man1/hysgd.1
	$(B)/hysgd list --completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/hysgd

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
