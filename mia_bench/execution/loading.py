"""Loading what a plan names: a model on its device, and rows as latents and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.attacks import FeatureExtractor, NeedsBase
from mia_bench.config.schema import Evaluation, TrainerOptions
from mia_bench.data.source import Item
from mia_bench.planning.specs import ModelSpec
from mia_bench.storage import layout
from mia_bench.storage.artifacts import checked_manifest
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.distributed import local_rank
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    import torch

    from mia_bench.models import Model
    from mia_bench.planning.plan import Plan
    from mia_bench.target import Target
    from mia_bench.target.tensor_cache import TensorCache
    from mia_bench.training.batches import EncodedRows

# A smaller U-Net is trained sooner than its training is measured, and its operations do not keep
# every thread of a CPU busy.
SMALL_UNET_BYTES = 64 * 2**20


def load_model(plan: Plan, spec: ModelSpec, train: bool = False) -> Target:
    """A model of the plan, with the latent cache that all models of one image encoder share."""
    return _load(plan, plan.models.model_of(spec), spec, train)


def load_untrained(plan: Plan, spec: ModelSpec) -> Target:
    """What a model of the plan is before its training: the base, or random weights of its own."""
    from mia_bench.models import StartsUntrained

    model = plan.models.model_of(plan.base)
    if isinstance(model, StartsUntrained):
        model = model.initialised_for(spec.kind)
    return _load(plan, model, plan.base, train=True)


def _load(plan: Plan, model: Model, spec: ModelSpec, train: bool) -> Target:
    options = plan.experiment.options
    latents = latent_cache(plan.folder(layout.CACHE_FOLDER), model, options.paths.cache_gb)
    return load_target(model, spec, latents, options.eval.seed, train)


def scoring_model(plan: Plan, spec: ModelSpec) -> AbstractContextManager[Target]:
    """A model of the plan, as `scoring` prepares it."""
    options, cache = plan.experiment.options, plan.folder(layout.CACHE_FOLDER)
    target, dtype = load_model(plan, spec), options.eval.dtype
    target.generated = generation_cache(cache, spec, dtype, options.paths.cache_gb)
    return scoring(target, options.trainer, dtype, cache)


@contextmanager
def with_base(
    plan: Plan, spec: ModelSpec, target: Target, attacks: Sequence[FeatureExtractor]
) -> Iterator[None]:
    """The base of the plan beside `target`, where one of `attacks` queries both."""
    needed = any(isinstance(attack, NeedsBase) and attack.needs_base for attack in attacks)
    if not needed or spec.key == plan.base.key:
        yield
        return
    with scoring_model(plan, plan.base) as base:
        target.put_beside(base)
        yield


def latent_cache(folder: Path, model: Model, gigabytes: float | None) -> TensorCache:
    """Latents of the model's image encoder under `folder`; `gigabytes`: the limit, None for no."""
    return _latents(folder, model.encoder_hash(), gigabytes)


def generation_cache(
    folder: Path, spec: ModelSpec, dtype: str | None, gigabytes: float | None
) -> TensorCache:
    """Latents that a model generated in a precision, within the limit of all latents."""
    key = hash_key([spec.key, spec.where, dtype or "float32"])
    return _latents(folder, f"{layout.GENERATED}-{key}", gigabytes)


def _latents(folder: Path, name: str, gigabytes: float | None) -> TensorCache:
    from mia_bench.target.tensor_cache import TensorCache

    limit = None if gigabytes is None else int(gigabytes * 1e9)
    return TensorCache(folder / layout.LATENTS_FOLDER / name, limit)


def load_target(
    model: Model, spec: ModelSpec, latents: TensorCache, noise_seed: int, train: bool = False
) -> Target:
    """`model` with the weights of `spec`, on the CPU.

    Args:
        noise_seed: of the noise in queries, which is keyed by it and the sample id.
        train: load float32 weights whatever the precision of scores is.

    Raises:
        MiaError: the weights of the step were not saved, or have changed since.
    """
    import torch

    from mia_bench.utils.library_logging import silence_libraries

    silence_libraries()
    if spec.weights is not None and not spec.weights.is_dir():
        names = (path.name for path in spec.weights.parent.glob("*"))
        saved = sorted(int(name) for name in names if layout.is_step_number(name))
        raise MiaError(
            f"{spec.weights} was not saved: training may have stopped before. Saved steps: "
            f"{saved}; choose one with checkpoint=, or delete {spec.folder} to train it again."
        )
    if spec.weights is not None:
        checked_manifest(spec.folder, under=spec.weights)
    target = model.build(model.load_unet(spec.weights, train), noise_seed, latents)
    if train:
        target.predictor.dtype = torch.float32
    return target


@contextmanager
def scoring(
    target: Target, trainer: TrainerOptions, dtype: str | None, chunks: Path
) -> Iterator[Target]:
    """`target` on the device of the run, in the precision `dtype` and as fast as it can be.

    `chunks` is the folder that remembers how many rows a call takes best.
    """
    from mia_bench.target.chunk_tuning import chunk_context, remember, tuned_chunk
    from mia_bench.target.precision import scoring_in

    target.to(device_of(trainer))
    if trainer.compile is not None:
        target.compile_unet(trainer.compile)
    with scoring_in(dtype, target):
        key = chunk_context(target)
        if target.tunable:
            target.chunk = tuned_chunk(target, chunks)
        tuned = target.chunk
        yield target
    if target.tunable and target.chunk < tuned:  # memory did not suffice beside the attacks' own
        remember(chunks, key, target.chunk)


def device_of(trainer: TrainerOptions) -> torch.device:
    """Where work outside a Trainer runs: this process's GPU when the trainer would use one."""
    import torch

    if trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", local_rank() if trainer.ranks > 1 else 0)
    return torch.device("cpu")


def encode_rows(
    target: Target,
    items: Sequence[Item],
    resolution: int,
    options: Evaluation,
    trainer: TrainerOptions,
    label: str,
) -> EncodedRows:
    """Latents and text of `items`, on the CPU, through the latent cache.

    `target` is left on the device of the run.
    """
    import torch
    from tqdm import tqdm

    from mia_bench.data.pictures.loader import cut, loader
    from mia_bench.training.batches import EncodedRows

    target.to(device_of(trainer))
    latents = []
    batches = loader(cut(items, options.batch_size), resolution, trainer, target.store)
    for batch in tqdm(batches, desc=f"encode {label}", leave=False):
        latents.append(target.view(batch).z0.cpu())
        target.forget()
    cond = target.embed([item.own_caption for item in items], remember=False).to("cpu")
    return EncodedRows(tuple(item.sample_id for item in items), torch.cat(latents), cond)
