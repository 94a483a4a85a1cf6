"""Runs client.py for a judge of clients, which wants the reply alone: adapter.py HOST PORT MESSAGE"""
import contextlib
import io
import pathlib
import runpy
import sys

with contextlib.redirect_stdout(io.StringIO()) as transcript:
    runpy.run_path(str(pathlib.Path(__file__).with_name("client.py")))
sys.stdout.write(transcript.getvalue().partition("\nReceived: ")[2][:-1])
