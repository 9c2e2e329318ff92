"""What is made of a suite's results: ``bench table``, ``bench report`` and ``bench export``."""

from dataclasses import replace
from pathlib import Path

import click

from ..errors import UsageError
from ..scoring.metrics import DSC, Metric
from ..storage.files import write_output
from . import options
from .selection import Selection, echo_lines, regime_study, suite_options

LOST = 10
"""Evaluations that a message names."""

FORMATS = ("csv", "markdown", "latex", "json")


@click.command()
@suite_options
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True, help="Format of the table."
)
@options.metric(text="Metric to print; published numbers stand beside dsc only.", default=DSC.name)
@click.option("--output", type=options.OUTPUT_FILE, help="File instead of the terminal.")
@options.no_published
@click.option("--validation", is_flag=True, help="Also the scores on the source's validation cases.")
@click.option(
    "--failures", is_flag=True, help="Also the share of cases with a DSC below .50, and the worst 5 % of cases."
)
@click.option(
    "--matrix", is_flag=True, help="Source x target, with --sources all unless given; diagonal: validation cases."
)
@click.option("--regimes", is_flag=True, help="Whether the order of the rows depends on the protocol.")
@click.option(
    "--robustness", is_flag=True, help="Target DSC against what source DSC predicts, and what a point costs."
)
@click.option("--conventions", is_flag=True, help="How means and ranks change with region, empty rule and average.")
@click.option("--final", is_flag=True, help="Refuse a table with holes (exit code 3 and a list of them).")
def table(
    selection: Selection,
    form: str,
    output: Path | None,
    metric: Metric,
    validation: bool,
    final: bool,
    **views: bool,
) -> None:
    """Print a suite's table: mean ± sample SD over seeds.

    Published numbers stand beside, where the suite has them. Every switch of the protocol is in the caption. Empty
    cells say why.

    \b
    Other conventions, from what is stored and without training again:
      --set evaluation.region=image     2D: also outside the field of view
      --set evaluation.empty=one        absent class: one, skip or zero-fp
      --set evaluation.average=strata   which average comes first
      --conventions                     all of these side by side

    \b
    Other views:
      --failures                        how often and how badly rows fail
      --matrix                          every source x every target
      --sources all                     the same as columns of one table
      --robustness                      target against source DSC, and the price
      --regimes                         ranks under three protocols
      --metric hd95, nsd, cldice        after `bench rescore SUITE`
      --set evaluation.resample=nearest after the same `bench sweep SUITE --set`

    --matrix and --sources all need `bench sweep SUITE --sources all` before. --set evaluation.resample predicts
    again, from the stored weights.
    """  # noqa: D301 - click wants a backspace character there
    from ..tables.document import render

    for view in ("failures", "robustness"):
        if views[view] and metric is not DSC:
            raise UsageError(f"--{view} is of DSC: leave out --metric")
    if views["regimes"]:
        from ..comparisons.regimes import regimes_document

        study = regime_study(selection, metric)
        document, missing = regimes_document(study), study.missing
    elif views["robustness"]:
        from ..comparisons.robustness import measure_robustness, robustness_document

        results = selection.results()
        document, missing = robustness_document(measure_robustness(results)), tuple(results.holes(DSC))
    elif views["conventions"]:
        from ..comparisons.conventions import build_conventions
        from ..comparisons.conventions_text import conventions_document

        means = build_conventions(selection.results(), metric, validation)
        document, missing = conventions_document(means), means.missing
    else:
        from ..tables.build import build_table
        from ..tables.failures import with_failures
        from ..tables.matrix import matrix_document
        from ..tables.suite_table import table_document

        matrix, results = views["matrix"], selection.results()
        published = not (views["no_published"] or matrix)  # which has no room for them
        cells = build_table(results, metric, published=published, validation=validation or matrix)
        cells = with_failures(cells, results) if views["failures"] else cells
        # For programs a matrix is the table, which has a cell a line.
        as_matrix = matrix and form in ("markdown", "latex")
        document, missing = (matrix_document if as_matrix else table_document)(cells), cells.missing
    text = render(document, form)
    if final and missing:
        selection.require_complete(missing, f"the table has {len(missing)} hole{'s' * (len(missing) > 1)}")
    if output is None:
        click.echo(text, nl=False)
    else:
        write_output(output, text)
    selection.require_complete()


