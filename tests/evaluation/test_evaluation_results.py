import json

import pytest

from wavegen.evaluation.bootstrap import Estimate
from wavegen.evaluation.results import (
    FileScores,
    SpeechEvaluation,
    SystemScores,
    UtteranceResult,
    VocoderEvaluation,
    format_table,
)

NAN = float("nan")


def system(name: str, mcd: float, pesq: float) -> SystemScores:
    return SystemScores(
        name=name,
        pooled={"mcd": Estimate(mcd, mcd - 0.125, mcd + 0.125), "pesq_wb": Estimate(pesq, NAN, NAN)},
        unscored={"pesq_wb": 2, "estoi": 0},
        files=[FileScores(f"{i}.wav", 1.5, {"mcd": mcd, "pesq_wb": NAN}) for i in range(2)],
    )


BOTH = VocoderEvaluation(
    system("ours", 2.34567, NAN),
    system("theirs|x", 10.0, 3.5),
    {"mcd": Estimate(-7.6, -8, -7), "pesq_wb": Estimate(NAN, NAN, NAN)},
    {"seed": 3},
)


def test_vocoder_table() -> None:
    lines = format_table(BOTH).splitlines()
    assert lines[0].split() == ["measure", "ours", "[95", "%]", "theirs|x", "[95", "%]", "difference", "[95", "%]"]
    assert lines[2].startswith("MCD, dB ↓")
    assert "2.346 [2.221, 2.471]  10.000 [9.875, 10.125]  -7.600 [-8.000, -7.000]" in lines[2]
    assert lines[3].split()[:3] == ["PESQ-WB,", "MOS-LQO", "↑"]
    assert "- [-, -]" in lines[3]
    assert len({len(line) for line in lines[:4]}) == 1  # aligned
    assert lines[5:] == [
        "PESQ-WB: 2 of 2 files could not be scored (ours)",
        "PESQ-WB: 2 of 2 files could not be scored (theirs|x)",
    ]


def test_markdown_table() -> None:
    lines = format_table(BOTH, markdown=True).splitlines()
    assert lines[0] == r"| measure | ours [95 %] | theirs\|x [95 %] | difference [95 %] |"
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[2] == "| MCD, dB ↓ | 2.346 [2.221, 2.471] | 10.000 [9.875, 10.125] | -7.600 [-8.000, -7.000] |"


def test_table_without_a_baseline() -> None:
    alone = VocoderEvaluation(BOTH.candidate, None, {})
    assert all(line.count("[") == 1 for line in format_table(alone).splitlines()[2:4])


def test_speech_table_keeps_its_order() -> None:
    pooled = {
        key: Estimate(0.5, 0.25, 0.75) for key in ("real_time_factor", "cer_synthetic", "sentence_identification")
    }
    lines = format_table(SpeechEvaluation(pooled, [], [])).splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "Harvard sentences identified ↑",
        "CER, synthetic ↓",
        "real-time factor ↓",
    ]
    assert lines[2].endswith("0.500 [0.250, 0.750]")


@pytest.mark.parametrize(
    "evaluation",
    [BOTH, SpeechEvaluation({"a": Estimate(NAN, 0, 1)}, [], [UtteranceResult("u", "t", {"copy": "x"}, {}, {})])],
)
def test_to_dict_is_json(evaluation: VocoderEvaluation | SpeechEvaluation) -> None:
    plain = evaluation.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_to_dict_keeps_the_figures() -> None:
    plain = BOTH.to_dict()
    assert plain["candidate"]["pooled"]["mcd"] == {"value": 2.34567, "low": 2.34567 - 0.125, "high": 2.34567 + 0.125}
    assert plain["candidate"]["files"][1] == {
        "name": "1.wav",
        "seconds": 1.5,
        "scores": {"mcd": 2.34567, "pesq_wb": None},
    }
    assert plain["difference"]["pesq_wb"]["value"] is None
    assert plain["conditions"] == {"seed": 3}
