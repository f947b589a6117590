"""`python -m streampipeline_operator`."""

from streampipeline_operator.main import main

main()
