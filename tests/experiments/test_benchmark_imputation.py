"""The imputation benchmark: its files, its table, and that what is done is not done again."""

import json
import pathlib
import re

import numpy as np
import pytest

import mnar_ebm
from experiments import markdown, published
from experiments.benchmark import runner
from experiments.benchmark.imputation import methods
from mnar_ebm import Config, data, tilted
from mnar_ebm.tilted import make_fitted, table_facts

COMMAND = "benchmark.imputation.__main__"
TINY = (
    "--hidden_dim=8",
    "--num_importance_samples=3",
    "--num_steps=4",
    "--tilt_steps=4",
    "--num_negatives=16",
    "--num_imputation_samples=20",
    "--num_seeds=2",
)
METHODS = "--methods=mean,mice,limit,paper_ppca,recommended"


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    """Return the path of a complete table, whose first column is the sum of two others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 4)) * [1.0, 1.0, 10.0, 1.0] + [0.0, 5.0, 50.0, 0.0]
    x[:, 0] = x[:, 1] + x[:, 3]
    path = tmp_path_factory.mktemp("data") / "sums.csv"
    np.savetxt(path, x, delimiter=",", header="a,b,c,d", comments="")
    return path


def records_of(workdir):
    """Return the records of a workdir's jobs, by name."""
    return runner.done(workdir / "imputation.jsonl")


def forget(workdir, name):
    """Take the record of a job out of the file."""
    path = workdir / "imputation.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if json.loads(line)["job"] != name))


@pytest.mark.slow
def test_every_job_has_a_record_and_is_not_run_again(call, refused, csv, tmp_path):
    """Records, table and metrics; then only one that is gone is made again, the same as before."""
    (tmp_path / "README.md").write_text(
        "before\n<!-- imputation: python -m experiments.benchmark.imputation -->\nold\n"
        "<!-- end of imputation -->\nafter\n"
    )
    args = (METHODS, f"--datasets=sums={csv}", f"--workdir={tmp_path}/work", *TINY)
    said = call(COMMAND, *args, f"--readme={tmp_path}/README.md")
    assert said.status == 0, said.err
    work, files = tmp_path / "work", records_of(tmp_path / "work")
    assert len(files) == 5 * 2
    for found in files.values():
        assert found["rows"] == 80 and found["columns"] == 4 and found["seconds"] >= 0
        for result in found["results"].values():
            assert np.isfinite(result["rmse"])
            if found["method"] in ("paper_ppca", "recommended"):
                assert result["crps"] > 0 and 0 <= result["coverage_90"] <= 1
                assert np.isfinite(result["bound"])
    ours = files["sums-above_mean-paper_ppca-0"]
    assert ours["settings"]["schedule"] == "constant" and ours["settings"]["num_steps"] == 4
    assert files["sums-above_mean-recommended-1"]["results"].keys() == {
        "recommended",
        "recommended_base",
    }
    # Column means are off by the distance to the hidden upper half; trees that saw the truth
    # find that a is b + d.
    rmse = {
        name: files[f"sums-above_mean-{name}-0"]["results"][name]["rmse"]
        for name in ("mean", "limit")
    }
    assert rmse["limit"] < rmse["mean"] < 2.5

    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert said.out.strip().endswith(text.split("-->\n")[1].split("\n<!--")[0])
    summaries = {
        record["label"]: record for record in json.loads((work / "metrics.json").read_text())
    }
    both = [
        files[f"sums-above_mean-paper_ppca-{seed}"]["results"]["paper_ppca"]["rmse"]
        for seed in (0, 1)
    ]
    mean, error = summaries["paper_ppca"]["rmse"]
    np.testing.assert_allclose([mean, error], [np.mean(both), abs(both[0] - both[1]) / 2])
    assert f"| {mean:.2f} ± {error:.2f} |" in text and "published" not in text

    forget(work, "sums-above_mean-paper_ppca-1")
    before = (work / "imputation.jsonl").read_text()
    with (work / "imputation.jsonl").open("a") as file:
        file.write('{"job": "sums-above_me')  # killed while it wrote
    again = call(COMMAND, *args)
    assert again.out.count("RMSE 0") + again.out.count("RMSE 1") + again.out.count("RMSE 2") == 1
    assert (work / "imputation.jsonl").read_text().startswith(before)
    for name, found in records_of(work).items():
        assert found["results"] == files[name]["results"]

    forget(work, "sums-above_mean-mean-0")
    table = call(COMMAND, *args, "--only_table").out
    assert "RMSE 0" not in table and "sums-above_mean-mean-0" not in records_of(work)
    assert (
        "| mean | sums | above_mean | 1 |" in table and "| mice | sums | above_mean | 2 |" in table
    )

    line = refused(COMMAND, *args, "--num_steps=5", "--methods=paper_ppca")
    assert "paper_ppca-0: was made with num_steps=4, got 5" in line


