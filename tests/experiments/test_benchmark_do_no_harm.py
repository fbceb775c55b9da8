"""The designs of do no harm are what they say they are, and its records and table hold."""

import functools
import itertools
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from experiments.benchmark import records
from experiments.benchmark.do_no_harm import (
    designs,
    files,
    gaps,
    jobs,
    measures,
    methods,
    oracle,
    plebiscite,
    table,
    values,
)
from mnar_ebm import MNARImputer, metrics

COMMAND = "benchmark.do_no_harm.__main__"
ALL = list(designs.DESIGNS.values())
BY_NAME = pytest.mark.parametrize("design", ALL, ids=lambda design: design.name)
ALL_MASKS = np.array(list(itertools.product([False, True], repeat=values.NUM_COLUMNS)))


@BY_NAME
def test_a_design_is_a_table_with_gaps_of_its_law(design):
    """Standard columns, a share missing as told, no gap where there should be none."""
    example = design.make(3, 600)
    x, mask = example.values.x, example.mask
    assert x.shape == mask.shape == (600, 6) and mask.dtype == bool
    assert design.family in designs.FAMILIES and "\n" not in design.description
    is_numeric = example.values.is_numeric
    np.testing.assert_allclose(x[:, is_numeric].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x[:, is_numeric].std(axis=0), 1)
    for codes, column in zip(x.T, example.values.types, strict=True):
        if column.kind != "numeric":
            assert set(codes) == set(range(len(column.levels)))
    assert np.isfinite(example.law.log_prob(x, mask)).all()

    columns = list(example.law.columns)
    share = 1 - mask[:, columns].mean(axis=0)
    assert mask.mean(axis=0)[np.setdiff1d(range(6), columns)].min(initial=1) == 1
    low, high = {"self_hard": (0.4, 0.6), "self_soft": (0.4, 0.6), "self_weak": (0.4, 0.6)}.get(
        design.name, (0.1, 0.45)
    )
    if design.name == "mar_nearly":
        assert (~mask[:, 3]).sum() == 3
        share = share[1:]
    assert share.min() > low and share.max() < high, share


@BY_NAME
def test_a_design_is_drawn_by_its_seed(design):
    """The same for the same seed, another for another."""
    one, same, other = (design.make(seed, 100) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values.x, same.values.x)
    np.testing.assert_array_equal(one.mask, same.mask)
    assert jobs.digest(one) == jobs.digest(same) != jobs.digest(other)
    assert not np.array_equal(one.values.x, other.values.x)


@BY_NAME
def test_probabilities_of_all_masks_sum_to_one(design):
    """Of each row."""
    example = design.make(0, 50)
    log_prob = example.law.log_prob(example.values.x[:, None], ALL_MASKS)
    np.testing.assert_allclose(np.exp(log_prob).sum(axis=1), 1)


@BY_NAME
def test_gaps_are_drawn_by_the_probabilities_that_are_told(design):
    """One row many times: shares of its masks within five standard errors."""
    example = design.make(0, 100)
    law, num = example.law._replace(num_first=None), 4000
    row = example.values.x[[7]]
    drawn = law.draw(np.random.default_rng(0), np.repeat(row, num, axis=0))
    prob = np.exp(law.log_prob(row, ALL_MASKS))
    share = (drawn[:, None] == ALL_MASKS).all(axis=2).mean(axis=0)
    assert (np.abs(share - prob) <= 5 * np.sqrt(prob * (1 - prob) / num) + 2 / num).all()


