"""Run shell commands as a user would type them, and keep what they printed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.e2e.support.kubectl import Kubectl

_ROOT = Path(__file__).resolve().parents[3]


class Transcript:
    """A shell session of `user` in `directory`; the administrator's kubeconfig is $ADMIN."""

    def __init__(self, user: Kubectl, directory: Path, admin: Kubectl | None = None) -> None:
        self._environment = user.environment()
        if admin is not None:
            self._environment["ADMIN"] = str(admin.kubeconfig)
        self._directory = directory
        self._lines: list[str] = []

    def say(self, text: str) -> None:
        """Prose between the commands, in Markdown."""
        self._lines.extend(["", text, ""])

    def run(self, command: str, fails: bool = False, timeout_s: float = 120) -> str:
        """Run `command` in bash; its output. It must succeed, or fail when `fails`."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        assert (done.returncode != 0) is fails, f"$ {command}\n{output}"
        self._lines.extend(["```console", f"$ {command}", *output.rstrip().splitlines(), "```"])
        return output

    def write(self, path: Path, title: str) -> None:
        """The session as a page."""
        path.write_text(f"# {title}\n{self._text()}")

    def write_section(self, path: Path, title: str) -> None:
        """The session as the section `title` of a page, in place of the one that is there."""
        before, heading, rest = path.read_text().partition(f"\n## {title}\n")
        assert heading, f"{path} has no section {title!r}"
        _, following, after = rest.partition("\n## ")
        path.write_text(f"{before}{heading}{self._text()}{following}{after}")

    def _text(self) -> str:
        """Blocks that follow one another become one."""
        text = "\n".join([*self._lines, ""]).replace("```\n```console\n", "")
        for machine, reader in ((self._directory, "~"), (_ROOT, "~/coredumpd")):
            text = text.replace(os.fspath(machine), reader)
        return text