def test_draws_of_the_paper_are_those_of_its_weights(monkeypatch, csv):
    """Its mean leaves the missing values that were drawn out of account; its draws do not."""
    x = np.loadtxt(csv, delimiter=",", skiprows=1)[:20]
    table = data.make_table("sums", tuple("abcd"), np.where(x > x.mean(axis=0), np.nan, x), x)
    config = Config(
        mechanism="selfmasking_logistic", tilt="none", latent_dim=2, num_imputation_samples=50
    )
    fitted = make_fitted(config, table_facts(config, table))
    report = tilted.TiltReport(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, np.zeros(1))
    monkeypatch.setattr(mnar_ebm, "train", lambda config, table: (fitted, report))
    completed = methods.run_ours("paper_ppca", table, 0, methods.Options(None, 3))["paper_ppca"]
    imputed = fitted.impute(table.x, num_imputations=3, seed=0)
    assert (completed.draws == imputed.draws).all()
    assert (completed.mean != imputed.mean)[~table.mask].any()


def test_other_masks_and_published_rows(call, tmp_path):
    """A named set has the whole of the published table beside it, under the paper's mask alone."""
    args = ("--datasets=breast_cancer", "--methods=mean", "--num_seeds=1")
    said = call(COMMAND, *args, "--masks=above_mean,mcar", f"--workdir={tmp_path}")
    lines = said.out.splitlines()
    published_rows = [line for line in lines if "(published)" in line]
    assert len(published_rows) == len(published.TABLE_1) == 12
    assert "| not-MIWAE, self-masking known (published) | 0.76 ± 0.01 |" in published_rows
    assert "| mean (repeats mean) | 1.82 |" in lines  # one seed: no error
    start = lines.index("RMSE, mask `mcar`")
    (row,) = [
        line for line in lines[start:] if line.startswith("| mean | ") and line.count("|") == 3
    ]
    assert 0.97 < float(row.split("|")[2]) < 1.03  # the mean of a column is off by its spread


def test_a_job_that_fails_keeps_no_other_from_the_table(call, csv, tmp_path):
    """Steps of 1e30 are no longer finite; the column means are there all the same."""
    args = ("--methods=mean,paper_ppca", f"--datasets=sums={csv}", *TINY, "--learning_rate=1e30")
    said = call(COMMAND, *args, f"--workdir={tmp_path}")
    assert said.status == 1 and said.err.startswith("error: 2 failed, the first of them sums-")
    assert "the loss of stage base is" in said.err
    assert "| mean | sums | above_mean | 2 |" in said.out
    assert "| paper_ppca" not in said.out
    assert len(records_of(tmp_path)) == 2


@pytest.mark.slow
def test_jobs_run_in_processes_of_their_own(call, csv, tmp_path):
    """The same records and table as in one process."""
    args = ("--methods=mean,mice", f"--datasets=sums={csv}", "--num_seeds=1")
    one = call(COMMAND, *args, f"--workdir={tmp_path}/one")
    many = call(COMMAND, *args, f"--workdir={tmp_path}/many", "--num_processes=2")
    assert many.status == 0, many.err
    results = [
        {name: found["results"] for name, found in records_of(tmp_path / folder).items()}
        for folder in ("one", "many")
    ]
    assert results[0] == results[1] and len(results[0]) == 2
    assert one.out.splitlines()[-4].split("|")[1:4] == many.out.splitlines()[-4].split("|")[1:4]


@pytest.mark.parametrize(
    "args, message",
    [
        (["--methods=magic"], "--methods: expected some of mean, mice, .* got 'magic'"),
        (["--masks=mnar"], "--masks: expected some of above_mean, .* got .mnar."),
        (["--num_seeds=0"], "--num_seeds: expected at least 1, got 0"),
        (["--seed=3"], "--seed: expected --datasets and --num_seeds instead"),
        (["--datasets=nowhere"], "--datasets: expected some of .* or NAME=PATH.csv, got 'nowhere'"),
        (["--datasets=a=b.csv,a=c.csv"], "--datasets: expected distinct names, got a, a"),
        (["--masks=mcar,mcar"], "--masks: expected distinct names, got mcar, mcar"),
        (["--num_imputations=1"], "--num_imputations: expected at least 2, got 1"),
    ],
)
def test_what_cannot_be_run_is_refused(refused, tmp_path, args, message):
    """In one line."""
    assert re.search(message, refused(COMMAND, *args, f"--workdir={tmp_path}"))


