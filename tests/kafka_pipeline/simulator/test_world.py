"""The world has what breaks readers: hostile names, equal names, and every accepted frame and spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kafka_pipeline.simulator import shapes
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.names import EQUAL_NAME, HOSTILE_NAMES
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.world import LinkForm, MediaShape, MfnPlace, ProjectShape, World


@pytest.fixture(scope="module")
def world() -> World:
    """Give the world of the default settings."""
    return build_world(SimulatorSettings())


def test_a_world_depends_on_its_seed_alone(world: World) -> None:
    """More events or more projects change none of the earlier projects; another seed changes them."""
    larger = build_world(SimulatorSettings(projects=120, events=5000))
    assert world.projects == {key: larger.projects[key] for key in world.projects}
    assert world.projects != build_world(SimulatorSettings(seed=2)).projects


def test_every_hostile_name_occurs(world: World) -> None:
    """The default world has all of them, and two files of one name within one project."""
    assert set(HOSTILE_NAMES) <= {item.name for item in world.media.values()}
    assert any(sum(item.name == EQUAL_NAME for item in project.media) == 2 for project in world.projects.values())


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_safe_name_is_safe(name: Any) -> None:
    """What the table says keeps to the rules of BLB-2 that hold for any result."""
    safe = name.safe.replace("{media_id}", "7100001")
    assert 0 < len(safe.encode()) <= 255
    assert not set(safe) & set('<>:"/\\|?*%#&')
    assert all(char.isprintable() for char in safe)
    assert safe == safe.strip(". ")
    assert "__" not in safe
    assert "  " not in safe


def test_every_frame_form_and_place_occurs(world: World) -> None:
    """Each way to answer is used by some project."""
    projects = world.projects.values()
    assert set(ProjectShape) == {project.shape for project in projects}
    assert set(MediaShape) == {project.media_shape for project in projects}
    assert set(MfnPlace) == {project.mfn_place for project in projects}
    assert set(LinkForm) == {item.link for item in world.media.values()}
    assert any(not project.media for project in projects)


def test_files_are_mostly_small_and_some_are_large(world: World) -> None:
    """Between 2 and 200 KB, but for a few of up to 3 MB."""
    sizes = sorted(item.size_bytes for item in world.media.values())
    large = [size for size in sizes if size > 200_000]
    assert sizes[0] >= 2_000
    assert 0 < len(large) < len(sizes) * 0.05
    assert sizes[-1] <= 3_000_000


def test_a_bare_export_has_no_team_and_no_company(world: World) -> None:
    """What the frame cannot show, the world does not know."""
    bare = [project for project in world.projects.values() if project.shape is ProjectShape.BARE]
    assert all(not project.team and project.company_name is None for project in bare)
    assert all(shapes.project_export(project)["projectId"] == project.project_id for project in bare)


def test_the_master_file_name_stands_in_its_place_only(world: World) -> None:
    """With `TEAM` only the first member has it; otherwise the project object does, under its key."""
    for project in world.projects.values():
        if project.master_file_name is None:
            assert all(member.mfn is None for member in project.team)
            continue
        body = shapes.project_export(project)
        body = body.get("data", body)
        inner = body.get("project", body)
        found = {key: inner.get(key) for key in ("mfn", "masterFileName") if inner.get(key)}
        if project.mfn_place is MfnPlace.TEAM:
            assert ({}, project.master_file_name) == (found, body["teamMembers"][0]["mfn"])
        else:
            assert {project.mfn_place.value: project.master_file_name} == found


def test_answers_spell_ids_and_numbers_in_every_way(world: World) -> None:
    """Text, padded text and floats for ids; floats and fractions for numbers; all spellings of the media id."""
    exports = json.dumps([shapes.project_export(project) for project in world.projects.values()])
    lists = json.dumps([shapes.media_list(project, lambda _: "x") for project in world.projects.values()])
    for mark in ('"projectId": "9000', '"projectId": " 9000', "1990.7", '"customerInformation": {}', '"emails": []'):
        assert mark in exports, mark
    for mark in ('"mediaID"', '"mediaId"', '"media_id"', '"taskAssignmentID"', "stale.jpg", "no id.jpg", ".0,"):
        assert mark in lists, mark


def test_a_stale_copy_stands_before_its_item(world: World) -> None:
    """Where an id is listed twice, the later one is the true one."""
    stale = 0
    for project in world.projects.values():
        text = json.dumps(shapes.media_list(project, lambda item: str(item.media_id)))
        if "stale.jpg" in text:
            stale += 1
            assert text.index("stale.jpg") < text.rindex(str(project.media[-1].media_id))
    assert stale
