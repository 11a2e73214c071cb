"""A variational autoencoder of scores: one latent vector for every two bars, or every 16 time steps of a roll.

A recurrent VAE in the manner of MusicVAE (Roberts et al. 2018): a bidirectional GRU reads a segment and says where its
latent z lies, p(z) = N(0, I); a GRU that starts anew from z, and from what a third GRU remembers of the segments
before, writes the segment. Word dropout (Bowman et al. 2016) and free bits (Kingma et al. 2016) keep z in use.

Given the tokens, segments depend on each other through what is remembered alone, so that the likelihood is a product
of one integral over z for each segment; ``elbo`` bounds it, ``importance`` estimates it.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from wavegen.errors import InputError
from wavegen.music.models.base import NeuralScoreModel, ScoreModel, TokenEmbedding, Tokens, Whereabouts

if TYPE_CHECKING:
    from wavegen.music.constraint import Constraint
    from wavegen.music.leadsheet import LeadSheet


@dataclass(frozen=True)
class ScoreVAEConfig:
    """Channels of embedded tokens, GRUs and z; a segment lasts ``bars`` bars (of tunes) or ``steps`` steps (of rolls).

    In training, ``word_dropout`` of the tokens the writer goes on from are hidden from it, ``dropout`` of what is
    remembered and written, and a segment's KL divergence costs nothing up to ``free`` nats. ``particles`` latents
    stand for the prior where the next token is asked for.
    """

    vocabulary: str = "tune"
    embedding: int = 64
    encoder: int = 128
    context: int = 128
    hidden: int = 256
    latent: int = 32
    bars: int = 2
    steps: int = 16
    word_dropout: float = 0.3
    dropout: float = 0.1
    free: float = 4.0
    particles: int = 32

    def __post_init__(self) -> None:
        for name in ("embedding", "encoder", "context", "hidden", "latent", "bars", "steps", "particles"):
            if getattr(self, name) < 1:
                raise InputError(f"ScoreVAEConfig.{name} must be positive, not {getattr(self, name)}")
        for name in ("word_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"ScoreVAEConfig.{name} must lie in [0, 1), not {getattr(self, name)}")
        if self.free < 0:
            raise InputError(f"ScoreVAEConfig.free must not be negative: {self.free}")


class ELBO(NamedTuple):
    """In nats: of every token after the first (n - 1,), and of every segment's latent, (segments, latent)."""

    reconstruction: Tensor
    divergence: Tensor
    total: float


class _Segments(NamedTuple):
    """All segments of a batch, padded: N segments of at most L tokens to go on from."""

    places: Tensor  # (N, L) of each input in the flattened batch of inputs; 0 where there is none
    inside: Tensor  # (N, L)
    inputs: Tensor  # (N, L) tokens
    targets: Tensor  # (N, L) the tokens after them
    embedded: Tensor  # (N, L, embedding) of the inputs
    memory: Tensor  # (N, context)
    mean: Tensor  # (N, latent)
    deviation: Tensor  # (N, latent)

    @property
    def divergence(self) -> Tensor:
        """KL(q || p) of each dimension, (N, latent)."""
        return 0.5 * (self.mean.square() + self.deviation.square() - 1) - self.deviation.log()


@dataclass(frozen=True)
class VAEState:
    """Where a generation stands; ``log_probs`` (particles, size) of the next token under each latent."""

    where: Whereabouts
    latents: Tensor | None  # (segments, latent) if they are given
    opened: int = 0  # bars or steps
    segment: int = -1
    digest: int = 0  # of the tokens so far: decides what is drawn from the prior
    memory: Tensor | None = None
    condition: Tensor | None = None
    hidden: Tensor | None = None
    weight: Tensor | None = None  # log-probability of the segment so far under each particle
    log_probs: Tensor | None = None


