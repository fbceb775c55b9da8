"""The second tilt, to a few unbiased rows: what it finds, and when it stays away."""

import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mnar_ebm
from mnar_ebm import Config, data, debiasing, models
from mnar_ebm import inference as sampling
from mnar_ebm.debiasing import clusters, second_tilt, unbiased
from mnar_ebm.debiasing.second_tilt import BaseDraws, Pools
from mnar_ebm.missingness import make_gap_model
from mnar_ebm.nets.energy import AdditiveEnergy, ClusterEnergy
from mnar_ebm.objectives import bounds
from mnar_ebm.tilted import make_fitted, table_facts

pytestmark = pytest.mark.usefixtures("fewer_draws", "quick_compile_all")

COLUMNS = ("a", "b")
SHIFT = np.array([1.0, 0.5])
CONFIG = Config(
    tilt="data",
    mechanism="none",
    latent_dim=2,
    hidden_dim=16,
    num_steps=400,
    tilt_steps=0,
    unbiased_steps=200,
    unbiased_energy="additive",
    num_imputation_samples=500,
)


@pytest.fixture(scope="module")
def fewer_draws():
    """Judge energies on a quarter of the base draws, which is enough for two columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnar_ebm.debiasing.second_tilt.NUM_NEGATIVES", 16384)
        yield


def rows_of(seed, num_rows, shift):
    """Return correlated normal rows about ``shift``. [N, 2]."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_rows, 2)) @ np.array([[1.0, 0.5], [0.0, 0.8]]) + shift


def table_of(x):
    return data.make_table("t", COLUMNS, x)


def trained(tilt="data"):
    """Return a base fitted to the selected rows, about 0."""
    return _trained(tilt)


def debiased(tilt="data", energy="additive"):
    """Return it tilted to 200 rows of everybody, about ``SHIFT``, and the report."""
    return _debiased(tilt, energy)


@functools.cache
def _trained(tilt):
    return mnar_ebm.train(dataclasses.replace(CONFIG, tilt=tilt), table_of(rows_of(0, 1000, 0.0)))[
        0
    ]


@functools.cache
def _debiased(tilt, energy):
    start = trained(tilt)
    config = dataclasses.replace(start.config, unbiased_energy=energy)
    return debiasing.debias(start._replace(config=config), table_of(rows_of(1, 200, SHIFT)))


@pytest.mark.parametrize(
    ("tilt", "energy", "share"),
    [
        ("data", "additive", 0.0),
        pytest.param("data", "best", 0.0, marks=pytest.mark.slow),
        pytest.param("latent", "best", 0.4, marks=pytest.mark.slow),
    ],
)
def test_the_tilted_model_has_the_mean_of_the_population(tilt, energy, share):
    """A tilt of x reaches it; one of z alone, which leaves p(x|z), goes most of the way."""
    fitted, report = debiased(tilt, energy)
    draws = sampling.sample_by_weights(
        jax.random.key(0), fitted.model, fitted.params, 20_000, 100_000
    ).x
    mean = fitted.facts.standardiser.invert(np.asarray(draws, np.float64)).mean(axis=0)
    before = rows_of(0, 1000, 0.0).mean(axis=0)
    few = rows_of(1, 200, SHIFT)
    error = few.std(axis=0) / np.sqrt(len(few))
    gap = np.linalg.norm(before - SHIFT)
    assert gap > 6 * np.linalg.norm(error)  # or the next would say nothing
    assert np.linalg.norm(mean - SHIFT) < share * gap + 4 * np.linalg.norm(error)
    assert report.gain > 3 * report.gain_standard_error
    assert report.tilt_scale > 0


def test_the_gain_is_that_of_the_bound_on_new_rows():
    """K-fold gain against the rise of the bound on rows that neither fit has seen."""
    fitted, report = debiased()
    new = rows_of(2, 400, SHIFT)
    rise = fitted.impute(new).bound - trained().impute(new).bound
    error = np.hypot(rise.std(ddof=1) / np.sqrt(len(rise)), report.gain_standard_error)
    assert abs(rise.mean() - report.gain) < 4 * error


