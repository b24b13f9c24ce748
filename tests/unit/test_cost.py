"""The calculator, against the figures that docs/cost.md derives by hand."""

from dataclasses import replace

import pytest

from operate.cost import Assumptions, assumed, bill, main

NOBODY = Assumptions(threads=0, idle_threads=0)


def dollars(given, *parts):
    return sum(line.dollars for line in bill(given) if line.part in parts)


def test_thread_that_is_idle_costs_no_compute():
    """However many there are: only what is kept of them is charged."""
    many = replace(NOBODY, idle_threads=1_000_000)

    assert 0 == dollars(many, "turns", "sandboxes")
    assert dollars(NOBODY, "fixed") == dollars(many, "fixed")
    assert dollars(many, "kept") > 0


def test_minute_of_text_costs_what_the_page_says():
    """$0.00145, beyond what a turn does once."""
    short = Assumptions(threads=1, sittings=1, turns=1, text_seconds=0, silent_seconds=0, log_kb=0)
    long = replace(short, text_seconds=60)

    assert pytest.approx(0.00145, rel=0.01) == dollars(long, "turns") - dollars(short, "turns")


def test_sandbox_costs_what_the_page_says():
    """$0.0123 for 15 minutes of one processor and 2 GB, its address not counted."""
    quarter = Assumptions(threads=1, sittings=1, sitting_minutes=15, idle_minutes=0)
    sandbox = [line for line in bill(quarter) if line.what in ("vcpu_x86", "gb_x86")]

    assert pytest.approx(0.0123, rel=0.01) == sum(line.dollars for line in sandbox)
    assert dollars(replace(quarter, arm=True), "sandboxes") < dollars(quarter, "sandboxes")


def test_nat_gateway_is_the_price_of_nat():
    """$36.50 a month with its address; sandboxes then have none of their own."""
    with_it, without = replace(NOBODY, egress="nat"), NOBODY

    assert pytest.approx(36.50) == dollars(with_it, "fixed") - dollars(without, "fixed")
    assert not [line for line in bill(with_it) if (line.part, line.what) == ("sandboxes", "address")]


def test_bill_names_each_assumption_and_adds_up(capsys):
    """All are options; the total is the sum of the parts."""
    assert 0 == main(["--threads", "10", "--egress", "nat"])

    told = capsys.readouterr().out
    assert all(meaning in told for _, meaning in assumed().values())
    parts = [float(line.split()[-1].replace(",", "")) for line in told.splitlines() if " all of it " in line]
    (total,) = (float(line.split()[-1].replace(",", "")) for line in told.splitlines() if line.startswith("total"))
    assert pytest.approx(total, abs=0.03) == sum(parts)
    assert "An idle thread: $0 of compute" in told


def test_unknown_egress_is_refused(capsys):
    """With the ones there are."""
    with pytest.raises(SystemExit):
        main(["--egress", "ipv4"])
    assert "dualstack, nat or own" in capsys.readouterr().err
