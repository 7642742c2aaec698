"""Memory: formulas against hand-made sums, the meta device against the CPU, and the CPU's count against what Linux says."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pix2gif_lite.data.latent_cache import Latents
from pix2gif_lite.learning import memory
from pix2gif_lite.learning.dry_run import DryStep, meta_parts, sampling_bytes
from pix2gif_lite.learning.live_bytes import IN_FLOAT32, IN_HALF, LikeGPU, LiveBytes
from pix2gif_lite.learning.memory import GIB, MARGIN, MODES, adamw_bytes, fits, main, sampling_table, training_bytes
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.model import Pix2GifModel, build_unet
from pix2gif_lite.presets import PAPER, TINY, get_preset
from pix2gif_lite.pretrained import build_components, build_flow_net

UNET, NEW_CHANNELS = 859_520_964, 320 * 8 * 9  # Stable Diffusion v1.5's, and conv_in's weights for 12 channels instead of 4
TEXT, VAE, TABLE = 123_060_480, 83_653_863, 1024 * 768  # CLIP ViT-L/14's text model, AutoencoderKL, M
VGG19 = 20_024_384 - 3 * (9 * 512 + 1) * 512 + 64 * 9  # torchvision's without the last three layers, one more input channel
ADAPTERS = 16 * (14 * (5 * 320 + 5 * 640 + 6 * 1280) + 16 * 2 * 768)  # rank 16, on q, k, v, out of 16 x 2 attentions


def numbers(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def paper() -> dict[str, memory.TrainingBytes]:
    return {mode: training_bytes(PAPER, mode, 2) for mode in ("full", "lora")}


def test_the_paper_s_parts_have_the_published_sizes_and_no_memory():
    parts = meta_parts(PAPER)
    assert numbers(parts["unet"]) == UNET + NEW_CHANNELS
    assert numbers(parts["text_encoder"]) == TEXT
    assert numbers(parts["vae"]) == VAE
    assert numbers(parts["motion_embedding"]) == TABLE
    assert all(p.is_meta for part in parts.values() for p in part.parameters())


def test_full_training_by_hand(paper):
    need, flow = paper["full"], build_flow_net(PAPER)
    trained = UNET + NEW_CHANNELS + TABLE + numbers(flow)
    assert need.trained == need.gradients == need.average == 4 * trained
    assert need.optimizer == 8 * trained
    assert need.frozen - 2 * (TEXT + VAE) - 4 * VGG19 in range(4096 + 8 * 1000)  # FNet's batch norms, CLIP's positions, a_t
    assert need.buckets == 0
    assert need.total == sum(need[:7])


def test_lora_by_hand(paper):
    need, flow = paper["lora"], build_flow_net(PAPER)
    trained = ADAPTERS + 4 * 320 * 9 + TABLE + numbers(flow)  # of conv_in only z_W's four channels
    assert need.trained == need.gradients == need.average == 4 * trained
    assert need.optimizer == 8 * trained
    frozen = UNET + NEW_CHANNELS - 4 * 320 * 9
    assert 2 * (frozen + TEXT + VAE) + 4 * VGG19 < need.frozen < 2.005 * (frozen + TEXT + VAE) + 4 * VGG19  # norms: float32


def test_the_small_card_recipe_fits_a_t4_and_the_full_training_does_not(paper):
    size = int(14.7 * GIB)
    assert paper["lora"].total + MARGIN < size < paper["full"].total
    # Half copies of all trained weights are alive at once in mixed precision, and nothing like it with LoRA.
    assert paper["full"].activations > 2 * UNET > 10 * paper["lora"].activations


def test_the_table_of_the_readme_is_the_count(paper):
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in readme.splitlines() if line.startswith("| full |")}
    rows |= {line.split("|")[1].strip(): line.split("|")[2:-1] for line in readme.splitlines() if line.startswith("| lora |")}
    for mode, need in paper.items():
        micro_batch, *parts, card = (cell.strip() for cell in rows[mode])
        counted = (need.trained + need.frozen, need.gradients, need.optimizer, need.average, need.activations, need.total)
        assert micro_batch == "2" and card == {"full": "24", "lora": "15 (T4)"}[mode]
        assert [float(part) for part in parts] == pytest.approx([part / GIB for part in counted], abs=0.006, rel=0.02)


def test_adamw_by_hand_and_as_torch_keeps_it():
    assert adamw_bytes([10, 4096]) == 8 * 4106
    assert adamw_bytes([4095, 4096, 4097], "adamw8bit") == 8 * 4095 + 2 * 4096 + 8 * 16 + 2 * 4097 + 8 * 17
    assert adamw_bytes([], "adamw8bit") == 0
    layer = nn.Linear(70, 60)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 70)).sum().backward()
    optimizer.step()
    moments = [v for state in optimizer.state.values() for name, v in state.items() if name != "step"]
    assert adamw_bytes([4200, 60]) == sum(v.nbytes for v in moments)


def test_small_moments_are_as_bitsandbytes_keeps_them():
    optim = pytest.importorskip("bitsandbytes").optim
    weights = [nn.Parameter(torch.ones(n)) for n in (100, 4095, 4096, 4097, 10_000)]
    optimizer = optim.AdamW8bit(weights)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    states = [item for state in optimizer.state.values() for item in state.items()]
    kept = [v.nbytes for name, v in states if isinstance(v, torch.Tensor) and not name.startswith("qmap")]  # qmap: one for all
    assert adamw_bytes([w.numel() for w in weights], "adamw8bit") == sum(kept)


def test_live_bytes_by_hand():
    x, w = torch.zeros(1000), torch.ones(1000, requires_grad=True)
    with LiveBytes([x, w]) as live:
        y = x + 1
        view = y.view(10, 100).t()
        assert live.now == 4000  # a view has no storage of its own
        del y
        assert live.now == 4000
        del view
        assert live.now == 0
        x.add_(1)
        assert live.now == 0  # in place, in a storage that is known
        z = (w * w).double().sum()  # the product (4000, at once given back), its double (8000), the sum (8)
        assert (live.now, live.peak) == (8, 12_000)
        z.backward()
    assert live.now == 8 + w.grad.nbytes


def unet_step(device: str, checkpointing: bool = False, bf16: bool = False) -> tuple[int, int, int]:
    """Bytes at the end of the forward pass, those that autograd saved of them, and the peak with the backward pass."""
    with torch.device(device):
        unet = build_unet(TINY).train()
        x, t, c_L = torch.zeros(3, 12, 16, 16), torch.zeros(3, dtype=torch.long), torch.zeros(3, 77, TINY.text_width)
    gpu = LikeGPU(torch.bfloat16 if bf16 else None, float32=())  # autocast on CPUs leaves norms in half precision
    if checkpointing:
        unet.enable_gradient_checkpointing(gpu.checkpoint if device == "meta" else None)
    for p in unet.parameters():
        p.grad = torch.zeros_like(p)
    known = [x, t, c_L, *unet.parameters(), *(p.grad for p in unet.parameters())]
    own = {tensor.untyped_storage()._cdata for tensor in known}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    autocast = gpu if device == "meta" else torch.autocast("cpu", torch.bfloat16, enabled=bf16)
    with LiveBytes(known) as live:
        with autocast, hooks:
            loss = unet(x, t, c_L).sample.float().square().mean()
            gpu.end_of_autocast()
        now = live.now
        with gpu if device == "meta" else nullcontext():
            loss.backward()
    return now, sum(size for key, size in saved.items() if key not in own), live.peak


@pytest.mark.parametrize("checkpointing", [False, True])
def test_on_meta_a_step_holds_what_it_holds_on_the_cpu(checkpointing, monkeypatch):
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # a CPU's own kernel, which keeps a little less
    monkeypatch.setattr(LikeGPU, "_attention", lambda self, q, k, v, **options: attend(q, k, v)[0])
    for bf16, tolerance in ((False, 0), (True, 0.002)):
        cpu, meta = (unet_step(device, checkpointing, bf16) for device in ("cpu", "meta"))
        assert meta == pytest.approx(cpu, rel=tolerance, abs=0)
        now, saved, peak = cpu
        assert saved <= now < peak
        assert now - saved <= 0.02 * now  # what is alive after a forward pass is what autograd saved


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_the_dry_step_is_the_job_s_step(lora_rank):
    preset = TINY.with_changes(train_text=lora_rank is None, drop_image=0.0, drop_both=0.0)
    parts = build_components(preset, ["a red balloon is rising"] * 20)
    with torch.no_grad():
        parts["unet"].conv_in.weight[:, 8:] = 0  # as a parent's, widened
    latents = Latents(torch.zeros(4, 4, 16, 16), torch.zeros(4, 2, 4, 16, 16), torch.full((4, 2), 5), ["a kite flies"] * 4)
    model = Pix2GifModel.from_parts(parts, preset)
    job = ModelJob(preset, model, parts["tokenizer"], parts["vae"], latents, lora_rank=lora_rank)
    checkpointing = lora_rank is not None
    if checkpointing:
        parts["unet"].enable_gradient_checkpointing()
    preset = preset.with_changes(vocab_size=len(parts["tokenizer"]))
    dry = DryStep(preset, lora_rank, checkpointing=checkpointing)
    for wanted in (True, False):
        counts = [sum(p.numel() for p in module.parameters() if p.requires_grad == wanted) for module in (job.train(), dry)]
        assert counts[0] == counts[1] > 0

    batch = job.batch(range(6))
    trained = [p for p in job.parameters() if p.requires_grad]
    for p in trained:
        p.grad = torch.zeros_like(p)
    with LiveBytes([*job.parameters(), *job.buffers(), *(p.grad for p in trained), *filter(torch.is_tensor, batch)]) as live:
        with torch.autocast("cpu", torch.bfloat16):
            loss = job(batch)["loss"]
        loss.backward()
    assert dry.activations(6, LikeGPU(torch.bfloat16, float32=())) == pytest.approx(live.peak, rel=0.05)


SUBPROCESS = """
import os, re, torch
from pix2gif_lite.model import build_unet
from pix2gif_lite.presets import TINY
torch.set_num_threads(1)
unet = build_unet(TINY.with_changes(unet_channels=(32, 64))).train()
def step(batch):
    x, t = torch.zeros(batch, 12, 32, 32), torch.zeros(batch, dtype=torch.long)
    unet(x, t, torch.zeros(batch, 77, TINY.text_width)).sample.square().mean().backward()
