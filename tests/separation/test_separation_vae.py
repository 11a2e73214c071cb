"""The separating autoencoders: latents, heads, the Wiener filter, a decoder begun from a vocoder."""

import math

import pytest
import torch

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.ops.gated_layer import gated_layer_reference
from wavegen.separation import tcn_vae
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.lstm_vae import LSTMVAE, LSTMVAEConfig
from wavegen.separation.masking import magnitude
from wavegen.separation.overlap import separate
from wavegen.separation.partials import VALUES, envelope, partials
from wavegen.separation.tcn_vae import TCNVAE, TCNVAEConfig
from wavegen.separation.vae import SeparationVAE, VAEOutput, wiener
from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig
from wavegen.vocoders.spectral import SpectralVocoder, SpectralVocoderConfig

SPEC = SeparatorSpec(8000, 1, ("a", "b"))
GRID = {"n_fft": 256, "hop": 64}
TCN = TCNVAEConfig(4, 12, 12, 3, 3, 16, 24, 2, 5, 20, 12, 7, **GRID)
MEL = FeatureSpec(8000, 256, 64, 256, 20, fmax=None)


def lstm(**changes: int) -> LSTMVAE:
    torch.manual_seed(0)
    return LSTMVAE(
        LSTMVAEConfig(
            **{"units": 4, "hidden": 12, "decoder": 8, "view": 6, "bands": 20, "families": 7, **GRID, **changes}
        ),
        SPEC,
    )


def tcn() -> TCNVAE:
    torch.manual_seed(0)
    return TCNVAE(TCN, SPEC)


def noise(items: int = 2, samples: int = 1600) -> torch.Tensor:
    return torch.randn(items, 1, samples, generator=torch.Generator().manual_seed(0))


def waveforms(model: SeparationVAE, out: VAEOutput, samples: int = 1600) -> torch.Tensor:
    return model.transform.apply(out.masks, out.spectrum, samples)


@pytest.mark.parametrize(
    "model", [lstm(), lstm(view=0), lstm(window=4), tcn()], ids=["lstm", "blind", "windows", "tcn"]
)
def test_shapes(model: SeparationVAE) -> None:
    out = model.eval().analyse(noise())
    sources = waveforms(model, out)
    assert sources.shape == (2, 2, 1, 1600)
    assert out.log_magnitude.shape == (2, 2, 129, 26)
    assert out.latents.mean.shape == out.latents.log_variance.shape == (2, 2, 4, 26)
    reading = model.read_heard(out.heard, out.masks.shape[-1])
    assert reading.pitch.shape == (2, 2, 129, 26)
    assert reading.family.shape == (2, 2, 7)
    torch.testing.assert_close(sources.sum(dim=1), noise(), atol=1e-5, rtol=0)
    mean = model.read(noise())
    torch.testing.assert_close(mean.pitch, reading.pitch)
    torch.testing.assert_close(mean.family, reading.family)


def test_drawn_latents_follow_the_generator() -> None:
    model = lstm()
    torch.manual_seed(5)
    one = model.analyse(noise(), draw=True).masks
    torch.manual_seed(5)
    assert torch.equal(model.analyse(noise(), draw=True).masks, one)
    assert not torch.equal(model.analyse(noise(), draw=True).masks, one)
    assert torch.equal(model.eval()(noise()), model(noise()))  # the separation itself draws nothing


def test_wiener_is_the_share_of_the_power() -> None:
    magnitudes = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    power = magnitudes.square()
    torch.testing.assert_close(wiener(magnitudes.log()), power / power.sum(dim=1, keepdim=True))


