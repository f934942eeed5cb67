"""The page at `/`: what is served and how to call it, in one file without scripts. Pure; knows no server."""

from collections.abc import Sequence
from html import escape

from cluster.runtime.control_clients import ChatModel
from sage.base.inference import Kind, ModelCard
from sage.flow.runner import EngineStatus

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2330; --soft: #5b6678; --line: #dfe4ec; --back: #fbfcfe; --card: #fff;
  --mark: #0b7a6f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf2; --soft: #98a3b5; --line: #2a3242; --back: #11151c; --card: #181e28; --mark: #4fd1c1 } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 52rem;
  margin: 0 auto; padding: 3rem 1.25rem }
h1 { font-size: 1.9rem; margin: 0; letter-spacing: -.02em } h1 span { color: var(--mark) }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem } p { color: var(--soft); margin: .3rem 0 }
table { border-collapse: collapse; width: 100% }
table, pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px }
th, td { text-align: left; padding: .5rem .8rem; border-bottom: 1px solid var(--line) } tr:last-child td { border: 0 }
th { color: var(--soft); font-weight: 500; font-size: .85rem }
pre { padding: .9rem 1rem; overflow-x: auto }
code, pre { font: .86rem/1.5 ui-monospace, monospace } a { color: var(--mark) }
"""


def page(
    base_url: str, models: Sequence[ModelCard], engines: Sequence[EngineStatus], flows: Sequence[ChatModel] = ()
) -> str:
    """Return the page as HTML; every value that is not ours is escaped. `base_url` has no slash at its end."""
    chats = [*(flow.name for flow in flows), *(card.name for card in models if Kind.CHAT in card.kinds)]
    chat = next(iter(chats), None)
    embed = next((card.name for card in models if Kind.EMBED in card.kinds), None)
    parts = [_flows(flows), _models(models, engines)]
    if chat is not None:
        parts += [
            _sample("Chat, with curl", _curl_chat(base_url, chat)),
            _sample("Chat, in Python", _python(base_url, chat)),
        ]
    if embed is not None:
        parts.append(_sample("Embeddings, with curl", _curl_embed(base_url, embed)))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>SAGE</title><style>{_STYLE}</style></head><body>
<h1><span>SAGE</span> is serving</h1>
<p>An OpenAI-compatible API at <code>{escape(base_url)}/v1</code>. Streams and callers share one control plane.</p>
{"".join(parts)}
<h2>Operations</h2>
<p><a href="/v1/models">/v1/models</a> · <a href="/livez">/livez</a> · <a href="/readyz">/readyz</a> ·
<a href="/metrics">/metrics</a></p>
</body></html>
"""


def _flows(flows: Sequence[ChatModel]) -> str:
    if not flows:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(flow.name)}</code></td><td>{escape(flow.flow)}</td>"
        f"<td>{escape(', '.join(flow.asks)) or '-'}</td><td>{'yes' if flow.is_ready else 'not yet'}</td></tr>"
        for flow in flows
    )
    head = "<tr><th>Model</th><th>Flow</th><th>Asks itself</th><th>Ready</th></tr>"
    return f"<h2>Flows, asked as models</h2><table>{head}{rows}</table>"


def _models(models: Sequence[ModelCard], engines: Sequence[EngineStatus]) -> str:
    if not models:
        return "<h2>Models</h2><p>No engine is ready yet. <a href='/readyz'>/readyz</a> says why.</p>"
    rows = "".join(
        f"<tr><td><code>{escape(card.name)}</code></td><td>{', '.join(card.kinds)}</td><td>{card.context_tokens:,}</td>"
        f"<td>{card.dim or '-'}</td><td>{escape(_devices(card.name, engines))}</td></tr>"
        for card in models
    )
    head = "<tr><th>Model</th><th>Answers</th><th>Context, tokens</th><th>Vector length</th><th>Runs on</th></tr>"
    return f"<h2>Models</h2><table>{head}{rows}</table>"


def _devices(model: str, engines: Sequence[EngineStatus]) -> str:
    """Say where a model runs; a simulated engine is called one."""
    serving = [
        engine for engine in engines if engine.state == "ready" and model in {card.name for card in engine.models}
    ]
    named = [f"{engine.kind}, {engine.device}" for engine in serving]
    return "; ".join(dict.fromkeys(named)) or "-"


def _sample(title: str, text: str) -> str:
    return f"<h2>{escape(title)}</h2><pre>{escape(text)}</pre>"


def _curl_chat(base_url: str, model: str) -> str:
    return (
        f"curl -N {base_url}/v1/chat/completions \\\n  -H 'content-type: application/json' -d '"
        f'{{"model": "{model}", "stream": true,\n'
        '  "messages": [{"role": "user", "content": "Why is the sky blue?"}]}\''
    )


def _curl_embed(base_url: str, model: str) -> str:
    return (
        f"curl {base_url}/v1/embeddings \\\n  -H 'content-type: application/json' -d '"
        f'{{"model": "{model}", "input": ["a cat", "a kitten"]}}\''
    )


def _python(base_url: str, model: str) -> str:
    return f"""from openai import OpenAI

client = OpenAI(base_url="{base_url}/v1", api_key="none")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Why is the sky blue?"}}],
)
print(answer.choices[0].message.content)"""
