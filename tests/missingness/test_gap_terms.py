"""What gaps have in common: laws of masks, by enumeration; what is read, and what is not."""

import dataclasses
import functools
import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special

from mnar_ebm import kinds
from mnar_ebm.config import Config
from mnar_ebm.kinds import make_blocks
from mnar_ebm.likelihoods import make_likelihood
from mnar_ebm.missingness import MECHANISMS, gap_terms, make_gap_model
from mnar_ebm.models import make_model
from mnar_ebm.tilted.stages import PARTS
from mnar_ebm.types import DecoderOutput

pytestmark = pytest.mark.usefixtures("quick_compile")

NUM_DRAWS = 20_000
Z = np.zeros(1, np.float32)
"""Latents, which none of these mechanisms reads."""

NAMES = ("ignorable", "no_self_censoring", "selfmasking_probit", "linear")
TABLES = {
    "numeric": (),
    "mixed": make_blocks([("binary", 2), ("numeric", 0), ("categorical", 3), ("ordinal", 3)]),
}
ROWS = {
    "numeric": np.array([1.2, -0.7, 0.4, -3.5], np.float32),
    "mixed": np.array([1, -0.7, 0, 1, 0, 0, 0, 1], np.float32),
}
RATES = {
    "numeric": np.array([0.4, 0.2, 0.5, 0.3], np.float32),
    "mixed": np.array([0.4, 0.2, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3], np.float32),
}
OWN = {
    "numeric": (True, False, True, False),
    "mixed": (False, True, True, True, True, False, False, False),
}
"""Which columns may hide themselves under self-masking."""

ALL_MASKS = np.array(list(itertools.product([False, True], repeat=4)))
every_mechanism = pytest.mark.parametrize("name", NAMES)
every_table = pytest.mark.parametrize("table", TABLES)
cases = pytest.mark.parametrize(
    "name, table",
    [
        pytest.param(
            name,
            table,
            # Much to compile.
            marks=pytest.mark.slow if (name, table) == ("selfmasking_probit", "mixed") else (),
        )
        for name in NAMES
        for table in TABLES
    ],
)


@functools.cache
def mechanism_of(name, table, has_terms=True, numeric="gaussian"):
    """Return a mechanism of a table of four columns; under self-masking some hide nothing."""
    return make_gap_model(
        name,
        make_likelihood(numeric, TABLES[table]),
        len(ROWS[table]),
        hidden_dim=4,
        observed_columns=(0,),
        gap_terms=has_terms,
        own=OWN[table] if name == "selfmasking_probit" else (),
    )


def some_params(mechanism, table, dtype=np.float32):
    """Return parameters away from where they start, but for the order of columns."""
    params = mechanism.init(jax.random.key(0), jnp.asarray(RATES[table].astype(dtype)))

    def move(path, leaf):
        name = jax.tree_util.keystr(path)
        if "earlier" in name:
            return leaf
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        size = 0.2 if "coefficients" in name else 0.5  # so that few masks are rare
        return leaf + jnp.asarray(size * rng.normal(size=leaf.shape), leaf.dtype)

    return hold_own(jax.tree_util.tree_map_with_path(move, params), table)


def hold_own(params, table):
    """Return parameters whose slopes are 0 where a column may not hide itself."""
    own = params["own"]
    numeric = own.get("numeric", own)
    if "rate" in numeric and table in TABLES:
        is_own = np.array(OWN[table])[kinds.numeric(TABLES[table])] if TABLES[table] else OWN[table]
        numeric = numeric | {"slope": jnp.where(np.array(is_own), numeric["slope"], 0.0)}
        own = own | {"numeric": numeric} if "numeric" in own else numeric
    return params | {"own": own}


def masks_of(table):
    """Return all masks of encoded columns. [16, D]."""
    return kinds.spread(TABLES[table], ALL_MASKS)


