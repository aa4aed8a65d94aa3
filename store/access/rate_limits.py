"""Request rates of tenants, over all processes and machines that share the database.

Each tenant has a token bucket. The row stores the time at which the bucket is full again, which
gives its level at any time (the generic cell rate algorithm: ITU-T I.371, annex A).
"""

from sqlalchemy import Connection, case, select

from store.database.tables import database_now, request_rates, upsert


def draw(
    connection: Connection, *, tenant: str, num_tokens: int, per_second: float, burst: int
) -> float:
    """Take tokens from the tenant's bucket and return 0.0; if it has too few, take none and return
    the seconds until it has enough. `num_tokens` is at most `burst`, the size of the bucket.
    """
    now = database_now()
    cost_seconds = num_tokens / per_second
    full_at = request_rates.c.full_at
    # A bucket that is full later than an empty one was drawn from before the clock was set back.
    is_filling = full_at.between(now, now + burst / per_second)
    drawn_until = case((is_filling, full_at), else_=now) + cost_seconds
    query = (
        upsert(connection, request_rates)
        .values(tenant=tenant, full_at=now + cost_seconds)
        .on_conflict_do_update(
            index_elements=[request_rates.c.tenant],
            set_={"full_at": drawn_until},
            where=drawn_until <= now + burst / per_second,
        )
        .returning(full_at)
    )
    if connection.execute(query).scalar() is not None:
        return 0.0
    wait_seconds = full_at + cost_seconds - burst / per_second - now
    waiting = select(wait_seconds).where(request_rates.c.tenant == tenant)
    return max(0.001, float(connection.execute(waiting).scalar_one()))
