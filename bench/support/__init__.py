# SPDX-License-Identifier: Apache-2.0
"""What every workload needs: a server of its own, loads, processes' costs, the table, pictures."""