@click.command()
@suite_options
@options.data_root
@click.option(
    "--output",
    type=options.OUTPUT_FILE,
    default=Path("report.html"),
    show_default=True,
    help="One file that loads nothing: it can be mailed, printed and kept.",
)
@options.baseline
@click.option("--no-images", is_flag=True, help="Leave out whatever shows a case, where the data's terms ask for it.")
@options.no_published
def report(
    selection: Selection,
    data_root: Path,
    output: Path,
    baseline: str | None,
    no_images: bool,
    no_published: bool,
) -> None:
    """Write a suite's report as one HTML page.

    It has tables, differences, cases, classes, learning curves, cost, provenance, and what is missing. The data
    sets are read for pictures of the worst cases alone; where they are not there, the page says so.
    """
    from ..report.page import render_page

    results = selection.results()
    pictures = None if no_images else data_root
    page = render_page(results, published=not no_published, data_root=pictures, baseline=baseline)
    write_output(output, page)
    click.echo(f"{output}: {len(page.encode()) / 1e6:.2f} MB")
    # A page without a number is written, because it says what failed, and is no success.
    if not results.evaluations:
        selection.nothing_finished()
    selection.require_complete()


@click.command()
@suite_options
@click.option(
    "--output",
    type=options.OUTPUT_FOLDER,
    help="Folder to write to; files of an earlier export are replaced, all others are left alone.",
)
@options.metric("metrics", text="A further table, of this metric; may be repeated.", multiple=True)
@click.option("--validation", is_flag=True, help="Also the scores on the source's validation cases, in the tables.")
def export(selection: Selection, output: Path | None, metrics: tuple[Metric, ...], validation: bool) -> None:
    """Write a suite's results as files to commit.

    Its tables can be computed from them again, without any run: SUITE is then the folder of the export, whose
    tables are rewritten in place by the rules of this version, with their digests in provenance.json.

    \b
    cases.csv        counts and scores by row, seed, target, case and class
    runs.csv         state, time, device, versions and commit of every run
    table.csv, table.md, table.tex
    history.csv      every run's epochs
    provenance.json  settings, data, commits, versions; digests of these files

    Equal results give equal bytes. No file shows a case, or says on which machine it was made. What is missing is
    listed, and the exit code is then 3.
    """  # noqa: D301 - click wants a backspace character there
    from ..report.export import export_suite, lost_evaluations, rewrite_tables, write_export

    if selection.is_export and output is None:
        if selection.plan.suite != selection.suite or metrics or validation:
            raise UsageError("the tables of an export are rewritten as they are: give its folder, and no option")
        names, missing = rewrite_tables(selection.results(), Path(selection.name))
        click.echo(f"{selection.name}: rewritten from its own counts: {', '.join(names)}")
    else:
        selection.require_runs()
        if output is None:
            raise UsageError("--output names the folder to write to; it can be left out only for an export")
        # As it is read alone: its runs.csv says where each run was trained.
        alone = replace(selection.plan, suite=replace(selection.plan.suite, exports=()))
        files, missing = export_suite(selection.results(plan=alone), metrics, validation)
        named = any(Path(folder).resolve() == output.resolve() for folder in selection.suite.exports)
        if lost := lost_evaluations(files, output) if named else []:  # which may be nowhere else
            echo_lines(f"nothing is written, because {output} would lose {len(lost)} evaluations", lost[:LOST])
            raise UsageError("export the whole suite into it, or name another --output")
        write_export(files, output)
        size = sum(len(text.encode()) for text in files.values())
        click.echo(f"{output}: {len(files)} files, {size / 1e6:.2f} MB")
    selection.require_complete(missing, f"the export has {len(missing)} hole{'s' * (len(missing) > 1)}")
