"""One run of `sage-benchmark stream`: puts together what each measurement needs. Knows no figure."""

from collections.abc import Sequence
from contextlib import ExitStack

from msgspec.structs import replace

from benchmarks.arrays import StatelessAcross, StatelessArrays
from benchmarks.auctions import auctions
from benchmarks.call_times import Latency
from benchmarks.calls import measure_calls, waiting_calls
from benchmarks.document import Result
from benchmarks.models import Bench, measure_embed, measure_generate
from benchmarks.nexmark import Auctions, Query
from benchmarks.readings import readings
from benchmarks.rivals.beside import RivalsBeside
from benchmarks.rivals.environment import Say
from benchmarks.start import measure_start
from benchmarks.streams import measure_stream
from benchmarks.texts import Corpus, load_corpus, passages
from benchmarks.wanted import StreamWorkload, Wanted
from benchmarks.windowed_sum import WindowedSum
from benchmarks.windows import measure_windows
from benchmarks.workloads import Stateless, WordCount, Workload
from cluster.commands.pull import ensure_models
from cluster.local import LocalCluster
from cluster.serving.engines.build import engine_from_spec
from cluster.serving.engines.spec import EngineSpec, spec_from_settings, spec_from_text
from cluster.serving.window import WINDOW_NAMES
from sage.base.clock import SystemClock
from sage.base.config import load_settings
from sage.base.ids import EngineId
from sage.base.settings import Settings

NUM_INTEGERS = 1_000_000
NUM_IN_ARRAYS = 20_000_000
NUM_READINGS = 1_000_000
NUM_EVENTS = 500_000
NUM_CALLS = 12_800
QUERIES: tuple[Query, ...] = ("q1", "q3", "q5", "q7")
NUM_TEXTS = 512
LEN_TEXT_CHARS = 700
NUM_QUESTIONS = 32
NUM_PROMPTS = 64
LEN_QUESTION_CHARS = 200


def measure(wanted: Wanted, say: Say) -> list[Result]:
    """Measure each workload in turn, each on a cluster of its own; `say` is told what rivals do, or why they do not.

    Raises: ModelMissing, and InternalError where a result is wrong.
    """
    settings = load_settings(
        {"runtime.batch_records": wanted.batch_records, "plane.vector_cache_bytes": 0}  # rounds embed the same texts
    )
    return [result for workload in wanted.workloads for result in _measure(workload, wanted, settings, say)]


def _measure(workload: StreamWorkload, wanted: Wanted, settings: Settings, say: Say) -> Sequence[Result]:
    match workload:
        case StreamWorkload.W1:
            num_records = wanted.num_records or NUM_INTEGERS
            return _stream(Stateless(num_records), wanted, settings, _rivals(wanted, num_records, settings, say))
        case StreamWorkload.W1_NUMPY:
            arrays = StatelessArrays(wanted.num_records or NUM_IN_ARRAYS, settings.runtime.batch_records)
            return _stream(arrays, wanted, settings, _rivals(wanted, arrays.num_records, settings, say))
        case StreamWorkload.W1_HOP:
            across = StatelessAcross(wanted.num_records or NUM_INTEGERS)
            return _stream(across, wanted, settings, _rivals(wanted, across.num_records, settings, say))
        case StreamWorkload.START:
            engines = (*wanted.own_engines, *wanted.rivals)
            return measure_start(engines, num_rounds=wanted.num_rounds, clock=SystemClock(), say=say)
        case StreamWorkload.W2:
            corpus = load_corpus(wanted.num_records, seed=wanted.seed)
            return _stream(WordCount(corpus), wanted, settings, _rivals(wanted, wanted.num_records, settings, say))
        case StreamWorkload.W3:
            num_records = wanted.num_records or NUM_READINGS
            rivals = _rivals(wanted, num_records, settings, say)
            return _stream(WindowedSum(readings(num_records, seed=wanted.seed)), wanted, settings, rivals)
        case StreamWorkload.W4 | StreamWorkload.NEXMARK:
            num_records = wanted.num_records or NUM_EVENTS
            events, rivals = auctions(num_records, seed=wanted.seed), _rivals(wanted, num_records, settings, say)
            return [
                result for query in QUERIES for result in _stream(Auctions(events, query), wanted, settings, rivals)
            ]
        case StreamWorkload.W5:
            return _calls(wanted, settings, say)
        case StreamWorkload.EMBED | StreamWorkload.GENERATE:
            return _models(workload, wanted, settings)
        case StreamWorkload.WINDOWS:
            return _windows(wanted, settings)


