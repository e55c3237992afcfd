"""Sessions between folders and buckets: copied, killed in the middle, moved, compacted, pruned."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")
sys.path.insert(0, str(Path(__file__).parent))
from custody_fsspec.on_obstore import ObstoreObjects
from custody_fsspec.settings import Settings
from echo_sdk import EchoClient, EchoTransport
from servers import make_bucket, moto

import custody
from custody import layout
from custody.cli.main import main
from custody.errors import SessionNotFound
from custody.report.verify import verify
from custody.storage.folders import Folder, RemoteFolder, at, folder
from custody.transfer import contents, copying, places, streaming

_made: Any = runpy.run_path(str(Path(__file__).parents[3] / "tests" / "transfer" / "study.py"))
study, tree = _made["study"], _made["tree"]
pytestmark = pytest.mark.timeout(300)
numbers = iter(range(10_000))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto() as made:
        make_bucket(made, "bucket")
        yield made


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh root in it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return f"s3://bucket/study-{next(numbers)}"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


def files(session: Folder) -> dict[str, bytes]:
    storage = at(session)
    return {name: storage.read(name) for name in contents.files(storage) if not contents.is_carried(name)}


def copy(session: Folder, root: str | Path) -> tuple[copying.Copied, Folder]:
    with places.held(session, "copied") as source:
        copied = copying.copy(source, folder(root))[0]
    return copied, folder(copied.target)


def remote_study(root: str, *, calls: int = 3) -> RemoteFolder:
    """A session that was recorded on S3, its logs in parts."""
    with custody.session("P", "E", root=root, new=True) as session:
        for number in range(calls):
            with session.scope(run=number):
                EchoClient(transport=EchoTransport()).say(f"question {number}")
        assert isinstance(session.path, RemoteFolder)
        return session.path


def test_from_a_folder_to_s3_to_memory_and_back(
    root: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", 10_000)
    session = study(root, large=45_000)
    for name in ("a~b #[1] 100% {x}^`|.txt", "\u00fcn\u0131.txt", "empty.jsonl", "with *?+&=;:,$@!'()\"<>\\ signs"):
        (session / "analysis_results" / name).write_text("" if name == "empty.jsonl" else name)
    whole = files(session)
    place: Folder = session
    for target in (bucket, f"{bucket}-2", "memory://copies", tmp_path / "back"):
        copied, place = copy(place, target)
        assert files(place) == whole, target
        assert (copied.sound, copied.problems, copied.remarks, copied.calls) == (True, [], [], 4), target
        again, _ = copy(session, target)
        assert (again.sent, again.sound) == (0, True)
    left = sorted(
        entry.name for entry in at(folder(bucket)).list() if ".parts" in entry.name or "/workers/" in entry.name
    )
    assert left == [], "parts, or heartbeats of the copying"
    assert layout.FRAMEWORK_SNAPSHOT in {path.name for path in place.parents[1].iterdir()}


def test_logs_in_parts_become_one_object(bucket: str, tmp_path: Path, run: Any) -> None:
    place = remote_study(bucket)
    parts = [stored.key for stored in _objects(place).list() if ".parts/" in stored.key]
    assert parts, "else this test shows nothing"
    copied, there = copy(place, f"{bucket}-2")
    assert copied.sound and files(there) == files(place)
    assert not [stored.key for stored in _objects(there).list() if ".parts/" in stored.key]
    _, local = copy(there, tmp_path / "local")
    assert files(local) == files(place)
    before = files(place)
    code, out, err = run("compact", place)
    assert code == 0, err
    assert "logs are one object each" in out and files(place) == before
    mine = [stored.key for stored in _objects(place).list() if ".parts/" in stored.key and stored.size]
    assert len(mine) < len(parts) and all("/merged-" in key for key in mine), mine
    assert run("verify", place, "--deep")[0] == 0
    assert run("compact", place)[0] == 0
    with custody.session("P", "E", root=bucket, session=place.name, strict=True):  # it goes on
        pass


def _objects(place: Folder) -> ObstoreObjects:
    objects = at(place)._objects  # type: ignore[attr-defined]
    assert isinstance(objects, ObstoreObjects)
    return objects


def test_a_session_that_is_open_on_s3_is_neither_copied_nor_compacted(bucket: str, tmp_path: Path, run: Any) -> None:
    with custody.session("P", "E", root=bucket) as session:
        for words in (("copy", session.path, "--to", tmp_path / "local"), ("compact", session.path)):
            code, _, err = run(*words)
            assert code == 2 and "open in another process" in err
        code, _, err = run("move", session.path, "--to", tmp_path / "local")
        assert code == 2
    assert not (tmp_path / "local").exists()


def test_moved_from_s3_nothing_is_left_but_the_record(bucket: str, tmp_path: Path, run: Any) -> None:
    place = remote_study(bucket)
    whole = files(place)
    code, _, err = run("move", place, "--to", tmp_path / "local")
    assert code == 0, err
    left = sorted(entry.name for entry in at(folder(bucket)).list())
    assert left == [
        "projects/P/PROJECT_CHRONOLOG_P.jsonl",
        f"projects/P/experiments/E/removed/{place.name}.json",
    ]
    stored = [each.key for each in ObstoreObjects(bucket, "s3", Settings()).list("projects/P/experiments/E/sessions/")]
    assert stored == [], "an object that no listing of logs shows: the session seems to be there for ever"
    assert b'"event":"session_removed"' in at(folder(bucket)).read("projects/P/PROJECT_CHRONOLOG_P.jsonl")
    assert files(tmp_path / "local" / str(place).removeprefix(f"{bucket}/")) == whole
    code, _, err = run("status", place.name, "--root", bucket)
    assert code == 2 and str(tmp_path / "local") in err
    assert run("move", place.name, "--root", bucket, "--to", tmp_path / "local")[0] == 0


def test_the_same_bucket_under_another_name_is_no_other_place(bucket: str, run: Any) -> None:
    place = remote_study(bucket)
    whole = files(place)
    for command in (
        ("copy", place, "--to", bucket.replace("s3:", "s3a:")),
        ("move", place, "--to", bucket.replace("s3:", "s3a:")),
    ):
        code, _, err = run(*command)
        assert code == 2 and "same folder under two names" in err
    code, out, _ = run(
        "prune", "--root", bucket, "--verified-at", bucket.replace("s3:", "s3a:"), "--older-than", "0h", "--yes"
    )
    assert code == 1 and "same folder under two names" in out
    assert files(place) == whole


def test_a_table_is_exported_to_a_url_and_asked_there(bucket: str, run: Any) -> None:
    pytest.importorskip("duckdb", reason="duckdb is not installed: pip install 'custody[sql]'")
    place, out = remote_study(bucket), f"{bucket}/tables/calls.parquet"
    code, _, err = run("export", place, "--to", "parquet", "--out", out)
    assert code == 0 and out in err, err
    code, said, err = run("sql", "select count(*) as calls from calls", out, "--csv")
    assert code == 0 and said.split() == ["calls", str(len(custody.open(place).calls()))], err
    code, _, err = run("export", place, "--to", "parquet", "--out", out)
    assert code == 2 and f"{out} is there already" in err
    assert run("export", place, "--to", "csv", "--out", out, "--force")[0] == 0
    assert at(folder(f"{bucket}/tables")).read("calls.parquet").startswith(b"gen_ai.")


def test_pruned_against_s3(bucket: str, root: Path, run: Any) -> None:
    session = study(root)
    assert run("copy", session, "--to", bucket)[0] == 0
    code, out, err = run("prune", "--root", root, "--verified-at", bucket, "--older-than", "0h", "--yes")
    assert code == 0 and not session.exists(), out + err
    back = f"{bucket}/{session.relative_to(root).as_posix()}"
    assert run("copy", back, "--to", root)[0] == 0, "what was removed can be brought back"
    assert run("verify", session, "--deep")[0] == 0


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there(root: Path) -> None:
    session = study(root)
    before = tree(root)
    words = ["copy", session, "--to", "s3://nobody-has-this/study"]
    ran = subprocess.run(
        [sys.executable, "-m", "custody.cli", *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 1 and "NoSuchBucket" in ran.stderr and "Traceback" not in ran.stderr
    assert tree(root) == before
    print(ran.stderr)


KILLED = """
import os, sys
from custody_fsspec.on_obstore import ObstoreObjects
from custody.cli.main import main
left = int(sys.argv[1])
names = sys.argv[2].split(",")

