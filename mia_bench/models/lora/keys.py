"""Which layer and which matrix every key of a LoRA's file means, whichever trainer wrote it.

Read are, with or without the name of an adapter in their keys:

    diffusers now       unet.<layer>.lora_A.weight, with peft's settings in the file's metadata
    one network's own   <layer>.lora_A.weight (`save_lora_adapter`), base_model.model.<layer>...
                        with adapter_config.json beside it (peft)
    diffusers in 2023   <layer>.to_q_lora.down.weight, <layer>.lora_linear_layer.down.weight
    kohya, LyCORIS      lora_unet_<layer with underscores>.lora_down.weight, .alpha, .dora_scale

Of transformers likewise, with transformer for unet. A key that cannot be read so is an error with
its name: nothing in a file is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mia_bench.utils.errors import MiaError

PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
KOHYA_PARTS = {  # by the start of a key; "unet" is the network that is trained, whatever its kind
    "lora_unet_": "unet",
    "lora_transformer_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
}
PATTERNS = (  # of keys; the first that matches says which layer, which matrix and which adapter
    re.compile(r"(?P<layer>.+)\.lora_(?P<kind>A|B)(\.(?P<adapter>[^.]+))?\.weight"),
    re.compile(
        r"(?P<layer>.+)\.lora_(?P<kind>magnitude)_vector(\.(?P<adapter>(?!weight$)[^.]+))?"
        r"(\.weight)?"
    ),
    re.compile(r"(?P<layer>.+)\.lora_(?P<kind>down|up)\.weight"),
    re.compile(r"(?P<layer>.+)\.(?P<kind>alpha|dora_scale)"),
    re.compile(r"(?P<layer>.+)(\.lora|\.lora_linear_layer|_lora)\.(?P<kind>down|up)\.weight"),
)
KINDS = {"A": "down", "B": "up", "dora_scale": "magnitude"}  # one word for each matrix
NOT_LOW_RANK = re.compile(r"\.(hada_|lokr_|oft_|boft_|glora_|diff$|diff_b$)")


def sorted_by_layer(
    file: Path, state: Mapping[str, Tensor], part: str, network: str
) -> tuple[dict[tuple[str, str], dict[str, Tensor]], set[str]]:
    """({(part, layer): {"down", "up", "alpha", "magnitude"}}, names of adapters)."""
    matrices: dict[tuple[str, str], dict[str, Tensor]] = {}
    adapters, strange = set(), []
    seen: dict[tuple[str, str, str], str] = {}  # (part, layer, matrix) -> its key
    twice: list[tuple[str, str, str]] = []
    for key, tensor in state.items():
        match = next((m for pattern in PATTERNS if (m := pattern.fullmatch(key))), None)
        if match is None:
            strange.append(key)
            continue
        named = match.groupdict()
        place = _place(named["layer"], part, network)
        if named["kind"] == "magnitude":
            tensor = tensor.flatten()  # peft's is one for each output, (1, outputs, 1, 1) at most
        kind = KINDS.get(named["kind"], named["kind"])
        slot = (place[0], place[1].replace(".", "_"), kind)
        if slot in seen:
            twice.append((f"the {kind} matrix of {place[1]}", seen[slot], key))
        seen[slot] = key
        matrices.setdefault(place, {})[kind] = tensor
        adapters |= {named["adapter"]} if named.get("adapter") else set()
    if other := [key for key in strange if NOT_LOW_RANK.search(key)]:
        raise MiaError(
            f"{file} does not hold a LoRA but another kind of adapter ({other[0]}). LoRA and DoRA "
            "are read; merge this one into the U-Net with the tool that wrote it."
        )
    if not any({"down", "up"} & kinds.keys() for kinds in matrices.values()):
        raise MiaError(f"{file} does not hold a LoRA: none of its {len(state)} tensors is one.")
    if strange:
        raise MiaError(
            f"{file} is a LoRA with {len(strange)} tensors that are none of its matrices, such as "
            f"{strange[0]}: they would be left out, so the file is not used."
        )
    if twice and len(adapters) < 2:
        what, first, second = twice[0]
        raise MiaError(
            f"{file} holds {what} twice, once as {first} and once as {second}: one of the two "
            "would be left out, so the file is not used."
        )
    return matrices, adapters


def _place(layer: str, part: str, network: str) -> tuple[str, str]:
    """(part, layer in that part's own words) from the layer in a key."""
    for prefix, kohya in KOHYA_PARTS.items():
        if layer.startswith(prefix):
            return network if kohya == "unet" else kohya, layer.removeprefix(prefix)
    layer = layer.removeprefix("base_model.model.")
    for name in PARTS:
        if layer.startswith(f"{name}."):
            part, layer = name, layer.removeprefix(f"{name}.")
    layer = layer.removeprefix("base_model.model.").replace(".processor.", ".")
    if not part:
        is_text = layer.startswith(("text_model.", "encoder.layers."))
        part = "text_encoder" if is_text else network
    if part in ("unet", "transformer"):
        return part, re.sub(r"\.to_out$", ".to_out.0", layer)
    return part, re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", layer)
