"""Other tools' side of ``monitoring``: drift of a window against a reference, in an interpreter that has the tool.

    PYTHON drift_peers.py {evidently,nannyml} FOLDER

Reads ``window.parquet`` and ``reference.parquet``, which is not counted, and prints a line of JSON: CPU seconds of its
default drift report, of which ``prepared_s`` are spent on the reference alone, and the process's peak memory.
"""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import pandas as pd  # noqa: E402

from monitoring import peak_mb  # noqa: E402  # isort: skip


def evidently(reference, window):
    """Run the preset."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [name for name in window.columns if name.startswith("x")]
    words = [name for name in window.columns if name.startswith("s")]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    sets = [Dataset.from_pandas(frame, data_definition=definition) for frame in (window, reference)]
    said = Report([DataDriftPreset()]).run(*sets).dict()
    assert len(said["metrics"]) == 1 + len(window.columns), len(said["metrics"])
    return 0.0


def nannyml(reference, window):
    """Run the univariate calculator with its default methods, the window as one chunk."""
    import nannyml as nml

    start = time.process_time()
    calculator = nml.UnivariateDriftCalculator(column_names=list(window.columns), chunk_size=len(window))
    calculator.fit(reference)
    prepared = time.process_time() - start
    said = calculator.calculate(window).filter(period="analysis").to_df()
    assert len(said) == 1
    return prepared


def main(tool, folder):
    """Measure a tool."""
    names = json.loads((folder / "columns.json").read_text())
    window, reference = (pd.read_parquet(folder / f"{name}.parquet", columns=names) for name in ("window", "reference"))
    measured = {"evidently": evidently, "nannyml": nannyml}[tool]
    measured(reference[:2000], window[:2000])  # what comes once in a process
    start = time.process_time()
    prepared = measured(reference, window)
    spent = time.process_time() - start
    print(json.dumps({"s": spent, "prepared_s": prepared, "mb": peak_mb()}))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
