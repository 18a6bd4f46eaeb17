"""Logs of other tools in their documented formats, and what happens when one is cut off."""

import json
import re

import pytest

from hw_models.device import DeviceError
from hw_models.measure.logs import LAYOUTS, LogError, read_log
from hw_models.measure.rails import covering
from hw_models.measurements import Subject, from_log
from zoo.config import load_config

TEGRASTATS = """\
RAM 2448/7860MB (lfb 1126x4MB) SWAP 0/3930MB (cached 0MB) CPU [5%@345,off,off,2%@345,1%@345,3%@345] EMC_FREQ 4%@1866 \
GR3D_FREQ 0%@114 PLL@45C MCPU@45C GPU@43.5C BCPU@45C thermal@44.5C Tdiode@42.75C \
VDD_IN 2593/2593 VDD_CPU 228/228 VDD_GPU 152/152 VDD_SOC 533/533
RAM 2601/7860MB (lfb 1100x4MB) SWAP 0/3930MB (cached 0MB) CPU [40%@2035,off,off,31%@2035,1%@345,3%@345] \
EMC_FREQ 31%@1866 GR3D_FREQ 99%@1300 PLL@46C MCPU@46C GPU@45C BCPU@46C thermal@45.5C Tdiode@43.75C \
VDD_IN 9123/5858 VDD_CPU 761/494 VDD_GPU 4120/2136 VDD_SOC 1218/875
"""

ORIN = """\
05-06-2024 09:29:26 RAM 2448/30592MB (lfb 6x4MB) CPU [1%@729,0%@729] GR3D_FREQ 61% cpu@48.2C \
VDD_GPU_SOC 2404mW/2404mW VDD_CPU_CV 400mW/400mW VIN_SYS_5V0 3200mW/3200mW
"""

DMON = """\
# gpu   pwr gtemp mtemp    sm   mem   enc   dec  mclk  pclk
# Idx     W     C     C     %     %     %     %   MHz   MHz
    0    43    35     -     0     0     0     0  2505  1075
    1     -    40     -     5     1     0     0   405   300
    0   198    61     -    97    44     0     0  2505  1405
# gpu   pwr gtemp mtemp    sm   mem   enc   dec  mclk  pclk
# Idx     W     C     C     %     %     %     %   MHz   MHz
    0   201    62     -    98    45     0     0  2505  1405
"""

NVPROF_SUMMARY = """\
==12345== NVPROF is profiling process 12345, command: python run.py
==12345== Profiling application: python run.py
==12345== Profiling result:
"Type","Time(%)","Time","Calls","Avg","Min","Max","Name"
,%,ms,,us,us,us,
"GPU activities",61.2,12.500000,100,125.000000,120.1,140.2,"void implicit_convolve_sgemm<float, int=128>(int, int)"
"GPU activities",30.1,6.000000,200,30.000000,28.0,33.0,"void bn_fw_inf_1C11_kernel_NCHW<float>(float)"
"GPU activities",8.7,1.700000,10,170.000000,160.0,180.0,"[CUDA memcpy HtoD]"
"API calls",99.0,900.000000,300,3000.0,1.0,9000.0,"cudaLaunchKernel"
"""

NVPROF_TRACE = """\
==99== Profiling result:
"Start","Duration","Grid X","Grid Y","Grid Z","Device","Name","Correlation_ID"
s,ms,,,,,,
1.000000,0.125000,10,1,1,"GPU (0)","conv(float*)",11
1.000200,0.131000,10,1,1,"GPU (0)","conv(float*)",12
1.000400,0.010000,10,1,1,"GPU (0)","[CUDA memcpy DtoH]",13
1.000500,0.030000,10,1,1,"GPU (0)","relu(float*)",14
"""

NSYS = """\
Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name
61.2,12500000,100,125000.0,124000.0,120100,140200,3000.0,"void implicit_convolve_sgemm<float, (int)128>(int)"
38.8,6000000,200,30000.0,29900.0,28000,33000,500.0,relu(float *)
"""

