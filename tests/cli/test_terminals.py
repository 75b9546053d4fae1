"""What a terminal, a pipe, a code page and a keyboard may bring."""

import os
import signal
import subprocess
import sys
import time

import pytest

from blastscope.cli.output import console, say
from tests.cli.test_cli import blastscope
from tests.conftest import draw_cell, write_cell

HEAD = "cell,subject,label,part,model,p_all\n"


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *words: blastscope(monkeypatch, capsys, *words)


def command(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "blastscope", *map(str, words)],
        capture_output=True,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["cp1251", "cp932", "latin-1", "ascii"])
def test_signs_that_a_code_page_lacks_are_replaced(tmp_path, encoding):
    write_cell(tmp_path / "all" / "1.png", draw_cell(0, 90, 20))
    write_cell(tmp_path / "hem" / "2.png", draw_cell(1, 90, 20))
    done = command("check", tmp_path, PYTHONUTF8="0", PYTHONIOENCODING=encoding)
    assert (done.returncode, b"2 cells" in done.stdout) == (0, True)
    done.stdout.decode(encoding)


@pytest.mark.parametrize("model", ["cnn[fold1]", "vgg[/b]", "[red]x"])
def test_names_with_markup_are_printed_as_they_are(tmp_path, run, model):
    rows = [f"c{k},S{k},{'all' if k % 2 else 'hem'},test,{model},{k / 9}" for k in range(9)]
    (tmp_path / "p.csv").write_text(HEAD + "\n".join(rows))
    code, out, _ = run("evaluate", tmp_path / "p.csv", "--out", tmp_path / "o")
    assert code == 0
    assert model in out


@pytest.mark.parametrize("name", ["cnn[/b]", "[red]x", "a:m:b", ":warning:"])
def test_the_display_of_a_training_shows_a_recipes_name_as_it_is(capsys, name):
    pytest.importorskip("torch")
    from blastscope.training.display import TrainingDisplay

    with TrainingDisplay(name) as display:
        display.begin(1, 2, 3)
        display.features(3, 3)
        with display.console.capture() as table:
            display.console.print(display.bar.make_tasks_table(display.bar.tasks))
    assert f"{name}: resumes after epoch 1" in capsys.readouterr().err
    assert name in table.get()


@pytest.mark.parametrize("text", ["a:m:b", ":warning: [red]x[/red]", "C:\\[x]\\"])
def test_words_that_rich_takes_for_signs_are_printed_as_they_are(capsys, text):
    console.cache_clear()
    say(text)
    console.cache_clear()
    assert capsys.readouterr().out == text + "\n"


def test_one_cell_is_no_reason_for_a_warning(tmp_path):
    (tmp_path / "p.csv").write_text(HEAD + "c,S,all,test,m,.7\n")
    done = command("evaluate", tmp_path / "p.csv", "--out", tmp_path / "o")
    assert (done.returncode, b"Warning" in done.stderr) == (0, False)


def test_tables_in_a_pipe_are_not_folded(tmp_path, run):
    name = "a-model-with-a-name-of-" + "many-parts-" * 12
    rows = [f"c{k},S{k},{'all' if k % 2 else 'hem'},test,{name},{k / 9}" for k in range(9)]
    (tmp_path / "p.csv").write_text(HEAD + "\n".join(rows))
    assert name in run("evaluate", tmp_path / "p.csv", "--out", tmp_path / "o")[1]


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise")
def test_an_interrupt_in_the_first_moments_is_one_line():
    code = "from blastscope.__main__ import main; print(flush=True); main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "recipes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert b"Traceback" not in error
    assert (process.returncode, b"interrupted" in error) in ((130, True), (0, False))


@pytest.mark.skipif(os.name == "nt", reason="limits are set otherwise")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_full_disk_is_one_sentence(tmp_path, suffix):
    cells = tmp_path / "cells"
    for k in range(80):
        write_cell(cells / f"UID_{k}_1_1_all.bmp", draw_cell(k, 60, 15))
    out = tmp_path / f"p.{suffix}"
    line = f"ulimit -f 4; exec '{sys.executable}' -m blastscope predict '{cells}' --out '{out}'"
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr


def test_strict_prediction_fails_if_an_image_cannot_be_used(tmp_path, run):
    write_cell(tmp_path / "1.png", draw_cell(0, 90, 20))
    (tmp_path / "2.png").write_bytes(b"broken")
    assert run("predict", tmp_path, "--out", tmp_path / "p.csv")[0] == 0
    assert run("predict", tmp_path, "--out", tmp_path / "q.csv", "--strict")[0] == 1


def test_the_pattern_for_subjects_sees_the_folder_that_is_given(tmp_path, run):
    write_cell(tmp_path / "p7" / "1.png", draw_cell(0, 90, 20))
    run("predict", tmp_path / "p7", "--out", tmp_path / "p.csv", "--subject-from", "p([0-9]+)/")
    assert ",7," in (tmp_path / "p.csv").read_text()
    code, _, err = run("predict", tmp_path / "p7", "--subject-from", "patient([0-9]+)")
    assert code == 0
    assert "finds no subject in 1 of 1 paths" in err
    assert "p7/1.png" in err
