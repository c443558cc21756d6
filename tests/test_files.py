"""A file is the old one or the new one, whole."""

from pathlib import Path

import pytest

from fourdc_jax.files import read_json, write_atomically


@pytest.mark.parametrize("content", ["größer", b"\x00\xff"])
def test_text_and_bytes_replace_what_was_there(tmp_path, content):
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_read_and_anything_else_is_named(tmp_path):
    path = tmp_path / "values.json"
    path.write_text('{"a": [1, 2.5, null]}')
    assert read_json(path) == {"a": [1, 2.5, None]}
    for content in (b"", b"{", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"values.json is no JSON file"):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nowhere")
