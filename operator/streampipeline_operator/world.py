"""What all pipelines of one operator share."""

from __future__ import annotations

from dataclasses import dataclass, field

from streampipeline_operator.kube import Kube
from streampipeline_operator.resolve import Resolver
from streampipeline_operator.settings import Settings
from streampipeline_operator.watch import Bell, Watches


@dataclass
class World:
    """Made once, when the operator leads."""

    api: Kube
    settings: Settings
    bell: Bell = field(default_factory=Bell)

    def __post_init__(self) -> None:
        self.watches = Watches(self.api, self.settings.watch_namespaces, self.bell.ring)
        self.resolver = Resolver(self.api, self.settings)
