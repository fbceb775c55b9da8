"""What a person gets wrong is told in one line, before any work is done."""

import functools
import shutil

import pytest

import mnar_ebm
from mnar_ebm import training

ONE_ROW = "a,b\n1,2\n"


@pytest.fixture
def no_work(monkeypatch):
    """Fail a test in which training starts, or a trained model is loaded."""

    def work(*args, **kwargs):
        raise AssertionError("the work began")

    monkeypatch.setattr(mnar_ebm, "train", work)
    monkeypatch.setattr(mnar_ebm, "load", work)


@pytest.mark.parametrize(
    "args, expected",
    [
        (["--tilt=energy"], "--tilt"),
        (["--mechanism=mnar"], "selfmasking_probit"),
        (["--num_step=3"], "num_steps"),
        (["--num_steps=many"], "--num_steps=many: expected an integer, got 'many'"),
        (["--learning_rate=fast"], "expected a number, got 'fast'"),
        (["--num_steps=1.5"], "expected an integer, got '1.5'"),
        (["--num_steps="], "expected an integer, got ''"),
        (["--num_steps=0"], "num_steps: expected at least 1, got 0"),
        (["--seed=-1"], "seed: expected a value from 0 to 4294967295, got -1"),
        (["--seed=99999999999999999999"], "seed"),
        (["--learning_rate=0"], "learning_rate: expected a positive number, got 0"),
        (["--learning_rate=nan"], "learning_rate"),
        (["--tilt_learning_rate=inf"], "tilt_learning_rate"),
        (["--ema_decay=1"], "ema_decay"),
        (["--validation_fraction=0.9"], "validation_fraction"),
        (["--patience=0"], "patience"),
        (["--negative_phase=pcd", "--replay_size=9"], "expected at least num_negatives=1024"),
        (
            ["--negative_phase=cd", "--tilt=joint", "--likelihood=bernoulli"],
            "negative_phase: expected one of snis, jensen, nce for the joint tilt",
        ),
        (["--dataset=mist"], "dataset: expected one of breast_cancer"),
        (["--dataset=banknote"], "--data_dir"),
        (["--data_path=nowhere.csv"], "nowhere.csv: No such file"),
        (["--data_path=."], "Is a directory"),
        (["--data_path=one_row.csv"], "expected at least 2 rows, got 1"),
        (["--data_path=words.csv"], "line 3, column 'b'"),
        (["--data_path=empty_column.csv"], "b"),
        (["--data_path=PEOPLE", "--likelihood=bernoulli"], "bernoulli expects values from 0 to 1"),
        (
            ["--flagfile=nowhere.cfg"],
            "base.cfg, data.cfg, ebm.cfg, energy_matching.cfg",
        ),
        (["--flagfile=itself.cfg"], "includes itself"),
        (["--flagfile=not_text.cfg"], "not_text.cfg"),
        (["latent.cfg"], "expected --flag=value, got 'latent.cfg'"),
        (["--resume", "--overwrite"], "expected --resume or --overwrite, got both"),
        (["--workdir=one_row.csv"], "expected a folder, got a file"),
        (["--workdir=one_row.csv/run"], "expected a folder that can be written"),
        (["--workdir=full"], "expected a new --workdir, --resume to go on, or --overwrite"),
        (["--workdir=full", "--overwrite"], "expected a run folder to overwrite"),
    ],
)
def test_train_refuses(refused, no_work, people_csv, tmp_path, args, expected):
    """In one line that names what is wrong, and nothing is written."""
    cwd = tmp_path / "cwd"
    (cwd / "full").mkdir()
    (cwd / "full" / "diary.txt").write_text("kept")
    (cwd / "one_row.csv").write_text(ONE_ROW)
    (cwd / "words.csv").write_text("a,b\n1,2\n3,four\n")
    (cwd / "empty_column.csv").write_text("a,b\n1,\n3,NA\n")
    (cwd / "itself.cfg").write_text("--flagfile=itself.cfg\n")
    (cwd / "not_text.cfg").write_bytes(b"--seed=\xff\xfe1\n")
    before = sorted(cwd.rglob("*"))
    args = [argument.replace("PEOPLE", str(people_csv)) for argument in args]
    assert expected in refused("train", *args)
    assert sorted(cwd.rglob("*")) == before
    assert (cwd / "full" / "diary.txt").read_text() == "kept"