def test_a_mean_that_is_still_off_is_told():
    """Means move to those of the rows where a tilt is taken; the report minds one that does not."""
    _, report = debiased()
    assert max(map(abs, report.mean_errors.values())) < 2
    assert "mind" not in str(report)
    vae, params = trained().model.vae, trained().params.base
    draws, _ = models.sample_base(jax.random.key(6), vae, params, 50_000)
    drawn = trained().facts.standardiser.invert(np.asarray(draws, np.float64))
    errors = unbiased.mean_errors(COLUMNS, rows_of(1, 200, SHIFT), drawn, np.zeros(50_000))
    off = report._replace(mean_errors=errors)
    assert min(errors, key=errors.get) == "a"  # by a whole standard deviation of 200 rows
    assert errors["a"] < -10
    assert f"the mean of a is still {-errors['a']:.1f} standard errors below" in str(off)


def test_errors_of_means_are_standard_normal_where_the_means_agree():
    """Over samples with gaps, against weighted draws of another law with the same mean."""
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(400):
        x, mask = rng.normal(2.0, 1.0, (50, 1)), rng.random((50, 1)) < 0.8
        draws = rng.normal(1.0, 1.0, (2000, 1))
        rows = np.where(mask, x, np.nan)
        errors.append(unbiased.mean_errors(("a",), rows, draws, draws[:, 0])["a"])  # to N(2, 1)
    assert abs(np.mean(errors)) < 4 / np.sqrt(400)
    assert abs(np.std(errors) - 1.0) < 4 / np.sqrt(2 * 400)


def test_a_column_with_one_value_has_no_error_of_its_mean():
    x = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 3.0]])
    assert set(unbiased.mean_errors(COLUMNS, x, x, np.zeros(3))) == {"b"}


def test_log_z_is_that_of_fresh_base_draws():
    fitted, report = debiased()
    x, z = models.sample_base(jax.random.key(5), fitted.model.vae, fitted.params.base, 200_000)
    weights = np.exp(-np.asarray(models.energy(fitted.model, fitted.params, x, z), np.float64))
    log_z = np.log(weights.mean())
    error = weights.std() / weights.mean() / np.sqrt(len(weights))
    assert abs(log_z - report.log_z) < 5 * np.hypot(error, report.log_z_standard_error)
    assert float(fitted.params.log_z) == pytest.approx(report.log_z, abs=1e-6)


def test_without_the_second_energy_the_model_is_what_it_was():
    x = rows_of(5, 20, 0.0)
    again = debiased()[0].without_second()
    np.testing.assert_array_equal(again.impute(x).bound, trained().impute(x).bound)


def test_rows_of_the_model_itself_leave_it_as_it_was():
    start = trained()
    fitted, report = debiasing.debias(start, table_of(rows_of(3, 200, 0.0)))
    assert (report.energy, report.tilt_scale, report.gain) == ("none", 0.0, 0.0)
    assert fitted.params is start.params
    assert "kept as it was" in str(report)


def test_unbiased_rows_may_have_gaps():
    x = rows_of(1, 200, SHIFT)
    x[np.random.default_rng(4).random(x.shape) < 0.3] = np.nan
    fitted, report = debiasing.debias(trained(), table_of(x))
    assert np.isfinite(report.bound_before)
    assert report.gain > 2 * report.gain_standard_error
    assert fitted.facts.second_energy == "additive"


@pytest.mark.slow
def test_bent_columns_are_tilted_to_rows_beyond_what_was_selected():
    """A bend that is fitted to the selected rows goes on where only the others are."""
    config = dataclasses.replace(CONFIG, standardise="yeo_johnson")
    selected, unbiased = np.exp(rows_of(0, 1000, 0.0)), np.exp(rows_of(1, 200, SHIFT))
    selected = selected[selected[:, 0] < 3]
    start, _ = mnar_ebm.train(config, table_of(selected))
    fitted, report = debiasing.debias(start, table_of(unbiased))
    assert (unbiased[:, 0] > 3).sum() > 50
    assert report.gain > 2 * report.gain_standard_error
    before, after, truth = (
        (x[:, 0] > 3).mean() for x in (start.sample(20000).x, fitted.sample(20000).x, unbiased)
    )
    assert abs(after - truth) < 0.5 * abs(before - truth)


