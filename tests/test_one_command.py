"""``mnar-ebm COMMAND`` does from a clone and from a wheel what ``python -m experiments.X`` does."""

import os
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest

import mnar_ebm
from mnar_ebm import __main__ as one

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel and unpack it in a folder of its own, as an installer does."""
    pytest.importorskip("hatchling", reason="hatchling is not installed (extra dev)")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(folder, cwd, *args):
    """Run the package that lies in a folder, from another folder."""
    return subprocess.run(
        [sys.executable, "-m", "mnar_ebm", *map(str, args)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_wheel_installs_one_name(wheel):
    """The package and its commands with their flag files, without benchmarks and records."""
    installed = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
    assert installed == {"mnar_ebm"}
    commands = wheel / "mnar_ebm/commands"
    assert {f"{name}.py" for name in one.COMMANDS} <= {path.name for path in commands.iterdir()}
    assert (commands / "configs/latent.cfg").is_file()
    assert not {"benchmark", "records", "README.md"} & {path.name for path in commands.iterdir()}
    for path in wheel.rglob("*.py"):
        assert not re.search(r"^(from|import) experiments", path.read_text(), re.MULTILINE), path
    (entries,) = wheel.glob("*.dist-info/entry_points.txt")
    assert "mnar-ebm = mnar_ebm.__main__:main" in entries.read_text()


def test_every_command_has_its_name():
    """Each file beside the benchmarks that is a command, but those that draw pages' figures."""
    files = (ROOT / "experiments").glob("*.py")
    found = {path.stem for path in files if "cli.main(main)" in path.read_text()}
    assert found - {"sampler_figures"} == set(one.COMMANDS)


def test_the_version_is_told_once():
    """By the package, and by what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert mnar_ebm.__version__ == project["version"]


def test_help_from_the_wheel(wheel, tmp_path):
    """Every command in a line, and the flags of training: a dozen, or all in groups."""
    short, full = (run(wheel, tmp_path, flag) for flag in ("--help", "--helpfull"))
    for said in (short, full):
        assert said.returncode == 0 and not said.stderr, said.stderr
        assert all(re.search(rf"^  {name} +[A-Z]", said.stdout, re.M) for name in one.COMMANDS)
    assert short.stdout.count("\n  --") <= 15 and "\n  --data_path: " in short.stdout
    assert full.stdout.count("\n  --") > 60 and "\nof the command:\n" in full.stdout


def test_a_wrong_command_is_told_in_one_line(wheel, tmp_path):
    """With those that there are; and so is a wrong flag of a right one."""
    said = run(wheel, tmp_path, "tarin")
    assert said.returncode == 2 and said.stderr.count("\n") == 1
    assert "expected one of train, impute" in said.stderr and "'tarin'" in said.stderr
    said = run(wheel, tmp_path, "sample", "--nonsense=1")
    assert said.returncode and said.stderr.count("\n") == 1 and "nonsense" in said.stderr


@pytest.mark.slow
def test_a_table_is_completed_from_the_wheel(wheel, tmp_path):
    """Trained by a named flag file, from a folder without the clone, and completed."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1)) + 0.3 * rng.normal(size=(60, 3))
    lines = ["a,b,c", *(f"{a:.3f},{b:.3f},{'' if c > 0.5 else f'{c:.3f}'}" for a, b, c in x)]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    few = ["--latent_dim=2", "--num_steps=20", "--tilt_steps=20", "--num_imputation_samples=50"]
    flags = ["--flagfile=smoke.cfg", *few, "--data_path=people.csv", "--workdir=run"]
    said = run(wheel, tmp_path, "train", *flags)
    assert said.returncode == 0, said.stderr
    said = run(wheel, tmp_path, "impute", "--workdir=run", "--input=people.csv", "--output=out.csv")
    assert said.returncode == 0, said.stderr
    whole = (tmp_path / "out.csv").read_text().splitlines()
    assert len(whole) == 61 and all(all(line.split(",")) for line in whole)
