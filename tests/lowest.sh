#!/bin/sh
# The light tests with the lowest versions of the base dependencies that pyproject.toml declares. torch and the other extras stay
# out: they are large, and most of their floors have no wheel for newer Pythons.
set -eu
cd "$(dirname "$0")/.."
ENV="${LOWEST_ENV:-build/lowest}"
rm -rf "$ENV"
"${PYTHON:-python3}" -m venv "$ENV"
"$ENV/bin/python" tests/lowest.py > "$ENV/floors.txt"
cat "$ENV/floors.txt"
"$ENV/bin/python" -m pip install --quiet --constraint "$ENV/floors.txt" --editable . pytest hypothesis jsonschema pytest-timeout
"$ENV/bin/python" -m pytest -q -o addopts=--strict-markers tests/test_config.py tests/test_pareto.py \
    tests/test_hw_predict.py tests/test_search.py tests/test_hw_devices.py
"$ENV/bin/zoo" search --space tiny --device tx2 --max-params 300k --json -o "$ENV/run" > /dev/null
"$ENV/bin/zoo" verify "$ENV/run"
