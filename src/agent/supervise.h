// SPDX-License-Identifier: Apache-2.0
// agent/supervise: the tiny process above one agent, started by the process driver as
// `drover-agent --supervise FOLDER`. It outlives the server, so that an agent's end is always
// recorded; nothing that the agent started outlives it.
//
// It reads FOLDER/cgroups (lines of cgroup.procs files that the agent enters; may be absent), runs
// this program again as `--spec FOLDER/spec.json` in a session of its own, and writes, each at
// once or not at all:
//   supervisor.json  {"pid", "startTime", "agentPid", "agentStartTime", "bootId"}; start times are
//                    field 22 of /proc/PID/stat
//   stderr.txt       the last 16 KiB of what the agent wrote to stdout and stderr, at its end
//   exit.json        {"exitCode" or "signal", "at", "killed"}, after every process is gone
// While it lives it holds a flock of FOLDER/lock (file descriptor 3, when inherited locked).
//
// SIGTERM and SIGQUIT are passed on to the agent. SIGUSR1, and the agent's end, kill every
// descendant, also those that left its session. When the supervisor itself is killed with -9, the
// agent dies with it (PR_SET_PDEATHSIG; the agent does the same for its runners).
#ifndef DROVER_AGENT_SUPERVISE_H
#define DROVER_AGENT_SUPERVISE_H

// Runs until the agent's end is recorded. Returns the exit code for main: 0, or 1 after a line on
// stderr when the agent could not be started.
int supervise_run(const char *folder);

#endif