NSYS_OLD = """\
Time(%),Total Time (ns),Instances,Average,Minimum,Maximum,Name
100.0,5000000,50,100000.0,90000,120000,conv(float *)
"""

TRT_TIMES = json.dumps(
    [
        {
            "startInMs": 0.5 + i,
            "endInMs": 0.6 + i,
            "startComputeMs": 0.6 + i,
            "endComputeMs": 5.6 + i,
            "inMs": 0.1,
            "computeMs": 5.0,
            "outMs": 0.2,
            "latencyMs": 5.25 + 0.25 * i,
            "endToEndMs": 9.0,
        }
        for i in range(3)
    ],
    indent=1,
)

TRT_PROFILE = json.dumps(
    [
        {"count": 500},
        {"name": "level1.conv + PRelu", "timeMs": 60.0, "averageMs": 0.12, "percentage": 75.0},
        {"name": "Reformat", "timeMs": 20.0, "averageMs": 0.04, "percentage": 25.0},
    ],
    indent=1,
)

TEXTS = {
    "tegrastats": TEGRASTATS,
    "tegrastats of an Orin": ORIN,
    "nvidia-smi-dmon": DMON,
    "nvprof": NVPROF_SUMMARY,
    "nvprof trace": NVPROF_TRACE,
    "nsys": NSYS,
    "nsys before 2022": NSYS_OLD,
    "trtexec times": TRT_TIMES,
    "trtexec profile": TRT_PROFILE,
}


TX2_JETPACK4 = (
    "RAM 3276/7859MB (lfb 5x4MB) SWAP 1626/12122MB (cached 181MB) CPU [44%@1421,49%@2031,off,17%@1420] "
    "EMC_FREQ 1%@1866 GR3D_FREQ {gpu} APE 150 MTS fg 1% bg 1% PLL@42.5C GPU@39.5C thermal@41.3C "
    "VDD_SYS_GPU {mw}/182 VDD_SYS_SOC 730/730 VDD_4V0_WIFI 0/0 VDD_IN 5297/5297 VDD_SYS_CPU 917/917\n"
)
BOARDS = {
    "TX2, JetPack 3": (
        "RAM 1640/7851MB (lfb 1x2MB) cpu [0%@345,off,off,0%@345] EMC 10%@665 APE 150 GR3D 61%@1134 "
        "VDD_IN 4578/4578 VDD_CPU 457/457 VDD_GPU 839/839 VDD_SOC 763/763 VDD_WIFI 19/19 VDD_DDR 1125/1125\n",
        ("VDD_GPU", 0.839, 61.0, 1134.0),
    ),
    "TX2, JetPack 4": (TX2_JETPACK4.format(gpu="95%@850", mw=900), ("VDD_SYS_GPU", 0.9, 95.0, 850.0)),
    "Nano": (
        "RAM 2519/3956MB (lfb 3x4MB) IRAM 0/252kB(lfb 252kB) SWAP 0/1978MB (cached 0MB) CPU [12%@1479,off] "
        "EMC_FREQ 9%@1600 GR3D_FREQ 45%@921 NVDEC 716 APE 25 PLL@33C GPU@34C thermal@35.25C "
        "POM_5V_IN 3187/3187 POM_5V_GPU 450/450 POM_5V_CPU 612/612\n",
        ("POM_5V_GPU", 0.45, 45.0, 921.0),
    ),
    "AGX Xavier, JetPack 4": (
        "RAM 2420/31928MB (lfb 6975x4MB) SWAP 0/15964MB (cached 0MB) CPU [0%@1190,off] EMC_FREQ 0%@2133 "
        "GR3D_FREQ 99%@1377 APE 150 MTS fg 0% bg 0% AO@28C GPU 4030/4030 CPU 310/310 SOC 1086/1086 CV 0/0 "
        "VDDRQ 155/155 SYS5V 1442/1442\n",
        ("GPU", 4.03, 99.0, 1377.0),
    ),
    "Orin NX, JetPack 5": (
        "06-16-2023 10:45:00 RAM 6334/15388MB (lfb 1770x4MB) SWAP 491/7694MB (cached 0MB) CPU [6%@729,off] "
        "EMC_FREQ 0%@2133 GR3D_FREQ 62%@611 GR3D2_FREQ 0%@0 VIC_FREQ 729 APE 174 CPU@47.9C GPU@45.8C "
        "VDD_IN 5299mW/5299mW VDD_CPU_GPU_CV 773mW/773mW VDD_SOC 1424mW/1424mW\n",
        ("VDD_IN", 5.299, 62.0, 611.0),
    ),
    "AGX Orin, JetPack 6": (
        "04-11-2025 10:36:20 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729] "
        "EMC_FREQ 0%@2133 GR3D_FREQ 33%@[1300,1298] VIC_FREQ 729 APE 174 CPU@44.562C VDD_GPU_SOC 2340mW/2340mW "
        "VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW\n",
        ("VDD_GPU_SOC", 2.34, 33.0, 1300.0),
    ),
    "AGX Thor, JetPack 7": (
        "08-08-2026 20:58:23 RAM 3429/125749MB (lfb 120x4MB) CPU [0%,5%,off]@2601 EMC_FREQ @4266 "
        "GR3D_FREQ @[1574,1574,1574] cpu@49.75C/49.75C gpu@51.218C/51.218C VDD_GPU 6330mW/6000mW/7330mW "
        "VDD_CPU_SOC_MSS 12281mW/12281mW/30059mW VIN_SYS_5V0 7424mW/7424mW/15486mW VIN 28906mW/14453mW/28906mW\n",
        ("VDD_GPU", 6.33, None, 1574.0),
    ),
}
"""Lines of tegrastats by board and JetPack, with a rail, its power in W, and the GPU's load and clock."""

