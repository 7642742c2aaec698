"""The card beside the shipped weights: no figure in it is typed, its front matter is the Hub's, its pictures are there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from pix2gif_lite.cards.card import installing
from pix2gif_lite.cards.card_blocks import BLOCKS, NOT_YET, Sources, by_action, by_motion, by_move, pairs, targets
from pix2gif_lite.cards.shipped_card import MARK, SMALL, as_webp, card_text, fill, main, update
from pix2gif_lite.cli import build_parser
from pix2gif_lite.data.photo_moves import MOVES
from pix2gif_lite.evaluation.paper_tables import TABLE_1
from pix2gif_lite.evaluation.report import ROWS, look_up
from pix2gif_lite.pretrained import LITE_WEIGHTS, TURBO_WEIGHTS
from pix2gif_lite.scenery.actions import ACTIONS

TEXT = (LITE_WEIGHTS / "README.md").read_text(encoding="utf-8")
RESULTS, ABLATION, BENCH = (
    json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    for path in (LITE_WEIGHTS / name for name in ("results.json", "ablation.json", "bench.json"))
)
README = (LITE_WEIGHTS.parents[2] / "README.md").read_text(encoding="utf-8")
MADE = {"made": {"scenes": 3, "split": "test"}}


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The card as the command writes it anew, from the files beside it."""
    folder = tmp_path_factory.mktemp("weights")
    for path in LITE_WEIGHTS.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    update(folder)
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def weights(tmp_path):
    """A folder with a small card, the results it stands on, and a picture under an old name."""
    folder = tmp_path / "weights"
    folder.mkdir()
    text = "---\nlicense: mit\n---\n\n# Weights\n\nThey reach <!-- results:value fidelity.psnr .1f -->0<!-- end --> dB.\n\n"
    text += "<!-- results:picture sheet.webp Frames --><!-- end -->\n"
    (folder / "README.md").write_text(text)
    (folder / "results.json").write_text(json.dumps(MADE | {"fidelity": {"psnr": 31.25}}))
    Image.new("RGB", (8, 8)).save(folder / "sheet.png")
    return folder


@pytest.fixture
def evaluated(tmp_path):
    """What `evaluate --out` left: newer results, and a noisy picture."""
    folder = tmp_path / "evaluated"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(MADE | {"fidelity": {"psnr": 32.5, "ssim": 0.987654}}))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "sheet.png")
    Image.fromarray(noise).save(folder / "not-in-the-card.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def outside(text: str) -> str:
    """The words of a card: what stands outside of its blocks."""
    return re.sub(r"<!-- (?:results|bench):[^\n]*? -->.*?<!-- end -->", "", text, flags=re.DOTALL)


def front(text: str) -> str:
    return text.split("\n---\n", 1)[0]


def test_the_committed_card_is_what_the_command_writes(again):
    assert TEXT.split("\n---\n", 1)[1] == again.split("\n---\n", 1)[1]
    assert ModelCard(TEXT).data.to_dict() == ModelCard(again).data.to_dict()  # YAML may be laid out in several ways


def test_the_card_of_the_distilled_weights_is_what_the_command_writes(tmp_path):
    for path in TURBO_WEIGHTS.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    text = (TURBO_WEIGHTS / "README.md").read_text(encoding="utf-8")
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    update(tmp_path)
    again = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.split("\n---\n", 1)[1] == again.split("\n---\n", 1)[1] and NOT_YET not in text
    data = ModelCard(text).data
    assert data.model_name == "Pix2Gif Lite Turbo" and data.to_dict() == ModelCard(again).data.to_dict()
    assert results["made"]["weights"] == "lite-turbo" and results["made"]["steps"] == 1
    assert [r.metric_value for r in data.eval_results if r.metric_type == "rmse"] == [round(results["coherency"]["rmse"], 4)]
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[-3:] == ["Intended use and limits", "Rights and misuse", "Licence"]


def test_every_row_of_the_quality_table_is_that_of_the_results():
    block = TEXT.split("<!-- results:quality -->")[1].split("<!-- end -->")[0].strip().splitlines()
    for (label, path, _, _), line in zip(ROWS, block[2 : 2 + len(ROWS)], strict=True):
        value = look_up(RESULTS, path)
        assert line.startswith(f"| {label} | " + ("not computed" if value is None else f"{value:.3f}"))


def test_no_figure_of_the_measured_sections_is_typed():
    section = outside(TEXT).split("\n## How good they are\n")[1].split("\n## Intended use")[0]
    assert "-->" not in section
    section = re.sub(r"section \d\.\d|within 1 px", "", section)  # of the paper; how the split is chosen
    assert not re.findall(r"\d+\.\d|\d+ (?:dB|px|%)", section)


def test_the_front_matter_is_the_hubs_and_says_what_the_results_say():
    data = ModelCard(TEXT).data  # raises where the model index is none
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "diffusers", "image-to-video")
    assert "arxiv:2403.04634" in data.tags and data.model_name == "Pix2Gif Lite"
    found = {(result.metric_type, result.metric_name): result.metric_value for result in data.eval_results}
    assert found["psnr", "PSNR against the exact frame, dB"] == pytest.approx(RESULTS["fidelity"]["psnr"], abs=5e-5)
    assert found["pearson", "asked against measured motion, Pearson a GIF"] == pytest.approx(
        RESULTS["coherency"]["pearson"], abs=5e-5
    )
    assert {result.dataset_split for result in data.eval_results} == {RESULTS["made"]["split"]}


