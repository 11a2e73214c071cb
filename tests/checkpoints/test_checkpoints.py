"""The checkpoint file: round trips, and every way a file can be wrong."""

import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wavegen import checkpoints
from wavegen.acoustic.speech import SpeechTransformer, SpeechTransformerConfig
from wavegen.audio.features import CONVENTIONS, FeatureSpec
from wavegen.checkpoints import registry
from wavegen.errors import CheckpointError, InputError, WavegenError
from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig

SMALL = ISTFTVocoderConfig(channels=8, hidden=12, layers=1, kernel=3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    checkpoints.save(path, ISTFTVocoder(SMALL, FeatureSpec()), card={"summary": "s", "licence": "CC0-1.0"})
    return path


def rewrite(source: Path, target: Path, **changes: object) -> Path:
    """The same tensors with another header."""
    from safetensors import safe_open

    with safe_open(str(source), framework="pt") as opened:
        header = json.loads(opened.metadata()["wavegen"])
    save_file(load_file(str(source)), str(target), metadata={"wavegen": json.dumps({**header, **changes})})
    return target


@pytest.mark.parametrize("half", [True, False])
def test_round_trip(tmp_path: Path, half: bool) -> None:
    spec = CONVENTIONS["bigvgan-44k"]
    model = ISTFTVocoder(SMALL, spec)
    path = tmp_path / "m.safetensors"
    checkpoints.save(path, model, card={"data": "d"}, half=half)
    again = checkpoints.load(path)
    assert isinstance(again, ISTFTVocoder)
    assert not again.training
    assert again.spec == spec
    assert again.config == SMALL
    assert again.card == {"data": "d"}
    for name, tensor in model.state_dict().items():
        stored = again.state_dict()[name]
        assert stored.dtype == torch.float32
        assert torch.equal(stored, tensor.half().float() if half else tensor)


def test_spec_with_statistics_survives(tmp_path: Path) -> None:
    import dataclasses

    spec = dataclasses.replace(FeatureSpec(), mean=(0.5,) * 100, std=(2.0,) * 100)
    checkpoints.save(tmp_path / "m.safetensors", ISTFTVocoder(SMALL, spec))
    assert checkpoints.load(tmp_path / "m.safetensors").spec == spec


def test_header_alone(file: Path) -> None:
    header = checkpoints.read_header(file)
    assert header.kind == "istft-vocoder"
    assert header.config["channels"] == 8
    assert FeatureSpec.from_dict(header.spec) == FeatureSpec()


def test_another_role_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"kind istft-vocoder \(vocoder\); what is needed here is a speech model"):
        checkpoints.load(file, role="speech")
    small = SpeechTransformerConfig(channels=8, hidden=8, encoder_layers=1, decoder_layers=1, heads=1, kernel=3)
    checkpoints.save(tmp_path / "s.safetensors", SpeechTransformer(small, FeatureSpec()))
    with pytest.raises(CheckpointError, match="speech-transformer"):
        checkpoints.load(tmp_path / "s.safetensors", role="vocoder")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 200, -1])
def test_truncated(file: Path, tmp_path: Path, keep: int) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"damaged\.safetensors: damaged or not a safetensors file"):
        checkpoints.load(damaged)


def test_not_ours(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2)}, str(other))
    with pytest.raises(CheckpointError, match="without wavegen's header"):
        checkpoints.load(other)
    other.write_bytes(b"\x80\x04 a pickle, perhaps")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        checkpoints.load(other)
    with pytest.raises(CheckpointError, match="kind 'poem' is not known"):
        checkpoints.load(rewrite(file, other, kind="poem"))
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoints.load(rewrite(file, other, format=99))
    for changes in ({"config": [8]}, {"spec": "mel"}, {"card": None}, {"kind": ["istft-vocoder"]}):
        with pytest.raises(CheckpointError, match="without wavegen's header"):
            checkpoints.load(rewrite(file, other, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"channels": 16, "hidden": 12, "layers": 1, "kernel": 3}},
        {"config": {"colour": "red"}},
        {"spec": {"n_fft": -1}},
        {"spec": {"colour": "red"}},
        {"config": {"channels": 8, "hidden": 12, "layers": 1, "kernel": 2}},
    ],
)
def test_header_that_does_not_fit(file: Path, tmp_path: Path, changes: dict) -> None:
    other = rewrite(file, tmp_path / "other.safetensors", **changes)
    with pytest.raises(CheckpointError, match=r"other\.safetensors: the weights do not fit their header"):
        checkpoints.load(other)


