"""WaveNet: the next sample from all samples before it and the mel, through gated, dilated, causal convolutions.

Follows van den Oord et al. 2016, "WaveNet: A generative model for raw audio"; conditioned on a mel as in Shen et al.
2018 (Tacotron 2) and Ping et al. 2019 (ClariNet), by one learned interpolation of frames that all channels share.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.nn.convnext import ConvNeXtBlock
from wavegen.ops.gated_layer import gated_layer
from wavegen.ops.wavenet import PRECISIONS, PackedWaveNet, WaveNetWeights
from wavegen.vocoders.base import Vocoder
from wavegen.vocoders.distributions import MuLaw, check_sampling, distribution

ENCODER_KERNEL = 7  # of each ConvNeXt block
BLOCK = 64  # frames whose conditioning is computed together
DEEMPHASIS = 256  # samples whose de-emphasis is one product
# Of a configuration: name, least, most. What the kernels take, and what a damaged file cannot hang on.
LIMITS = (
    *((name, 1, 4096) for name in ("residual", "gate", "skip", "head", "encoder")),
    ("layers", 1, 1024),
    ("cycle", 1, 16),
    ("mixtures", 1, 1024),
    ("encoder_layers", 0, 64),
)
PATIENCE = 0.05  # seconds that one call of the kernel should last, so that Ctrl-C and progress come through


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn, and the ``precision`` of the kernels: "fp32", "bf16" or "int8".

    ``temperature`` 0 takes the likeliest value, 1 the model's own distribution; ``top_k`` (0: off) and ``top_p`` (1:
    off) keep the likeliest classes of a softmax. The same ``seed`` gives the same samples with the same instruction
    set; all streams of a batch draw the same random numbers.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    precision: str = "bf16"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be from 0 to 2^63 - 1, not {self.seed}")
        check_sampling(self.temperature, self.top_k, self.top_p, softmax=True)


@dataclass(frozen=True)
class WaveNetConfig:
    """Channels of the ``residual`` stream, each ``gate`` half, ``skip`` and ``head``; ``layers`` of ``width`` taps.

    Layer l's dilation is 2 ** (l % cycle). ``output`` is "mulaw8", "mulaw10", "gaussian" or "logistics" (of
    ``mixtures``). The mel passes through ``encoder`` channels and ``encoder_layers`` blocks at frame rate. The network
    predicts the signal pre-emphasised by 1 - ``emphasis`` × z^-1 (in [0, 1)), so that its noise takes the shape of
    speech's spectrum once that is undone (Valin & Skoglund 2019, LPCNet, section 3.2).
    """

    residual: int = 64
    gate: int = 64
    skip: int = 256
    head: int = 256
    width: int = 2
    layers: int = 20
    cycle: int = 10
    output: str = "mulaw8"
    mixtures: int = 10
    encoder: int = 128
    encoder_layers: int = 2
    emphasis: float = 0.0

    def __post_init__(self) -> None:
        for name, least, most in LIMITS:
            if not least <= getattr(self, name) <= most:
                raise InputError(f"WaveNetConfig.{name} must be from {least} to {most}, not {getattr(self, name)}")
        if self.width not in (2, 3):
            raise InputError(f"WaveNetConfig.width must be 2 or 3, not {self.width}")
        if not 0 <= self.emphasis < 1:
            raise InputError(f"WaveNetConfig.emphasis must be in [0, 1), not {self.emphasis}")
        try:
            distribution(self.output, self.mixtures)
        except InputError as error:
            raise InputError(f"WaveNetConfig: {error}") from None

    @property
    def dilations(self) -> tuple[int, ...]:
        return tuple(2 ** (layer % self.cycle) for layer in range(self.layers))

    @property
    def receptive_field(self) -> int:
        """How many samples before it one sample depends on."""
        return (self.width - 1) * sum(self.dilations) + 1


class WaveNet(Vocoder):
    """Mel (batch, bands, frames) → waveform (batch, frames × hop), drawn sample by sample.

    The spec's padding must be "same", so that a frame stands over its own hop samples. ``context`` counts the frames on
    each side that reach a sample through its conditioning. ``sampling`` says how samples are drawn.
    """

    sampling: Sampling
    refine = 0  # samples stay as they are drawn

    def __init__(self, config: WaveNetConfig, spec: FeatureSpec) -> None:
        super().__init__()
        if spec.padding != "same":
            raise InputError('WaveNet needs a FeatureSpec with padding "same"')
        self.config, self.spec = config, spec
        self.distribution = distribution(config.output, config.mixtures)
        self.silent, self.loud = MelSpectrogram(spec).compress(torch.tensor([0.0, 1.0])).tolist()
        c, half = config, ENCODER_KERNEL // 2
        self.encoder_context = 1 + half * c.encoder_layers
        self.context = self.encoder_context + 1
        self.mel_input = nn.Conv1d(spec.bands, c.encoder, 3, padding=1)
        self.mel_norm = nn.LayerNorm(c.encoder, eps=1e-6)
        scale = 1 / max(1, c.encoder_layers)
        self.mel_blocks = nn.ModuleList(
            ConvNeXtBlock(c.encoder, 3 * c.encoder, ENCODER_KERNEL, scale) for _ in range(c.encoder_layers)
        )
        self.interpolation = nn.Parameter(linear_interpolation(spec.hop))
        classes = isinstance(self.distribution, MuLaw)
        self.input = _parameter(self.distribution.parameters if classes else 2, c.residual)
        self.dilated = _parameter(c.layers, 2 * c.gate, c.residual, c.width)
        self.dilated_bias = _parameter(c.layers, 2 * c.gate)
        self.conditioning_weight = _parameter(c.layers, 2 * c.gate, c.encoder)
        self.residual = _parameter(c.layers - 1, c.residual, c.gate)
        self.residual_bias = _parameter(c.layers - 1, c.residual)
        self.skip = _parameter(c.layers, c.skip, c.gate)
        self.skip_bias = _parameter(c.skip)
        self.head1 = nn.Linear(c.skip, c.head)
        self.head2 = nn.Linear(c.head, self.distribution.parameters)
        self.sampling = Sampling()
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        c = self.config
        for module in (self.mel_input, *self.mel_blocks.modules()):
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # A gate's input has about unit variance, half from the samples and half from the mel; tanh × sigmoid of it has
        # a variance of about 1 / 8, which the residual stream gathers over the layers and the skip sum adds up.
        nn.init.normal_(self.dilated, std=math.sqrt(0.5 / (c.residual * c.width)))
        nn.init.normal_(self.conditioning_weight, std=math.sqrt(0.5 / c.encoder))
        nn.init.normal_(self.residual, std=math.sqrt(8 / (c.gate * c.layers)))
        nn.init.normal_(self.skip, std=math.sqrt(8 / (c.gate * c.layers)))
        nn.init.kaiming_normal_(self.head1.weight, nonlinearity="relu")
        nn.init.zeros_(self.head1.bias)
        nn.init.normal_(self.head2.weight, std=0.1 / math.sqrt(c.head))
        nn.init.zeros_(self.head2.bias)
        if isinstance(self.distribution, MuLaw):  # neighbouring classes begin as neighbours
            companded = torch.linspace(-1, 1, self.distribution.classes)
            self.input.copy_(companded[:, None] * 2 * torch.randn(c.residual))
            self.input.add_(0.05 * torch.randn_like(self.input))
            return
        # Speech has a root mean square of about 0.1, and of a third of that when it is pre-emphasised.
        nn.init.normal_(self.input[0], std=5.0 if c.emphasis < 0.5 else 15.0)
        if c.output == "gaussian":
            self.head2.bias[1] = -3.0
        else:  # components that begin alike would learn alike
            self.head2.bias[2 * c.mixtures :] = torch.linspace(-7, -2, c.mixtures)

    def with_sampling(self, sampling: Sampling) -> "WaveNet":
        """The same model, parameters shared, with another sampling. InputError for top_k, top_p without classes."""
        check_sampling(
            sampling.temperature, sampling.top_k, sampling.top_p, softmax=isinstance(self.distribution, MuLaw)
        )
        other = copy.copy(self)
        other.sampling = sampling
        return other

    @property
    def settings(self) -> tuple[str, ...]:
        chosen = ((f.name.replace("_", "-"), getattr(self.sampling, f.name), f.default) for f in fields(Sampling))
        return tuple(f"{name} {value}" for name, value, usual in chosen if value != usual)

    @torch.inference_mode()
    def forward(self, mel: Tensor, progress: Callable[[int, int], None] | None = None) -> Tensor:
        """``progress`` is called with the samples done and their total after every call of the kernel."""
        self.check(mel)
        total = mel.shape[-1] * self.spec.hop
        report = None if progress is None else lambda done: progress(done, total)
        return torch.cat(list(self._generate([mel], report)), dim=1)

    @torch.inference_mode()
    def stream(self, chunks: Iterable[Tensor], block: int = BLOCK) -> Iterator[Tensor]:
        """As :meth:`Vocoder.stream`, and equal to the whole to the bit. ``block`` is of no effect: it is BLOCK."""
        yield from self._generate(chunks)

    @torch.inference_mode()
    def bits_per_sample(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """How many bits each sample costs, given those before it and the mel, by the kernels at sampling's precision.

        waveform (batch, frames × hop) in [-1, 1], mel (batch, bands, frames) → (batch, frames × hop). Of 16-bit samples
        for densities, of classes for a softmax. InputError for shapes that do not fit.
        """
        self.check(mel)
        if waveform.shape != (mel.shape[0], mel.shape[-1] * self.spec.hop):
            raise InputError(
                f"waveform must be ({mel.shape[0]}, {mel.shape[-1] * self.spec.hop}) for this mel, "
                f"not {tuple(waveform.shape)}"
            )
        samples = self.emphasised(waveform)
        pieces: list[Tensor] = []
        for run, conditioning, count in self._runs([mel]):
            here = samples[:, run.time : run.time + count]
            _, parameters = run.samples(conditioning, count, forced=self.distribution.value(here))
            pieces.append(self.distribution.nll(parameters.transpose(1, 2), here))
        return torch.cat(pieces, dim=1) / math.log(2) + self.distribution.bits_offset

    def _generate(self, chunks: Iterable[Tensor], report: Callable[[int], None] | None = None) -> Iterator[Tensor]:
        """Waveforms of BLOCK frames each, whatever the chunks: their bounds are part of what is computed."""
        for run, conditioning, count in self._runs(chunks):
            values, _ = run.samples(conditioning, count, report)
            yield run.deemphasised(self.distribution.waveform(values), self.config.emphasis)

    def _runs(self, chunks: Iterable[Tensor]) -> Iterator[tuple["Run", Tensor, int]]:
        """One run through all chunks: (the run, the conditioning of its next BLOCK frames, how many samples)."""
        run: Run | None = None
        for span, start, count in self.spans(chunks, BLOCK):
            if run is None:
                # Packed anew each time: milliseconds, and weights may have changed in ways that leave no trace.
                packed = PackedWaveNet(self.weights(), self.sampling.precision, self.input.device)
                run = Run(packed, self.sampling, span.shape[0])
            encoded = self.encode(span)
            place = torch.arange(start - 1, start + count + 1, device=span.device).clamp(0, span.shape[-1] - 1)
            yield run, self._projected(encoded[..., place]), count * self.spec.hop

    def teacher_forced(self, samples: Tensor, mel: Tensor, margin: int = 0, noise: Tensor | None = None) -> Tensor:
        """The output distribution's parameters (batch, O, time) at each sample, given the samples before it.

        samples (batch, time) in [-1, 1], pre-emphasised (see :meth:`emphasised`); mel (batch, bands, time / hop + 2 ×
        margin), where ``margin`` frames on each side are neighbours that have no samples here. Before the first sample
        lies silence. ``noise``, as the samples, is added to what is fed back. InputError for a length or shape that
        does not fit.
        """
        self.check(mel)
        frames = mel.shape[-1] - 2 * margin
        if margin < 0:
            raise InputError(f"margin must not be negative: {margin}")
        if frames < 1:
            raise InputError(f"a margin of {margin} frames leaves none of {mel.shape[-1]}")
        if samples.dim() != 2 or samples.shape[-1] != frames * self.spec.hop:
            raise InputError(
                f"samples must be (batch, {frames * self.spec.hop}) for this mel, not {tuple(samples.shape)}"
            )
        if samples.shape[0] != mel.shape[0]:
            raise InputError(f"samples are a batch of {samples.shape[0]}, the mel one of {mel.shape[0]}")
        encoded = self.encode(mel)
        if margin:  # interpolation needs one neighbour
            hop, spare = self.spec.hop, margin - 1
            conditioning = self.upsample(encoded[..., spare : encoded.shape[-1] - spare])[..., hop:-hop]
        else:
            conditioning = self.upsample(encoded)
        fed = samples if noise is None else (samples + noise).clamp(-1, 1)
        return self._network(F.pad(fed[:, :-1], (1, 0)), conditioning)

    def emphasised(self, waveform: Tensor) -> Tensor:
        """The signal that the network predicts, (batch, time), of a waveform that begins after silence.

        It stays within [-1, 1]: only jumps of more than half the full scale are cut.
        """
        return (waveform - self.config.emphasis * F.pad(waveform[:, :-1], (1, 0))).clamp(-1, 1)

    def _network(self, samples: Tensor, conditioning: Tensor) -> Tensor:
        """Samples one step late (batch, time), conditioning (batch, C, time) → parameters (batch, O, time)."""
        c = self.config
        dtype = _compute_dtype(samples)
        x = self._input(samples).to(dtype)
        conditioning = conditioning.to(dtype)
        zero = self.residual.new_zeros(1, c.residual, c.gate)  # the last layer has no residual output
        output = torch.cat([torch.cat([self.residual, zero]), self.skip], dim=1).to(dtype)
        residual_bias = torch.cat([self.residual_bias, zero[..., 0]])
        output_bias = F.pad(residual_bias, (0, c.skip)).to(dtype)
        per_layer = (self.dilated, self.dilated_bias, self.conditioning_weight, output, output_bias)
        total: Tensor | None = None
        for dilation, tensors in zip(
            c.dilations, zip(*(t.to(dtype).unbind() for t in per_layer), strict=True), strict=True
        ):
            w, b, wc, wo, bo = tensors
            x, skip = gated_layer(x, conditioning, w, b, wc, wo, bo, dilation, True)
            total = skip.to(samples.dtype) if total is None else total + skip  # summed in fp32
        assert total is not None
        s = torch.relu(total + self.skip_bias[:, None]).transpose(1, 2)
        h = torch.relu(self.head1(s))
        with torch.autocast(samples.device.type, enabled=False):  # means and scales span more than bf16 resolves
            parameters: Tensor = F.linear(h.to(self.head2.weight.dtype), self.head2.weight, self.head2.bias)
        return parameters.transpose(1, 2)

    def _input(self, samples: Tensor) -> Tensor:
        values = self.distribution.value(samples)
        if isinstance(self.distribution, MuLaw):
            return F.embedding(values.long(), self.input).transpose(1, 2)
        return values[:, None] * self.input[0][:, None] + self.input[1][:, None]

    def encode(self, mel: Tensor) -> Tensor:
        """Mel (batch, bands, frames) → (batch, encoder channels, frames), as if its edges went on for ever."""
        k = self.encoder_context
        # A log-mel lies far from zero: uncentred, its mean would drown what changes in the normalisation below.
        centred = 4 * (mel - self.silent) / (self.loud - self.silent) - 2
        x: Tensor = self.mel_input(F.pad(centred, (k, k), mode="replicate"))
        x = self.mel_norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.mel_blocks:
            x = block(x)
        return x[..., k:-k]

    def upsample(self, x: Tensor) -> Tensor:
        """(batch, channels, frames) → (batch, channels, frames × hop), by the learned interpolation."""
        neighbours = F.pad(x, (1, 1), mode="replicate").unfold(-1, 3, 1)  # (batch, channels, frames, 3)
        return torch.matmul(neighbours, self.interpolation).flatten(2)

    def conditioning(self, mel: Tensor) -> Tensor:
        """The layers' conditioning at frame rate, (batch, frames, layers, 2 × gate) in float32.

        Interpolation and projection commute, so that interpolating this gives what the layers add at each sample.
        """
        self.check(mel)
        return self._projected(self.encode(mel))

    def _projected(self, encoded: Tensor) -> Tensor:
        return torch.einsum("bcf,lgc->bflg", encoded, self.conditioning_weight).float().contiguous()

    @torch.no_grad()
    def weights(self) -> WaveNetWeights:
        """Copies of the weights as generation takes them. InputError if they are not finite."""
        c = self.config

        def plain(x: Tensor) -> Tensor:
            return x.detach().to("cpu", torch.float32, copy=True).contiguous()

        return WaveNetWeights(
            input=plain(self.input),
            dilated=plain(self.dilated),
            dilated_bias=plain(self.dilated_bias),
            residual=plain(self.residual),
            residual_bias=plain(self.residual_bias),
            skip=plain(self.skip.permute(1, 0, 2).reshape(c.skip, c.layers * c.gate)),
            skip_bias=plain(self.skip_bias),
            head1=plain(self.head1.weight),
            head1_bias=plain(self.head1.bias),
            head2=plain(self.head2.weight),
            head2_bias=plain(self.head2.bias),
            interpolation=plain(self.interpolation),
            dilations=c.dilations,
            output=c.output,
        )


class Run:
    """One generation under way: the streams' state, and the random numbers that are still to come."""

    def __init__(self, packed: PackedWaveNet, sampling: Sampling, streams: int) -> None:
        self.packed, self.sampling, self.streams = packed, sampling, streams
        self.state = packed.state(streams)
        self.generator = torch.Generator().manual_seed(sampling.seed)
        self.time = 0
        self.last = torch.zeros(streams, 1, device=packed.device)
        self.rate = 2000.0  # samples a second, a low first guess

    def samples(
        self,
        conditioning: Tensor,
        count: int,
        report: Callable[[int], None] | None = None,
        forced: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The next ``count`` values (streams, count); with ``forced`` the head's outputs (streams, count, O) as well.

        ``conditioning`` begins one frame before the first sample's. ``forced`` is fed back in place of what is drawn.
        """
        s = self.sampling
        # The same for all streams, so that equal channels stay equal, and a stream is what it would be alone.
        uniforms = torch.rand(1, count, self.packed.uniforms, generator=self.generator).clamp(2**-24, 1 - 2**-24)
        uniforms = uniforms.expand(self.streams, -1, -1).to(self.packed.device)
        first, done = self.packed.frames(self.time, 1)[0], 0
        values, parameters = [], []
        while done < count:
            step = min(count - done, max(1, int(self.rate * PATIENCE)))
            low, high = self.packed.frames(self.time, step)
            before = time.perf_counter()
            drawn, outputs = self.packed.generate(
                self.state,
                conditioning[:, low - first : high - first],
                uniforms[:, done : done + step],
                forced=None if forced is None else forced[:, done : done + step].contiguous(),
                temperature=s.temperature,
                top_k=s.top_k,
                top_p=s.top_p,
                with_parameters=forced is not None,
            )
            values.append(drawn)
            parameters.append(outputs)
            self.rate = step / max(time.perf_counter() - before, 1e-6)
            done, self.time = done + step, self.time + step
            if report is not None:
                report(self.time)
        return torch.cat(values, dim=1), torch.cat(parameters, dim=1)

    def deemphasised(self, x: Tensor, emphasis: float) -> Tensor:
        """y[t] = x[t] + emphasis × y[t - 1], going on where the last call ended; some hundred samples at a time."""
        if emphasis == 0:
            return x
        powers = torch.arange(DEEMPHASIS + 1, device=x.device)
        decay = torch.tril(emphasis ** (powers[1:, None] - powers[1:]).clamp(min=0).float())
        pieces = []
        for piece in torch.split(x, DEEMPHASIS, dim=1):
            n = piece.shape[1]
            y = piece @ decay[:n, :n].T + self.last * emphasis ** powers[1 : n + 1].float()
            self.last = y[:, -1:]
            pieces.append(y)
        return torch.cat(pieces, dim=1)


def linear_interpolation(hop: int) -> Tensor:
    """Weights (3, hop) of the frame before, the own and the next, for each sample of a frame: linear between centres.

    A frame's centre lies at its sample (hop - 1) / 2.
    """
    distance = (torch.arange(hop) - (hop - 1) / 2) / hop
    before, after = (-distance).clamp(min=0), distance.clamp(min=0)
    return torch.stack([before, 1 - before - after, after])


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def _compute_dtype(x: Tensor) -> torch.dtype:
    """What autocast asks for: it does not reach custom operators by itself."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