def test_every_picture_of_the_card_is_there_and_every_picture_there_is_in_the_card():
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(set(shown)) == len(shown)
    there = {path.name for path in LITE_WEIGHTS.iterdir() if path.suffix in (".png", ".webp", ".gif")}
    assert set(shown) == there
    for name in shown:
        with Image.open(LITE_WEIGHTS / name) as image:
            assert min(image.size) >= 200
            image.load()


def test_nothing_of_the_card_is_missing():
    assert NOT_YET not in TEXT


def test_the_card_says_what_a_reader_must_know():
    headings = re.findall(r"^## (.+)$", TEXT, re.M)
    wanted = ["How they were made", "How good they are", "The ablation", "Intended use and limits", "Rights and misuse"]
    assert [name for name in headings if name in wanted] == wanted and headings[-1] == "Licence"
    rights = TEXT.split("\n## Rights and misuse\n")[1].split("\n## ")[0]
    for word in ("generated", "rights", "people", "deceives", "TGIF"):
        assert word in rights
    use = TEXT.split("\n## Intended use and limits\n")[1].split("\n## ")[0]
    assert f"{len(MOVES)} moves" in use and "sixteen actions" in " ".join(use.split()) and len(ACTIONS) == 16


def benchmark(**changes):
    """What `bench --out` writes, as far as the tables read it."""
    none = dict.fromkeys(("psnr", "pearson", "rmse", "extrapolated", "quality_steps", "operations", "share", "note"))
    rows = [
        none | {"label": "the recipe", "steps": 100, "predictions": 3, "seconds": 60.0, "extrapolated": [1, 3], "psnr": 31.5},
        none | {"label": "others", "steps": 100, "predictions": 3, "seconds": 40.0, "note": "they have random weights"},
        none | {"label": "never run", "steps": 4, "predictions": 1, "seconds": None},
        none
        | {"label": "ours", "steps": 12, "predictions": 1, "seconds": 1.25, "psnr": 33.456, "rmse": 0.987, "quality_steps": 12}
        | {"operations": 52.4e9, "share": 0.255, "pearson": 0.98765},
        none | {"label": "ours, judged in fewer", "steps": 100, "predictions": 1, "seconds": 8.0, "quality_steps": 12},
    ]
    made = {"motions": [2, 4, 6], "size": 128, "scenes": 5, "command": "pix2gif-lite bench --out b", "date": "2026-11-30"}
    made |= {"machine": "a machine, 2 threads", "commit": "abc1234", "weights": "lite", "turbo": None}
    found = {"made": made, "rows": rows, "seconds": 123.4, "reference_s": 60.0, "gif_s": 0.2, "slider_ms": 41.26}
    found |= {"matrix_rate": 165e9, "sittings": 1}
    return found | {"ratio_reference": 48.0, "estimated": ["ratio_reference"]} | changes


