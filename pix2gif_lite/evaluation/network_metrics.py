"""Metrics that look through somebody else's large network: LPIPS, PIC, CLIPSim, and the features that FVD compares.

The networks are packages and downloads that this project does not ship. Each class loads its network when it is made, or
raises `NotInReach`, whose text says what is missing: the metric is then not computed, and nothing else takes its name.

| class | network, from | size |
|---|---|---|
| LPIPS | AlexNet with torchmetrics' weights of its layers, from torchvision | 0.2 GB |
| PIC | DreamSim, an ensemble of three ViT-B/16, from dreamsim | 1.5 GB |
| CLIPSim | CLIP ViT-L/14, torchmetrics' default, from the Hub | 1.7 GB |
| I3D | I3D trained on Kinetics-400, from cd-fvd | 0.05 GB |

Pictures are (..., 3, S, S) in [-1, 1]; the networks see them in 256 grey levels, as a saved frame has them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as tf

from ..canvas import grey_levels, to_pil
from ..files import temporary_name
from ..origins.hub import fetch
from ..origins.loading import load_part, no_advice
from ..origins.reach import checkpoints, package, weights

AT_ONCE = 16  # pictures
CLIP = "openai/clip-vit-large-patch14"
CLIP_PARTS = ("text_encoder", "tokenizer")  # as hub.py calls a network of transformers, and the tokenizer beside it
I3D_FRAMES = 9  # that leave two, of which I3D takes the mean, after its three halvings
I3D_URL = "https://github.com/songweige/TATS/raw/main/tats/fvd/i3d_pretrained_400.pt"  # as cd-fvd names it


class LPIPS:
    """Learned perceptual distance (Zhang et al. 2018), AlexNet, version 0.1, by torchmetrics. 0: the same; lower is better."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        with package("torchvision"):
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
            from torchvision.models import AlexNet_Weights
        alexnet = AlexNet_Weights.DEFAULT
        with weights(f"put {alexnet.url} into {checkpoints()}"):
            # torchmetrics would unpickle whatever the file holds: so it is first seen to hold nothing but tensors
            alexnet.get_state_dict(progress=False, check_hash=True, weights_only=True)
            self.metric = LearnedPerceptualImagePatchSimilarity("alex", reduction="none").to(device)

    @torch.inference_mode()
    def __call__(self, frames: Tensor, exact: Tensor) -> Tensor:
        """Of each frame (B, 3, S, S) against the exact one: (B,). S from 64. Raises ValueError for other shapes."""
        _same_pictures(frames, exact)
        self.metric.reset()
        for a, b in zip(frames.split(AT_ONCE), exact.split(AT_ONCE), strict=True):
            self.metric.update(*(grey_levels(part).to(self.metric.device) / 127.5 - 1 for part in (a, b)))
        return self.metric.compute().reshape(-1).cpu()

    @torch.inference_mode()
    def maps(self, frames: Tensor, exact: Tensor) -> Tensor:
        """Where each frame differs from the exact one: (B, 1, S, S), the layers' distances enlarged bilinearly and added.

        torchmetrics' network has this as `spatial`, as the authors' own does; its metric does not. Deep layers look far: the
        distance of a pixel is also about what lies around it, 163 px for AlexNet's last. ValueError as above.
        """
        _same_pictures(frames, exact)
        network, parts = self.metric.net, zip(frames.split(AT_ONCE), exact.split(AT_ONCE), strict=True)
        network.spatial = True
        try:
            pairs = ([grey_levels(part).to(self.metric.device) / 127.5 - 1 for part in pair] for pair in parts)
            return torch.cat([network(*pair).cpu() for pair in pairs])
        finally:
            network.spatial = False


