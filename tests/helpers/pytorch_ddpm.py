"""The network of the pytorch-ddpm layout, written out: the reference for its checkpoints."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class TimeEmbedding(nn.Module):
    def __init__(self, steps, width, out):
        super().__init__()
        rates = torch.exp(-torch.arange(0, width, step=2) / width * math.log(10000))
        angles = torch.arange(steps).float()[:, None] * rates[None, :]
        table = torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).view(steps, width)
        self.timembedding = nn.Sequential(
            nn.Embedding.from_pretrained(table), nn.Linear(width, out), nn.SiLU(),
            nn.Linear(out, out),
        )  # fmt: skip

    def forward(self, t):
        return self.timembedding(t)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.group_norm = nn.GroupNorm(32, width)
        self.proj_q, self.proj_k = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.proj_v, self.proj = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x):
        B, C, H, W = x.shape
        h = self.group_norm(x)
        q, k, v = (p(h).flatten(2) for p in (self.proj_q, self.proj_k, self.proj_v))
        w = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / math.sqrt(C), dim=-1)
        return x + self.proj(torch.einsum("bij,bcj->bci", w, v).view(B, C, H, W))


class Residual(nn.Module):
    def __init__(self, wide_in, wide_out, time, attends):
        super().__init__()
        self.block1 = nn.Sequential(
            nn.GroupNorm(32, wide_in), nn.SiLU(), nn.Conv2d(wide_in, wide_out, 3, padding=1)
        )
        self.temb_proj = nn.Sequential(nn.SiLU(), nn.Linear(time, wide_out))
        self.block2 = nn.Sequential(
            nn.GroupNorm(32, wide_out), nn.SiLU(), nn.Dropout(0.1),
            nn.Conv2d(wide_out, wide_out, 3, padding=1),
        )  # fmt: skip
        same = wide_in == wide_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(wide_in, wide_out, 1)
        self.attn = Attention(wide_out) if attends else nn.Identity()

    def forward(self, x, temb):
        h = self.block1(x) + self.temb_proj(temb)[:, :, None, None]
        return self.attn(self.block2(h) + self.shortcut(x))


class Down(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.main = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x, temb):
        return self.main(x)


class Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.main = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x, temb):
        return self.main(F.interpolate(x, scale_factor=2, mode="nearest"))


class Network(nn.Module):
    """`multiples` of `width` per level, attention in the levels `attends`."""

    def __init__(self, steps=40, width=32, multiples=(1, 2), attends=(1,), blocks=2):
        super().__init__()
        time = width * 4
        self.time_embedding = TimeEmbedding(steps, width, time)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.downblocks, self.upblocks = nn.ModuleList(), nn.ModuleList()
        skips, now = [width], width
        for i, multiple in enumerate(multiples):
            for _ in range(blocks):
                self.downblocks.append(Residual(now, width * multiple, time, i in attends))
                now = width * multiple
                skips.append(now)
            if i < len(multiples) - 1:
                self.downblocks.append(Down(now))
                skips.append(now)
        self.middleblocks = nn.ModuleList(
            [Residual(now, now, time, True), Residual(now, now, time, False)]
        )
        for i, multiple in reversed(list(enumerate(multiples))):
            for _ in range(blocks + 1):
                joined = skips.pop() + now
                self.upblocks.append(Residual(joined, width * multiple, time, i in attends))
                now = width * multiple
            if i > 0:
                self.upblocks.append(Up(now))
        self.tail = nn.Sequential(nn.GroupNorm(32, now), nn.SiLU(), nn.Conv2d(now, 3, 3, padding=1))

    def forward(self, x, t):
        temb = self.time_embedding(t)
        h = self.head(x)
        skips = [h]
        for layer in self.downblocks:
            h = layer(h, temb)
            skips.append(h)
        for layer in self.middleblocks:
            h = layer(h, temb)
        for layer in self.upblocks:
            if isinstance(layer, Residual):
                h = torch.cat([h, skips.pop()], dim=1)
            h = layer(h, temb)
        return self.tail(h)
