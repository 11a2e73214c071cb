"""Folders of stems scored on: each layout, models beside estimates on disk, and what is wrong with files."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen import separation_jobs
from wavegen.audio.io import Audio
from wavegen.audio.resample import resample
from wavegen.errors import InputError
from wavegen.evaluation.separation import LIMIT_DB, SystemScores, ideal_mask, score
from wavegen.evaluation.separation_files import (
    SeparationEvaluation,
    Trial,
    evaluate,
    held_out,
    ideal,
    plan,
    row_names,
    truth,
)
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation_jobs import Separation

Array = NDArray[np.float32]
RATE = 8000


def orthogonal(count: int, samples: int = RATE, channels: int = 1, seed: int = 0) -> Array:
    """(count, channels, samples): signals of one energy at right angles, RMS 0.1."""
    rows = np.random.default_rng(seed).standard_normal((channels * samples, count))
    basis, _ = np.linalg.qr(rows)
    return (0.1 * math.sqrt(channels * samples) * basis.T).reshape(count, channels, samples).astype(np.float32)


def write(path: Path, samples: Array, rate: int = RATE, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return path


def folder(root: Path, signals: Mapping[str, Array], rate: int = RATE) -> Path:
    for name, samples in signals.items():
        write(root / f"{name}.wav", samples, rate)
    return root


class Shares(Separator):
    """The same share of the mix to each source; ``seen``: the shapes of what was separated."""

    context, hop, config = 0, 100, None

    def __init__(self, sources: tuple[str, ...], rate: int = RATE, channels: int = 1, *, alike: bool = False) -> None:
        super().__init__()
        self.spec = SeparatorSpec(rate, channels, sources, alike)
        self.seen: list[tuple[int, ...]] = []

    def estimate(self, mix: Tensor) -> Tensor:
        self.seen.append(tuple(mix.shape))
        return torch.stack([mix / len(self.spec.sources)] * len(self.spec.sources), dim=1)


def scores_of(trial: Trial) -> dict[str, SystemScores]:
    return {system.name: system for system in evaluate(trial).systems}


def by_estimates(data: Path, estimates: Path, *, split: str = "none", **options: Any) -> dict[str, SystemScores]:
    return scores_of(plan(held_out(data, split=split), {}, {"est": estimates}, **options))


# ------------------------------------------------------------------------------------------------ known numbers


def test_a_perfect_and_a_scaled_estimate(tmp_path: Path) -> None:
    s, n = orthogonal(2)
    folder(tmp_path / "data" / "song", {"voice": s, "noise": n})
    folder(tmp_path / "same" / "song", {"voice": s, "noise": n})
    folder(tmp_path / "half" / "song", {"voice": 0.5 * s, "noise": 0.5 * n})
    folder(tmp_path / "near" / "song", {"voice": s + np.float32(0.1) * n, "noise": n})
    estimates = {name: tmp_path / name for name in ("same", "half", "near")}
    found = scores_of(plan(held_out(tmp_path / "data", split="none"), {}, estimates))
    assert list(found) == ["mixture", "IBM", "IRM", "same", "half", "near"]
    for metric in ("si_sdr", "snr", "museval_sdr"):
        assert found["same"].mean(metric) == LIMIT_DB
    energy = 0.01 * RATE  # of each source; the definition of the global SDR adds 1e-7 to it and to its error
    assert found["same"].mean("sdr") == pytest.approx(10 * math.log10(energy / 1e-7), abs=1e-6)
    assert found["half"].mean("si_sdr") == LIMIT_DB
    for metric in ("snr", "sdr", "museval_sdr"):
        assert found["half"].mean(metric) == pytest.approx(20 * math.log10(2), abs=1e-5)
    assert found["near"].mean("si_sdr", "voice") == pytest.approx(20, abs=1e-4)
    assert found["near"].mean("si_sdr_i", "voice") == pytest.approx(20, abs=1e-4)  # from 0 dB: the energies are one
    assert found["mixture"].mean("si_sdr") == pytest.approx(0, abs=1e-5)
    assert found["mixture"].mean("si_sdr_i") == 0
    assert found["mixture"].mean("snr") == pytest.approx(0, abs=1e-5)
    for bound in ("IBM", "IRM"):
        assert found[bound].mean("si_sdr_i") > 3


def test_the_table_and_the_facts(tmp_path: Path) -> None:
    s, n = orthogonal(2)
    for song in ("a", "b"):
        folder(tmp_path / "data" / song, {"voice": s, "noise": n})
        folder(tmp_path / "est" / song, {"voice": 0.5 * s, "noise": 0.5 * n})
    calls: list[tuple[int, int, str]] = []
    trial = plan(held_out(tmp_path / "data", split="none"), {}, {"e|st": tmp_path / "est"})
    result = evaluate(trial, progress=lambda *call: calls.append(call))
    assert calls[0] == (1, 8, "a: mixture")
    assert calls[-1] == (8, 8, "b: e|st")
    lines = result.text().splitlines()
    assert lines[0] == "2 mixes at 8000 Hz of noise, voice; dB"
    assert lines[2].startswith("| system | SI-SDR | SI-SDRi | SNR | global SDR | SDR (museval v4) | SDR (museval v4): ")
    assert lines[4].startswith("| mixture | ")
    assert lines[7] == "| e\\|st | 100.00 | 100.00 | 6.02 | 6.02 | 6.02 | 6.02 | 6.02 |"
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert [system["name"] for system in found["systems"]] == ["mixture", "IBM", "IRM", "e|st"]
    assert found["machine"]["cores"] >= 1
    assert (found["pieces"], found["sample_rates"], found["sources"]) == (2, [RATE], ["noise", "voice"])
    assert found["systems"][3]["sources"]["voice"]["snr"]["value"] == pytest.approx(6.0206, abs=1e-4)
    assert [item["name"] for item in found["systems"][0]["items"]] == ["a", "b"]


def test_the_middle_is_scored(tmp_path: Path) -> None:
    s, n = orthogonal(2, 4 * RATE)
    wrong = s.copy()
    wrong[:, : RATE + RATE // 2] = 9  # all but the second in the middle
    wrong[:, 2 * RATE + RATE // 2 :] = 9
    folder(tmp_path / "data" / "song", {"voice": s, "noise": n})
    folder(tmp_path / "est" / "song", {"voice": wrong, "noise": n})
    assert by_estimates(tmp_path / "data", tmp_path / "est")["est"].mean("snr", "voice") < 0
    assert by_estimates(tmp_path / "data", tmp_path / "est", seconds=1.0)["est"].mean("snr", "voice") == LIMIT_DB
    assert by_estimates(tmp_path / "data", tmp_path / "est", seconds=99.0)["est"].mean("snr", "voice") < 0
    with pytest.raises(InputError, match="seconds must be positive"):
        by_estimates(tmp_path / "data", tmp_path / "est", seconds=-1.0)


def test_other_is_what_no_source_takes_and_the_rest_stays_in_the_mix(tmp_path: Path) -> None:
    v, d, p, g = orthogonal(4)
    folder(tmp_path / "data" / "song", {"vocals": v, "drums": d, "piano": p, "guitar": g})
    folder(tmp_path / "est" / "song", {"vocals": v, "other": d + p + g})
    found = by_estimates(tmp_path / "data", tmp_path / "est", stems=("vocals", "other"))
    assert found["est"].mean("snr") > 90  # the sum was rounded to float32
    assert found["mixture"].mean("si_sdr", "vocals") == pytest.approx(10 * math.log10(1 / 3), abs=1e-4)
    trial = plan(held_out(tmp_path / "data", split="none"), {}, {"est": tmp_path / "est"}, stems=("vocals",))
    assert trial.notes == ["in the mixes, but not scored: drums, guitar, piano"]
    alone = scores_of(trial)
    assert alone["est"].mean("si_sdr_i") == pytest.approx(LIMIT_DB + 10 * math.log10(3), abs=1e-4)
    assert alone["mixture"].mean("si_sdr") == pytest.approx(10 * math.log10(1 / 3), abs=1e-4)
    assert 0 < alone["IRM"].mean("si_sdr_i") < 20  # a mask that did not know the rest would be perfect
    with pytest.raises(InputError, match="no piece has the stem 'flute'; there are drums, guitar, piano, vocals"):
        plan(held_out(tmp_path / "data", split="none"), {}, {"est": tmp_path / "est"}, stems=("flute",))


def test_interchangeable_sources_are_scored_in_the_best_order(tmp_path: Path) -> None:
    s, n = orthogonal(2)
    folder(tmp_path / "data" / "x", {"speaker1": s, "speaker2": n})
    folder(tmp_path / "est" / "x", {"speaker1": n, "speaker2": 0.5 * s})
    found = by_estimates(tmp_path / "data", tmp_path / "est")["est"]
    assert found.mean("snr", "speaker1") == pytest.approx(20 * math.log10(2), abs=1e-5)
    assert found.mean("snr", "speaker2") == LIMIT_DB
    ordered = by_estimates(tmp_path / "data", tmp_path / "est", interchangeable=False)["est"]
    assert ordered.mean("snr", "speaker2") == pytest.approx(10 * math.log10(1 / 1.25), abs=1e-5)
    for path in (tmp_path / "data" / "x").iterdir():
        path.rename(path.with_name(path.name.replace("speaker", "s")))
    for path in (tmp_path / "est" / "x").iterdir():
        path.rename(path.with_name(path.name.replace("speaker", "s")))
    assert by_estimates(tmp_path / "data", tmp_path / "est")["est"].mean("snr", "s2") < 0
    told = by_estimates(tmp_path / "data", tmp_path / "est", interchangeable=True)
    assert told["est"].mean("snr", "s2") == LIMIT_DB


def test_silence_is_leakage_and_what_is_lacking_takes_nothing_away(tmp_path: Path) -> None:
    s, n = orthogonal(2)
    mix = s + n
    folder(tmp_path / "data" / "one", {"voice": s, "noise": n, "horn": 0 * s})
    folder(tmp_path / "est" / "one", {"voice": s, "noise": n, "horn": np.float32(0.1) * mix})
    folder(tmp_path / "data" / "two", {"voice": s, "noise": n})
    folder(tmp_path / "est" / "two", {"voice": s, "noise": n})
    found = by_estimates(tmp_path / "data", tmp_path / "est")["est"]
    one, two = found.items
    assert one.leakage == {"horn": pytest.approx(-20, abs=1e-4)}
    assert math.isnan(one.scores["voice"]["museval_sdr"])  # as museval has it: no window without a silent source
    assert two.leakage == {}
    assert two.scores["voice"]["museval_sdr"] == LIMIT_DB
    named = by_estimates(tmp_path / "data", tmp_path / "est", stems=("voice", "noise", "horn"))["est"].items[1]
    assert named.leakage == {"horn": -LIMIT_DB}  # asked for, and not written: nothing leaks
    assert named.scores["voice"]["museval_sdr"] == LIMIT_DB


@pytest.mark.parametrize("samples", [5000, 2048, 1, 700])
@pytest.mark.parametrize("kind", ["IBM", "IRM"])
def test_masks_in_blocks_are_masks_of_the_whole(kind: str, samples: int, tmp_path: Path) -> None:
    signals = orthogonal(3, max(3, samples), 2)[..., :samples]
    folder(tmp_path / "song", dict(zip("abc", signals, strict=True)))
    (item,) = plan(held_out(tmp_path, split="none"), {}, {}, stems=("a", "b")).pieces
    true = truth(item, None, None)
    whole = ideal_mask(signals, kind, 256)[:2]
    np.testing.assert_allclose(ideal(true, kind, block=512), whole, atol=1e-12)
    np.testing.assert_allclose(ideal(true, kind), whole, atol=1e-12)


# ------------------------------------------------------------------------------------------------------- models


def test_a_model_is_scored_as_separate_separates(tmp_path: Path) -> None:
    s, n = orthogonal(2, 16000)
    folder(tmp_path / "song", {"voice": s, "noise": n}, 16000)
    model = Shares(("voice", "noise")).eval()
    trial = plan(held_out(tmp_path, split="none"), {"m": model}, {}, how=Separation(shifts=2, segment=0.5))
    found = scores_of(trial)
    own = np.stack([resample(x, 16000, RATE) for x in (s, n)])
    made = separation_jobs.separate(Audio(own.sum(axis=0), RATE), model=model)
    expected = score("song", own, np.stack([made[k].samples for k in ("voice", "noise")]), ("voice", "noise"), RATE)
    for source, values in expected.scores.items():
        for metric, value in values.items():
            assert found["m"].items[0].scores[source][metric] == pytest.approx(value, abs=1e-3)
    assert found["m"].mean("si_sdr_i") == pytest.approx(0, abs=1e-3)
    assert found["m"].mean("snr", "voice") == pytest.approx(10 * math.log10(1 / 0.5), abs=0.1)  # of s - (s + n) / 2
    assert max(shape[-1] for shape in model.seen) < 2 * RATE  # segments of half a second, not the whole


def test_models_and_estimates_side_by_side(tmp_path: Path) -> None:
    s, n = orthogonal(2, 16000, 2)
    folder(tmp_path / "data" / "song", {"voice": s, "noise": n}, 16000)
    folder(tmp_path / "est" / "song", {"voice": s, "noise": 0.5 * n}, 16000)
    models = {"a": Shares(("voice", "noise")).eval(), "b": Shares(("noise", "voice")).eval()}
    found = scores_of(plan(held_out(tmp_path / "data", split="none"), models, {"est": tmp_path / "est"}))
    assert list(found) == ["mixture", "IBM", "IRM", "a", "b", "est"]
    assert found["est"].mean("snr", "noise") == pytest.approx(20 * math.log10(2), abs=1e-4)  # resampled alike
    assert found["est"].mean("snr", "voice") == LIMIT_DB
    assert found["a"].items == found["b"].items
    assert models["a"].seen[0][1] == 1  # two channels were averaged for a model of one


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Shares(("voice", "music")), "b has the sources music, voice, a noise, voice: score them apart"),
        (Shares(("voice", "noise"), 16000), "b has the rate 16000 Hz, a 8000 Hz: score them apart"),
        (Shares(("voice", "noise"), channels=2), "b has channels: 2, a 1"),
        (Shares(("voice", "noise"), alike=True), "b has interchangeable sources: True, a False"),
    ],
)
def test_models_that_differ_are_not_scored_together(other: Separator, message: str, tmp_path: Path) -> None:
    s, n = orthogonal(2)
    folder(tmp_path / "song", {"voice": s, "noise": n})
    with pytest.raises(InputError) as caught:
        plan(held_out(tmp_path, split="none"), {"a": Shares(("voice", "noise")), "b": other}, {})
    assert message in str(caught.value)


def test_a_model_has_sources_of_its_own(tmp_path: Path) -> None:
    s, n, h = orthogonal(3)
    folder(tmp_path / "song", {"voice": s, "noise": n, "horn": h})
    files = held_out(tmp_path, split="none")
    trial = plan(files, {"m": Shares(("voice", "noise", "bell")).eval()}, {})
    assert trial.notes == [
        "in the mixes, but not scored: horn",
        "in no mix, so that only what leaks into it is scored: bell",
    ]
    found = scores_of(trial)["m"]
    assert found.items[0].leakage == {"bell": pytest.approx(20 * math.log10(1 / 3), abs=1e-3)}
    assert set(found.items[0].scores) == {"voice", "noise"}
    assert found.mean("museval_sdr") == found.mean("museval_sdr")  # what is lacking is no silent source
    with pytest.raises(InputError, match="song: has the stems horn, noise, voice, and none of bell"):
        plan(files, {"m": Shares(("bell",))}, {})
    with pytest.raises(InputError, match="a model has sources of its own"):
        plan(files, {"m": Shares(("voice", "noise"))}, {}, stems=("voice",))


def test_a_model_that_fails_is_named(tmp_path: Path) -> None:
    class Broken(Shares):
        def estimate(self, mix: Tensor) -> Tensor:
            return super().estimate(mix) * float("nan")

    folder(tmp_path / "song", {"voice": orthogonal(1)[0]})
    with pytest.raises(InputError, match=r"broken, song: .*NaN or infinite"):
        evaluate(plan(held_out(tmp_path, split="none"), {"broken": Broken(("voice", "other")).eval()}, {}))


# ------------------------------------------------------------------------------------------------------ layouts

SLAKH = """
stems:
  S00: {audio_rendered: true, is_drum: false, program_num: 29}
  S01: {audio_rendered: true, is_drum: true, program_num: 128}
  S02: {audio_rendered: true, is_drum: false, program_num: 26}
