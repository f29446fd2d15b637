"""Pre-training pairs: emoji with a name, without skin tones, on white."""

from __future__ import annotations

import io
import tarfile

import pytest
from PIL import Image

from mia_bench.pretrain import corpus as corpus_module
from mia_bench.pretrain.corpus import load_corpus


def test_corpus_reads_named_untoned_pictures_only(tmp_path, monkeypatch):
    def picture(size) -> bytes:
        out = io.BytesIO()
        Image.new("RGBA", (size, size), (255, 0, 0, 128)).save(out, "PNG")
        return out.getvalue()

    with tarfile.open(tmp_path / "made-1.0.tgz", "w:gz") as tar:
        for name in ("1f34e.png", "1f44d-1f3ff.png", "notes.txt", "e000.png", "../1f34f.png"):
            data = picture(8)
            info = tarfile.TarInfo(f"package/img/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    monkeypatch.setattr(corpus_module, "SETS", {"made@1.0": "package/img"})
    corpus = load_corpus(tmp_path, 16)
    assert corpus.parts[0][0] == "red apple"
    assert len(corpus.parts) == 1
    assert corpus.images.shape == (1, 16, 16, 3)
    assert corpus.images[0, 0, 0].tolist() == pytest.approx([255, 127, 127], abs=1)


def test_without_npm_the_message_says_what_needs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="Pre-training needs the `npm` command"):
        load_corpus(tmp_path / "cache", 16)
