"""What tests of the cluster share: a plain run to compare with, and two worker processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from fleetswap.job.crew import Crew
from fleetswap_cluster.clusters import muster, open_cluster
from tests.cluster.tiny_fleet import DEVICES, plain_run, tiny


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_run(tmp_path_factory.mktemp("plain") / "run", DEVICES)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """Two worker processes."""
    with open_cluster("local", 2) as client:
        yield muster(client, tiny())


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
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


@pytest.fixture(scope="session")
def gs_bucket() -> Iterator[str]:
    """A bucket of a Google Cloud Storage server (gcp-storage-emulator), which learns the one condition it lacks."""
    from gcp_storage_emulator.exceptions import NotFound
    from gcp_storage_emulator.handlers import objects
    from gcp_storage_emulator.server import create_server

    upload, one_at_a_time = objects._multipart_upload, threading.Lock()

    def conditional_upload(asked: Any, answer: Any, storage: Any) -> None:
        with one_at_a_time:
            if asked.query.get("ifGenerationMatch") == ["0"]:
                with contextlib.suppress(NotFound):
                    storage.get_file_obj(asked.params["bucket_name"], asked.data["meta"]["name"])
                    answer.status = HTTPStatus.PRECONDITION_FAILED
                    return
            upload(asked, answer, storage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "_multipart_upload", conditional_upload)
        server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="fleets")
        server.start()
        _, port = server._api._httpd.socket.getsockname()
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        # Otherwise gcsfs asks by gRPC what kind of bucket it is, which the server does not speak.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        yield "gs://fleets"
        server.stop()
