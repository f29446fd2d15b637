"""Files of a diffusers directory: which hold a part's weights, their hashes, and loading them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mia_bench.storage.files import regular_file
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.serialization import is_pickle

WEIGHT_FILE_STEMS = ("diffusion_pytorch_model", "model")
NETWORKS = {  # part -> where its class is imported from, if nothing beside it says so
    "unet": "diffusers import UNet2DConditionModel",
    "vae": "diffusers import AutoencoderKL",
    "text_encoder": "transformers import CLIPTextModel",
    "text_encoder_2": "transformers import CLIPTextModelWithProjection",
}
MIN_REMEMBERED_BYTES = 32 * 2**20  # smaller files are remembered within the process alone
SETTLED_SECONDS = 2.0  # a clock of files may not have moved on before they change again

_small_hashes: dict[Path, tuple[tuple[int, ...], str]] = {}


def weights(folder: Path, part: str, variant: str | None = None) -> list[Path]:
    """The safetensors files of a part in their order: `variant` where it exists, else the plain.

    Raises:
        Missing: there are none, or only pickles, which are refused: loading one runs its code.
    """
    suffixes = [f".{variant}", ""] if variant else [""]
    for stem in WEIGHT_FILE_STEMS:
        for suffix in suffixes:
            if files := _named(folder / part, stem, suffix):
                return files
    here = folder / part
    raise Missing(
        f"no safetensors weights in {here}{_instead(here)}. Point model.path at a complete "
        "diffusers directory, or use model=tiny, which is part of the package."
    )


def _named(folder: Path, stem: str, suffix: str) -> list[Path]:
    """One file, or every shard that an index lists."""
    whole = folder / f"{stem}{suffix}.safetensors"
    if whole.is_file():
        return [whole]
    index = folder / f"{stem}.safetensors.index{suffix}.json"
    if not index.is_file():
        return []
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MiaError(f"{index} is not the index of a sharded model: {error}") from error
    shards = [folder / Path(name).name for name in sorted(set(listed))]
    if absent := [shard.name for shard in shards if not shard.is_file()]:
        raise Missing(
            f"{len(absent)} of {len(shards)} shards are missing in {folder}: {absent[0]}, ... "
            "The download may have stopped; fetch them again, or use model=tiny."
        )
    return shards


def _instead(folder: Path) -> str:
    """Files of other kinds or variants that are there instead."""
    if pickles := sorted(path.name for path in folder.glob("*") if is_pickle(path)):
        return (
            f"; found only pickles ({', '.join(pickles)}), which are programs and not loaded. "
            f"Where you trust them, convert them: {conversion(folder)}"
        )
    if others := sorted(path.name for path in folder.glob("*.safetensors")):
        word = others[0].split(".")[1]
        return f"; found {', '.join(others)} (model.variant={word}?)"
    return ""


def conversion(folder: Path) -> str:
    """The one command that makes safetensors of the pickles of a part, beside them."""
    kind = _imported(folder) or NETWORKS.get(folder.name, NETWORKS["unet"])
    variants = {path.name.split(".")[1] for path in folder.glob("*.*.bin") if is_pickle(path)}
    variant = f", variant='{min(variants)}'" if variants and not _plain_pickle(folder) else ""
    return (
        f'python -c "import sys; from {kind} as N; N.from_pretrained(sys.argv[1], '
        f'use_safetensors=False{variant}).save_pretrained(sys.argv[1])" {shlex.quote(str(folder))}'
    )


def _imported(folder: Path) -> str | None:
    """Where the class is imported from that model_index.json names for a part, or its own
    configuration."""
    named: Any = None
    with suppress(MiaError):
        named = read_config(folder.parent / "model_index.json").get(folder.name)
    if not (isinstance(named, list) and len(named) == 2):
        with suppress(MiaError):
            named = ["diffusers", read_config(folder / "config.json").get("_class_name")]
    library, kind = map(str, named or ("", ""))
    known = library in ("diffusers", "transformers") and kind.isidentifier() and kind != "None"
    return f"{library} import {kind}" if known else None


def _plain_pickle(folder: Path) -> bool:
    return any((folder / f"{stem}.bin").is_file() for stem in (*WEIGHT_FILE_STEMS, "pytorch_model"))


def contents(paths: Iterable[Path]) -> str:
    """One key for the content of several files, in their order; large ones are remembered."""
    return hash_key([remembered_hash(path) for path in paths])


def remembered_hash(path: Path) -> str:
    """The file's hash; of a large file it is kept in the user's cache for as long as it is valid.

    Kept by (file, size, mtime in ns). A file changed within the last seconds is not remembered,
    because its clock may not have moved on when it changes again. The hash of a small file is kept
    within the process: a sweep asks for the same weights in every job.
    """
    path = path.resolve()
    stat = path.stat()
    if stat.st_size < MIN_REMEMBERED_BYTES:
        return _small_hash(path, stat)
    stamp = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino]
    note = _notes() / f"{hashlib.blake2b(str(path).encode(), digest_size=12).hexdigest()}.json"
    try:
        remembered = json.loads(note.read_text(encoding="utf-8"))
        if remembered["stamp"] == stamp:
            return str(remembered["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    value = hash_file(path)
    if time.time() - stat.st_mtime > SETTLED_SECONDS:
        _write(note, json.dumps({"stamp": stamp, "hash": value}))
    return value


def _small_hash(path: Path, stat: os.stat_result) -> str:
    """The file's hash, read once for all calls in which nothing was written to the file."""
    stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    remembered = _small_hashes.get(path)
    if remembered is not None and remembered[0] == stamp:
        return remembered[1]
    value = hash_file(path)
    if time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED_SECONDS:
        _small_hashes[path] = stamp, value
    return value