@BY_NAME
def test_the_family_of_a_design_is_what_its_gaps_depend_on(design):
    """Other hidden values change log P(s|x), and the odds of a gap of their own, or do not."""
    example = design.make(0, 300)
    x, mask, law = example.values.x, example.mask, example.law
    rng = np.random.default_rng(0)
    other = np.where(mask, x, x[rng.permutation(len(x))])
    is_same = np.array_equal(law.log_prob(x, mask), law.log_prob(other, mask))
    assert is_same == (design.family == "ignorable")

    def odds(x, column):
        """Return log P(s_j = 1 | x, other gaps) less that of 0; NaN where neither can be."""
        both = [np.array(mask), np.array(mask)]
        both[0][:, column], both[1][:, column] = True, False
        with np.errstate(invalid="ignore"):
            return law.log_prob(x, both[0]) - law.log_prob(x, both[1])

    depends = []
    for column in law.columns:
        moved = np.array(x)
        moved[:, column] = x[rng.permutation(len(x)), column]
        hidden = ~mask[:, column]  # what is observed may tell of other gaps
        before, after = odds(x, column)[hidden], odds(moved, column)[hidden]
        depends.append(not np.allclose(before, after, rtol=1e-9, equal_nan=True))
    if design.family == "self_masking":
        assert any(depends)
    if design.family == "no_self_censoring":
        assert not any(depends)


def test_there_are_enough_designs():
    """Of each family, with names that no file system or flag minds."""
    families = [design.family for design in ALL]
    assert len(ALL) >= 24 and set(families) == set(designs.FAMILIES)
    assert families == sorted(families, key=designs.FAMILIES.index)
    assert all(re.fullmatch("[a-z_]+", name) for name in designs.DESIGNS)


def test_the_oracle_knows_a_probit_in_closed_form():
    r"""E[x|missing] = μ + σ·(wσ/√(1+w²σ²))·φ(t)/Φ(t), t = w μ/√(1+w²σ²), given the others."""
    x = values.gaussian(np.random.default_rng(0), 300).x
    law = gaps.probit(x, lambda x: 1.5 * x[..., [0]], columns=(0,), rate=None)
    mask = law.draw(np.random.default_rng(1), x)
    found, draws = oracle.complete(np.random.default_rng(2), x, mask, law, 50)
    covariance = np.cov(x.T)
    slopes = np.linalg.solve(covariance[1:, 1:], covariance[1:, 0])
    sd = np.sqrt(covariance[0, 0] - slopes @ covariance[1:, 0])
    mean = x[:, 0].mean() + (x - x.mean(axis=0))[:, 1:] @ slopes
    scale = np.sqrt(1 + (1.5 * sd) ** 2)
    t = 1.5 * mean / scale
    expected = mean + sd * (1.5 * sd / scale) * stats.norm.pdf(t) / special.ndtr(t)
    missing = ~mask[:, 0]
    # With 400 effective samples or more, and 50 draws of each.
    np.testing.assert_allclose(found[missing, 0], expected[missing], atol=6 * sd / 20)
    error = (found[missing, 0] - expected[missing]).mean()
    assert abs(error) < 5 * sd / np.sqrt(400 * missing.sum())
    off = draws[missing, :, 0].mean(axis=1) - expected[missing]
    assert np.abs(off).max() < 6 * sd / np.sqrt(50)
    np.testing.assert_array_equal(found[mask], x[mask])
    assert metrics.interval_coverage(draws, x, mask) > 0.8


def test_the_oracle_of_ignorable_gaps_is_the_regression():
    """Samples in mirrored pairs, all of one weight, have the mean of the normal law."""
    example = designs.DESIGNS["two_blocks"].make(0, 100)
    x, mask = example.values.x, example.mask
    found, _ = oracle.complete(np.random.default_rng(0), x, mask, example.law, 2)
    mean, covariance = x.mean(axis=0), np.cov(x.T)
    for row in range(len(x)):
        seen = mask[row]
        slopes = covariance[~seen][:, seen] @ np.linalg.inv(covariance[seen][:, seen])
        expected = mean[~seen] + slopes @ (x[row] - mean)[seen]
        np.testing.assert_allclose(found[row, ~seen], expected, atol=1e-8)