class PIC:
    """Perceptual input conformity: how much of the source's look the frames keep. 1: all; higher is better.

    Mean over frames of 1 - DreamSim(first, frame); DreamSim (Fu et al. 2023) is its package's default, the ensemble. That
    package also fetches DINO's code from GitHub with torch.hub, and runs it.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        with package("dreamsim"):
            from dreamsim import dreamsim
            from dreamsim.model import download_weights
        hub = torch.hub.get_dir()
        place = Path(hub) / "dreamsim"
        new = temporary_name(place)
        try:
            with weights(f"unpack dreamsim_ensemble_checkpoint.zip into {place}"):
                if not place.is_dir():  # whole or absent
                    place.parent.mkdir(parents=True, exist_ok=True)
                    download_weights(str(new), "ensemble")
                    (new / "pretrained.zip").unlink(missing_ok=True)
                    new.replace(place)
                self.network, self.prepare = dreamsim(pretrained=True, device=str(device), cache_dir=str(place))
        finally:
            shutil.rmtree(new, ignore_errors=True)
            torch.hub.set_dir(hub)  # which dreamsim moves
        self.device = device

    @torch.inference_mode()
    def __call__(self, first: Tensor, frames: Tensor) -> Tensor:
        """Of each GIF, frames (N, K, 3, S, S) and first pictures (N, 3, S, S): (N,). Raises ValueError for other shapes."""
        if frames.ndim != 5:
            raise ValueError(f"Frames of shape {tuple(frames.shape)} are no GIFs: give (N, K, 3, S, S).")
        _same_pictures(first, frames[:, 0])
        return torch.stack([self._similar(*gif) for gif in zip(first, frames, strict=True)])

    def _similar(self, first: Tensor, frames: Tensor) -> Tensor:
        source, pictures = (torch.cat([self.prepare(to_pil(p.cpu())) for p in part]) for part in (first[None], frames))
        parts = pictures.to(self.device).split(AT_ONCE)
        distances = [self.network(source.to(self.device).expand_as(part), part).reshape(-1) for part in parts]
        return 1 - torch.cat(distances).mean().cpu()


class CLIPSim:
    """How well frames fit their caption: mean CLIPScore (Hessel et al. 2021) by torchmetrics, as a cosine, at least 0.

    The paper's Table 1 gives cosines (0.28); torchmetrics itself gives 100 times that.

    clip  a CLIP on the Hub, or a folder that holds one; safetensors only
    """

    def __init__(self, clip: str = CLIP, device: str | torch.device = "cpu") -> None:
        with package("torchmetrics"), no_advice():
            from torchmetrics.multimodal.clip_score import CLIPScore
            from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer
        with weights():
            folders = [Path(clip) if Path(clip).is_dir() else fetch(clip, part=part) for part in CLIP_PARTS]
            network = load_part(CLIPModel, folders[0])
            tokenizer = CLIPTokenizer.from_pretrained(folders[1], local_files_only=True)
            side = network.config.vision_config.image_size
            pictures = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
            words = network.config.text_config.max_position_embeddings

        def prepare(text: Any = None, images: Any = None, **options: Any) -> Any:
            if text is None:
                return pictures(images=images, return_tensors="pt")
            # a long caption cut here keeps its end token, where CLIP reads the whole; torchmetrics would cut that off
            return tokenizer(text, padding=True, truncation=True, max_length=words, return_tensors="pt")

        self.metric = CLIPScore(lambda: (_Features(network), prepare)).to(device)

    @torch.inference_mode()
    def __call__(self, frames: Tensor, captions: Sequence[str]) -> Tensor:
        """Of each GIF, frames (N, K, 3, S, S): (N,), mean over its frames. ValueError unless there are N captions."""
        if frames.ndim != 5 or len(frames) != len(captions):
            raise ValueError(f"{len(captions)} captions do not fit frames {tuple(frames.shape)}: give (N, K, 3, S, S) and N.")
        scores = []
        for gif, caption in zip(frames, captions, strict=True):
            self.metric.reset()
            for part in grey_levels(gif).split(AT_ONCE):
                self.metric.update(part.to(self.metric.device), [caption] * len(part))
            scores.append(self.metric.compute().cpu() / 100)
        return torch.stack(scores)


class I3D:
    """The features of which FVD compares the clouds: the 400 logits of I3D (Carreira, Zisserman 2017), by cd-fvd.

    file  cd-fvd's i3d_pretrained_400.pt, read as tensors only. None: the one in torch.hub's cache, downloaded once
    """

    def __init__(self, file: str | Path | None = None, device: str | torch.device = "cpu") -> None:
        with package("cd-fvd"):
            from cdfvd.third_party.i3d.utils import load_i3d_model
        place = checkpoints() / Path(I3D_URL).name if file is None else Path(file)
        with weights(f"put {I3D_URL} into {place.parent}"):
            if file is None and not place.is_file():  # cd-fvd's own download would leave half a file, or an error's page
                place.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(I3D_URL, str(place), progress=False)
            # torch.load, in there, opens nothing but tensors
            self.network = load_i3d_model(torch.device(device), str(place)).eval()
        self.device = device

    @torch.inference_mode()
    def __call__(self, clips: Tensor) -> Tensor:
        """Of each clip (N, T, 3, S, S), T from 9: (N, 400). Seen at 224 x 224, bilinear, as cd-fvd does."""
        if clips.ndim != 5 or clips.shape[1] < I3D_FRAMES or clips.shape[2] != 3:
            raise ValueError(
                f"Clips of shape {tuple(clips.shape)} are none for I3D: give (N, T, 3, S, S), T from {I3D_FRAMES}."
            )
        logits = []
        for clip in clips:
            clip = grey_levels(clip).to(self.device).float() / 127.5 - 1
            clip = tf.interpolate(clip, size=(224, 224), mode="bilinear", align_corners=False)
            logits.append(self.network(clip.transpose(0, 1)[None]).cpu())
        return torch.cat(logits)


class _Features(nn.Module):
    """What torchmetrics expects of a CLIP: tensors. transformers 5 gives an output that holds them."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip, self.config = clip, clip.config

    def get_image_features(self, pictures: Tensor) -> Tensor:
        return self.clip.get_image_features(pictures).pooler_output

    def get_text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.clip.get_text_features(ids, mask).pooler_output


def _same_pictures(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim < 4 or a.shape[-3] != 3:
        raise ValueError(f"Pictures of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared: give (..., 3, S, S).")