@pytest.mark.slow
def test_without_folds_the_energy_is_taken_as_it_fits():
    """Few rows that folds do not trust are followed whole; the gain is said to be theirs."""
    start = trained()
    config = dataclasses.replace(start.config, unbiased_energy="clusters", unbiased_folds=0)
    fitted, report = debiasing.debias(start._replace(config=config), table_of(rows_of(3, 30, 0.0)))
    assert (report.energy, report.tilt_scale) == ("clusters", 1.0)
    assert report.weight_decay == min(second_tilt.WEIGHT_DECAYS)
    assert report.gain > 0
    assert "on the rows that it was fitted to" in str(report)
    assert fitted.facts.second_energy == "clusters"


def test_a_second_sample_replaces_the_first_and_composes_with_the_own_tilt():
    once, _ = debiased()
    again, _ = debiasing.debias(once, table_of(rows_of(1, 200, SHIFT)))
    assert jax.tree.structure(once.params) == jax.tree.structure(again.params)
    jax.tree.map(np.testing.assert_array_equal, once.params, again.params)
    params = once.params
    x, z = jnp.ones((3, 2)), jnp.zeros((3, 2))
    second = models.make_second_tilt(once.config.model, 2, once.facts.second_energy)
    first = models.make_tilt(
        once.config.model.tilt, 2, 2, once.config.model.hidden_dim, once.config.model.energy_bound
    )
    terms = params.energy
    expected = terms["scales"][0] * first.energy(terms["first"], x, z)
    expected += terms["scales"][1] * second.energy(terms["second"], x, z)
    np.testing.assert_allclose(models.energy(once.model, params, x, z), expected, rtol=1e-6)


@pytest.mark.slow
def test_training_with_unbiased_rows_can_be_saved_resumed_and_pickled(tmp_path):
    config = dataclasses.replace(CONFIG, num_steps=200, tilt_steps=100, unbiased_steps=50)
    table, few = table_of(rows_of(0, 300, 0.0)), table_of(rows_of(1, 60, SHIFT))
    fitted, report = mnar_ebm.train(config, table, tmp_path, unbiased=few)
    assert report.unbiased.num_rows == 60
    loaded = mnar_ebm.load(tmp_path)
    resumed, again = mnar_ebm.train(config, table, tmp_path, unbiased=few, resume=True)
    copied = pickle.loads(pickle.dumps(fitted))
    for other in (loaded, resumed, copied):
        assert other.facts.second_energy == fitted.facts.second_energy != ""
        jax.tree.map(np.testing.assert_array_equal, fitted.params, other.params)
    assert again.unbiased.gain == report.unbiased.gain
    assert not fitted.without_second().facts.second_energy


def test_rows_without_selection_ignore_the_mechanism():
    """Their log-weights are those of the model without a mechanism, with the same draws."""
    x = rows_of(0, 300, 0.0)
    x[x[:, 0] > 0.5, 0] = np.nan
    config = dataclasses.replace(CONFIG, mechanism="selfmasking_probit", tilt="none")
    config = dataclasses.replace(config, slope_start="high")
    fitted = make_fitted(config, table_facts(config, table_of(x)))
    row, mask = jnp.array([0.0, 0.3]), jnp.array([False, True])
    ignoring = fitted.model._replace(
        mechanism=make_gap_model("none", fitted.model.vae.likelihood, 2)
    )
    key = jax.random.key(0)

    def log_w(model, is_selected):
        params = fitted.params
        return bounds.log_weights(key, model, params, row, mask, 50, is_selected).log_w

    no, yes = jnp.asarray(False), jnp.asarray(True)
    np.testing.assert_array_equal(log_w(fitted.model, no), log_w(ignoring, None))
    np.testing.assert_array_equal(
        log_w(fitted.without_mechanism().model, None), log_w(ignoring, None)
    )
    np.testing.assert_array_equal(log_w(fitted.model, yes), log_w(fitted.model, None))
    assert np.abs(log_w(fitted.model, yes) - log_w(fitted.model, no)).max() > 0.01


