# SPDX-License-Identifier: Apache-2.0
"""How large the measurements are: the usual size, --quick (a look), --full, and --tiny (the smoke test)."""
import dataclasses


@dataclasses.dataclass
class Sizes:
    runs: int = 5
    seconds: float = 6.0  # of one load
    connections: int = 64
    idle: int = 2000  # round trips of one run
    queued: int = 1_000_000
    history: int = 10_000_000
    services: int = 10_000
    warm: int = 100_000  # executions after which memory is looked at again
    lines: int = 200_000  # log lines of one run
    peer: int = 2000  # executions of one run of a peer
    dtlpy: int = 500
    queries: int = 200  # of each kind
    restarts: int = 5
    clients: tuple = (1, 2, 4, 8, 16, 32, 64)
    service_counts: tuple = (1, 10, 100, 1000)
    agents: tuple = (1, 2, 4, 8, 16)
    depths: tuple = (0, 10_000, 100_000, 300_000, 1_000_000)


USUAL = Sizes()
FULL = dataclasses.replace(USUAL, service_counts=(1, 10, 100, 1000, 10_000), agents=(1, 2, 4, 8, 16, 32, 64, 100))
QUICK = dataclasses.replace(
    USUAL, runs=1, seconds=2.0, idle=300, queued=50_000, history=200_000, services=500, warm=10_000, lines=20_000,
    peer=300, dtlpy=50, queries=40, restarts=2, clients=(1, 8, 64), service_counts=(1, 100), agents=(1, 4),
    depths=(0, 20_000, 50_000))
TINY = dataclasses.replace(
    QUICK, seconds=0.2, connections=4, idle=20, queued=500, history=2000, services=8, warm=300, lines=500, peer=20, dtlpy=3, queries=5,
    restarts=1, clients=(1, 4), service_counts=(1, 3), agents=(1, 2), depths=(0, 300))