def test_measures_by_hand():
    """Two numbers off by one and by three, one wrong level of two, and a mean that is off."""
    truth = np.array([[0.0, 0], [2, 1], [0, 0], [2, 1]])
    mask = np.array([[False, True], [False, False], [True, False], [True, True]])
    types = (values.ColumnType("a"), values.levels("b", ("no", "yes")))
    example = designs.Example(values.Values(truth, types), mask)
    completed = np.array([[1.0, 0], [5, 0], [0, 0], [2, 1]])
    found = measures.judge(example, methods.Completed(completed))
    assert found == {"rmse": np.sqrt(5), "wrong": 0.5, "coverage_90": None, "bias": 1.0}
    draws = np.repeat(truth[:, None], 20, axis=1)
    assert measures.judge(example, methods.Completed(completed, draws))["coverage_90"] == 1


@pytest.mark.parametrize("name", ["mar_mixed", "careless"])
def test_peers_keep_what_was_observed_and_give_levels(name):
    """Points and draws; and regressions see that levels depend on numbers."""
    example = designs.DESIGNS[name].make(0, 200)
    mean, mice = (methods.METHODS[method](example, 0) for method in ("mean", "mice"))
    for x in (mean.x, mice.x, *mice.draws.swapaxes(0, 1)):
        np.testing.assert_array_equal(x[example.mask], example.values.x[example.mask])
        for codes, column in zip(x.T, example.values.types, strict=True):
            assert column.kind == "numeric" or set(codes) <= set(range(len(column.levels)))
    assert mice.draws.shape == (200, methods.NUM_DRAWS, 6)
    worse, better = (measures.judge(example, one) for one in (mean, mice))
    assert better["rmse"] < worse["rmse"]
    assert worse["wrong"] is None or better["wrong"] < worse["wrong"]


class Stub:
    """An imputer that fills in the first level, or 0, and tells its data frames."""

    frames: list = []

    def __init__(self, random_state):  # noqa: D107
        self.report_ = type("Report", (), {"mechanism": f"seed {random_state}"})

    def fit(self, frame):
        """Remember the table."""
        self.frames.append(frame)
        return self

    def transform(self, frame):
        """Fill in."""
        kinds = [isinstance(dtype, pd.CategoricalDtype) for dtype in frame.dtypes]
        filled = {
            name: one.fillna(one.cat.categories[0] if kind else 0.0)
            for (name, one), kind in zip(frame.items(), kinds, strict=True)
        }
        return pd.DataFrame(filled) if any(kinds) else pd.DataFrame(filled).to_numpy()

    def sample(self, frame, num_imputations):
        """Fill in as many times."""
        return [self.transform(frame)] * num_imputations


@pytest.mark.parametrize("name", ["mar_mixed", "mcar", "plebiscite"])
def test_the_imputer_is_asked_by_its_defaults(monkeypatch, name):
    """With a data frame of floats and categories; its answer comes back in codes."""
    monkeypatch.setattr(methods, "MNARImputer", Stub)
    all_designs = designs.DESIGNS | {"plebiscite": plebiscite.DESIGN}
    example = all_designs[name].make(0, 60)
    completed = methods.run_imputer(example, 4)
    expected = np.where(example.mask, example.values.x, 0.0)
    np.testing.assert_array_equal(completed.x, expected)
    np.testing.assert_array_equal(completed.draws, np.repeat(expected[:, None], 20, axis=1))
    assert completed.mechanism == "seed 4"
    frame = Stub.frames[-1]
    np.testing.assert_array_equal(frame.notna(), example.mask)
    kinds = ["categorical" if dtype == "category" else "numeric" for dtype in frame.dtypes]
    told = [column.kind.replace("binary", "categorical") for column in example.values.types]
    assert kinds == told


