"""Records of nurses' wristbands for a topic: a recording replayed, or signals made up from a seed.

`python -m streampipeline.producer --help`; from Python: `streampipeline.producer.run.produce`.
"""
