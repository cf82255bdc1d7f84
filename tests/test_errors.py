import pytest

from unified_seg.checkpoint import CheckpointError
from unified_seg.config import ConfigError
from unified_seg.data.problems import DataError
from unified_seg.errors import UserError


@pytest.mark.parametrize(
    ("error", "builtin"), [(ConfigError, ValueError), (DataError, ValueError), (CheckpointError, RuntimeError)]
)
def test_errors_are_user_errors_and_keep_their_builtin_base(error, builtin):
    assert issubclass(error, UserError) and issubclass(error, builtin)