def eta_of(table, num_latents=1, dtype=np.float32):
    """Return the decoder's output of some latents. [K, D]."""
    rng, shape = np.random.default_rng(3), (num_latents, len(ROWS[table]))
    loc, scale, gap = rng.normal(size=shape), rng.uniform(0.5, 1.5, shape), rng.uniform(1, 2, shape)
    return DecoderOutput(
        *(jnp.asarray(v.astype(dtype)) for v in (loc, scale)), gap=jnp.asarray(gap)
    )


def log_probs(mechanism, params, x, masks):
    """Return log p(s|x) of every mask. [M]."""
    return jax.vmap(mechanism.log_prob, (None, None, 0, None))(params, x, masks, Z)


@every_table
@every_mechanism
def test_masks_are_drawn_as_often_as_they_score(name, table):
    """Each of the sixteen, within five standard errors; their probabilities sum to one.

    Columns are independent given the row without the terms, and are not with them.
    """
    mechanism, x, masks = mechanism_of(name, table), jnp.asarray(ROWS[table]), masks_of(table)
    params = some_params(mechanism, table)

    @jax.jit
    def ask(key):
        drawn = mechanism.sample(key, params, jnp.tile(x, (NUM_DRAWS, 1)), Z)
        return log_probs(mechanism, params, x, masks), drawn

    log_prob, drawn = jax.tree.map(np.asarray, ask(jax.random.key(4)))
    probability = np.exp(log_prob.astype(np.float64))
    np.testing.assert_allclose(probability.sum(), 1, rtol=1e-5)
    frequency = (drawn[:, None] == masks).all(axis=-1).mean(axis=0)
    np.testing.assert_allclose(frequency.sum(), 1, rtol=1e-6)  # all of a column, or nothing
    error = np.sqrt(probability * (1 - probability) / NUM_DRAWS)
    assert (np.abs(frequency - probability) <= 5 * error + 3 / NUM_DRAWS).all()
    alone = np.array([probability[~ALL_MASKS[:, column]].sum() for column in range(4)])
    independent = np.where(ALL_MASKS, 1 - alone, alone).prod(axis=1)
    assert np.abs(independent - probability).max() > 0.01


@every_table
def test_a_gap_is_told_by_earlier_ones_as_the_equation_says(table):
    """The fullest column first; values beyond three standard deviations are read as three."""
    mechanism, x, blocks = mechanism_of("ignorable", table), ROWS[table], TABLES[table]
    params = jax.tree.map(np.asarray, some_params(mechanism, table))
    first = [block.start for block in blocks] or range(4)
    rate = RATES[table][list(first)]
    owner = np.repeat(np.arange(4), [block.width for block in blocks] or 1)
    gap, *powers = params["gaps"]["coefficients"]
    seen = np.clip(x, -3.0, 3.0)
    hermite = np.stack([seen, (seen**2 - 1) / np.sqrt(2), (seen**3 - 3 * seen) / np.sqrt(6)])
    for mask in ALL_MASKS[::3]:
        expected = 0.0
        for column in range(4):
            logit = params["own"]["logit"][column]
            for other, source in enumerate(owner):
                if rate[source] >= rate[column]:
                    continue
                weights = [power[other, first[column]] for power in powers]
                of_gap = 4 * gap[other, first[column]]
                logit += weights @ hermite[:, other] if mask[source] else of_gap
            expected += np.log(special.expit(-logit if mask[column] else logit))
        actual = mechanism.log_prob(params, jnp.asarray(x), kinds.spread(blocks, mask), Z)
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_columns_as_full_as_each_other_are_told_apart_by_their_order():
    """Every pair of columns has one that comes first, and no column tells of itself."""
    earlier = np.asarray(gap_terms.init((), jnp.full(5, 0.3))["earlier"])
    assert (earlier == np.triu(np.ones((5, 5)), 1)).all()
    blocks = TABLES["mixed"]
    earlier = np.asarray(gap_terms.init(blocks, jnp.full(8, 0.3))["earlier"])
    for one in blocks:
        assert (earlier[one.columns, one.columns] == 0).all()
    assert ((earlier + earlier.T)[0, 1:] == 1).all()


