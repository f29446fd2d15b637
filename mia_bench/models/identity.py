"""What decides a model's answers besides its weights: configurations, tokenizers and the schedule.

Everything that a file says is part of the identity unless it is known not to matter, or says what
the builder would do without it. So formatting, the names of folders and the versions of libraries
change no key, and every option does. The networks that came first (Stable Diffusion 1, 2, XL and
the bundled one) are told by their widths, and what their own configurations say is what a key
without any of this stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mia_bench.models.weight_files import read_config
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

Config = dict[str, Any]
CROSS, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
IRRELEVANT = {  # names, versions, and what plays a part in training or in saving alone
    *("_class_name", "_diffusers_version", "_name_or_path", "_commit_hash", "architectures"),
    *("transformers_version", "dtype", "torch_dtype", "dropout", "attention_dropout"),
    *("initializer_factor", "initializer_range", "sample_size", "_use_default_values"),
}
DEFAULTS: dict[str, Config] = {  # of the builders' classes, where they are not null, false or zero
    "unet": {
        "flip_sin_to_cos": True,
        "down_block_types": [CROSS, CROSS, CROSS, "DownBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ["UpBlock2D", CROSS_UP, CROSS_UP, CROSS_UP],
        "layers_per_block": 2,
        "downsample_padding": 1,
        "mid_block_scale_factor": 1,
        "act_fn": "silu",
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
        "transformer_layers_per_block": 1,
        "attention_head_dim": 8,
        "resnet_time_scale_shift": "default",
        "resnet_out_scale_factor": 1.0,
        "time_embedding_type": "positional",
        "conv_in_kernel": 3,
        "conv_out_kernel": 3,
        "attention_type": "default",
        "addition_embed_type_num_heads": 64,
    },
    "vae": {
        "down_block_types": ["DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D"],
        "layers_per_block": 1,
        "act_fn": "silu",
        "norm_num_groups": 32,
        "use_quant_conv": True,
        "use_post_quant_conv": True,
        "mid_block_add_attention": True,
    },
    "text_encoder": {
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "eos_token_id": 49407,
        "model_type": "clip_text_model",
    },
    "tokenizer": {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 77,
        "do_lower_case": True,
        "errors": "replace",
        "tokenizer_class": "CLIPTokenizer",
        "backend": "tokenizers",
    },
}
LEFT_OUT = {  # widths, fixed by the weights, which are hashed; and what no answer depends on
    "unet": {
        *IRRELEVANT,
        *("block_out_channels", "cross_attention_dim", "in_channels", "out_channels"),
    },
    "vae": {
        *IRRELEVANT,
        *("block_out_channels", "latent_channels", "in_channels", "out_channels"),
        *("scaling_factor", "force_upcast"),  # in the key by itself; always float32 here
    },
    "text_encoder": {
        *IRRELEVANT,
        *("vocab_size", "hidden_size", "intermediate_size", "projection_dim"),
        *("max_position_embeddings", "bos_token_id", "pad_token_id"),
    },
    "tokenizer": {
        *IRRELEVANT,
        *("name_or_path", "special_tokens_map_file", "use_fast", "is_local", "local_files_only"),
        *("clean_up_tokenization_spaces", "processor_class"),
    },
}
FIRST: dict[str, dict[int, Config]] = {  # by width: what the first networks' configurations say
    "unet": {
        64: {
            "down_block_types": ["DownBlock2D", CROSS, CROSS],
            "up_block_types": [CROSS_UP, CROSS_UP, "UpBlock2D"],
            "layers_per_block": 1,
            "norm_num_groups": 16,
            "attention_head_dim": 4,
        },
        1024: {
            "attention_head_dim": [5, 10, 20, 20],
            "use_linear_projection": True,
            "upcast_attention": True,
        },
        2048: {
            "down_block_types": ["DownBlock2D", CROSS, CROSS],
            "up_block_types": [CROSS_UP, CROSS_UP, "UpBlock2D"],
            "attention_head_dim": [5, 10, 20],
            "transformer_layers_per_block": [1, 2, 10],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    },
    "vae": {
        64: {
            "down_block_types": ["DownEncoderBlock2D"] * 3,
            "up_block_types": ["UpDecoderBlock2D"] * 3,
            "norm_num_groups": 8,
        },
        512: {
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "layers_per_block": 2,
        },
    },
    "text_encoder": {
        64: {"num_hidden_layers": 2, "num_attention_heads": 4},
        768: {"num_attention_heads": 12},
        1024: {"num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"},
        1280: {"num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu"},
    },
    "tokenizer": {
        64: {"model_max_length": 32},
        1024: {"pad_token": "!"},
        1280: {"pad_token": "!"},
    },
}
VOCABULARY, MERGES = "1527f4f86924166d", "30542ae7143decf0"  # CLIP's, in either form of a tokenizer
RULES = "fa3a74cfdecd7f64"  # of tokenizer.json beside its vocabulary: how CLIP's splits a text
CLIP_TOKENS = ("<|startoftext|>", "<|endoftext|>", "!")
SPECIAL_TOKENS = {"49406": "<|startoftext|>", "49407": "<|endoftext|>"}


def dtype_key(dtype: str) -> Config:
    """What a precision of scores adds to a key: it decides answers, and float32, which a key
    without it stands for, adds nothing."""
    return {} if dtype == "float32" else {"dtype": dtype}


def network(place: Path, part: str) -> Config | None:
    """What the config.json in a network's folder says beyond the usual for such a `part`, or None:
    nothing, or it is not there."""
    path = place / "config.json"
    if not path.is_file():
        return None
    kind = "text_encoder" if part.startswith("text_encoder") else part
    config = read_config(path)
    config = config if kind == "text_encoder" else _as_built(config)
    if kind == "text_encoder" and config.get("vocab_size", 49408) == 49408:
        # 2 means the highest id of a text, which is 49407 in CLIP's vocabulary
        eos = config.get("eos_token_id", 49407)
        config["eos_token_id"] = 49407 if eos == 2 else eos
    return _unusual(kind, config, _width(kind, config))


def tokenizer(folder: Path, part: str, encoder: str) -> Config | None:
    """What a tokenizer's files say beyond the usual for the text encoder it is of, or None."""
    here = folder / part
    if not here.is_dir():
        return None
    config = folder / encoder / "config.json"
    width = _width("text_encoder", read_config(config)) if config.is_file() else 0
    read: Config = {}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):  # the later has the last word
        if (here / name).is_file():
            read |= {k: _token(v) for k, v in read_config(here / name).items()}
    if _contents(read.get("added_tokens_decoder")) == SPECIAL_TOKENS:
        del read["added_tokens_decoder"]
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"):
        if (path := here / name).is_file():
            stat = path.stat()
            read |= _words(path, stat.st_size, stat.st_mtime_ns)
    return _unusual("tokenizer", read, width)


