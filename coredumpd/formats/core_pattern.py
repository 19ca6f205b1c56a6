"""The contract between core_pattern and the handler: one field table renders and parses it.

`man 5 core`: the kernel splits core_pattern at spaces before it expands the specifiers (5.3+), so
a value can never shift the others; still, none of the fields here is text that a process chooses.
comm, exe and hostname are read from /proc or not at all. `%F`, the pidfd, is last because kernels
before 6.16 drop unknown specifiers, which leaves an empty word or none.

The crash path imports this module before it reads the first byte: constants and functions only;
`errors` is imported where something is wrong.
"""

from __future__ import annotations

from coredumpd.formats import host_dir as host_dirs

CORE_PATTERN_BYTES_MAX = 127  # CORENAME_MAX_SIZE - 1; the kernel cuts longer ones silently
_SOCKET_PATH_BYTES_MAX = 107  # unix(7): sun_path, without its NUL
_U64_MAX = 2**64 - 1
_PID_MAX = 2**22

# name, specifier, largest accepted value, meaning
FIELDS = (
    ("pid", "%P", _PID_MAX, "process, in the initial PID namespace"),
    ("ns_pid", "%p", _PID_MAX, "process, in its own PID namespace"),
    ("tid", "%I", _PID_MAX, "thread, in the initial PID namespace"),
    ("ns_tid", "%i", _PID_MAX, "thread, in its own PID namespace"),
    ("uid", "%u", 2**32 - 1, "real user id"),
    ("gid", "%g", 2**32 - 1, "real group id"),
    ("signal", "%s", 64, "signal number"),
    ("time", "%t", _U64_MAX, "seconds since the epoch"),
    ("rlimit_core", "%c", _U64_MAX, "soft RLIMIT_CORE, bytes"),
    ("dump_mode", "%d", 2, "0 not dumpable, 1 owner, 2 suidsafe"),
    ("pidfd", "%F", 1023, "pidfd of the process; kernel 6.16 and newer"),
)
_OPTIONAL = ("pidfd",)


class CrashArgs:
    """The kernel's facts about the crash: one int per field; `pidfd` is None on old kernels."""

    __slots__ = tuple(name for name, *_ in FIELDS)

    pid: int
    ns_pid: int
    tid: int
    ns_tid: int
    uid: int
    gid: int
    signal: int
    time: int
    rlimit_core: int
    dump_mode: int
    pidfd: int | None


def render(executable: str) -> str:
    """The core_pattern line that runs `executable handle …`. Raises SettingsError if unusable."""
    line = "|" + " ".join([executable, "handle", *(spec for _, spec, *_ in FIELDS)])
    size = len(line.encode())
    problem = None
    if not executable.startswith("/"):
        problem = "must be an absolute path"
    elif not executable.isprintable() or any(char in executable for char in " %"):
        problem = "must not contain spaces, '%' or control characters"
    elif size > CORE_PATTERN_BYTES_MAX:
        problem = (
            f"gives a core_pattern of {size} bytes; the kernel's limit is 127: shorten hostDir"
        )
    if problem:
        from coredumpd import errors

        raise errors.SettingsError(
            "the handler's path cannot stand in core_pattern",
            (errors.Cause("executable", executable, problem),),
        )
    return line


def render_socket(host_dir: str) -> str:
    """The core_pattern line of the request and acknowledgement protocol, Linux 6.17 and newer.

    Raises SettingsError if the path is unusable: the kernel walks it from the initial root and
    follows no link (fs/coredump.c, net/unix/af_unix.c).
    """
    path = f"{host_dir}/{host_dirs.CAPTURE_SOCKET}"
    problem = None
    if not path.startswith("/") or ".." in path:
        problem = "must be an absolute path without '..'"
    elif not path.isprintable() or any(char in path for char in " %"):
        problem = "must not contain spaces, '%' or control characters"
    elif len(path.encode()) > _SOCKET_PATH_BYTES_MAX:
        problem = f"a socket's path has at most {_SOCKET_PATH_BYTES_MAX} bytes: shorten hostDir"
    if problem:
        from coredumpd import errors

        raise errors.SettingsError(
            "the capture socket's path cannot stand in core_pattern",
            (errors.Cause("hostDir", host_dir, problem),),
        )
    return f"@@{path}"


def parse(words: list[str]) -> CrashArgs:
    """The words after `handle`. Raises UsageError that names every wrong field."""
    args = CrashArgs()
    problems = []
    if len(words) > len(FIELDS):
        rule = f"at most {len(FIELDS)} words are expected"
        problems.append(("handle", words[len(FIELDS)], rule))
    for position, (name, specifier, largest, meaning) in enumerate(FIELDS):
        word = words[position] if position < len(words) else ""
        if name in _OPTIONAL and word == "":
            setattr(args, name, None)
        elif word.isascii() and word.isdecimal() and int(word[:21]) <= largest:
            setattr(args, name, int(word))
        else:
            rule = f"{specifier} ({meaning}) must be a number from 0 to {largest}"
            problems.append((name, word, rule))
    if problems:
        from coredumpd import errors

        causes = [errors.Cause(*problem) for problem in problems]
        listed = "; ".join(map(str, causes))
        raise errors.UsageError(f"bad handler arguments: {listed}", tuple(causes))
    return args