DMON_DATED = """\
#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem    enc    dec   mclk   pclk
#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %      %      %    MHz    MHz
 20240104   13:54:35      0     40     28      -      0      0      0      0   6250    210
 20240104   13:54:36      0    180     48      -     93     40      0      0   6250   1695
"""

QUERY = """\
timestamp, index, power.draw [W], utilization.gpu [%], clocks.current.sm [MHz]
2026/09/23 20:00:00.000, 0, 21.50 W, 0 %, 210 MHz
2026/09/23 20:00:01.000, 0, 110.25 W, 98 %, 1695 MHz
2026/09/23 20:00:02.000, 0, [N/A], 99 %, 1695 MHz
"""

NVPROF_TEXT = """\
==15432== NVPROF is profiling process 15432, command: ./net
==15432== Profiling application: ./net
==15432== Profiling result:
            Type  Time(%)      Time     Calls       Avg       Min       Max  Name
 GPU activities:   61.20%  12.500ms       100  125.00us  120.10us  140.20us  void conv<float, int=128>(int, int)
                   30.10%  6.0000ms       200  30.000us  28.000us  33.000us  relu(float*)
                    8.70%  1.7000ms        10  170.00us  160.00us  180.00us  [CUDA memcpy HtoD]
      API calls:   99.00%  900.00ms       300  3.0000ms  1.0000us  9.0000ms  cudaLaunchKernel
                    1.00%  9.0000ms         2  4.5000ms  1.0000us  9.0000ms  cudaMalloc
"""

NVPROF_TEXT_CUDA8 = """\
==99== NVPROF is profiling process 99, command: ./net
==99== Profiling result:
Time(%)      Time     Calls       Avg       Min       Max  Name
 67.57%  12.500ms       100  125.00us  120.10us  140.20us  void conv<float, int=128>(int, int)
 32.43%  6.0000ms       200  30.000us  28.000us  33.000us  relu(float*)

==99== API calls:
Time(%)      Time     Calls       Avg       Min       Max  Name
 99.00%  900.00ms       300  3.0000ms  1.0000us  9.0000ms  cudaLaunchKernel
"""

