# ---
# jupyter:
#   accelerator: TPU
#   colab:
#     gpuType: V5E1
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Missing incomes: from a data frame to a regression
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/)
#
# The steps of an analysis by multiple imputation, where values may be missing because of what they
# are: look at what is missing, fit, ask how far the answer hangs on what no data can tell, complete
# the table several times, and pool a regression by Rubin's rules.

# %%
import importlib.metadata
import importlib.util
import subprocess
import sys

IN_COLAB = "google.colab" in sys.modules
if IN_COLAB and importlib.util.find_spec("mnar_ebm") is None:
    from google.colab import files

    print("Choose the wheel mnar_ebm-*.whl that `pip wheel --no-deps .` makes in a clone.")
    wheel = next(iter(files.upload()))
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "jaxlib")]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wheel, *keep], check=True)

# %%
import os

import jax

jax.config.update("jax_default_matmul_precision", "float32")  # a TPU rounds to bfloat16 otherwise
print(f"jax {jax.__version__} on {jax.device_count()} x {jax.devices()[0].device_kind}")
print(f"matrix products in {jax.config.jax_default_matmul_precision}")

FAST = os.environ.get("MNAR_EBM_FAST") == "1"  # True: all of it in a minute; numbers mean nothing

# %% [markdown]
# ## The data
#
# A survey that is made up, so that the truth is known: incomes (in thousands) rise with age and
# years of school and are higher with a permanent contract. The higher an income, the likelier it is
# refused. A tenth of the years of school is missing for no reason.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mnar_ebm import MNARImputer, metrics

rng = np.random.default_rng(1)
NUM_PEOPLE = 150 if FAST else 1000
age = rng.normal(45, 12, NUM_PEOPLE)
school = rng.normal(12, 3, NUM_PEOPLE)
is_permanent = rng.random(NUM_PEOPLE) < 0.7
income = 30 + 0.4 * (age - 45) + 2.0 * (school - 12) + 5 * is_permanent
income += rng.normal(0, 5, NUM_PEOPLE)
truth = pd.DataFrame(
    {
        "age": age,
        "school": school,
        "contract": pd.Categorical(np.where(is_permanent, "permanent", "temporary")),
        "income": income,
    }
)
survey = truth.copy()
survey.loc[rng.random(NUM_PEOPLE) < 1 / (1 + np.exp(-(income - 36) / 3)), "income"] = np.nan
survey.loc[rng.random(NUM_PEOPLE) < 0.1, "school"] = np.nan
print(survey.head())
print(survey.isna().mean().round(3).to_string())

# %% [markdown]
# ## Fit
#
# By default (`mechanism="auto"`) it looks for evidence that hidden values decide what is missing.
# Such evidence is one family of models against another, never proof: only the shape that is
# assumed of the incomes tells a refusal by the rich from a population with few rich people.

# %%
SMALL = {"max_iter": 60, "num_models": 1, "num_samples": 100, "mechanism": "selfmasking_probit"}
imputer = MNARImputer(random_state=0, **(SMALL if FAST else {}))
imputer.fit(survey)
print(imputer.report_)

# %% [markdown]
# The probability that a value is missing, over the values that were seen, column by column.

# %%
imputer.plot()
plt.show()

# %% [markdown]
# `transform` fills in posterior means and the likeliest levels: best for one guess at each cell,
# too narrow for an analysis. The frame keeps its dtypes.

# %%
completed = imputer.transform(survey)
print(completed.dtypes.to_string())
print(f"mean income: observed {survey['income'].mean():.2f}, completed ", end="")
print(f"{completed['income'].mean():.2f}, true {truth['income'].mean():.2f}")

# %% [markdown]
# ## How far does the answer hang on what cannot be known?
#
# The rows fit another model as well, under which the incomes that were refused are higher or lower
# than the fitted one says. `sensitivity` moves them off it: by exp(γx), where γ is a log odds ratio
# of refusing for each standard deviation. It tells where a conclusion, here a mean above 33, turns.

# %%
imputations = 5 if FAST else 20
gamma = np.linspace(-1, 1, 3 if FAST else 9)
found = imputer.sensitivity(
    survey, "income", gamma=gamma, conclusion=33, num_imputations=imputations
)
print(found)

# %%
found.plot()
plt.show()

# %% [markdown]
# ## A regression, pooled
#
# Each completed table is analysed as if it were complete; the estimates and their variances are
# pooled by Rubin's rules, which add what the gaps cost.

# %%
NAMES = ("intercept", "age", "school", "permanent")


def regress(frame):
    """Return the least squares coefficients of income and their variances. [4], [4]."""
    x = np.stack(
        [
            np.ones(len(frame)),
            frame["age"] - 45,
            frame["school"] - 12,
            (frame["contract"] == "permanent").astype(float),
        ],
        axis=1,
    )
    y = frame["income"].to_numpy()
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ x.T @ y
    residual = y - x @ coefficients
    return coefficients, np.diag(inverse) * (residual @ residual) / (len(y) - x.shape[1])


tables = imputer.sample(survey, imputations)
estimates, variances = map(np.array, zip(*map(regress, tables), strict=True))
pooled = metrics.pool(estimates, variances, df_complete=len(survey) - len(NAMES))
low, high = pooled.interval(0.95)

# %%
cases, case_variances = regress(survey.dropna())
whole, _ = regress(truth)
half_width = 1.96 * np.sqrt(case_variances)
print(f"{'':10}{'complete cases':>22}{'pooled':>22}{'missing info':>14}{'all known':>11}")
for at, name in enumerate(NAMES):
    by_cases = f"{cases[at]:.2f} ({cases[at] - half_width[at]:.2f}, "
    by_cases += f"{cases[at] + half_width[at]:.2f})"
    by_pool = f"{pooled.estimate[at]:.2f} ({low[at]:.2f}, {high[at]:.2f})"
    share = pooled.missing_information[at]
    print(f"{name:10}{by_cases:>22}{by_pool:>22}{share:14.0%}{whole[at]:11.2f}")

# %%
figure, axes = plt.subplots(1, 4, figsize=(10, 2.4), layout="constrained")
for at, axis in enumerate(axes):
    axis.errorbar(cases[at], 0, xerr=half_width[at], fmt="o", color="#888888")
    middle = pooled.estimate[at]
    widths = [[middle - low[at]], [high[at] - middle]]
    axis.errorbar(middle, 1, xerr=widths, fmt="o", color="#cc6677")
    axis.axvline(whole[at], color="black", linestyle="--", linewidth=1)
    axis.set(title=NAMES[at], ylim=(-0.6, 1.6))
    axis.set_yticks([0, 1], ["complete cases", "pooled"] if at == 0 else ["", ""])
figure.suptitle("coefficients with 95 % intervals; dashed: all incomes known", fontsize="medium")
plt.show()