step(1)  # gradients are there, libraries loaded
before = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
step(16)
highest = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())  # getrusage's also counts what was forked
print(int(highest[1]) * 1024 - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="asks Linux")
def test_a_process_takes_what_was_counted():
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once
    told = subprocess.run([sys.executable, "-c", SUBPROCESS], env=environment, capture_output=True, text=True, check=True)
    with torch.device("meta"):
        unet = build_unet(TINY.with_changes(unet_channels=(32, 64))).train()
        for p in unet.parameters():
            p.grad = torch.zeros_like(p)
    with LiveBytes([*unet.parameters(), *(p.grad for p in unet.parameters())]) as live, LikeGPU(None):
        x, t = torch.zeros(16, 12, 32, 32, device="meta"), torch.zeros(16, dtype=torch.long, device="meta")
        unet(x, t, torch.zeros(16, 77, TINY.text_width, device="meta")).sample.square().mean().backward()
    assert live.peak > 30 * 2**20
    assert int(told.stdout) == pytest.approx(live.peak, rel=0.25)


def test_dtypes_are_chosen_as_autocast_chooses_them_on_a_gpu():
    for function, name in ((F.linear, "linear"), (F.conv2d, "conv2d"), (F.group_norm, "group_norm"), (F.mse_loss, "mse_loss")):
        assert function in IN_HALF | IN_FLOAT32
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "AutocastCUDA")
    with torch.device("meta"):
        layer, norm, x = nn.Linear(8, 8), nn.GroupNorm(2, 8), torch.zeros(2, 8)
    with LikeGPU() as gpu, LiveBytes() as live:
        y = layer(x)
        assert (y.dtype, norm(y).dtype) == (torch.float16, torch.float32)
        before = live.now
        layer(x)
        del y
        assert live.now < before  # the weight's half copy was not made again
        held = live.now
        gpu.end_of_autocast()
        assert held - live.now == 2 * (64 + 8)  # nothing is waiting for a backward pass any more
        assert nn.functional.softmax(layer(x), -1).dtype == torch.float32


