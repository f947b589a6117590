"""The control plane: the shipped ground and executor in a loop of look, decide, store, act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from tests.simulator.scheduler import Process, Scheduler

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import State, decide, worth_writing
from streampipeline.decide import actions as act
from streampipeline.decide.observed import Controls, Observed
from streampipeline.engine_ground import EngineGround
from streampipeline.ground import Executor
from streampipeline.jobconfig import PipelineConfig
from streampipeline.topics import ensure_topics
from streampipeline_operator.preparation import PAUSE_SECONDS

TURN_SECONDS = (0.1, 1.0)
"""Between two turns: the product's bells ring at any time."""


@dataclass
class Control:
    """One operator after another. What is stored outlives them; all else of them dies with them."""

    scheduler: Scheduler
    config: PipelineConfig
    make_ground: Callable[[], EngineGround]
    can_store: Callable[[], bool]
    """Whether the API server takes a status."""
    controls: Controls = field(default_factory=Controls)
    suspended: bool = False
    stored: str = ""
    """`.status.state`: the state as JSON."""
    observed: Observed | None = None
    """The newest look."""
    ground: EngineGround | None = None
    state_now: State | None = None
    """As the operator that runs has it."""
    events: list[str] = field(default_factory=list)
    _process: Process | None = None
    _starts: int = 0

    @property
    def state(self) -> State:
        """As it is stored."""
        return State.model_validate_json(self.stored)

    @property
    def running(self) -> bool:
        """Whether an operator runs."""
        return self._process is not None

    def start(self) -> None:
        """Start the next operator."""
        self._starts += 1
        self._process = Process(f"operator-{self._starts}")
        self.scheduler.start(self._process, self._run, "loop")

    def kill(self, seconds: float) -> None:
        """Kill it wherever it stands; the next one starts after some time."""
        if self._process is not None:
            self.scheduler.kill(self._process)
            self._process = self.ground = self.observed = None
            self.scheduler.call(seconds, self.start)

    def _spec(self) -> StreamPipelineSpec:
        return self.config.spec.model_copy(update={"suspend": self.suspended})

    def _ensure_topics(self) -> None:
        """As the operator's preparation does: again, until the broker answers."""
        while True:
            try:
                return ensure_topics(self.config)
            except KafkaException as error:
                self.scheduler.note(f"not prepared: {error}")
                self.scheduler.sleep(PAUSE_SECONDS)

    def _run(self) -> None:
        state = self.state if self.stored else State.initial(self.scheduler.now_ms)
        self._ensure_topics()
        ground = self.make_ground()
        executor = Executor(
            ground.carry_out, ground.not_asked, [act.Repair], clock=lambda: self.scheduler.seconds
        )
        self.ground = ground
        while True:
            ground.controls = self.controls
            observed = ground.observe(state)
            if state.origin is None or ground.looked:
                decision = decide(observed, state, self.scheduler.now_ms, self._spec())
                self.scheduler.pause(0.0, 0.002)
                if worth_writing(state, decision.state):
                    if not self.can_store():
                        self.scheduler.sleep(1.0)
                        continue  # this decision is void
                    self.stored = decision.state.model_dump_json(by_alias=True)
                    self.scheduler.pause(0.001, 0.02)
                state = self.state_now = decision.state
                self.observed = observed
                for event in decision.events:
                    self.events.append(event.reason)
                    self.scheduler.note(f"event: {event.reason}: {event.message}")
                executor.apply(decision.actions)
            self.scheduler.pause(*TURN_SECONDS)
