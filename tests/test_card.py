"""The card: a header that the Hub reads, numbers that are the summary's, no paths, and nobody's text written over."""

import re
import shlex
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image

import pix2gif_lite
from pix2gif_lite.cards.card import MARK, card_text, public_name, write_card
from pix2gif_lite.cli import build_parser
from pix2gif_lite.presets import LITE, PAPER, TINY
from pix2gif_lite.pretrained import LITE_WEIGHTS

SUMMARY = {
    "steps": 2966,
    "samples": 94912,
    "seconds": 1320.1,
    "samples_per_second": 72.2,
    "parameters": 2846058,
    "device": "cuda:0",
    "mixed_precision": "fp16",
    "operations_per_sample": 1397892096,
    "matrix_rate": 333300681201.6,
    "share_of_matrix_rate": 0.3027,
    "loss": 0.00978758,
    "perceptual": 0.0710263,
    "val_loss": 0.00662859,
    "val_copy": 0.0834405,
}
ASSETS = Path(pix2gif_lite.__file__).parent / "assets"
ROOT = Path(__file__).parents[1]
PARENT = "timbrooks/instruct-pix2pix"


def rows(text: str) -> dict[str, str]:
    return {row[0].strip("`"): row[1] for row in re.findall(r"^\| (.+?) \| (.*) \|$", text, re.MULTILINE)}


def test_the_header_is_one_that_the_hub_reads(tmp_path):
    path = write_card(tmp_path, PAPER, SUMMARY, {}, kind="parent", init=PARENT)
    data = ModelCard.load(path).data
    assert path == tmp_path / "README.md"
    assert (data.library_name, data.pipeline_tag, data.base_model) == ("diffusers", "image-to-video", PARENT)
    assert (data.license, data.license_name) == ("other", "that-of-the-parent")
    assert data.license_link == f"https://huggingface.co/{PARENT}"
    assert "pix2gif" in data.tags
    own = ModelCard(card_text(LITE, SUMMARY, {})).data
    assert own.base_model is None and (own.license, own.license_name) == ("other", "not-chosen-yet")


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ("license: creativeml-openrail-m", ("creativeml-openrail-m", None, f"https://huggingface.co/{PARENT}")),
        ("license: mit\nlicense_link: https://a.example/mit", ("mit", None, "https://a.example/mit")),
        (
            "license: other\nlicense_name: theirs\nlicense_link: LICENSE",
            ("other", "theirs", f"https://huggingface.co/{PARENT}/blob/main/LICENSE"),
        ),
        ("tags: [a]", ("other", "that-of-the-parent", f"https://huggingface.co/{PARENT}")),
        ("license: [", ("other", "that-of-the-parent", f"https://huggingface.co/{PARENT}")),
    ],
)
def test_the_licence_is_the_one_that_the_parents_card_states(tmp_path, stated, found):
    (tmp_path / "README.md").write_text(f"---\n{stated}\n---\n# A parent\n")
    data = ModelCard(card_text(PAPER, SUMMARY, {}, kind="parent", init=PARENT, place=tmp_path)).data
    assert (data.get("license"), data.get("license_name"), data.get("license_link")) == found


def test_weights_that_started_from_the_shipped_ones_keep_their_licence():
    text = card_text(LITE, SUMMARY, {}, kind="ours", init="lite", place=LITE_WEIGHTS)
    assert ModelCard(text).data.license == "apache-2.0" and ModelCard(text).data.base_model is None
    assert rows(text)["started from"] == "weights of Pix2Gif, `lite`"


def test_every_number_is_the_summarys():
    text = card_text(PAPER.with_changes(perceptual_network="vgg19"), SUMMARY, {"batch_size": 256, "mix": {"gifs": 0.5}})
    table = rows(text)
    assert {name: table[name] for name in ("loss", "perceptual", "val_loss", "val_copy")} == {
        "loss": "0.009788",
        "perceptual": "0.07103",
        "val_loss": "0.006629",
        "val_copy": "0.08344",
    }
    assert table["length"] == "2,966 steps, 94,912 samples, 22 minutes"
    assert table["trained parameters"] == "2,846,058" and table["machine"] == "cuda:0, precision fp16"
    assert table["perceptual loss"] == "vgg19, against the source" and table["loss weights"] == "diffusion 1, perceptual 0.01"
    assert table["batch size"] == "256" and table["mix"] == "gifs 0.5"
    assert "operations" not in text and "matrix" not in text


def test_no_path_leaks_and_no_name_breaks_the_table(tmp_path):
    secret = tmp_path / "secret" / "my_data"
    secret.mkdir(parents=True)
    settings = {"data": str(secret), "vae": secret, "photos": "~/pictures/holiday", "lora_rank": None, "only": None}
    settings |= {"mixed": {"data": str(secret)}, "odd": "a|b<script>\nc", "gradient_checkpointing": True, "compile": False}
    text = card_text(TINY, SUMMARY, settings, kind="ours", init=secret)
    assert "secret" not in text and str(Path.home()) not in text
    table = rows(text)
    assert table["data"] == table["vae"] == "my_data" and table["photos"] == "holiday" and table["mixed"] == "data my_data"
    assert table["odd"] == r"a\|b&lt;script> c" and table["gradient checkpointing"] == "yes"
    assert not {"lora rank", "only", "compile"} & table.keys()


def test_a_hub_id_is_no_path_unless_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert public_name("owner/name") == "owner/name"
    Path("owner/name").mkdir(parents=True)
    assert public_name("owner/name") == "name"
    assert public_name(".") == tmp_path.name


def test_a_card_of_somebody_else_stays(tmp_path):
    assert write_card(tmp_path, LITE, SUMMARY, {}) is not None
    text = (tmp_path / "README.md").read_text()
    assert MARK in text
    assert write_card(tmp_path, LITE, SUMMARY | {"steps": 5000}, {}) is not None  # ours is brought up to date
    assert "5,000 steps" in (tmp_path / "README.md").read_text()
    edited = text.replace(MARK, "My own words.")
    (tmp_path / "README.md").write_text(edited)
    assert write_card(tmp_path, LITE, SUMMARY, {}) is None
    assert (tmp_path / "README.md").read_text() == edited


def test_a_package_that_does_not_know_its_repository_is_named_alone(monkeypatch):
    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", unknown)
    text = card_text(LITE, SUMMARY, {})
    assert '```bash\npip install "pix2gif-lite"\n```' in text and "github" not in text


def test_the_commands_of_the_card_work(tmp_path, monkeypatch):
    text = card_text(LITE, SUMMARY, {})
    line = next(line for line in text.splitlines() if line.startswith("pix2gif-lite generate"))
    install = next(shlex.split(line) for line in text.splitlines() if line.startswith("pip install "))
    repository = re.search(r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert install[2:] == [f"pix2gif-lite @ git+{repository}@v{pix2gif_lite.__version__}"] and f"]({repository})" in text
    args = build_parser().parse_args(shlex.split(line)[1:])
    assert args.weights == "WEIGHTS" and args.caption == "a red balloon is rising" and args.out == "out.gif"
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    shutil.copy(ASSETS / "example.png", tmp_path / "my.png")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("WEIGHTS", "lite"), {})
    assert Image.open("out.gif").n_frames >= 5
