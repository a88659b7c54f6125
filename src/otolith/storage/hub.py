"""Fetch models from a Hugging Face hub, and upload them. Only safetensors files are fetched."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PREFIX = "hub:"
"""Beginning of the name of a model on the hub, such as `hub:user/name` or `hub:user/name@revision`."""

MODEL = "model.safetensors"
"""Name of a model's file in its repository or folder."""

_NAME = re.compile(r"(?:hub:)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def is_hub_name(name: str | Path) -> bool:
    """Return whether this names a model on the hub."""
    return Path(name).as_posix().startswith(PREFIX)


def fetch(name: str | Path) -> Path:
    """Return the local path of a model on the hub: from the cache, if it is the newest there or the hub cannot be reached.

    The cache, the hub's address and tokens are those of huggingface_hub: `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`,
    `HF_HUB_OFFLINE`.

    Args:
        name: `hub:user/name`, with `@` and a branch, tag or commit after it, if it is not `main`.

    Raises:
        ValueError: the name is not of this form, or the extra is missing.
        FileNotFoundError: there is no such model, or the hub cannot be reached and the model is not in the cache.
    """
    found = _NAME.fullmatch(Path(name).as_posix())
    if found is None:
        raise ValueError(f"'{name}' names no model on the hub; expected hub:USER/NAME or hub:USER/NAME@REVISION")
    client = _client()
    with _in_words(name):
        return Path(client.hf_hub_download(found["repo"], MODEL, revision=found["revision"]))


def upload(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload the files of a folder as one commit, make the repository if there is none, and return its address.

    Args:
        folder: with the files.
        name: `user/name`.
        private: whether a repository that is made is private.

    Raises:
        ValueError: the name is not of this form, the extra is missing, or the hub refuses.
        FileNotFoundError: the hub cannot be reached.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["revision"]:
        raise ValueError(f"'{name}' names no repository of the hub; expected USER/NAME")
    hub = _client().HfApi()
    with _in_words(name):
        address = hub.create_repo(found["repo"], private=private, exist_ok=True)
        hub.upload_folder(repo_id=found["repo"], folder_path=folder, commit_message="Upload with otolith push")
    return str(address)


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError("models on the hub need huggingface_hub: pip install 'otolith[hub]'") from error
    return huggingface_hub


@contextlib.contextmanager
def _in_words(name: object) -> Iterator[None]:
    """Turn the errors of the hub's client into one line each."""
    from huggingface_hub import errors

    where = f"'{name}' on the hub"
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise FileNotFoundError(
            f"no {where}, or it is private; check the name, and sign in with hf auth login if it is private"
        ) from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise FileNotFoundError(
                f"{where} cannot be reached, and it is not in the cache; fetch it once while online, or name a file"
            ) from error
        raise FileNotFoundError(f"{where} holds no {MODEL}; only models that otolith push wrote can be used") from error
    except errors.OfflineModeIsEnabled as error:
        raise FileNotFoundError(f"{where} cannot be reached, as HF_HUB_OFFLINE is set") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        next_step = "sign in with hf auth login, or set HF_TOKEN" if status in (401, 403) else "try again later"
        raise ValueError(f"the hub answers {status} for {name}; {next_step}") from error
    except (errors.HTTPError, ConnectionError) as error:  # of the client that this version of the hub's library uses
        raise FileNotFoundError(f"{where} cannot be reached: {error}") from error
    except RuntimeError as error:  # how the client says that a large file broke off
        raise ValueError(f"the upload to {name} failed: {error.__cause__ or error}; give the command again") from error
