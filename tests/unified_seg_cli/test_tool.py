import errno
import warnings

import pytest
from torch._utils import ExceptionWrapper

from unified_seg.data.problems import DataError
from unified_seg.errors import UserError
from unified_seg_cli import one_line_message, run_tool


def failing(error: BaseException):
    def run() -> None:
        raise error

    return run


def test_the_result_is_returned():
    assert run_tool(lambda: 3) == 3


@pytest.mark.parametrize("error", [UserError("a.png: damaged"), DataError("a.png: damaged")])
def test_a_user_error_ends_in_one_line_with_status_1(error):
    with pytest.raises(SystemExit) as end:
        run_tool(failing(error))
    # Python prints a message to standard error and exits with status 1.
    assert end.value.code == f"{type(error).__name__}: a.png: damaged"


def test_other_errors_keep_their_traceback_unless_named():
    with pytest.raises(PermissionError):
        run_tool(failing(PermissionError("out: not allowed")))
    with pytest.raises(SystemExit, match=r"^PermissionError: out: not allowed$"):
        run_tool(failing(PermissionError("out: not allowed")), also=(OSError,))


def test_another_status_prints_to_standard_error(capsys):
    with pytest.raises(SystemExit) as end:
        run_tool(failing(UserError("no config")), error_status=2)
    assert end.value.code == 2 and capsys.readouterr().err == "UserError: no config\n"


def test_an_interruption_ends_in_its_line():
    with pytest.raises(SystemExit, match=r"^\ninterrupted; continue with --resume$"):
        run_tool(failing(KeyboardInterrupt()), interrupted="interrupted; continue with --resume")


def test_a_loader_workers_error_is_one_line_without_its_traceback():
    try:
        raise DataError("a.png: damaged")
    except DataError:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(DataError) as error:
        wrapped.reraise()
    assert "Original Traceback" in str(error.value)
    assert one_line_message(error.value) == "DataError: a.png: damaged"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "out/log.txt"),
        OSError(errno.EMFILE, "Too many open files", "a.png"),
        PermissionError(errno.EACCES, "Permission denied", "out"),
        OSError(errno.EROFS, "Read-only file system", "out"),
        RuntimeError("unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)"),
        RuntimeError("unable to write to file </torch_1>: No space left on device (28)"),
    ],
)
def test_errors_of_the_system_end_with_one_line_that_says_what_to_do(error: Exception) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_tool(failing(error))
    message = str(stopped.value)
    assert "\n" not in message and "; " in message and type(error).__name__ in message


def test_control_characters_in_messages_are_escaped() -> None:
    with pytest.raises(SystemExit, match=r"a\\x1b\[2J\nb"):
        run_tool(failing(UserError("a\x1b[2J\nb")))


def test_bugs_keep_their_traceback() -> None:
    for error in (RuntimeError("shape mismatch"), KeyError("x"), OSError("without a number")):
        with pytest.raises(type(error)):
            run_tool(failing(error))


@pytest.mark.parametrize("name", ["detectron2", "detectron2.config", "cv2"])
def test_missing_package_names_the_command_that_installs_it(name: str) -> None:
    with pytest.raises(SystemExit, match=rf"{name.partition('.')[0]} is not installed; `unified-seg setup`"):
        run_tool(failing(ModuleNotFoundError(f"No module named {name!r}", name=name)))
    with pytest.raises(ModuleNotFoundError):
        run_tool(failing(ModuleNotFoundError("No module named 'x'", name="x")))


def test_warnings_of_the_future_are_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    run_tool(lambda: warnings.warn("x will change", FutureWarning, stacklevel=1))
    assert not recwarn.list
