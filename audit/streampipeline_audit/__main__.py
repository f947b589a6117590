"""`python -m streampipeline_audit`."""

import sys

from streampipeline_audit.cli import main

sys.exit(main())
