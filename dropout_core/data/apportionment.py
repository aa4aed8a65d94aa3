"""Apportionment: whole rows of each class for each part of a stratified split."""

import heapq
import itertools
from collections.abc import Sequence

Cell = tuple[int, int]
"""A row and a column of a table."""


def apportion(counts: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Return the number of rows of each class in each part, each within one row of its share.

    Rows of the table sum to `counts`, columns to `sizes`. Controlled rounding (Cox 1987): round
    down, then push the remainders around cycles of cells, which changes no sum, until every cell
    is whole. With three parts, at most two classes are unfinished at a time.
    """
    total = sum(sizes)
    table = [[count * size // total for size in sizes] for count in counts]
    left_over = [[count * size % total for size in sizes] for count in counts]
    unfinished: list[int] = []
    for row in range(len(counts)):
        unfinished.append(row)
        while cycle := _find_cycle(left_over, unfinished):
            _push(table, left_over, cycle, total)
        unfinished = [row for row in unfinished if any(left_over[row])]
    return table


def give_each_a_first(table: list[list[int]]) -> None:
    """Give each class that has rows one in the first part; change the sizes only if it has to.

    For each such row, the class with the most rows in the first part gives one of them back.
    """
    donors = [(-row[0], index) for index, row in enumerate(table) if row[0] > 1]
    heapq.heapify(donors)
    for row in table:
        if row[0] or not any(row):
            continue
        part = max(range(1, len(row)), key=row.__getitem__)
        row[part] -= 1
        row[0] += 1
        if donors:
            num_rows, index = heapq.heappop(donors)
            table[index][0] -= 1
            table[index][part] += 1
            if num_rows + 1 < -1:
                heapq.heappush(donors, (num_rows + 1, index))


def _find_cycle(left_over: list[list[int]], rows: list[int]) -> list[tuple[Cell, Cell]]:
    """Return cells with a remainder, two in each of two or three rows and columns."""
    for length in (2, 3):
        for chosen in itertools.combinations(rows, length):
            for columns in itertools.permutations(range(len(left_over[0])), length):
                following = columns[1:] + columns[:1]
                cycle = [
                    ((row, column), (row, next_column))
                    for row, column, next_column in zip(chosen, columns, following, strict=True)
                ]
                if all(left_over[row][column] for pair in cycle for row, column in pair):
                    return cycle
    return []


def _push(
    table: list[list[int]],
    left_over: list[list[int]],
    cycle: list[tuple[Cell, Cell]],
    total: int,
) -> None:
    """Move around the cycle just as much as makes one cell whole."""
    amount = min(
        min(total - left_over[row][column], left_over[row][next_column])
        for (row, column), (_, next_column) in cycle
    )
    for (row, column), (_, next_column) in cycle:
        left_over[row][column] += amount
        left_over[row][next_column] -= amount
        if left_over[row][column] == total:
            left_over[row][column] = 0
            table[row][column] += 1
