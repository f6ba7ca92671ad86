"""Whether a history of one znode is linearizable: Wing and Gong's search with Lowe's memory of what was tried.

An operation was asked at `start` and answered at `end`; one that was never answered has no end and may have happened
at any time behind its start, or not at all. The state of a znode is None or (data, version).
"""

import dataclasses
import math

NO_NODE, BAD_VERSION, NODE_EXISTS = -101, -103, -110


@dataclasses.dataclass
class Operation:
    """`kind` is create, set, delete or read; `error` the answer's code. `seen` is what a read showed, (data, version), or
    the version that a set was answered with; both are None where there was no answer."""

    kind: str
    start: float
    end: float | None = None
    data: bytes | None = None
    version: int = -1
    error: int | None = None
    seen: object = None


def outcome(state, operation):
    """(error, what is seen, the state behind it) of an operation on this state."""
    if operation.kind == "create":
        return (0, None, (operation.data, 0)) if state is None else (NODE_EXISTS, None, state)
    if state is None:
        return NO_NODE, None, None
    if operation.kind == "read":
        return 0, state, state
    if operation.version not in (-1, state[1]):
        return BAD_VERSION, None, state
    if operation.kind == "delete":
        return 0, None, None
    return 0, state[1] + 1, (operation.data, state[1] + 1)


def linearizable(history, state=None):
    """Whether some order of the operations, each between its start and its end, explains all answers."""
    operations = sorted((operation for operation in history if operation.end is not None), key=lambda operation: operation.start)
    # What was never answered and would change nothing doesn't matter: it need not have happened.
    unanswered = [operation for operation in history if operation.end is None and operation.kind != "read"]
    everything = (1 << len(operations)) - 1

    def next_states(done, happened, state):
        limit, candidates, index = math.inf, [], (~done & (done + 1)).bit_length() - 1
        while index < len(operations) and operations[index].start <= limit:
            if not done >> index & 1:
                candidates.append(index)
                limit = min(limit, operations[index].end)
            index += 1
        candidates.sort(key=lambda index: operations[index].end)
        for index in candidates:
            operation = operations[index]
            if operation.start <= limit:
                error, seen, after = outcome(state, operation)
                if (error, seen) == (operation.error, operation.seen):
                    yield done | 1 << index, happened, after
        for index, operation in enumerate(unanswered):
            if not happened >> index & 1 and operation.start <= limit:
                after = outcome(state, operation)[2]
                if after != state:
                    yield done, happened | 1 << index, after

    tried, stack = set(), [next_states(0, 0, state)]
    if not operations:
        return True
    while stack:
        for configuration in stack[-1]:
            if configuration[0] == everything:
                return True
            if configuration not in tried:
                tried.add(configuration)
                stack.append(next_states(*configuration))
                break
        else:
            stack.pop()
    return False
