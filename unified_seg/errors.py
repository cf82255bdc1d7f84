"""The base of all errors that a user can fix."""


class UserError(Exception):
    """An error that a user can fix: a wrong option, config, file or record.

    The message says what is wrong, where (file, record, key), what is expected and what to do. Tools print it in one
    line, without a traceback, see `unified_seg_cli.run_tool`. Subclasses also derive from the built-in exception that
    code outside this library may catch.
    """
