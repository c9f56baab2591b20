"""Pages of runs."""

from blazen_trio.abc import Cursor, Store
from blazen_trio.testing.promises.scene import NOON, create, header_of, parked, write


async def runs_are_listed_newest_first(store: Store) -> None:
    for run_id, age_s in (("b", 2), ("a", 3), ("c", 1)):
        await create(store, run_id, now=NOON - age_s)
    assert await _ids(store) == ["c", "b", "a"]


async def an_empty_store_lists_nothing(store: Store) -> None:
    assert await store.list_runs() == []


async def a_listed_run_is_the_one_that_info_gives(store: Store) -> None:
    fence = await create(store, labels={"a": "b"})
    await write(store, "run", fence, header=header_of("awaiting_input", NOON + 1, pending_inputs=b"questions"))
    assert await store.list_runs() == [await store.info("run")]


async def pages_hold_each_run_once(store: Store) -> None:
    names = [f"{number:02}" for number in range(10)]
    for number, name in enumerate(names):
        await create(store, name, now=NOON + number // 4)  # some are as old as others
    for size in (1, 3, 10, 11):
        assert await _all_pages(store, size) == names[::-1]


async def paging_goes_on_though_the_last_run_was_deleted(store: Store) -> None:
    for name in "abc":
        await parked(store, name)
    first = await store.list_runs(limit=2)
    await store.delete(first[-1].run_id)
    assert [run.run_id for run in await store.list_runs(after=first[-1].cursor)] == ["a"]


async def lists_are_filtered_by_status_and_workflow(store: Store) -> None:
    for number, (status, workflow) in enumerate([("running", "x"), ("paused", "x"), ("paused", "y"), ("failed", "y")]):
        await parked(store, f"{number}", status=status, workflow_name=workflow, now=NOON + number)
    assert await _ids(store, status="paused") == ["2", "1"]
    assert await _ids(store, workflow="x") == ["1", "0"]
    assert await _ids(store, status="paused", workflow="y") == ["2"]
    assert await _ids(store, status="aborted") == []
    for absent in ("z", "", "\ud800", "x\0"):
        assert await _ids(store, workflow=absent) == []
    page = await store.list_runs(status="paused", limit=1)
    assert await _ids(store, status="paused", after=page[0].cursor) == ["1"]
    assert await _ids(store, workflow="y", limit=1) == ["3"]


async def a_list_follows_the_changes(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, header=header_of("completed"), release=True)
    assert await _ids(store, status="running") == []
    assert await _ids(store, status="completed") == ["run"]


async def _ids(store: Store, **options: object) -> list[str]:
    return [run.run_id for run in await store.list_runs(**options)]  # type: ignore[arg-type]


async def _all_pages(store: Store, limit: int) -> list[str]:
    found: list[str] = []
    after: Cursor | None = None
    while page := await store.list_runs(limit=limit, after=after):
        found += [run.run_id for run in page]
        after = page[-1].cursor
    return found