@pytest.mark.slow
def test_unbiased_rows_undo_what_selection_did_to_the_base():
    """With 40 % of everybody's rows beside those cut off above, the mean comes nearer to 0."""
    x = rows_of(0, 600, 0.0)
    cut = np.where((x[:, 0] > 0)[:, None] & np.array([True, False]), np.nan, x)
    config = dataclasses.replace(CONFIG, tilt="none")
    alone, _ = mnar_ebm.train(config, table_of(cut))
    both, _ = mnar_ebm.train(config, table_of(cut), unbiased=table_of(rows_of(6, 400, 0.0)))

    def mean_of(fitted):
        draws, _ = models.sample_base(
            jax.random.key(0), fitted.model.vae, fitted.params.base, 20_000
        )
        return fitted.facts.standardiser.invert(np.asarray(draws, np.float64))[:, 0].mean()

    error = np.hypot(1 / np.sqrt(300), 1 / np.sqrt(400))  # of means of 300 and of 400 rows
    assert mean_of(alone) < -4 * error
    assert mean_of(both) > mean_of(alone) + 2 * error


def test_an_additive_energy_is_a_sum_over_what_it_is_shown():
    network = AdditiveEnergy(bound=5.0)
    params = network.init(jax.random.key(0), jnp.zeros(3))
    heights = jax.random.normal(jax.random.key(1), (3, 8))
    params = {"params": params["params"] | {"kernel_out": heights}}

    def raw(v):
        return 5.0 * np.arctanh(np.asarray(network.apply(params, v)) / 5.0)

    u, v = jnp.array([0.3, -1.0, 0.5]), jnp.array([1.2, 0.4, -0.7])
    mixed = [jnp.where(jnp.arange(3) == i, v, u) for i in range(3)]
    steps = sum(raw(one) - raw(u) for one in mixed)
    np.testing.assert_allclose(raw(v) - raw(u), steps, rtol=1e-4)
    zero = network.init(jax.random.key(0), jnp.zeros(3))
    assert float(network.apply(zero, u)) == 0.0


CENTRES = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])


def clustered(seed, shares, num_rows):
    """Return rows of three round clusters. [N, 2]."""
    rng = np.random.default_rng(seed)
    return CENTRES[rng.choice(3, num_rows, p=shares)] + rng.normal(size=(num_rows, 2))


@pytest.mark.slow
def test_clusters_of_base_draws_take_the_shares_of_the_few_rows():
    """Base draws have shares .7, .2, .1, a hundred rows .2, .3, .5; z alone is shown."""
    tilt = models.make_tilt("latent", 1, 2, 8, 20.0, "clusters")
    draws = [jnp.asarray(clustered(seed, [0.7, 0.2, 0.1], 8192), jnp.float32) for seed in (0, 1)]
    bases = [BaseDraws(jnp.zeros((8192, 1)), z, jnp.zeros(8192)) for z in draws]
    few = jnp.asarray(clustered(2, [0.2, 0.3, 0.5], 100), jnp.float32)[:, None]
    pools = Pools(jnp.zeros((100, 1, 1)), few, jnp.zeros(100), *bases)
    constants = {"clusters": clusters.fit(jax.random.key(0), tilt, *bases[0])}
    folds = jnp.arange(100) % 2
    fits = second_tilt.fit(jax.random.key(1), tilt, constants, pools, folds, 2, 500, 1024)
    learned = jax.tree.map(lambda leaf: leaf[-1, 0], fits.params)
    weights = jax.nn.softmax(second_tilt.log_weights(tilt, learned, jnp.ones(()), pools))
    nearest = np.argmin(np.linalg.norm(draws[1][:, None] - CENTRES, axis=-1), axis=1)
    shares = np.bincount(nearest, np.asarray(weights))
    error = np.sqrt(0.25 * np.sum(np.asarray(weights) ** 2))  # of a share of weighted draws
    own = np.linalg.norm(np.asarray(few) - CENTRES, axis=-1).argmin(axis=1)
    np.testing.assert_allclose(shares, np.bincount(own) / 100, atol=4 * error)
    exact = np.log(np.array([0.2, 0.3, 0.5]) / [0.7, 0.2, 0.1])[own]
    lost = exact.mean() - np.asarray(fits.gains[0, -1]).mean()
    assert abs(lost) < 20 / (2 * 50)  # what 20 shares lose that 50 rows have to tell


