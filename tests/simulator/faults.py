"""What goes wrong in a schedule: drawn from the seed, each for a while, and all over at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator.model import Mood
from tests.simulator.scheduler import Process
from tests.simulator.source import TOPIC

from streampipeline.jobconfig import EngineName

if TYPE_CHECKING:
    from tests.simulator.world import World

LAST_SECONDS = 40.0
"""No fault begins later."""
MOST_PARTITIONS = 4
SPELLS = (
    "API server unreliable",
    "broker slow",
    "checkpoints are slow",
    "flink is slow",
    "model away",
    "partition quiet",
    "sink fails",
    "sink slow",
)
BLOWS = (
    "drill",
    "flink dies",
    "flink freezes",
    "flink's job fails",
    "operator dies",
    "pin",
    "taskmanager dies",
)
Step = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """`end` is called once it is over; it may come while others last."""

    begin: Step
    end: Step = lambda: None


class Faults:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self.over = False
        self.healed_ms = 0
        """When the last one was over, ms."""
        self._last_end = LAST_SECONDS / 2
        self._kinds: dict[str, Callable[[], Fault]] = {
            "flink dies": self._flink_dies,
            "flink freezes": self._flink_freezes,
            "taskmanager dies": lambda: Fault(world.flink.lose_taskmanager),
            "flink's job fails": lambda: Fault(world.flink.fail_job),
            "flink is slow": lambda: self._switch(world.flink, "slow"),
            "checkpoints are slow": lambda: self._switch(world.flink, "slow_checkpoints"),
            "dask dies": self._dask_dies,
            "dask's worker dies": lambda: Fault(world.dask.lose_worker),
            "dask's driver dies": lambda: Fault(self._kill_drivers),
            "dask's driver freezes": self._drivers_freeze,
            "dask cannot start": lambda: self._switch(world.dask, "broken"),
            "broker down": lambda: self._switch(world.broker, "up", on=False),
            "broker slow": lambda: self._switch(world.broker, "slow"),
            "sink down": lambda: self._switch(world.influxdb, "up", on=False),
            "sink fails": lambda: self._switch(world.influxdb, "failing"),
            "sink slow": lambda: self._switch(world.influxdb, "slow"),
            "model away": self._model_away,
            "operator dies": self._operator_dies,
            "repair dies": lambda: Fault(world.place.kill_repair),
            "API server away": lambda: self._switch(world.place, "answers", on=False),
            "API server unreliable": self._unreliable,
            "drill": self._drill,
            "pin": self._pin,
            "suspended": lambda: self._switch(world.control, "suspended"),
            "partition added": lambda: Fault(self._add_partition),
            "partition quiet": self._quiet,
            "source silent": lambda: self._switch(world.source, "sending", on=False),
        }

    def plan(self) -> None:
        """Draw them, and call them when their time has come.

        A spell of what both engines need, blows that make the engines change within it, and whatever else.
        """
        random = self._scheduler.random
        everything = sorted(self._kinds)
        self._add(random.choice(SPELLS), random.uniform(4, 20), random.uniform(10, 45))
        for _ in range(random.randint(1, 2)):
            self._add(random.choice(BLOWS), random.uniform(8, LAST_SECONDS), random.uniform(0.5, 25))
        for _ in range(random.randint(0, 2)):
            self._add(random.choice(everything), random.uniform(4, LAST_SECONDS), random.uniform(0.1, 15))
        self._scheduler.call(self._last_end + 1, self._heal)

    def _add(self, name: str, at: float, seconds: float) -> None:
        fault = self._kinds[name]()
        self._scheduler.call(at, self._step(f"{name} begins, for {seconds:.1f} s", fault.begin))
        self._scheduler.call(at + seconds, self._step(f"{name} ends", fault.end))
        self._last_end = max(self._last_end, at + seconds)

    def _step(self, text: str, step: Step) -> Step:
        def carry_out() -> None:
            self._scheduler.note(f"FAULT: {text}")
            step()

        return carry_out

    def _heal(self) -> None:
        self.over = True
        self.healed_ms = self._scheduler.now_ms
        self._world.source.calm = True
        self._world.source.quiet = frozenset()
        self._scheduler.note("all faults are over")

    @staticmethod
    def _switch(of: object, name: str, *, on: bool = True) -> Fault:
        return Fault(lambda: setattr(of, name, on), lambda: setattr(of, name, not on))

    # Engines

    def _flink_dies(self) -> Fault:
        flink = self._world.flink

        def begin() -> None:
            flink.stop()
            flink.held_down = True

        return Fault(begin, lambda: setattr(flink, "held_down", False))

    def _flink_freezes(self) -> Fault:
        return Fault(self._world.flink.freeze, self._world.flink.thaw)

    def _dask_dies(self) -> Fault:
        dask = self._world.dask

        def begin() -> None:
            dask.lose_scheduler()
            dask.held_down = True

        return Fault(begin, lambda: setattr(dask, "held_down", False))

    def _kill_drivers(self) -> None:
        for epoch in self._world.dask.drivers:
            self._world.dask.kill_driver(epoch)

    def _drivers_freeze(self) -> Fault:
        frozen: list[Process] = []

        def end() -> None:
            for process in frozen:
                self._scheduler.thaw(process)

        return Fault(lambda: frozen.extend(self._world.dask.freeze_drivers()), end)

    # What both need

    def _model_away(self) -> Fault:
        model = self._world.model
        mood = self._scheduler.random.choice((Mood.DOWN, Mood.FAILING, Mood.NONSENSE))
        return Fault(lambda: setattr(model, "mood", mood), lambda: setattr(model, "mood", Mood.WELL))

    # The control plane, and who commands it

    def _operator_dies(self) -> Fault:
        seconds = self._scheduler.random.choice((0.0, 1.0, 8.0))
        return Fault(lambda: self._world.control.kill(seconds))

    def _unreliable(self) -> Fault:
        place = self._world.place
        return Fault(lambda: setattr(place, "unreliable", 0.5), lambda: setattr(place, "unreliable", 0.0))

    def _command(self, **changes: object) -> None:
        control = self._world.control
        control.controls = control.controls.model_copy(update=changes)

    def _drill(self) -> Fault:
        return Fault(lambda: self._command(drill=f"at {self._scheduler.seconds:.0f}"))

    def _pin(self) -> Fault:
        engine = self._scheduler.random.choice((EngineName.FLINK, EngineName.DASK))
        return Fault(lambda: self._command(pin=engine), lambda: self._command(pin=None))

    # The topic

    def _add_partition(self) -> None:
        logs = self._world.broker.topics[TOPIC]
        if len(logs) < MOST_PARTITIONS:
            logs.append(type(logs[0])())

    def _quiet(self) -> Fault:
        source = self._world.source

        def begin() -> None:
            count = len(self._world.broker.topics[TOPIC])
            source.quiet = frozenset({self._scheduler.random.randrange(count)})

        return Fault(begin, lambda: setattr(source, "quiet", frozenset()))
