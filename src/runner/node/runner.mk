# SPDX-License-Identifier: Apache-2.0
# The Node.js runner: one file, for entry points in JavaScript.
$(RUNNER_NODE): src/runner/node/drover_runner.js
	@mkdir -p $(dir $@)
	@cp $< $@