def test_checkpointing_and_buckets_and_small_moments_change_what_they_should():
    full, small = (training_bytes(TINY, mode, 8) for mode in ("full", "full-small"))
    assert small.activations < 0.8 * full.activations
    assert small.optimizer < full.optimizer
    assert small[:4] == full[:4]
    assert training_bytes(TINY, "full", 8, devices=2) == full._replace(buckets=full.gradients)
    assert fits(TINY, "full", full.total + MARGIN, 8) and not fits(TINY, "full", full.total + MARGIN - 1, 8)


@pytest.mark.parametrize("variant", ["base", "warp-add"])
def test_variants_are_counted_without_what_they_lack(variant):
    need = training_bytes(TINY.with_changes(variant=variant), "full")
    assert need.trained < training_bytes(TINY, "full").trained


def test_sampling_holds_half_weights_and_more_for_larger_pictures():
    small, large = sampling_bytes(TINY, 64), sampling_bytes(TINY, 128)
    parts = meta_parts(TINY)
    buffers = sum(b.numel() for part in parts.values() for b in part.buffers())
    assert small.weights == large.weights
    assert 0 <= small.weights - 2 * sum(map(numbers, parts.values())) <= 8 * buffers
    assert large.decoder == 4 * small.decoder
    assert large.total == large.weights + max(large.unet, large.decoder)
    assert sampling_bytes(TINY, 64, frames=4).decoder == small.decoder / 2
    assert sampling_bytes(TINY, 64, frames=24, branches=1).unet == small.unet
    with pytest.raises(ValueError, match="100 px: give a multiple of 16"):
        sampling_bytes(TINY, 100)


