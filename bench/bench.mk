# SPDX-License-Identifier: Apache-2.0
# The programs of the measurements, and the measurements themselves (bench/run.py).
BENCH_PROGRAMS := $(patsubst bench/%.c,$(BUILD)/bench/%,$(filter-out bench/slow_sync.c,$(wildcard bench/*.c))) \
                  $(BUILD)/bench/slow_sync.so

.PHONY: bench bench-programs
bench: all bench-programs  ## measure it: a table of medians, kept in bench/results/ (BENCH="--quick", BENCH="--runs 3 single")
	@tools/setup bench
	@python3 bench/run.py --build $(BUILD) $(BENCH)

bench-programs: $(BENCH_PROGRAMS)

$(BUILD)/obj/bench/%.o: bench/%.c
	@mkdir -p $(dir $@)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(BUILD)/bench/%.so: $(BUILD)/obj/bench/%.o
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS) -shared -o $@ $^
$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(ARCHIVE)
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
