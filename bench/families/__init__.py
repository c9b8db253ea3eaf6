# SPDX-License-Identifier: Apache-2.0
"""The workloads, one file a family. A workload is a function of a Context that gives {figure: value} of
one run, or {figure: [values]} when one run takes several samples; a curve is {x: {figure: value}} under a
name that starts with "curve ". Failed says that there is no figure, and why."""
