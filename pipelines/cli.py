"""The ``autolabel`` command: joins the option lists of ``cli_*.py`` in the order of the work.

``autolabel --help`` answers in under a second, so nothing heavy is imported here or at the top of an option
file: a command's body imports its function from ``pipelines/<command>.py`` and gives it to
``console.run_job``.
To add a command, write that function, then its options in the ``cli_*.py`` it belongs to.
"""

from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from autolabel import __version__
from pipelines import (
    cli_audit_labels,
    cli_curate,
    cli_data,
    cli_doubt,
    cli_ledger,
    cli_loop,
    cli_network,
    cli_pretrain,
    cli_project,
    cli_quality,
    cli_review,
    cli_route,
    cli_server,
    cli_weights,
)

app = typer.Typer(
    name="autolabel",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autolabel {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn a folder of unlabelled images into a trustworthy 2-D skeleton dataset with little human time.

    M is a manifest folder. Exit code 0: done; 1: the work failed; 2: wrong usage or bad input.
    """


app.add_typer(cli_project.app)
app.add_typer(cli_data.app)
app.add_typer(cli_network.app)
app.add_typer(cli_pretrain.app)
app.add_typer(cli_weights.app)
app.add_typer(cli_doubt.app)
app.add_typer(cli_route.app)
app.add_typer(cli_server.app)
app.add_typer(cli_review.app)
app.add_typer(cli_ledger.app)
app.add_typer(cli_quality.app)
app.add_typer(cli_audit_labels.app)
app.add_typer(cli_curate.app)
app.add_typer(cli_loop.app)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit; ``argv`` is what follows the program's name, by default the process's own."""
    app(argv, prog_name="autolabel")
    raise AssertionError("typer exits by itself")


if __name__ == "__main__":
    main()
