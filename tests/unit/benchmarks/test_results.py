"""The result files that the README speaks of hold what it says."""

import re
from pathlib import Path

from benchmarks.document import read

ROOT = Path(__file__).parents[3]


def test_every_result_file_is_a_document_of_checked_results() -> None:
    files = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    assert files
    for file in files:
        document = read(file)
        assert document.results
        assert all(result["checked"] is True for result in document.results), file


def test_the_readme_says_what_the_files_say() -> None:
    measured = {}
    for name in ("stream", "embed", "generate"):
        for result in read(ROOT / "benchmarks" / "results" / f"{name}.json").results:
            if result["engine"] == "sage":
                ratio = result.get("ratio_to_python") or result.get("ratio_to_direct")
                measured[str(result["workload"])] = f"{ratio:.2f}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    stated = re.findall(r"\| (\d\.\d\d) \| \[(?:stream|embed|generate)\.json\]", readme)
    assert stated == [measured[workload] for workload in ("W1", "W2", "embed", "generate")]
