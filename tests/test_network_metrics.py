"""Networks that others bring: the real classes on small random weights where they install, else what is said of them.

torchvision, dreamsim and cd-fvd do not install beside a CPU build of torch. Their few names that are called stand in here,
with networks of the real layout or kind; what is measured of the packages themselves is in no test.
"""

from __future__ import annotations

import sys
import time
import types

import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from torch import nn
from torch.nn import functional as tf

from pix2gif_lite.evaluation import network_metrics
from pix2gif_lite.evaluation.network_metrics import CLIP, I3D, LPIPS, PIC, CLIPSim
from pix2gif_lite.evaluation.side_rows import network_rows
from pix2gif_lite.origins import reach
from pix2gif_lite.origins.reach import NotInReach
from pix2gif_lite.origins.small_parent import _clip_tokenizer


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)) / 127.5 - 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with a small random CLIP, in the layout of the Hub's."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    tokenizer, _ = _clip_tokenizer(["a red balloon is rising", "a cat is dancing"])
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text = {**small, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=4)
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def torch_home(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub"


@pytest.fixture
def nothing(monkeypatch):
    """None of the packages, whatever this machine has, and no Hub."""
    for name in ("torchvision", "torchvision.models", "dreamsim", "dreamsim.model", "cdfvd"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")  # where nobody listens
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def cosines(clip, frames: torch.Tensor, captions: list[str]) -> torch.Tensor:
    """(N, K): from the two-towered model's own forward, on pictures resized by Pillow and normalized here."""
    from transformers import CLIPModel, CLIPTokenizer

    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), CLIPTokenizer.from_pretrained(clip)
    mean, spread = (torch.tensor(v)[:, None, None] for v in (
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    ))  # fmt: skip
    rows = []
    for gif, caption in zip(frames, captions, strict=True):
        pixels = []
        for frame in gif:
            image = Image.fromarray(frame.add(1).mul(127.5).round().byte().permute(1, 2, 0).numpy()).resize((32, 32), 3)
            level = torch.tensor(list(image.tobytes())).reshape(32, 32, 3).permute(2, 0, 1) / 255
            pixels.append((level - mean) / spread)
        ids = tokenizer(caption, return_tensors="pt").input_ids
        if ids.shape[1] > 16:
            ids = torch.cat([ids[:, :15], ids[:, -1:]], 1)  # CLIP reads the whole at its end token
        with torch.no_grad():
            rows.append(model(input_ids=ids, pixel_values=torch.stack(pixels)).logits_per_image[:, 0] / model.logit_scale.exp())
    return torch.stack(rows)


def test_clipsim_is_the_mean_cosine(clip):
    frames = pictures(4, 3, 3, 40, 40)
    captions = ["a red balloon is rising", "a cat", "a cat is dancing " * 9, "rising"]
    exact = cosines(clip, frames, captions).mean(1)
    assert (exact > 0.01).sum() >= 2 and exact.abs().max() < 1  # so that the comparison is one
    torch.testing.assert_close(CLIPSim(str(clip))(frames, captions), exact.clamp_min(0), atol=2e-3, rtol=0)


def test_clipsim_refuses_other_shapes(clip):
    sim = CLIPSim(str(clip))
    with pytest.raises(ValueError, match="1 captions do not fit"):
        sim(pictures(2, 1, 3, 40, 40), ["a cat"])
    with pytest.raises(ValueError, match="1 captions do not fit"):
        sim(pictures(1, 3, 40, 40), ["a cat"])


def test_a_clip_without_its_text_tower_is_not_in_reach(clip, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in clip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    kept = {name: value for name, value in load_file(clip / "model.safetensors").items() if "text_model" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NotInReach, match="^weights not in reach: .*is missing"):
        CLIPSim(str(tmp_path))


def test_what_is_in_reach_is_computed_and_the_rest_is_named(clip, hub, nothing, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    hub.repositories[CLIP] = {file.name: file.read_bytes() for file in clip.iterdir()} | {"pytorch_model.bin": b"pickle"}
    frames, captions = pictures(2, 3, 3, 32, 32, seed=1), ["a cat", "a red balloon is rising"]
    rows = network_rows(frames[:, 0], frames, frames, captions)
    assert list(rows) == ["lpips", "moving_lpips", "still_lpips", "pic", "clipsim", "fvd", "not_computed"]
    assert rows["not_computed"].keys() == {"lpips", "pic", "fvd"}, rows["not_computed"]
    assert rows["clipsim"] == pytest.approx(float(cosines(clip, frames, captions).mean(1).clamp_min(0).mean()), abs=2e-3)
    assert rows["lpips"] is None and rows["pic"] is None
    assert "package not in reach: torchvision" in rows["not_computed"]["lpips"]
    assert "package not in reach: dreamsim" in rows["not_computed"]["pic"]
    assert "pytorch_model.bin" not in hub.files("GET")


def test_without_anything_every_metric_says_so_within_seconds(nothing, torch_home, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    frames = pictures(1, 2, 3, 32, 32)
    start = time.monotonic()
    rows = network_rows(frames[:, 0], frames, frames, ["a cat"])
    assert time.monotonic() - start < 30
    assert [rows[name] for name in ("lpips", "pic", "clipsim")] == [None] * 3
    assert rows["not_computed"]["clipsim"].startswith(f"weights not in reach: The weights '{CLIP}'")
    with pytest.raises(NotInReach, match=r"^package not in reach: cd-fvd \(.*pip install 'pix2gif-lite\[eval\]'`$"):
        I3D()


def test_rows_of_shapes_that_do_not_fit():
    frames = pictures(2, 3, 3, 8, 8)
    with pytest.raises(ValueError, match=r"A region of shape \(2, 3, 1, 4, 4\) does not fit"):
        network_rows(frames[:, 0], frames, frames, ["a", "b"], torch.ones(2, 3, 1, 4, 4, dtype=torch.bool))
    for first, made, exact, captions in (
        (frames[:, 0], frames, frames[:, :2], ["a", "b"]),
        (frames[:1, 0], frames, frames, ["a", "b"]),
        (frames[:, 0], frames, frames, ["a"]),
        (frames[:, 0], frames[0], frames[0], ["a", "b"]),
    ):
        with pytest.raises(ValueError, match="cannot be compared|do not fit"):
            network_rows(first, made, exact, captions)


@pytest.fixture
def alexnet(monkeypatch, torch_home):
    """torchvision's AlexNet up to its last pictures, with random weights that its cache holds; no other part of torchvision."""
    import torchmetrics.functional.image.lpips as functional
    import torchmetrics.image.lpip as metric

    def features() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(True),
            nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(True), nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(True), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(3, 2),
        )  # fmt: skip

    file = torch_home / "checkpoints" / "alexnet-00000000.pth"
    file.parent.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = features()
    torch.save(network.state_dict(), file)

    class Weights:
        url = "http://127.0.0.1:1/alexnet-00000000.pth"

        def get_state_dict(self, **options):
            return torch.hub.load_state_dict_from_url(self.url, **options)

    def build(weights=None):
        made = features()
        if weights is not None:
            made.load_state_dict(weights.get_state_dict(progress=False, check_hash=True))
        return types.SimpleNamespace(features=made)

    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    models.alexnet, models.AlexNet_Weights = build, types.SimpleNamespace(DEFAULT=Weights())
    torchvision.models = models
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    for module in (functional, metric):
        monkeypatch.setattr(module, "_TORCHVISION_AVAILABLE", True)
    return network.eval(), file, functional.__file__


def test_lpips_is_the_weighted_distance_of_normalized_features(alexnet):
    network, _, place = alexnet
    a, b = pictures(18, 3, 64, 64, seed=0), pictures(18, 3, 64, 64, seed=1)  # more than go through at once
    layers = torch.load(place.replace("lpips.py", "lpips_models/alex.pth"), map_location="cpu", weights_only=True)
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    x, y, exact, k, maps = (a - shift) / scale, (b - shift) / scale, torch.zeros(18), 0, torch.zeros(18, 1, 64, 64)
    with torch.no_grad():
        for layer in network:
            x, y = layer(x), layer(y)
            if isinstance(layer, nn.ReLU):
                apart = (tf.normalize(x, dim=1) - tf.normalize(y, dim=1)).square()
                apart = (apart * layers[f"lin{k}.model.1.weight"]).sum(1, keepdim=True)
                exact += apart.mean((1, 2, 3))
                maps += tf.interpolate(apart, size=(64, 64), mode="bilinear", align_corners=False)
                k += 1
    lpips = LPIPS()
    assert k == 5 and exact.min() > 0.01
    torch.testing.assert_close(lpips(a, b), exact, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(lpips.maps(a, b), maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(lpips(a, b), exact, atol=1e-5, rtol=1e-4)  # a map before changes nothing
    assert lpips(a, a).tolist() == [0] * 18
    assert lpips(a[:1], b[:1]).shape == (1,)
    with pytest.raises(ValueError, match="cannot be compared"):
        lpips(a, b[:3])


def test_lpips_of_a_region_is_the_mean_of_its_map(alexnet, monkeypatch):
    for name in ("dreamsim", "dreamsim.model"):
        monkeypatch.setitem(sys.modules, name, None)
    frames, exact = (pictures(2, 3, 3, 64, 64, seed=seed) for seed in (0, 1))
    frames[..., :32] = exact[..., :32]  # the left half is right
    moving = torch.zeros(2, 3, 1, 64, 64, dtype=torch.bool)
    moving[..., 40:] = True
    moving[0, 0] = False  # a frame in which nothing moves does not count
    rows = network_rows(frames[:, 0], frames, exact, ["a", "b"], moving)
    lpips = LPIPS()
    maps, where = lpips.maps(frames.flatten(0, 1), exact.flatten(0, 1)), moving.flatten(0, 1)
    means = [[float(m[w].mean()) for m, w in zip(maps, side, strict=True) if w.any()] for side in (where, ~where)]
    assert [len(some) for some in means] == [5, 6]
    assert rows["moving_lpips"] == pytest.approx(sum(means[0]) / 5) and rows["still_lpips"] == pytest.approx(sum(means[1]) / 6)
    assert rows["moving_lpips"] > 2 * rows["still_lpips"] > 0
    whole = lpips(frames.flatten(0, 1), exact.flatten(0, 1)).mean()
    assert rows["lpips"] == pytest.approx(float(whole)) and rows["still_lpips"] < rows["lpips"] < rows["moving_lpips"]
    plain = network_rows(frames[:, 0], frames, exact, ["a", "b"])
    assert plain["lpips"] == rows["lpips"] and plain["moving_lpips"] is None and "lpips" not in plain["not_computed"]


class Runs:
    def __reduce__(self):
        return print, ("it ran",)


def test_a_checkpoint_that_would_run_code_is_not_opened(alexnet, capsys):
    torch.save({"weight": Runs()}, alexnet[1])
    with pytest.raises(NotInReach, match="damaged, or holds more than tensors: put http://127.0.0.1:1/alexnet"):
        LPIPS()
    assert "it ran" not in "".join(capsys.readouterr())


def test_weights_that_are_not_here_are_named_with_their_address(alexnet):
    alexnet[1].unlink()
    with pytest.raises(NotInReach, match=r"^weights not in reach: there is no connection \(.*put http://127.0.0.1:1/alex"):
        LPIPS()


@pytest.fixture
def dreamsim(monkeypatch):
    """dreamsim's two names that are called: pictures in, distances out; it moves torch.hub's folder, as the real one does."""
    package, model = types.ModuleType("dreamsim"), types.ModuleType("dreamsim.model")

    def download_weights(cache_dir, kind):
        import pathlib

        print("Downloading checkpoint")
        pathlib.Path(cache_dir).mkdir()
        (pathlib.Path(cache_dir) / "pretrained.zip").write_bytes(b"zip")
        if package.breaks:
            raise OSError(28, "No space left on device")
        (pathlib.Path(cache_dir) / kind).write_bytes(b"weights")

    def build(pretrained, device, cache_dir):
        torch.hub.set_dir(cache_dir)

        def prepare(image):
            return torch.tensor([[image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))]]) / 255

        return (lambda a, b: (a - b).abs().mean((1, 2))), prepare

    package.dreamsim, package.breaks, model.download_weights = build, False, download_weights
    monkeypatch.setitem(sys.modules, "dreamsim", package)
    monkeypatch.setitem(sys.modules, "dreamsim.model", model)
    return package


def test_pic_is_the_mean_over_frames_of_what_is_alike(dreamsim, torch_home, capsys):
    first = torch.full((2, 3, 8, 8), -1.0)
    frames = torch.stack([first, torch.full_like(first, 1.0), torch.full_like(first, 51 / 127.5 - 1)], 1)
    frames[1] = -1
    pic = PIC()
    assert pic(first, frames).tolist() == pytest.approx([1 - (0 + 1 + 0.2) / 3, 1])
    assert torch.hub.get_dir() == str(torch_home)
    assert sorted(path.name for path in (torch_home / "dreamsim").iterdir()) == ["ensemble"]  # the archive is gone
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="are no GIFs"):
        pic(first, first)
    with pytest.raises(ValueError, match="cannot be compared"):
        pic(first[:1], frames)


def test_half_a_download_leaves_nothing(dreamsim, torch_home):
    dreamsim.breaks = True
    with pytest.raises(NotInReach, match=r"^weights not in reach: \[Errno 28\] No space left .*unpack dreamsim_ensemble"):
        PIC()
    assert list(torch_home.iterdir()) == []


@pytest.fixture
def i3d(monkeypatch, torch_home):
    """cd-fvd's loader with a smaller network of the same kind: clips (B, 3, T, 224, 224) in, logits (B, 400) out."""

    def network() -> nn.Module:
        pooled = nn.Sequential(nn.Conv3d(3, 4, 3, stride=(2, 8, 8)), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
        return nn.Sequential(pooled, nn.Linear(4, 400))

    def load_i3d_model(device, ckpt_path):
        made = network()
        made.load_state_dict(torch.load(ckpt_path, map_location=device))
        return made

    names = ["cdfvd", "cdfvd.third_party", "cdfvd.third_party.i3d", "cdfvd.third_party.i3d.utils"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[names[-1]].load_i3d_model = load_i3d_model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network()


def test_i3d_sees_clips_at_its_own_size(i3d, tmp_path):
    torch.save(i3d.state_dict(), tmp_path / "i3d.pt")
    clips = pictures(3, 16, 3, 20, 20)
    seen = tf.interpolate(clips.transpose(1, 2), size=(16, 224, 224), mode="trilinear", align_corners=False)
    features = I3D(tmp_path / "i3d.pt")
    with torch.no_grad():
        torch.testing.assert_close(features(clips), i3d(seen), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="T from 9"):
        features(clips[:, :8])


def test_i3d_is_downloaded_once_and_whole(i3d, torch_home, hub, tmp_path, monkeypatch):
    torch.save(i3d.state_dict(), tmp_path / "i3d.pt")
    hub.repositories["a/b"] = {"i3d_pretrained_400.pt": (tmp_path / "i3d.pt").read_bytes()}
    monkeypatch.setattr(network_metrics, "I3D_URL", f"{hub.url}/a/b/resolve/main/i3d_pretrained_400.pt")
    assert I3D()(pictures(1, 9, 3, 8, 8)).shape == (1, 400)
    file = torch_home / "checkpoints" / "i3d_pretrained_400.pt"
    assert file.read_bytes() == hub.repositories["a/b"]["i3d_pretrained_400.pt"]
    asked = len(hub.requests)
    I3D()
    assert len(hub.requests) == asked
    file.write_bytes(b"a page to log in")
    with pytest.raises(NotInReach, match="^weights not in reach: .*put http.*i3d_pretrained_400.pt into"):
        I3D()


@pytest.mark.parametrize(("answer", "told"), [(404, "the server answers with status 404"), ("silence", "timed out")])
def test_a_server_without_the_file_or_a_word(i3d, torch_home, hub, monkeypatch, answer, told):
    hub.answers["/a/b"] = answer
    monkeypatch.setattr(network_metrics, "I3D_URL", f"{hub.url}/a/b/resolve/main/i3d_pretrained_400.pt")
    monkeypatch.setattr(reach, "TIMEOUT", 0.3)
    start = time.monotonic()
    with pytest.raises(NotInReach, match=f"^weights not in reach: {told}"):
        I3D()
    assert time.monotonic() - start < 20
    assert list((torch_home / "checkpoints").iterdir()) == []


def test_reaching_leaves_the_process_as_it_was(capsys):
    import socket

    before = socket.getdefaulttimeout()
    with pytest.raises(MemoryError), reach.weights("nothing helps"):
        assert socket.getdefaulttimeout() == reach.TIMEOUT
        print("words of a package")
        raise MemoryError
    assert socket.getdefaulttimeout() == before
    assert capsys.readouterr() == ("", "words of a package\n")
    with pytest.raises(MemoryError), reach.package("torch"):
        raise MemoryError
    with pytest.raises(NotInReach, match=r"^package not in reach: torchvision \(operator nms does not exist\)"):
        with reach.package("torchvision"):  # as one built for another torch
            raise RuntimeError("operator nms does not exist")
