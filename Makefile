# SPDX-License-Identifier: Apache-2.0
# Everything starts here: make (build), make demo, make test. `make help` lists the rest.

BUILD ?= build
SAN   ?=# address (ASan + UBSan), thread (TSan), fuzz (with clang) or coverage; with another BUILD
CC    ?= gcc

SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

LIBS_SERVER := libuv libmicrohttpd sqlite3 libcurl libsodium libjwt libarchive jansson
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef \
          -Wpointer-arith -Wwrite-strings -Werror
HARDEN := -fstack-protector-strong -fPIC
ifeq ($(SAN),address)
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT      := -O1
else ifeq ($(SAN),thread)
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer
OPT      := -O1
else ifeq ($(SAN),fuzz)
SANFLAGS := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer
WARN     += -Wno-format-nonliteral
OPT      := -O1
else ifeq ($(SAN),coverage)
SANFLAGS := --coverage -fprofile-update=atomic
OPT      := -O0
else
OPT      := -O2
HARDEN   += -D_FORTIFY_SOURCE=2
endif

CFLAGS_ALL  = -std=gnu17 -D_GNU_SOURCE -g $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) -Isrc -Iinclude -I$(BUILD)/gen $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = $(SANFLAGS) -pie -Wl,-z,relro,-z,now -Wl,--as-needed -pthread $(LDFLAGS)
# Resolved only when something is compiled, so that `make setup` works on a bare machine.
PKG_CFLAGS  = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS_SERVER)))$(PKG_CFLAGS)
PKG_LIBS    = $(eval PKG_LIBS := $(shell pkg-config --libs $(LIBS_SERVER)))$(PKG_LIBS)

# A room is a folder of src/. Its .c files are found, not listed.
ROOMS   := base net model queue store driver operation control api agent cli
SOURCES := $(foreach room,$(ROOMS),$(shell find src/$(room) -name '*.c' | sort))
OBJECTS := $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
ARCHIVE := $(BUILD)/libdrover.a
PROGRAMS := $(BUILD)/drover $(BUILD)/drover-agent
RUNNER  := $(BUILD)/runner/_drover.abi3.so
RUNNER_NATIVE := $(BUILD)/runner/drover-run-native
RUNNER_NODE := $(BUILD)/runner/drover_runner.js
UNIT    := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c)) \
           $(patsubst tests/contract/%.c,$(BUILD)/tests/%,$(wildcard tests/contract/test_*.c)) \
           $(BUILD)/tests/test_leases $(BUILD)/tests/test_dispatch $(BUILD)/tests/test_handout \
           $(BUILD)/tests/test_life

.PHONY: all clean demo help man setup
all: $(PROGRAMS) $(RUNNER) $(RUNNER_NATIVE) $(RUNNER_NODE)  ## build drover, drover-agent and the runners into build/

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(ARCHIVE): $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/drover: $(filter-out $(BUILD)/obj/main/drover_agent.o,$(patsubst src/%.c,$(BUILD)/obj/%.o,$(wildcard src/main/*.c))) $(ARCHIVE)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
$(BUILD)/drover-agent: $(BUILD)/obj/main/drover_agent.o $(ARCHIVE)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(dir $@)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(BUILD)/obj/tests/%.o: tests/%.c
	@mkdir -p $(dir $@)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -Itests -MMD -MP -c -o $@ $<

man: $(BUILD)/drover  ## write the pages of the manual to build/man
	@$(BUILD)/drover man $(BUILD)/man

setup:  ## install the Debian packages that building needs
	@tools/setup build

demo:  ## set up, build, and show the whole road in a temporary folder
	@tools/setup build
	@$(MAKE) --no-print-directory all
	@python3 tools/demo.py --build $(BUILD) $(DEMO)

include src/runner/python/runner.mk
include src/runner/native/runner.mk
include src/runner/node/runner.mk
include deploy/install.mk
include tests/tests.mk
include bench/bench.mk

clean:  ## remove what was built
	rm -rf build build-asan build-tsan build-fuzz build-cov

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