def test_the_fused_layers_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tcn()
    fused = model.analyse(noise())
    waveforms(model, fused).square().sum().backward()
    gradients = [p.grad.clone() for p in model.encoder.parameters()]
    monkeypatch.setattr(tcn_vae, "gated_layer", gated_layer_reference)
    model.zero_grad()
    plain = model.analyse(noise())
    torch.testing.assert_close(waveforms(model, plain), waveforms(model, fused), atol=1e-5, rtol=0)
    waveforms(model, plain).square().sum().backward()
    for mine, other in zip(gradients, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(mine, other.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("n_fft", [256, 350])
def test_windows_make_chunks_exactly_the_whole(n_fft: int) -> None:
    model = lstm(window=4, n_fft=n_fft).eval()
    mix = noise(1, 20_011)
    with torch.inference_mode():
        whole = model(mix)[0]
    chunked = separate(model, mix[0], chunk_seconds=0.3)
    assert model.overlap == 0
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=0)


def test_the_heads_look_at_frames_some_way_apart() -> None:
    """Spaced frames stand about their own places, and each of the mix's frames is read off the nearest."""
    model = tcn().eval()
    assert model.spaced == 5
    frames = torch.arange(26.0).expand(1, 2, 3, 26)
    torch.testing.assert_close(model._spaced(frames)[0, 0, 0], torch.tensor([1.0, 5, 10, 15, 20, 24]))
    heard = model.analyse(noise(1)).heard.detach()
    assert heard.shape[-1] == 6
    read = model.read_heard(heard, 26).pitch[0, 0]
    same = [bool(torch.equal(read[:, k], read[:, k + 1])) for k in range(25)]
    assert [k for k in range(25) if not same[k]] == [2, 7, 12, 17, 22]


@pytest.mark.parametrize("note", [45, 69])
def test_the_family_is_read_off_the_partials_of_the_note_that_is_read(note: int) -> None:
    model = tcn().eval()
    with torch.no_grad():
        model.pitch.outlet.bias[note] = 1e3
    out = model.analyse(noise())
    wave = waveforms(model, out)
    level = wave.square().mean(dim=(2, 3), keepdim=True).sqrt()
    levels = magnitude(model.long.spectrum((wave / level).flatten(0, 1)))
    mix = magnitude(model.long.spectrum((noise()[:, None] / level).flatten(0, 1)))
    wanted = partials(levels, mix, torch.full((4, 6), note), 8000).reshape(2, 2, -1, 6)
    seen = out.heard[:, :, -VALUES - 2 :]
    torch.testing.assert_close(seen[:, :, : wanted.shape[2]], wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        seen[:, :, wanted.shape[2] : -2].flatten(0, 1), envelope((wave / level).flatten(0, 1), 320, 6)
    )
    assert (seen[:, :, -2] == 1).all()
    assert torch.allclose(seen[:, :, -1], torch.tensor(note / 60 - 1))
    family = model.read_family(out.heard)
    assert torch.equal(family, model.read_family(torch.cat([0 * out.heard[:, :, : -VALUES - 2], seen], dim=2)))


def test_reading_the_note_leaves_the_pitch_head_in_training() -> None:
    """It is read as in use, without dropout, and leaves the head's statistics alone; training itself does not."""
    model = tcn().train()
    statistics = model.pitch.layers[0].running_mean
    assert isinstance(statistics, torch.Tensor)
    before = statistics.clone()
    heard = model.analyse(noise()).heard
    assert torch.equal(heard, model.analyse(noise()).heard)
    assert all(module.training for module in model.modules())
    assert torch.equal(statistics, before)
    model.read_pitch(heard, 26)
    assert not torch.equal(statistics, before)


def test_context_is_exact() -> None:
    """A change beyond the context of the TCN changes nothing."""
    model = tcn().eval()
    samples = 2 * model.context + 3000
    mix = noise(1, samples)
    other = mix.clone()
    place = model.context + 1000
    other[..., place + model.context :] = 0.3
    level = torch.ones(1)
    with torch.no_grad():
        one, two = model(mix, level=level), model(other, level=level)
    torch.testing.assert_close(one[..., :place], two[..., :place], atol=1e-6, rtol=0)
    assert (one[..., -1000:] - two[..., -1000:]).abs().max() > 0.1


def vocoder(kind: str) -> ISTFTVocoder | SpectralVocoder:
    torch.manual_seed(4)
    if kind == "istft":
        return ISTFTVocoder(ISTFTVocoderConfig(16, 24, 2, 5), MEL).eval()
    made = SpectralVocoder(SpectralVocoderConfig(16, 24, 2, 5), MEL).eval()
    torch.nn.init.normal_(made.head.weight)
    made.mel_mean.fill_(-2.0)
    made.mel_std.fill_(3.0)
    made.spectrum_mean.normal_()
    return made


@pytest.mark.parametrize("kind", ["istft", "spectral"])
def test_a_decoder_begun_from_a_vocoder_says_what_it_says(kind: str) -> None:
    model, voice = tcn().eval(), vocoder(kind)
    model.warm_start(voice)
    mix = noise(1)
    spectrum = model.transform.spectrum(mix)
    magnitude = spectrum.abs()[:, 0]
    mel = MelSpectrogram(MEL).compress(MelSpectrogram(MEL).filters @ (model.decoder.scale * magnitude))
    with torch.no_grad():
        model.decoder.move.weight.zero_()
        model.decoder.move.bias.zero_()
        istft = isinstance(voice, ISTFTVocoder)
        theirs, loudest = (voice.spectrum(mel)[0].log(), 6.0) if istft else (voice.log_magnitude(mel), 8.0)
        mine = model.decode(torch.zeros(1, 2, 4, mel.shape[-1]), model.decoder.mel(magnitude))
    assert torch.equal(mine[:, 0], mine[:, 1])
    said = mine[:, 0] + math.log(model.decoder.scale)
    assert theirs.std() > 0.05
    torch.testing.assert_close(said.clamp(max=loudest), theirs, atol=1e-4, rtol=1e-4)


def test_what_does_not_fit_is_named() -> None:
    voice = vocoder("istft")
    for name, value in (("bands", 21), ("channels", 8), ("hidden", 8), ("kernel", 3), ("hop", 32)):
        model = TCNVAE(TCNVAEConfig(**{**vars(TCN), name: value}), SPEC)
        with pytest.raises(InputError, match=f"its {name} is"):
            model.warm_start(voice)
    with pytest.raises(InputError, match="its sample_rate is 8000, not 16000"):
        TCNVAE(TCN, SeparatorSpec(16000, 1, ("a", "b"))).warm_start(voice)
    with pytest.raises(InputError, match="has 2 layers, not 3"):
        TCNVAE(TCNVAEConfig(**{**vars(TCN), "blocks": 3}), SPEC).warm_start(voice)


def test_both_are_separators() -> None:
    assert isinstance(lstm(), Separator)
    assert tcn().context == (7 + 2 * 3) * 64 + 256
