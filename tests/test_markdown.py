"""A table in Markdown, byte by byte."""

from __future__ import annotations

import pytest

from pix2gif_lite.markdown import markdown_table


def test_a_table_is_its_head_a_rule_and_its_rows():
    lines = markdown_table(("", "figure", "target"), [("PSNR", "30.1 dB", ""), ["RMSE", "-", "<= 1"]])
    assert lines == ["| | figure | target |", "|---|---|---|", "| PSNR | 30.1 dB |  |", "| RMSE | - | <= 1 |"]
    assert markdown_table(["a", "b"], iter([]), ["---", "--:"]) == ["| a | b |", "|---|--:|"]


@pytest.mark.parametrize(("rows", "rule"), [([("1", "2", "3")], None), ([("1",)], None), ([], ["---"])])
def test_a_row_that_does_not_fit_is_refused(rows, rule):
    with pytest.raises(ValueError, match="A table of 2 columns has no place for [13] cells: "):
        markdown_table(("a", "b"), rows, rule)
