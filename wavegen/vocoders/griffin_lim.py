"""Griffin-Lim: the baseline vocoder, without training; and its iterations as a refinement of another vocoder.

Fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013) on the non-negative linear magnitudes closest to the mel.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.vocoders.base import Vocoder, spans

ROWS = 8  # of a batch refined at a time: spectra take far more memory than mels


class Projection(nn.Module):
    """The iterations: between spectra of the wanted magnitudes and spectra that are some waveform's.

    Works on a grid of centred frames that begins ``extra`` frames before the mel's first and ends as many after its
    last, so that all samples asked for lie under whole windows.
    """

    def __init__(self, spec: FeatureSpec, iterations: int, momentum: float) -> None:
        super().__init__()
        if not 1 <= iterations <= 1000:
            raise InputError(f"iterations must be from 1 to 1000, not {iterations}")
        if spec.hop >= spec.window:
            raise InputError(f"Griffin-Lim needs overlapping frames, not hop {spec.hop} and window {spec.window}")
        self.spec, self.iterations, self.momentum = spec, iterations, momentum
        self.extractor = MelSpectrogram(spec)
        self.extra = -(-spec.n_fft // (2 * spec.hop))
        # The centred transform puts frame i's centre at i × hop; the mel's is at n_fft / 2 - pad + i × hop.
        self.start = self.extra * spec.hop - (spec.n_fft // 2 - spec.pad)

    def magnitude(self, mel: Tensor) -> Tensor:
        """Linear magnitudes of a log-mel on the wider grid: (batch, n_fft // 2 + 1, frames + 2 extra)."""
        return F.pad(self.extractor.linear(mel), (self.extra, self.extra), mode="replicate")

    def phase_of(self, waveform: Tensor, frames: int) -> Tensor:
        """Unit spectrum of a waveform of ``frames`` mel frames, on the wider grid."""
        length = (frames + 2 * self.extra - 1) * self.spec.hop
        padded = F.pad(waveform, (self.start, max(0, length - self.start - waveform.shape[-1])))
        return _unit(self._stft(padded[..., :length]))

    def forward(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """Magnitudes and a first phase → waveform (batch, frames × hop) of the mel's frames."""
        count = (magnitude.shape[-1] - 2 * self.extra) * self.spec.hop
        return self.iterate(magnitude, phase)[:, self.start : self.start + count]

    def iterate(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """The same of all frames given: (batch, (frames - 1) × hop), from the first one's centre to the last one's."""
        previous = torch.zeros_like(phase)
        for _ in range(self.iterations):
            rebuilt = self._stft(self._istft(magnitude * phase))
            phase = _unit(rebuilt - previous * (self.momentum / (1 + self.momentum)))
            previous = rebuilt
        return self._istft(magnitude * phase)

    def _stft(self, x: Tensor) -> Tensor:
        s = self.spec
        return torch.stft(x, s.n_fft, s.hop, s.window, self.extractor.hann, center=True, return_complex=True)

    def _istft(self, x: Tensor) -> Tensor:
        s = self.spec
        return torch.istft(x, s.n_fft, s.hop, s.window, self.extractor.hann, center=True)


class GriffinLim(Vocoder):
    """Mel (batch, bands, frames) → waveform (batch, frames × hop), by iterated projection from a seeded random phase.

    Every sample depends on every frame, so chunks are joined by their context only: ``context`` frames on each side.
    """

    refine = 0

    def __init__(self, spec: FeatureSpec, iterations: int = 32, momentum: float = 0.99, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        self.context = 32
        self.seed = seed
        self.projection = Projection(spec, iterations, momentum)

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        self.check(mel)
        magnitude = self.projection.magnitude(mel)
        generator = torch.Generator().manual_seed(self.seed)
        angles = 2 * torch.pi * torch.rand(magnitude.shape, generator=generator)
        waveform: Tensor = self.projection(magnitude, torch.polar(torch.ones_like(magnitude), angles.to(magnitude)))
        return waveform


class Refined(Vocoder):
    """Another vocoder's output, drawn towards the mel by a few Griffin-Lim iterations from the vocoder's own phase.

    The network's phase is a better start than a random one, and the mel's own magnitudes hold for voices and sounds
    that the network was not trained on. For mels of recordings; a predicted mel is smoother than a recording's, and a
    network trained on such mels puts back what its magnitudes lack.
    """

    refine = 0

    def __init__(self, vocoder: Vocoder, iterations: int = 8, momentum: float = 0.5) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.spec = vocoder.spec
        self.projection = Projection(self.spec, iterations, momentum)
        shared = -(-self.spec.n_fft // self.spec.hop)  # frames that a frame shares samples with, on each side
        self.reach = shared * (iterations + 1)
        self.context = vocoder.context + self.reach

    @property
    def settings(self) -> tuple[str, ...]:
        return *self.vocoder.settings, f"refined {self.projection.iterations}"

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        return self._refined(mel, self.vocoder(mel))

    @torch.inference_mode()
    def stream(self, chunks: Iterable[Tensor], block: int = 256) -> Iterator[Tensor]:
        """As :meth:`Vocoder.stream`. The other vocoder streams too: what it draws is drawn once, from start to end."""
        bands, hop = self.spec.bands, self.spec.hop
        for joint, start, count in spans(self._joint(chunks, block), block, self.reach):
            waveform = self._refined(joint[:, :bands], joint[:, bands:].transpose(1, 2).flatten(1))
            yield waveform[..., start * hop : (start + count) * hop]

    def _joint(self, chunks: Iterable[Tensor], block: int) -> Iterator[Tensor]:
        """Mels with the samples that the other vocoder makes of them: (batch, bands + hop, frames)."""
        waiting: list[Tensor] = []  # mel whose waveform has not come yet

        def noted() -> Iterator[Tensor]:
            for chunk in chunks:
                waiting.append(chunk)
                yield chunk

        for waveform in self.vocoder.stream(noted(), block):
            frames = waveform.reshape(waveform.shape[0], -1, self.spec.hop).transpose(1, 2)
            count = frames.shape[-1]
            mel = torch.cat(waiting, dim=-1)
            waiting[:] = [mel[..., count:].clone()]
            yield torch.cat([mel[..., :count], frames], dim=1)

    def _refined(self, mel: Tensor, waveform: Tensor) -> Tensor:
        rows = zip(torch.split(mel, ROWS), torch.split(waveform, ROWS), strict=True)
        return torch.cat([self._few(m, w) for m, w in rows])

    def _few(self, mel: Tensor, waveform: Tensor) -> Tensor:
        phase = self.projection.phase_of(waveform, mel.shape[-1])
        refined: Tensor = self.projection(self.projection.magnitude(mel), phase)
        return refined


def _unit(spectrum: Tensor) -> Tensor:
    return spectrum / spectrum.abs().clamp(min=1e-16)
