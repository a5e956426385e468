"""What tests of the cluster share: a plain run to compare with, and two worker processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetswap.html import plots
from fleetswap_cluster.clusters import muster, open_cluster
from fleetswap_cluster.crew import Crew
from tests.cluster.tiny_fleet import DEVICES, plain_run, tiny


@pytest.fixture(scope="session", autouse=True)
def _light() -> Iterator[None]:
    """Programs that tests start find the same sources."""
    with pytest.MonkeyPatch.context() as patch:
        # Figures of the report are drawn by no test here: most of the time of a tiny run.
        patch.setattr(plots, "inline", lambda *_: "<svg></svg>")
        patch.setenv("PYTHONPATH", os.pathsep.join(path or str(Path.cwd()) for path in sys.path))
        yield


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_run(tmp_path_factory.mktemp("plain") / "run", DEVICES)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """Two worker processes."""
    with open_cluster("local", 2) as client:
        yield muster(client, tiny())


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A bucket of a real S3 server (moto's); the environment leads every process to it."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "some",
        "AWS_SECRET_ACCESS_KEY": "one",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem().mkdir("fleets")
        yield "s3://fleets"
    server.stop()
