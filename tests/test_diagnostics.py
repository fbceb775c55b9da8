"""Convergence of chains, the Pareto shape of weights, and what is said about both."""

import math
import re

import numpy as np
import pytest

from mnar_ebm import diagnostics, samplers

CHAINS, DRAWS = 4, 5000


def autoregression(rho, num_chains=CHAINS, num_draws=DRAWS, seed=0):
    """Return x_t = rho x_(t-1) + √(1 - rho²) e_t, started in its own law. [C, T]."""
    noise = np.random.default_rng(seed).normal(size=(num_chains, num_draws))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for t in range(1, num_draws):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * noise[:, t]
    return x


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_sample_size_of_an_autoregression(rho):
    """N (1 - rho) / (1 + rho) draws are behind the mean: of 40 runs, within five standard errors.

    The estimate truncates the autocorrelations, which leaves it a few per cent off.
    """
    runs = [autoregression(rho, num_draws=2000, seed=seed) for seed in range(40)]
    ess = np.array([diagnostics.diagnose(run).ess_bulk for run in runs])
    expected = CHAINS * 2000 * (1 - rho) / (1 + rho)
    error = ess.std(ddof=1) / math.sqrt(len(ess))
    assert abs(ess.mean() - expected) < 5 * error + 0.05 * expected


def test_every_coordinate_has_its_own_diagnosis():
    """Leaves are shaped as one draw; only the chains that differ are seen to."""
    x = np.stack([autoregression(0.5), autoregression(0.5, seed=1)], axis=-1)
    apart = x + np.arange(CHAINS)[:, None, None] * np.array([0.0, 1.0])
    diagnosis = diagnostics.diagnose({"a": apart, "b": x[..., 0]})
    assert diagnosis.rhat["a"].shape == (2,) and diagnosis.rhat["b"].shape == ()
    assert diagnosis.rhat["a"][0] < 1.01 < 1.2 < diagnosis.rhat["a"][1]
    assert diagnosis.ess_bulk["a"][1] < 20 and diagnosis.ess_tail["a"][0] > 1000


def test_a_chain_that_drifts_is_seen_by_its_halves():
    """Split R-hat: every chain has the same mean, and none is stationary."""
    x = autoregression(0.0) + np.linspace(-2, 2, DRAWS)
    assert diagnostics.diagnose(x).rhat > 1.2


@pytest.mark.parametrize("shape", [(5,), (4, 3), (4, 3, 2)])
def test_draws_of_a_wrong_shape(shape):
    """One line that tells the shape."""
    with pytest.raises(ValueError, match=rf"draws: expected .* got {re.escape(str(shape))}"):
        diagnostics.diagnose({"x": np.zeros(shape)})


def info_of(**fields):
    """Return the info of an HMC run, all well but for what is given."""
    ones = np.ones((CHAINS, DRAWS))
    good = {
        "acceptance_rate": 0.8 * ones,
        "is_accepted": ones > 0,
        "energy_error": -0.2 * ones,
        "is_divergent": ones < 0,
    }
    return good | fields


def test_good_chains_are_not_warned_about():
    """The worst coordinate, and the sampler's own word."""
    draws = {"x": autoregression(0.5), "constant": np.ones((CHAINS, DRAWS))}
    summary = diagnostics.summarise(draws, info_of())
    assert summary["num_chains"] == 4 and summary["num_draws"] == 20_000
    assert 5000 < summary["ess_bulk"] < 8000 and summary["rhat"] < 1.01
    assert summary["acceptance_rate"] == pytest.approx(0.8)
    assert summary["energy_error"] == pytest.approx(0.2) and summary["num_divergent"] == 0
    assert diagnostics.in_words(summary) == []


def test_agreeing_short_chains_are_not_warned_about():
    """R-hat above 1.01 by chance: 200 sets of 50 chains of 20 independent draws."""
    rng = np.random.default_rng(0)
    summaries = [diagnostics.summarise(rng.normal(size=(50, 20))) for _ in range(200)]
    assert np.mean([summary["rhat"] > 1.01 for summary in summaries]) > 0.05
    warned = [any("disagree" in w for w in diagnostics.in_words(summary)) for summary in summaries]
    assert np.mean(warned) < 0.01


@pytest.mark.parametrize(
    "draws, fields, message",
    [
        (autoregression(0.5) + 3 * np.arange(CHAINS)[:, None], {}, "the chains disagree"),
        (autoregression(0.999), {}, "the draws are worth"),
        (np.ones((CHAINS, DRAWS)), {}, "did not move at all"),
        (np.full((CHAINS, DRAWS), np.nan), {}, "20000 of 20000 draws are not finite"),
        (autoregression(0.5), {"acceptance_rate": np.full((4, 5), 0.1)}, r"few moves .* \(10%\)"),
        (autoregression(0.5), {"is_divergent": np.eye(4) > 0}, "4 trajectories diverged"),
    ],
)
def test_bad_chains_are_warned_about(draws, fields, message):
    """In words."""
    summary = diagnostics.summarise(draws, info_of(**fields))
    assert any(re.match(f".*{message}", warning) for warning in diagnostics.in_words(summary))