"""


def test_musdb18hq(tmp_path: Path) -> None:
    names = ("vocals", "drums", "bass", "other")
    signals = dict(zip(names, orthogonal(4, channels=2), strict=True))
    folder(tmp_path / "data" / "test" / "A - B", signals | {"mixture": sum(signals.values())})
    folder(tmp_path / "est" / "A - B", {name: 0.5 * x for name, x in signals.items()})
    trial = plan(held_out(tmp_path / "data", layout="musdb18hq"), {}, {"est": tmp_path / "est"})
    assert trial.sources == names
    assert scores_of(trial)["est"].mean("snr") == pytest.approx(20 * math.log10(2), abs=1e-5)


def test_slakh2100(tmp_path: Path) -> None:
    track = tmp_path / "data" / "test" / "Track00001"
    a, d, b = orthogonal(3)
    for name, samples in (("stems/S00", a), ("stems/S01", d), ("stems/S02", b), ("mix", a + b + d)):
        write(track / f"{name}.flac", samples, subtype="PCM_24")
    (track / "metadata.yaml").write_text(SLAKH)
    folder(tmp_path / "est" / "Track00001", {"guitar": a + b, "drums": a})
    found = scores_of(plan(held_out(tmp_path / "data", layout="slakh2100"), {}, {"est": tmp_path / "est"}))["est"]
    assert found.mean("snr", "guitar") > 90  # two stems of one instrument are one source, here of 24 bits
    assert found.mean("snr", "drums") == pytest.approx(10 * math.log10(1 / 2), abs=1e-3)


@pytest.mark.parametrize("layout", ["librimix", "wsj0-2mix"])
@pytest.mark.parametrize("named_as", ["piece", "reference"])
def test_mixed_speakers(layout: str, named_as: str, tmp_path: Path) -> None:
    part = {"librimix": "wav8k/min/test", "wsj0-2mix": "wav8k/min/tt"}[layout]
    s, n = orthogonal(2)
    for name, samples in (("s1", s), ("s2", n), ("mix", s + n), ("mix_clean", s + n)):
        write(tmp_path / "data" / part / name / "1_2.5.wav", samples)
    for number, samples in ((1, n), (2, s)):
        name = f"1_2.5/speaker{number}" if named_as == "piece" else f"s{number}/1_2.5"
        write(tmp_path / "est" / f"{name}.flac", samples, subtype="PCM_24")
    files = held_out(tmp_path / "data", layout=layout, variant="wav8k/min")
    trial = plan(files, {"m": Shares(("speaker1", "speaker2"), alike=True).eval()}, {"est": tmp_path / "est"})
    assert trial.interchangeable
    assert scores_of(trial)["est"].mean("snr") > 80
    assert plan(files, {}, {"est": tmp_path / "est"}).interchangeable
    write(tmp_path / "est" / "1_2.5" / "speaker1.wav", s)
    with pytest.raises(InputError, match="is there, too"):
        plan(files, {}, {"est": tmp_path / "est"})


def test_arrays_of_rendered_stems(tmp_path: Path) -> None:
    s, n = orthogonal(2, channels=2)
    song = tmp_path / "data" / "validation" / "0001"
    folder(song, {"noise": n})
    steps = np.rint(s * 32768).astype(np.int16)
    np.save(song / "voice.npy", np.ascontiguousarray(steps.T))
    (song / "labels.json").write_text(json.dumps({"sample_rate": RATE, "stems": {}}))
    folder(tmp_path / "est" / "0001", {"noise": n, "voice": steps.astype(np.float32) / 32768})
    found = by_estimates(tmp_path / "data", tmp_path / "est", split="validation", seconds=0.5)
    assert found["est"].mean("snr") == LIMIT_DB


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for options, message in (
        ({"layout": "flat"}, "layout must be one of prepared, musdb18hq, slakh2100, librimix, wsj0-2mix, not 'flat'"),
        ({"split": "train"}, "train: no such folder; where pieces lie in .* itself, the split is none"),
        ({"split": "dev"}, "split 'dev'; there are train, validation, test"),
        ({"split": "test"}, "test: no folder with stems"),
        ({"split": "none", "layout": "musdb18hq"}, "split 'none' is for the layout prepared"),
        ({"layout": "musdb18hq"}, "no song of the test part"),
        ({"layout": "librimix", "variant": "wav8k"}, "wav8k/min: no folder test"),
        ({"layout": "librimix", "variant": "../x"}, "variant must be folders"),
        ({"layout": "wsj0-2mix", "variant": "wav8k/min/mix"}, "variant must be folders"),
        ({"variant": "wav8k"}, "the layout prepared has none; librimix, wsj0-2mix have"),
    ):
        with pytest.raises(InputError, match=message):
            held_out(tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none: no such folder"):
        held_out(tmp_path / "none")


def test_names_of_rows(tmp_path: Path) -> None:
    for name in ("a/best.safetensors", "b/best.safetensors"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    one, two = (str(tmp_path / x / "best.safetensors") for x in "ab")
    assert row_names([one, "v1.5"]) == ["best", "v1.5"]
    assert row_names([one, two]) == [one, two]
    assert row_names(["mixture"]) == [str(Path("mixture").resolve())]
    with pytest.raises(InputError, match="given twice"):
        row_names([one, str(tmp_path / "b" / ".." / "a" / "best.safetensors")])


# -------------------------------------------------------------------------------------------- files that are wrong


@pytest.fixture
def data(tmp_path: Path) -> Path:
    s, n = orthogonal(2, channels=2)
    for name in ("data", "est"):
        folder(tmp_path / name / "song", {"voice": s, "noise": n})
    return tmp_path


def test_estimates_must_agree(data: Path) -> None:
    path = data / "est" / "song" / "voice.wav"
    whole = orthogonal(1, channels=2)[0]
    for samples, rate, message in (
        (whole, 16000, "voice.wav: 16000 Hz; .*data/song/voice.wav has 8000"),
        (whole[:1], RATE, "voice.wav: 1 channels; .*voice.wav has 2"),
        (whole[:, 1:], RATE, "voice.wav: 7999 samples; .*voice.wav has 8000"),
    ):
        write(path, samples, rate)
        with pytest.raises(InputError, match=message):
            by_estimates(data / "data", data / "est")
    path.unlink()
    with pytest.raises(InputError, match=r"est/song/voice\.wav: no such file, nor with another extension"):
        by_estimates(data / "data", data / "est")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        by_estimates(data / "data", data / "nowhere")


@pytest.mark.parametrize("place", ["data", "est"])
def test_broken_files_are_named(place: str, data: Path) -> None:
    path = data / place / "song" / "voice.wav"
    samples = orthogonal(1, channels=2)[0]
    samples[1, 77] = np.nan
    write(path, samples)
    with pytest.raises(InputError, match=rf"{place}/song/voice\.wav: 1 of the samples NaN .* sample 77 of channel 1"):
        by_estimates(data / "data", data / "est")
    path.write_bytes(b"RIFF nonsense")
    with pytest.raises(InputError, match=rf"{place}/song/voice\.wav: not an audio file"):
        by_estimates(data / "data", data / "est")
    write(path, samples[:, :0])
    with pytest.raises(InputError, match=rf"{place}/song/voice\.wav: no audio samples"):
        by_estimates(data / "data", data / "est")
    path.unlink()
    write(path.with_suffix(".flac"), np.nan_to_num(samples), subtype="PCM_16")
    whole = path.with_suffix(".flac").read_bytes()
    path.with_suffix(".flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"{place}/song/voice\.flac: .*damaged"):
        by_estimates(data / "data", data / "est")


def test_stems_of_a_piece_must_agree(data: Path) -> None:
    voice = orthogonal(1, channels=2)[0]
    write(data / "data" / "song" / "voice.wav", voice, 16000)
    with pytest.raises(InputError, match=r"(voice|noise)\.wav: \d+ Hz, beside stems of \d+ Hz"):
        by_estimates(data / "data", data / "est")
    write(data / "data" / "song" / "voice.wav", np.concatenate([voice] * 2))
    with pytest.raises(InputError, match=r"noise\.wav: 2 channels, beside stems of 4"):
        by_estimates(data / "data", data / "est")
    write(data / "data" / "song" / "noise.wav", np.concatenate([voice] * 2))
    with pytest.raises(InputError, match="song: 4 channels; a model is scored on 1 or 2"):
        plan(held_out(data / "data", split="none"), {"m": Shares(("voice", "noise"))}, {})


def test_shorter_and_narrower_stems_are_filled_up(tmp_path: Path) -> None:
    s, n = orthogonal(2, channels=2)
    folder(tmp_path / "data" / "song", {"voice": s, "noise": n[:1, : RATE // 4]})
    filled = np.zeros_like(n)
    filled[:, : RATE // 4] = n[0, : RATE // 4]
    for noise in (n[:1, : RATE // 4], filled):
        folder(tmp_path / "est" / "song", {"voice": s, "noise": noise})
        assert by_estimates(tmp_path / "data", tmp_path / "est")["est"].mean("snr") == LIMIT_DB
    folder(tmp_path / "est" / "song", {"voice": s, "noise": 0.5 * filled})
    late = by_estimates(tmp_path / "data", tmp_path / "est", seconds=0.1)["est"]
    assert late.items[0].leakage == {"noise": -LIMIT_DB}  # in the middle there is nothing left of it


def test_too_few_samples(tmp_path: Path) -> None:
    folder(tmp_path / "song", {"voice": np.ones((1, 1), np.float32)}, 44100)
    trial = plan(held_out(tmp_path, split="none"), {"m": Shares(("voice", "other"))}, {})
    with pytest.raises(InputError, match="song: 1 samples are too few"):
        evaluate(trial)


def test_an_evaluation_without_order_says_so() -> None:
    facts = {"sample_rates": [8000, 16000], "interchangeable": True}
    text = SeparationEvaluation([SystemScores("m", ("speaker1",), [])], facts).text()
    assert text.startswith("0 mixes at 8000/16000 Hz of speaker1, in the best order; dB\n\n| system |")