@pytest.mark.slow
def test_the_imputer_itself(monkeypatch, quick_compile):
    """A few steps on numbers and levels."""
    quick = functools.partial(
        MNARImputer, mechanism="none", max_iter=10, num_models=1, num_samples=50
    )
    monkeypatch.setattr(methods, "MNARImputer", quick)
    example = designs.DESIGNS["mar_mixed"].make(0, 100)
    completed = methods.run_imputer(example, 0)
    np.testing.assert_array_equal(completed.x[example.mask], example.values.x[example.mask])
    found = measures.judge(example, completed)
    assert np.isfinite(list(found.values())).all() and completed.mechanism


def test_the_plebiscite_is_that_of_the_paper():
    """Counts, the answers to both questions, and EM by its fixed point."""
    example = plebiscite.make(0, 600)
    x = example.values.x
    assert x.shape == (2074, 3) and (x[:, 1:] == 1).all(axis=1).sum() == 1191 + 158 + 90
    answered = example.mask[:, 1:].all(axis=1)
    published = plebiscite.PUBLISHED
    both = (x[answered, 1:] == 1).all(axis=1).mean()
    assert round(both, 3) == published["answers to both questions"]
    cells = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    fits = ((x[:, None] == cells) | np.isnan(x)[:, None]).all(axis=2)
    shares = np.full(8, 1 / 8)
    for _ in range(2000):
        expected = fits * (shares + 1e-12)
        shares = (expected / expected.sum(axis=1, keepdims=True)).mean(axis=0)
    em = shares[(cells[:, 1:] == 1).all(axis=1)].sum()
    assert abs(em - published["EM, missing at random"]) < 1.5e-3


def test_the_plebiscite_is_pooled():
    """By Rubin's rules; a single table has no interval."""
    yes, no = np.ones((100, 3)), np.zeros((100, 3))
    yes[:20, 1] = 0
    assert plebiscite.judge(yes, None) == (0.8, None, None)
    found = plebiscite.judge(no, np.stack([yes, yes, yes], axis=1))
    assert found.estimate == pytest.approx(0.8)
    half = stats.t.ppf(0.975, 99 * 100 / 102) * np.sqrt(0.8 * 0.2 / 100)
    np.testing.assert_allclose([found.low, found.high], [0.8 - half, 0.8 + half], rtol=1e-3)


def test_a_damaged_last_line_is_dropped(tmp_path):
    """Whether it lacks its end or its sense; damage before is an error."""
    path = tmp_path / "records.jsonl"
    assert records.read(path) == []
    for number in range(2):
        records.append(path, {"number": number})
    whole = path.read_text()
    for damage in ('{"num', '{"number": 2}', "\0\0\n"):
        path.write_text(whole + damage)
        assert [one["number"] for one in records.read(path)] == [0, 1]
        records.append(path, {"number": 2})
        assert path.read_text() == whole + '{"number": 2}\n'
    path.write_text('{"number"\n' + whole)
    with pytest.raises(ValueError, match="expected a record in line 1, got"):
        records.read(path)


UNTIMED = {"seconds": 0, "cpu_seconds": 0}