@every_table
def test_gaps_at_random_read_no_hidden_cell(table):
    """Neither log p(s|x) nor a gradient moves with what is hidden; NaN there does no harm."""
    mechanism, masks = mechanism_of("ignorable", table), masks_of(table)
    params, eta = some_params(mechanism, table), eta_of(table, 2)
    rng = np.random.default_rng(5)
    fills = [np.nan, np.inf, 1e30, *rng.normal(size=2)]

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0))
    def ask(x, mask):
        def log_prob(params, x):
            return mechanism.log_prob(params, x, mask, Z)

        value, gradients = jax.value_and_grad(log_prob, argnums=(0, 1))(params, x)
        rows, log_m = mechanism.complete(jax.random.key(0), params, eta, x, mask, Z)
        return value, gradients, log_m, jnp.where(mask, rows, 0.0)

    answers = [
        jax.tree.map(np.asarray, ask(jnp.where(masks, ROWS[table], fill), jnp.asarray(masks)))
        for fill in fills
    ]
    value, (_, of_x), log_m, _ = answers[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(answers[0]))
    assert all(oracles.bits(other) == oracles.bits(answers[0]) for other in answers[1:])
    assert (of_x[~masks] == 0).all() and (of_x[masks] != 0).any()
    np.testing.assert_allclose(log_m, np.repeat(value[:, None], 2, axis=1), rtol=1e-6)


@cases
def test_a_row_that_holds_nan_in_its_gaps_trains(name, table):
    """Term and gradients are finite, and those of 0 there."""
    mechanism, masks = mechanism_of(name, table), masks_of(table)
    params, eta = some_params(mechanism, table), eta_of(table, 2)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0))
    def ask(x, mask):
        def total(params, eta):
            rows, log_m = mechanism.complete(jax.random.key(0), params, eta, x, mask, Z)
            mean = rows if mechanism.mean is None else mechanism.mean(params, eta, x, mask, Z)
            return (log_m + rows.sum(axis=-1) + mean.sum(axis=-1)).sum()

        return jax.value_and_grad(total, argnums=(0, 1))(params, eta)

    plain, holed = (ask(jnp.where(masks, ROWS[table], v), jnp.asarray(masks)) for v in (0, np.nan))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(holed))
    assert oracles.bits(plain) == oracles.bits(holed)


@pytest.mark.parametrize("numeric", ["gaussian", "two_part"])
def test_collapsed_self_masking_with_gap_terms_matches_quadrature(numeric):
    """P(missing|z) and the mean of what is hidden: p(x|z) Phi(w x + (c + h) sqrt(1 + w²)) by x."""
    sides = (1, 0, -1, 0)
    mechanism = make_gap_model(
        "selfmasking_probit", make_likelihood(numeric, atom_side=sides), 4, gap_terms=True
    )
    grid, step = np.linspace(-14, 14, 40_001, retstep=True)
    atom = np.array([0.4, 9.0, -0.5, 9.0])
    with jax.enable_x64(True):
        params = mechanism.init(jax.random.key(0), jnp.asarray(RATES["numeric"], float))
        rng = np.random.default_rng(6)
        slopes, terms = (
            np.array([1.5, -3.0, 0.0, 8.0]),
            0.3 * rng.normal(size=(gap_terms.NUM_FEATURES, 4, 4)),
        )
        params["own"]["slope"] = jnp.asarray(np.arcsinh(slopes))
        params["gaps"]["coefficients"] = jnp.asarray(terms)
        eta = eta_of("numeric", dtype=np.float64)._replace(atom=jnp.asarray(atom[None]))

        @jax.jit
        @jax.vmap
        def ask(mask):
            x = jnp.where(mask, ROWS["numeric"].astype(float), jnp.nan)
            _, log_m = mechanism.complete(jax.random.key(0), params, eta, x, mask, Z)
            mean = mechanism.mean(params, eta, x, mask, Z)
            return log_m, mean, gap_terms.shift(params["gaps"], x, mask)

        answers = jax.tree.map(np.asarray, ask(jnp.asarray(ALL_MASKS[::3])))
        rates = np.asarray(params["own"]["rate"])
        loc, scale = np.asarray(eta.loc)[0], np.asarray(eta.scale)[0]
    one_atom = np.where(np.array(sides) != 0, special.expit(atom), 0.0) * (numeric == "two_part")
    for mask, log_m, mean, h in zip(ALL_MASKS[::3], *answers, strict=True):
        assert np.abs(h).max() > 0.1
        expected = 0.0
        for d, is_seen in enumerate(mask):
            cut = (rates[d] + h[d]) * np.sqrt(1 + slopes[d] ** 2)
            if is_seen:
                expected += special.log_ndtr(-(slopes[d] * np.float64(ROWS["numeric"][d]) + cut))
                continue
            x = loc[d] + scale[d] * grid
            beside = step * np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
            beside *= (1 - one_atom[d]) * special.ndtr(slopes[d] * x + cut)
            share = beside.sum() + one_atom[d] * special.ndtr(cut)
            expected += np.log(share)
            np.testing.assert_allclose(mean[0, d], x @ beside / share, rtol=1e-7)
        np.testing.assert_allclose(log_m, expected, rtol=1e-7)


