from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage, build_tiny

_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def package_cache() -> Path:
    """Where Debian packages are kept between runs: `WIRT_TEST_CACHE`, else `.cache` in the repository."""
    return Path(os.environ.get("WIRT_TEST_CACHE", _REPOSITORY / ".cache")) / "packages"


@pytest.fixture(scope="session")
def tiny_image(package_cache: Path, tiny: TinyImage) -> TinyImage:
    """The tiny guest as apt has its parts today: of ``tiny``, which another pytest may be building, the newest."""
    return asyncio.run(build_tiny(package_cache.parent / "tiny", package_cache, lambda _what, _share: None))
