"""The state folder's paths."""

from __future__ import annotations

from pathlib import Path

from labkit.config.state_folder import StateFolder


def test_every_path_is_its_own_and_nothing_is_made(tmp_path: Path) -> None:
    paths = vars(StateFolder(tmp_path / "state")).values()
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to(tmp_path / "state") for path in paths)
    assert not list(tmp_path.iterdir())
