"""Sessions whose system calls are listed, killed or failed."""

from __future__ import annotations

import shutil
from typing import Any

from campaign.attack import Run, Study
from campaign.syscalls import Syscall, strace


def traced(study: Study, calls: int, **fields: Any) -> list[Syscall]:
    """The system calls of one whole session that touch its files, or tell the vendor or the parent something."""
    with strace() as (tracer, attach):
        with study.run(study.job(calls, **fields), attach) as run:
            assert run.wait() == 0, study.last_words()
            assert len(run.acks) == calls
        found = tracer.calls()
    shutil.rmtree(study.folder)
    return [c for c in found if c.path.startswith(str(study.root)) or (not c.path and c.name in ("write", "sendto"))]


def attacked(study: Study, inject: str, calls: int, **fields: Any) -> tuple[int, Run, list[Syscall]]:
    """One run under an injection; gives its exit code, the run, and what was hit."""
    with strace(inject) as (tracer, attach):
        with study.run(study.job(calls, **fields), attach) as run:
            code = run.wait()
        return code, run, [call for call in tracer.calls() if call.injected]
