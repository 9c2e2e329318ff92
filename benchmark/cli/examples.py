"""Examples shown at the end of every ``--help``, by the words of the command."""

import textwrap

import click

EXAMPLES = {
    "": """
        bench data phantom
        bench sweep demo --jobs 2
        bench table demo
        bench run --method ras4dg --target phantom2d-b
    """,
    "run": """
        bench run --method ras4dg --target lesav
        bench run --method erm --target phantom2d-b --set training.epochs=20
        bench run --method ras4dg --target lesav --explain
        bench run results/runs/phantom2d/erm/s0-*/spec.json --target phantom2d-c
    """,
    "predict": r"""
        bench predict results/runs/fundus/erm/s0-* --input eye.png --output out
        bench predict results/runs/fundus/erm/s0-* --input eye.png --output out \
            --probabilities
    """,
    "sweep": r"""
        bench sweep demo --jobs 2
        bench sweep fundus-quick --methods erm,ras4dg --targets lesav --seeds 0-2
        bench sweep table1 --launcher slurm --gres gpu:1 --time 240 --dry-run
    """,
    "tune": """
        bench tune demo --row ras4dg --trials 8 --jobs 2 --output tuned.toml
        bench tune demo --row erm --trials 4 --fields optimizer.lr --dry-run
    """,
    "score": r"""
        bench score fundus-quick --row nnunet --seed 0 --target lesav \
            --predictions out/lesav --label-map 255=vessel
    """,
    "ensemble": """
        bench ensemble demo --row ras4dg
        bench ensemble fundus-quick --row ras4dg --seeds 0-2 --targets lesav
    """,
    "rescore": """
        bench rescore demo --jobs 2
        bench rescore fundus-quick --metrics hd95,nsd --targets lesav
    """,
    "table": """
        bench table demo
        bench table fundus-quick --format latex --output table.tex
        bench table fundus-quick --metric hd95 --methods erm,ras4dg
        bench table results/reproduced/backbones --robustness
    """,
    "report": """
        bench report demo
        bench report fundus-quick --no-images --output fundus.html
    """,
    "export": """
        bench export demo --output exported/demo
        bench export fundus-quick --metric hd95 --output exported/fundus
    """,
    "compare": """
        bench compare ras4dg erm --suite demo
        bench compare freesdg ras4dg --suite fundus-quick --targets lesav
    """,
    "rank": """
        bench rank demo
        bench rank fundus-quick --baseline randconv
        bench rank fundus-quick disc-quick
        bench rank fundus-quick disc-quick --baseline erm
    """,
    "figure": """
        bench figure augmentations --image eye.png
        bench figure predictions demo
    """,
    "figure augmentations": """
        bench figure augmentations --image eye.png
        bench figure augmentations --image eye.png --methods erm,ras4dg,bigaug
    """,
    "figure predictions": """
        bench figure predictions demo
        bench figure predictions fundus-quick --targets lesav --output lesav.png
    """,
    "figure regimes": """
        bench figure regimes demo --output regimes.png
    """,
    "figure robustness": """
        bench figure robustness fundus-quick atlases-quick --output robustness.png
    """,
    "figure spectra": """
        bench figure spectra --task phantom2d
        bench figure spectra --task fundus --domains drive,lesav --csv spectra.csv
    """,
    "data": """
        bench data phantom
        bench data download fundus
        bench data verify drive lesav
    """,
    "data new": r"""
        bench data new chase --images "CHASEDB1/*.jpg" \
            --labels "CHASEDB1/*_1stHO.png"
        bench data new site-a --images "site-a/*.jpg" --labels "site-a/*_seg.png" \
            --target site-b "site-b/*.jpg" "site-b/*_seg.png"
    """,
    "data download": """
        bench data download
        bench data download fundus prostate
        bench data download drive --json
    """,
    "data verify": """
        bench data verify
        bench data verify drive lesav --quick
        bench data verify --task mine.toml --pictures look
    """,
    "data prepare": """
        bench data prepare drive lesav
        bench data prepare drive --set preprocess.shape=256,256
    """,
    "data phantom": """
        bench data phantom
        bench data phantom --ndim 2 --ndim 3 --data-root data
    """,
    "new": """
        bench new method my_method
        bench new suite my-suite
        bench new task my-task
    """,
    "new method": """
        bench new method my_method
        bench new method my_method --output methods
    """,
    "new suite": """
        bench new suite my-suite
        bench new suite my-suite --extends fundus-quick --output suites
    """,
    "new task": """
        bench new task my-task
        bench new task my-task --ndim 3
    """,
    "list": """
        bench list methods
        bench list suites --json
    """,
    "info": """
        bench info ras4dg
        bench info fundus
    """,
    "check": """
        bench check erm
        bench check my_method --plugin my_method.py
        bench check ras4dg --network dynunet
    """,
    "status": """
        bench status demo
        bench status table1 --watch
    """,
    "logs": """
        bench logs results/runs/phantom2d/erm/s0-*
        bench logs 1f2e3d --lines 50
        bench logs demo --methods erm --seeds 0
    """,
    "retry": """
        bench retry demo
        bench retry table1 --state failed --launcher slurm --time 480
    """,
    "cancel": """
        bench cancel demo
        bench cancel table1 --methods dsa
    """,
    "doctor": """
        bench doctor
        bench doctor --json
    """,
}
"""Lines that a shell runs; a backslash at the end of a line continues it. A test parses every one."""


def add_examples(command: click.Command, words: tuple[str, ...] = ()) -> None:
    """Put the examples of a command and of its subcommands at the end of their help."""
    if lines := textwrap.dedent(EXAMPLES.get(" ".join(words), "")).strip():
        command.epilog = f"\b\nExamples:\n{textwrap.indent(lines, '  ')}"
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            add_examples(subcommand, (*words, name))
