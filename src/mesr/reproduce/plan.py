"""Which rows the paper's experiments have, and what each of them needs. Nothing runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..models import weights
from .ablations import DEPTHS, ablations, at_depth
from .budgets import Budget
from .rows import Experiment, Row, trained, untrained
from .sources import sites_of
from .systems import SYSTEMS, UNTRAINED, System, Terms
from .trainings import (
    Setting,
    Training,
    at_one_scale,
    from_varied,
    gone_on,
    lasting,
    of_another_seed,
    on_one_site,
    training,
)

EXPERIMENTS: tuple[Experiment, ...] = (
    "table1", "table2", "table3", "ablations", "robustness", "native", "figures",
)  # fmt: skip

EQUAL, LONGER, PUBLISHED = "On equal terms", "On equal terms, for longer", "As published"
VARIED = "On equal terms, for longer, from varied scans"
SHIPPED = "As shipped with mesr, trained for longer on other losses"
LEADERS = {
    EQUAL: ("mesr", "mesr-16x8"),
    LONGER: ("mesr",),
    VARIED: ("mesr-16x8", "mesr"),
    SHIPPED: (weights.ALIASES["mesr"],),
    PUBLISHED: ("mesr-paper",),
}
"""The parts of Table 2 in its order, and the systems that were to be first there, the one that every other is compared with before the rest."""
JUDGED_PARTS = (EQUAL, LONGER, VARIED, PUBLISHED)
"""The parts of Table 2 that something is to be shown by."""

SHRUNK, SCANNED = "Bicubic LR", "Simulated CBCT to CT"

AGAIN = ("meta-rdn", "miassr", "mesr-lite", "mesr", "mesr-16x8")
"""Systems trained a second time with another seed."""

AVERAGED = ("meta-rdn", "miassr", "mesr-lite")
"""Systems asked in eight orientations as well, since MESR answers in four or eight of its own."""

FREE = ("meta-rdn", "miassr", "mesr-lite", "mesr", "mesr-16x8")
"""Systems with a head for every scale: on equal terms measured at all of them on every CT site, where all else is on the pelvis only,
and trained for longer as well, whether their order lasts: from varied scans all of them, from the same `LASTING`."""

LASTING = ("meta-rdn", "miassr", "mesr-lite", "mesr")
"""Those of `FREE` that are trained for longer from the same scans as well."""

DEEPER = "32-blocks"
"""Of `DEPTHS`, trained for longer as well: whether it is depth that MESR wants for there."""

DEGRADATIONS = (
    "bicubic", "blur-bicubic:sigma=0.3", "blur-bicubic", "noise:sigma=0.005", "noise", "noise:sigma=0.02", "kspace",
)  # fmt: skip
"""What the network that knows bicubic alone is tried on."""

MR_DEGRADATION = "kspace"
"""How an MR scanner would have made a coarser image; tried on MR as well."""


def plan(experiments: Iterable[Experiment], setting: Setting) -> list[Row]:
    """Every row of the experiments, in the order of the tables.

    `native` and `figures` have no rows of their own; they show the networks of Table 2.
    """
    makers: dict[Experiment, Callable[[Setting], list[Row]]] = {
        "table1": table1, "table2": table2, "table3": table3, "ablations": ablations, "robustness": robustness,
    }  # fmt: skip
    asked = set(experiments)
    rows = [_sparing(row, setting) for name, make in makers.items() if name in asked for row in make(setting)]
    return [_marked(row) for row in rows] if setting.budget.tiny else rows


def _sparing(row: Row, setting: Setting) -> Row:
    """What no table shows of a row is not measured."""
    if row.experiment not in ("table2", "ablations") or row.sites or row.scales == ("2",):
        return row
    everywhere = on_equal_terms(row) and row.system in FREE
    return replace(row, thorough=ct_sites(setting) if everywhere else headline_sites(setting))


def _marked(row: Row) -> Row:
    """A smoke run's row says so in its title."""
    return replace(row, title=f"{row.title} (smoke)") if row.trainings and not row.absent else row


def table1(setting: Setting) -> list[Row]:
    """Six scales on the pelvis, for low-resolution images shrunk from CT and from simulated CBCT."""
    scan, where = simulation(setting), setting.source.one_site
    shrunk = {"scales": setting.budget.scales, "sites": headline_sites(setting)}
    simulated = shrunk | {"degradation": scan}
    rows = [
        untrained("table1", SHRUNK, "bicubic", **shrunk),
        untrained("table1", SCANNED, "bicubic", **simulated),
    ]
    for system in (SYSTEMS[name] for name in ("mesr", "mesr-paper")):
        known = training(system, "equal", setting)
        alone = Training(on_one_site(known.config, setting.source))
        scanned = Training(replace(alone.config, name=f"{known.name}-cbct"), simulated=scan)
        rows += [
            trained("table1", group, f"{system.title}{learned}", system.name, one, **measured)
            for group, learned, one, measured in (
                (SHRUNK, "", known, shrunk),
                (SHRUNK, f", trained on {where}", alone, shrunk),
                (SCANNED, f", trained on bicubic LR of {where}", alone, simulated),
                (SCANNED, f", trained on simulated CBCT of {where}", scanned, simulated),
            )
        ]
    return rows


