"""Runs a program on a terminal of its own and types for a person.

typed.py [--answer PROMPT TEXT]... [--log FILE] -- PROGRAM...: whenever PROMPT (a part of what the terminal shows since the last answer) appears, TEXT and
return are typed; the answers are used in order. A prompt that does not come within 30 seconds ends it with 124. Otherwise the program's own status.
"""
import argparse
import os
import pty
import select
import sys
import time


def converse(terminal, answers, log):
    shown = b""
    end = time.monotonic() + 30
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return 124
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            piece = b""
        if not piece:
            return None
        log.write(piece)
        shown += piece
        if answers and answers[0][0].encode() in shown:
            # Programs put the terminal into its mode after the prompt; what is typed before that would be seen.
            time.sleep(0.3)
            os.write(terminal, answers.pop(0)[1].encode() + b"\r")
            shown = b""
            end = time.monotonic() + 30


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", nargs=2, action="append", default=[], metavar=("PROMPT", "TEXT"))
    parser.add_argument("--log", default=os.devnull)
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(arguments.program[0], arguments.program)
    answers = [tuple(answer) for answer in arguments.answer]
    with open(arguments.log, "wb") as log:
        late = converse(terminal, answers, log)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    if late:
        return late
    if answers:
        print("typed: nobody asked:", answers[0][0], file=sys.stderr)
        return 125
    return os.waitstatus_to_exitcode(status)


sys.exit(main())
