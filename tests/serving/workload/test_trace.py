from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from topoprobe.errors import InputError
from topoprobe.serving.workload.request import Lengths
from topoprobe.serving.workload.trace import read_trace
from topoprobe.units import PS_PER_S

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:15:46.6805900,374,44\r\n"
    "2023-11-16 18:15:50.9951690,396,109\r\n"
)
MOONCAKE = (
    '{"timestamp": 5, "input_length": 12, "output_length": 3, "hash_ids": [1]}\n'
    '{"timestamp": 8.5, "input_length": 7, "output_length": 2, "hash_ids": []}\n'
)
LENGTHS = "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n18,243,261,13.5\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_azure_times_are_exact_and_start_at_zero(pack: type[bytes]) -> None:
    trace = read_trace(pack(AZURE.encode()))
    assert trace.format == "azure"
    assert trace.lengths == (Lengths(374, 44), Lengths(396, 109))
    assert trace.arrivals_ps == (0, 4_314_579_000_000)


def test_azure_times_cross_midnight_and_take_the_utc_offset() -> None:
    trace = read_trace(
        b"TIMESTAMP,ContextTokens,GeneratedTokens\n"
        b"2024-02-28 23:59:59.5+00:00,1,1\n2024-02-29 00:00:01+00:00,1,1\n"
    )
    assert trace.arrivals_ps == (0, 3 * PS_PER_S // 2)


def test_mooncake_times_are_milliseconds() -> None:
    trace = read_trace(MOONCAKE.encode())
    assert trace.format == "mooncake"
    assert trace.lengths == (Lengths(12, 3), Lengths(7, 2))
    assert trace.arrivals_ps == (0, 3_500_000_000)


def test_lengths_have_no_times() -> None:
    trace = read_trace(LENGTHS.encode())
    assert (trace.format, trace.lengths, trace.arrivals_ps) == (
        "lengths",
        (Lengths(18, 243),),
        None,
    )


def test_limit_reads_no_further() -> None:
    trace = read_trace((AZURE + "garbage").encode(), limit=1)
    assert trace.lengths == (Lengths(374, 44),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t is empty"),
        (" \n\n", "t is empty"),
        ("hello\n", "t begins with 'hello'; expected an Azure CSV"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "a header and no requests"),
        (AZURE + "2023-11-16 18:15:51,3", "line 4: expected 3 fields and found 2"),
        (AZURE + "2023-11-16 18:15:51,-3,4", "line 4: found -3 prompt tokens"),
        (AZURE + "2023-11-16 18:15:51,3,0", "line 4: found 0 output tokens"),
        (AZURE + "2023-11-16 18:15:51,3,10000001", "line 4: found 10000001 output tokens"),
        (AZURE + "2023-11-16 18:15:51,3,4.5", "line 4: found '4.5'; expected a whole number"),
        (AZURE + "2023-11-16 18:15:51,3,\u0664", "line 4: found '\u0664'; expected a whole"),
        (AZURE + "2023-11-16 18:15:50,3,4", "line 4: it is earlier"),
        (AZURE + "NaN,3,4", "line 4: found the time 'NaN'"),
        (AZURE + "2023-13-16 18:15:51,3,4", "line 4: found the time '2023-13-16"),
        (MOONCAKE + '{"timestamp": 9, "input_', "line 3: it is no request: .*truncated"),
        (MOONCAKE + '{"timestamp":NaN, "input_length": 1, "output_length": 1}', "it is no request"),
        (MOONCAKE + '{"timestamp": -1, "input_length": 1, "output_length": 1}', "timestamp -1"),
        (MOONCAKE + '{"timestamp": 1, "input_length": 1, "output_length": 1}', "3: it is earlier"),
        (MOONCAKE + '{"timestamp": 9, "input_length": 0, "output_length": 1}', "found 0 prompt"),
        (MOONCAKE + '{"timestamp":9, "input_length":"x", "output_length": 1}', "it is no request"),
        (LENGTHS + "7\n", "line 3: expected 2 fields or more and found 1"),
    ],
)  # fmt: skip
def test_bad_trace_is_one_sentence_with_the_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_trace(text.encode(), "t")
    assert "\n" not in str(caught.value)


def test_truncated_gzip_is_refused() -> None:
    with pytest.raises(InputError, match="damaged gzip"):
        read_trace(gzip.compress(AZURE.encode())[:-12])


def test_binary_file_is_refused() -> None:
    with pytest.raises(InputError, match="is not text"):
        read_trace(b"\xff\xfe\x00\x01")


@pytest.mark.parametrize(
    ("name", "num_requests", "mean_prompt", "mean_output", "span_s"),
    [
        ("AzureLLMInferenceTrace_code_2023.csv.gz", 8_819, 2_048, 28, 3_436),
        ("AzureLLMInferenceTrace_conv_2023.csv.gz", 19_366, 1_155, 211, 3_502),
        ("mooncake_conversation.jsonl.gz", 12_031, 12_035, 343, 3_537),
        ("sharegpt_val_10k_llama2.csv.gz", 10_000, 246, 326, None),
    ],
)
def test_recorded_traces_have_the_figures_of_their_index(
    name: str,
    num_requests: int,
    mean_prompt: int,
    mean_output: int,
    span_s: int | None,
    recordings: Path,
) -> None:
    trace = read_trace((recordings / "traces" / name).read_bytes(), name)
    assert len(trace.lengths) == num_requests
    prompts = sum(each.num_prompt_tokens for each in trace.lengths)
    outputs = sum(each.num_output_tokens for each in trace.lengths)
    assert round(prompts / num_requests) == mean_prompt
    assert round(outputs / num_requests) == mean_output
    last_ps = None if trace.arrivals_ps is None else trace.arrivals_ps[-1]
    assert (None if last_ps is None else round(last_ps / PS_PER_S)) == span_s
