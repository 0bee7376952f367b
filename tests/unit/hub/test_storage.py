"""If the storage of the Hub refuses a signed link, the Hub is asked for a new link."""

import httpx2
import huggingface_hub
import pytest
from tqdm import tqdm

from helpers.standin import WEIGHTS, Storage
from shapesweep.errors import TransientError
from shapesweep.hub import client, errors

pytestmark = pytest.mark.usefixtures("no_sleep")


@pytest.fixture
def file(commit):
    (file,) = [f for f in client.tree("org/a", commit) if f.path == "model.safetensors"]
    return file


@pytest.fixture(params=["another host", "another port", "another path"])
def storage(standin, request):
    """A storage whose links do not expire. A test may change this."""
    port = standin.url.rpartition(":")[2]
    standin.storage = Storage(
        {
            "another host": f"http://localhost:{port}",
            "another port": standin.second_url,
            "another path": standin.url,
        }[request.param]
    )
    return standin.storage


@pytest.fixture
def fetch(commit, file, tmp_path):
    """A function that fetches the weights, and returns their contents."""

    def fetch():
        with tqdm(disable=True) as shown:
            return client.fetch("org/a", commit, file, tmp_path / "out", shown).read_bytes()

    return fetch


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_link_is_replaced_by_a_new_link(storage, fetch, status):
    storage.is_expired, storage.status = (lambda link, _: link < 2), status
    assert fetch() == WEIGHTS
    assert storage.used == [2]


def test_a_link_that_expires_in_the_middle_of_a_file_is_replaced(storage, fetch):
    # The rest of the file is requested with the same link, which has expired in the meantime.
    storage.is_expired, storage.cuts = (lambda _, used: used > 0), 1
    assert fetch() == WEIGHTS
    assert storage.used == [0, 1]


def test_a_small_file_is_read_with_a_new_link(storage, commit, file):
    storage.is_expired = lambda link, _: link < 1
    assert client.read("org/a", commit, file) == WEIGHTS


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_storage_that_refuses_all_links_is_a_transient_error(storage, fetch, status):
    storage.is_expired, storage.status = (lambda *_: True), status
    with pytest.raises(TransientError) as error:
        fetch()
    assert not isinstance(error.value, client.RefusedError)
    assert "refused the links of http://127.0.0.1:" in str(error.value)
    assert f"in all 8 attempts (HTTP {status}): their signatures have expired" in str(error.value)
    for word in ("access", "HF_TOKEN", "signature="):
        assert word not in str(error.value)
    assert storage.n_links == 8


@pytest.mark.parametrize("status", [401, 403])
def test_only_the_hub_can_refuse_access(standin, fetch, file, commit, status):
    standin.scripted = lambda: (status, {})
    for call in (fetch, lambda: client.tree("org/a", commit), lambda: client.refs("org/a")):
        standin.asked.clear()
        with pytest.raises(client.RefusedError, match="set HF_TOKEN or run `hf auth login`"):
            call()
        assert len(standin.asked) == 1


@pytest.mark.parametrize(
    ("endpoint", "url", "is_from_hub"),
    [
        ("https://huggingface.co", "https://huggingface.co/org/a/resolve/main/config.json", True),
        ("https://huggingface.co", "https://huggingface.co/gpt2/resolve/main/config.json", True),
        ("https://huggingface.co", "https://huggingface.co:443/api/models/org/a/refs", True),
        ("https://huggingface.co", "https://cdn-lfs.hf.co/org/a/resolve/main/config.json", False),
        ("https://huggingface.co", "https://huggingface.co/lfs/org/a/resolve/0a1b", False),
        ("https://mirror.org", "https://huggingface.co/api/models/org/a/refs", True),
        ("https://host.org/api/hub", "https://host.org/api/hub/api/models/org/a/refs", True),
        ("https://host.org/api/hub/", "https://host.org/api/hub/org/a/resolve/main/x", True),
        ("https://host.org/api/hub", "https://host.org/api/storage/0a1b", False),
        ("https://host.org/api/hub", "https://host.org/api/hubs/api/x", False),
    ],
)
def test_responses_of_the_hub_are_told_from_those_of_the_storage(
    monkeypatch, endpoint, url, is_from_hub
):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    error = huggingface_hub.errors.HfHubHTTPError(
        "refused", response=httpx2.Response(403, request=httpx2.Request("GET", url))
    )
    assert errors.is_transient(error) != is_from_hub
