"""Runs that are killed and gone on with end as the one that was not; what differs is told."""

import json
import shutil

import pytest


@pytest.mark.slow
def test_five_runs_killed_come_out_the_same(load, tmp_path):
    """As they start, in the first stage and in the second, of both plans; the last one twice."""
    kills = load("benchmark.kills")
    found = kills.campaign(tmp_path, 5, seed=0)
    assert [one["differences"] for one in found] == [[]] * 5
    assert len(found[4]["died"]) == 2 and "ended" not in found[0]["died"]
    changed = tmp_path / "changed"
    shutil.copytree(tmp_path / "snis", changed)
    (changed / "checkpoints" / "1.orbax-checkpoint-tmp-1").mkdir()
    metrics = json.loads((changed / "metrics.json").read_text())
    (changed / "metrics.json").write_text(json.dumps(metrics | {"rmse": {}}))
    told = kills.compare(changed, tmp_path / "snis")
    assert [one.split(":")[0] for one in told] == ["checkpoints", "metrics"]


def test_what_a_run_is_at_is_read_off_its_folder(load, tmp_path):
    """From before it has a log to its report."""
    kills = load("benchmark.kills")
    assert kills.phase_of(tmp_path) == "start"
    log, saved = tmp_path / "log.jsonl", tmp_path / "checkpoints"
    log.write_text("")
    assert kills.phase_of(tmp_path) == "base"
    records = (
        ({"stage": "base", "step": 20}, "base"),
        ({"stage": "base", "step": 60}, "tilt"),
        ({"stage": "joint", "step": 40}, "scale and unbiased"),
    )
    for record, phase in records:
        log.write_text(json.dumps(record) + "\n" + '{"half')
        assert kills.phase_of(tmp_path) == phase
    (saved / "164").mkdir(parents=True)
    assert kills.phase_of(tmp_path) == "report"
    (saved / "163.orbax-checkpoint-tmp-2").mkdir()
    assert kills.phase_of(tmp_path) == "checkpoint"


def test_no_kills_are_refused(refused):
    """In one line, before any work."""
    assert "--num_kills: expected at least 1, got 0" in refused("benchmark.kills", "--num_kills=0")
