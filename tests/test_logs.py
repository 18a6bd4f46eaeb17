"""Logs of other tools in their documented formats, and what happens when one is cut off."""

import json

import pytest

from hw_models.measure.logs import READERS, LogError, read_log

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


@pytest.fixture
def log(tmp_path):
    def write(text):
        path = tmp_path / "a.log"
        path.write_text(text)
        return path

    return write


def test_tegrastats_gives_watts_by_rail(log):
    found = read_log(log(TEGRASTATS))
    assert found.kind == "tegrastats"
    assert found.power_w == {
        "VDD_IN": (2.593, 9.123),
        "VDD_CPU": (0.228, 0.761),
        "VDD_GPU": (0.152, 4.120),
        "VDD_SOC": (0.533, 1.218),
    }


def test_tegrastats_of_newer_boards_has_a_unit_and_a_time(log):
    assert read_log(log(ORIN)).power_w == {"VDD_GPU_SOC": (2.404,), "VDD_CPU_CV": (0.4,), "VIN_SYS_5V0": (3.2,)}


def test_dmon_gives_watts_by_card_and_skips_what_a_card_does_not_tell(log):
    assert read_log(log(DMON)).power_w == {"gpu0": (43.0, 198.0, 201.0)}


@pytest.mark.parametrize("text", [NVPROF_SUMMARY, NSYS])
def test_profiles_give_kernels_and_no_copies(log, text):
    kernels = read_log(log(text)).kernels
    assert [kernel.calls for kernel in kernels] == [100, 200]
    assert [kernel.mean_s for kernel in kernels] == pytest.approx([125e-6, 30e-6])
    assert "implicit_convolve_sgemm<float, " in kernels[0].name


def test_a_trace_of_nvprof_is_gathered_by_kernel(log):
    kernels = read_log(log(NVPROF_TRACE)).kernels
    assert [(k.name, k.calls) for k in kernels] == [("conv(float*)", 2), ("relu(float*)", 1)]
    assert kernels[0].mean_s == pytest.approx(128e-6)


def test_older_tables_of_nsys_name_their_columns_otherwise(log):
    (kernel,) = read_log(log(NSYS_OLD)).kernels
    assert (kernel.calls, kernel.mean_s) == (50, pytest.approx(1e-4))


def test_trtexec_gives_latencies_or_layers(log):
    assert read_log(log(TRT_TIMES)).latencies_s == pytest.approx((5.25e-3, 5.5e-3, 5.75e-3))
    layers = read_log(log(TRT_PROFILE)).kernels
    assert [(k.name, k.calls, k.mean_s) for k in layers] == [
        ("level1.conv + PRelu", 500, pytest.approx(120e-6)),
        ("Reformat", 500, pytest.approx(40e-6)),
    ]


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


@pytest.mark.parametrize("name", ["trtexec times", "nsys"])
def test_the_sentence_names_the_line(log, name):
    with pytest.raises(LogError, match=r"a\.log: stops in the middle of line \d+; record the log anew"):
        read_log(log(TEXTS[name][:-30]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "is no log of trtexec, tegrastats"),
        ("", "is no log of"),
        (DMON.replace("198", "many"), "'many' is not a number"),
        (DMON.replace("198", "-198"), "'-198' is not a number of at least 0"),
        (NVPROF_SUMMARY.replace(",%,ms,,us", ",%,ms,,hours"), "unit of Avg is 'hours'"),
        (NSYS.replace("Instances", "Things"), "no column Instances"),
        (TRT_TIMES.replace('"latencyMs": 5.5', '"latencyMs": "x"'), "entry 2: latencyMs must be a number"),
        (TRT_TIMES.replace('"latencyMs": 5.5', '"latencyMs": NaN'), "entry 2: latencyMs must be a number"),
        ("[]", "is not a list of objects"),
        (TEGRASTATS.replace("VDD", "PWR"), "tegrastats with power rails"),
    ],
)
def test_what_is_no_log_is_refused(log, text, message):
    with pytest.raises(LogError, match=message):
        read_log(log(text))


def test_a_kind_that_no_tool_has_is_refused(log):
    with pytest.raises(LogError, match="did you mean 'nvprof'"):
        read_log(log(NSYS), "nvprov")


def test_every_reader_has_a_sample_here():
    assert {name for name in READERS if any(text.startswith(name) for text in TEXTS)} == set(READERS)
