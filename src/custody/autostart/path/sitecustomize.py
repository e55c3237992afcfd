"""Run by Python at start-up because this folder is on PYTHONPATH (``custody.sessions.children``).

It gives way to the environment's own ``sitecustomize`` first, then starts capture. In an interpreter
that has no custody, programs that make no LLM calls run on; one that imports an HTTP client for them is
stopped, because nobody would record what it pays for.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
_me = sys.modules.get("sitecustomize")
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _here]
sys.modules.pop("sitecustomize", None)
_failure = None
try:
    import sitecustomize  # noqa: F401
except Exception as error:  # Python itself reports it and goes on; so do we, after capture has started
    if not (isinstance(error, ModuleNotFoundError) and error.name == "sitecustomize"):
        _failure = error
finally:
    if _me is not None:
        sys.modules["sitecustomize"] = _me


# Not requests, aiohttp or boto3: programs that make no LLM call use them too.
_SDKS = "httpx httpx2 openai anthropic google.genai vertexai litellm mistralai cohere groq together".split()


class _Unrecorded:
    """Stops the process when it is about to import a client."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in _SDKS:
            os.write(
                2,
                f"custody: {sys.executable} cannot import custody ({self._reason}), so the calls of this program "
                "would not be recorded. Install custody and the vendor plugins into its environment, or run it "
                "without custody\n".encode(),
            )
            os._exit(2)


if "CUSTODY_SESSION" in os.environ:
    try:
        from custody.autostart import activate
    except ImportError as error:
        sys.meta_path.insert(0, _Unrecorded(str(error)))
    else:
        activate()

if _failure is not None:
    raise _failure
