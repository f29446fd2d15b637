"""A network that writes down what it is told and returns what it is given to return."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Spy:
    """Args: `answer`, the first output of every call."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.told: dict[str, Any] = {}
        self.inputs: tuple[Any, ...] = ()

    def __call__(self, *inputs: Any, **told: Any) -> tuple[Any]:
        self.inputs, self.told = inputs, told
        return (self.answer,)


class SpyPipeline:
    """A pipeline whose encode_prompt returns `answer`."""

    def __init__(self, *answer: Any) -> None:
        self.answer = answer
        self.told: dict[str, Any] = {}

    def __call__(self, complex_human_instruction: tuple[str, ...] = ("Enhance:",)) -> Tensor:
        raise NotImplementedError(complex_human_instruction)

    def encode_prompt(self, captions: list[str], *rest: Any, **told: Any) -> tuple[Any, ...]:
        del rest
        self.told = told
        captions[0] = "written over"  # as Z-Image's does
        return self.answer