def test_the_readme_says_what_was_measured_and_nothing_else():
    """Its figures are those of the JSON beside the weights: `shipped_card ... --also README.md` fills them."""
    pictures = frozenset(path.name for path in LITE_WEIGHTS.glob("*.webp"))
    assert fill(README, Sources(RESULTS, ABLATION, pictures, BENCH)) == README
    section = outside(README).split("\n## How fast is it?\n")[1].split("\n## ")[0]
    assert "-->" not in section and "bench:speed" in README
    assert not re.findall(r"\d+\.\d|\d+ (?:ms|dB|px|s|times)\b", section)


def test_the_benchmark_reads_row_by_row():
    block = BLOCKS["bench:speed"](Sources({}, bench=benchmark()))
    table, told, felt = block.split("\n\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert cells[2:] == [
        ["the recipe *", "100", "3", "60", "1", "-", "-", "31.50", "-", "-"],
        ["others", "100", "3", "40", "1.5", "-", "-", "-", "-", "-"],
        ["ours", "12", "1", "1.25", "48", "52", "26%", "33.46", "0.9877", "0.99"],
        ["ours, judged in fewer *", "100", "1", "8", "7.5", "-", "-", "-", "-", "-"],
    ]
    assert {len(row) for row in cells} == {10}
    assert "3 frames at 128 px" in told and "5 `test` scenes" in told and "commit abc1234, 123 s. A multiply-add" in told
    assert "165 G a second. They have random weights. A star" in told
    assert "123 s in 2 sittings." in BLOCKS["bench:speed"](Sources({}, bench=benchmark(sittings=2)))
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in felt.splitlines()}
    assert lines["a GIF of 8 frames, the fastest of ours"] == ["0.200 s", "<= 0.25 s", "met |"]
    assert lines["one move of the slider, a picture of 256 px as in notebook 00"] == ["41.3 ms", "<= 30 ms", "**missed** |"]
    assert lines["times as fast as the reference's recipe"] == ["48 *", ">= 100", "**missed** |"]
    whole = benchmark(rows=[row | {"extrapolated": None, "quality_steps": None} for row in benchmark()["rows"]])
    assert "*" not in BLOCKS["bench:speed"](Sources({}, bench=whole)).split("\n\n")[0] + told.split(" A star")[0]
    assert "A star" not in BLOCKS["bench:speed"](Sources({}, bench=whole))


def test_without_a_benchmark_the_card_says_so():
    assert BLOCKS["bench:speed"](Sources({})) == f"{NOT_YET}: no bench.json lies beside the weights."
    text = "It takes <!-- bench:value gif_s .2f -->?<!-- end --> s."
    assert MARK.sub("", fill(text, Sources({"gif_s": 3.0}))) == "It takes not computed s."
    filled = fill(text, Sources({"gif_s": 3.0}, bench=benchmark()))
    assert MARK.sub("", filled) == "It takes 0.20 s." and fill(filled, Sources({}, bench=benchmark())) == filled


def test_a_benchmark_is_copied_without_the_makers_places(weights, tmp_path):
    other, readme = tmp_path / "bench", tmp_path / "README.md"
    other.mkdir()
    found = benchmark()
    found["made"] |= {"command": "pix2gif-lite bench --out /home/me/b --turbo /home/me/fast", "turbo": "/home/me/fast"}
    (other / "bench.json").write_text(json.dumps(found, indent=1))
    readme.write_text("How fast?\n\n<!-- bench:speed --><!-- end -->\n")
    assert update(weights, [other], [readme]) == [weights / "bench.json", weights / "README.md", readme]
    copied = json.loads((weights / "bench.json").read_text())
    assert copied["made"]["command"] == "pix2gif-lite bench --out b --turbo fast" and copied["made"]["turbo"] == "fast"
    assert copied | {"made": None} == found | {"made": None}
    assert (
        "| ours | 12 | 1 | 1.25 | 48 | 52 | 26% | 33.46 | 0.9877 | 0.99 |" in readme.read_text()
        and "/home" not in readme.read_text()
    )
    assert update(weights, [other], [readme]) == []