NEEDED = {
    "impute": ("--workdir=RUN", "--input=PEOPLE", "--output=out.csv"),
    "sample": ("--workdir=RUN", "--output=out.csv"),
    "evaluate": ("--workdir=RUN",),
}


@pytest.fixture
def paths(trained):
    """Return a function that puts the run folder and its data into flags."""

    def paths(args):
        names = {"RUN": trained.workdir, "PEOPLE": trained.csv}
        return [
            functools.reduce(lambda text, n: text.replace(n, str(names[n])), names, argument)
            for argument in args
        ]

    return paths


@pytest.mark.parametrize(
    "name, missing", [(name, flag) for name, needed in NEEDED.items() for flag in needed]
)
def test_a_needed_flag_is_missing(refused, name, missing):
    """The message names it."""
    given = [flag for flag in NEEDED[name] if flag != missing]
    assert missing.partition("=")[0] in refused(name, *given)


@pytest.mark.parametrize(
    "name, args, expected",
    [
        ("impute", ["--workdir=."], "expected a checkpoint, found none"),
        ("impute", ["--workdir=nowhere"], "nowhere: expected a checkpoint"),
        ("impute", ["--input=nowhere.csv"], "nowhere.csv: No such file"),
        ("impute", ["--num_imputations=0"], "--num_imputations: expected at least 1, got 0"),
        ("impute", ["--num_imputations=two"], "--num_imputations"),
        ("impute", ["--num_importance_samples=0"], "--num_importance_samples: expected at least"),
        ("impute", ["--seed=99999999999999999999"], "seed"),
        ("sample", ["--workdir=nowhere"], "nowhere: expected a checkpoint"),
        ("sample", ["--method=gibbs"], "--method"),
        ("sample", ["--space=nowhere"], "--space"),
        ("sample", ["--num_samples=0"], "--num_samples: expected at least 1, got 0"),
        ("sample", ["--num_proposals=0"], "--num_proposals: expected at least 1, got 0"),
        ("sample", ["--num_steps=-1"], "--num_steps: expected at least 1, got -1"),
        ("sample", ["--step_size=0"], "--step_size: expected a positive number, got 0"),
        ("sample", ["--temperature=-1"], "--temperature: expected a positive number, got -1"),
        ("sample", ["--method=mala", "--temperature=2"], "temperature: expected 1 for mala"),
        ("sample", ["--method=ula", "--space=data"], "space: data needs a tilt of x alone"),
        ("sample", ["--method=snis", "--temperature=2"], "temperature"),
        ("sample", ["--method=snis", "--space=latent"], "space"),
        ("sample", ["--method=snis", "--step_size=0.1"], "step_size"),
        ("sample", ["--seed=99999999999999999999"], "seed"),
        ("evaluate", ["--workdir=."], "expected a checkpoint, found none"),
        ("evaluate", ["--seed=5"], "was started with seed=1, got 5"),
        ("evaluate", ["--data_path=nowhere.csv"], "nowhere.csv: No such file"),
    ],
)
def test_the_others_refuse(refused, paths, tmp_path, name, args, expected):
    """In one line that names what is wrong, and nothing is written."""
    assert expected in refused(name, *paths([*NEEDED[name], *args]))
    assert not list((tmp_path / "cwd").iterdir())


@pytest.mark.parametrize("name, several", [("impute", False), ("impute", True), ("sample", False)])
def test_output_is_checked_before_the_work(refused, no_work, paths, tmp_path, name, several):
    """A file that exists or a folder that cannot be written: the model is not even loaded."""
    needed = [*paths(NEEDED[name]), *(["--num_imputations=2"] if several else [])]
    taken = tmp_path / "cwd" / ("out.std.csv" if several else "out.csv")
    taken.write_text("kept")
    assert "expected a new file, or --overwrite" in refused(name, *needed)
    assert taken.read_text() == "kept"
    output = f"--output={taken}/out.csv"
    assert "expected a folder that can be written" in refused(name, *needed, output)


@pytest.mark.parametrize("name", ["impute", "sample"])
def test_output_is_not_a_folder(refused, no_work, paths, tmp_path, name):
    """It is refused before the work, with --overwrite too."""
    (tmp_path / "cwd" / "folder.csv").mkdir()
    args = (*paths(NEEDED[name]), "--output=folder.csv", "--overwrite")
    assert "folder.csv" in refused(name, *args)


