"""Makes a world from a seed. Every value is invented; each project is drawn from its own stream of random numbers.

So a project is the same whatever else the world holds: more projects or more events change none of the earlier ones.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import TypeVar
from uuid import UUID

from kafka_pipeline.simulator.files import FileKind
from kafka_pipeline.simulator.names import EQUAL_NAME, HOSTILE_NAMES, FileName, plain_name
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.world import (
    Address,
    Customer,
    Email,
    ExternalLink,
    LinkForm,
    MediaItem,
    MediaShape,
    MfnPlace,
    Phone,
    Project,
    ProjectShape,
    Task,
    TeamMember,
    Template,
    VideoCollaboration,
    World,
)

_T = TypeVar("_T")

FIRST_PROJECT_ID = 900_001
FIRST_MEDIA_ID = 7_100_001
FIRST_TASK_ID = 8_200_001
FIRST_CALL_ID = 9_300_001
MEDIA_BLOCK = 100
BLOCK = 10

HISTORY = timedelta(days=7)
"""Everything happens within this span before the epoch."""

_FIRST_NAMES = ("Pat", "Robin", "Alex", "Sam", "Zo\u00eb", "Nu\u00f1o", "\u010capek", "Kim", "\u6587")
_LAST_NAMES = ("Sample", "Example", "O'Test", "van der Muster", "Beispiel", "Stra\u00dfe", "\u674e")
_KINDS = {"jpg": FileKind.JPEG, "pdf": FileKind.PDF, "mp4": FileKind.MP4}
_LOSSES = (("WATER", "Pipe"), ("HAIL", "Storm"), ("FIRE", None), ("WIND", "Hurricane"), (None, None))


def build_world(settings: SimulatorSettings) -> World:
    """Return the world of these settings; the same for the same seed, epoch and sizes."""
    return World(_project(settings, number) for number in range(settings.projects))


def _project(settings: SimulatorSettings, number: int) -> Project:
    rng = Random(f"{settings.seed}:project:{number}")
    project_id = FIRST_PROJECT_ID + number
    created = settings.epoch - HISTORY * rng.uniform(0.5, 1)
    shape = (ProjectShape.WRAPPED, ProjectShape.FLAT, ProjectShape.WRAPPED, ProjectShape.BARE)[number % 4]
    bare = shape is ProjectShape.BARE
    mfn = f"MFN-{project_id}-API" if rng.random() < 0.6 else None
    place = rng.choice((MfnPlace.MFN, MfnPlace.MASTER_FILE_NAME) if bare else tuple(MfnPlace))
    team = () if bare else _team(rng, project_id, mfn, place)
    if not team and place is MfnPlace.TEAM:
        place = MfnPlace.MFN
    media = _media(settings, rng, number, created)
    loss, cause = rng.choice(_LOSSES)
    tasks = tuple(
        _task(rng, FIRST_TASK_ID + number * BLOCK + i, project_id, created, media) for i in range(rng.choice((1, 1, 2)))
    )
    calls = tuple(
        _call(rng, FIRST_CALL_ID + number * BLOCK + i, project_id, created) for i in range(rng.choice((1, 1, 3)))
    )
    return Project(
        project_id=project_id,
        project_number=f"CLM-{number:06}-TEST",
        secondary_number=_maybe(rng, f"{number:08}"),
        created_date=_text(created),
        status=rng.choice(("Active", "IN_PROGRESS", "Closed")),
        date_of_loss=_maybe(rng, _text(created - timedelta(days=3)), 0.8),
        type_of_loss=loss,
        cause_of_loss=cause,
        loss_description=_maybe(rng, f"Invented loss {number}: ceiling \u201cwet\u201d,\nfloor wet ", 0.7),
        year_built=_maybe(rng, rng.randint(1890, 2025), 0.7),
        square_footage=_maybe(rng, rng.randint(300, 9000), 0.7),
        date_received=_maybe(rng, _text(created + timedelta(minutes=7)), 0.8),
        date_contacted=_maybe(rng, _text(created + timedelta(hours=5))),
        planned_inspection_date=_maybe(rng, _text(created + timedelta(days=2))),
        date_inspected=None,
        appointment_date=_maybe(rng, "2026-03-09"),
        custom_attribute1=_maybe(rng, f"A{number}"),
        custom_attribute2=_maybe(rng, "007"),
        custom_attribute3=None,
        custom_external_unique_id=_maybe(rng, f"EXT-{number:05}"),
        master_file_name=mfn,
        mfn_place=place,
        customer=_customer(rng, number),
        address=_address(rng, number),
        team=team,
        company_name=None if bare else _maybe(rng, "Example Mutual", 0.9),
        media=media,
        tasks=tasks,
        calls=calls,
        shape=shape,
        media_shape=MediaShape.SINGLE if len(media) == 1 and rng.random() < 0.5 else _media_shape(number),
    )


def _media_shape(number: int) -> MediaShape:
    shapes = [shape for shape in MediaShape if shape is not MediaShape.SINGLE]
    return shapes[number % len(shapes)]


def _team(rng: Random, project_id: int, mfn: str | None, place: MfnPlace) -> tuple[TeamMember, ...]:
    members = []
    for number in range(rng.choice((0, 1, 1, 2, 3))):
        known = mfn if place is MfnPlace.TEAM or rng.random() < 0.3 else None
        user = f"Rep{number}.{project_id}@example.com"
        later = f" {user} " if rng.random() < 0.15 else _maybe(rng, user.lower(), 0.9)
        members.append(
            TeamMember(
                user_name=later if number else user,
                primary_contact=rng.choice((True, False, None)) if number else True,
                mfn=known,
            )
        )
    return tuple(members)


def _customer(rng: Random, number: int) -> Customer | None:
    """One of the ways a policyholder is known: by e-mail, by phone, by name, by business, hardly, or not at all."""
    first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
    mail = f"{'Pat' if number % 2 else 'robin'}.Sample{number}@example.com"
    emails: tuple[Email, ...] = ()
    phones: tuple[Phone, ...] = ()
    business: str | None = None
    known_by = number % 10
    if known_by <= 4:
        emails = (Email(email_address=f"  {mail} " if known_by == 1 else mail, primary=known_by != 2),)
        if known_by == 3:
            emails = (Email(email_address=f"old.{number}@example.com", primary=False), *emails)
    if known_by in {0, 3, 5, 6}:
        code = rng.choice((1, 49, None))
        phones = (Phone(phone_number=f"(555) 010-{number % 10_000:04}", phone_country_code=code),)
        phones += (Phone(phone_number="555 0199 999", phone_country_code=1),) if known_by == 6 else ()
    if known_by == 7:
        phones = (Phone(phone_number="x 555", phone_country_code=None),)
        first, last = f"{first}\u00a0 A\u0301", f"{last}  {number}"
    if known_by == 9:
        if rng.random() < 0.3:
            return None
        business = _maybe(rng, f"Example  Bakery {number} GmbH", 0.6)
    anonymous = known_by == 9
    return Customer(
        first_name=None if anonymous else first,
        last_name=None if anonymous else last,
        custom_business_name=business,
        business_line_type=rng.choice(("PERSONAL", "COMMERCIAL", None)),
        emails=emails,
        phones=phones,
    )


def _address(rng: Random, number: int) -> Address | None:
    if rng.random() < 0.1:
        return None
    return Address(
        street1=f"{number + 1} Example Street",
        street2=_maybe(rng, "Unit 0\u00bd", 0.2),
        city="Sampletown",
        state_province="ZZ",
        zip_postcode=f"{number % 100_000:05}",
        county=_maybe(rng, "Test County", 0.3),
        country="US",
    )


def _media(settings: SimulatorSettings, rng: Random, number: int, created: datetime) -> tuple[MediaItem, ...]:
    mean = settings.media_per_project
    count = 0 if rng.random() < 0.03 else rng.randint(1, 2 * mean - 1)
    return tuple(_media_item(settings, rng, number, index, created) for index in range(count))


def _media_item(settings: SimulatorSettings, rng: Random, number: int, index: int, created: datetime) -> MediaItem:
    media_id = FIRST_MEDIA_ID + number * MEDIA_BLOCK + index
    name = _file_name(rng, number, index)
    kind = _KINDS.get((name.media_type or "").lower(), FileKind.JPEG)
    large = rng.random() < 0.01
    size = rng.randint(500_000, 3_000_000) if large else max(2_000, min(200_000, int(rng.lognormvariate(10.2, 0.9))))
    located = rng.random() < 0.5
    link = LinkForm.NONE if index and rng.random() < 0.02 else LinkForm.FILE_SERVICE
    if link is LinkForm.FILE_SERVICE and name.link_name is None and (large or rng.random() < 0.2):
        link = LinkForm.STORAGE
    return MediaItem(
        media_id=media_id,
        project_id=FIRST_PROJECT_ID + number,
        name=name,
        kind=kind,
        content_type=rng.choice((kind.value, kind.value, "application/octet-stream")),
        size_bytes=size,
        file_key=f"{settings.seed}:media:{media_id}",
        link=link,
        task_assignment_id=FIRST_TASK_ID + number * BLOCK if rng.random() < 0.1 else None,
        media_description=_maybe(rng, f"Invented view {index}", 0.4),
        media_comment=_maybe(rng, "wet \U0001f4a7", 0.2),
        latitude=round(rng.uniform(-80, 80), 5) if located else None,
        longitude=float(rng.randint(-170, 170)) if located else None,
        gps_source="DEVICE" if located else None,
        taken_date=_text(created + timedelta(minutes=index)) if located else None,
    )


def _file_name(rng: Random, number: int, index: int) -> FileName:
    if number % 5 == 0 and index < 2:
        return EQUAL_NAME
    if index % 3 == 2:
        return HOSTILE_NAMES[(number * 3 + index // 3) % len(HOSTILE_NAMES)]
    return plain_name(number * MEDIA_BLOCK + index, rng.choices(("jpg", "pdf", "mp4"), (80, 15, 5))[0])


def _task(rng: Random, assignment_id: int, project_id: int, created: datetime, media: tuple[MediaItem, ...]) -> Task:
    template_id = 4300 + rng.randrange(5)
    completed = rng.random() < 0.6
    template = Template(
        task_id=template_id,
        comp_id=77,
        name=f"Form {template_id}",
        description="Invented form" if template_id % 2 else None,  # a form is the same wherever it is assigned
        form_id=f"{template_id:024x}",
        form_name="Contents",
        enabled=True,
        default=template_id == 4300,
        is_external_link_delivery=True,
        allow_re_submit=True,
        modified_by="admin@example.com",
        modified_by_id=63,
        modified_date="2026-01-15T08:00:00.000+00:00",
    )
    link = ExternalLink(
        link_id=5_500_000 + assignment_id,
        link_code=f"EXAMPLE{assignment_id}",
        email=_maybe(rng, f"holder.{assignment_id}@example.com", 0.8),
        first_name="Pat",
        last_name="Sample",
        phone="5550100142",
        phone_country_code=1,
    )
    return Task(
        assignment_id=assignment_id,
        project_id=project_id,
        template=_maybe(rng, template, 0.9),
        template_id=template_id,
        task_name=f"Form {template_id}",
        status="COMPLETED" if completed else "ASSIGNED",
        assignor=f"rep0.{project_id}@example.com",
        assignee_id=61,
        assignor_id=62,
        date_assigned=_text(created + timedelta(hours=1)),
        date_completed=_text(created + timedelta(hours=20)) if completed else None,
        pdf_project_media_id=media[-1].media_id if media and completed else None,
        external_link=_maybe(rng, link, 0.8),
        media_ids=tuple(item.media_id for item in media[:2]) if completed else (),
    )


def _call(rng: Random, call_id: int, project_id: int, created: datetime) -> VideoCollaboration:
    seconds = rng.randint(10, 36_000) + rng.choice((0.0, 0.5, 0.25))
    held = rng.random() < 0.7
    started = created + timedelta(hours=3)
    return VideoCollaboration(
        video_collaboration_id=call_id,
        project_id=project_id,
        email_user_name=f"rep0.{project_id}@example.com",
        claim_rep_first_name="Robin",
        claim_rep_last_name="Example",
        number_of_videos=rng.randrange(3),
        number_of_photos=rng.randrange(9),
        number_of_viewers=rng.randrange(1, 4),
        session_count=int(held),
        total_time_seconds=seconds if held else 0.0,
        total_time=f"{int(seconds) // 60}:{int(seconds) % 60:02}" if held else "0:00",
        created_date=_text(created + timedelta(hours=2)),
        live_call_first_session=_text(started) if held else None,
        live_call_last_session=_text(started + timedelta(seconds=seconds)) if held else None,
        guid=str(UUID(int=rng.getrandbits(128), version=4)),
    )


def _maybe(rng: Random, value: _T, share: float = 0.5) -> _T | None:
    return value if rng.random() < share else None


def _text(moment: datetime) -> str:
    """Write a business date as the API does [CNV-3]."""
    return moment.isoformat(timespec="milliseconds")