def test_a_killed_run_goes_on(call, refused, tmp_path):
    """The table of the command; then only what is damaged is made again; other rows are refused."""
    page = tmp_path / "README.md"
    begin = "<!-- do no harm: python -m experiments.benchmark.do_no_harm -->"
    page.write_text(f"before\n{begin}\nold\n<!-- end of do no harm -->\nafter\n")
    args = ("--designs=mcar,plebiscite", "--methods=mean,mice", "--num_seeds=2")
    args += ("--num_rows=100", f"--workdir={tmp_path}/work")
    said = call(COMMAND, *args, f"--readme={page}")
    assert said.status == 0, said.err
    path = tmp_path / "work" / jobs.FILE
    found = records.read(path)
    assert len({one["job"] for one in found}) == len(found) == 2 * 2 * 2
    by_job = {one["job"]: one for one in found}
    assert by_job["mcar mean seed 0"]["coverage_90"] is None
    assert 0.7 < by_job["mcar mice seed 0"]["coverage_90"] < 1
    survey = by_job["plebiscite mice seed 0"]
    assert 0.86 < survey["low"] < survey["estimate"] < survey["high"] < 0.93
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert said.out.strip().endswith(text.split("-->\n")[1].split("\n<!--")[0])
    assert "| the vote | 0.885 |" in text and "100 rows, 2 seeds." in text
    rmse = np.mean([by_job[f"mcar mice seed {seed}"]["rmse"] for seed in (0, 1)])
    assert re.search(rf"\| mcar \| ignorable \| \S+ \| {rmse:.2f} \|", text)

    path.write_bytes(path.read_bytes()[:-20])
    again = call(COMMAND, *args, "--only_run")
    assert again.out.count("seed") == 1 and "plebiscite mice seed 1: estimate" in again.out
    for one, other in zip(found, records.read(path), strict=True):
        assert one | UNTIMED == other | UNTIMED
    assert call(COMMAND, *args, "--only_table").out in said.out
    line = refused(COMMAND, *args, "--num_rows=101")
    assert f"{jobs.FILE}: mcar mean 0 was made of another table, of 100 rows" in line


@pytest.mark.slow
def test_designs_run_in_processes_of_their_own(call, csv, tmp_path):
    """The same records."""
    table_flag, mask_flag = csv
    args = ("--designs=mcar,self_hard", "--methods=mean,oracle", "--num_seeds=1", table_flag)
    found = []
    for num in (1, 2):
        workdir = tmp_path / str(num)
        flags = (mask_flag, f"--workdir={workdir}", f"--num_processes={num}")
        said = call(COMMAND, *args, *flags)
        assert said.status == 0, said.err
        made = records.read(workdir / jobs.FILE)
        found.append({one["job"]: one | UNTIMED for one in made})
    assert found[0] == found[1] and len(found[0]) == 5


def test_a_job_that_fails_keeps_no_other_from_its_record(monkeypatch, tmp_path):
    """It is told, and has no record."""

    def fail(example, seed):
        raise RuntimeError("no\nluck")

    monkeypatch.setitem(methods.METHODS, "mice", fail)
    mcar = {"mcar": designs.DESIGNS["mcar"]}
    plan = jobs.Plan(mcar, ["mice", "mean"], [0], 60, tmp_path)
    assert jobs.run_all(plan.due(), plan) == ["mcar mice seed 0: RuntimeError: no luck"]
    assert plan.due() == [("mcar", "mice", 0)]


