"""DRC: degrade, restore, compare.

Paper: Fu et al., "Model Will Tell: Training Membership Inference for Diffusion Models",
arXiv 2403.08487.
Idea: when it restores a damaged image, the model's prior rebuilds members from memory.
    y = A x                               degrade: a hole (inpaint), fewer pixels (sr), gray
    x~ = restored by the target from y    null-space projection in S steps, see restoration.py
    s_task = similarity( decode(x~), decode(encode(x)) )    mean over masks and restorations
    score = mean over tasks of (s_task - mean) / std         mean, std of calibration non-members
    agree:  score = #{ tasks : s_task > tau_task }           tau_task at a fixed calibration FPR
Known latents are encoded from the image with its hole filled by the colour around it: hidden pixels
reach the comparison alone. There, both images went through the decoder, cropped to the hole, 1.2
times as wide.
Access: GREY_BOX. NFE: steps * n_restore * (n_mask per in-painting task, 1 per other task), 40 by
default; `sr` and `gray` also decode and encode at every step; six more with mask=caption.
Differs: to degrade, restore and compare is the paper's; every operational detail is our choice, as
neither its full text nor code could be had: sampler, steps, start, eta, mask ratio (0.3) and shape,
prompt (the caption, no guidance), averaging, aggregation and calibration.
Differs: the paper compares CLIP or face-recognition embeddings. The default `vae` is the cosine of
the target's own posterior means and needs no other model; `open_clip` and a `face_encoder` hook are
there, each to be listed in `measures`.
Differs: measures of the hidden pixels alone, of whole pictures, and of how far restorations differ
are in region_measures.py. `mask` may hide what matters in the picture: what a self-supervised
transformer attends to, as the paper is thought to (`self_attention`), what the caption is about to
the target itself (`caption`, attention_maps.py), or what stands out (saliency.py). In pixel space
nothing but the hole is hidden, and estimates of the clean image are clipped.
Differs: which face detector the paper uses is not known; `face_box` is a hook, for which
face_detection.py has scikit-image's frontal cascade (drc_face). Without it, or where it finds
nothing, the hole is where aligned faces have theirs; `face_found` records which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import (
    Access,
    Attack,
    Calibration,
    Features,
    Floats,
    later_field,
    moved_field,
    score_field,
)
from mia_bench.attacks.components.degradations import Task, require_blocks, side_of
from mia_bench.attacks.components.holes.attention_maps import (
    CAPTION_DRAWS,
    fetch_vision_transformer,
    mapped_timestep,
)
from mia_bench.attacks.components.holes.damages import HolePlacement, damages, faces
from mia_bench.attacks.components.holes.saliency import Saliency
from mia_bench.attacks.components.image_similarity import (
    MOVED_CALLABLES,
    SIGN,
    Compare,
    CropMeasure,
    Measure,
    RegionMeasure,
    comparison,
    crop,
    hook,
    require,
)
from mia_bench.attacks.components.region_measures import measure_region, pasted
from mia_bench.attacks.components.restoration import Damage, restoration_path, restore
from mia_bench.attacks.components.similarity_scores import (
    require_measured,
    standardised,
    vote_thresholds,
)
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class DRC:
    """Args:
    tasks: "inpaint:<ratio>", "sr:<factor>", "gray"; several are aggregated.
    place: where holes are; n_mask: positions averaged, where they are random.
    steps, start, eta: of the restoration; start < 1 begins at the noised degraded image.
    mask: what is hidden: a square, or the pixels that a map of saliency.py or attention_maps.py
        names, as many as the square would have; then `place` plays no role.
    mask_encoder: of mask=self_attention, folder or hub id of a vision transformer, as
        facebook/dino-vitb8.
    paste: known pixels of the original replace the restored ones before anything is compared.
    n_restore: restorations averaged; condition: the text they are conditioned on.
    measures: similarities computed and stored; compare: the one that scores.
    clip: open_clip "<model>/<pretrained tag>", or "local-dir:<folder>".
    face_box: dotted path, image (3, H, W) in [-1, 1] -> (left, top, width, height) or None.
    face_encoder: dotted path, images (B, 3, h, w) -> embeddings (B, d), for the measure `face`.
    aggregate: of tasks; agree_fpr: calibration FPR of each task's vote under "agree".
    """

    tasks: tuple[str, ...] = ("inpaint:0.3",)
    place: Literal["centre", "face", "random"] = "centre"
    n_mask: int = 1
    steps: int = 20
    start: float = 1.0
    eta: float = 0.85
    n_restore: int = 2
    condition: Literal["caption", "empty"] = "caption"
    measures: tuple[Measure, ...] = ("vae", "mse", "ssim")
    clip: str = "ViT-B-32/laion2b_s34b_b79k"
    face_box: str | None = moved_field(None, MOVED_CALLABLES)
    face_encoder: str | None = None
    mask: Literal["square", "self_attention", "caption", Saliency] = later_field("square")
    mask_encoder: str | None = later_field(None)
    paste: bool = later_field(False)
    compare: Literal[CropMeasure, RegionMeasure] = score_field("vae")
    aggregate: Literal["mean", "agree"] = score_field("mean")
    agree_fpr: float = score_field(0.05)
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks={list(self.tasks)}: at least one is needed, each once")
        parsed = self._tasks
        if min(self.steps, self.n_restore, self.n_mask) < 1:
            raise ValueError("steps, n_restore and n_mask must be at least 1")
        if not 0 < self.start <= 1 or not 0 <= self.eta <= 1 or not 0 < self.agree_fpr < 1:
            raise ValueError("start lies in (0, 1], eta in [0, 1] and agree_fpr in (0, 1)")
        require_measured(self.compare, self.measures)
        if self.n_mask > 1 and (
            self.place != "random" or all(task.kind != "inpaint" for task in parsed)
        ):
            raise ValueError(f"n_mask={self.n_mask} is for in-painting with place=random")
        if "spread" in self.measures and self.n_restore < 2:
            raise ValueError("measure spread compares restorations: n_restore must be at least 2")
        if self.mask != "square" and self.place != "centre":
            raise ValueError(f"mask={self.mask} says what is hidden: leave out place={self.place}")
        if (self.mask == "self_attention") != (self.mask_encoder is not None):
            raise ValueError("mask=self_attention and mask_encoder=<folder or hub id> go together")
        if "face" in self.measures and self.face_encoder is None:
            raise ValueError("measure face needs face_encoder=<dotted path of a callable>")

    @property
    def _tasks(self) -> list[Task]:
        return [Task.of(text) for text in self.tasks]

    @property
    def _holes(self) -> HolePlacement:
        where = self.place, self.n_mask, self.mask, self.mask_encoder, self.face_box
        return HolePlacement(*where, cache_name=f"drc{self.version}")

    @property
    def nfe(self) -> tuple[int, int]:
        holes = sum(task.kind == "inpaint" for task in self._tasks)
        masks = holes * self.n_mask + len(self.tasks) - holes
        maps = 2 * CAPTION_DRAWS if holes and self.needs_captions else 0
        return masks * self.n_restore * self.steps + maps, 0

    @property
    def needs_captions(self) -> bool:
        return self.mask == "caption"

    @property
    def encoder_names(self) -> tuple[str, ...]:
        compared = (self.clip,) if "open_clip" in self.measures else ()
        return compared if self.mask_encoder is None else (*compared, self.mask_encoder)

    def asks_at(self, schedule: int) -> Sequence[int]:
        path = restoration_path(schedule, self.steps, self.start)
        return [*path, mapped_timestep(schedule)] if self.needs_captions else path

    def check(self, schedule: int, resolution: int) -> None:
        """Raises MiaError where holes or blocks do not fit an image, or the path the schedule."""
        self.asks_at(schedule)
        for task in self._tasks:
            if task.kind == "inpaint":
                side_of(task.value, resolution, resolution)
            elif task.kind == "sr":
                require_blocks(task, resolution, resolution)

    def fetch(self) -> None:
        """Raises MiaError for a measure's weights or a hook that are not to be had."""
        for name in self.measures:
            require(name, self.clip, self.face_encoder)
        if self.face_box:
            hook(self.face_box, "face_box")
        if self.mask_encoder:
            fetch_vision_transformer(self.mask_encoder)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Each measure (B, tasks); with place=face also `face_found` (B, 1), 1 where a box was."""
        reference = target.decode(target.view(batch).z0)
        size, face = batch.image.shape[-1], self.face_encoder
        compares = {m: comparison(m, target, size, self.clip, face) for m in self._crop_measures}
        tasks = [self._measured(target, batch, task, reference, compares) for task in self._tasks]
        stacked = {
            str(name): torch.stack([values[name] for values in tasks], 1) for name in self.measures
        }
        if self.place == "face":
            stacked["face_found"] = faces(self._holes, batch)[1][:, None]
        return stacked

    def _measured(
        self,
        target: Target,
        batch: Batch,
        task: Task,
        reference: Tensor,
        compares: Mapping[CropMeasure, Compare],
    ) -> dict[str, Tensor]:
        """Each measure (B,) of one task, the mean over its masks and restorations."""
        values: dict[str, list[Tensor]] = {name: [] for name in self.measures}
        for k, damage in enumerate(damages(self._holes, target, batch, task)):
            original = crop(reference, damage.boxes)
            draws = range(k * self.n_restore, (k + 1) * self.n_restore)
            pictures = [self._restored(target, batch, damage, draw) for draw in draws]
            if self.paste:
                pictures = [pasted(picture, reference, damage.keep) for picture in pictures]
            for picture in pictures:
                restored = crop(picture, damage.boxes)
                for name, compare in compares.items():
                    values[name].append(compare(original, restored))
            for region in self._region_measures:
                value = measure_region(region, target, reference, pictures, damage.keep)
                values[region].append(value)
        return {name: torch.stack(several).mean(0) for name, several in values.items()}

    @torch.no_grad()
    def evidence(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """What the first restoration of each task looks like, each (B, 3, H, W) in [-1, 1].

        "degraded" and "restored"; of several tasks these follow the task's name. With `paste`,
        known pixels are those of the original: what differs was restored.
        """
        original = batch.image.to(target.device)
        images = {"original": original}
        for text, task in zip(self.tasks, self._tasks, strict=True):
            damage = next(damages(self._holes, target, batch, task))
            restored = self._restored(target, batch, damage, 0)
            if self.paste:
                restored = pasted(restored, original, damage.keep)
            name = f"{text} " if len(self.tasks) > 1 else ""
            images |= {f"{name}degraded": damage.degraded, f"{name}restored": restored}
        return images

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Mean of the tasks' z-scores, or the number of tasks that vote member."""
        values = self._similarity(features)
        if self.aggregate == "agree":
            votes = values > self._taus(calibration)
            return np.asarray(votes.sum(axis=1), dtype=np.float64)
        others = self._similarity(calibration.features)[~calibration.is_member]
        return np.asarray(standardised(values, others).mean(axis=1))

    def plain(self) -> tuple[str, Attack, str] | None:
        """Pixel error on the same pictures: semantic similarity must tell more than that."""
        if self.compare == "mse" or "mse" not in self.measures:
            return None
        claim = (
            "that semantic similarity tells members is untested offline (try compare=open_clip)"
            if self.compare == "vae"
            else f"{self.compare} does not tell members better than plain pixels here"
        )
        return "pixel error", replace(self, compare="mse"), f"They agree: {claim}."

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """The threshold of each task, where tasks vote."""
        if self.aggregate != "agree":
            return {}
        return dict(zip(self.tasks, self._taus(calibration).tolist(), strict=True))

    @property
    def _crop_measures(self) -> list[CropMeasure]:
        return [m for m in get_args(CropMeasure) if m in self.measures]

    @property
    def _region_measures(self) -> list[RegionMeasure]:
        return [m for m in get_args(RegionMeasure) if m in self.measures]

    def _similarity(self, features: Features) -> Floats:
        """(N, tasks), larger = more alike."""
        return SIGN[self.compare] * np.asarray(features[self.compare], dtype=np.float64)

    def _taus(self, calibration: Calibration) -> Floats:
        """(tasks,): at most agree_fpr of the calibration non-members lie above."""
        similarity = self._similarity(calibration.features)
        return vote_thresholds(similarity, calibration.is_member, self.agree_fpr)

    def _restored(self, target: Target, batch: Batch, damage: Damage, draw: int) -> Tensor:
        """x~ as an image (B, 3, H, W)."""
        null = self.condition == "empty"
        cond = target.null(batch) if null else target.embed(batch.caption)
        path = restoration_path(target.timesteps_with_signal, self.steps, self.start)
        begin = damage.begin if self.start < 1 else None
        z0 = restore(target, batch.sample_id, cond, damage.project, path, self.eta, draw, begin)
        return target.decode(z0)