NVPROF_CSV_CUDA8 = """\
==99== Profiling result:
"Time(%)","Time","Calls","Avg","Min","Max","Name"
%,ms,,us,us,us,
67.57,12.500000,100,125.000000,120.1,140.2,"void conv<float, int=128>(int, int)"
32.43,6.000000,200,30.000000,28.0,33.0,"relu(float*)"

==99== API calls:
"Time(%)","Time","Calls","Avg","Min","Max","Name"
%,ms,,ms,us,ms,
99.00,900.000000,300,3.000000,1.0,9.0,"cudaLaunchKernel"
"""

NSYS_SEVERAL = """\
Processing [net.sqlite] with [/opt/nvidia/nsight-systems/2023.2.3/host-linux-x64/reports/cuda_gpu_kern_sum.py]...
Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name
67.6,12500000,100,125000.0,124000.0,120100,140200,3000.0,"void conv<float, (int)128>(int)"
32.4,6000000,200,30000.0,29900.0,28000,33000,500.0,relu(float *)

Processing [net.sqlite] with [/opt/nvidia/nsight-systems/2023.2.3/host-linux-x64/reports/cuda_gpu_mem_time_sum.py]...
Time (%),Total Time (ns),Count,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Operation
92.0,46000000,900,51000.0,51000.0,400,60000,50.0,[CUDA memcpy Host-to-Device]
"""

NSYS_TEXT = """\
 ** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):

 Time (%)  Total Time (ns)  Instances  Avg (ns)  Med (ns)  Min (ns)  Max (ns)  StdDev (ns)  Name
 --------  ---------------  ---------  --------  --------  --------  --------  -----------  ------------
     67.6       12,500,000        100  125,000.0  124,000.0   120,100   140,200      3,000.0  void conv<float, 128>(int)
     32.4        6,000,000        200   30,000.0   29,900.0    28,000    33,000        500.0  relu(float *)
"""