def _notes() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mia_bench" / "hashes"


def _write(path: Path, text: str) -> None:
    """Best effort: without the note the file is hashed again."""
    partial = path.with_name(f"{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file of a model directory. Raises MiaError when it cannot be read."""
    try:
        config: dict[str, Any] = json.loads(regular_file(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MiaError(_no_config(path)) from error
    except (OSError, ValueError) as error:
        raise MiaError(
            f"cannot load {path}: {error}. Fetch it again, or use model=tiny."
        ) from error
    if not isinstance(config, dict):
        raise MiaError(f"cannot load {path}: it holds no JSON object. Fetch it again.")
    return config


def _no_config(path: Path) -> str:
    if path.name != "model_index.json":
        return f"cannot load {path}: it is not there. Fetch it again, or use model=tiny."
    files = sorted(file.name for file in path.parent.glob("*.safetensors"))
    instead = f", or one file of it, as {path.parent / files[0]}" if files else ""
    return (
        f"{path.parent} has no {path.name}, so it is no diffusers folder: give the one that "
        f"save_pretrained wrote{instead}."
    )


# old CLIP checkpoints hold the numbers 0 to 76, which the network makes itself
NO_WEIGHTS = re.compile(r"(.*\.)?position_ids")


UNREADABLE = (  # what a configuration with words or types of its own does to the libraries
    *(OSError, ValueError, RuntimeError),
    *(AttributeError, TypeError, KeyError, ImportError),
)


def load(kind: Any, folder: Path, exact: bool = False, **options: Any) -> Any:
    """`from_pretrained` on a local folder, with one clear error for files that cannot be read.

    `exact`: a network, of safetensors; tensors that are missing, of another shape or without a
    place in it are an error too, where the libraries make weights up or leave them out.
    """
    from safetensors import SafetensorError

    if exact:
        options |= {"use_safetensors": True, "output_loading_info": True}
    try:
        loaded = kind.from_pretrained(folder, local_files_only=True, **options)
    except (*UNREADABLE, SafetensorError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise MiaError(
            f"cannot load {folder}: {first} The file may be truncated or from "
            "another model; fetch it again, or use model=tiny."
        ) from error
    if not exact:
        return loaded
    network, info = loaded
    check_complete(
        folder,
        missing=[*info["missing_keys"], *(str(key) for key in info.get("mismatched_keys", ()))],
        unexpected=info["unexpected_keys"],
    )
    return network


def check_complete(where: Path, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Raises MiaError, with a name, for tensors that a network lacks or has no place for."""
    for tensors, trouble in ((missing, "are missing"), (unexpected, "have no place")):
        names = sorted(name for name in tensors if not NO_WEIGHTS.fullmatch(name))
        if names:
            raise MiaError(
                f"the weights in {where} are not those of the network that its config.json "
                f"describes: {len(names)} tensors {trouble}, such as {names[0]}. They are loaded "
                "exactly or not at all: fetch the folder again, or correct its config.json."
            )