def test_no_place_on_the_makers_disk_is_told(weights, evaluated):
    for path in (*LITE_WEIGHTS.glob("*.json"), LITE_WEIGHTS / "README.md"):
        assert not re.search(r"(?<![\w.*])/(?:work|tmp|home|root|Users)\b", path.read_text(encoding="utf-8")), path
    told = {"made": {"command": "pix2gif-lite evaluate --out '/home/me/my runs' --weights lite --steps 2", "split": "test"}}
    (evaluated / "results.json").write_text(json.dumps(told, indent=1))
    update(weights, [evaluated])
    told["made"]["command"] = "pix2gif-lite evaluate --out 'my runs' --weights lite --steps 2"
    assert (weights / "results.json").read_text() == json.dumps(told, indent=1)


def test_the_commands_of_the_card_parse():
    lines = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 4
    for line in lines:
        arguments = shlex.split(line)
        if arguments[0] == "pip":
            assert line in installing()
            continue
        assert arguments[0] == "pix2gif-lite"
        assert build_parser().parse_args(arguments[1:]).command == arguments[1]


def test_values_differences_and_what_was_not_computed():
    sources = Sources({"a": {"b": 2.5, "c": 1.125, "none": None}}, {"made": {"n": 8000}})
    text = "x <!-- results:value a.b .2f -->old<!-- end --> and <!-- results:value a.c - a.b +.2f --><!-- end -->, "
    text += "<!-- results:value ablation.made.n ,d -->1\n2<!-- end -->, <!-- results:value a.none - a.b .1f --><!-- end -->"
    bare = MARK.sub("", fill(text, sources))
    assert bare == "x 2.50 and -1.38, 8,000, not computed"
    assert fill(fill(text, sources), sources) == fill(text, sources)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\n<!-- results:quality -->\n", "'quality' has no end"),
        ("a\n<!-- end -->", "Line 2 has <!-- end -->, but no block is open"),
        ("<!-- results:a -->\n<!-- results:b --><!-- end -->", "Line 2 .* but the block 'a' has no end"),
        ("a\n\n<!-- results:qualitty --><!-- end -->", "ends in line 3: there is no block 'qualitty'"),
        ("a <!-- results:value --><!-- end -->", "there is no block 'value'"),
        ("a <!-- results:picture x.png A chart --><!-- end -->", "there is no block 'picture x.png A chart'"),
        ("a\n<!-- results:value a .2f --><!-- end -->", "Line 2 begins with a value"),
        ("a\n<!-- bench:value a .2f --><!-- end -->", "Line 2 begins with a value"),
        ("a <!-- bench:quality --><!-- end -->", "there is no block 'bench:quality'"),
        ("a <!-- results:value made.scenes .2w --><!-- end -->", "ends in line 1: "),
    ],
)
def test_marks_that_do_not_fit_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        fill(text, Sources(MADE))


def test_a_picture_is_shown_once_it_is_there():
    text = "<!-- results:picture x.webp A chart -->old<!-- end -->"
    assert fill(text, Sources({}, None, frozenset({"x.webp"}))) == text.replace("old", "\n\n![A chart](x.webp)\n\n")
    assert fill(text, Sources({}, None, frozenset({"y.webp"}))) == text.replace("old", f"\n\n{NOT_YET}: x.webp.\n\n")


def test_targets_are_counted_and_missed_ones_named():
    (some, aim), other = next(((path, aim) for _, path, _, aim in ROWS if path == "coherency.rmse")), "coherency.pearson"
    assert aim[0] == "<="
    results = {"coherency": {"rmse": aim[1] + 1, "pearson": 1.0}}
    assert look_up(results, some) and look_up(results, other)
    lines = targets(Sources(results)).splitlines()
    assert lines[0] == "Of 2 targets 1 are met. Missed:" and len(lines) == 3
    assert lines[2] == f"- asked against measured motion, RMSE a GIF: {aim[1] + 1:.3f} px, where <= {aim[1]:g} px was wanted"
    results["coherency"]["rmse"] = aim[1]
    assert targets(Sources(results)) == "Of 2 targets 2 are met."


def test_a_target_that_is_missed_is_named_with_its_error():
    results = {"test_pairs": {"worse_db": 1.25, "worse_db_error": 0.5}}
    line = targets(Sources(results)).splitlines()[2]
    assert line.startswith("- pairs never seen together, worse ") and line.endswith(
        ": 1.250 +- 0.500 dB, where <= 1 dB was wanted"
    )


