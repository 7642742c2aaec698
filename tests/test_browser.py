"""The first notebook in a real browser: JupyterLab on loopback, headless Chromium, the studio used by keyboard and mouse.

What was seen is kept as .ci/artifacts/browser-*.png. Every wait is for something to appear, never for a time to pass, and
patient enough for a machine that is busy with something else.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from pix2gif_lite.presets import SLIDERS

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install -e '.[test]'")
pytest.importorskip("jupyterlab", reason="JupyterLab is missing: pip install -e '.[notebooks]'")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt-get install chromium")

ROOT = Path(__file__).parent.parent
NOTEBOOK = "00_make_a_gif.ipynb"
ARTIFACTS = ROOT / ".ci" / "artifacts"
PATIENCE = 600  # s
QUIET = "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking"
QUIET += " --disable-component-update --disable-sync"
DEFAULT_FRAMES = int(SLIDERS["frames"].default)

WATCH = """() => {
    window.stages = [];
    window.pressed = 0;
    document.addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
    new MutationObserver(() => {
        const stage = document.querySelector(".pix2gif-studio img.pix2gif-stage");
        if (stage === null || window.stages.at(-1)?.src === stage.src) return;
        window.stages.push({src: stage.src, words: stage.parentElement.innerText, time: performance.now()});
    }).observe(document.querySelector(".pix2gif-studio"), {subtree: true, childList: true});
}"""  # every picture on the stage, when it came there, and when a key was last pressed


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The URL of a copy of the notebook in a JupyterLab of its own, whose kernel is this Python."""
    folder = tmp_path_factory.mktemp("jupyter")
    work = folder / "work"
    work.mkdir()
    notebook = json.loads((ROOT / "notebooks" / NOTEBOOK).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":  # stored outputs must not be taken for new ones
            cell.update(outputs=[], execution_count=None)
            cell["source"] = "".join(cell["source"]).replace('"lite-turbo"', '"lite"')  # as its text says: all sliders move
    (work / NOTEBOOK).write_text(json.dumps(notebook), encoding="utf-8")
    for name, values in {
        "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight are drawn too
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    own = {f"JUPYTER_{name}": str(folder / name.lower()) for name in names} | {"IPYTHONDIR": str(folder / "ipython")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
    own |= {"HF_HUB_OFFLINE": "1", "JUPYTER_PLATFORM_DIRS": "1"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--notebook-dir={work}"]
    options += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    log = folder / "log.txt"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | own, cwd=work, start_new_session=True)
    try:
        base, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"{base}/api?token={token}", timeout=10).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.5)  # between two questions
        yield f"{base}/lab/tree/{NOTEBOOK}?token={token}"
    finally:
        server.send_signal(signal.SIGTERM)  # it ends its kernels itself
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


class Browser:
    """The page with the executed notebook, and the studio on it."""

    def __init__(self, page) -> None:
        self.page, self.box = page, page.locator(".pix2gif-studio")
        self.status, self.measured = self.box.locator(".pix2gif-status"), self.box.locator(".pix2gif-measured")

    def slider(self, name: str):
        """The handle of a slider, to be focused and moved by keys."""
        return self.box.locator(f'.widget-hslider:has(.widget-label:text-is("{name}")) .noUi-handle')

    def press(self, name: str, *keys: str) -> None:
        self.slider(name).focus()
        for key in keys:
            self.page.keyboard.press(key)

    def gif(self, *code: str) -> bytes:
        """The bytes of the GIF on the stage, once the Python below it has all of these words: it changes last."""
        for words in code:
            playwright.expect(self.box.locator("pre")).to_contain_text(words)
        stage = self.box.locator('img.pix2gif-stage[src^="data:image/gif"]')
        playwright.expect(stage).to_be_visible()
        return base64.b64decode(stage.get_attribute("src").split(",")[1])

    def says(self, words: str | re.Pattern) -> None:
        playwright.expect(self.status).to_contain_text(words)

    def photograph(self, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.box.screenshot(path=ARTIFACTS / f"browser-{name}.png")


@pytest.fixture(scope="module")
def browser(address):
    with playwright.sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE * 1000)
        playwright.expect.set_options(timeout=PATIENCE * 1000)
        try:
            page.goto(address)
            page.get_by_text("| Idle").wait_for()  # the kernel is there
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            prompts = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.innerText.trim())"
            page.wait_for_function(f"{prompts}.every(text => /^\\[\\d+\\]:$/.test(text))")
            yield Browser(page)
        finally:
            ARTIFACTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=ARTIFACTS / "browser-page.png")  # the last state, also of a failure
            chromium.close()


@pytest.fixture
def studio(browser):
    """The studio as a reader finds it: a scene of the gallery, its own caption, motion 8, 1 step."""
    browser.box.locator(".pix2gif-gallery button").first.click()
    caption = browser.box.locator("select option").first.inner_text().split(":")[1].strip()
    browser.press("motion", "Home")
    browser.gif(caption, "motion=[0, 0,")  # no test leaves that behind: what is waited for next cannot be there already
    browser.press("motion", *["ArrowRight"] * 8)
    browser.gif(caption, ", 8], ", "steps=1")
    return browser


def test_every_cell_of_the_notebook_ran(browser):
    errors = browser.page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.all_inner_texts() == []
    assert "asked for 16 px, measured" in browser.page.locator(".jp-Notebook").inner_text()


