"""Clusters of time-frequency bins: seeded k-means, and spectral clustering as a separator that has learned nothing.

After Bach and Jordan 2006, "Learning spectral clustering, with application to speech separation": bins are alike that
lie close to each other, that rise and fall together and whose frames have the same pitch. Affinities are taken to
landmarks only (Chen and Cai 2011, "Large scale spectral clustering with landmark-based representation").
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.masking import Transform, audible, magnitude

POINTS = 20_000  # bins that centres are fitted to; the others then go to the nearest
TREND = 3  # frames on each side whose rise and fall a bin is described by
PITCHES = (80.0, 400.0)  # Hz, whose periods are looked for in a frame's cepstrum


def kmeans(
    points: Tensor, clusters: int, *, seed: int, weights: Tensor | None = None, restarts: int = 4, iterations: int = 50
) -> tuple[Tensor, Tensor]:
    """Labels (points,) and centres (clusters, dimensions) of points (points, dimensions), by Lloyd's algorithm.

    Begun by k-means++ (Arthur and Vassilvitskii 2007) from ``seed``, the best of ``restarts``; ``weights`` (points,)
    >= 0 count a point more or less. A cluster that runs empty keeps its centre. Centres are fitted to 20,000 points at
    most, drawn by the seed. InputError without points, for values that are not finite or for clusters < 1.
    """
    if points.dim() != 2 or not len(points) or not torch.isfinite(points).all():
        raise InputError(f"k-means needs finite points (points, dimensions), not {tuple(points.shape)}")
    if clusters < 1 or restarts < 1 or iterations < 1:
        raise InputError("k-means: clusters, restarts and iterations must be positive")
    generator = torch.Generator().manual_seed(seed)
    where = points.device
    weight = torch.ones(len(points), device=where) if weights is None else weights.to(points)
    fitted = points
    if len(points) > POINTS:
        chosen = torch.randperm(len(points), generator=generator)[:POINTS].sort().values.to(where)
        fitted, weight = points[chosen], weight[chosen]
    if not bool(weight.sum() > 0):
        weight = torch.ones_like(weight)
    best, least = fitted[:1].expand(clusters, -1), math.inf
    for _ in range(restarts):
        centres = _spread(fitted, weight, clusters, generator)
        cost = math.inf
        for _ in range(iterations):
            distance, labels = _nearest(fitted, centres)
            now = float((weight * distance).sum())
            if now >= cost * (1 - 1e-6):
                break
            cost = now
            member = F.one_hot(labels, clusters).to(fitted.dtype) * weight[:, None]
            total = member.sum(dim=0)[:, None]
            centres = torch.where(total > 0, member.T @ fitted / total.clamp(min=1e-30), centres)
        if cost < least:
            best, least = centres, cost
    return _nearest(points, best)[1], best


def _spread(points: Tensor, weight: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """First centres: each drawn in proportion to its squared distance from those before."""
    chance = weight
    chosen: list[Tensor] = []
    for _ in range(clusters):
        cumulative = chance.double().cumsum(0).cpu()
        draw = torch.rand((), generator=generator, dtype=torch.float64) * cumulative[-1]
        index = min(int(torch.searchsorted(cumulative, draw, right=True)), len(points) - 1)
        chosen.append(points[index])
        chance = weight * _nearest(points, torch.stack(chosen))[0]
        if not bool(chance.sum() > 0):  # fewer distinct points than clusters
            chance = weight
    return torch.stack(chosen)


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest centre, and which it is."""
    squares = points.square().sum(dim=1, keepdim=True) - 2 * points @ centres.T + centres.square().sum(dim=1)
    distance, label = squares.min(dim=1)
    return distance.clamp(min=0), label


@dataclass(frozen=True)
class SpectralClusteringConfig:
    """``n_fft``, ``hop`` in samples; ``landmarks`` bins stand for all, each bin is tied to the ``neighbours`` nearest.

    Bins are apart by 1 when they are ``seconds`` apart, or ``octaves``; ``trend`` and ``pitch`` weigh how differently
    they rise and fall and how differently their frames are pitched. Bins more than ``range_db`` under the loudest are
    shared out evenly.
    """

    n_fft: int = 512
    hop: int = 128
    landmarks: int = 300
    neighbours: int = 8
    seconds: float = 0.6
    octaves: float = 1.5
    trend: float = 0.5
    pitch: float = 1.0
    range_db: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        Transform(self.n_fft, self.hop)
        for name, value in asdict(self).items():
            if name not in ("seed", "trend", "pitch") and not value > 0:
                raise InputError(f"SpectralClusteringConfig.{name} must be positive, not {value}")
        if min(self.seed, self.trend, self.pitch) < 0:
            raise InputError("SpectralClusteringConfig: seed, trend and pitch must not be negative")