def test_draws_of_hidden_values_follow_the_shifted_law():
    """Their mean is that of the closed form, which gap terms move."""
    mechanism = mechanism_of("selfmasking_probit", "numeric")
    params, mask = some_params(mechanism, "numeric"), jnp.array([False, True, False, False])
    eta, x = eta_of("numeric"), jnp.asarray(ROWS["numeric"])
    many = jax.tree.map(lambda leaf: jnp.tile(leaf, (NUM_DRAWS, 1)), eta)
    rows, _ = jax.jit(mechanism.complete)(jax.random.key(1), params, many, x, mask, Z)
    mean = np.asarray(mechanism.mean(params, eta, x, mask, Z))[0]
    oracles.assert_mean(np.asarray(rows)[:, ~mask], mean[~mask])
    gaps = params["gaps"] | {"coefficients": jnp.zeros_like(params["gaps"]["coefficients"])}
    without = np.asarray(mechanism.mean(params | {"gaps": gaps}, eta, x, mask, Z))[0]
    moved = mean != without
    assert moved[0] and moved[2] and not moved[3]  # the last hides nothing, the second is seen


@every_table
@pytest.mark.parametrize("name", MECHANISMS)
def test_gap_terms_of_zero_change_nothing(name, table):
    """Of every mechanism; there are parameters for them, but where nothing is modelled."""
    plain = mechanism_of("mcar" if name == "ignorable" else name, table, has_terms=False)
    mechanism, masks = mechanism_of(name, table), jnp.asarray(masks_of(table))
    start = plain.init(jax.random.key(0), jnp.asarray(RATES[table]))
    leaves, treedef = jax.tree.flatten(start)
    rng = np.random.default_rng(7)
    moved = [leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    own, x = jax.tree.unflatten(treedef, moved), jnp.asarray(ROWS[table])
    both = mechanism.init(jax.random.key(0), jnp.asarray(RATES[table]))
    assert set(both) == (set() if name == "none" else {"own", "gaps"})
    params = own if name == "none" else both | {"own": own}
    actual = jax.jit(functools.partial(log_probs, mechanism))(params, x, masks)
    expected = jax.jit(functools.partial(log_probs, plain))(own, x, masks)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


@every_table
@pytest.mark.parametrize("has_terms", [False, True])
def test_a_column_that_hides_nothing_keeps_its_slope(table, has_terms):
    """It starts at 0 whatever slope is asked for, and its gradient is 0; the others move."""
    mechanism, mask = mechanism_of("selfmasking_probit", table, has_terms), masks_of(table)[0]
    params = mechanism.init(jax.random.key(0), jnp.asarray(RATES[table]), 2.0)
    eta, x = eta_of(table, 3), jnp.asarray(ROWS[table])

    @jax.jit
    @jax.grad
    def gradient(params):
        seen = mechanism.log_prob(params, x, ~jnp.asarray(mask), Z)
        hidden = mechanism.complete(jax.random.key(0), params, eta, x, jnp.asarray(mask), Z)[1]
        return seen + hidden.sum()

    parts = [tree["own"] if has_terms else tree for tree in (params, gradient(params))]
    slope, of_slope = (np.asarray(part.get("numeric", part)["slope"]) for part in parts)
    columns = kinds.numeric(TABLES[table]) if TABLES[table] else np.arange(4)
    is_own = np.array(OWN[table])[columns]
    np.testing.assert_allclose(slope, np.arcsinh(2.0) * is_own, rtol=1e-6)
    assert ((of_slope != 0) == is_own).all()


def test_levels_of_a_column_that_hides_nothing_are_tied():
    """Whatever its logits are, their mean counts, which is what moves; others are free."""
    mechanism = mechanism_of("selfmasking_probit", "mixed")
    params = some_params(mechanism, "mixed")
    logits = params["own"]["levels"]
    assert all(np.ptp(np.asarray(one), axis=-1).min() > 0.1 for one in logits.values())

    @jax.jit
    @jax.value_and_grad
    def log_odds(params, x, hidden):
        shown, shift = jnp.ones(8, bool), jnp.zeros(8)
        of_hidden = mechanism.own.log_prob(params, x, hidden, shift)
        return of_hidden - mechanism.own.log_prob(params, x, shown, shift)

    for column, name in ((0, "binary_2"), (2, "categorical_3"), (3, "ordinal_3")):
        block, own = TABLES["mixed"][column], np.asarray(logits[name][0])
        is_own = OWN["mixed"][block.start]
        hidden = kinds.spread(TABLES["mixed"], np.arange(4) != column)
        for level in range(block.num_levels):
            x = np.zeros(8, np.float32)
            x[block.columns] = np.eye(block.num_levels)[level][-block.width :]
            odds, gradient = log_odds(params, x, hidden)
            np.testing.assert_allclose(odds, own[level] if is_own else own.mean(), rtol=1e-4)
            share = np.eye(len(own))[level] if is_own else np.full(len(own), 1 / len(own))
            np.testing.assert_allclose(gradient["own"]["levels"][name][0], share, atol=1e-5)


def test_the_order_of_columns_does_not_train():
    """No gradient reaches it, and decay shrinks the terms, not the order."""
    mechanism = mechanism_of("ignorable", "numeric")
    params, mask = some_params(mechanism, "numeric"), jnp.array([True, False, True, False])
    gradient = jax.grad(mechanism.log_prob)(params, jnp.asarray(ROWS["numeric"]), mask, Z)["gaps"]
    assert (np.asarray(gradient["earlier"]) == 0).all()
    reached = np.asarray(gradient["coefficients"]).any(axis=0)
    assert (reached == (np.asarray(params["gaps"]["earlier"]) != 0)).all()
    decayed = " ".join(PARTS["base"].decayed)
    assert "earlier" not in decayed and "coefficients" in decayed


@pytest.mark.parametrize("likelihood", ["gaussian", "two_part"])
def test_a_config_makes_the_mechanism_that_it_names(likelihood):
    """Gap terms and the columns that hide themselves are part of the model."""
    config = Config(tilt="none", latent_dim=2, hidden_dim=4, likelihood=likelihood)
    config = dataclasses.replace(config, gap_terms=True, own_slopes=(-0.5, 0.0, 2.0, 0.0))
    model = make_model(config.model, 4, (), (), (0, 0, 1, 0))
    rate = jnp.asarray(RATES["numeric"])
    params = model.mechanism.init(jax.random.key(0), rate, jnp.asarray(config.model.own_slopes))
    assert set(params) == {"own", "gaps"}
    np.testing.assert_allclose(np.sinh(params["own"]["slope"]), config.model.own_slopes, rtol=1e-6)
    steeper = dataclasses.replace(config, own_slopes=(-5.0, 0.0, 1.0, 0.0))
    assert make_model(steeper.model, 4, (), (), (0, 0, 1, 0)) is model
    assert config.model.hides_itself == (1.0, 0.0, 1.0, 0.0)
    fewer = dataclasses.replace(config, own_slopes=(-5.0, 0.0, 0.0, 0.0))
    assert make_model(fewer.model, 4, (), (), (0, 0, 1, 0)) is not model
