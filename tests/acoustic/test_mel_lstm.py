"""The mel LSTM: density against torch, whole against stepwise, pieces against the whole, temperature, bad input."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wavegen import checkpoints
from wavegen.acoustic.mel_lstm import MelLSTM, MelLSTMConfig, MelState
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError

SPEC = FeatureSpec(bands=20)


def small(components: int = 3, layers: int = 2) -> MelLSTM:
    torch.manual_seed(0)
    model = MelLSTM(MelLSTMConfig(hidden=12, layers=layers, embedding=10, components=components), SPEC).eval()
    with torch.no_grad():
        model.head.weight.mul_(10)
        model.head.bias.uniform_(-0.3, 0.3)
    model.mel_mean.fill_(-4.0)
    model.mel_std.copy_(torch.linspace(1, 2, 20))
    return model


def mel(frames: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return -4 + 2 * torch.randn(batch, 20, frames, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_log_prob_is_torchs() -> None:
    from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

    model, x = small(), mel(9, batch=2)
    frames, output = model.standardised(x), model(x)
    mixture = MixtureSameFamily(
        Categorical(logits=output.log_weights), Independent(Normal(output.mean, output.log_std.exp()), 1)
    )
    torch.testing.assert_close(output.log_prob(frames), mixture.log_prob(frames), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(output.expected, mixture.mean, rtol=1e-4, atol=1e-4)


def test_every_frame_is_told_from_those_before_alone() -> None:
    model, x = small(), mel(12)
    changed = x.clone()
    changed[..., 7] += 1.0
    a, b = model(x), model(changed)
    assert torch.equal(a.mean[:, :8], b.mean[:, :8])
    assert not torch.allclose(a.mean[:, 8:], b.mean[:, 8:], atol=1e-3)


@pytest.mark.parametrize("layers", [1, 2])
def test_listening_in_pieces(layers: int) -> None:
    model, x = small(layers=layers), mel(15, batch=2)
    whole = model.listen(x)
    state: MelState | None = None
    for piece in x.split([1, 6, 8], dim=-1):
        state = model.listen(piece, state)
    assert state is not None
    for a, b in zip(vars(whole).values(), vars(state).values(), strict=True):
        torch.testing.assert_close(a, b)
    following = model(torch.cat([x, x[..., :1]], dim=-1)).mean[:, -1]
    stepped, _ = model.generate(replace(whole, power=whole.power + math.inf), 1, temperature=0.0)
    standard = model.standardised(stepped)[:, 0]
    assert torch.isclose(following, standard[:, None], atol=1e-4).all(dim=-1).any(dim=-1).all()


def test_generating_in_pieces() -> None:
    model, x = small(), mel(5, batch=2)
    whole, end = model.generate(model.listen(x), 11, generator=seeded(3))
    generator, state, pieces = seeded(3), model.listen(x), []
    for count in (1, 4, 6):
        piece, state = model.generate(state, count, generator=generator)
        pieces.append(piece)
    assert torch.equal(torch.cat(pieces, dim=-1), whole)
    assert torch.equal(state.frame, end.frame)
    assert torch.equal(model.continued(x, 11, generator=seeded(3)), whole)
    assert not torch.allclose(model.continued(x, 11, generator=seeded(4)), whole, atol=1e-3)


def test_states_are_values() -> None:
    model = small()
    state = model.listen(mel(6))
    before = [tensor.clone() for tensor in vars(state).values()]
    a, _ = model.generate(state, 4, generator=seeded(1))
    b, _ = model.generate(state, 4, generator=seeded(1))
    assert torch.equal(a, b)
    assert all(torch.equal(x, y) for x, y in zip(before, vars(state).values(), strict=True))


def test_samples_have_the_mixtures_moments() -> None:
    model = small(components=2)
    model.mel_mean.fill_(30.0)  # far above the floor, which would cut the samples
    state = model.start(4000)
    drawn, _ = model.generate(state, 1, generator=seeded(0))
    out = model._mixture(model.start().frame[:, None], model.start())
    weights, mean, std = out.log_weights[0, 0].exp(), out.mean[0, 0], out.log_std[0, 0].exp()
    expected = (weights[:, None] * mean).sum(0)
    variance = (weights[:, None] * (std.square() + mean.square())).sum(0) - expected.square()
    x = model.standardised(drawn)[:, 0]
    error = (x.mean(0) - expected).abs() / (variance / 4000).sqrt()
    assert error.max() < 4.5
    torch.testing.assert_close(x.var(0), variance, rtol=0.15, atol=0)


def test_temperature() -> None:
    model, x = small(), mel(6)
    cold = model.continued(x, 8, temperature=0.0, generator=seeded(1))
    assert torch.equal(cold, model.continued(x, 8, temperature=0.0, generator=seeded(2)))
    state = model.listen(x)
    spread = [
        torch.cat([model.generate(state, 1, temperature=t, generator=seeded(s))[0] for s in range(60)]).std(0).mean()
        for t in (0.1, 0.5, 1.0)
    ]
    assert spread[0] < spread[1] < spread[2]


def test_an_untrained_model_repeats_and_none_runs_away() -> None:
    model = small(components=1)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    x = mel(4).clamp(min=-10)
    torch.testing.assert_close(model.continued(x, 7, temperature=0.0), x[..., -1:].expand(-1, -1, 7))
    with torch.no_grad():
        model.head.bias[1:21] = 5.0  # every frame louder by five deviations
    loud, _ = model.generate(model.start(), 50, temperature=0.0)
    torch.testing.assert_close(loud[0, :, -1], model.mel_mean + 6 * model.mel_std)
    with torch.no_grad():
        model.head.bias[1:21] = -5.0
    quiet = model.continued(x, 50, temperature=0.0)
    assert float(quiet.min()) == pytest.approx(math.log(1e-5))


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_what_follows_is_no_louder_than_what_was_heard(temperature: float) -> None:
    model = small(components=1)
    with torch.no_grad():
        model.head.bias[1:21] = 5.0
    x = mel(40)
    x[:, 15:] -= 6.0  # bands that are quiet, nor are their neighbours loud but for the first few
    made = model.continued(x, 30, temperature=temperature, generator=seeded())
    power = torch.logsumexp(2 * x, dim=1).max()
    assert float(torch.logsumexp(2 * made, dim=1).max()) <= float(power) + 1e-4
    assert float(torch.logsumexp(2 * made, dim=1).max()) > float(power) - 1.0
    highest = x.amax(dim=-1)[0]
    for band in range(20):
        near = highest[max(0, band - 8) : band + 9].max()
        assert float(made[0, band].max()) <= float(near) + 1e-5


def test_noise_is_drawn_and_changes_what_is_fed_back() -> None:
    model, x = small(), mel(10)
    torch.manual_seed(0)
    a = model(x, 0.5)
    torch.manual_seed(0)
    assert torch.equal(a.mean, model(x, 0.5).mean)
    assert not torch.allclose(a.mean, model(x).mean, atol=1e-3)


def test_it_learns_a_tone_that_fades() -> None:
    """A ramp over time: after a few steps, the next frame is told far better than by repeating the last."""
    model = small(components=2).train()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    t = torch.arange(30.0)
    x = -1 - 0.1 * t.expand(4, 20, 30) + torch.tensor([-1.0, 0.0, 0.5, 1.0])[:, None, None]
    for _ in range(120):
        loss = -model(x).log_prob(model.standardised(x)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    following = model.eval().continued(x[..., :20], 3, temperature=0.0)
    assert (following - x[..., 20:23]).abs().mean() < 0.4 * (x[..., 19:20] - x[..., 20:23]).abs().mean()


def test_a_checkpoint_gives_the_same(tmp_path: Path) -> None:
    model = small()
    checkpoints.save(tmp_path / "lstm.safetensors", model, half=False)
    again = checkpoints.load(tmp_path / "lstm.safetensors", role="mel-lstm")
    assert isinstance(again, MelLSTM)
    assert torch.equal(again.continued(mel(5), 4, generator=seeded()), model.continued(mel(5), 4, generator=seeded()))


def test_bad_input() -> None:
    model = small()
    for wrong in (mel(10)[:, :19], mel(10)[0], mel(10)[..., :0]):
        with pytest.raises(InputError, match=r"mel must be \(batch, 20, frames\)"):
            model.listen(wrong)
    with pytest.raises(InputError, match="NaN"):
        model(mel(3) / 0)
    with pytest.raises(InputError, match="frames must be positive"):
        model.generate(model.start(), 0)
    for temperature in (-0.1, math.nan, math.inf):
        with pytest.raises(InputError, match="temperature"):
            model.generate(model.start(), 1, temperature=temperature)
    with pytest.raises(InputError, match="components"):
        MelLSTMConfig(components=0)
