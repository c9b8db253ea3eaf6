# SPDX-License-Identifier: Apache-2.0
# Tests: units and contracts in C (cmocka), the rest in Python (pytest). tools/run_tests.py runs the
# suites in order; `make test SUITES="unit api"` picks some of them.
.PHONY: coverage lint preload test test-long unit unit-programs
test:  ## run every test suite (SUITES="unit api": only these)
	@tools/setup test
	@python3 tools/run_tests.py $(SUITES)

test-long:  ## what `make test` takes samples of, whole: every fault at every place (a day; SUITES="fault")
	@tools/setup test
	@DROVER_LONG=1 python3 tools/run_tests.py $(or $(SUITES),fault)

lint: all  ## format, include rule, static analysis, spelling
	@BUILD=$(BUILD) tools/lint

unit: $(UNIT)  ## build and run the C unit and contract tests
	@for test in $(UNIT); do echo "  RUN   $$test"; $$test || exit 1; done

coverage:  ## what the C tests reach: a table of rooms, and build-cov/coverage/index.html
	@tools/setup test
	@$(MAKE) --no-print-directory BUILD=build-cov SAN=coverage unit-programs
	@python3 tools/coverage.py

unit-programs: $(UNIT) $(BUILD)/tests/json_check

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(ARCHIVE)
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcmocka -lm
$(BUILD)/tests/%: $(BUILD)/obj/tests/contract/%.o $(ARCHIVE)
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcmocka -lm
$(BUILD)/tests/%: $(BUILD)/obj/tests/fuzz/%.o $(ARCHIVE)
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
# The simulation is one program of several files, and three others on its stage; stage.c takes the place
# of the loop and of the store's threads in the archive.
SIMULATION := $(filter-out tests/simulation/test_%,$(wildcard tests/simulation/*.c))
STAGE_TESTS := $(BUILD)/tests/test_dispatch $(BUILD)/tests/test_handout $(BUILD)/tests/test_life
$(STAGE_TESTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/simulation/%.o $(BUILD)/obj/tests/simulation/stage.o $(ARCHIVE)
$(BUILD)/tests/test_leases: $(patsubst tests/%.c,$(BUILD)/obj/tests/%.o, \
                              tests/simulation/test_leases.c $(SIMULATION)) $(ARCHIVE)
$(STAGE_TESTS) $(BUILD)/tests/test_leases:
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcmocka -lm
include tests/fuzz/fuzz.mk
.SECONDARY:

# Libraries for LD_PRELOAD (tests/fault/preload): plain C, also beside a sanitized server.
PRELOAD_FLAGS := -std=gnu17 -D_GNU_SOURCE -g -O1 $(WARN) -fPIC -shared -fno-builtin
PRELOAD := $(BUILD)/tests/preload.so $(BUILD)/tests/preload_memory.so
preload: $(PRELOAD)
$(BUILD)/tests/preload.so: $(addprefix tests/fault/preload/,fault.c record.c files.c calls.c clock.c)
$(BUILD)/tests/preload_memory.so: $(addprefix tests/fault/preload/,fault.c memory.c)
$(PRELOAD): tests/fault/preload/fault.h
	@mkdir -p $(dir $@)
	@echo "  CC    $@"
	@$(CC) $(PRELOAD_FLAGS) -o $@ $(filter %.c,$^) -ldl -pthread

# Opens images of a disk after a power loss (tests/fault/test_power.py).
$(BUILD)/tests/power: $(BUILD)/obj/tests/fault/power.o $(BUILD)/obj/tests/fault/disk_model.o $(ARCHIVE)
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
