"""The command line: a file for each heading of the help, each verb thin over a function.

Nothing heavy is imported here or at the top of its files, so that ``--help`` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from blastscope import DISCLAIMER, __version__
from blastscope.cli import data, explaining, judging, models, paper, serving, training
from blastscope.cli.output import note
from blastscope.cli.weights import weights
from blastscope.errors import BlastscopeError, needs_training, one_line
from blastscope.process import tune_process

INTERRUPTED = 130
"""The exit status that Typer gives to an interrupt from the keyboard."""


def _refuse_given_twice(command: Any, ctx: Any, words: list[str]) -> None:
    """Refuse an option of one value that is given twice: Typer would take the last in silence."""
    _, _, order = command.make_parser(ctx).parse_args(args=list(words))
    for one, times in Counter(order).items():
        flag = getattr(one, "is_flag", False)
        if times > 1 and one.param_type_name == "option" and not (one.multiple or flag):
            ctx.fail(f"{one.opts[0]} is given {times} times: give it once.")


class Verb(TyperCommand):
    """A verb; each of its options of one value can be given once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the verb."""
        if args:
            _refuse_given_twice(self, ctx, args)
        return super().parse_args(ctx, args)


class Sections(TyperGroup):
    """A group of verbs whose help lists them under headings."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words before the verb."""
        if args:
            _refuse_given_twice(self, ctx, args)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs, a section for each heading, in the order in which they were added."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            verb = self.get_command(ctx, name)
            if verb is not None and not verb.hidden:
                heading = str(getattr(verb, "rich_help_panel", None) or "Commands")
                sections.setdefault(heading, []).append((name, verb.get_short_help_str(80)))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; a wrong value is told without the words that Typer puts before the reason."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.replace("Value error, ", "")
            raise


app = typer.Typer(
    cls=Sections,
    help=f"Tells B-cell lymphoblasts (ALL) from normal white blood cells.\n\n{DISCLAIMER}",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

VERBS: dict[str, dict[Callable[..., None], str]] = {
    "Data": {
        data.check: "check cells/",
        data.synth: "synth cells/ --cells 600",
        data.fetch: "fetch C-NMC/",
        data.prepare: "prepare cells/ --out store/ --size 224",
        data.normalize_stain: "normalize-stain fields/ --out normalized/ --method reinhard "
        "--reference field.png",
        data.split: "split store/ --protocol subject",
        data.baselines: "baselines store/",
        data.segment: "segment fields/ --out segmented/",
    },
    "Training": {
        training.recipes: "recipes paper/cnn-exp2",
        training.train: "train paper/cnn-exp2 --store store/ --split SPLIT.parquet --out run/",
        training.crossval: "crossval paper/cnn-exp2 --store store/ --out crossval/",
        training.tune: "tune beyond/efficientnet-lite0-frozen --space SPACE.yaml --store store/ "
        "--split SPLIT.parquet --out search/",
        training.build: "build C-NMC_Leukemia/ --out model/",
        training.leakage: "leakage paper/cnn-exp2 --store store/ --out leakage/",
    },
    "Judging": {
        judging.evaluate: "evaluate predictions.csv --out report/",
        judging.compare: "compare run-a/ mine=predictions.csv --out comparison/",
        judging.errors: "errors run-a/ run-b/ --out errors/ --store store/",
        judging.ensemble: "ensemble run-a/ run-b/ --out ensemble/ --method genetic",
    },
    "Explaining": {
        explaining.explain: "explain run/ --cells cell.bmp --out explanation/",
        explaining.audit: "audit run/ --data store/ --out audit/",
        explaining.stress: "stress run/ --store store/ --out stress/",
    },
    "Models that travel": {
        models.predict: "predict cells/ --out predictions.csv",
        models.bundle: "bundle run/ --out model.zip",
        models.inspect: "inspect model.zip --card",
        models.adapt: "adapt model.zip --labelled cells/ --out adapted.zip",
        models.export: "export run/ --out model.onnx --cells store/",
    },
    "Reviewing": {
        serving.serve: "serve --demo",
    },
    "The paper": {
        paper.reproduce: "reproduce --data cells/ --out study/ --plan",
        paper.submit: "submit run/ images/ --out submission/",
        paper.demo: "demo --out demo/",
        paper.verify: "verify run/ --rerun",
    },
}
"""The verbs by the heading of the help that they stand under, each with an example."""

for _heading, _verbs in VERBS.items():
    for _verb, _example in _verbs.items():
        app.command(cls=Verb, rich_help_panel=_heading, epilog=f"Example: blastscope {_example}")(
            _verb
        )
    if _heading == "Training":
        app.add_typer(weights, name="weights", rich_help_panel=_heading)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blastscope {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(help="How many cores to use at most: all that the process may.", min=1),
    ] = None,
) -> None:
    del version
    if threads is not None:
        tune_process(threads)


def main() -> None:
    """Run the command line; what is wrong with the input is one sentence and exit status 2."""
    tune_process()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # signs that a code page lacks become ?
            stream.reconfigure(errors="replace")
    try:
        app()
    except (BlastscopeError, ModuleNotFoundError) as error:
        missing = error.__cause__ if isinstance(error, BlastscopeError) else error
        reason: Exception = error
        if isinstance(missing, ModuleNotFoundError):  # say which command needs it
            verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
            told = needs_training(f"`blastscope {verb}`", missing)
            reason = error if told is missing else told
        if not isinstance(reason, BlastscopeError):
            raise
        note(f"blastscope: {one_line(reason)}")
        sys.exit(2)
    except OSError as error:
        why = f"{error.filename or 'a file'} cannot be used: {error.strerror or error}."
        note(f"blastscope: {one_line(why)}")
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            note(
                "blastscope: interrupted; prepare, normalize-stain, segment, predict, train, "
                "crossval, tune, build, leakage, reproduce, demo, stress and audit go on where "
                "they stopped when the same command is given again."
            )
        raise
