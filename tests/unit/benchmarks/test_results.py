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
    measured: dict[tuple[str, str], str] = {}
    for name in ("peers", "embed", "generate"):
        for result in read(ROOT / "benchmarks" / "results" / f"{name}.json").results:
            ratio = result.get("ratio_to_ideal") or result.get("ratio_to_python") or result.get("ratio_to_direct")
            if ratio is not None:
                measured[str(result["workload"]), str(result["engine"])] = f"{ratio:.2f}"
    beside_peers = [
        f"{measured[workload, 'sage']} (Bytewax {measured[workload, 'bytewax']})"
        for workload in ("W1", "W2", "W3", "W5-constant")
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    stated = re.findall(r"\| (\d\.\d\d[^|]*) \| \[(?:peers|embed|generate)\.json\]", readme)
    assert stated == [*beside_peers, *(measured[workload, "sage"] for workload in ("embed", "generate"))]
