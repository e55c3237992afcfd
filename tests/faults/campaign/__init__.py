"""Breaks custody on purpose and counts what was lost: the harness behind tests/faults.

==============  ==================================================================================
work            the program under attack: real SDKs, run in a forked process
attack          starts it, counts its acknowledgements over a pipe, holds every later run to them
syscalls        strace: a kill or an error at a chosen system call
recording       every operation on files of a real session, in order
crashstates     what a power cut may leave of such a recording
damage          bytes of a finished session changed, lost, doubled
judge           what a reader makes of a folder: lost, wrong, unnamed
disks           small file systems, full disks, power cuts
tally           what was tried, over all tests: the table at the end
==============  ==================================================================================
"""

from __future__ import annotations

import os

LONG = os.environ.get("CUSTODY_FAULTS") == "long"
"""The campaign (``make faults``), or the short form of every test."""