def test_pairs_have_a_block_once_they_are_compared_with_their_own_subjects():
    row = {"scenes": 8, "seen_scenes": 9, "gap_db": 2.0, "same_subject_gap_db": 1.5}
    row |= {"worse_db": 0.5, "worse_db_error": 0.25, "moving_worse_db": 0.75, "moving_worse_db_error": None}
    row |= {"same_action_gap_db": 2.5, "same_action_scenes": 7, "flow_error": 0.5, "same_subject_flow_error": None}
    section = {"pairs": 1, "scenes": 8, "seen_scenes": 9, "by_pair": {"star, grow": row}, "not_read": {}}
    line = "| star, grow | 8 | 9 | 2.00 | 1.50 | 2.50 (7) | 0.50 +- 0.25 | 0.75 | 0.50 | - |"
    assert line in pairs(Sources({"test_pairs": section}))
    assert pairs(Sources({"test_pairs": {"gap_db": 2.0}})).startswith(NOT_YET) and pairs(Sources({})).startswith(NOT_YET)


def test_the_card_can_say_how_to_install_the_code():
    text = fill("a\n\n<!-- results:install --><!-- end -->\n", Sources({}))
    assert BLOCKS["install"](Sources({})) in text and 'pip install "pix2gif-lite' in text


def test_gaps_by_motion_and_by_move():
    frame = {"psnr": 30.0, "ceiling_psnr": 32.5, "moving_psnr": 20.0, "ceiling_moving_psnr": 23.0, "measured": 1.9}
    seen = {"seen_psnr": 25.0, "ceiling_seen_psnr": 26.25, "measured": 2.125}
    kinds = {"turn": {"photos": 2, "seen_gap_db": 3.0, "pearson": 0.9, "rmse": 2.0}}
    kinds["pan"] = {"photos": 1, "seen_gap_db": 0.5, "pearson": 1.0, "rmse": None}
    results = {"by_motion": {"2": frame}, "moved_photographs": {"by_motion": {"2": seen}, "by_move": kinds}}
    cells = [line.split(" | ")[-1].removesuffix(" |") for line in by_motion(Sources(results)).splitlines()]
    assert cells == ["2", "---", "2.50", "3.00", "1.25", "1.90", "2.12"]
    lines = by_move(Sources(results)).splitlines()
    assert lines[2:] == ["| pan | 1 | 0.50 | 1.000 |  |", "| turn | 2 | 3.00 | 0.900 | 2.00 |"]
    none = Sources({"by_motion": {"2": frame}, "moved_photographs": {"not_computed": "no photographs"}})
    assert len(by_motion(none).splitlines()) == 5 and by_move(none).startswith(NOT_YET)


def test_scenes_stand_by_action_the_worst_first():
    row = {"scenes": 3, "gap_db": 0.5, "moving_gap_db": 0.75, "still_gap_db": 0.25, "rmse": 0.5, "ceiling_rmse": 0.25}
    row["flow_error"] = 0.125
    found = {"rise": row, "spin": row | {"gap_db": 1.5, "still_gap_db": None, "flow_error": None}}
    lines = by_action(Sources({"by_action": found})).splitlines()
    assert lines[2:] == [
        "| spin | 3 | 1.50 | 0.75 | - | 0.50 | 0.25 | - |",
        "| rise | 3 | 0.50 | 0.75 | 0.25 | 0.50 | 0.25 | 0.12 |",
    ]


def test_the_papers_zero_shot_table_is_there_and_marked_as_the_papers():
    text = BLOCKS["zero-shot"](Sources({}))
    assert text.count("(the paper's) |") == len(TABLE_1) and "| ours, measured here | - | - |" in text


def test_charts_are_kept_exactly_and_pictures_nearly(tmp_path):
    chart = Image.new("RGB", (200, 120), "white")
    chart.paste("navy", (20, 10, 30, 110))
    chart.save(tmp_path / "chart.png")
    x, y = np.meshgrid(np.arange(160), np.arange(120))
    smooth = 128 + 60 * np.sin(x / 17) * np.cos(y / 13) + np.random.default_rng(0).normal(0, 3, x.shape)
    photo = np.stack([smooth, 255 - smooth, smooth / 2], -1).clip(0, 255).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    found = {}
    for name in ("chart", "photo"):
        (tmp_path / f"{name}.webp").write_bytes(as_webp(tmp_path / f"{name}.png", 75))
        found[name] = np.asarray(Image.open(tmp_path / f"{name}.webp").convert("RGB")).astype(int)
    assert (found["chart"] == np.asarray(chart)).all()
    assert 0 < np.abs(found["photo"] - photo).mean() < 6
    assert (tmp_path / "photo.webp").stat().st_size < (tmp_path / "photo.png").stat().st_size / 4


