import threading
from dataclasses import replace

import pytest

from alerts.records import RequestStatus, RetrainingRequest
from detectors.records import Action, Deployment, Mode
from storage.engine import Database
from storage.retraining import (
    RequestChange,
    RequestStateError,
    UnknownRequestError,
    add_request,
    change_status,
    get_request,
    list_requests,
    request_history,
    save_judged,
)
from tests.storage.rows import DAY, START, VERMONT

REQUEST = RetrainingRequest(
    id="ret_1",
    deployment=VERMONT,
    incident_id="inc_1",
    mode=Mode.CONCEPT_SHIFT,
    action=Action("re-fit head", "domain", "week", "loss back inside the margin", retraining=True),
    reason="loss is up",
    requested_at=START,
    since=START - 7 * DAY,
    until=START,
    rows=1200,
)


def add(database: Database, *requests: RetrainingRequest) -> list[bool]:
    with database.write() as session:
        return [add_request(session, request) for request in requests]


def move(database: Database, status: RequestStatus, by: str = "ada") -> RetrainingRequest:
    with database.write() as session:
        return change_status(session, "ret_1", status, by=by, now=START + DAY, words="fine")


def test_a_request_is_stored_once(database: Database) -> None:
    assert add(database, REQUEST, replace(REQUEST, reason="again")) == [True, False]
    with database.read() as session:
        assert get_request(session, "ret_1") == REQUEST
        assert request_history(session, "ret_1") == (RequestChange(START, RequestStatus.REQUESTED),)


def test_every_step_is_kept_with_who_took_it(database: Database) -> None:
    add(database, REQUEST)
    approved = move(database, RequestStatus.APPROVED)
    assert move(database, RequestStatus.APPROVED, by="bob") == approved
    move(database, RequestStatus.COMPLETED, by="bob")
    with database.read() as session:
        assert get_request(session, "ret_1") == replace(
            REQUEST,
            status=RequestStatus.COMPLETED,
            decided_at=START + DAY,
            decided_by="bob",
        )
        steps = [(step.status, step.by) for step in request_history(session, "ret_1")]
    assert steps == [("requested", ""), ("approved", "ada"), ("completed", "bob")]


@pytest.mark.parametrize(
    ("taken", "asked", "choices"),
    [
        ([RequestStatus.REJECTED], RequestStatus.APPROVED, "nothing, it is closed"),
        ([RequestStatus.COMPLETED], RequestStatus.REJECTED, "nothing, it is closed"),
        ([RequestStatus.COMPLETED], RequestStatus.VERIFIED, "nothing, it is closed"),
        ([RequestStatus.REQUESTED], RequestStatus.RUNNING, "approved, rejected, completed"),
        ([RequestStatus.REJECTED], RequestStatus.COMPLETED, "nothing, it is closed"),
        ([RequestStatus.APPROVED], RequestStatus.REQUESTED, "running, rejected, completed"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_with_the_choices(
    database: Database, taken: list[RequestStatus], asked: RequestStatus, choices: str
) -> None:
    add(database, REQUEST)
    for step in taken:
        move(database, step)
    with pytest.raises(RequestStateError, match=choices):
        move(database, asked)
    with database.read() as session:
        assert get_request(session, "ret_1").status is taken[-1]


def test_requests_are_found_by_deployment_status_and_time(database: Database) -> None:
    later = replace(REQUEST, id="ret_2", requested_at=START + DAY)
    other = replace(REQUEST, id="ret_3", deployment=Deployment("credit", "NH"))
    add(database, REQUEST, later, other)
    with database.read() as session:
        assert list_requests(session, VERMONT) == (later, REQUEST)
        assert list_requests(session, since=START + DAY) == (later,)
        assert list_requests(session, status=RequestStatus.APPROVED) == ()
        assert set(list_requests(session)) == {REQUEST, later, other}
        with pytest.raises(UnknownRequestError, match="ret_9"):
            get_request(session, "ret_9")


def complete(database: Database, version: str) -> RetrainingRequest:
    with database.write() as session:
        return change_status(
            session,
            "ret_1",
            RequestStatus.COMPLETED,
            by="ada",
            now=START + DAY,
            version=version,
            served_since=START + DAY,
        )


def test_a_request_completed_twice_keeps_its_version(database: Database) -> None:
    """The same again changes nothing, another version is refused."""
    add(database, REQUEST)
    done = complete(database, "7")
    assert (done.version, done.served_since) == ("7", START + DAY)
    assert complete(database, "7") == done
    with pytest.raises(RequestStateError, match="with version '7' and stays so; that is not '8'"):
        complete(database, "8")
    with database.read() as session:
        assert get_request(session, "ret_1") == done
        assert len(request_history(session, "ret_1")) == 2


def test_only_evidence_ends_the_test_of_a_completed_request(database: Database) -> None:
    add(database, REQUEST)
    verified = replace(REQUEST, status=RequestStatus.VERIFIED, outcome="back", judged_at=START)
    with database.write() as session:
        assert not save_judged(session, verified)
    done = complete(database, "7")
    verified = replace(done, status=RequestStatus.VERIFIED, outcome="back", judged_at=START)
    for expected in (True, False):
        with database.write() as session:
            assert save_judged(session, verified) is expected
    with database.read() as session:
        assert get_request(session, "ret_1") == verified
        assert [step.status for step in request_history(session, "ret_1")] == [
            "requested",
            "completed",
            "verified",
        ]


def test_of_two_who_take_different_steps_at_once_one_is_refused(database: Database) -> None:
    add(database, REQUEST)
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def person(status: RequestStatus) -> None:
        start.wait()
        try:
            outcomes.append(move(database, status, by=status.value).status.value)
        except RequestStateError:
            outcomes.append("refused")

    steps = [RequestStatus.REJECTED, RequestStatus.COMPLETED] * 2
    people = [threading.Thread(target=person, args=(step,)) for step in steps]
    for one in people:
        one.start()
    for one in people:
        one.join()
    with database.read() as session:
        ended = get_request(session, "ret_1").status.value
        assert len(request_history(session, "ret_1")) == 2
    assert sorted(outcomes) == sorted([ended, ended, "refused", "refused"])
