# SPDX-License-Identifier: Apache-2.0
# Tests: units and contracts in C (cmocka), the rest in Python (pytest).
.PHONY: unit
unit: $(UNIT)  ## build and run the C unit and contract tests
	@for test in $(UNIT); do echo "  RUN   $$test"; $$test || exit 1; done

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(ARCHIVE)
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcmocka -lm
$(BUILD)/tests/%: $(BUILD)/obj/tests/contract/%.o $(ARCHIVE)
	@mkdir -p $(dir $@)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcmocka -lm
.SECONDARY:
