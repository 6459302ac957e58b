"""What is shipped to the browser stays small, and comes from this host alone."""

import gzip
import re

import pytest

from tests.browser.conftest import INDEX

SCRIPT_BYTES = 80_000  # gzip: a tablet on the plant's WLAN has it in a moment
STYLE_BYTES = 10_000


@pytest.fixture
def built() -> str:
    """The page that refers to everything else."""
    if not INDEX.exists():
        pytest.skip("the screen is not built: run `make install`")
    return INDEX.read_text()


@pytest.mark.parametrize(("suffix", "most"), [("js", SCRIPT_BYTES), ("css", STYLE_BYTES)])
def test_the_screen_is_small(built: str, suffix: str, most: int) -> None:
    files = list((INDEX.parent / "assets").glob(f"*.{suffix}"))
    assert files
    assert sum(len(gzip.compress(file.read_bytes(), 9)) for file in files) <= most


def test_the_page_names_nothing_elsewhere_and_nothing_inline(built: str) -> None:
    assert re.findall(r'(?:src|href)="(?!/)[^"]*"', built) == []
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|style=", built) == []
