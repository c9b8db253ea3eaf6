# SPDX-License-Identifier: Apache-2.0
# Fuzz targets: every tests/fuzz/fuzz_X.c is a libFuzzer program. `make test` runs each for a short
# time (tools/run_tests.py), `make fuzz` for FUZZ_SECONDS, with what it finds in FUZZ_CACHE;
# `make fuzz-merge` adds to tests/fuzz/corpus what reaches code that nothing there reaches.
FUZZ_SECONDS ?= 600
FUZZ_CACHE   ?= $(or $(DROVER_CACHE_HOME),$(HOME)/.cache/drover)/fuzz
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BUILD   := build-fuzz
# What stands in for the world around a target.
FUZZ_WRAP_multipart := http_header
FUZZ_WRAP_agent := http_client_send http_call_cancel runner_out runner_end_output runner_kill \
    agent_replace_runner agent_enter agent_leave agent_set_phase agent_watch agent_loading_over

.PHONY: fuzz fuzz-merge fuzz-programs
fuzz-programs: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%)

fuzz:  ## fuzz each target for FUZZ_SECONDS (FUZZ="filter agent": only these)
fuzz-merge:  ## take what was found and reaches new code into tests/fuzz/corpus
fuzz fuzz-merge:
	@tools/setup test
	@$(MAKE) --no-print-directory BUILD=$(FUZZ_BUILD) SAN=fuzz CC=$(FUZZ_CC) fuzz-programs
	@python3 tests/fuzz/run.py --build $(FUZZ_BUILD) --cache $(FUZZ_CACHE) --seconds $(FUZZ_SECONDS) \
	    $(if $(filter fuzz-merge,$@),--merge) $(FUZZ)
FUZZ_CC ?= clang

RUNNER_C := $(BUILD)/obj/runner/python/scan.o $(BUILD)/obj/runner/python/buffer.o
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(RUNNER_C) $(ARCHIVE)
	@mkdir -p $(dir $@)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $(FUZZ_WRAP_$*:%=-Wl,--wrap=%) -o $@ $^ $(PKG_LIBS) -lm
