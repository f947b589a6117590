"""What the values of a window depend on and may be edited: the part of the spec that makes a generation."""

from __future__ import annotations

from collections.abc import Iterable

from streampipeline.api.problems import Problem
from streampipeline.api.spec import Aggregate, Function, Model, ModelRef, OutputType, StreamPipelineSpec

_UNBOUND = ("timeout_seconds", "attempts")
"""Of the model: how it is asked, not what it answers."""


class Definition(Model):
    """Two specs of one definition give equal values to equal windows."""

    aggregates: tuple[Aggregate, ...]
    model: ModelRef
    """`timeoutSeconds` and `attempts` are their defaults here."""

    @classmethod
    def of(cls, spec: StreamPipelineSpec) -> Definition:
        """The definition that a spec asks for."""
        defaults = {name: ModelRef.model_fields[name].default for name in _UNBOUND}
        return cls(aggregates=tuple(spec.aggregates), model=spec.model.model_copy(update=defaults))

    def applied(self, spec: StreamPipelineSpec) -> StreamPipelineSpec:
        """The spec with this definition in place of its own."""
        asking = {name: getattr(spec.model, name) for name in _UNBOUND}
        model = self.model.model_copy(update=asking)
        return spec.model_copy(update={"aggregates": list(self.aggregates), "model": model})

    def same_model(self, other: Definition) -> bool:
        """Whether both name the same model: it may be asked for other values."""
        return _named(self.model) == _named(other.model)

    @property
    def field_types(self) -> dict[str, str]:
        """Type of each value of a point that the definition names."""
        integers = {a.name: a.function is Function.COUNT for a in self.aggregates}
        integers[self.model.output] = self.model.output_type is OutputType.INTEGER
        return {name: "an integer" if integer else "a number" for name, integer in integers.items()}


def _named(model: ModelRef) -> tuple[object, ...]:
    return model.managed, model.external, model.version


def type_changes(spec: StreamPipelineSpec, before: Iterable[Definition]) -> list[Problem]:
    """Values that would change their type under their name: a sink keeps one type for each."""
    wanted, problems = Definition.of(spec), {}
    for definition in before:
        known = definition.field_types
        for name, kind in wanted.field_types.items():
            if known.get(name, kind) != kind:
                place = "spec.model.output" if name == spec.model.output else f"spec.aggregates: {name}"
                message = f"would be {kind}, and is {known[name]} in the results that are there"
                problems[name] = Problem(place, message, "choose another name")
    return list(problems.values())