TRT_TEXT = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=net.onnx --fp16
[01/26/2026-10:00:00] [I] Precision: FP32+FP16
[01/26/2026-10:00:01] [I] Created input binding for image with dimensions 1x3x512x1024
[01/26/2026-10:00:09] [I] === Performance summary ===
[01/26/2026-10:00:09] [I] Throughput: 30.1 qps
[01/26/2026-10:00:09] [I] Latency: min = 30.1 ms, max = 33.2 ms, mean = 30.4 ms, median = 30.3 ms
[01/26/2026-10:00:09] [I] GPU Compute Time: min = 29 ms, max = 32 ms, mean = 29.4 ms, median = 29.3 ms
&&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=net.onnx --fp16
"""

TRT7_TEXT = """\
[11/02/2020-10:00:00] [I] Precision: FP32
[11/02/2020-10:00:09] [I] Host Latency
[11/02/2020-10:00:09] [I] min: 30.1 ms (end to end 58.1 ms)
[11/02/2020-10:00:09] [I] mean: 30.4 ms (end to end 58.9 ms)
[11/02/2020-10:00:09] [I] median: 30.3 ms (end to end 58.7 ms)
[11/02/2020-10:00:09] [I] GPU Compute
[11/02/2020-10:00:09] [I] median: 29.3 ms
"""

TRT_OWN_TIMES = json.dumps([{"startEnqMs": 0.2, "startH2dMs": 0.1, "computeMs": 30.0, "latencyMs": 30.4}], indent=1)

RUNS = json.dumps([{"latencyMs": 30.4}, {"latencyMs": 30.6}], indent=1)

TEXTS |= {
    **{f"tegrastats, {board}": text for board, (text, _) in BOARDS.items()},
    "nvidia-smi-dmon with date and time": DMON_DATED,
    "nvidia-smi query": QUERY,
    "nvprof text": NVPROF_TEXT,
    "nvprof text of CUDA 8": NVPROF_TEXT_CUDA8,
    "nvprof of CUDA 8": NVPROF_CSV_CUDA8,
    "nsys, several reports": NSYS_SEVERAL,
    "nsys text": NSYS_TEXT,
}
SUMMARIES = ("nvprof", "nvprof text", "nvprof text of CUDA 8", "nvprof of CUDA 8", "nsys, several reports", "nsys text")


@pytest.fixture
def log(tmp_path):
    def write(text):
        path = tmp_path / "a.log"
        path.write_text(text)
        return path

    return write


def test_tegrastats_gives_watts_by_rail(log):
    found = read_log(log(TEGRASTATS))
    assert found.tool == "tegrastats"
    idle, busy = found.samples
    assert idle.idle and not busy.idle
    assert busy.power_w == {"VDD_IN": 9.123, "VDD_CPU": 0.761, "VDD_GPU": 4.120, "VDD_SOC": 1.218}
    assert found.clock_mhz == 1300


@pytest.mark.parametrize("board", BOARDS)
def test_tegrastats_of_every_board(log, board):
    text, (rail, watts, load, clock) = BOARDS[board]
    (sample,) = read_log(log(text)).samples
    assert (sample.power_w[rail], sample.load, sample.clock_mhz) == (watts, load, clock)
    assert not {"RAM", "SWAP", "IRAM", "NC"} & set(sample.power_w)


@pytest.mark.parametrize(
    ("names", "covers", "rails"),
    [
        (("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), "GPU rail", []),
        (("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), "board", ["VDD_IN"]),
        (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "GPU rail", []),
        (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "board", []),
        (("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_IN"), "GPU rail", ["VDD_SYS_GPU"]),
        (("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"), "GPU rail", ["POM_5V_GPU"]),
        (("gpu0", "gpu1"), "card", ["gpu0", "gpu1"]),
    ],
)
def test_a_rail_that_supplies_more_than_the_gpu_is_not_its(names, covers, rails):
    assert covering(names, covers) == rails


def test_dmon_gives_watts_by_card_and_skips_what_a_card_does_not_tell(log):
    found = read_log(log(DMON))
    assert [sample.power_w for sample in found.samples] == [{"gpu0": 43.0}, {"gpu0": 198.0}, {"gpu0": 201.0}]
    assert [sample.power_w["gpu0"] for sample in found.busy] == [198.0, 201.0]


@pytest.mark.parametrize(("text", "watts"), [(DMON_DATED, 180.0), (QUERY, 110.25), (QUERY.replace(" W,", ","), 110.25)])
def test_cards_give_load_and_clock(log, text, watts):
    found = read_log(log(text))
    assert [sample.power_w for sample in found.busy] == [{"gpu0": watts}]
    assert found.clock_mhz == 1695


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_give_launches_and_means_without_copies_or_calls_of_the_api(log, name):
    kernels = read_log(log(TEXTS[name])).kernels
    assert [kernel.calls for kernel in kernels] == [100, 200]
    assert [kernel.mean_s for kernel in kernels] == pytest.approx([125e-6, 30e-6])
    assert kernels[0].name.startswith("void ")
    assert kernels[0].name.endswith(")")


def test_a_trace_of_nvprof_is_gathered_by_kernel(log):
    kernels = read_log(log(NVPROF_TRACE)).kernels
    assert [(k.name, k.calls) for k in kernels] == [("conv(float*)", 2), ("relu(float*)", 1)]
    assert kernels[0].mean_s == pytest.approx(128e-6)


def test_older_tables_of_nsys_name_their_columns_otherwise(log):
    (kernel,) = read_log(log(NSYS_OLD)).kernels
    assert (kernel.calls, kernel.mean_s) == (50, pytest.approx(1e-4))


def test_trtexec_gives_latencies_or_layers(log):
    assert read_log(log(TRT_TIMES)).latencies_s == pytest.approx((5.25e-3, 5.5e-3, 5.75e-3))
    profile = read_log(log(TRT_PROFILE))
    assert profile.per_run
    assert [(k.name, k.mean_s) for k in profile.kernels] == [
        ("level1.conv + PRelu", pytest.approx(120e-6)),
        ("Reformat", pytest.approx(40e-6)),
    ]


@pytest.mark.parametrize(
    ("text", "precision", "shape"), [(TRT_TEXT, "fp16", (1, 3, 512, 1024)), (TRT7_TEXT, "fp32", None)]
)
def test_trtexec_prints_the_same_as_text(log, text, precision, shape):
    found = read_log(log(text))
    assert found.latencies_s == (pytest.approx(30.3e-3),)
    assert (found.stack, found.precision, found.input_shape) == ("tensorrt", precision, shape)


@pytest.mark.parametrize(("text", "stack"), [(TRT_TIMES, "tensorrt"), (TRT_OWN_TIMES, "tensorrt"), (RUNS, None)])
def test_a_runtime_is_only_told_where_no_other_writes_so(log, text, stack):
    assert read_log(log(text)).stack == stack


@pytest.mark.parametrize("name", TEXTS)
def test_a_log_cut_anywhere_in_its_last_line_is_one_sentence(log, name):
    text = TEXTS[name]
    start = text.rstrip("\n").rfind("\n") + 1
    end = len(text.rstrip("\n"))
    for at in range(start + 1, end, max(1, (end - start) // 23)):
        with pytest.raises(LogError) as error:
            read_log(log(text[:at]))
        message = str(error.value)
        assert "a.log" in message
        assert "\n" not in message
        assert "Traceback" not in message


@pytest.mark.parametrize(("name", "tool"), [("trtexec times", "trtexec"), ("nsys", "nsys"), ("nvprof text", "nvprof")])
def test_the_sentence_names_the_tool_and_the_line(log, name, tool):
    with pytest.raises(
        LogError, match=rf"a\.log: \(log of {tool}\) stops in the middle of line \d+; record the log anew"
    ):
        read_log(log(TEXTS[name][:-30]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "is no log of trtexec, tegrastats"),
        ("", "is no log of"),
        (DMON.replace("198", "many"), r"line 5 \(log of nvidia-smi dmon\) 'many' is not a number"),
        (DMON.replace("198", "-198"), "'-198' is not a number of at least 0"),
        (QUERY.replace("power.draw", "fan.speed"), "has no column power.draw; add it to --query-gpu"),
        (NVPROF_SUMMARY.replace(",%,ms,,us", ",%,ms,,hours"), "unit of Avg is 'hours'"),
        (NSYS.replace("Instances", "Things"), "has no kernel summary"),
        (NSYS + NSYS, "has the kernels of 2 captures"),
        (NSYS.replace(",100,", ",0,"), "'0' is not a count of calls"),
        (NSYS_SEVERAL[NSYS_SEVERAL.index("\n\n") + 2 :], "has no kernel summary, the report in line 2 is another"),
        (TRT_TEXT.replace("PASSED", "FAILED"), "is of a run that failed"),
        (TRT_TEXT[: TRT_TEXT.index("=== Perf")], "has no performance summary, so the run ended early"),
        (TRT_TIMES.replace('"latencyMs": 5.5', '"latencyMs": "x"'), "entry 2: latencyMs must be a number"),
        (TRT_TIMES.replace('"latencyMs": 5.5', '"latencyMs": NaN'), "entry 2: latencyMs must be a number"),
        ("[]", "is not a list of objects"),
        (TEGRASTATS.replace("VDD", "1DD"), "has no power rails"),
        (TEGRASTATS + "hello\n", r"line 3 \(log of tegrastats\) is not a line of tegrastats"),
        (TEGRASTATS + BOARDS["Nano"][0], "has other rails than the lines before"),
    ],
)
def test_what_is_no_log_is_refused(log, text, message):
    with pytest.raises(LogError, match=message):
        read_log(log(text))


def test_a_tool_that_is_unknown_is_refused(log):
    with pytest.raises(LogError, match="did you mean 'nvprof'"):
        read_log(log(NSYS), "nvprov")


def test_every_layout_has_a_sample_here(log):
    read = {
        next(i for i, layout in enumerate(LAYOUTS) if re.search(layout.pattern, text, re.M | re.I))
        for text in (*TEXTS.values(), TRT_TEXT)
    }
    assert read == set(range(len(LAYOUTS)))


# --- what a log is a measurement of -----------------------------------------------------------------


def measurement(log, text, covers="GPU rail", **stated):
    subject = Subject("espnet-c-3", load_config().models["espnet-c-3"].spec, (512, 1024), **stated)
    (found,) = from_log(log(text), subject, covers)
    return found


def test_kernels_are_launches_times_their_mean_over_the_images(log):
    with pytest.raises(DeviceError, match=r"with up to 200 launches of a kernel, .* state it with --images"):
        measurement(log, NSYS_SEVERAL)
    found = measurement(log, NSYS_SEVERAL, images=50)
    assert found.value == pytest.approx((100 * 125e-6 + 200 * 30e-6) / 50)
    # A batch is the sum of its images.
    assert measurement(log, NSYS_SEVERAL, images=50, batch=2).value == pytest.approx(2 * found.value)
    # Layers of trtexec are of one run already.
    assert measurement(log, TRT_PROFILE).value == pytest.approx(160e-6)


def test_idle_samples_are_left_out_and_the_clock_is_read(log):
    mixed = "".join(
        TX2_JETPACK4.format(gpu=gpu, mw=mw) for gpu, mw in (("0%@114", 152), ("95%@850", 900)) for _ in "ab"
    )
    found = measurement(log, mixed)
    assert (found.metric, found.value, found.clock_mhz, found.covers) == ("power_w", 0.9, 850, "GPU rail")
    with pytest.raises(DeviceError, match="all 3 samples are of an idle GPU"):
        measurement(log, 3 * TX2_JETPACK4.format(gpu="0%@114", mw=152))


@pytest.mark.parametrize("board", ["Orin NX, JetPack 5", "AGX Orin, JetPack 6"])
def test_joint_rails_are_not_the_gpus(log, board):
    text, _ = BOARDS[board]
    with pytest.raises(DeviceError, match="and none is the GPU's alone"):
        measurement(log, text)


def test_a_rail_that_is_stated_must_be_what_the_device_predicts(log):
    text, _ = BOARDS["Nano"]
    assert measurement(log, text, "board", rail="POM_5V_IN").value == 3.187
    with pytest.raises(
        DeviceError, match="rail POM_5V_IN supplies board, but the device's power is that of the GPU rail"
    ):
        measurement(log, text, rail="POM_5V_IN")
    with pytest.raises(DeviceError, match="has no rail 'VDD'; it has POM_5V_IN"):
        measurement(log, text, rail="VDD")


@pytest.mark.parametrize(
    ("text", "stated", "message"),
    [
        (TRT_TEXT, {"stack": "onnxruntime"}, "is of stack tensorrt, but onnxruntime was stated"),
        (TRT_TEXT, {"precision": "fp32"}, "is of precision fp16, but fp32 was stated"),
        (TRT_TEXT, {"batch": 4}, "is of an input of 1x3x512x1024, but 4x3x512x1024 was stated"),
        (BOARDS["TX2, JetPack 4"][0], {"clock_mhz": 1300.0}, "was recorded at 850 MHz, but 1300 MHz was stated"),
    ],
)
def test_what_a_log_says_is_not_overruled(log, text, stated, message):
    with pytest.raises(DeviceError, match=message):
        measurement(log, text, **stated)
