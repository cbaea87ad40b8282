"""What happens in a world within the days before the epoch: the story that the feed then tells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.builder import HISTORY
from kafka_pipeline.simulator.invitee import Invitee, draw_invitee
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.world import LinkForm, Project, World

_WEIGHTS = {
    words.PROJECT_FILE_ADDED: 78,
    words.PROJECT_MFN_ADDED: 10,
    words.CUSTOM_TASK_ASSIGNED: 5,
    words.CUSTOM_TASK_COMPLETED: 5,
    words.POLICYHOLDER_INVITED: 3,
    words.POLICYHOLDER_JOINED: 3,
    words.VIDEO_COLLABORATION_INVITE_SENT: 3,
    words.VIDEO_COLLABORATION_COMPLETED: 3,
} | dict.fromkeys(words.UNROUTED_TYPES, 1.2)
"""How often each type is reported, beside one creation per project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened to a project."""

    at: datetime
    event_type: str
    project_id: int
    media_id: int | None = None
    media_ids: tuple[int, ...] | None = None
    task_assignment_id: int | None = None
    video_collaboration_id: int | None = None
    master_file_name: str | None = None
    invitee: Invitee | None = None
    """Whom an invitation or arrival names."""


def happenings(settings: SimulatorSettings, world: World, rng: Random) -> list[Happening]:
    """Return `settings.proper_events` happenings in order of time, each project's creation before its others.

    Every file that can be fetched is reported before one is reported again. Raises ValueError where there are fewer
    events than creations, or events but nothing that could be told.
    """
    total = settings.proper_events
    created = [_Storyteller(settings, project, rng) for project in world.projects.values()]
    story = [teller.creation() for teller in created] if words.PROJECT_CREATED in settings.event_types else []
    if len(story) > total:
        raise ValueError(f"{total} proper events leave no room for {len(story)} projects: more events, fewer projects")
    tellers = [teller for teller in created if teller.event_types]
    if len(story) < total and not tellers:
        raise ValueError("these event_types leave nothing to tell about these projects")
    for number in range(total - len(story)):
        teller = tellers[number] if number < len(tellers) else rng.choice(tellers)
        story.append(teller.next())
    return sorted(story, key=lambda happening: happening.at)


class _Storyteller:
    """Tells what happens to one project."""

    def __init__(self, settings: SimulatorSettings, project: Project, rng: Random) -> None:
        self._project = project
        self._rng = rng
        self._people = Random(f"{settings.seed}:people:{project.project_id}")
        self._epoch = settings.epoch
        self._created = settings.epoch - HISTORY * rng.uniform(0.2, 1)
        self._files = [item.media_id for item in project.media if item.link is not LinkForm.NONE]
        self._told: dict[str, int] = {}
        impossible = {words.PROJECT_CREATED}
        impossible |= set() if self._files else {words.PROJECT_FILE_ADDED}
        impossible |= set() if project.tasks else words.TASK_TYPES
        impossible |= set() if project.calls else words.VIDEO_TYPES
        self.event_types = [name for name in settings.event_types if name not in impossible]
        self._weights = [_WEIGHTS[name] for name in self.event_types]

    def creation(self) -> Happening:
        """Tell that the project came to be."""
        return Happening(at=self._created, event_type=words.PROJECT_CREATED, project_id=self._project.project_id)

    def next(self) -> Happening:
        """Tell anything else, at any later moment."""
        rng, project = self._rng, self._project
        event_type = rng.choices(self.event_types, self._weights)[0]
        at = self._created + (self._epoch - self._created) * rng.random()
        told = Happening(at=at, event_type=event_type, project_id=project.project_id)
        number = self._told[event_type] = self._told.get(event_type, -1) + 1
        if event_type == words.PROJECT_FILE_ADDED:
            return replace(told, media_id=self._files[number % len(self._files)])
        if event_type == words.PROJECT_MFN_ADDED:
            own = f"MFN-{project.project_id}-{number:02}"
            same = project.master_file_name is not None and rng.random() < 0.7
            return replace(told, master_file_name=project.master_file_name if same else own)
        if event_type in words.TASK_TYPES:
            task = rng.choice(project.tasks)
            listed = task.media_ids if event_type == words.CUSTOM_TASK_COMPLETED else None
            return replace(told, task_assignment_id=task.assignment_id, media_ids=listed)
        if event_type in words.VIDEO_TYPES:
            return replace(told, video_collaboration_id=rng.choice(project.calls).video_collaboration_id)
        if event_type in words.POLICYHOLDER_TYPES:
            return replace(told, invitee=draw_invitee(self._people, project, at, number))
        return told
