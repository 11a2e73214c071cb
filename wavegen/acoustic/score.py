"""Score → mel: every note's own spectrum, summed as power, then a Transformer over the frames of the sum.

What a note sounds like depends on its instrument, pitch, velocity and time; that is learned for the single note, so
that any chord follows. Half of it is a spectrum over the bands, half one over frequencies relative to the fundamental,
where the partials of all pitches lie alike, so that a pitch is also learned from its neighbours. What notes do to each
other (beats between close partials, a hi-hat that is choked, the blur of an onset) is learned by the Transformer with
local attention, whose correction is added to the summed log-mel. The additive part follows the idea of differentiable
additive synthesis (Engel et al. 2020, DDSP) in the mel domain; the Transformer is that of
:mod:`wavegen.nn.transformer`, with attention limited to ``reach`` frames, so that a long score is rendered in spans
that equal the whole.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.acoustic.rolls import DRUM_KINDS, INSTRUMENTS, KINDS, Part, Sounding
from wavegen.audio.features import FeatureSpec, mel_edges
from wavegen.errors import InputError
from wavegen.nn.convnext import ConvNeXtBlock
from wavegen.nn.transformer import SelfAttention

DECAYS = (1.0, 3.0, 8.0, 20.0, 60.0, 200.0, 600.0)  # frames
RAMP = (-5, 10)  # frames around an onset or end that have a place of their own
SPAN = 512  # frames rendered at a time
BELOW, ABOVE, STEPS = 2, 7, 24  # octaves of the relative spectrum under and over the fundamental; steps of an octave


@dataclass(frozen=True)
class ScoreTransformerConfig:
    """``width`` and ``depth`` of the network of single notes; ``channels``, ``layers`` of the Transformer over frames.

    ``fonts`` is how many sets of instruments (SoundFonts) it was trained on; the first is the default.
    """

    width: int = 384
    depth: int = 2
    embedding: int = 96
    channels: int = 192
    hidden: int = 512
    layers: int = 3
    heads: int = 2
    kernel: int = 7
    reach: int = 48
    fonts: int = 2

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise InputError(f"ScoreTransformerConfig.{name} must be positive, not {value}")
        if self.channels % self.heads or self.kernel % 2 == 0:
            raise InputError("ScoreTransformerConfig: channels must be a multiple of heads, and kernel odd")


class NoteSpectrum(nn.Module):
    """One note in one frame → its log-magnitude in every mel band: (pairs,) fields → (pairs, bands)."""

    ramp: Tensor
    decays: Tensor
    place: Tensor
    between: Tensor

    def __init__(self, config: ScoreTransformerConfig, spec: FeatureSpec) -> None:
        super().__init__()
        c = config
        self.instrument = nn.Embedding(INSTRUMENTS, c.embedding)
        self.kind = nn.Embedding(KINDS, c.embedding)
        self.font = nn.Embedding(c.fonts, c.embedding)
        self.instrument_gate = nn.Embedding(INSTRUMENTS, c.width)
        self.kind_gate = nn.Embedding(KINDS, c.width)
        for table in (self.instrument, self.kind, self.font):
            nn.init.normal_(table.weight, std=1.0)
        for table in (self.instrument_gate, self.kind_gate):
            nn.init.normal_(table.weight, mean=1.0, std=0.3)
        self.register_buffer("ramp", torch.arange(RAMP[0], RAMP[1] + 1).float(), persistent=False)
        self.register_buffer("decays", torch.tensor(DECAYS), persistent=False)
        features = 2 * (len(self.ramp) + len(DECAYS)) + 4
        self.input = nn.Linear(3 * c.embedding + features, c.width)
        self.expand = nn.ModuleList(nn.Linear(c.width, c.width) for _ in range(c.depth))
        self.norms = nn.ModuleList(nn.LayerNorm(c.width) for _ in range(c.depth))
        self.project = nn.ModuleList(nn.Linear(c.width, c.width) for _ in range(c.depth))
        self.output = nn.Linear(c.width, spec.bands)
        self.relative = nn.Linear(c.width, (BELOW + ABOVE) * STEPS + 1)  # the last is heard outside, and in drums
        for layer, bias in ((self.output, -5.0), (self.relative, 0.0)):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.constant_(layer.bias, bias)
        place = self._places(spec)
        self.register_buffer("place", place.floor().long(), persistent=False)
        self.register_buffer("between", (place - place.floor()).float(), persistent=False)

    @staticmethod
    def _places(spec: FeatureSpec) -> Tensor:
        """Where every kind of note has each band's centre in its relative spectrum: (kinds, bands), fractional."""
        kind = torch.arange(KINDS, dtype=torch.float64)[:, None]
        fundamental = 440.0 * 2.0 ** ((kind - 69.0) / 12.0)
        last = (BELOW + ABOVE) * STEPS
        place = (torch.log2(mel_edges(spec)[1:-1] / fundamental) + BELOW) * STEPS
        return torch.where((place < 0) | (place > last - 1) | (kind >= DRUM_KINDS), float(last), place)

    def forward(self, notes: Sounding, font: Tensor) -> Tensor:
        instrument = self.instrument(notes.instrument)
        kind = self.kind(notes.kind)
        x = torch.cat([instrument, kind, self.font(font), self._features(notes)], dim=-1)
        x = self.input(x) * self.instrument_gate(notes.instrument) * self.kind_gate(notes.kind)
        for expand, norm, project in zip(self.expand, self.norms, self.project, strict=True):
            x = x + project(F.gelu(expand(norm(x))))
        x = F.gelu(x)
        absolute: Tensor = self.output(x).float()
        relative = F.pad(self.relative(x).float(), (0, 1))
        place, between = self.place[notes.kind], self.between[notes.kind]
        low, high = relative.gather(1, place), relative.gather(1, place + 1)
        return absolute + low + between * (high - low)

    def _features(self, notes: Sounding) -> Tensor:
        """Velocity and time: places around onset and end, interpolated, and exponential decays from both."""
        parts = []
        for time in (notes.age, notes.over):
            held = time.clamp(RAMP[0], RAMP[1])
            parts.append((1 - (held[:, None] - self.ramp).abs()).clamp(min=0))
            parts.append(torch.exp(-time.clamp(min=0)[:, None] / self.decays))
        v = notes.velocity
        length = torch.log((notes.age - notes.over).clamp(min=1)) / 4
        parts.append(torch.stack([v, v.square(), torch.log(v), length], dim=-1))
        return torch.cat(parts, dim=-1)