@pytest.fixture
def csv(tmp_path):
    """Return the flags of a table of a number, a text and a truth value, and of its mask."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=80)
    kind = np.where(size + rng.normal(size=80) > 0, "big", "small")
    frame = pd.DataFrame({"size": size, "twice": 2 * size, "kind": kind, "is_up": size > 0})
    mask = pd.DataFrame(np.ones(frame.shape, int), columns=frame.columns)
    mask.loc[:19, "twice"] = 0
    mask.loc[10:29, "kind"] = 0
    frame.to_csv(tmp_path / "x.csv", index=False)
    mask.to_csv(tmp_path / "s.csv", index=False)
    return f"--datasets=mine={tmp_path}/x.csv", f"--mask_file=mine={tmp_path}/s.csv"


def test_files_of_ones_own(call, csv, tmp_path):
    """The same methods, less the oracle; a row of its own in the table, judged as if ignorable."""
    args = (*csv, "--methods=mean,mice,oracle", "--num_seeds=1", f"--workdir={tmp_path}/work")
    said = call(COMMAND, *args)
    assert said.status == 0, said.err
    mean, mice = records.read(tmp_path / "work" / jobs.FILE)
    assert mean["design"] == "mine" and mean["family"] == "file" and mean["rows"] == 80
    assert mice["rmse"] < 0.01 < mean["rmse"] and mice["wrong"] < mean["wrong"]
    assert "| mine | file | " in said.out and "x1 to x6" not in said.out
    assert said.out.count("as if ignorable") == 4 and "self-masking" not in said.out

    (design,) = files.read([csv[0].split("=", 1)[1]], [csv[1].split("=", 1)[1]])
    example = design.make(0, 600)
    assert [one.kind for one in example.values.types] == ["numeric"] * 2 + ["binary"] * 2
    frame = pd.read_csv(tmp_path / "x.csv")
    shown = values.to_frame(example.values.x, example.values.types)
    assert (shown.astype(object) == frame.astype(object)).all(axis=None)


@pytest.mark.parametrize(
    "args, message",
    [
        (["--designs=magic"], "--designs: expected one of mcar, block, .* got 'magic'"),
        (["--designs=mcar,mcar"], "--designs: expected distinct names, got mcar, mcar"),
        (["--methods=magic"], "--methods: expected one of mean, mice, .* got 'magic'"),
        (["--num_processes=0"], "--num_processes: expected at least 1, got 0"),
        (["--num_seeds=0"], "--num_seeds: expected at least 1, got 0"),
        (["--first_seed=-1"], "--first_seed: expected at least 0, got -1"),
        (["--num_rows=10"], "--num_rows: expected at least 50, got 10"),
        (["--num_rows=many"], "--num_rows=many: expected an integer, got 'many'"),
        (["--datasets=mine"], "--datasets: expected NAME=PATH.csv, got 'mine'"),
        (["--datasets=a=x.csv"], "--mask_file: expected a=PATH.csv beside --datasets, got none"),
        (["--mask_file=a=s.csv"], "--mask_file: expected one of , got 'a'"),
        (["--datasets=a=none.csv", "--mask_file=a=s.csv"], "No such file.*none.csv"),
        (["--datasets=a=x.csv", "--mask_file=a=none.csv"], "No such file.*none.csv"),
        (["--datasets=a=x.csv", "--mask_file=a=x.csv"], "x.csv: expected 0 and 1 alone"),
        (["--datasets=a=x.csv", "--mask_file=a=long.csv"], r"the shape of x.csv, \(2, 2\), got"),
        (["--datasets=a=x.csv", "--mask_file=a=other.csv"], "expected the header of x.csv"),
        (["--datasets=a=x.csv", "--mask_file=a=ones.csv"], "expected a 0, got none"),
        (["--datasets=a=x.csv", "--mask_file=a=none_of_b.csv"], "expected a 1 in each column"),
        (["--datasets=a=gaps.csv", "--mask_file=a=s.csv"], "a missing one in column 'b'"),
        (["--datasets=a=dates.csv", "--mask_file=a=many.csv"], "dates.csv: .* 'b' with 201 levels"),
        (["--datasets=a=ragged.csv", "--mask_file=a=s.csv"], "ragged.csv: Error tokenizing"),
        (["--datasets=mcar=x.csv", "--mask_file=mcar=s.csv"], "another name than that of a design"),
        (["--readme=x.csv"], "x.csv: expected the markers <!-- do no harm"),
    ],
)
def test_what_cannot_be_run_is_refused(refused, args, message):
    """In one line, before any work."""
    texts = {
        "x": "a,b\n1,2\n3,4\n",
        "s": "a,b\n1,0\n1,1\n",
        "long": "a,b\n1,0\n1,1\n1,1\n",
        "other": "a,c\n1,0\n1,1\n",
        "ones": "a,b\n1,1\n1,1\n",
        "none_of_b": "a,b\n1,0\n1,0\n",
        "gaps": "a,b\n1,\n1,1\n",
        "ragged": "a,b\n1,2\n1,2,3\n",
        "many": "a,b\n1,0\n" + 200 * "1,1\n",
        "dates": "a,b\n" + "".join(f"1,day {day}\n" for day in range(201)),
    }
    for name, text in texts.items():
        pathlib.Path(f"{name}.csv").write_text(text)
    assert re.search(message, refused(COMMAND, *args))
    assert not pathlib.Path("runs").exists()


def record(design, method, rmse, seed=0, **more):
    """Return a record of a job."""
    facts = {"rows": 600, "mechanism": None, "seconds": 1.0, "digest": ""}
    judged = {"rmse": rmse, "wrong": None, "coverage_90": None, "bias": 0.0}
    family = designs.DESIGNS[design].family
    names = {"design": design, "method": method, "seed": seed, "family": family}
    return names | facts | judged | more


def test_the_table_says_which_designs_miss_a_criterion():
    """Ratios are of each seed; failures are named with their values."""
    found = []
    for seed, ours in enumerate((1.0, 1.3)):
        more = {"mechanism": "selfmasking_probit" if seed else "none", "bias": 0.07}
        found += [
            record("mcar", "imputer", ours, seed, coverage_90=0.85, **more),
            record("mcar", "mice", 1.0, seed),
            record("mcar", "missforest", 2.0, seed),
            record("block", "imputer", 1.0, seed, coverage_90=0.9, mechanism="none"),
            record("block", "mice", 2.0, seed),
            record("block", "missforest", 1.0, seed),
            record("swap", "imputer", 1.06, seed, mechanism="none"),
            record("swap", "oracle", 1.0, seed),
            record("chain", "imputer", 1.04, seed, mechanism="none"),
            record("chain", "oracle", 1.0, seed),
            record("self_hard", "imputer", 0.6, seed, mechanism="linear"),
            record("self_hard", "mice", 1.0, seed),
            record("self_level", "imputer", None, seed, wrong=0.3, mechanism="none", bias=None),
            record("self_level", "mice", None, seed, wrong=0.2),
        ]
    text = table.make_text(found)
    mcar = "| mcar | ignorable | 1.00 | 2.00 | - | 1.15 | 1.15 | 1.30 | 0.85 | 0.070 | - | "
    assert mcar + "none 1, selfmasking_probit 1 | 1 |" in text
    assert (
        "| self_level | self-masking | 20% | - | - | 30% | - | - | - | - | - | none 2 | 1 |" in text
    )
    for line in (
        "mean ratio at most 1.03: missed by 1.075 (2 designs)",
        "no ratio above 1.10: missed by mcar 1.15 (1 of 2)",
        "coverage from 0.86 to 0.94: missed by mcar 0.85 (1 of 2)",
        "bias below 0.06: missed by mcar 0.070 (1 of 2)",
        "of the oracle: missed by swap 1.06 (1 of 2)",
        "gain over `mice`: -5% in the mean (self_hard 40%, self_level -50%); no gain: self_level",
    ):
        assert line in text, text
    good = table.make_text([one for one in found if one["design"] in ("block", "chain")])
    assert good.count(": met") == 5 and good.count("(1 designs)") == 5 and "missed" not in good
    assert "self-masking, gain" not in good
    own = [record("mcar", one, 1.0, bias=0.07) for one in ("imputer", "mice", "missforest")]
    of_own = table.make_text([one | {"design": "mine", "family": files.FAMILY} for one in own])
    assert "files, as if ignorable, mean ratio at most 1.03: met by 1.000 (1 designs)" in of_own
    assert "files, as if ignorable, bias below 0.06: missed by mine 0.070 (1 of 1)" in of_own
    assert table.make_text([]) == "no records"


def test_readme_shows_what_the_records_say(load):
    """The table is, to the letter, what the command makes of the records."""
    folder = pathlib.Path(__file__).parents[2] / "experiments"
    page = (folder / "README.md").read_text(encoding="utf-8")
    main = load(COMMAND)
    found = records.read(folder / "records" / jobs.FILE)
    assert f"{main.BEGIN}\n{table.make_text(found)}\n{main.END}" in page
