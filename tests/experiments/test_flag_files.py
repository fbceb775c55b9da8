"""Flag files, and that every setting can be told from outside and says what it is."""

import pytest
from absl import flags

from experiments import cli
from mnar_ebm import recipes
from mnar_ebm.config import Config

COMMANDS = ("train", "impute", "sample", "evaluate", "sensitivity")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a flag file into the empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def test_a_file_stands_where_it_is_named(write):
    """Its lines go between what stands before and after it, in order."""
    write("few.cfg", "--a=1", "--b=2")
    assert cli.expand(["--a=0", "--flagfile=few.cfg", "--b=3"]) == [
        "--a=0",
        "--a=1",
        "--b=2",
        "--b=3",
    ]


@pytest.mark.parametrize(
    "args", [["--flagfile=few.cfg"], ["-flagfile=few.cfg"], ["--flagfile", "few.cfg"]]
)
def test_ways_to_name_a_file(write, args):
    """One dash or two, an equals sign or a space."""
    write("few.cfg", "--a=1")
    assert cli.expand([*args, "--b"]) == ["--a=1", "--b"]


def test_comments_and_blank_lines_are_skipped(write):
    """Both kinds of comment, indented or not; a # within a value stays."""
    write("few.cfg", "# one", "", "   // two", "  --a=1  ", "   ", "--b=x#y")
    assert cli.expand(["--flagfile=few.cfg"]) == ["--a=1", "--b=x#y"]


def test_a_file_names_another(write):
    """It is found beside the file that names it, and stands in its place."""
    write("sub/outer.cfg", "--a=1", "--flagfile=inner.cfg", "--c=3")
    write("sub/inner.cfg", "--b=2")
    assert cli.expand(["--flagfile=sub/outer.cfg"]) == ["--a=1", "--b=2", "--c=3"]


def test_the_working_directory_goes_first(write):
    """A file of one's own goes before one of the same name that comes with the commands."""
    write("smoke.cfg", "--a=1")
    assert cli.expand(["--flagfile=smoke.cfg"]) == ["--a=1"]


def test_one_file_may_be_named_twice(write):
    """Only a circle is refused."""
    write("few.cfg", "--a=1")
    assert cli.expand(["--flagfile=few.cfg", "--flagfile=few.cfg"]) == ["--a=1", "--a=1"]


@pytest.mark.parametrize("names", [("a.cfg",), ("a.cfg", "b.cfg")])
def test_a_file_that_includes_itself_is_refused(write, names):
    """At once, or by way of another."""
    for name, following in zip(names, (*names[1:], names[0]), strict=True):
        write(name, f"--flagfile={following}")
    with pytest.raises(flags.Error, match="a.cfg includes itself"):
        cli.expand(["--flagfile=a.cfg"])


@pytest.mark.parametrize("args", [["--flagfile=nowhere.cfg"], ["--flagfile="], ["--flagfile"]])
def test_a_file_that_is_not_found(write, args):
    """The message lists those that come with the commands."""
    with pytest.raises(flags.Error, match="base.cfg, data.cfg, ebm.cfg, energy_matching.cfg"):
        cli.expand(args)


@pytest.mark.parametrize("name", ["base", "data", "joint", "latent", "smoke"])
def test_the_files_that_come_along(load, name):
    """Each is accepted by training and asks for the tilt that it is named after."""
    command = load("train")
    command.cli.parse(["train", f"--flagfile={name}.cfg"])
    config = command.settings.config_from_flags()
    tilts = {"base": "none", "smoke": "latent"}
    assert config.model.tilt == tilts.get(name, name)
    if name == "latent":
        assert config == Config()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("rbm", recipes.rbm.Config()),
        ("rbm_small", recipes.rbm.Config(num_hidden=16)),
        ("ising", recipes.ising.Config(num_steps=1000)),
        ("ebm", recipes.points.Config(jitter=1.0, num_steps=2000, patience=5)),
    ],
)
def test_the_files_of_other_systems(load, name, config):
    """Each is accepted by training and is of its system; what it does not tell is its default."""
    command = load("train")
    command.cli.parse(["train", f"--flagfile={name}.cfg"])
    assert command.settings.config_from_flags() == config


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--flagfile=rbm.cfg", "--tilt=data"], "--tilt: expected a setting of --system=rbm"),
        (["--num_hidden=3"], "--num_hidden: expected a setting of --system=tilted"),
    ],
)
def test_a_flag_of_another_system_is_refused(load, args, message):
    """It would do nothing."""
    command = load("train")
    command.cli.parse(["train", *args])
    with pytest.raises(ValueError, match=message):
        command.settings.config_from_flags()


def test_later_flags_win(load, write):
    """Over a file's, and over those of a file within a file."""
    write("mine.cfg", "--flagfile=smoke.cfg", "--num_steps=7")
    command = load("train")
    command.cli.parse(["train", "--tilt=data", "--flagfile=mine.cfg", "--tilt_steps=3"])
    config = command.settings.config_from_flags()
    assert (config.model.tilt, config.optimisation.num_steps, config.optimisation.tilt_steps) == (
        "latent",
        7,
        3,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_says_what_it_is(load, name):
    """No flag of a command is without a sentence of help."""
    load(name)
    by_module = flags.FLAGS.flags_by_module_dict()
    own = [flag for module, found in by_module.items() if "experiments" in module for flag in found]
    assert own
    for flag in own:
        assert flag.help.strip().endswith("."), flag.name


def test_every_setting_has_a_flag(load):
    """With the default of the config."""
    load("train")
    for name, value in Config().flat().items():
        default = flags.FLAGS[name].default
        assert (tuple(default) if isinstance(default, list) else default) == value


def test_a_list_of_numbers_is_given_by_commas(load, write):
    """On the command line and in a file; an empty one is none; what is no number is refused."""
    command = load("train")
    write("mine.cfg", "--own_slopes=1,0,-0.5")
    for argument, expected in (
        ("--own_slopes=1,0,-0.5", (1.0, 0.0, -0.5)),
        ("--flagfile=mine.cfg", (1.0, 0.0, -0.5)),
        ("--own_slopes=", ()),
    ):
        command.cli.parse(["train", argument])
        assert command.settings.config_from_flags().model.own_slopes == expected
    command.cli.parse(["train", "--own_slopes=1,up"])
    with pytest.raises(ValueError, match="own_slopes: expected numbers, got"):
        command.settings.config_from_flags()
