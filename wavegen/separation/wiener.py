"""The multi-channel Wiener filter, fitted by expectation-maximisation, as a last step after any separator."""

import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.separation.base import Separator
from wavegen.separation.stft import istft, stft


def wiener(
    sources: Tensor, mix: Tensor, *, iterations: int = 1, window: int = 300, loudest: float = 10.0, eps: float = 1e-10
) -> Tensor:
    """Refine estimates (batch, sources, channels, bins, frames) of a mix (batch, channels, bins, frames), all complex.

    Each source is Gaussian with a variance per bin and frame and a spatial covariance per bin, estimated from the
    sources in windows of ``window`` frames, which bound the memory; what comes back is the sources' posterior mean
    (Nugraha, Liutkus and Vincent 2016, "Multichannel audio source separation with deep neural networks", section
    II-B). 1 or 2 channels. Spectra are scaled so that no magnitude exceeds ``loudest``: ``eps`` is small beside it.
    """
    if iterations < 0 or window < 1:
        raise InputError(f"wiener needs iterations >= 0 and a window >= 1, not {iterations} and {window}")
    if sources.shape[2] > 2 or sources.shape[:1] + sources.shape[2:] != mix.shape:
        raise InputError(f"sources {tuple(sources.shape)} do not fit the mix {tuple(mix.shape)} of 1 or 2 channels")
    if iterations == 0 or mix.shape[-1] == 0:
        return sources
    pairs = zip(torch.split(sources, window, dim=-1), torch.split(mix, window, dim=-1), strict=True)
    return torch.cat([_window(part, whole, iterations, loudest, eps) for part, whole in pairs], dim=-1)


def _window(sources: Tensor, mix: Tensor, iterations: int, loudest: float, eps: float) -> Tensor:
    peak = (mix.abs().flatten(1).amax(dim=1) / loudest).clamp(min=1.0)
    x = mix / peak[:, None, None, None]
    y = sources / peak[:, None, None, None, None]
    unit = torch.eye(mix.shape[1], dtype=x.dtype, device=x.device)
    for _ in range(iterations):
        variance = (y.real.square() + y.imag.square()).mean(dim=2)  # (batch, sources, bins, frames)
        spread = torch.einsum("bsifn,bsjfn->bsfij", y, y.conj())
        spatial = spread / (variance.sum(dim=-1) + eps)[..., None, None]  # (batch, sources, bins, channels, channels)
        covariance = torch.einsum("bsfn,bsfij->bfnij", variance.to(x.dtype), spatial) + eps**0.5 * unit
        whitened = torch.einsum("bfnij,bjfn->bfni", _inverse(covariance), x)
        y = torch.einsum("bsfij,bfnj->bsifn", spatial, whitened) * variance[:, :, None]
    return y * peak[:, None, None, None, None]


def _inverse(matrix: Tensor) -> Tensor:
    """Of 1 × 1 or 2 × 2 matrices (..., n, n), in closed form: many times faster than LAPACK on matrices so small."""
    if matrix.shape[-1] == 1:
        return 1 / matrix
    (a, b), (c, d) = (row.unbind(dim=-1) for row in matrix.unbind(dim=-2))
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[..., None, None]


class WienerSeparator(Separator):
    """Another separator, whose estimates :func:`wiener` refines. It streams by chunks as long as that one's."""

    def __init__(self, model: Separator, iterations: int = 1, n_fft: int = 4096, hop: int = 1024) -> None:
        super().__init__()
        if iterations < 1:
            raise InputError(f"a Wiener filter needs at least one iteration, not {iterations}")
        self.model = model
        self.iterations, self.n_fft, self.frame_hop = iterations, n_fft, hop
        self.config, self.spec = model.config, model.spec
        self.hop, self.context = model.hop, max(model.context, n_fft)
        # The filter's statistics are a chunk's own: from one to the next must be faded.
        self.chunk_seconds, self.overlap = model.chunk_seconds, max(model.overlap, 0.1)

    def estimate(self, mix: Tensor) -> Tensor:
        n_fft, hop = self.n_fft, self.frame_hop
        spectra = stft(self.model.estimate(mix), n_fft, hop)
        refined = wiener(spectra, stft(mix, n_fft, hop), iterations=self.iterations)
        return istft(refined, n_fft, hop, mix.shape[-1])
