# SPDX-License-Identifier: Apache-2.0
"""Systems that people use for the same work, each measured by a small program of its own in an environment
of its own, against brokers on private ports with private data."""
