"""A generative adversarial network of scores: a bar at a time, by convolutions over a grid of pitches and time.

Follows MidiNet (Yang et al. 2017) and MuseGAN (Dong et al. 2018): noise, the bar before, the chord, metre, mode and
style become a bar of melody, whose every column holds one of 61 pitches that begin, a note that goes on, or a rest.
Columns are drawn by the straight-through Gumbel estimator (Jang et al. 2017), so that their probabilities are those of
a policy that tokens can be sampled from; chords follow each other as they do in the training set. A GAN has no
likelihood. The discriminator stands in :mod:`wavegen.training.tasks.bar_gan`.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.music.models.base import ScoreModel, Tokens
from wavegen.music.tokens import (
    COUNTDOWN,
    HALVED,
    HIGHEST,
    LOWEST,
    METERS,
    MODES,
    QUALITIES,
    STYLES,
    Vocabulary,
    bar_ticks,
)

COLUMN = 3  # ticks: a sixteenth
COLUMNS = 32  # of which a bar of 7/4 takes 28
PITCHES = HIGHEST - LOWEST + 1
HOLD, REST, OUTSIDE = PITCHES, PITCHES + 1, PITCHES + 2  # rows below the pitches; the last: past the end of the bar
ROWS = 64
CHORDS = 12 * len(QUALITIES)
_BACKGROUND = 1e-3  # of the probability is spread evenly over all that may follow
_IMPOSSIBLE = -1e4

Grid = tuple[int, ...]
EMPTY: Grid = (OUTSIDE,) * COLUMNS


def columns_of(meter: str) -> int:
    """How many columns a bar takes."""
    return bar_ticks(meter) // COLUMN


def column_at(tick: int) -> int:
    """The column nearest to a tick; triplets share the grid of sixteenths."""
    return (2 * tick + COLUMN) // (2 * COLUMN)


@dataclass(frozen=True)
class BarGANConfig:
    """``channels`` of the convolutions, ``noise`` dimensions, ``condition`` channels of chord, metre, mode, style."""

    vocabulary: str = "tune"
    channels: int = 32
    noise: int = 32
    condition: int = 64

    def __post_init__(self) -> None:
        if self.vocabulary != "tune":
            raise InputError(f"BarGANConfig.vocabulary: the GAN writes tunes, not {self.vocabulary!r}")
        for name in ("channels", "noise", "condition"):
            if getattr(self, name) < 1:
                raise InputError(f"BarGANConfig.{name} must be positive, not {getattr(self, name)}")


class Bars(NamedTuple):
    """Bars and what they are conditioned on, all int64: grids (n, COLUMNS) of rows, the rest (n,)."""

    current: Tensor
    previous: Tensor
    chord: Tensor
    meter: Tensor
    mode: Tensor
    style: Tensor


@dataclass(frozen=True)
class Place:
    """Where in a tune we are, and its last two bars as grids. A value: ``after`` gives another."""

    style: int = 0
    meter: int = METERS.index("4/4")
    mode: int = 0
    bars: int = 0
    tick: int = 0
    chord: int = CHORDS  # the last one; CHORDS before any
    opening: int = CHORDS  # the one that the bar begins with
    changed: bool = False
    event: int = -1  # the row whose duration is due
    current: Grid = EMPTY
    previous: Grid = EMPTY

    def after(self, token: int, vocabulary: Vocabulary) -> "Place":
        """The place one token on."""
        family, value = vocabulary.families[token], int(vocabulary.values[token])
        if family == "Style":
            return replace(self, style=value)
        if family == "Meter":
            return replace(self, meter=value)
        if family == "Mode":
            return replace(self, mode=value)
        if family == "Bar":
            count = columns_of(METERS[self.meter])
            fresh = (REST,) * count + (OUTSIDE,) * (COLUMNS - count)
            return replace(
                self, bars=value, tick=0, opening=CHORDS, changed=False, previous=self.current, current=fresh
            )
        if family == "Chord":
            first = self.opening == CHORDS
            return replace(self, chord=value, opening=value if first else self.opening, changed=not first)
        if family == "Pitch":
            return replace(self, event=value - LOWEST)
        if family in ("Rest", "Tie"):
            return replace(self, event=REST if family == "Rest" else HOLD)
        if family == "Dur":
            begin, end = column_at(self.tick), min(column_at(self.tick + value), columns_of(METERS[self.meter]))
            held = REST if self.event == REST else HOLD
            filled = ((self.event,) + (held,) * (end - begin - 1)) if end > begin else ()
            grid = self.current[:begin] + filled + self.current[begin + len(filled) :]
            return replace(self, tick=self.tick + value, event=-1, current=grid)
        return self


def bars_of(sequences: Iterable[NDArray[np.int64]], vocabulary: Vocabulary) -> Bars:
    """All bars of tunes, each with the one before. InputError if there is none."""
    rows = []
    for tokens in sequences:
        place = Place()
        for token in [*tokens.tolist(), vocabulary.index("End")]:
            if place.opening != CHORDS and vocabulary.families[token] in ("Bar", "End"):
                rows.append((place.current, place.previous, place.opening, place.meter, place.mode, place.style))
                if vocabulary.families[token] == "End":
                    break
            place = place.after(token, vocabulary)
    if not rows:
        raise InputError("the tunes hold no bar")
    return Bars(*(torch.tensor(column) for column in zip(*rows, strict=True)))


@dataclass(frozen=True)
class GANState:
    """The place, the probabilities (ROWS, COLUMNS) of the bar's columns, and what decides the next bar's noise."""

    place: Place
    probabilities: NDArray[np.float64] | None = None
    digest: int = 0


class BarGAN(ScoreModel):
    """The generator. ``step`` reads its columns' probabilities as a policy over tokens.

    ``seed`` decides each bar's noise, together with the tokens before the bar.
    """

    config: BarGANConfig
    ends: Tensor
    chords: Tensor
    change: Tensor

    def __init__(self, config: BarGANConfig) -> None:
        super().__init__(config)
        c = config
        self.seed = 0
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, c.condition) for size in (CHORDS + 1, len(METERS), len(MODES), len(STYLES))
        )
        whole = c.noise + c.condition
        self.input = nn.Linear(whole, c.channels * 8 * 4)
        self.rows = nn.Linear(whole, ROWS)  # how likely each pitch is in the whole bar
        self.rhythm = nn.Linear(whole, 2 * COLUMNS)  # how likely each column goes on or rests
        sizes = (4, 8, 16)
        self.reading = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip((1, *sizes[:2]), sizes, strict=True)
        )
        self.writing = nn.ModuleList(
            nn.Conv2d(c.channels + known, c.channels, 3, padding=1) for known in (*reversed(sizes),)
        )
        self.output = nn.Conv2d(c.channels + 1, 1, 5, padding=2)
        self.register_buffer("ends", torch.tensor([columns_of(m) for m in METERS]), persistent=False)
        self.register_buffer("chords", torch.zeros(CHORDS + 1, CHORDS))  # log-probabilities after each, or at first
        self.register_buffer("change", torch.tensor(0.1))  # how often the chord changes in the middle of a bar

    def learn_chords(self, sequences: Iterable[NDArray[np.int64]]) -> None:
        """Count which chord follows which, and how often one changes within a bar."""
        v = self.vocabulary
        counts = torch.full((CHORDS + 1, CHORDS), 0.02)
        halved = changed = 0
        for tokens in sequences:
            place = Place()
            for token in tokens.tolist():
                if v.families[token] == "Chord":
                    counts[place.chord, int(v.values[token])] += 1
                    inside = place.opening != CHORDS
                    changed += inside
                    halved += not inside and METERS[place.meter] in HALVED
                place = place.after(token, v)
        self.chords.copy_((counts / counts.sum(1, keepdim=True)).log())
        self.change.fill_((changed + 0.1) / (halved + 1))

    def forward(self, noise: Tensor, bars: Bars) -> Tensor:
        """Logits (n, ROWS, COLUMNS) of each column's row, from noise (n, noise) and the condition of ``bars``."""
        tables = zip(self.embeddings, (bars.chord, bars.meter, bars.mode, bars.style), strict=True)
        condition = torch.stack([table(index) for table, index in tables]).sum(0)
        whole = torch.cat([noise, condition], 1)
        before = one_hot(bars.previous)[:, None]
        seen = [before]
        for layer in self.reading:
            seen.append(F.leaky_relu(layer(seen[-1]), 0.2))
        x = self.input(whole).view(len(noise), -1, 8, 4)
        for layer, known in zip(self.writing, reversed(seen[1:]), strict=True):
            x = F.leaky_relu(layer(torch.cat([x, known], 1)), 0.2)
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        logits: Tensor = self.output(torch.cat([x, before], 1))[:, 0] + self.rows(whole)[:, :, None]
        goes_on, rests = self.rhythm(whole).chunk(2, 1)
        added = torch.zeros_like(logits)
        added[:, HOLD], added[:, REST] = goes_on, rests
        past = torch.arange(COLUMNS, device=noise.device) >= self.ends[bars.meter][:, None]
        allowed = torch.ones_like(logits, dtype=torch.bool)
        allowed[:, OUTSIDE:] = False
        allowed = allowed & ~past[:, None]
        allowed[:, OUTSIDE] = past
        return (logits + added).float().masked_fill(~allowed, _IMPOSSIBLE)

    def draw(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Bars as one-hot columns (n, ROWS, COLUMNS), drawn by torch's own generator; gradients go straight through."""
        return F.gumbel_softmax(logits, temperature, hard=True, dim=1)

    def log_prob(self, tokens: Tokens) -> Tensor:
        """InputError: there is no likelihood to give."""
        raise InputError("a GAN has no likelihood; judge it by what it writes")

    def start(self) -> GANState:
        return GANState(Place())

    @torch.no_grad()
    def step(self, state: GANState, token: int) -> tuple[Tensor, GANState]:
        v = self.vocabulary
        place = state.place.after(token, v)
        digest = zlib.crc32(int(token).to_bytes(4, "little"), state.digest)
        columns = state.probabilities
        if v.families[token] == "Chord" and not place.changed:
            columns = self._columns(place, digest)
        allowed = v.table[token]
        p = np.where(allowed, self._policy(place, token, columns), 0.0)
        even = allowed / allowed.sum()
        p = (1 - _BACKGROUND) * p / p.sum() + _BACKGROUND * even if p.sum() > 0 else even
        with np.errstate(divide="ignore"):
            return torch.from_numpy(np.log(p)), GANState(place, columns, digest)

    def _columns(self, place: Place, digest: int) -> NDArray[np.float64]:
        device = self.ends.device
        grids = (torch.tensor([grid], device=device) for grid in (place.current, place.previous))
        known = (torch.tensor([i], device=device) for i in (place.opening, place.meter, place.mode, place.style))
        generator = torch.Generator().manual_seed(zlib.crc32(b"%d %d" % (self.seed, digest)))
        noise = torch.randn(1, self.config.noise, generator=generator).to(device)
        found: NDArray[np.float64] = self(noise, Bars(*grids, *known))[0].double().softmax(0).cpu().numpy()
        return found

    def _policy(self, place: Place, token: int, columns: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """How likely each token is, up to a constant."""
        v = self.vocabulary
        family = v.families[token]
        p = np.zeros(v.size)
        ticks = bar_ticks(METERS[place.meter])
        if family == "Bar":
            p[v.family("Chord")] = self._next_chords(place)
        elif place.event >= 0 and columns is not None:
            self._add_durations(p, place, columns)
        elif family == "Dur" and place.tick >= ticks:
            if place.bars <= 1:
                p[v.index("End")] = 1.0
            else:
                p[v.index(f"Bar_{place.bars - 1}")] = 1.0
                if place.bars == COUNTDOWN:
                    p[v.index(f"Bar_{COUNTDOWN}")] = 1.0
        elif family in ("Dur", "Chord") and columns is not None:
            at = columns[:, min(column_at(place.tick), columns_of(METERS[place.meter]) - 1)]
            p[v.family("Pitch")] = at[:PITCHES]
            p[v.index("Rest")], p[v.index("Tie")] = at[REST], at[HOLD]
            if family == "Dur" and METERS[place.meter] in HALVED and 2 * place.tick == ticks and not place.changed:
                change = float(self.change)
                p[v.index("Tie")] = 0.0  # a tie stands at a bar's or chord's beginning only
                p *= (1 - change) / max(float(p.sum()), 1e-12)
                p[v.family("Chord")] = change * self._next_chords(place)
        return p

    def _next_chords(self, place: Place) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.chords[place.chord].double().softmax(0).cpu().numpy()
        return found

    def _add_durations(self, p: NDArray[np.float64], place: Place, columns: NDArray[np.float64]) -> None:
        """A note lasts until the first column that does not go on with it, or to the bar's end."""
        going = columns[REST if place.event == REST else HOLD]
        last = columns_of(METERS[place.meter])
        left = 1.0
        for end in range(column_at(place.tick) + 1, last + 1):
            stops = left * (1 - going[end]) if end < last else left
            left -= stops
            duration = COLUMN * end - place.tick
            if duration > 0:
                p[self.vocabulary.index(f"Dur_{duration}")] = stops


def one_hot(grids: Tensor) -> Tensor:
    """Grids (n, COLUMNS) of rows as (n, ROWS, COLUMNS)."""
    return F.one_hot(grids, ROWS).transpose(1, 2).float()
