# SPDX-License-Identifier: Apache-2.0
# The Python runner: a C extension on CPython's stable ABI (3.8+), loaded by the user's own python3,
# and the Python files that go beside it.
RUNNER_PY  := $(wildcard src/runner/python/*.py)
RUNNER_SRC := $(wildcard src/runner/python/*.c)

$(RUNNER): $(RUNNER_SRC) $(wildcard src/runner/python/*.h) $(RUNNER_PY)
	@mkdir -p $(dir $@)
	@echo "  CC    $@"
	@$(CC) -std=gnu17 -D_GNU_SOURCE -g -O2 -fPIC -shared $(WARN) -DPy_LIMITED_API=0x03080000 \
	    $$(pkg-config --cflags python3) -o $@ $(RUNNER_SRC) -pthread
	@cp $(RUNNER_PY) $(dir $@)