def test_a_run_is_copied_as_far_as_the_card_needs_it(weights, evaluated, capsys):
    assert main([str(weights), "--from", str(evaluated)]) == 0
    assert capsys.readouterr().out.split() == [str(weights / name) for name in ("results.json", "sheet.webp", "README.md")]
    assert set(contents(weights)) == {"README.md", "results.json", "sheet.webp"}  # sheet.png is replaced by it
    assert (weights / "results.json").read_bytes() == (evaluated / "results.json").read_bytes()
    text = (weights / "README.md").read_text()
    assert "They reach <!-- results:value fidelity.psnr .1f -->32.5<!-- end --> dB." in text and "![Frames](sheet.webp)" in text
    data = ModelCard(text).data
    assert data.license == "apache-2.0" and [r.metric_value for r in data.eval_results] == [32.5, 0.9877]
    assert main([str(weights)]) == 0 and capsys.readouterr().out == "Nothing changed.\n"


def test_another_file_is_filled_too(weights, tmp_path):
    other = tmp_path / "README.md"
    other.write_text("A frame has <!-- results:value fidelity.psnr .2f -->?<!-- end --> dB.\n")
    assert update(weights, also=[other]) == [weights / "README.md", other]
    assert other.read_text() == "A frame has <!-- results:value fidelity.psnr .2f -->31.25<!-- end --> dB.\n"


def test_bad_folders_are_refused_and_nothing_is_changed(weights, evaluated, tmp_path, capsys):
    before = contents(weights)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="'.*empty' holds neither results.json nor ablation.json"):
        update(weights, [evaluated, empty])
    with pytest.raises(FileNotFoundError, match="There is no '.*README.md'"):
        update(empty, [evaluated])
    (evaluated / "results.json").write_text("{")
    with pytest.raises(ValueError, match="results.json is not JSON"):
        update(weights, [evaluated])
    (evaluated / "results.json").write_text("[]")
    with pytest.raises(ValueError, match="does not say how it was made"):
        update(weights, [evaluated])
    with pytest.raises(SystemExit):
        main([str(weights), "--from", str(evaluated)])
    assert "does not say how it was made" in capsys.readouterr().err
    assert contents(weights) == before
    (weights / "results.json").unlink()
    with pytest.raises(FileNotFoundError, match="There is no results.json"):
        update(weights)


def test_what_is_too_large_is_compressed_more_or_refused(weights, evaluated):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(evaluated / "sheet.png")
    sizes = [len(as_webp(evaluated / "sheet.png", quality)) for quality in (85, 75)]
    assert sizes[0] > sizes[1] + 3000
    room = SMALL - sizes[1] - 2000  # for the one in the middle, with the card and the results
    (weights / "tokenizer.json").write_bytes(bytes(room))
    (weights / "unet.safetensors").write_bytes(bytes(SMALL))  # not counted
    update(weights, [evaluated])
    assert (weights / "sheet.webp").stat().st_size == sizes[1]
    (weights / "tokenizer.json").write_bytes(bytes(SMALL))
    before = contents(weights)
    with pytest.raises(ValueError, match=r"bytes would lie beside the weights, 900,000 may"):
        update(weights, [evaluated])
    assert contents(weights) == before


def test_the_header_is_replaced_and_the_words_are_kept():
    text = "---\nlicense: mit\n---\n\n# Weights\n\nA line --- with dashes.\n\n---\n\nThe end.\n"
    made = card_text(text, Sources(MADE))
    assert made.split("\n---\n", 1)[1] == text.split("\n---\n", 1)[1]
    assert "license: apache-2.0" in front(made) and ModelCard(made).data.eval_results is None
    assert card_text(made, Sources(MADE)) == made
