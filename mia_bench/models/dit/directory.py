"""What the configurations of a transformer's directory say, and what is refused in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.models.dit.family import TransformerFamily
from mia_bench.models.hub import BUNDLED
from mia_bench.models.identity import IRRELEVANT
from mia_bench.models.readers.parts import require_variant
from mia_bench.models.readers.pipeline_kinds import (
    architectures,
    check_classes,
    check_named_class,
    refuse_quantised,
    refuse_without_text,
)
from mia_bench.models.readers.refusals import refuse_eight_bits
from mia_bench.models.schedule import BETA_SCHEDULERS, read_schedule
from mia_bench.models.weight_files import contents, read_config, weights
from mia_bench.utils.errors import MiaError

OLDER_NAMES = {  # class -> what diffusers called it before, and the norm_type that tells it apart
    "PixArtTransformer2DModel": ("Transformer2DModel", "ada_norm_single"),
}
SHARED = "_shared"  # in model_index.json: part -> the package's model that holds it


@dataclass(frozen=True)
class TransformerDirectory:
    """A diffusers directory of a family.

    Args:
        folder: with model_index.json.
        path: as the user named the model, for messages.
        family: that the index names.
        variant: of the weight files.
    """

    folder: Path
    path: str
    family: TransformerFamily
    variant: str | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        return ("transformer", "vae", *self.family.encoders)

    def place(self, part: str) -> Path:
        """The folder of a part: the directory's own, or that of a model of the package which the
        index names under SHARED."""
        shared = self.index().get(SHARED) or {}
        name = str(shared.get(part)) if isinstance(shared, dict) else "None"
        own = self.folder / part
        return own if own.is_dir() or not name.isidentifier() else BUNDLED / name / part

    def config(self, part: str) -> dict[str, Any]:
        return read_config(self.place(part) / "config.json")

    def index(self) -> dict[str, Any]:
        return read_config(self.folder / "model_index.json")

    def scheduler(self) -> dict[str, Any]:
        return read_config(self.folder / "scheduler" / "scheduler_config.json")

    def betas(self) -> dict[str, Any]:
        """The scheduler's options, of a family that is not of flow matching."""
        return read_schedule(self.scheduler(), self.path)

    def weights(self, part: str) -> list[Path]:
        place = self.place(part)
        return weights(place.parent, place.name, self.variant)

    # --- identity ---------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Content of networks and tokenizers, and what their configurations decide."""
        return {
            "pipeline": self.family.pipeline,
            "weights": contents(file for part in self.networks for file in self.weights(part)),
            "configs": {part: self.relevant(part) for part in self.networks},
            "tokenizers": {part: contents(self._files(part)) for part in self.family.tokenizers},
        }

    def schedule_identity(self, sigma_floor: float) -> dict[str, Any]:
        """What decides levels: of flow matching the floor, for sigma = t / 1000 is fixed, and what
        the model's own sampler does, which generated images depend on."""
        if not self.family.flow:
            return dict(self.betas())
        config = {k: v for k, v in self.scheduler().items() if not k.startswith("_diffusers")}
        return {"sigma_floor": sigma_floor, "sampler": config}

    def relevant(self, part: str) -> dict[str, Any]:
        """A part's configuration without what changes no answer."""
        return {key: value for key, value in self.config(part).items() if key not in IRRELEVANT}

    def _files(self, tokenizer: str) -> list[Path]:
        return sorted(path for path in self.place(tokenizer).glob("*") if path.is_file())

    # --- checks -----------------------------------------------------------------------------------

    def check(self, guidance: float | None) -> None:
        """Everything that can be told wrong before weights are loaded. Raises MiaError."""
        from mia_bench.models.dit.scheduler import EULER, SOLVERS, check_flow

        family, index = self.family, self.index()
        for part in family.encoders:
            refuse_without_text(self.path, family.pipeline, part, self._is_there)
        scheduler = (EULER, *SOLVERS) if family.flow else BETA_SCHEDULERS
        transformers = (family.transformer, *self._older_name())
        classes = {"transformer": transformers, "vae": (family.vae,)}
        check_classes(index, {**classes, "scheduler": scheduler}, self.path)
        for part, names in classes.items():
            check_named_class(part, [self.config(part).get("_class_name")], names, self.path)
        for part in family.encoders:
            self._check_encoder(part)
        files = (self.weights(part)[0] for part in self.networks)
        places = [self.place(part) for part in self.networks]
        require_variant(self.variant, files, places, self.path)
        self._check_guidance(guidance)
        for part in self.networks:
            refuse_quantised(part, self.config(part), self.path)
            refuse_eight_bits(self.weights(part))
        if family.flow:
            check_flow(self.scheduler(), family, self.path)
        else:
            self.betas()

    def _is_there(self, part: str) -> bool:
        """Whether the index names a part that has a folder."""
        named = self.index().get(part)
        return isinstance(named, list) and bool(named and named[0]) and self.place(part).is_dir()

    def _older_name(self) -> tuple[str, ...]:
        """What diffusers called the class of this network when one class held several."""
        older, norm_type = OLDER_NAMES.get(self.family.transformer, ("", ""))
        return (older,) if self.config("transformer").get("norm_type") == norm_type else ()

    def _check_encoder(self, part: str) -> None:
        """The encoder's own config.json is of the kind of model that model_index.json names: of
        one kind, the classes have the same layers, and exact loading tells them apart.

        Raises MiaError for another kind.
        """
        kind = _model_type([*(self.index().get(part) or ()), None, None][1])
        if kind is None:
            return  # no class of transformers: refused where it is loaded
        config = self.config(part)
        check_named_class(part, [config.get("model_type")], (kind,), self.path)
        for name in architectures(config):
            check_named_class(part, [_model_type(name) or name], (kind,), self.path)

    def _check_guidance(self, guidance: float | None) -> None:
        distilled = bool(self.config("transformer").get("guidance_embeds"))
        if distilled and guidance is None:
            raise MiaError(
                f"{self.path} was distilled with guidance (guidance_embeds in "
                "transformer/config.json), which is an input of its network, and model.guidance is "
                "null: use model.guidance=1, the value it is fine-tuned at."
            )
        if not distilled and guidance is not None:
            raise MiaError(
                f"{self.path} takes no guidance as an input (no guidance_embeds in "
                f"transformer/config.json): model.guidance={guidance:g} would be ignored. Use "
                "model.guidance=null."
            )

    def latent_shape(self, resolution: int) -> tuple[int, int, int]:
        """(C, h, w). Raises MiaError where transformer and autoencoder do not go together."""
        family, units = self.family, self.family.units(self.config("vae"))
        takes = self.config("transformer").get("in_channels")
        expected = units.channels * (family.patch**2 if family.packed else 1)
        if takes is not None and takes != expected:
            raise MiaError(
                f"the transformer of {self.path} takes {takes} channels for latents of "
                f"{expected}: models that are given an image beside the text are not text-to-image "
                "targets."
            )
        multiple = units.shrink * family.patch
        if resolution < multiple or resolution % multiple:
            raise MiaError(f"model.resolution={resolution} must be a multiple of {multiple}.")
        side = resolution // units.shrink
        return units.channels, side, side

    def check_lengths(self, resolution: int, tokens: int | None = None) -> None:
        """Whether the transformer has positions for images of this size, and for captions of
        `tokens`, where it is not the pipeline's own number.

        Raises:
            MiaError: it has fewer, or as `latent_shape`.
        """
        side = self.latent_shape(resolution)[-1] // self.family.patch
        config, pixels = self.config("transformer"), resolution // side
        longest, *sides = config.get("axes_lens") or [None]
        most = config.get("pos_embed_max_size") or min(sides, default=side)
        if side > most:
            raise MiaError(
                f"model.resolution={resolution} is more than the {most} positions a side of the "
                f"transformer of {self.path}, of {pixels} pixels each: use at most "
                f"{most * pixels}."
            )
        if longest is not None and tokens is not None and tokens > longest:
            raise MiaError(
                f"captions of {tokens} tokens are longer than the {longest} positions of the "
                f"transformer of {self.path}: use model.tokens={longest} or less."
            )


def _model_type(name: Any) -> str | None:
    """The kind of model ("t5", "qwen3") that a class of transformers is of; None for no class."""
    import transformers

    kind = getattr(transformers, str(name), None)
    found = getattr(getattr(kind, "config_class", None), "model_type", None)
    return found if isinstance(found, str) else None