def test_the_printed_tables_are_what_the_functions_return(capsys, monkeypatch):
    counted_once = functools.cache(lambda name, *how: training_bytes(get_preset(name), *how))
    monkeypatch.setattr(memory, "training_bytes", lambda preset, *how: counted_once(preset.name, *how))
    assert main(["--preset", "tiny", "--micro-batch", "2", "--devices", "2"]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:2] for row in rows] == [[mode, "2"] for mode in MODES]
    for mode, micro_batch, *parts, card in rows:
        need = counted_once("tiny", mode, int(micro_batch), 2)
        weights, gradients = need.trained + need.frozen, need.gradients + need.buckets
        counted = (weights, gradients, need.optimizer, need.average, need.activations, need.total)
        assert parts == [f"{part / GIB:.2f}" for part in counted]
        assert card == "15 (T4)"
    assert main(["--preset", "tiny", "--sampling"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == sampling_table(TINY)


def test_bad_input_is_one_sentence(capsys):
    with pytest.raises(ValueError, match="Unknown mode 'half': choose one of full, full-small, lora, lora-float32"):
        training_bytes(TINY, "half")
    with pytest.raises(ValueError, match="0 samples on 1 devices"):
        training_bytes(TINY, "full", 0)
    for arguments, message in ((["--preset", "huge"], "invalid choice"), (["--micro-batch", "0"], "0 samples on 1 devices")):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert message in capsys.readouterr().err