def test_a_table_with_gaps_is_refused(refused, tmp_path):
    """There is no truth to compare with."""
    (tmp_path / "gaps.csv").write_text("a,b\n1,2\n,3\n")
    args = (f"--datasets=gaps={tmp_path}/gaps.csv", "--methods=mean", f"--workdir={tmp_path}")
    assert "expected complete values in gaps, got missing ones" in refused(COMMAND, *args)


def test_files_are_read_before_any_job_is_run(call, refused, csv, tmp_path):
    """A file that cannot be read, or that holds other values than those of the records there."""
    args = ("--methods=mean", "--num_seeds=1", f"--workdir={tmp_path}")
    line = refused(COMMAND, f"--datasets=sums={csv},none={tmp_path}/none.csv", *args)
    assert "none.csv: No such file" in line and not records_of(tmp_path)
    said = call(COMMAND, f"--datasets=sums={csv}", *args)
    assert said.out.startswith("sums: 80 rows, 4 columns; above_mean hides ")
    assert "% of the cells, in a, b\n" in said.out
    other = tmp_path / "other.csv"
    other.write_text(csv.read_text().replace("e+00", "e-01", 1))
    line = refused(COMMAND, f"--datasets=sums={other}", *args)
    assert "sums-above_mean-mean-0: was made of another sums (digest " in line


def test_every_row_of_the_published_table_is_whole():
    """And its best values are those that the paper prints in bold."""
    for row in published.TABLE_1.values():
        assert tuple(row) == published.DATASETS
    best = [published.best(dataset) for dataset in published.DATASETS]
    assert best == [0.57, 1.12, 1.07, 0.99, 0.77, 0.72]


def test_text_between_markers_is_replaced(tmp_path):
    """The markers and all around them stay; a file without them is refused."""
    path = tmp_path / "page.md"
    path.write_text("a\n<b>\nold\n</b>\nz\n")
    markdown.replace_between(path, "<b>", "</b>", "new")
    assert path.read_text() == "a\n<b>\nnew\n</b>\nz\n"
    markdown.replace_between(path, "<b>", "</b>", "newer")
    assert path.read_text() == "a\n<b>\nnewer\n</b>\nz\n"
    with pytest.raises(ValueError, match="expected the markers </b> and <b>, found none"):
        markdown.replace_between(path, "</b>", "<b>", "x")


def test_the_mask_of_a_job_is_drawn_by_its_seed(load, csv, tmp_path):
    """On columns that are standard over all rows; the truth is kept."""
    load(COMMAND)
    from experiments.benchmark.imputation import jobs

    made = jobs.make_jobs([f"sums={csv}"], ["mcar"], ["mean"], 2)
    tables = [jobs.load_table(job, None) for job in made]
    for job, table in zip(made, tables, strict=True):
        np.testing.assert_allclose(table.truth.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(table.truth.std(axis=0), 1)
        np.testing.assert_array_equal(table.mask, data.hide("mcar", job.seed, table.truth))
    assert not np.array_equal(tables[0].mask, tables[1].mask)


def test_readme_shows_what_the_records_say(load, tmp_path):
    """The tables are, to the letter, what the command makes of the committed records.

    And these were made with the settings that the command has now.
    """
    root = pathlib.Path(__file__).parents[2]
    jobs = load("benchmark.imputation.jobs")
    tables = load("benchmark.imputation.tables")
    methods = load("benchmark.imputation.methods")
    datasets = ["banknote", "concrete", "red", "breast"]
    masks = ["above_mean", "mcar", "mar"]
    records = records_of(root / "experiments/records")
    todo = jobs.make_jobs(datasets, masks, list(methods.METHODS), 5)
    jobs.check_done(todo, methods.Options("", 20), records)
    done = [records[job.name] for job in todo if job.name in records]
    assert len(done) == len(records)
    text = tables.make_text(tables.collect(done, tmp_path))
    assert f"-->\n{text}\n<!--" in (root / "experiments/README.md").read_text()