def simulation(setting: Setting) -> str:
    """The simulated cone-beam scan, as a recipe of `degrade`."""
    return f"cbct:{setting.budget.scan}" if setting.budget.scan else "cbct"


def table2(setting: Setting) -> list[Row]:
    """Every system, on equal terms and as published; those that have more than one scale at all of theirs."""
    scales = setting.budget.scales
    rows = [untrained("table2", EQUAL, name, scales=scales) for name in UNTRAINED]
    rows += [
        row
        for system in SYSTEMS.values()
        if system.equal is not None
        for row in _of(system, "equal", setting)
    ]
    mesr = SYSTEMS["mesr"]
    known = training(mesr, "equal", setting)
    rows += [
        trained("table2", EQUAL, f"{mesr.title} {title}", mesr.name, one, control=True)
        for title, one in (
            ("at ×2 alone", at_one_scale(known, 2)),
            ("for as many steps more", gone_on(known, setting)),
        )
    ]
    for system in (SYSTEMS[name] for name in AGAIN):
        again = of_another_seed(training(system, "equal", setting))
        rows.append(
            trained(
                "table2",
                EQUAL,
                f"{system.title}, another seed",
                system.name,
                again,
                scales=scales,
                control=True,
            )
        )
    rows += [
        _averaged(EQUAL, system.title, system, training(system, "equal", setting))
        for system in (SYSTEMS[name] for name in AVERAGED)
    ]
    if setting.budget.longer:
        rows += [_longer(SYSTEMS[name], setting) for name in LASTING]
        rows.append(_deeper(setting))
        rows += _all_varied(setting)
    if not setting.budget.tiny:
        rows += [untrained("table2", SHIPPED, name, scales=scales) for name in ("sinc", *weights.shipped())]
    rows.append(untrained("table2", PUBLISHED, "bicubic"))
    rows += [
        row for system in SYSTEMS.values() if system.as_published for row in _of(system, "published", setting)
    ]
    return [replace(row, column="Bicubic") if row.system == "bicubic" else row for row in rows]


def _of(system: System, terms: Terms, setting: Setting) -> list[Row]:
    group = EQUAL if terms == "equal" else PUBLISHED
    here = terms == "equal" or setting.budget.giants or setting.budget.tiny or not system.giant
    if not here:  # Named at its full size, whatever else is reduced.
        setting = setting._replace(budget=replace(setting.budget, tiny=False))
    title = system.titled(terms, setting.budget)
    common = {"column": system.column, "absent": "" if here else _instead(system, setting.budget)}
    own_scales = system.scales_of(terms)
    if not own_scales:
        own = training(system, terms, setting)
        return [trained("table2", group, title, system.name, own, scales=setting.budget.scales, **common)]
    members = [training(system, terms, setting, scale) for scale in own_scales]
    alone = len(members) == 1
    scales = tuple(s for s in setting.budget.scales if not alone or float(s) < own_scales[0])
    rows = [
        trained(
            "table2", group, title if alone else f"{title}, ×{scale}", system.name, one, scales=(str(scale),), **common
        )
        for scale, one in zip(own_scales, members, strict=True)
    ]  # fmt: skip
    if scales and (terms == "equal" or not alone):
        rows.append(
            trained(
                "table2", group, f"{title}, next integer then bicubic down", system.name, *members,
                scales=scales, family=True, **common,
            )
        )  # fmt: skip
    return rows


def _instead(system: System, budget: Budget) -> str:
    """That a giant is not trained, and what stands for it."""
    reduced = system.titled("equal", budget) if system.equal is not None else system.smaller
    return f"not trained here: {reduced} is"


def _longer(system: System, setting: Setting) -> Row:
    """A system of every scale on equal terms, trained anew for more steps."""
    return _lasting(
        system, training(system, "equal", setting), system.titled("equal", setting.budget), setting
    )


def _deeper(setting: Setting) -> Row:
    """MESR with more blocks in fewer orientations, the same work, for more steps."""
    mesr, (size, _) = SYSTEMS["mesr"], DEPTHS[DEEPER]
    return _lasting(mesr, at_depth(DEEPER, setting), f"{mesr.title} ({size})", setting)


