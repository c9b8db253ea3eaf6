# SPDX-License-Identifier: Apache-2.0
"""The Python runner: runs the functions of one service for an agent, which it talks to over the
socket on file descriptor 3. docs/runner-protocol.md describes what is said."""


def main():
    import os
    import sys
    home = sys.path[0] = os.path.dirname(os.path.abspath(__file__))
    from drover_service import channel_class, run
    channel = channel_class()
    sys.path.remove(home)  # user code has a path of its own
    run(channel)


if __name__ == "__main__":
    main()