def test_the_motion_slider_moved_by_keys_makes_another_gif_that_moves_more(studio):
    before, least = studio.gif(), float(studio.measured.inner_text())
    studio.press("motion", *["ArrowRight"] * 6)
    after = studio.gif("motion=[0, 2, 4, 6, 8, 10, 12, 14]")
    studio.photograph("motion")
    assert after != before and float(studio.measured.inner_text()) > 1.3 * least


def test_dragging_shows_the_models_frames_and_the_last_is_the_last_asked(studio):
    """What is on the stage while the slider moves, and how long the browser waits for it (kept as browser-live.json)."""
    studio.page.evaluate(WATCH)
    studio.press("motion", *["ArrowRight"] * 11)  # to 19, without a pause
    studio.gif(", 19], ")
    seen = studio.page.evaluate("window.stages")
    frames = [each for each in seen if each["src"].startswith("data:image/png")]
    motions = [float(re.search(r"the frame of (\S+) px, made in", each["words"])[1]) for each in frames]
    assert motions and motions == sorted(set(motions)) and motions[-1] == 19  # no place twice, none out of turn
    pictures = [Image.open(io.BytesIO(base64.b64decode(each["src"].split(",")[1]))) for each in frames]
    assert len({picture.tobytes() for picture in pictures}) == len(frames) and pictures[0].size == (256, 256)
    assert seen[-1]["src"].startswith("data:image/gif")
    made, whole = [], []
    for m, places in ((18, 1), (17, 1), (15, 2), (13, 2)):  # of 16 and 14 there are GIFs already, and those are shown at once
        studio.page.evaluate("window.stages = []")  # the way to 19 may have shown this place already
        studio.press("motion", *["ArrowLeft"] * places)
        studio.page.wait_for_function(f"window.stages.some(s => s.words.includes('the frame of {m} px'))")
        shown = next(s for s in studio.page.evaluate("window.stages") if f"the frame of {m} px" in s["words"])
        made.append(float(re.search(r"made in (\d+) ms", shown["words"])[1]))
        whole.append(shown["time"] - studio.page.evaluate("window.pressed"))
        studio.gif(f", {m}], ")
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    share = statistics.median(a - b for a, b in zip(whole, made, strict=True))
    record = {"whole_ms": round(statistics.median(whole)), "made_ms": statistics.median(made)}
    record |= {"browser_and_kernel_ms": round(share), "moves": len(made), "frames_dragged": motions}
    (ARTIFACTS / "browser-live.json").write_text(json.dumps(record) + "\n")
    assert all(a >= b for a, b in zip(whole, made, strict=True))
    studio.photograph("dragged")


def test_stop_ends_a_long_run_and_the_studio_stays_usable(studio):
    before = studio.gif()
    studio.box.get_by_text("Guidance and sampling").click()
    studio.press("steps", "End")
    studio.says(re.compile(r"step \d+ of 100, about \d+ s left"))
    studio.photograph("at-work")
    studio.box.get_by_role("button", name="Stop").click()
    studio.says("stopped")
    playwright.expect(studio.box.get_by_role("button", name="Make")).to_be_enabled()
    assert studio.gif() == before
    studio.photograph("stopped")
    studio.press("steps", "Home")
    assert studio.gif("steps=1,") == before
    studio.press("steps", "ArrowRight")
    assert studio.gif("steps=2,") != before
    studio.press("steps", "ArrowLeft")
    assert studio.gif("steps=1,") == before
    studio.box.get_by_text("Guidance and sampling").click()


def test_a_picture_is_uploaded_and_moves(studio, tmp_path):
    picture = tmp_path / "mine.png"
    scene = Image.open(ROOT / "pix2gif_lite" / "assets" / "example.png").convert("RGB")
    scene.resize((320, 240)).save(picture)
    upload(studio, picture)
    studio.says("Now say what moves in it")
    studio.photograph("uploaded")
    studio.box.get_by_role("button", name="a red balloon is rising").first.click()
    gif = Image.open(io.BytesIO(studio.gif("'a red balloon is rising'")))
    assert gif.size == (320, 240) and gif.n_frames == 2 * DEFAULT_FRAMES - 2
    studio.photograph("own-picture")


def test_a_text_file_named_png_is_refused_in_a_sentence(studio, tmp_path):
    before = studio.gif()
    (tmp_path / "notes.png").write_text("this is a text file")
    upload(studio, tmp_path / "notes.png")
    studio.says("'notes.png' is damaged or of an unknown kind")
    assert studio.gif() == before
    studio.photograph("refused")


def test_the_gif_and_the_mp4_are_downloaded(studio, tmp_path):
    shown = studio.gif()
    for kind in ("gif", "mp4"):
        with studio.page.expect_download() as download:
            studio.box.locator(f"a.pix2gif-{kind}").click()
        assert download.value.suggested_filename == f"pix2gif.{kind}"
        download.value.save_as(tmp_path / f"got.{kind}")
    assert (tmp_path / "got.gif").read_bytes() == shown
    gif = Image.open(tmp_path / "got.gif")
    assert gif.format == "GIF" and gif.n_frames == 2 * DEFAULT_FRAMES - 2  # there and back
    assert (tmp_path / "got.mp4").read_bytes()[4:8] == b"ftyp"


def upload(studio: Browser, path: Path) -> None:
    with studio.page.expect_file_chooser() as chooser:
        studio.box.locator(".widget-upload").click()
    chooser.value.set_files(path)
