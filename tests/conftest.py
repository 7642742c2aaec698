"""What several test files share: a tiny pipeline of the real classes, and a picture for it.

One thread for all tests and for the processes that they start: their tensors are tiny, and threads that wait for each other
cost more than they compute.
"""

import os
import signal

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test never asks the network
os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by what a test starts

import pytest
from PIL import Image

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born ignoring Ctrl-C

# Of two workers each takes the next file when it is nearly done with its last: what takes longest comes first, so that both end
# together. First the notebooks, these two before the others, then these tests, then all else.
LONG = ("07_train_it", "11_your_own_gifs")
LONG_TESTS = (
    "test_training", "test_paper_scale", "test_browser", "test_bench", "test_ablation", "test_killed", "test_distributed",
    "test_kernel_restart", "test_sampling_at_scale", "test_distillation", "test_bench_parts", "test_curation", "test_reference",
    "test_zero_shot", "test_evaluate", "test_fuzz",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    def place(item):
        name, book = item.path.stem, item.path.suffix == ".ipynb"
        first = LONG if book else LONG_TESTS
        return not book, first.index(name) if name in first else len(first)

    items.sort(key=place)  # stable: files and their tests keep their order


@pytest.fixture(scope="session", autouse=True)
def hurried():
    """Not above: the process that only hands tests out would import torch as well, and all would wait for it."""
    from several import hurry

    hurry()


@pytest.fixture(scope="module")
def pipe():
    """A pipeline of TINY parts with random weights, whose flow is not the identity."""
    import torch

    from pix2gif_lite.pipeline import Pix2GifPipeline
    from pix2gif_lite.presets import TINY
    from pix2gif_lite.pretrained import build_components

    parts = build_components(TINY, ["a red balloon is rising"] * 20)
    with torch.no_grad():  # a random FlowNet stays at the identity: give it something to say
        generator = torch.Generator().manual_seed(0)
        weight = parts["flow_net"].predict_flow0[0].weight
        weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return Pix2GifPipeline.from_components(TINY, parts)


@pytest.fixture(scope="module")
def picture():
    """A drawn scene as a PIL image, 96 x 96."""
    import torch

    from pix2gif_lite.scenes import sample_scenes

    pixels = sample_scenes(1, seed=3)[0].at(0, 96).image[0].permute(1, 2, 0)
    return Image.fromarray(((pixels + 1) * 127.5).round().to(torch.uint8).numpy())


@pytest.fixture(scope="module")
def vae():
    """A TINY autoencoder with random weights, its latents scaled by 4."""
    import torch

    from pix2gif_lite.autoencoder import build_autoencoder
    from pix2gif_lite.presets import TINY

    torch.manual_seed(0)
    vae = build_autoencoder(TINY).eval()
    vae.register_to_config(scaling_factor=4.0)
    return vae


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A local Hub that huggingface_hub is told to use, with one second for an answer and a cache of its own."""
    from huggingface_hub import constants
    from local_hub import local_hub

    with local_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "")
        yield server


@pytest.fixture
def no_compiler(tmp_path, monkeypatch):
    """torch.compile without a C++ compiler, and without what it compiled before."""
    import torch._inductor.config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch._dynamo.reset()
    with torch._inductor.config.patch({"cpp.cxx": ("/no/such/g++",)}):
        yield
