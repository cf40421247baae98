"""Ray: the table of one machine, byte for byte, also where a node is killed in the middle."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from support.clusters import call
from support.samples import draw_photos

ray = pytest.importorskip("ray", reason="Ray is not installed")

NAMES = [f"{index:03}.png" for index in range(60)]
BROKEN = ("007.png", "027.png", "047.png")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


@pytest.fixture(scope="module")
def home(tmp_path_factory, micro_bundle) -> Path:
    """Photos, and their table by this machine's own processes."""
    folder = tmp_path_factory.mktemp("ray")
    draw_photos(folder / "photos", NAMES)
    for name in BROKEN:
        (folder / "photos" / name).write_bytes(b"no picture")
    call(micro_bundle, folder / "photos", folder / "expected", "--shard-size", 5, code=1)
    return folder


@pytest.fixture
def cluster():
    """A head that computes nothing, and two nodes of one CPU."""
    from ray.cluster_utils import Cluster

    try:
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        made.wait_for_nodes(60)
    except Exception as error:  # a machine that is loaded, or has no shared memory
        pytest.skip(f"ray.init fails here: {error}")
    yield made, nodes
    made.shutdown()


def on(cluster, home: Path, bundle: Path, out: Path):
    how = ("--runner", "ray", "--address", cluster.address, "--workers", 2, "--shard-size", 5)
    return call(bundle, home / "photos", out, *how, code=1)


def test_two_nodes_give_the_same_table(cluster, home, micro_bundle):
    told = on(cluster[0], home, micro_bundle, home / "two")
    assert (told["photos"], told["failed"], told["shards"]) == (60, 3, 12)
    assert files(home / "two") == files(home / "expected")
    assert on(cluster[0], home, micro_bundle, home / "two")["photos"] == 0


def test_a_node_that_is_killed_in_the_middle_changes_nothing(cluster, home, micro_bundle):
    made, nodes = cluster
    killed = []

    def kill():
        deadline = time.monotonic() + 120
        while len(files(home / "killed")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        made.remove_node(nodes[0], allow_graceful=False)
        killed.append(len(files(home / "killed")))

    thread = threading.Thread(target=kill)
    thread.start()
    on(made, home, micro_bundle, home / "killed")
    thread.join()
    assert killed[0] < 12, "the node was killed in the middle"
    assert files(home / "killed") == files(home / "expected")
    print(f"the node was killed when {killed[0]} of 12 shards were written")


def test_rays_own_reader_reads_the_table(cluster, home):
    ray.init(address=cluster[0].address)
    try:
        rows = ray.data.read_parquet(str(home / "expected")).select_columns(["name", "error_type"]).take_all()
    finally:
        ray.shutdown()
    failed = {Path(row["name"]).name for row in rows if row["error_type"]}
    assert len(rows) == len(NAMES) and failed == set(BROKEN)
