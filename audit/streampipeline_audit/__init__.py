"""The independent check of a pipeline: recomputes each window from the topic and compares it with the sink.

It shares no code with the engines. Of the product it knows the spec and a job's configuration.
"""

from streampipeline_audit.errors import AuditError
from streampipeline_audit.plan import PendingLate
from streampipeline_audit.report import AuditReport
from streampipeline_audit.run import AuditRequest, audit

__all__ = ["AuditError", "AuditReport", "AuditRequest", "PendingLate", "audit"]