def test_an_energy_of_clusters_is_the_ratio_of_two_mixtures():
    network = ClusterEnergy(bound=20.0, num_clusters=3)
    rng = np.random.default_rng(0)
    before, ratios = rng.dirichlet(np.ones(3)), rng.normal(size=3)
    precisions = rng.gamma(3.0, size=(3, 2))
    known = {"log_shares": np.log(before), "means": CENTRES, "precisions": precisions}
    v = rng.normal(scale=2.0, size=(7, 2))
    energy = network.apply({"params": {"log_ratios": ratios}, "clusters": known}, v)
    parts = stats.norm.pdf(v[:, None], CENTRES, precisions**-0.5).prod(axis=-1) * before
    exact = np.log(parts.sum(axis=1) / (parts @ np.exp(ratios)))
    np.testing.assert_allclose(20.0 * np.arctanh(energy / 20.0), exact, rtol=1e-4)
    zero = network.init(jax.random.key(0), jnp.zeros(2))
    np.testing.assert_allclose(network.apply(zero, v), 0.0, atol=1e-6)


def test_what_a_person_can_get_wrong_is_told_in_one_line():
    few = table_of(rows_of(1, 60, SHIFT))
    with pytest.raises(ValueError, match="tilt: expected data, latent or joint, got none"):
        debiasing.debias(trained().base(), few)
    no_energy = dataclasses.replace(CONFIG, unbiased_energy="none")
    with pytest.raises(ValueError, match="expected one of best, additive, network, clusters, got"):
        debiasing.debias(trained()._replace(config=no_energy), few)
    other = data.make_table("t", ("a", "c"), few.x)
    with pytest.raises(ValueError, match="unbiased: expected the columns a, b, got a, c"):
        debiasing.debias(trained(), other)
    whole = dataclasses.replace(CONFIG, unbiased_folds=0)
    with pytest.raises(ValueError, match="unbiased: expected at least 2 rows, got 1"):
        debiasing.debias(trained()._replace(config=whole), table_of(few.x[:1]))
    with pytest.raises(ValueError, match="at least unbiased_folds=5 rows, got 4"):
        debiasing.debias(trained(), table_of(few.x[:4]))
    with pytest.raises(ValueError, match="unbiased_energy: expected one of none, additive"):
        Config(unbiased_energy="cubic")
    with pytest.raises(ValueError, match="unbiased_folds: expected at least 2, got 1"):
        Config(unbiased_folds=1)
    with pytest.raises(ValueError, match="with unbiased_folds 0, which choose none, got 'best'"):
        Config(unbiased_folds=0)


def test_follow_up_fills_the_gaps_of_a_share_of_the_rows():
    truth = rows_of(0, 200, 0.0)
    table = data.benchmark_table("t", COLUMNS, truth)
    selected, unbiased, whole = data.follow_up(table, 0.1, seed=0)
    assert len(unbiased.x) == 20
    assert len(selected.x) == 180
    assert unbiased.mask.all()
    assert whole.mask.all(axis=1).sum() >= 20
    assert not whole.mask.all()
    np.testing.assert_array_equal(whole.truth, truth)
    bare = data.make_table("t", COLUMNS, table.x)
    with pytest.raises(ValueError, match="expected the true values of its gaps"):
        data.follow_up(bare, 0.1, seed=0)
    with pytest.raises(ValueError, match="expected some of the 200 rows"):
        data.follow_up(table, 1.0, seed=0)


def test_a_column_can_mark_the_unbiased_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,everybody,b\n1,0,2\n,0,3\n4,1,5\n")
    selected, unbiased = data.split_marked(data.read_csv(path), "everybody")
    assert selected.columns == unbiased.columns == ("a", "b")
    np.testing.assert_array_equal(selected.x, [[1, 2], [np.nan, 3]])
    np.testing.assert_array_equal(unbiased.x, [[4, 5]])
    path.write_text("a,everybody\n1,0\n2,3\n")
    with pytest.raises(ValueError, match="expected 0 or 1 in column 'everybody', got '3' in row 1"):
        data.split_marked(data.read_csv(path), "everybody")
    path.write_text("a,everybody\n1,0\n2,0\n")
    with pytest.raises(ValueError, match="expected both 0 and 1 in column 'everybody'"):
        data.split_marked(data.read_csv(path), "everybody")
