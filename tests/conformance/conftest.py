"""The harness is a package beside its tests; ``run.py`` finds it as a script does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
