"""A random open_clip model in a folder, as `open_clip` itself saves one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def small_open_clip(folder: Path) -> str:
    """Saves one that sees 32 px and reads CLIP's vocabulary; its name for open_clip."""
    import open_clip

    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    model = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = open_clip.CLIP(**model)
    save_file(dict(made.state_dict()), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"
