"""The conditions of each guidance branch, against the table of the paper's formula."""

import pytest
import torch

from pix2gif_lite.branches import in_cells, make_branches
from pix2gif_lite.guidance import guide, needed_predictions
from pix2gif_lite.lookup import to_sampling_grid
from pix2gif_lite.text import NULL_PROMPT, motion_prompt, tokenize

CAPTION = "a red balloon is rising"


@pytest.mark.parametrize("s_M", [None, 2.0])
@torch.no_grad()
def test_branches_are_the_table_of_the_paper(pipe, s_M):
    model, E = pipe.model, torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    m = torch.tensor([4.0, 12.0])
    encode = lambda texts: pipe.text_encoder(input_ids=tokenize(pipe.tokenizer, texts)).last_hidden_state  # noqa: E731
    c_T, null = encode([motion_prompt(CAPTION, 4), motion_prompt(CAPTION, 12)]), encode([NULL_PROMPT])[0]
    names = needed_predictions(2.0, 3.0, s_M)
    bare = encode([CAPTION])[0]
    branches, flow = make_branches(model, names, E, c_T, null, m, s_M, bare)
    c_M = pipe.motion_embedding.embedding.weight[[4, 12]][:, None]
    everywhere = c_M if s_M is None else torch.zeros_like(c_M)
    torch.testing.assert_close(branches["full"].c_L, c_T + c_M)
    torch.testing.assert_close(branches["image"].c_L, null.expand_as(c_T) + everywhere)
    torch.testing.assert_close(branches["none"].c_L, branches["image"].c_L)
    assert branches["none"].image_latents.abs().max() == branches["none"].z_W.abs().max() == 0
    assert torch.equal(branches["image"].image_latents, E)
    torch.testing.assert_close(flow, pipe.flow_net(E, c_T + c_M).seen)
    assert not torch.equal(branches["image"].z_W, branches["full"].z_W)
    if s_M is not None:
        torch.testing.assert_close(branches["text"].c_L, bare.expand_as(c_T))  # no c_M, and no number in the prompt either
    predictions = {name: torch.full((1,), float(k)) for k, name in enumerate(names)}
    assert torch.isfinite(guide(predictions, 2.0, 3.0, s_M)).all()  # the names are all that guidance asks for


def test_absolute_flow_in_cells():
    flow = torch.randn(1, 2, 6, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(in_cells(to_sampling_grid(flow), "absolute"), flow, atol=1e-5, rtol=0)
    assert in_cells(flow, "displacement") is flow
