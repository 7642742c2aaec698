"""The GIF studio interrupted: clicks while it works, at the very moments that matter, and an error while showing."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager

import pytest

from pix2gif_lite.sliders import panel
from pix2gif_lite.sliders.studio import Studio
from pix2gif_lite.widgets import GifStudio


@pytest.fixture
def scene(pipe):
    """A studio with its first GIF, whose caption has only words that the tiny tokenizer knows."""
    studio = GifStudio(Studio(pipe, scenes=1)).wait()
    studio.caption.value = "a a a"
    assert studio.wait().error == ""
    return studio


@pytest.fixture
def said(scene):
    """Every sentence of the status line, in order."""
    sentences = []
    scene.status.observe(lambda change: sentences.append(re.sub("<[^>]+>", "", change["new"])), names="value")
    return sentences


@contextmanager
def held(studio, words):
    """Whoever says these words stands still there until the block ends: yields an event that is set by then."""
    there, go = threading.Event(), threading.Event()

    def hold(change):
        if words in change["new"]:
            there.set()
            assert go.wait(60)

    studio.status.observe(hold, names="value")
    try:
        yield there
    finally:
        go.set()
        studio.status.unobserve(hold, names="value")


def test_a_second_click_while_busy_changes_nothing(scene, said):
    with held(scene, "step 1 of 40") as there:
        scene.how["steps"].value = 40
        assert there.wait(60) and scene.make.disabled and not scene.stop.disabled
        scene.make.click()  # one that was on its way
        scene.make.click()
    assert scene.wait().error == "" and scene.made.request.steps == 40
    assert "Still at work: wait for it, or press Stop." in said
    assert sum(sentence.startswith("step 1 of 40") for sentence in said) == 1
    assert not scene.make.disabled and scene.stop.disabled


def test_stop_stops_and_make_starts_again(scene, said):
    last = scene.made
    with held(scene, "step 3 of 100") as there:
        scene.how["steps"].value = 100
        assert there.wait(60) and 0 < scene.progress.value < 1
        scene.stop.click()
        assert said[-1] == "stopping after this step"
    scene.wait()
    assert scene.made is last and "the last GIF" in scene.view.value and scene.progress.value == 0
    assert said[-1] == "stopped: Make starts it again" and scene.error == ""
    assert not any("step 4 of 100" in sentence for sentence in said)
    assert scene.make.disabled is False and scene.stop.disabled is True
    scene.stop.click()  # nothing to stop
    assert said[-1] == "stopped: Make starts it again"
    scene.make.click()
    assert scene.wait().made.request.steps == 100


def test_stop_clicked_as_the_work_ends_does_not_leave_the_page_stopping(scene, said):
    with held(scene, "made in") as there:
        scene.motion.value = 17
        assert there.wait(60)
        scene.stop.click()  # the worker has said its last sentence and is not idle yet
        assert said[-1] == "stopping after this step"
    assert max(scene.wait().made.request.motions) == 17
    assert said[-1] == "Nothing is left to stop: Make starts it again."


def test_an_error_while_showing_is_one_sentence_and_the_last_gif_is_shown_again(scene, monkeypatch):
    last, details = scene.made, panel.details

    def broken(made):
        if made is not last:
            raise RuntimeError("out of paint")
        return details(made)

    monkeypatch.setattr(panel, "details", broken)
    scene.motion.value = 19
    assert scene.wait().error == "out of paint" and scene.made is last and "the last GIF" in scene.view.value
    monkeypatch.undo()
    scene.make.click()
    assert scene.wait().error == "" and max(scene.made.request.motions) == 19
