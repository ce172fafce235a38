"""One table of exit codes: what workloads end with, what the operator reads, what the documents say."""

from pathlib import Path

import pytest

from slipway.api.exit_codes import MEANINGS, ExitCode, table
from slipway.trainingjob.payload import publish, torch_agent
from workloads import errors
from workloads.train import command, torchrun

ROOT = Path(__file__).parents[3]


def test_the_documents_have_the_table() -> None:
    assert table() in (ROOT / "docs/troubleshooting.md").read_text()
    assert set(MEANINGS) == set(ExitCode)


def test_programs_that_import_nothing_have_the_same_numbers() -> None:
    for program in (torch_agent, torchrun):
        assert (program.SUCCESS, program.FAILURE, program.TERMINATED) == (
            ExitCode.SUCCESS,
            ExitCode.FAILURE,
            ExitCode.TERMINATED,
        )
    assert publish.UNFIT == ExitCode.UNFIT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadInput("x"), ExitCode.BAD_INPUT),
        (errors.Diverged("x"), ExitCode.BAD_INPUT),
        (errors.GateFailed("x"), ExitCode.REJECTED),
        (errors.Corrupt("x"), ExitCode.FAILURE),
        (errors.Unavailable("x"), ExitCode.FAILURE),
        (errors.Terminated("x"), ExitCode.TERMINATED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (SystemExit(143), ExitCode.TERMINATED),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), ExitCode.BAD_INPUT),
        (OSError(28, "No space left on device"), ExitCode.FAILURE),
    ],
)
def test_a_cause_has_one_code(error: BaseException, code: ExitCode) -> None:
    assert errors.code_of(error) == code


def _raised(name: str) -> BaseException:
    """As transformers raises what the hub's client has raised: another error, from it."""
    hub = pytest.importorskip("huggingface_hub.errors")
    try:
        try:
            if name == "OfflineModeIsEnabled":
                raise hub.OfflineModeIsEnabled("Cannot reach https://hub.example.com/gpt2: offline mode is enabled.")
            raise getattr(hub, name).__new__(getattr(hub, name), "401 Client Error")
        except Exception as error:
            raise OSError("We couldn't connect to 'https://hub.example.com' to load the files") from error
    except OSError as error:
        return error


@pytest.mark.parametrize("name", ["OfflineModeIsEnabled", "GatedRepoError", "RepositoryNotFoundError"])
def test_a_hub_that_is_switched_off_is_asked_once(name: str) -> None:
    """The restart budget went into asking again, where HF_HUB_OFFLINE or missing credentials say no each time."""
    error = _raised(name)
    code, words = command._explain(error)
    assert code == ExitCode.BAD_INPUT
    assert "put the files into a folder, and name its path" in words
    assert errors.code_of(OSError("We couldn't connect to 'https://hub.example.com'")) == ExitCode.FAILURE
