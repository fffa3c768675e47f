"""The data directory is one server's at a time."""

from __future__ import annotations

import os

import pytest

from obsd.services.data_dir import DataDirError, DataDirLock


def test_a_second_lock_names_the_first_ones_process(tmp_path) -> None:
    first = DataDirLock.acquire(tmp_path / "made" / "here")
    with pytest.raises(DataDirError, match=rf"process {os.getpid()}\).*--data-dir"):
        DataDirLock.acquire(tmp_path / "made" / "here")
    first.release()
    DataDirLock.acquire(tmp_path / "made" / "here").release()


def test_a_directory_that_cannot_be_made_is_said(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="cannot use the data directory"):
        DataDirLock.acquire(tmp_path / "file" / "below")
