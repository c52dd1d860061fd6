"""Checks with verdicts, and the commands that they run: with a limit of time, a log, and nothing left behind."""
import dataclasses
import json
import os
import pathlib
import shlex
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASS, FAIL, SKIPPED = "PASS", "FAIL", "SKIPPED"


class Failed(Exception):
    """A check did not hold; the message says what."""


class Skipped(Exception):
    """A check cannot be made here; the message says why."""


@dataclasses.dataclass
class Result:
    """`numbers`: what was measured, for the JSON file."""
    step: str
    name: str
    verdict: str
    seconds: float
    note: str = ""
    numbers: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Done:
    code: int
    out: str
    err: str

    def last_line(self):
        """Of the program's own message where there is one, else of anything but rules."""
        lines = [line for line in (self.err + self.out).splitlines() if any(map(str.isalnum, line))]
        own = [line for line in lines if line.startswith("hrm: error")]
        return (own or lines or ["no message"])[-1][:160]

    def json(self):
        """The last line of standard output as JSON."""
        try:
            return json.loads(self.out.strip().splitlines()[-1])
        except (IndexError, json.JSONDecodeError) as error:
            raise Failed(f"no JSON on standard output: {error}") from error


class Runner:
    """Runs checks one after the other and keeps their results. `out`: folder for logs and files."""

    def __init__(self, out, environment=None):
        self.out = pathlib.Path(out)
        self.results = []
        self.environment = {**os.environ, **(environment or {})}
        self.logs = 0

    def check(self, step, name, work):
        """Runs work(), which returns (note, numbers), and files the verdict: an exception of it ends this check only."""
        begin = time.monotonic()
        note, numbers, verdict = "", {}, PASS
        try:
            note, numbers = work()
        except Skipped as reason:
            verdict, note = SKIPPED, str(reason)
        except Exception as error:  # a bug of a check must not take the others along
            verdict, note = FAIL, str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        self.results.append(Result(step, name, verdict, time.monotonic() - begin, note, numbers))
        print(f"{verdict:8}{time.monotonic() - begin:8.1f} s  {step}: {name}  {note}", flush=True)
        return verdict

    def run(self, command, limit, folder=ROOT, environment=None):
        """Exit code and output of a command, which also go to a log; Failed after `limit` seconds."""
        command = [str(word) for word in command]
        self.logs += 1
        log = self.out / "logs" / f"{self.logs:03d}-{pathlib.Path(command[0]).name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(command, cwd=folder, env={**self.environment, **(environment or {})}, text=True,
                                   errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        late = False
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        except BaseException:  # interrupted: the command's session outlives nobody
            os.killpg(process.pid, signal.SIGKILL)
            raise
        code = process.returncode
        log.write_text(f"$ {shlex.join(command)}\nexit code {code}{' after its limit' if late else ''}\n"
                       f"--- standard output\n{out}\n--- standard error\n{err}\n", encoding="utf-8")
        if late:
            raise Failed(f"not done after {limit:.0f} s ({log.name})")
        return Done(code, out, err)

    def expect(self, code, command, limit, **options):
        """The same, Failed where the exit code is another."""
        done = self.run(command, limit, **options)
        if done.code != code:
            raise Failed(f"exit code {done.code}, not {code}: {done.last_line()} "
                         f"({self.logs:03d}-{pathlib.Path(str(command[0])).name}.log)")
        return done


def table(results):
    lines = [f"{'':8} {'seconds':>8}  check"]
    for result in results:
        lines.append(f"{result.verdict:8} {result.seconds:8.1f}  {result.step}: {result.name}"
                     + (f"  ({result.note})" if result.note else ""))
    count = {verdict: sum(result.verdict == verdict for result in results) for verdict in (PASS, FAIL, SKIPPED)}
    return "\n".join(lines + [", ".join(f"{n} {verdict}" for verdict, n in count.items())])
