#!/usr/bin/env bash
# One would guess: a whole-number variable of a Stata file with one missing value is read by
#   pyreadstat.read_dta as numbers, NaN where missing, as pandas.read_stata does, and as a variable of
#   floating-point numbers is.
# What happens: its column is of dtype object, Python's int beside NaN. df.mean(numeric_only=True),
#   df.corr(numeric_only=True), df.describe() and df.select_dtypes("number") leave it out, without a word.
# Who is hurt: whoever summarises, correlates or imputes a survey: ages and counts are stored as whole
#   numbers in Stata, and those with gaps, which are what one looks for, are gone.
# Seen with pyreadstat 1.3.7, pandas 3.1.1, numpy 2.4.6, Linux, November 2026. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyreadstat==1.3.7 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/pip" list 2>/dev/null | grep -E "^(pyreadstat|pandas|numpy) "
cat > "$folder/read.py" <<'PYTHON'
import sys

import pandas as pd
import pyreadstat

path = sys.argv[1]
given = pd.DataFrame(
    {"age": pd.array([34, None, 56], dtype="Int32"), "income": [2000.5, None, 3100.0]}
)
pyreadstat.write_dta(given, path)
read, meta = pyreadstat.read_dta(path)
print("stored as:         ", meta.readstat_variable_types)
print("pyreadstat reads:  ", {name: str(kind) for name, kind in read.dtypes.items()})
print("pandas reads:      ", {name: str(kind) for name, kind in pd.read_stata(path).dtypes.items()})
means = read.mean(numeric_only=True)
print("means of its numbers:", dict(means))
is_so = read["age"].dtype == object and list(means.index) == ["income"]
print("as described" if is_so else "changed")
sys.exit(not is_so)
PYTHON
"$folder/venv/bin/python" "$folder/read.py" "$folder/survey.dta"