class SpectralClustering(Separator):
    """Binary masks of clusters of bins; the clusters are ordered by their energy's mean frequency, the lowest first.

    A chunk is clustered as a whole: it has no context, and sources should be interchangeable so that a stream matches
    them.
    """

    config: SpectralClusteringConfig
    context = 0

    def __init__(self, config: SpectralClusteringConfig, spec: SeparatorSpec) -> None:
        super().__init__()
        self.config, self.spec, self.hop = config, spec, config.hop
        self.transform = Transform(config.n_fft, config.hop)

    def estimate(self, mix: Tensor) -> Tensor:
        spectrum = self.transform.spectrum(mix)
        masks = torch.stack([self.masks(item) for item in magnitude(spectrum)])
        return self.transform.apply(masks, spectrum, mix.shape[-1])

    def masks(self, levels: Tensor) -> Tensor:
        """Masks (sources, bins, frames) of one item's magnitudes (bins, frames)."""
        count = len(self.spec.sources)
        masks = levels.new_full((count, *levels.shape), 1 / count)
        heard = audible(levels, self.config.range_db)
        if int(heard.sum()) <= count:
            return masks
        weight = levels[heard]
        labels, _ = kmeans(self.embedded(levels, heard), count, seed=self.config.seed, weights=weight)
        row = torch.nonzero(heard)[:, 0].to(levels.dtype)
        energy = F.one_hot(labels, count).to(levels.dtype) * weight.square()[:, None]
        centre = (energy * row[:, None]).sum(dim=0) / energy.sum(dim=0).clamp(min=1e-12)
        place = centre.argsort().argsort()[labels]
        masks[:, heard] = F.one_hot(place, count).T.to(levels.dtype)
        return masks

    def embedded(self, levels: Tensor, heard: Tensor) -> Tensor:
        """Unit rows (audible bins, sources): the leading eigenvectors of the bins' normalised affinities."""
        c = self.config
        points = self.described(levels)[heard]
        generator = torch.Generator().manual_seed(c.seed)
        chosen = torch.randperm(len(points), generator=generator)[: c.landmarks].sort().values.to(points.device)
        marks = points[chosen]
        squares = (points.square().sum(1, keepdim=True) - 2 * points @ marks.T + marks.square().sum(1)).clamp(min=0)
        near, which = squares.topk(min(c.neighbours, len(marks)), dim=1, largest=False)
        tie = torch.exp(-near / (2 * near.mean().clamp(min=1e-6)))
        affinity = torch.zeros_like(squares).scatter_(1, which, tie / tie.sum(dim=1, keepdim=True))
        scaled = (affinity / affinity.sum(dim=0).clamp(min=1e-12).sqrt()).double()
        _, vectors = torch.linalg.eigh(scaled.T @ scaled)
        rows = scaled @ vectors[:, -len(self.spec.sources) :]
        return F.normalize(rows, dim=1).to(levels.dtype)

    def described(self, levels: Tensor) -> Tensor:
        """Coordinates (bins, frames, dimensions) in which bins of one source lie close together."""
        c, rate = self.config, self.spec.sample_rate
        bins, frames = levels.shape
        log = torch.log(levels + 1e-4 * levels.max().clamp(min=1e-12))
        time = torch.arange(frames, device=levels.device) * (c.hop / rate / c.seconds)
        hertz = torch.arange(bins, device=levels.device) * (rate / c.n_fft)
        height = torch.log2(1 + hertz / 200) / c.octaves  # as wide as octaves where voices have their harmonics
        padded = F.pad(log[None], (TREND, TREND), mode="replicate")[0].unfold(1, 2 * TREND + 1, 1)
        trend = padded - padded.mean(dim=2, keepdim=True)
        trend = trend * (c.trend / math.sqrt(trend.shape[2]))
        # The cepstrum of a frame but for its level and envelope: its peak stands at the pitch's period.
        shortest, longest = (int(rate / 2 / hertz) for hertz in reversed(PITCHES))
        cepstrum = torch.fft.rfft(log - log.mean(dim=0), dim=0).abs()[shortest : longest + 1]
        cepstrum = F.normalize(cepstrum, dim=0) * c.pitch
        return torch.cat(
            [
                time.expand(bins, -1)[..., None],
                height[:, None].expand(-1, frames)[..., None],
                trend,
                cepstrum.T[None].expand(bins, -1, -1),
            ],
            dim=2,
        ).to(levels.dtype)
