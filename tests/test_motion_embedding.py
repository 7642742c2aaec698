"""M: the table, its interpolation between rows, its borders, and which rows learn."""

from __future__ import annotations

import pytest
import torch

from pix2gif_lite.motion_embedding import MotionEmbedding


@pytest.fixture
def table() -> MotionEmbedding:
    torch.manual_seed(0)
    return MotionEmbedding(rows=8, width=6)


def test_whole_motions_are_rows_and_fractions_lie_between(table: MotionEmbedding) -> None:
    rows = table.embedding.weight.detach()
    c_M = table.lookup(torch.tensor([0.0, 7.0, 2.0, 2.5, 2.25]))
    torch.testing.assert_close(c_M[:3], rows[[0, 7, 2]], rtol=0, atol=0)
    torch.testing.assert_close(c_M[3], (rows[2] + rows[3]) / 2)
    torch.testing.assert_close(c_M[4], 0.75 * rows[2] + 0.25 * rows[3])
    torch.testing.assert_close(table.lookup(torch.tensor([3, 4])), rows[3:5], rtol=0, atol=0)  # integers too


@pytest.mark.parametrize("bad", [-1.0, -0.001, 7.001, 8.0, float("nan"), float("inf")])
def test_a_motion_outside_the_table_is_an_error_that_names_it(table: MotionEmbedding, bad: float) -> None:
    with pytest.raises(ValueError, match=rf"Motion {bad:g} is outside the table: give a number from 0 to 7"):
        table.lookup(torch.tensor([1.0, bad]))


def test_one_number_a_sample(table: MotionEmbedding) -> None:
    with pytest.raises(ValueError, match="one number a sample"):
        table.lookup(torch.tensor(3.0))


def test_the_vector_is_added_to_every_token_and_can_be_dropped(table: MotionEmbedding) -> None:
    c_T = torch.randn(2, 5, 6)
    motion = torch.tensor([1.0, 6.0])
    c_L = table(c_T, motion)
    for token in range(5):
        torch.testing.assert_close(c_L[:, token] - c_T[:, token], table.embedding.weight[[1, 6]])
    dropped = table(c_T, motion, keep=torch.tensor([True, False]))
    torch.testing.assert_close(dropped[0], c_L[0], rtol=0, atol=0)
    torch.testing.assert_close(dropped[1], c_T[1], rtol=0, atol=0)
    assert table(c_T.bfloat16(), motion).dtype == torch.bfloat16


def test_only_the_rows_of_the_batch_learn(table: MotionEmbedding) -> None:
    table(torch.zeros(3, 5, 6), torch.tensor([2.0, 4.0, 5.5])).square().sum().backward()
    learns = table.embedding.weight.grad.abs().sum(dim=1) > 0
    assert learns.nonzero().flatten().tolist() == [2, 4, 5, 6]


def test_key_name_and_round_trip(table: MotionEmbedding, tmp_path) -> None:
    assert list(table.state_dict()) == ["embedding.weight"]  # reference: interval_embedding.embedding.weight
    table.save_pretrained(tmp_path)
    again = MotionEmbedding.from_pretrained(tmp_path)
    assert (again.config.rows, again.config.width) == (8, 6)
    assert torch.equal(again.embedding.weight, table.embedding.weight)