def test_missing_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint file"):
        checkpoints.load(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="no model named 'piano'"):
        checkpoints.load("piano")
    with pytest.raises(InputError, match="no model card for 'piano'"):
        checkpoints.card("piano")
    with pytest.raises(InputError, match=r"no model card for '\.\./\.\./README'"):
        checkpoints.card("../../README")


@pytest.mark.parametrize("name", [None, 5, b"x"])
def test_names_are_text(name: object) -> None:
    with pytest.raises(InputError, match="named by a str or a Path"):
        checkpoints.load(name)  # type: ignore[arg-type]


def test_a_name_longer_than_file_systems_take() -> None:
    with pytest.raises(InputError, match="no model named 'xxxx"):
        checkpoints.load("x" * 5000)


def test_integer_weights_are_refused(file: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        metadata = opened.metadata()
    tensors = {name: t.to(torch.int8) for name, t in load_file(str(file)).items()}
    save_file(tensors, str(tmp_path / "int8.safetensors"), metadata=metadata)
    with pytest.raises(CheckpointError, match=r"is torch\.int8, not torch\.float32"):
        checkpoints.load(tmp_path / "int8.safetensors")


@pytest.mark.parametrize("device", ["meta", "abacus", "hpu"])
def test_devices_that_cannot_compute(file: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}' cannot be used"):
        checkpoints.load(file, device=device)


def test_unusable_device(file: Path) -> None:
    with pytest.raises(InputError, match="device 'abacus'"):
        checkpoints.load(file, device="abacus")


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = ISTFTVocoder(SMALL, FeatureSpec())
    with torch.no_grad():
        model.head.bias[0] = torch.nan
    with pytest.raises(CheckpointError, match=r"head\.bias holds values that are not finite"):
        checkpoints.save(tmp_path / "m.safetensors", model)
    assert not list(tmp_path.iterdir())


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with pytest.raises(WavegenError, match=r"m\.safetensors: .*") as caught:
            checkpoints.save(tmp_path / "m.safetensors", ISTFTVocoder(SMALL, FeatureSpec()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_registry_lists_names(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "WEIGHTS", file.parent)
    (file.parent / "small.md").write_text("# Small\n")
    (card,) = checkpoints.list_models()
    assert (card.name, card.kind, card.summary, card.licence) == ("small", "istft-vocoder", "s", "CC0-1.0")
    assert checkpoints.card("small") == "# Small\n"
    assert isinstance(checkpoints.load("small"), ISTFTVocoder)


def test_a_kind_stands_for_its_shipped_model(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of that kind, else the first by name; the name of a model, and a path, mean what they say."""
    shipped, elsewhere = tmp_path / "shipped", tmp_path / "elsewhere"
    shipped.mkdir()
    (elsewhere / "istft-vocoder").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(registry, "WEIGHTS", shipped)
    for name in ("b", "a-b", "a", "c"):
        (shipped / f"{name}.safetensors").write_bytes(file.read_bytes())
    monkeypatch.setattr(registry, "DEFAULTS", {"vocoder": "other"})
    assert checkpoints.resolve("istft-vocoder") == shipped / "a.safetensors"
    monkeypatch.setattr(registry, "DEFAULTS", {"vocoder": "c"})
    assert checkpoints.resolve("istft-vocoder") == shipped / "c.safetensors"
    assert isinstance(checkpoints.load("istft-vocoder", role="vocoder"), ISTFTVocoder)
    assert checkpoints.resolve("./istft-vocoder") == Path("istft-vocoder")
    for kind in ("wavenet", "poem"):
        message = (
            rf"^no model named '{kind}'; shipped are: a-b \(istft-vocoder\), a \(istft-vocoder\), "
            r"b \(istft-vocoder\), c \(istft-vocoder\)$"
        )
        with pytest.raises(InputError, match=message):
            checkpoints.resolve(kind)
    (shipped / "istft-vocoder.safetensors").write_bytes(file.read_bytes())
    assert checkpoints.resolve("istft-vocoder") == shipped / "istft-vocoder.safetensors"
    assert [model.name for model in checkpoints.list_models()] == ["a-b", "a", "b", "c", "istft-vocoder"]


def test_shipped_models_load_and_have_cards() -> None:
    models = checkpoints.list_models()
    assert {m.name for m in models if m.default} == set(registry.DEFAULTS.values())
    for model in models:
        assert model.path.stat().st_size <= 16 * 2**20
        assert model.licence
        assert "licence" in checkpoints.card(model.name).lower()
        checkpoints.load(model.name)


def test_a_training_checkpoint_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"anything")
    with pytest.raises(InputError, match=r"state\.pt: a model is a \.safetensors file"):
        checkpoints.load(tmp_path / "state.pt")