@pytest.mark.parametrize(
    "stage, expected",
    [("tilt", "expected a finished run, got one in stage tilt"), (None, "damage")],
)
def test_a_run_that_is_not_whole(refused, trained, tmp_path, stage, expected):
    """Impute refuses an unfinished checkpoint, and a damaged one."""
    workdir = tmp_path / "copy"
    shutil.copytree(trained.workdir, workdir)
    numbered = sorted((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    if stage:
        shutil.rmtree(numbered[-1])
    else:
        for path in (numbered[-1] / "arrays").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    args = (f"--workdir={workdir}", f"--input={trained.csv}", "--output=out.csv")
    assert expected in refused("impute", *args)


def test_resume_with_other_settings_leaves_the_run_alone(refused, trained, tmp_path):
    """It is refused, and run.cfg still says what the run was."""
    workdir = tmp_path / "copy"
    shutil.copytree(trained.workdir, workdir)
    before = (workdir / "run.cfg").read_text()
    args = (f"--flagfile={workdir}/run.cfg", f"--workdir={workdir}", "--resume", "--seed=5")
    assert "was started with seed=1, got 5" in refused("train", *args)
    assert (workdir / "run.cfg").read_text() == before


def test_resume_before_the_first_checkpoint(call, monkeypatch, people_csv, tmp_path):
    """There is nothing to go on with yet, so other settings are no error; run.cfg follows them."""
    seeds = []

    def killed(config, *args, **kwargs):
        seeds.append(config.seed)
        raise training.InterruptedTraining("killed")

    monkeypatch.setattr(mnar_ebm, "train", killed)
    workdir = tmp_path / "run"
    args = (f"--data_path={people_csv}", f"--workdir={workdir}", "--resume", "--hidden_dim=16")
    for seed in (0, 5):
        assert call("train", *args, f"--seed={seed}").status == 130
        assert f"--seed={seeds[-1]}\n" in (workdir / "run.cfg").read_text()


def test_overwrite_removes_a_run_only(load, tmp_path):
    """What holds no run.cfg is refused, and what no run wrote stays: a table, say."""
    cli = load("train").cli
    workdir = tmp_path / "run"
    cli.open_run_folder(workdir, resume=False, overwrite=True)  # new: nothing to overwrite
    (workdir / "old.txt").write_text("old")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="expected a"):
            cli.open_run_folder(workdir, resume=False, overwrite=overwrite)
    cli.open_run_folder(workdir, resume=True, overwrite=False)
    assert (workdir / "old.txt").exists()
    for name in cli.RUN_FILES:
        (workdir / name).write_text("")
    (workdir / "checkpoints" / "400").mkdir(parents=True)
    cli.open_run_folder(workdir, resume=False, overwrite=True)
    assert [path.name for path in workdir.iterdir()] == ["old.txt"]


def test_what_a_run_writes_is_what_overwrite_removes(load, trained):
    """And no more: a new figure has to be told of."""
    cli = load("train").cli
    written = {path.name for path in trained.workdir.iterdir()}
    assert {"run.cfg", "metrics.json", "checkpoints"} < written <= {*cli.RUN_FILES, "checkpoints"}


def test_a_process_ends_with_one_line(spawn, tmp_path):
    """As the table says of this process: nothing but the line, and a status that is not 0."""
    process = spawn("train", "--num_steps=0", cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert (out, err) == ("", "error: --num_steps: expected at least 1, got 0\n")


@pytest.mark.parametrize(
    "content, expected",
    [
        (None, "found none"),
        (b'{"rmse": ', "found no such (JSONDecodeError: Expecting value"),
        (b"\xff\xfe", "found no such (UnicodeDecodeError"),
        (b"{}", "found no such (KeyError: 'rmse')"),
        (b"[]", "found no such (TypeError"),
        (b'{"rmse": 0.7}', "found no such (KeyError"),
    ],
)
def test_results_refuses(refused, tmp_path, content, expected):
    """A run that has no metrics, damaged ones, or those of something else."""
    if content is not None:
        (tmp_path / "metrics.json").write_bytes(content)
    said = refused("results", f"--runs={tmp_path}")
    assert f"metrics.json: expected the metrics of a finished run, {expected}" in said
