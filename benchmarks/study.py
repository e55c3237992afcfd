"""The study of ``space``, in a process of its own: ``python -m benchmarks.study FOLDER DOCUMENTS RUNS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import openai

import custody
from benchmarks import text

FRAMEWORK, DOCUMENT = 12_000, 20_000


def main() -> None:
    folder, documents, runs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    client = openai.OpenAI(max_retries=0)
    framework = text.Writer(seed=1).text(FRAMEWORK)
    raw = 0
    with custody.session(project="bench", experiment="space", root=folder) as session:
        for number in range(documents):
            document = text.Writer(seed=100 + number).text(DOCUMENT)
            asked = [{"role": "system", "content": framework}, {"role": "user", "content": document}]
            for run in range(runs):
                with session.scope(document=number, run=run):
                    answer = client.chat.completions.with_raw_response.create(model="gpt-4o-long", messages=asked)
                raw += len(answer.http_request.read()) + len(answer.content)
        archive = next(folder.rglob("llm_archive"))
        live = sum(path.stat().st_size for path in archive.iterdir())
    print(json.dumps({"raw": raw, "live": live}))


if __name__ == "__main__":
    main()