class ScoreTransformer(nn.Module):
    """The acoustic model of scores: one part at a time, :class:`wavegen.acoustic.rolls.Part` → mel."""

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: ScoreTransformerConfig, spec: FeatureSpec) -> None:
        super().__init__()
        if spec.log != "ln" or spec.mean is not None or spec.scale != 1.0 or spec.offset != 0.0:
            raise InputError("ScoreTransformer needs a FeatureSpec of natural logarithms without further scaling")
        self.config, self.spec = config, spec
        c = config
        self.notes = NoteSpectrum(c, spec)
        self.input = nn.Linear(spec.bands, c.channels)
        self.attention = nn.ModuleList(SelfAttention(c.channels, c.heads) for _ in range(c.layers))
        self.convolution = nn.ModuleList(
            ConvNeXtBlock(c.channels, c.hidden, c.kernel, scale=1.0 / c.layers) for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(c.channels)
        self.output = nn.Linear(c.channels, spec.bands)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.register_buffer("mel_mean", torch.zeros(spec.bands))
        self.register_buffer("mel_std", torch.ones(spec.bands))
        self.context = c.layers * (c.reach + c.kernel // 2)

    def forward(self, notes: Sounding, font: Tensor, items: int, frames: int) -> Tensor:
        """Pairs of items of equally many frames, numbered through, ``font`` (pairs,) → (items, bands, frames)."""
        base = self.base(notes, font, items, frames)
        return base + self.correction(base)

    def base(self, notes: Sounding, font: Tensor, items: int, frames: int) -> Tensor:
        """The sum of the notes' power spectra, as log-mel (items, bands, frames)."""
        floor = self.spec.floor
        power = torch.full((items * frames, self.spec.bands), floor**2, device=font.device)
        if len(notes):
            logs = self.notes(notes, font).clamp(max=8.0)
            power = power.index_add(0, notes.frame, torch.exp(2 * logs))
        return 0.5 * torch.log(power).view(items, frames, -1).transpose(1, 2)

    def correction(self, base: Tensor) -> Tensor:
        """What the Transformer adds to a summed log-mel (items, bands, frames)."""
        x = self.input((base.transpose(1, 2) - self.mel_mean) / self.mel_std)
        position = torch.arange(x.shape[1], device=x.device)
        distance = (position[:, None] - position[None]).abs()
        slopes = 2.0 ** -torch.linspace(2.0, 5.0, self.config.heads, device=x.device)
        bias = -slopes[:, None, None] * distance
        bias = bias.masked_fill(distance > self.config.reach, -1e9)[None]
        for attention, convolution in zip(self.attention, self.convolution, strict=True):
            x = attention(x, bias)
            x = convolution(x.transpose(1, 2)).transpose(1, 2)
        y: Tensor = self.output(self.norm(x)).transpose(1, 2)
        return y.float()

    @torch.inference_mode()
    def stream(self, part: Part, frames: int | None = None, font: int = 0, span: int = SPAN) -> Iterator[Tensor]:
        """The mel of a part, (1, bands, up to ``span`` frames) at a time, in all ``frames`` (default: until it has rung
        out). Spans put together equal the whole to rounding. InputError for a font that the model does not have.
        """
        if not 0 <= font < self.config.fonts:
            raise InputError(f"font: the model has fonts 0 to {self.config.fonts - 1}, not {font}")
        total = part.frames(self.spec) if frames is None else frames
        device = self.output.weight.device
        for first in range(0, total, span):
            count = min(span, total - first)
            low = max(0, first - self.context)
            high = min(total, first + count + self.context)
            notes = part.sounding(self.spec, low, high - low).to(device)
            chosen = torch.full((len(notes),), font, device=device)
            mel = self(notes, chosen, 1, high - low)
            yield mel[..., first - low : first - low + count].clamp(min=float(torch.log(torch.tensor(self.spec.floor))))

    def render(self, part: Part, frames: int | None = None, font: int = 0) -> Tensor:
        """The whole mel of a part, (1, bands, frames)."""
        return torch.cat(list(self.stream(part, frames, font)), dim=-1)