def _all_varied(setting: Setting) -> list[Row]:
    """What learns from varied scans, and MetaRDN of them asked in eight orientations."""
    rows = {name: _varied(SYSTEMS[name], setting) for name in FREE}
    rival = rows["meta-rdn"]
    averaged = _averaged(VARIED, rival.title, SYSTEMS["meta-rdn"], rival.trainings[0])
    return [*rows.values(), averaged]


def _varied(system: System, setting: Setting) -> Row:
    """A system of every scale, trained for more steps from scans that are also made coarser, sharper and softer."""
    title = system.titled("equal", setting.budget)
    return _lasting(system, training(system, "equal", setting), title, setting, varied=True)


def _averaged(group: str, title: str, system: System, one: Training) -> Row:
    """A network asked in eight orientations at ×2, which is eight times its work."""
    title = f"{title}, mean of eight orientations"
    return trained("table2", group, title, system.name, one, control=True, averaged=True)


def _lasting(system: System, one: Training, title: str, setting: Setting, *, varied: bool = False) -> Row:
    steps, scales = setting.budget.longer, setting.budget.scales
    config = lasting(one.config, steps, f"{one.name}-{steps}")
    longer = Training(from_varied(config) if varied else config)
    return trained(
        "table2",
        VARIED if varied else LONGER,
        f"{title}, {steps:,} steps{', varied scans' if varied else ''}",
        system.name,
        longer,
        scales=scales,
        column=system.column,
    )


def table3(setting: Setting) -> list[Row]:
    """Trained on one site of one patient, measured at ×2 on others: of the split that is measured, those there are."""
    source = setting.source
    sites = tuple(site for site in source.elsewhere if site in ct_sites(setting))
    if not sites:
        return []
    rows = [untrained("table3", source.one_site, "bicubic", sites=sites)]
    for name in ("edsr", "rdn", "mesr-lite", "mesr", "mesr-paper"):
        system = SYSTEMS[name]
        known = training(system, "equal", setting, system.scales[0] if system.scales else None)
        own = Training(on_one_site(known.config, source))
        title = system.titled("equal", setting.budget)
        rows.append(trained("table3", source.one_site, title, name, own, sites=sites, column=system.column))
    return rows


def missing_of(setting: Setting) -> list[str]:
    """What cannot be shown with these scans, a sentence each."""
    elsewhere = setting.source.elsewhere
    told = []
    if setting.source.pelvis and not headline_sites(setting):
        told.append("No scan of the pelvis is measured: all sites together stand for it.")
    if elsewhere and not table3(setting):
        told.append(f"No scan of {' or '.join(elsewhere)} is measured: Table 3 is left out.")
    return told + setting.source.missing


def on_equal_terms(row: Row) -> bool:
    """Whether it stands for its system in Table 2 on equal terms: no control, and no family, which at ×2 is its first member."""
    return row.experiment == "table2" and row.group == EQUAL and not row.control and not row.family


def ct_sites(setting: Setting) -> tuple[str, ...]:
    """The sites of CT that are measured, a phantom's included."""
    return _sites(setting, "CT", phantom=True)


def headline_sites(setting: Setting) -> tuple[str, ...]:
    """The paper's site, where it is measured; empty for all sites."""
    return tuple(site for site in setting.source.pelvis if site in ct_sites(setting))


def patients_sites(setting: Setting) -> tuple[str, ...]:
    """The sites of patients' CT that are measured: what one mean may be taken over."""
    return _sites(setting, "CT", phantom=False)


def _sites(setting: Setting, modality: str, *, phantom: bool) -> tuple[str, ...]:
    source = setting.source
    spec = source.val if setting.budget.split == "val" else source.test
    found = [
        site
        for scan in spec.scans
        if scan.modality == modality and (phantom or Path(spec.root, scan.path) != source.phantom)
        for site in sites_of(scan)
    ]
    return tuple(dict.fromkeys(found))


def robustness(setting: Setting) -> list[Row]:
    """MESR, and the shipped `mesr` and `mesr-lite`, at ×2 where blur, noise or filter are not the ones they were trained on."""
    mesr = SYSTEMS["mesr"]
    known = training(mesr, "equal", setting)
    rows = []
    tried = [(degradation, degradation, patients_sites(setting)) for degradation in DEGRADATIONS]
    if mr := _sites(setting, "MR", phantom=False):
        tried.append((f"{MR_DEGRADATION} of MR", MR_DEGRADATION, mr))
    for group, degradation, sites in tried:
        columns: dict[str, Any] = {"degradation": degradation, "sites": sites}
        rows += [untrained("robustness", group, name, **columns) for name in ("bicubic", "sinc")]
        rows.append(trained("robustness", group, mesr.title, mesr.name, known, **columns))
        if not setting.budget.tiny:
            rows += [untrained("robustness", group, name, **columns) for name in weights.ALIASES.values()]
    return rows
