"""How options of the command line are declared: their ranges from one table, a mistake as one sentence."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from ..presets import SLIDERS


class BadOption(ValueError):
    """An option that argparse refused, as a sentence."""


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one sentence and no page of usage."""

    def error(self, message: str) -> None:
        raise BadOption(f"{message[0].upper()}{message[1:]}: see {self.prog} --help.")


def number(name: str, low: float, high: float, whole: bool = False) -> Callable[[str], float]:
    """A converter for argparse: a number from low to high, an int where `whole`."""

    def convert(text: str) -> float:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:  # also true for NaN
            kind = "a whole number" if whole else "a number"
            raise argparse.ArgumentTypeError(f"{name} is {text!r}, give {kind} from {low:g} to {high:g}")
        return value

    return convert


def add_slider(
    group: argparse._ActionsContainer, flag: str, name: str, default: float | None, shown: str, meaning: str = ""
) -> None:
    """An option whose range and help (or another `meaning`) come from the table that the notebooks' sliders use."""
    slider = SLIDERS[name]
    whole = float(slider.step).is_integer() and name != "fps"
    unit = f" {slider.unit}" if slider.unit else ""
    low, high = (int(value) if float(value).is_integer() else value for value in (slider.minimum, slider.maximum))
    text = f"{meaning or slider.help}; {low}-{high}{unit} (default: {shown})"
    convert = number(name, slider.minimum, slider.maximum, whole)
    group.add_argument(flag, type=convert, default=default, metavar="N", help=text)


def add_device(group: argparse._ActionsContainer) -> None:
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, ... (default: auto)")