def _rivals(wanted: Wanted, num_records: int | None, settings: Settings, say: Say) -> RivalsBeside:
    batch_records = settings.runtime.batch_records
    return RivalsBeside(wanted.rivals, num_records, wanted.seed, batch_records, SystemClock(), say)


def _calls(wanted: Wanted, settings: Settings, say: Say) -> Sequence[Result]:
    results: list[Result] = []
    num_records = wanted.num_records or NUM_CALLS
    for latency in Latency:
        with LocalCluster(settings=settings) as cluster:
            results += measure_calls(
                waiting_calls(num_records, latency, seed=wanted.seed),
                wanted.own_engines,
                cluster,
                num_rounds=wanted.num_rounds,
                clock=SystemClock(),
                rivals=_rivals(wanted, num_records, settings, say),
            )
    return results


def _stream(workload: Workload, wanted: Wanted, settings: Settings, rivals: RivalsBeside) -> Sequence[Result]:
    with LocalCluster(settings=settings) as cluster:
        return measure_stream(
            workload,
            wanted.own_engines,
            cluster,
            batch_records=settings.runtime.batch_records,
            num_rounds=wanted.num_rounds,
            clock=SystemClock(),
            rivals=rivals,
        )


def _models(workload: StreamWorkload, wanted: Wanted, settings: Settings) -> Sequence[Result]:
    embeds = workload is StreamWorkload.EMBED
    spec = _model_engine(wanted, settings, settings.models.embed if embeds else settings.models.chat)
    corpus = load_corpus(None, seed=wanted.seed)
    engine = engine_from_spec(spec, EngineId("direct"))
    try:
        with LocalCluster(settings=settings, engines=[spec]) as cluster:
            bench = Bench(cluster, engine, spec.model, corpus.name, wanted.num_rounds, SystemClock())
            if embeds:
                return measure_embed(bench, texts_of(corpus, wanted.num_records or NUM_TEXTS))
            return measure_generate(bench, questions_of(corpus, wanted.num_records or NUM_QUESTIONS))
    finally:
        engine.close()


def _windows(wanted: Wanted, settings: Settings) -> Sequence[Result]:
    spec = _model_engine(wanted, settings, settings.models.chat)
    prompts = texts_of(load_corpus(None, seed=wanted.seed), wanted.num_records or NUM_PROMPTS)
    with ExitStack() as stack:
        clusters = {
            name: stack.enter_context(LocalCluster(settings=_with_window(settings, name), engines=[spec]))
            for name in WINDOW_NAMES
        }
        simulated = spec.kind == "simulated"
        return measure_windows(
            clusters, spec.model, prompts, simulated=simulated, num_rounds=wanted.num_rounds, clock=SystemClock()
        )


def _with_window(settings: Settings, name: str) -> Settings:
    return replace(settings, plane=replace(settings.plane, window=name), engines=())


def _model_engine(wanted: Wanted, settings: Settings, model: str) -> EngineSpec:
    """Return the engine that is wanted, else the one of `model`, which is brought here where it is missing."""
    if wanted.model_engine:
        return spec_from_text(wanted.model_engine)
    if model not in {table.model for table in settings.engines}:
        ensure_models([model])
    return spec_of_model(settings, model)


def spec_of_model(settings: Settings, model: str) -> EngineSpec:
    """Return the engine that serves `model` by itself: one of the settings' tables, else the embedded one."""
    tables = [table for table in settings.engines if table.model == model]
    if tables:
        return spec_from_settings(tables[0])
    return spec_from_text(f"openvino:{model}")


def texts_of(corpus: Corpus, num_texts: int) -> list[str]:
    """Return texts of about LEN_TEXT_CHARS characters, as long as what is indexed in earnest."""
    return passages(corpus.lines, num_chars=LEN_TEXT_CHARS)[:num_texts]


def questions_of(corpus: Corpus, num_questions: int) -> list[str]:
    """Return questions, each about a text of its own, so that no two share more than their first words."""
    texts = passages(corpus.lines, num_chars=LEN_QUESTION_CHARS)[:num_questions]
    return [f"Tell what happens here, in your own words: {text}" for text in texts]
