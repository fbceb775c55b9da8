"""What was not asked adds nothing to log p(s|x), and is filled as if it were at random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm.likelihoods import make_likelihood
from mnar_ebm.missingness import MECHANISMS, make_gap_model, not_asked
from mnar_ebm.types import DecoderOutput

MASK = jnp.array([True, False, False])
Z = jnp.zeros((1, 1))
PLAIN = jnp.array([0.7, 0.0, 0.0])
TOLD = PLAIN.at[2].set(not_asked.MARK)
ETA = DecoderOutput(
    loc=jnp.array([[0.2, -0.4, 1.1], [0.0, 0.3, -0.8]]), scale=jnp.full((2, 3), 0.6)
)


def make(name, **wanted):
    """Return a mechanism of three columns, and parameters off their start."""
    mechanism = make_gap_model(
        name, make_likelihood("gaussian"), 3, observed_columns=(0,), hidden_dim=4, **wanted
    )
    params = mechanism.init(jax.random.key(0), jnp.array([0.3, 0.5, 0.4]), 1.3)
    return mechanism, params


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("gap_terms", [False, True])
def test_its_term_is_left_out(name, gap_terms):
    """Of m, the one of the last column; nothing of it moves a parameter."""
    mechanism, params = make(name, gap_terms=gap_terms)

    def term(params, x, mask):
        return mechanism.complete(jax.random.key(1), params, ETA, x, mask, Z)[1]

    told, gradient = jax.value_and_grad(lambda params: term(params, TOLD, MASK).sum())(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    if name in ("linear", "nonlinear", "no_self_censoring"):  # whose other terms read its draws
        assert told > term(params, PLAIN, MASK).sum()
        return
    rates = gradient.get("own", gradient).values() if gradient else []
    for leaf in rates:
        assert jnp.asarray(leaf)[..., 2] == pytest.approx(0.0, abs=1e-6)
    with_all = term(params, PLAIN, MASK)
    alone = {  # the last column's term, at the parameters of the start
        "none": jnp.zeros(2),
        "selfmasking_logistic": None,
    }.get(name, jnp.full(2, jnp.log(0.4)))
    if name == "selfmasking_probit":
        own = params.get("own", params)
        w = jnp.sinh(own["slope"][2])
        c = own["rate"][2] * jnp.sqrt(1 + w**2)
        s = jnp.sqrt(1 + (w * 0.6) ** 2)
        alone = jax.scipy.stats.norm.logcdf((w * ETA.loc[:, 2] + c) / s)
    if alone is not None:
        np.testing.assert_allclose(term(params, TOLD, MASK), with_all - alone, atol=2e-5)


def test_it_is_filled_as_if_at_random():
    """By the decoder's mean, where what hides itself is filled higher."""
    mechanism, params = make("selfmasking_probit")
    told, plain = (mechanism.mean(params, ETA, x, MASK, Z) for x in (TOLD, PLAIN))
    np.testing.assert_allclose(told[:, 2], ETA.loc[:, 2], atol=1e-5)
    np.testing.assert_allclose(told[:, :2], plain[:, :2])
    assert (plain[:, 2] > ETA.loc[:, 2] + 0.05).all()
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], 4000, axis=0), ETA)
    drawn, _ = mechanism.complete(jax.random.key(2), params, many, TOLD, MASK, Z)
    assert abs(drawn[:, 2].mean() - 1.1) < 5 * 0.6 / 4000**0.5
    assert abs(drawn[:, 2].std() / 0.6 - 1) < 5 / 8000**0.5