class ScoreVAE(NeuralScoreModel):
    """``log_prob`` is the evidence lower bound, token by token. ``step`` is an exact mixture over draws from the prior.

    ``seed`` decides those draws, together with the tokens before the segment.
    """

    config: ScoreVAEConfig

    def __init__(self, config: ScoreVAEConfig) -> None:
        super().__init__(config)
        c = config
        self.seed = 0
        self.embedding = TokenEmbedding(self.vocabulary, c.embedding)
        self.unknown = nn.Parameter(torch.zeros(c.embedding))
        self.reader = nn.GRU(c.embedding, c.encoder, batch_first=True, bidirectional=True)
        self.posterior = nn.Linear(2 * c.encoder, 2 * c.latent)
        self.rememberer = nn.GRU(c.embedding, c.context, batch_first=True)
        self.opening = nn.Linear(c.latent + c.context, c.hidden)
        self.writer = nn.GRU(c.embedding + c.latent + c.context, c.hidden, batch_first=True)
        self.dropout = nn.Dropout(c.dropout)
        self.output = nn.Linear(c.hidden, self.vocabulary.size)
        opens = self.vocabulary.family("Bar" if c.vocabulary == "tune" else "Step")
        self.register_buffer("opens", torch.from_numpy(opens), persistent=False)

    opens: Tensor

    def _number(self, opened: Tensor | int) -> Tensor | int:
        """The segment that a token belongs to which is written after so many bars or steps have been opened."""
        if self.vocabulary.kind == "tune":
            first = opened - 1
            return (first.clamp(min=0) if isinstance(first, Tensor) else max(first, 0)) // self.config.bars
        return opened // self.config.steps

    def _segments(self, tokens: Tensor, counts: Tensor) -> _Segments:
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        length = inputs.shape[1]
        inside = torch.arange(length, device=tokens.device) < (counts - 1)[:, None]
        number = self._number(self.opens[inputs].cumsum(-1))
        assert isinstance(number, Tensor)
        first = torch.ones_like(inside)
        first[:, 1:] = number[:, 1:] != number[:, :-1]
        places = inside.flatten().nonzero()[:, 0]
        begins = first.flatten()[places]
        which = begins.cumsum(0) - 1
        start = places[begins]
        offset = places - start[which]
        grid = torch.full((len(start), int(offset.max()) + 1), -1, device=tokens.device)
        grid[which, offset] = places
        live, grid = grid >= 0, grid.clamp(min=0)
        embedded = self.embedding(tokens)
        read = embedded[:, 1:].flatten(0, 1)[grid]
        packed = pack_padded_sequence(read, live.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        _, ends = self.reader(packed)
        mean, spread = self.posterior(torch.cat([ends[0], ends[1]], -1)).float().chunk(2, -1)
        memory, _ = self.rememberer(embedded[:, :-1])
        return _Segments(
            places=grid,
            inside=live,
            inputs=inputs.flatten()[grid],
            targets=targets.flatten()[grid],
            embedded=embedded[:, :-1].flatten(0, 1)[grid],
            memory=memory.flatten(0, 1)[start],
            mean=mean,
            deviation=torch.exp(0.5 * spread.clamp(-12, 6)),
        )

    def _written(self, segments: _Segments, z: Tensor) -> Tensor:
        """Log-probabilities (N, L, size) of the next token, given latents (N, latent)."""
        x = segments.embedded
        if self.training and self.config.word_dropout:
            hidden = torch.rand(x.shape[:2], device=x.device) < self.config.word_dropout
            x = torch.where(hidden[..., None], self.unknown, x)
        condition = torch.cat([z.to(x.dtype), self.dropout(segments.memory)], -1)
        every = condition[:, None].expand(-1, x.shape[1], -1)
        y, _ = self.writer(torch.cat([x, every], -1), torch.tanh(self.opening(condition))[None])
        return self.normalised(self.output(self.dropout(y)), segments.inputs)

    def _reconstruction(self, segments: _Segments, z: Tensor) -> Tensor:
        """Log-probabilities (N, L) of the tokens that stand there, 0 where there is none."""
        picked = self._written(segments, z).gather(-1, segments.targets[..., None])[..., 0]
        return torch.where(segments.inside, picked, 0.0)

    def _drawn(self, segments: _Segments, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(segments.mean.shape, generator=generator).to(segments.mean.device)
        return segments.mean + segments.deviation * noise

    def losses(self, tokens: Tensor, counts: Tensor) -> dict[str, Tensor]:
        """ "total" is minimised; "nll" the negative ELBO a token, "divergence" the KL a segment, in nats.

        Latents are drawn by torch's own generator in training, else from a fixed seed.
        """
        segments = self._segments(tokens, counts)
        z = self._drawn(segments, None if self.training else torch.Generator().manual_seed(0))
        reconstruction = -self._reconstruction(segments, z).sum()
        divergence = segments.divergence
        charged = len(divergence) * divergence.sum(1).mean().clamp(min=self.config.free)
        predicted = (counts - 1).sum()
        return {
            "total": (reconstruction + charged) / predicted,
            "nll": ((reconstruction + divergence.sum()) / predicted).detach(),
            "divergence": divergence.sum(1).mean().detach(),
        }

    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probabilities (batch, n, size) of the token after each of (batch, n), given the latents' expectations."""
        rows, length = tokens.shape
        filled = torch.cat([tokens, torch.full_like(tokens[:, :1], self.vocabulary.padding)], 1)
        segments = self._segments(filled, torch.full((rows,), length + 1, device=tokens.device))
        written = self._written(segments, segments.mean)
        found = torch.empty(rows * length, self.vocabulary.size, device=tokens.device)
        found[segments.places[segments.inside]] = written[segments.inside]
        return found.view(rows, length, -1)

    def nll(self, tokens: Tensor, counts: Tensor) -> Tensor:
        """The negative ELBO (batch, n - 1), in nats: a segment's divergence is charged to its first token."""
        segments = self._segments(tokens, counts)
        z = self._drawn(segments, torch.Generator().manual_seed(0))
        found = torch.zeros(tokens.shape[0] * (tokens.shape[1] - 1), device=tokens.device)
        found[segments.places[segments.inside]] = -self._reconstruction(segments, z)[segments.inside]
        found = found.index_add(0, segments.places[:, 0], segments.divergence.sum(1))
        return found.view(tokens.shape[0], -1)

    def log_prob(self, tokens: Tokens) -> Tensor:
        """The ELBO in nats of every token after the first, (n - 1,), with latents drawn once from a fixed seed."""
        row = self._row(tokens)
        return (
            -self.nll(row, torch.tensor([row.shape[1]], device=row.device))[0] if row.shape[1] > 1 else torch.zeros(0)
        )

    def _row(self, tokens: Tokens) -> Tensor:
        return torch.from_numpy(self.checked(tokens)).to(self.follow.device)[None]

    def _of(self, tokens: Tokens) -> _Segments:
        row = self._row(tokens)
        if row.shape[1] < 2:
            raise InputError("tokens: two or more are needed, for the first is given")
        return self._segments(row, torch.tensor([row.shape[1]], device=row.device))

    @torch.no_grad()
    def elbo(self, tokens: Tokens, samples: int = 1, seed: int = 0) -> ELBO:
        """The evidence lower bound, its expectation estimated with so many draws of the latents."""
        _require_positive("samples", samples)
        segments = self._of(tokens)
        generator = torch.Generator().manual_seed(seed)
        drawn = [self._reconstruction(segments, self._drawn(segments, generator)) for _ in range(samples)]
        reconstruction = torch.stack(drawn).mean(0)[segments.inside]
        divergence = segments.divergence
        total = float(reconstruction.double().sum() - divergence.double().sum())
        return ELBO(reconstruction, divergence, total)

    @torch.no_grad()
    def importance(self, tokens: Tokens, samples: int = 64, seed: int = 0) -> float:
        """The log-likelihood in nats of all tokens after the first, by importance sampling from the posterior.

        Its expectation lies between the ELBO and the log-likelihood, and nears the latter (Burda et al. 2016).
        """
        _require_positive("samples", samples)
        segments = self._of(tokens)
        generator = torch.Generator().manual_seed(seed)
        weights = []
        for _ in range(samples):
            z = self._drawn(segments, generator)
            away = (z - segments.mean) / segments.deviation
            ratio = 0.5 * (away.square() - z.square()) + segments.deviation.log()  # ln p(z) - ln q(z)
            weights.append(self._reconstruction(segments, z).double().sum(1) + ratio.double().sum(1))
        return float((torch.logsumexp(torch.stack(weights), 0) - math.log(samples)).sum())

    def start(self, latents: Tensor | None = None) -> VAEState:
        """Before any token. Segments take ``latents`` (segments, latent) as far as they go; further ones the prior."""
        if latents is not None and (latents.ndim != 2 or latents.shape[1] != self.config.latent):
            raise InputError(f"latents: expected (segments, {self.config.latent}), not {tuple(latents.shape)}")
        return VAEState(self.embedding.start(), latents)

    def step(self, state: VAEState, token: int) -> tuple[Tensor, VAEState]:
        """The next token's log-probabilities (size,): a mixture over latents, each weighed by how well it told so far.

        Over a segment they make up the logarithm of the mean probability of its tokens under those latents.
        """
        x, where = self.embedding.step(state.where, token)
        _, memory = self.rememberer(x, state.memory)
        opened = state.opened + int(self.opens[token])
        segment = int(self._number(opened))
        digest = zlib.crc32(int(token).to_bytes(4, "little"), state.digest)
        if segment != state.segment:
            z = self._latents(state.latents, segment, digest)
            condition = torch.cat([z, memory[0].expand(len(z), -1)], -1)
            hidden, weight = torch.tanh(self.opening(condition)), torch.zeros(len(z), device=z.device)
        else:
            assert state.condition is not None
            assert state.hidden is not None
            assert state.weight is not None
            assert state.log_probs is not None
            condition, hidden = state.condition, state.hidden
            weight = (state.weight + state.log_probs[:, token]).log_softmax(0)
        entering = torch.cat([x[0].expand(len(condition), -1), condition], -1)
        _, after = self.writer(entering[:, None], hidden[None])
        hidden = after[0]
        at = torch.full((len(hidden),), token, device=hidden.device)
        log_probs = self.normalised(self.output(self.dropout(hidden)), at)
        mixed = torch.logsumexp(weight.log_softmax(0)[:, None] + log_probs, 0)
        known = replace(state, where=where, opened=opened, segment=segment, digest=digest, memory=memory)
        return mixed, replace(known, condition=condition, hidden=hidden, weight=weight, log_probs=log_probs)

    def _latents(self, given: Tensor | None, segment: int, digest: int) -> Tensor:
        if given is not None and segment < len(given):
            return given[segment : segment + 1].to(self.unknown.device)
        generator = torch.Generator().manual_seed(zlib.crc32(b"%d %d" % (self.seed, digest)))
        return torch.randn(self.config.particles, self.config.latent, generator=generator).to(self.unknown.device)

    @torch.no_grad()
    def encode(self, tune: "LeadSheet | Tokens") -> Tensor:
        """The posterior's expectations (segments, latent) for a lead sheet, or for tokens."""
        return self._of(_tokens_of(tune)).mean

    @torch.no_grad()
    def decode(
        self,
        latents: Tensor,
        constraint: "Constraint",
        *,
        temperature: float = 0.0,
        generator: np.random.Generator | None = None,
    ) -> list[int]:
        """Tokens written from latents (segments, latent) inside a plan; at temperature 0 the likeliest, one by one."""
        from wavegen.music.sampling import sample

        chance = generator or np.random.default_rng(self.seed)
        return sample(_Pinned(self, latents), constraint, temperature=temperature, generator=chance)

    def interpolate(self, a: "LeadSheet", b: "LeadSheet", steps: int) -> "list[LeadSheet]":
        """``steps`` tunes on the way from one to the other, both ends' reconstructions among them.

        Latents go along great circles (White 2016); key, style, metre and mode are those of the nearer end.
        """
        if steps < 2:
            raise InputError(f"steps must be 2 or more, not {steps}")
        ends = [self.encode(tune) for tune in (a, b)]
        found = []
        for t in np.linspace(0.0, 1.0, steps).tolist():
            bars = round((1 - t) * len(a.bars) + t * len(b.bars))
            count = -(-bars // self.config.bars)
            pairs = [[end[i * len(end) // count] for end in ends] for i in range(count)]
            z = torch.stack([slerp(one, other, t) for one, other in pairs])
            found.append(self._tune(z, a if t < 0.5 else b, bars))
        return found

    def vary(self, tune: "LeadSheet", amount: float, seed: int = 0) -> "LeadSheet":
        """A variation as far from the tune as ``amount`` says: 0 its reconstruction, 1 drawn from the prior alone."""
        if not 0 <= amount <= 1:
            raise InputError(f"amount must lie from 0 to 1, not {amount}")
        z = self.encode(tune)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed)).to(z.device)
        return self._tune(math.sqrt(1 - amount**2) * z + amount * noise, tune, len(tune.bars))

    def _tune(self, latents: Tensor, like: "LeadSheet", bars: int) -> "LeadSheet":
        from wavegen.music.constraint import TuneConstraint
        from wavegen.music.tokens import decode

        meter = f"{like.meter.numerator}/{like.meter.denominator}"
        plan = TuneConstraint(
            self.vocabulary, style=like.style, meter=meter, mode=like.key.mode, bars=bars, cadence=None
        )
        return decode(self.decode(latents, plan), like.key)


class _Pinned(ScoreModel):
    """A VAE whose latents are given."""

    def __init__(self, model: ScoreVAE, latents: Tensor) -> None:
        super().__init__(model.config)
        self.model, self.latents = model, latents

    def start(self) -> VAEState:
        return self.model.start(self.latents)

    def step(self, state: VAEState, token: int) -> tuple[Tensor, VAEState]:
        return self.model.step(state, token)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) between two vectors; straight where they point the same way."""
    cosine = float((a @ b) / (a.norm() * b.norm()).clamp(min=1e-12))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < 1e-4:
        return (1 - t) * a + t * b
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


def _tokens_of(tune: "LeadSheet | Tokens") -> Tokens:
    if isinstance(tune, Tensor | np.ndarray | Sequence):
        return tune
    from wavegen.music.tokens import encode

    return encode(tune)


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be positive, not {value}")
