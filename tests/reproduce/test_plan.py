"""The plan: every system of the paper has a row, on equal terms nothing but the network differs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from small_source import small_source

from mesr.models import weights
from mesr.reproduce.budgets import BUDGETS
from mesr.reproduce.paper import paper
from mesr.reproduce.plan import DEGRADATIONS, EQUAL, EXPERIMENTS, LONGER, PUBLISHED, SHIPPED, VARIED, plan
from mesr.reproduce.rows import Row
from mesr.reproduce.state import State
from mesr.reproduce.systems import SYSTEMS, UNTRAINED
from mesr.reproduce.trainings import Setting, compound, network_cost, of_another_seed, samples_at, settings
from mesr.testset import MeasuredScan


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(BUDGETS["cpu"], small_source(tmp_path), "vgg19")


def _table2(setting: Setting, group: str) -> list[Row]:
    return [row for row in plan(["table2"], setting) if row.group == group]


def test_every_system_of_the_papers_table_2_has_a_row_in_both_parts(setting: Setting) -> None:
    for group in (EQUAL, PUBLISHED):
        assert paper()["table2"].keys() <= {row.column for row in _table2(setting, group)}


def test_every_system_and_untrained_method_has_a_row_at_twice(setting: Setting) -> None:
    at_two = {row.system for row in plan(["table2"], setting) if "2" in row.scales}
    assert {*SYSTEMS, *UNTRAINED} <= at_two


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_ids_are_unique(setting: Setting, name: str) -> None:
    ids = [row.id for row in plan(EXPERIMENTS, setting._replace(budget=BUDGETS[name]))]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_a_name_stands_for_one_training(setting: Setting, name: str) -> None:
    known: dict[str, object] = {}
    for row in plan(EXPERIMENTS, setting._replace(budget=BUDGETS[name])):
        for training in () if row.absent else row.trainings:
            for one in training.chain():
                assert known.setdefault(one.name, one) == one
                assert one.name.startswith(f"{name}-")


def test_a_network_of_whole_scales_answers_a_fractional_one_by_the_next(setting: Setting) -> None:
    rows = {row.system: row for row in _table2(setting, EQUAL) if row.family}
    assert rows.keys() == {name for name, one in SYSTEMS.items() if one.scales and one.equal is not None}
    assert rows["rdn"].scales == ("1.5",)
    family = rows["edsr-16x64"]
    answering = {scale: family.training_at(scale) for scale in family.scales}
    assert {scale: one.name[-2:] for scale, one in answering.items() if one} == {
        "1.5": "x2", "2": "x2", "2.5": "x3", "3": "x3", "3.5": "x4", "4": "x4",
    }  # fmt: skip
    cost = family.cost
    assert cost is not None
    assert cost.pixel == network_cost(family.trainings[0]).pixel
    assert cost.parameters == sum(network_cost(one).parameters for one in family.trainings)


def test_what_starts_from_the_bicubic_image_answers_at_its_own_scale_too(setting: Setting) -> None:
    rows = [row for row in _table2(setting, EQUAL) if row.system in ("srcnn", "vdsr")]
    assert [(row.system, row.scales, row.family) for row in rows] == [
        ("srcnn", ("2",), False), ("srcnn", ("1.5",), True), ("vdsr", ("2",), False), ("vdsr", ("1.5",), True),
    ]  # fmt: skip


def test_as_published_vdsr_is_one_network_for_three_scales(setting: Setting) -> None:
    (row,) = (row for row in _table2(setting, PUBLISHED) if row.system == "vdsr")
    assert row.trainings[0].config.sampling.scales == [2, 3, 4]
    assert row.scales == setting.budget.scales
    assert samples_at(row.trainings[0]) == row.trainings[0].samples // 3


def test_shipped_weights_stand_in_a_part_of_their_own(setting: Setting) -> None:
    rows = _table2(setting, SHIPPED)
    assert {row.system for row in rows} == {"sinc", *weights.shipped()}
    costs = [row.cost for row in rows if row.system != "sinc"]
    assert all(cost is not None and cost.parameters > 1e6 for cost in costs)


def test_a_long_fine_tuning_weighs_the_critic_less(setting: Setting) -> None:
    """What shows the critic within 400 steps takes over within thousands (docs/explanation/losses.md)."""
    for name, weight in (("cpu", 0.1), ("gpu", 0.01)):
        rows = _table2(setting._replace(budget=BUDGETS[name]), EQUAL)
        (row,) = (row for row in rows if row.system == "mesr-compound")
        assert row.trainings[0].config.losses["adversarial"] == weight
        assert compound(BUDGETS[name])["adversarial"] == weight


def test_on_equal_terms_only_network_and_scales_differ(setting: Setting) -> None:
    seen = set()
    for row in (row for row in _table2(setting, EQUAL) if not row.control):
        for training in row.trainings:
            first = next(training.chain()).config
            assert first.losses == {"l1": 1.0}
            free = replace(first, name="", model=type(first.model)(), validation=type(first.validation)())
            free.sampling = replace(free.sampling, scales=[])
            seen.add(str(asdict(free)))
    assert len(seen) == 1


def test_what_is_trained_for_longer_differs_in_its_steps_alone(setting: Setting) -> None:
    every = _table2(setting, EQUAL) + [row for row in plan(["ablations"], setting) if len(row.trainings) == 1]
    short = {row.trainings[0].name: row.trainings[0] for row in every if row.trainings}
    rows = _table2(setting, LONGER)
    assert {"mesr", "mesr-lite", "miassr", "meta-rdn"} <= {row.system for row in rows}
    for row in rows:
        (one,) = row.trainings
        before = short[one.name.removesuffix(f"-{one.config.steps}")].config
        assert one.config.steps == setting.budget.longer > before.steps
        same = replace(
            one.config,
            name=before.name,
            steps=before.steps,
            optimiser=before.optimiser,
            validation=before.validation,
        )
        assert same == before
        assert one.config.optimiser.rate == before.optimiser.rate


def test_varied_scans_are_all_that_a_longer_training_from_them_differs_in(setting: Setting) -> None:
    longer = {row.system: row for row in _table2(setting, LONGER) if "blocks" not in row.trainings[0].name}
    *rows, turned, averaged = _table2(setting, VARIED)
    assert [row.system for row in rows] == ["meta-rdn", "miassr", "mesr-lite", "mesr"]
    model = turned.trainings[0].config.model
    assert model.args["orientations"] == 8
    plain = replace(model, args=model.args | {"orientations": 4})
    assert replace(turned.trainings[0].config, name=rows[-1].trainings[0].name, model=plain) == (
        rows[-1].trainings[0].config
    )
    assert (averaged.trainings, averaged.averaged, averaged.scales) == (rows[0].trainings, True, ("2",))
    for row in rows:
        (one,), (before,) = row.trainings, longer[row.system].trainings
        assert (one.config.sampling.coarser, one.config.sampling.kernels) == (2.0, 0.8)
        sampling = replace(one.config.sampling, coarser=1.0, kernels=0.0)
        assert replace(one.config, name=before.name, sampling=sampling) == before.config
        assert row.scales == longer[row.system].scales
        assert row.thorough == longer[row.system].thorough


def test_those_to_be_ahead_at_every_scale_are_measured_so_at_every_ct_site(setting: Setting) -> None:
    test = setting.source.test
    more = [
        MeasuredScan(site, modality, sites={site: [0, 9]})
        for site, modality in (("lung", "CT"), ("brain", "MR"))
    ]
    wider = replace(setting.source, test=replace(test, scans=[*test.scans, *more]))
    rows = [row for row in _table2(setting._replace(source=wider), EQUAL) if len(row.scales) > 1]
    everywhere = {row.system for row in rows if row.thorough == ("pelvis", "lung")}
    assert everywhere == {"mesr", "mesr-16x8", "mesr-lite", "miassr", "meta-rdn"}
    assert {row.thorough for row in rows if row.system not in everywhere} == {("pelvis",)}


def test_reduced_systems_have_four_to_six_million_parameters(setting: Setting) -> None:
    for row in _table2(setting, EQUAL):
        for one in row.trainings:
            size, system = network_cost(one).parameters, SYSTEMS[row.system]
            assert size <= 6e6
            assert size >= 4e6 or system.equal == system.published or system.name.startswith("mesr")


def test_published_giants_are_trained_on_a_gpu_only(setting: Setting) -> None:
    absent = {row.system for row in _table2(setting, PUBLISHED) if row.absent}
    assert absent == {"edsr", "rdn-b", "meta-rdn-b", "rrdb", "esrgan"}
    gpu = setting._replace(budget=BUDGETS["gpu"])
    assert not any(row.absent for row in plan(EXPERIMENTS, gpu))


def test_a_giant_is_known_to_be_missing_before_any_run_came_to_it(setting: Setting, tmp_path: Path) -> None:
    state = State(tmp_path / "out", "cpu", "scans")
    for row in _table2(setting, PUBLISHED):
        assert state.known(row).status == ("absent" if row.absent else "planned")
        assert state.known(row).sentence == row.absent


def test_a_compound_network_starts_from_its_l1_weights(setting: Setting) -> None:
    (row,) = [row for row in _table2(setting, EQUAL) if row.system == "mesr-compound"]
    first, last = row.trainings[0].chain()
    assert first.name == "cpu-mesr"
    assert last.config.losses.keys() == {"l1", "perceptual", "adversarial"}
    assert last.samples == (BUDGETS["cpu"].steps + BUDGETS["cpu"].tuning) * BUDGETS["cpu"].batch


def test_rivals_are_averaged_over_orientations_as_well(setting: Setting) -> None:
    rows = _table2(setting, EQUAL)
    for one in (row for row in rows if row.averaged):
        (alone,) = [row for row in rows if row.system == one.system and not row.control]
        assert one.trainings == alone.trainings
        assert one.method == f"{alone.method}+"
        assert one.cost is not None
        assert one.cost.pixel == 8 * network_cost(one.trainings[0]).pixel
    assert {"meta-rdn", "miassr"} <= {row.system for row in rows if row.averaged}


def test_a_smoke_run_trains_200_steps_and_never_looks_at_the_test_set() -> None:
    smoke = BUDGETS["smoke"]
    assert min(smoke.steps, smoke.tuning) >= 200
    assert smoke.split == "val"


def test_table_3_is_trained_on_one_site_alone(setting: Setting) -> None:
    trained = [row.trainings[0].config.sampling for row in plan(["table3"], setting) if row.trainings]
    assert {(*one.sites, *one.series) for one in trained} == {("pelvis", "train")}


def test_as_published_each_has_its_own_losses_and_rate(setting: Setting) -> None:
    known = {
        one.name: one.config
        for row in _table2(setting, PUBLISHED)
        for training in row.trainings
        for one in training.chain()
    }
    assert known["cpu-srcnn-x2-published"].losses == {"l2": 1.0}
    assert known["cpu-miassr-published"].losses == {"l1": 1.0}
    assert known["cpu-srgan-x2-published"].critic.loss == "cross-entropy"
    assert known["cpu-esrgan-x2-published"].critic.loss == "relativistic"
    assert known["cpu-mesr-paper-compound-published"].critic.loss == "wasserstein"
    # Maps of a VGG whose images go to 255, divided by 12.75 (Ledig et al. 2017, §2.2.1), in the unit of VGG19's spread.
    assert known["cpu-srgan-x2-published"].losses == {
        "vgg_l2": pytest.approx(20.43, abs=0.01),
        "adversarial": 1e-3,
    }
    assert known["cpu-miassr-gan-published"].losses == {"l1": 1.0, "vgg_raw_l2": 0.006, "adversarial": 0.001}
    assert known["cpu-srgan-x2-published"].perceptual.depths == [5]
    assert known["cpu-miassr-gan-published"].perceptual.depths == [2]  # VGG22 in its code.
    assert known["cpu-esrgan-x2-published"].losses == {"l1": 0.01, "vgg_raw_l1": 1.0, "adversarial": 0.005}
    assert (
        known["cpu-rrdb-x2-published"].optimiser.rate,
        known["cpu-esrgan-x2-published"].optimiser.rate,
    ) == (2e-4, 1e-4)
    for config in known.values():
        assert (config.optimiser.name, config.optimiser.head) == ("adam", 1.0)
    gans = [known[f"cpu-{name}-published"] for name in ("srgan-x2", "esrgan-x2", "miassr-gan")]
    assert [(one.critic.features, one.critic.steps, one.schedule) for one in gans] == [(64, 1, {})] * 3
    ours = known["cpu-mesr-paper-compound-published"]
    assert ours.critic.features == setting.budget.critic_features
    assert ours.schedule.keys() == {"adversarial"}


def test_what_is_ablated_differs_in_that_alone(setting: Setting) -> None:
    rows = [row for row in plan(["ablations"], setting) if row.group == "The network"]
    base, seed, *varied = rows
    assert of_another_seed(base.trainings[0]) == seed.trainings[0]
    base = base.trainings[0].config
    for row in varied:
        (one,) = row.trainings
        changed = one.config.model.args.items() - base.model.args.items()
        # Without a skip a first convolution that sees differences alone is at a loss, so both are changed together as well.
        assert len(changed) == (2 if one.name.endswith("no-skip-plain") else 1)
        assert replace(one.config, name=base.name, model=base.model) == base


def test_modalities_are_learned_together_where_there_are_several(setting: Setting) -> None:
    def together(setting: Setting) -> list[list[str]]:
        rows = [row for row in plan(["ablations"], setting) if row.group == "Training data and strategy"]
        found = [row.trainings[0].config.sampling.modalities for row in rows]
        return [one for one in found if one != ["CT"]]

    assert together(setting) == []
    learned = setting.source.training
    brain = replace(learned.scans[0], path="brain", patient="another", modality="MR", sites={"brain": [0, 9]})
    source = replace(setting.source, training=replace(learned, scans=[brain, *learned.scans]))
    assert together(setting._replace(source=source)) == [["CT", "MR"]]


def test_a_giant_is_named_with_what_stands_for_it(setting: Setting) -> None:
    told = {row.system: row.absent for row in _table2(setting, PUBLISHED) if row.absent}
    assert told["edsr"] == "not trained here: EDSR (32 × 96, reduced from 32 × 256) is"
    assert told["rdn-b"] == "not trained here: RDN-A is"
    assert told["meta-rdn-b"] == "not trained here: MetaRDN-A is"


def test_robustness_is_a_mean_over_patients_ct(setting: Setting) -> None:
    test = setting.source.test
    phantom = replace(test.scans[0], path="phantom", sites={"inserts": [0, 9]})
    brain = replace(test.scans[0], path="brain", modality="MR", sites={"brain": [0, 9]})
    source = replace(
        setting.source,
        test=replace(test, scans=[*test.scans, phantom, brain]),
        phantom=Path(test.root, "phantom"),
    )
    rows = plan(["robustness"], setting._replace(source=source))
    assert {row.sites for row in rows if row.group in DEGRADATIONS} == {("pelvis",)}
    # What MR scanners do is tried on MR as well.
    mr = [row for row in rows if row.group not in DEGRADATIONS]
    assert {(row.sites, row.degradation) for row in mr} == {(("brain",), "kspace")}
    assert [row.system for row in mr] == ["bicubic", "sinc", "mesr", *weights.ALIASES.values()]
    assert {row.group for row in plan(["robustness"], setting)} == {*DEGRADATIONS}


def test_an_l1_control_does_not_depend_on_the_vgg(setting: Setting) -> None:
    (one,) = (row for row in _table2(setting, EQUAL) if "steps more" in row.title)
    (other,) = (row for row in _table2(setting._replace(vgg="vgg16"), EQUAL) if "steps more" in row.title)
    assert one == other


def test_a_setting_that_came_later_changes_no_training_it_leaves_alone(setting: Setting) -> None:
    """What was kept before there was such a setting counts on."""
    (one,) = next(
        row for row in _table2(setting, EQUAL) if row.system == "mesr" and not row.control
    ).trainings
    assert "even" not in settings(one)["config"]["sampling"]
    assert "kernels" in settings(one)["config"]["sampling"]
    sampling = replace(one.config.sampling, even=0.25)
    other = replace(one, config=replace(one.config, sampling=sampling))
    assert settings(other)["config"]["sampling"]["even"] == 0.25
