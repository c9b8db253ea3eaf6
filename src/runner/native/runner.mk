# SPDX-License-Identifier: Apache-2.0
# The native runner: a program of its own, for entry points that are shared objects.
$(RUNNER_NATIVE): $(patsubst src/%.c,$(BUILD)/obj/%.o,$(wildcard src/runner/native/*.c)) $(ARCHIVE)
	@mkdir -p $(dir $@)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $$(pkg-config --libs libsodium) -ldl -lm