def _as_built(config: Config) -> Config:
    """Without what diffusers notes as not said, and builds with its defaults."""
    silent = config.get("_use_default_values")
    silent = silent if isinstance(silent, list) else []
    return {key: value for key, value in config.items() if key not in silent}


def _width(kind: str, config: Mapping[str, Any]) -> int:
    key = {"unet": "cross_attention_dim", "text_encoder": "hidden_size"}.get(kind)
    width = config.get(key) if key else max(config.get("block_out_channels") or [0])
    return width if isinstance(width, int) else 0


def _unusual(kind: str, config: Mapping[str, Any], width: int) -> Config | None:
    """Options that are not at their defaults, or None where they are the first networks' own."""
    defaults, left_out = DEFAULTS[kind], LEFT_OUT[kind]
    options = {
        key: value
        for key, value in config.items()
        if key not in left_out
        and (value != defaults[key] if key in defaults else value not in (None, False, [], {}))
    }
    return None if options == FIRST[kind].get(width, {}) else options


def _token(value: Any) -> Any:
    """A special token of CLIP's that is written with its properties, all of them the usual ones."""
    if not isinstance(value, dict) or value.get("content") not in CLIP_TOKENS:
        return value
    plain = not any(value.get(flag) for flag in ("lstrip", "rstrip", "single_word"))
    return value["content"] if plain else value


def _contents(tokens: Any) -> dict[str, Any]:
    return {k: _token(v) for k, v in tokens.items()} if isinstance(tokens, dict) else {}


@cache
def _words(path: Path, _size: int, _mtime_ns: int) -> Config:
    """Hashes of a file with words or rules, under its name, where they are not CLIP's own."""
    if path.name == "merges.txt":
        lines = path.read_text(encoding="utf-8").split("\n")
        merges = [line for line in lines if line and not line.startswith("#version")]
        return _other(path.name, MERGES, merges)
    whole = read_config(path)
    if path.name == "vocab.json":
        return _other(path.name, VOCABULARY, whole)
    if path.name == "added_tokens.json":
        return {} if {str(v): k for k, v in whole.items()} == SPECIAL_TOKENS else {path.name: whole}
    model = whole.pop("model", None)
    if not isinstance(model, dict):
        raise MiaError(f"{path} is not the file of a tokenizer: it has no model.")
    words, merges = model.pop("vocab", None), model.pop("merges", None) or []
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]
    rules = {k: v for k, v in whole.items() if k not in ("version", "truncation", "padding")}
    return {
        **_other(f"{path.name}: words", VOCABULARY, words),
        **_other(f"{path.name}: merges", MERGES, merges),
        **_other(f"{path.name}: rules", RULES, [rules, model]),
    }


def _other(name: str, usual: str, value: Any) -> Config:
    digest = hash_key(value)
    return {} if digest == usual else {name: digest}