def counted(name):
    original = getattr(ObstoreObjects, name)
    def call(self, *args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return original(self, *args, **kwargs)
    setattr(ObstoreObjects, name, call)

for name in names:
    counted(name)
main(sys.argv[3:])
"""


def killed(number: int, names: str, *words: object) -> None:
    """Run a command that is killed before the ``number``-th of these requests."""
    command = [sys.executable, "-c", KILLED, str(number), names, *map(str, words)]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [6, 14])
def test_killed_in_the_middle_it_is_no_session_and_the_same_command_goes_on(
    root: Path, bucket: str, run: Any, number: int
) -> None:
    session = study(root)
    words = ["copy", session, "--to", bucket]
    killed(number, "put,put_new,put_pieces", *words)
    place = folder(f"{bucket}/{session.relative_to(root).as_posix()}")
    with pytest.raises(SessionNotFound):
        verify(at(place))
    code, _, err = run(*words)  # at once: a machine knows who of it is dead
    assert code == 0, err
    assert files(place) == files(session)
    assert verify(at(place), deep=True).sound


@pytest.mark.parametrize("number", [1, 4])
def test_a_removal_that_was_killed_is_finished_by_the_same_command(
    bucket: str, tmp_path: Path, run: Any, number: int
) -> None:
    place = remote_study(bucket)
    whole = files(place)
    words = ["move", place.name, "--root", bucket, "--to", tmp_path / "local"]
    copy(place, tmp_path / "local")
    killed(number, "delete", *words)
    left = files(place)
    assert (layout.MANIFEST in left) == (number == 1), "the one is killed before the removal, the other one in it"
    if number == 1:
        assert left == whole
    else:
        code, _, err = run("status", place)
        assert code == 2 and "its verified copy is" in err
    code, _, err = run(*words)
    assert code == 0, err
    assert not list(at(place).list())
    assert files(tmp_path / "local" / str(place).removeprefix(f"{bucket}/")) == whole
