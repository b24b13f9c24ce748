"""The picture of a run: ratios, what the first delta is made of, and its way. SVG by a few lines of our own."""

from collections.abc import Iterable
from html import escape

from bench.past import OLD, YOUNG
from bench.results import Results
from bench.trace import SPANS

WIDTH, LEFT, RIGHT, ROW = 980, 420, 940, 26
INK, OURS, AIM = "#24292f", "#0969da", "#cf222e"
LABELS = {
    "first delta": "warm turn, first delta",
    "first delta, empty functions off": "warm turn, first delta, without two empty functions",
    "first delta, floor off": "warm turn, first delta, without the floor",
    "last delta": "long answer, last delta",
    "new thread": "new thread, first delta",
    "ensure to ready": "new thread, ready (base: boot)",
    "three tabs, first delta": "three tabs ÷ one, first delta",
    "three tabs, last delta": "three tabs ÷ one, last delta",
    "save": "100 MB saved ÷ tar and zstd",
    "restore": "100 MB restored ÷ zstd and tar",
    "past, first": f"{OLD} ÷ {YOUNG}, first delta",
    "past, whole": f"{OLD} ÷ {YOUNG}, whole short turn",
}


def draw(results: Results) -> str:
    """The whole picture."""
    shapes: list[str] = []
    y = _title(shapes, 30, "Times over those of the bare OpenCode server (p50); the red line is the aim")
    y = _ratios(shapes, y, results)
    y = _title(shapes, y + 24, "A warm turn's first delta, in ms")
    y = _bars(shapes, y, results.split().items(), running=True)
    y = _title(shapes, y + 24, "Its way, in ms (median of each span)")
    y = _bars(shapes, y, ((SPANS[name], took) for name, took in results.trace.items()), running=True)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" font-family="sans-serif" '
    head += f'font-size="12"><rect width="{WIDTH}" height="{y + 10}" fill="#ffffff"/>'
    return "\n".join([head, *shapes, "</svg>", ""])


def _ratios(shapes: list[str], y: float, results: Results) -> float:
    ratios = {name: compared.ratio.p50 for name, compared in results.comparisons.items()}
    scale = (RIGHT - LEFT) / max(*ratios.values(), 2)
    for name, ratio in ratios.items():
        shapes += [_text(LEFT - 8, y + 16, LABELS[name], anchor="end"), _rect(LEFT, y + 4, ratio * scale, 16, OURS)]
        shapes.append(_text(LEFT + ratio * scale + 5, y + 16, f"{ratio:.2f}"))
        if aim := results.comparisons[name].aim:
            shapes.append(_rect(LEFT + aim * scale - 1, y + 1, 2, 22, AIM))
        y += ROW
    shapes.append(_rect(LEFT + scale, y - ROW * len(ratios), 1, ROW * len(ratios), INK))
    return y


def _bars(shapes: list[str], y: float, parts: Iterable[tuple[str, float]], *, running: bool) -> float:
    """A row for each part; *running*: each begins where the one before ended."""
    rows = [(name, max(took, 0.0)) for name, took in parts]
    scale = (RIGHT - LEFT - 40) / max(sum(took for _, took in rows), 1)
    at = float(LEFT)
    for name, took in rows:
        shapes += [_text(LEFT - 8, y + 16, name, anchor="end"), _rect(at, y + 4, max(took * scale, 1), 16, OURS)]
        shapes.append(_text(at + took * scale + 5, y + 16, f"{took:.0f}"))
        at += took * scale if running else 0
        y += ROW
    return y


def _title(shapes: list[str], y: float, text: str) -> float:
    shapes.append(f'<text x="16" y="{y}" fill="{INK}" font-size="14" font-weight="bold">{escape(text)}</text>')
    return y + 10


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{color}"/>'
