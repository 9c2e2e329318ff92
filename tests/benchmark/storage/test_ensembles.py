"""The file that describes an ensemble's row."""

from dataclasses import replace

from ssdg.benchmark.storage.ensembles import StoredEnsemble, ensemble_folder, stored_ensembles


def test_protocols_of_the_same_members_add_up(tmp_path):
    folder = ensemble_folder(tmp_path, "mine", "erm-ensemble")
    first = StoredEnsemble(folder=folder, id="erm-ensemble", base="erm", members=(0, 1), protocols=("paper",))
    for made, protocols in (
        (first, ("paper",)),
        (replace(first, protocols=("clean",)), ("clean", "paper")),
        (replace(first, members=(0, 2)), ("paper",)),
    ):
        made.write()
        assert stored_ensembles(tmp_path, "mine") == [replace(made, protocols=protocols)]