def test_a_coordinate_that_is_not_finite_is_not_passed_over():
    """However well the others are: NaN among many good draws is told, and how often."""
    lost = autoregression(0.5)
    lost[1, 7:10] = np.nan
    summary = diagnostics.summarise({"a": autoregression(0.5), "b": lost})
    assert summary["num_nonfinite"] == 3 and summary["ess_bulk"] == 0
    assert math.isnan(summary["rhat"]) and diagnostics.in_words(summary) == [
        "3 of 20000 draws are not finite, the chains diverged: use a smaller step"
    ]


def test_a_single_chain_is_compared_with_itself():
    """Its halves are: independent draws are good, a drift is seen."""
    draws = np.random.default_rng(5).normal(size=(1, 1000))
    assert diagnostics.in_words(diagnostics.summarise(draws)) == []
    drifting = diagnostics.summarise(draws + np.linspace(0, 3, 1000))
    assert any("the chains disagree" in words for words in diagnostics.in_words(drifting))


def test_an_acceptance_in_half_precision_is_averaged_in_full():
    """A mean of 20,000 ones in bfloat16 would be .13."""
    import jax.numpy as jnp

    accepted = info_of(acceptance_rate=jnp.ones((CHAINS, DRAWS), jnp.bfloat16))
    assert diagnostics.summarise(autoregression(0.5), accepted)["acceptance_rate"] == 1.0


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.8])
def test_pareto_shape(shape):
    """Weights exp(a x²/2) under N(0, 1) have a tail of shape a; the mean of 20 estimates is near.

    A logarithm in the tail (P(w > y) ~ y^(-1/a) / √log y) leaves the estimate a little low.
    """
    rng = np.random.default_rng(1)
    estimates = [diagnostics.pareto_k(shape * rng.normal(size=20_000) ** 2 / 2) for _ in range(20)]
    error = np.std(estimates, ddof=1) / math.sqrt(20)
    assert -0.1 - 5 * error < np.mean(estimates) - shape < 5 * error


def test_equal_weights_have_no_tail():
    """Of base draws without a tilt, or of a tilt whose energies are at their bound."""
    assert diagnostics.pareto_k(np.zeros(1000)) == -math.inf
    some = np.minimum(np.random.default_rng(3).normal(size=1000), 0.5)
    assert diagnostics.pareto_k(some) == -math.inf


@pytest.mark.parametrize(
    "log_w, expected",
    [
        (np.r_[np.zeros(999), 40.0], math.inf),
        (np.r_[np.zeros(999), 1.0], math.nan),
        (np.r_[np.full(990, -np.inf), np.arange(10.0)], math.nan),
        (np.r_[np.full(900, -np.inf), np.zeros(100)], -math.inf),
        (np.arange(24.0), math.nan),
        (np.r_[np.zeros(100), np.nan], math.nan),
    ],
    ids=["one has all", "one is a little above", "most are 0", "equal or 0", "few", "NaN"],
)
def test_weights_that_are_tied_or_few_are_not_called_good(log_w, expected):
    """A shape that cannot be fitted is infinite, where few draws carry all, or is not told."""
    np.testing.assert_equal(diagnostics.pareto_k(log_w), expected)


def test_zeros_do_not_hide_a_heavy_tail():
    """Draws of weight 0 are no part of it."""
    log_w = 0.45 * np.random.default_rng(4).normal(size=5000) ** 2
    padded = np.r_[log_w, np.full(95_000, -np.inf)]
    assert diagnostics.pareto_k(padded) == diagnostics.pareto_k(log_w) > 0.7


def test_conversion_to_arviz():
    """Variables by name, chains before draws, and the sample statistics under ArviZ's names."""
    arviz = pytest.importorskip("arviz", reason="arviz is not installed")
    draws = {"b": np.random.default_rng(2).normal(size=(4, 50, 3)), "a": np.zeros((4, 50))}
    data = diagnostics.to_inference_data(draws, info_of())
    assert dict(data.posterior["b"].sizes) == {"chain": 4, "draw": 50, "b_dim_0": 3}
    np.testing.assert_array_equal(data.posterior["b"].values, draws["b"])
    assert {"acceptance_rate", "diverging", "energy_error"} <= set(data.sample_stats)
    ours = diagnostics.diagnose(draws["b"]).ess_bulk
    np.testing.assert_allclose(arviz.ess(data, var_names=["b"])["b"].values, ours, rtol=1e-6)


def test_a_sampler_of_ours_converts():
    """The draws and the info of the one-call functions, an array without a name."""
    pytest.importorskip("arviz", reason="arviz is not installed")
    import jax

    chains = samplers.hamiltonian(
        jax.random.key(0), lambda x: -0.5 * x**2, np.zeros(3), 20, num_adaptation_steps=30
    )
    data = diagnostics.to_inference_data(chains.draws, chains.info)
    assert data.posterior["x"].shape == (3, 20) and data.sample_stats["diverging"].shape == (3, 20)


def test_statistics_in_a_tree_are_named_by_where_they_are():
    """As parallel tempering and the kernels of blackjax return them; scalars are left out."""
    pytest.importorskip("arviz", reason="arviz is not installed")
    lie, size = np.arange(200.0).reshape(4, 50), np.zeros((4, 50, 3))
    info = {"swap": {"accepted": lie, "size": size}, "is_divergent": lie > 300, "seed": np.ones(2)}
    statistics = diagnostics.to_inference_data({"x": lie}, info).sample_stats
    assert set(statistics.data_vars) == {"swap.accepted", "swap.size", "diverging"}
    np.testing.assert_array_equal(statistics["swap.accepted"].values, lie)
