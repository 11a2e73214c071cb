"""Griffin-Lim: the baseline vocoder, without training.

Fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013) on the non-negative linear magnitudes closest to the mel.
"""

import torch
from torch import Tensor

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.vocoders.base import Vocoder


class GriffinLim(Vocoder):
    """Mel (batch, bands, frames) → waveform (batch, frames × hop), by iterated projection from a seeded random phase.

    Every sample depends on every frame, so chunks are joined by their context only: ``context`` frames on each side.
    """

    def __init__(self, spec: FeatureSpec, iterations: int = 32, momentum: float = 0.99, seed: int = 0) -> None:
        super().__init__()
        if iterations < 1:
            raise InputError(f"GriffinLim: iterations must be at least 1, not {iterations}")
        if spec.hop >= spec.window:
            raise InputError(f"GriffinLim needs overlapping frames, not hop {spec.hop} and window {spec.window}")
        self.spec = spec
        self.context = 32
        self.iterations = iterations
        self.momentum = momentum
        self.seed = seed
        self.extractor = MelSpectrogram(spec)

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        self.check(mel)
        spec = self.spec
        magnitude = self.extractor.linear(mel)
        # One frame more on each side, so that the hop samples at the ends lie under whole windows.
        extra = -(-spec.n_fft // (2 * spec.hop))
        magnitude = torch.nn.functional.pad(magnitude, (extra, extra), mode="replicate")
        generator = torch.Generator().manual_seed(self.seed)
        angles = 2 * torch.pi * torch.rand(magnitude.shape, generator=generator)
        phase = torch.polar(torch.ones_like(magnitude), angles.to(magnitude))
        previous = torch.zeros_like(phase)
        for _ in range(self.iterations):
            rebuilt = self._stft(self._istft(magnitude * phase))
            phase = rebuilt - previous * (self.momentum / (1 + self.momentum))
            phase = phase / phase.abs().clamp(min=1e-16)
            previous = rebuilt
        waveform = self._istft(magnitude * phase)
        # The centred transform puts frame i's centre at i × hop; ours is at n_fft / 2 - pad + i × hop.
        start = extra * spec.hop - (spec.n_fft // 2 - spec.pad)
        return waveform[:, start : start + mel.shape[-1] * spec.hop]

    def _stft(self, x: Tensor) -> Tensor:
        s = self.spec
        return torch.stft(x, s.n_fft, s.hop, s.window, self.extractor.hann, center=True, return_complex=True)

    def _istft(self, x: Tensor) -> Tensor:
        s = self.spec
        return torch.istft(x, s.n_fft, s.hop, s.window, self.extractor.hann, center=True)
