"""What a run found, for people: the table on the screen and in the note, the JSON, the picture."""

from pathlib import Path

from bench import picture
from bench.daemon import ADDED_AIM, MEMORY_AIM
from bench.past import OLD, YOUNG
from bench.prices import PRICES
from bench.results import Results
from bench.trace import SPANS

RESULTS = Path("bench/results.json")
NOTE = Path("docs/performance.md")
PICTURE = Path("docs/images/performance.svg")
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def table(results: Results) -> str:
    """The figures as Markdown tables."""
    parts = (_conditions, _times, _split, _spans, _calls, _price, _crowd, _memory, _daemon)
    return "\n\n".join(part(results) for part in parts)


def write(results: Results, root: Path) -> None:
    """Write the files of the repository that show a run."""
    (root / RESULTS).write_text(results.model_dump_json(indent=2) + "\n")
    (root / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    (root / PICTURE).write_text(picture.draw(results))
    note = root / NOTE
    note.write_text(replaced(note.read_text(), table(results)))


def replaced(note: str, figures: str) -> str:
    """*note* with *figures* between its two marks."""
    head, _, rest = note.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{figures}\n{END}{tail}"


def _conditions(results: Results) -> str:
    at = results.conditions
    return (
        f"Made by `{at.command}` on {at.date} UTC, commit {at.commit}: {at.cores} cores, load {at.load_before} before "
        f"and {at.load_after} after, Python {at.python}, OpenCode {at.opencode}."
    )


def _times(results: Results) -> str:
    rows = [
        "| times in ms | base p50 | base p95 | Threadbox p50 | Threadbox p95 | ratio p50 | ratio p95 | aim | runs |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, compared in results.comparisons.items():
        bare, ours, ratio = compared.bare, compared.ours, compared.ratio
        aim = f"≤ {compared.aim}" if compared.aim else ""
        rows.append(
            f"| {titles(results)[name]} | {bare.p50:.0f} | {bare.p95:.0f} | {ours.p50:.0f} | {ours.p95:.0f} "
            f"| **{ratio.p50:.2f}** | {ratio.p95:.2f} | {aim} | {ours.count} |"
        )
    floors = {"the floor: a turn's calls": results.floor, "of that, two empty functions": results.empty}
    rows += [f"| {name} | | | {took.p50:.0f} | {took.p95:.0f} | | | | {took.count} |" for name, took in floors.items()]
    rows += [
        f"| the embedded AWS's query of a turn, {name} | | | {took.p50:.0f} | {took.p95:.0f} | | | | {took.count} |"
        for name, took in results.queries.items()
    ]
    rows += [
        "",
        "| long answers | read | words lost | doubled | out of order | foreign |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, tally in results.tallies.items():
        rows.append(
            f"| {name} | {tally.answers} of {results.words} | {tally.lost} | {tally.doubled} | {tally.reordered} "
            f"| {tally.foreign} |"
        )
    return "\n".join(rows)


def titles(results: Results) -> dict[str, str]:
    """What each comparison is, in words."""
    words = f"{results.words:,} deltas"
    return {
        "first delta": "warm turn, first delta",
        "first delta, empty functions off": "warm turn, first delta, without two empty functions",
        "first delta, floor off": "warm turn, first delta, without the floor",
        "last delta": f"{words}, last one",
        "new thread": "new thread, first delta (base: boot and first prompt)",
        "ensure to ready": "new thread, ensure → ready, nothing to restore (base: boot)",
        "three tabs, first delta": "three tabs, slowest first delta (base: one tab)",
        "three tabs, last delta": f"three tabs, slowest last of {words} (base: one tab)",
        "save": "100 MB in 10,000 files saved (base: tar and zstd)",
        "restore": "100 MB in 10,000 files restored (base: zstd and tar)",
        "past, first": f"{OLD}, first delta, without the query (base: {YOUNG})",
        "past, whole": f"{OLD}, whole short turn, without the query (base: {YOUNG})",
    }


def _split(results: Results) -> str:
    parts = ", ".join(f"{name} {took:.0f} ms" for name, took in results.split().items())
    return f"Of a warm turn's first delta (p50): {parts}."


def _spans(results: Results) -> str:
    rows = ["| from the frame to the first delta | ms |", "|---|--:|"]
    rows += [f"| {SPANS[name]} | {took:.0f} |" for name, took in results.trace.items()]
    return "\n".join([*rows, f"| sum of the medians | {sum(results.trace.values()):.0f} |"])


def _calls(results: Results) -> str:
    return "\n\n".join((_counts("calls per turn", results.calls), _counts("calls and units", results.metered)))


def _counts(title: str, turns: dict[str, dict[str, float]]) -> str:
    kinds = sorted({kind for calls in turns.values() for kind in calls})
    rows = [f"| {title} | {' | '.join(turns)} |", "|---|" + "--:|" * len(turns)]
    rows += [f"| {kind} | {' | '.join(f'{calls.get(kind, 0):g}' for calls in turns.values())} |" for kind in kinds]
    return "\n".join(rows)


def _price(results: Results) -> str:
    priced = results.priced
    costs = priced.usage.costs()
    rows = [
        f"| a turn of {priced.seconds:g} s with one tab | used | $ per million | $ |",
        "|---|--:|--:|--:|",
    ]
    for name, price in PRICES.items():
        used = getattr(priced.usage, name)
        rows.append(f"| {price.title} | {used:.1f} | {price.per_million:g} | {costs[name]:.6f} |")
    rows.append(f"| **all of it** (aim: ≤ {priced.aim:g}) | | | **{priced.usage.dollars:.6f}** |")
    scaled = (
        f"Counted in a turn of {priced.measured.seconds:.1f} s and scaled to {priced.seconds:g} s: what a short turn "
        f"uses too is counted once, the rest by its length. A short turn costs ${priced.short.dollars:.6f}."
    )
    return "\n".join([*rows, "", scaled])


def _crowd(results: Results) -> str:
    crowd = results.crowd
    return (
        f"{crowd.asked} threads that ask for a sandbox at once, with scripted tasks: {crowd.tasks} tasks, "
        f"{crowd.errors} errors, the last one ready after {crowd.seconds:.1f} s."
    )


def _memory(results: Results) -> str:
    rows = ["| memory (PSS) | MB |", "|---|--:|"]
    rows += [f"| {name} | {share} |" for name, share in results.memory.items()]
    return "\n".join(rows)


def _daemon(results: Results) -> str:
    daemon = results.daemon
    direct, passed_on = daemon.direct, daemon.passed_on
    rows = [
        "| sandboxd by itself | measured | aim |",
        "|---|--:|--:|",
        f"| memory (PSS) when it has booted, MB | {daemon.idle:g} | ≤ {MEMORY_AIM} |",
        f"| memory (PSS) after the turns above, MB | {daemon.used:g} | ≤ {MEMORY_AIM} |",
        f"| a call to OpenCode past it, p50, ms | {direct.p50:g} | |",
        f"| the same call through it, p50, ms | {passed_on.p50:g} | |",
        f"| added to a call, p50, ms | **{daemon.added:g}** | ≤ {ADDED_AIM:g} |",
    ]
    return "\n".join(rows)
