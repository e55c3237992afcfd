"""What is printed can be printed everywhere."""

from __future__ import annotations

import pytest

from custody.cli.console import encodable, in_line, print_pairs, print_table
from custody.cli.table import Column, print_rows

HALF = "eu \ud800 \udfff"


def test_half_a_surrogate_pair_is_its_escape(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_line(HALF) == encodable(HALF) == "eu \\ud800 \\udfff"
    assert encodable("ä 模型 😀") == "ä 模型 😀"
    print_table(["region"], [[HALF]])
    print_pairs([("region", HALF)])
    print_rows([Column("region")], lambda: [[HALF]])
    capsys.readouterr().out.encode()
